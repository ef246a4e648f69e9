// Pooling over contiguous channels. Bound by memory: one vector of channels passes over the whole
// window in registers.
//
// Included by isa_*.cpp after a simd/vec_*.h and epilogue.inl.

#include "kernels/pooling_table.h"

namespace conv3d::CONV3D_ISA {

// The larger; NaN if either is.
template <class T>
static CONV3D_ALWAYS_INLINE Vec<T> larger(Vec<T> best, Vec<T> x) {
  return vselect_equal(best, best, vmax(best, x), best);
}

// f(v) for each vector of n elements; f(at, lanes) loads and stores with these many lanes.
template <class T, class F>
static CONV3D_ALWAYS_INLINE void for_vectors(int64_t n, const F& f) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, static_cast<int>(n - i));
}
template <class T>
static CONV3D_ALWAYS_INLINE Vec<T> load_some(const T* p, int lanes) {
  return lanes == VecOf<T>::kLanes ? vload(p) : vload_n(p, lanes);
}
template <class T>
static CONV3D_ALWAYS_INLINE void store_some(T* p, int lanes, Vec<T> v) {
  if (lanes == VecOf<T>::kLanes) {
    vstore(p, v);
  } else {
    vstore_n(p, lanes, v);
  }
}

template <class T>
static void pool_maximum(const PoolBox<T>* box, T* result) {
  for_vectors<T>(box->channels, [&](int64_t at, int lanes) {
    Vec<T> best = vset(static_cast<T>(-__builtin_inf()));
    for (int64_t d = 0; d < box->extent[0]; ++d)
      for (int64_t h = 0; h < box->extent[1]; ++h) {
        const T* cell = box->first + d * box->stride[0] + h * box->stride[1] + at;
        for (int64_t w = 0; w < box->extent[2]; ++w, cell += box->stride[2])
          best = larger<T>(best, load_some<T>(cell, lanes));
      }
    store_some<T>(result + at, lanes, best);
  });
}

template <class T>
static void pool_average(const PoolBox<T>* box, const int64_t* const* counts, T count, T* result) {
  for_vectors<T>(box->channels, [&](int64_t at, int lanes) {
    Vec<T> sum = vset(T(0));
    for (int64_t w = 0; w < box->extent[2]; ++w) {
      Vec<T> column = vset(T(0));
      for (int64_t d = 0; d < box->extent[0]; ++d) {
        const T* cell = box->first + d * box->stride[0] + w * box->stride[2] + at;
        for (int64_t h = 0; h < box->extent[1]; ++h, cell += box->stride[1]) {
          Vec<T> x = load_some<T>(cell, lanes);
          if (counts != nullptr)
            x = vdiv(x, vset(static_cast<T>(counts[0][d] * counts[1][h] * counts[2][w])));
          column = vadd(column, x);
        }
      }
      sum = vadd(sum, column);
    }
    store_some<T>(result + at, lanes, counts != nullptr ? sum : vdiv(sum, vset(count)));
  });
}

// The gradient still to be given away passes from cell to cell; a maximum takes all of it and
// leaves zero.
template <class T>
static void pool_max_gradient(const MaxGradientArgs<T>* args) {
  const PoolBox<T>& box = args->box;
  const Vec<T> zero = vset(T(0));
  for_vectors<T>(box.channels, [&](int64_t at, int lanes) {
    const Vec<T> y = load_some<T>(args->output + at, lanes);
    Vec<T> left = load_some<T>(args->grad_output + at, lanes);
    for (int64_t d = 0; d < args->store_end; ++d)
      for (int64_t h = 0; h < box.extent[1]; ++h)
        for (int64_t w = 0; w < box.extent[2]; ++w) {
          const ptrdiff_t offset = d * box.stride[0] + h * box.stride[1] + w * box.stride[2] + at;
          const Vec<T> x = load_some<T>(box.first + offset, lanes);
          // A NaN is its window's maximum and equal to nothing.
          const Vec<T> taken = vselect_equal(x, x, vselect_equal(x, y, left, zero), left);
          left = vselect_equal(x, x, vselect_equal(x, y, zero, left), zero);
          if (d < args->store_begin) continue;
          T* const to = args->grad_input + offset;
          store_some<T>(to, lanes, vadd(load_some<T>(to, lanes), taken));
        }
  });
}

template <class T>
static void pool_maximum_row(T* best, const T* row, int64_t n) {
  for_vectors<T>(n, [&](int64_t at, int lanes) {
    store_some<T>(best + at, lanes,
                  larger<T>(load_some<T>(best + at, lanes), load_some<T>(row + at, lanes)));
  });
}

template <class T>
static constexpr PoolingKernels<T> pooling_kernels() {
  return {pool_maximum<T>, pool_average<T>, pool_max_gradient<T>, pool_maximum_row<T>};
}
static constexpr PoolingTable kPoolingTable = {pooling_kernels<float>(), pooling_kernels<double>()};

}  // namespace conv3d::CONV3D_ISA
