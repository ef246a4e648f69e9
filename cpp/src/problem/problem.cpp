#include "problem/problem.h"

#include <cmath>
#include <initializer_list>

#include "base/math.h"
#include "base/status.h"
#include "problem/shape.h"

namespace conv3d {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Status::kInvalidArgument, message);
}

std::string number(int64_t value) { return std::to_string(value); }

template <class E>
void check_enum(const char* name, E value, int count) {
  const int code = static_cast<int>(value);
  if (code < 0 || code >= count) {
    refuse(std::string(name) + " is " + number(code) + "; codes 0 to " + number(count - 1) +
           " are accepted");
  }
}

// "d3h3w3" with the letters of the grammar.
std::string triple(const char* prefix, int64_t d, int64_t h, int64_t w) {
  const std::string p(prefix);
  return p + "d" + number(d) + p + "h" + number(h) + p + "w" + number(w);
}

const char* name_of(Direction direction) {
  switch (direction) {
    case Direction::kForward: return "forward";
    case Direction::kBackwardInput: return "backward_input";
    case Direction::kBackwardFilter: return "backward_filter";
  }
  return "?";
}

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kFloat64: return "float64";
    case DType::kFloat16: return "float16";
    case DType::kBFloat16: return "bfloat16";
  }
  return "?";
}

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::kNone: return "none";
    case Activation::kRelu: return "relu";
    case Activation::kLeakyRelu: return "leaky_relu";
    case Activation::kSigmoid: return "sigmoid";
    case Activation::kTanh: return "tanh";
  }
  return "?";
}

// The product must fit, also without its zero factors: kernels multiply some of them
// (voxels without the batch, say).
void check_size(const char* what, std::initializer_list<int64_t> sizes) {
  int64_t product = 1;
  bool empty = false;
  for (int64_t size : sizes) {
    if (size == 0) {
      empty = true;
    } else if (!multiply_fits(product, size, &product)) {
      for (int64_t other : sizes) empty = empty || other == 0;
      throw Error(empty ? Status::kInvalidArgument : Status::kOutOfMemory,
                  std::string(what) + " has extents whose product is above 2^63 - 1 bytes");
    }
  }
}

}  // namespace

int Problem::element_size(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return 4;
    case DType::kFloat64: return 8;
    case DType::kFloat16:
    case DType::kBFloat16: return 2;
  }
  return 0;
}

double Problem::flops() const {
  return 2.0 * static_cast<double>(mb) * static_cast<double>(output_voxels()) *
         static_cast<double>(oc) * static_cast<double>(ic / groups) *
         static_cast<double>(kd * kh * kw);
}

std::string Problem::to_string() const {
  std::string text;
  if (direction != Direction::kForward) text += std::string(name_of(direction)) + "_";
  if (dtype != DType::kFloat32) text += std::string(name_of(dtype)) + "_";
  if (layout == Layout::kChannelsFirst) text += "ncdhw_";
  text += "mb" + number(mb) + "_";
  if (groups != 1) text += "g" + number(groups);
  text += "ic" + number(ic) + triple("i", id, ih, iw) + "_oc" + number(oc) + "_" +
          triple("k", kd, kh, kw) + "_" + triple("s", sd, sh, sw);
  if (dd != 1 || dh != 1 || dw != 1) text += "_" + triple("d", dd, dh, dw);
  if (pd == 0 && ph == 0 && pw == 0 && pd1 == 0 && ph1 == 0 && pw1 == 0) {
    text += "_valid";
  } else {
    text += "_" + triple("p", pd, ph, pw) + "_" + triple("q", pd1, ph1, pw1);
  }
  if (with_bias) text += "_bias";
  if (activation != Activation::kNone) text += std::string("_") + name_of(activation);
  return text;
}

