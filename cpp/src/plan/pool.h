// Pooling as the API offers it: the checked problem of algorithms/pooling, in all dtypes. float16
// and bfloat16 are converted to float32 and back a few samples at a time.
#pragma once

#include "problem/pool_problem.h"
#include "runtime/thread_pool.h"

namespace conv3d {

enum class Pooling : int { kMax = 0, kAverage = 1 };

// Both directions over one checked description; `spec.dtype` may be any.
class PoolPlan {
 public:
  // Throws as make_pool_problem does.
  PoolPlan(Pooling kind, const PoolSpec& spec);
  const Extent3& output() const { return problem_.output; }
  // Throws Error{kInvalidArgument} if a tensor is missing that is not empty.
  void forward(const void* input, void* output, ThreadPool& pool, int threads) const;
  // Average pooling reads neither `input` nor `output`.
  void backward(const void* input, const void* output, const void* grad_output, void* grad_input,
                ThreadPool& pool, int threads) const;

 private:
  struct Pieces;

  Pooling kind_;
  DType dtype_;          // of the caller's tensors
  PoolProblem problem_;  // of the computation, whole batch
};

}  // namespace conv3d
