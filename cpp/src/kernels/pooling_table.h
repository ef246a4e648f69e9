// Kernels of max and average pooling: one window over all channels of a voxel, and rows. Plain
// data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

// A box of cells, each `channels` contiguous elements. Cells are visited along the width outermost:
// rows of channels-first tensors are reduced over depth and height first, and both layouts give the
// same bits.
template <class T>
struct PoolBox {
  const T* first;
  int64_t extent[3];
  ptrdiff_t stride[3];
  int64_t channels;
};

// grad_input of the cells [store_begin, store_end) along the depth of the box receive the gradient
// if they are the window's first maximum, in the order depth, height, width.
template <class T>
struct MaxGradientArgs {
  PoolBox<T> box;
  const T* output;
  const T* grad_output;
  T* grad_input;  // of the box's first cell
  int64_t store_begin, store_end;
};

template <class T>
struct PoolingKernels {
  void (*maximum)(const PoolBox<T>* box, T* result);  // NaN if any is
  // sum / count. `counts`, if not null, holds the cells' divisors per axis; each term is divided by
  // their product instead.
  void (*average)(const PoolBox<T>* box, const int64_t* const* counts, T count, T* result);
  void (*max_gradient)(const MaxGradientArgs<T>* args);
  void (*maximum_row)(T* best, const T* row, int64_t n);  // best[i] = max(best[i], row[i])
};

struct PoolingTable {
  PoolingKernels<float> f32;
  PoolingKernels<double> f64;
};

}  // namespace conv3d