Problem make_problem(const ProblemSpec& spec) {
  check_enum("direction", spec.direction, 3);
  check_enum("dtype", spec.dtype, 4);
  check_enum("data_format", spec.layout, 2);
  check_enum("padding", spec.padding, 3);
  check_enum("activation", spec.activation, 5);
  check_enum("accuracy", spec.accuracy, 3);
  if (spec.batch < 0)
    refuse("input has a batch of " + number(spec.batch) + "; batches are not negative");
  if (spec.groups < 1) refuse("groups is " + number(spec.groups) + "; at least 1 is accepted");
  if (spec.input_channels < 1) {
    refuse("input has " + number(spec.input_channels) + " channels; at least 1 is accepted");
  }
  if (spec.output_channels < 1) {
    refuse("filter has " + number(spec.output_channels) +
           " output channels; at least 1 is accepted");
  }
  if (spec.input_channels % spec.groups != 0) {
    refuse("groups is " + number(spec.groups) + " and input has " + number(spec.input_channels) +
           " channels; groups must divide the channels");
  }
  if (spec.output_channels % spec.groups != 0) {
    refuse("groups is " + number(spec.groups) + " and filter has " + number(spec.output_channels) +
           " output channels; groups must divide them");
  }
  if (spec.direction == Direction::kBackwardFilter &&
      (spec.with_bias || spec.activation != Activation::kNone)) {
    refuse(
        "bias and activation are part of forward and backward_input; backward_filter accepts "
        "neither");
  }
  if (!std::isfinite(spec.leaky_relu_alpha)) refuse("leaky_relu_alpha must be a finite number");
  bool strided = false, dilated = false;
  for (int a = 0; a < 3; ++a) {
    strided = strided || spec.stride[a] > 1;
    dilated = dilated || spec.dilation[a] > 1;
  }
  if (strided && dilated) {
    refuse("strides is " + to_string(spec.stride) + " and dilations is " +
           to_string(spec.dilation) + "; only one of the two may differ from 1");
  }
  Axis axes[3];
  for (int a = 0; a < 3; ++a) {
    axes[a] = resolve_axis("filter", kAxisNames[a], spec.input[a], spec.kernel[a], spec.stride[a],
                           spec.dilation[a], spec.padding, spec.pad_before[a], spec.pad_after[a]);
  }

  Problem p;
  p.direction = spec.direction;
  p.dtype = spec.dtype;
  p.layout = spec.layout;
  p.activation = spec.activation;
  p.accuracy = spec.accuracy;
  p.with_bias = spec.with_bias;
  p.leaky_relu_alpha = spec.leaky_relu_alpha;
  p.mb = spec.batch;
  p.groups = spec.groups;
  p.ic = spec.input_channels;
  p.oc = spec.output_channels;
  p.id = spec.input[0], p.ih = spec.input[1], p.iw = spec.input[2];
  p.kd = spec.kernel[0], p.kh = spec.kernel[1], p.kw = spec.kernel[2];
  p.sd = spec.stride[0], p.sh = spec.stride[1], p.sw = spec.stride[2];
  p.dd = spec.dilation[0], p.dh = spec.dilation[1], p.dw = spec.dilation[2];
  p.od = axes[0].output, p.oh = axes[1].output, p.ow = axes[2].output;
  p.pd = axes[0].pad_before, p.ph = axes[1].pad_before, p.pw = axes[2].pad_before;
  p.pd1 = axes[0].pad_after, p.ph1 = axes[1].pad_after, p.pw1 = axes[2].pad_after;
  // Bytes of every tensor as double, the widest type that any algorithm holds it in.
  check_size("input", {8, p.mb, p.id, p.ih, p.iw, p.ic});
  try {
    check_size("output", {8, p.mb, p.od, p.oh, p.ow, p.oc});
  } catch (const Error& error) {
    if (spec.padding != Padding::kExplicit) throw;
    refuse("padding is " + to_string(spec.pad_before) + " before and " + to_string(spec.pad_after) +
           " after: " + error.what());
  }
  check_size("filter", {8, p.kd, p.kh, p.kw, p.ic / p.groups, p.oc});
  // Coordinates o * s + k * d stay below the padded input, which resolve_axis has bounded.
  return p;
}

}  // namespace conv3d
