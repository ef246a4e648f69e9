// Kernels of max and average pooling. Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

// One window of `count` voxels over `channels` contiguous channels, voxels given as pointers.
template <class T>
struct PoolWindowArgs {
  const T* const* voxels;
  int64_t count;
  int64_t channels;
  T* result;
};

template <class T>
struct PoolingKernels {
  void (*maximum)(const PoolWindowArgs<T>* args);                  // NaN wins, as in TensorFlow's comparisons: see pooling.inl
  void (*average)(const PoolWindowArgs<T>* args);                  // sum in the given order, divided by count
};

struct PoolingTable {
  PoolingKernels<float> f32;
  PoolingKernels<double> f64;
};

}  // namespace conv3d
