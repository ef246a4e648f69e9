#include "plan/pool.h"

#include <algorithm>
#include <string>

#include "algorithms/pooling/pooling.h"
#include "base/math.h"
#include "base/status.h"
#include "kernels/dispatch.h"
#include "plan/convert.h"
#include "runtime/float_environment.h"
#include "runtime/workspace.h"

namespace conv3d {
namespace {

constexpr int64_t kConversionBytes = int64_t{32} << 20;
// Below about this many elements a thread costs more than it brings.
constexpr int64_t kElementsPerThread = int64_t{1} << 14;

PoolSpec computed(PoolSpec spec) {
  if (spec.dtype == DType::kFloat16 || spec.dtype == DType::kBFloat16) spec.dtype = DType::kFloat32;
  return spec;
}

void required(const void* pointer, const char* name) {
  if (pointer == nullptr) throw Error(Status::kInvalidArgument, std::string(name) + " is missing");
}

}  // namespace

// The batch cut into pieces whose converted tensors fit the workspace; one piece if
// nothing is converted.
struct PoolPlan::Pieces {
  Pieces(const PoolPlan& plan, int tensors_of_input, int tensors_of_output) : p(plan.problem_) {
    in = p.input_voxels() * p.channels;
    out = p.output[0] * p.output[1] * p.output[2] * p.channels;
    const int64_t floats =
        checked_product({std::max<int64_t>(1, tensors_of_input * in + tensors_of_output * out), 4},
                        "a converted tensor");
    samples =
        plan.dtype_ == p.dtype ? p.mb : std::clamp<int64_t>(kConversionBytes / floats, 1, p.mb);
  }
  const PoolProblem& p;
  int64_t in, out, samples;  // elements of one sample; samples of a piece
};

PoolPlan::PoolPlan(Pooling kind, const PoolSpec& spec)
    : kind_(kind), dtype_(spec.dtype), problem_(make_pool_problem(computed(spec))) {
  if (kind != Pooling::kMax && kind != Pooling::kAverage) {
    throw Error(Status::kInvalidArgument, "kind is " + std::to_string(static_cast<int>(kind)) +
                                              "; codes 0 (max) and 1 (average) are accepted");
  }
}

void PoolPlan::forward(const void* input, void* output, ThreadPool& pool, int threads) const {
  const Pieces pieces(*this, 1, 1);
  if (problem_.mb == 0 || pieces.out == 0) return;
  required(input, "input");
  required(output, "output");
  threads = static_cast<int>(
      std::clamp<int64_t>(problem_.mb * pieces.in / kElementsPerThread, 1, threads));
  const FloatEnvironment environment(Denormals::kKeep);
  const auto run = kind_ == Pooling::kMax ? max_pool_forward : avg_pool_forward;
  if (dtype_ == problem_.dtype) {
    run(problem_, kernel_table(), input, output, pool, threads);
    return;
  }
  const TensorForm outside{dtype_, problem_.layout}, inside{problem_.dtype, problem_.layout};
  const Workspace x(checked_bytes({pieces.samples, pieces.in, 4}, "a converted tensor"));
  const Workspace y(checked_bytes({pieces.samples, pieces.out, 4}, "a converted tensor"));
  PoolProblem piece = problem_;
  for (int64_t n = 0; n < problem_.mb; n += pieces.samples) {
    piece.mb = std::min(pieces.samples, problem_.mb - n);
    convert_tensor(static_cast<const char*>(input) + n * pieces.in * 2, outside, x.data(), inside,
                   piece.mb, pieces.in, 1, pool, threads);
    run(piece, kernel_table(), x.data(), y.data(), pool, threads);
    convert_tensor(y.data(), inside, static_cast<char*>(output) + n * pieces.out * 2, outside,
                   piece.mb, pieces.out, 1, pool, threads);
  }
}

void PoolPlan::backward(const void* input, const void* output, const void* grad_output,
                        void* grad_input, ThreadPool& pool, int threads) const {
  const Pieces pieces(*this, 2, 2);
  if (problem_.mb == 0 || pieces.in == 0) return;
  const bool max = kind_ == Pooling::kMax;
  required(grad_input, "grad_input");
  required(grad_output, "grad_output");
  if (max) {
    required(input, "input");
    required(output, "output");
  }
  threads = static_cast<int>(
      std::clamp<int64_t>(problem_.mb * pieces.in / kElementsPerThread, 1, threads));
  const FloatEnvironment environment(Denormals::kKeep);
  const auto run = [&](const PoolProblem& p, const void* x, const void* y, const void* dy,
                       void* dx) {
    if (max) {
      max_pool_backward(p, kernel_table(), x, y, dy, dx, pool, threads);
    } else {
      avg_pool_backward(p, kernel_table(), dy, dx, pool, threads);
    }
  };
  if (dtype_ == problem_.dtype) {
    run(problem_, input, output, grad_output, grad_input);
    return;
  }
  const TensorForm outside{dtype_, problem_.layout}, inside{problem_.dtype, problem_.layout};
  const size_t in_bytes = checked_bytes({pieces.samples, pieces.in, 4}, "a converted tensor");
  const size_t out_bytes = checked_bytes({pieces.samples, pieces.out, 4}, "a converted tensor");
  const Workspace x(max ? in_bytes : 0), y(max ? out_bytes : 0), dy(out_bytes), dx(in_bytes);
  PoolProblem piece = problem_;
  for (int64_t n = 0; n < problem_.mb; n += pieces.samples) {
    piece.mb = std::min(pieces.samples, problem_.mb - n);
    const auto widen = [&](const void* from, int64_t elements, const Workspace& to) {
      convert_tensor(static_cast<const char*>(from) + n * elements * 2, outside, to.data(), inside,
                     piece.mb, elements, 1, pool, threads);
    };
    if (max) {
      widen(input, pieces.in, x);
      widen(output, pieces.out, y);
    }
    widen(grad_output, pieces.out, dy);
    run(piece, x.data(), y.data(), dy.data(), dx.data());
    convert_tensor(dx.data(), inside, static_cast<char*>(grad_input) + n * pieces.in * 2, outside,
                   piece.mb, pieces.in, 1, pool, threads);
  }
}

}  // namespace conv3d
