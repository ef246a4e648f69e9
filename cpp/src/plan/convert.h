// Copies of tensors between layouts and dtypes, for algorithms that take channels-last
// float32 only.
#pragma once

#include <cstdint>

#include "problem/problem.h"
#include "runtime/thread_pool.h"

namespace conv3d {

struct TensorForm {
  DType dtype;
  Layout layout;
  bool operator==(const TensorForm&) const = default;
};

// [batch, voxels, channels] of form `from_form` into the same tensor of form `to_form`. The dtypes
// are equal, or one of them is float32 and the other float16 or bfloat16.
void convert_tensor(const void* from, TensorForm from_form, void* to, TensorForm to_form,
                    int64_t batch, int64_t voxels, int64_t channels, ThreadPool& pool, int threads);

}  // namespace conv3d
