#include "problem/pool_problem.h"

#include "base/math.h"
#include "base/status.h"
#include "problem/shape.h"

namespace conv3d {

PoolProblem make_pool_problem(const PoolSpec& spec) {
  const auto refuse = [](const std::string& message) {
    throw Error(Status::kInvalidArgument, message);
  };
  if (spec.dtype != DType::kFloat32 && spec.dtype != DType::kFloat64) {
    throw Error(Status::kUnsupported,
                "dtype of pooling is neither float32 nor float64, which alone are computed in");
  }
  const auto check_code = [&](const char* name, int code, int count) {
    if (code < 0 || code >= count) {
      refuse(std::string(name) + " is " + std::to_string(code) + "; codes 0 to " +
             std::to_string(count - 1) + " are accepted");
    }
  };
  check_code("data_format", static_cast<int>(spec.layout), 2);
  check_code("padding", static_cast<int>(spec.padding), 3);
  if (spec.batch < 0)
    refuse("batch is " + std::to_string(spec.batch) + "; batches are not negative");
  if (spec.channels < 0)
    refuse("channels is " + std::to_string(spec.channels) + "; channels are not negative");
  PoolProblem p{};
  p.dtype = spec.dtype;
  p.layout = spec.layout;
  p.mb = spec.batch;
  p.channels = spec.channels;
  p.input = spec.input;
  p.window = spec.window;
  p.stride = spec.stride;
  for (size_t a = 0; a < 3; ++a) {
    const std::string axis = kAxisNames[a];
    if (spec.input[a] < 0)
      refuse("input is " + to_string(spec.input) + "; its " + axis + " is negative");
    if (spec.window[a] < 1)
      refuse("pool_size is " + to_string(spec.window) + "; its " + axis + " must be at least 1");
    if (spec.stride[a] < 1)
      refuse("strides is " + to_string(spec.stride) + "; its " + axis + " must be at least 1");
    if (spec.padding == Padding::kExplicit) {
      for (int64_t pad : {spec.pad_before[a], spec.pad_after[a]}) {
        if (pad < 0 || pad >= spec.window[a]) {
          refuse("padding is " + std::to_string(pad) + " along the " + axis +
                 "; it must be at least 0 and less than pool_size, " +
                 std::to_string(spec.window[a]));
        }
      }
    }
    const Axis result =
        resolve_axis("pool_size", kAxisNames[a], spec.input[a], spec.window[a], spec.stride[a], 1,
                     spec.padding, spec.pad_before[a], spec.pad_after[a]);
    p.output[a] = result.output;
    p.pad[a] = result.pad_before;
    if (spec.input[a] == 0 && p.output[a] > 0)
      refuse("input is " + to_string(spec.input) + "; windows hold no cell of it");
  }
  // Also without the zero factors: some of them are multiplied apart from the others.
  const auto or_one = [](int64_t size) { return size == 0 ? 1 : size; };
  for (const Extent3* e : {&p.input, &p.output}) {
    checked_product(
        {or_one(p.mb), or_one(p.channels), or_one((*e)[0]), or_one((*e)[1]), or_one((*e)[2]), 8},
        e == &p.input ? "input" : "output");
  }
  return p;
}

}  // namespace conv3d
