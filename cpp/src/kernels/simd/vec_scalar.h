// Vectors without any instruction set: 4 floats or 2 doubles as plain arrays, which compilers keep
// in whatever registers they have. Multiply-add rounds twice here. The names are explained in
// vec_avx2.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/simd/vec_common.h"

namespace conv3d::CONV3D_ISA {

#if defined(__GNUC__)
typedef float VecF __attribute__((vector_size(16)));
typedef double VecD __attribute__((vector_size(16)));
#else
template <class T, int kLanes>
struct PlainVec {
  T lane[kLanes];
  CONV3D_ALWAYS_INLINE T& operator[](int i) { return lane[i]; }
  CONV3D_ALWAYS_INLINE const T& operator[](int i) const { return lane[i]; }
};
using VecF = PlainVec<float, 4>;
using VecD = PlainVec<double, 2>;
#endif
static constexpr int kLanesF = 4, kLanesD = 2;

// 16 registers of the baseline: 4 x 2 accumulators + 2 of B + 1 of A + 1 product = 12.
static constexpr int kMaxNv = 2;
static constexpr int kTapRows[kMaxNv + 1] = {0, 8, 4};
static constexpr int kStridedRows[kMaxNv + 1] = {0, 8, 4};
static constexpr int kPlaneRows = 4;
static constexpr int kPlaneNv[kPlaneRows + 1] = {0, 4, 4, 3, 2};
// Where the columns are few: rows of a tile of so many vectors.
static constexpr int kTallRows[kMaxNv + 1] = {0, 8, 4};
static constexpr int kProductRows = 3, kProductColumns = 4;

// One lane at a time; `f(i)` gives lane i.
template <class V, int kLanes, class F>
static CONV3D_ALWAYS_INLINE V each_lane(const F& f) {
  V v;
#pragma GCC unroll 4
  for (int i = 0; i < kLanes; ++i) v[i] = f(i);
  return v;
}
template <class F>
static CONV3D_ALWAYS_INLINE VecF lanes_f(const F& f) {
  return each_lane<VecF, kLanesF>(f);
}
template <class F>
static CONV3D_ALWAYS_INLINE VecD lanes_d(const F& f) {
  return each_lane<VecD, kLanesD>(f);
}

static CONV3D_ALWAYS_INLINE VecF vload(const float* p) {
  return lanes_f([&](int i) { return p[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vload(const double* p) {
  return lanes_d([&](int i) { return p[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vload_n(const float* p, int n) {
  return lanes_f([&](int i) { return i < n ? p[i] : 0.0f; });
}
static CONV3D_ALWAYS_INLINE VecD vload_n(const double* p, int n) {
  return lanes_d([&](int i) { return i < n ? p[i] : 0.0; });
}
static CONV3D_ALWAYS_INLINE VecF vload_even(const float* p) {
  return lanes_f([&](int i) { return p[2 * i]; });
}
static CONV3D_ALWAYS_INLINE VecD vload_even(const double* p) {
  return lanes_d([&](int i) { return p[2 * i]; });
}
template <class V, int kLanes>
static CONV3D_ALWAYS_INLINE V every_second(const V& a, const V& b, int first) {
  return each_lane<V, kLanes>([&](int i) {
    const int at = 2 * i + first;
    return at < kLanes ? a[at] : b[at - kLanes];
  });
}
static CONV3D_ALWAYS_INLINE VecF veven(VecF a, VecF b) {
  return every_second<VecF, kLanesF>(a, b, 0);
}
static CONV3D_ALWAYS_INLINE VecD veven(VecD a, VecD b) {
  return every_second<VecD, kLanesD>(a, b, 0);
}
static CONV3D_ALWAYS_INLINE VecF vodd(VecF a, VecF b) {
  return every_second<VecF, kLanesF>(a, b, 1);
}
static CONV3D_ALWAYS_INLINE VecD vodd(VecD a, VecD b) {
  return every_second<VecD, kLanesD>(a, b, 1);
}
static CONV3D_ALWAYS_INLINE VecF vzip_low(VecF a, VecF b) {
  return lanes_f([&](int i) { return i % 2 == 0 ? a[i / 2] : b[i / 2]; });
}
static CONV3D_ALWAYS_INLINE VecD vzip_low(VecD a, VecD b) {
  return lanes_d([&](int i) { return i % 2 == 0 ? a[i / 2] : b[i / 2]; });
}
static CONV3D_ALWAYS_INLINE VecF vzip_high(VecF a, VecF b) {
  return lanes_f([&](int i) {
    const int at = (kLanesF + i) / 2;
    return i % 2 == 0 ? a[at] : b[at];
  });
}
static CONV3D_ALWAYS_INLINE VecD vzip_high(VecD a, VecD b) {
  return lanes_d([&](int i) {
    const int at = (kLanesD + i) / 2;
    return i % 2 == 0 ? a[at] : b[at];
  });
}
static CONV3D_ALWAYS_INLINE void vstore_n(float* p, int n, VecF v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
static CONV3D_ALWAYS_INLINE void vstore_n(double* p, int n, VecD v) {
  for (int i = 0; i < n; ++i) p[i] = v[i];
}
static CONV3D_ALWAYS_INLINE void vstore(float* p, VecF v) { vstore_n(p, kLanesF, v); }
static CONV3D_ALWAYS_INLINE void vstore(double* p, VecD v) { vstore_n(p, kLanesD, v); }
static CONV3D_ALWAYS_INLINE void vstream(float* p, VecF v) { vstore(p, v); }
static CONV3D_ALWAYS_INLINE void vstream(double* p, VecD v) { vstore(p, v); }
static CONV3D_ALWAYS_INLINE void prefetch_line(const void*) {}
static CONV3D_ALWAYS_INLINE void prefetch_line_l2(const void*) {}
static CONV3D_ALWAYS_INLINE void prefetch_for_write(const void*) {}
static CONV3D_ALWAYS_INLINE VecD vwiden(const float* p) {
  return lanes_d([&](int i) { return static_cast<double>(p[i]); });
}
static CONV3D_ALWAYS_INLINE VecF vnarrow(VecD low, VecD high) {
  return lanes_f(
      [&](int i) { return static_cast<float>(i < kLanesD ? low[i] : high[i - kLanesD]); });
}
static CONV3D_ALWAYS_INLINE VecF vset(float x) {
  return lanes_f([&](int) { return x; });
}
static CONV3D_ALWAYS_INLINE VecD vset(double x) {
  return lanes_d([&](int) { return x; });
}
static CONV3D_ALWAYS_INLINE VecF vzero() { return vset(0.0f); }
#if defined(__GNUC__)
static CONV3D_ALWAYS_INLINE VecF vfma(VecF a, VecF b, VecF c) { return a * b + c; }
static CONV3D_ALWAYS_INLINE VecD vfma(VecD a, VecD b, VecD c) { return a * b + c; }
static CONV3D_ALWAYS_INLINE VecF vadd(VecF a, VecF b) { return a + b; }
static CONV3D_ALWAYS_INLINE VecD vadd(VecD a, VecD b) { return a + b; }
static CONV3D_ALWAYS_INLINE VecF vsub(VecF a, VecF b) { return a - b; }
static CONV3D_ALWAYS_INLINE VecD vsub(VecD a, VecD b) { return a - b; }
static CONV3D_ALWAYS_INLINE VecF vmul(VecF a, VecF b) { return a * b; }
static CONV3D_ALWAYS_INLINE VecD vmul(VecD a, VecD b) { return a * b; }
static CONV3D_ALWAYS_INLINE VecF vdiv(VecF a, VecF b) { return a / b; }
static CONV3D_ALWAYS_INLINE VecD vdiv(VecD a, VecD b) { return a / b; }
#else
static CONV3D_ALWAYS_INLINE VecF vadd(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] + b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vadd(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] + b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vsub(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] - b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vsub(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] - b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vmul(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] * b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vmul(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] * b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vdiv(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] / b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vdiv(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] / b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vfma(VecF a, VecF b, VecF c) { return vadd(vmul(a, b), c); }
static CONV3D_ALWAYS_INLINE VecD vfma(VecD a, VecD b, VecD c) { return vadd(vmul(a, b), c); }
#endif
static CONV3D_ALWAYS_INLINE VecF vfnma(VecF a, VecF b, VecF c) { return vsub(c, vmul(a, b)); }
static CONV3D_ALWAYS_INLINE VecD vfnma(VecD a, VecD b, VecD c) { return vsub(c, vmul(a, b)); }
static CONV3D_ALWAYS_INLINE VecF vmax(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] > b[i] ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vmax(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] > b[i] ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vmin(VecF a, VecF b) {
  return lanes_f([&](int i) { return a[i] < b[i] ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vmin(VecD a, VecD b) {
  return lanes_d([&](int i) { return a[i] < b[i] ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vsqrt(VecF v) {
  return lanes_f([&](int i) { return __builtin_sqrtf(v[i]); });
}
static CONV3D_ALWAYS_INLINE VecD vsqrt(VecD v) {
  return lanes_d([&](int i) { return __builtin_sqrt(v[i]); });
}
static CONV3D_ALWAYS_INLINE VecF vselect_equal(VecF a, VecF b, VecF x, VecF y) {
  return lanes_f([&](int i) { return a[i] == b[i] ? x[i] : y[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vselect_equal(VecD a, VecD b, VecD x, VecD y) {
  return lanes_d([&](int i) { return a[i] == b[i] ? x[i] : y[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vjoin(VecF a, VecF b, int n) {
  return lanes_f([&](int i) { return i < n ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecD vjoin(VecD a, VecD b, int n) {
  return lanes_d([&](int i) { return i < n ? a[i] : b[i]; });
}
static CONV3D_ALWAYS_INLINE VecF vpow2(VecF n) {
  return lanes_f([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n[i]) + 127) << 23;
    float f;
    __builtin_memcpy(&f, &bits, sizeof f);
    return f;
  });
}
static CONV3D_ALWAYS_INLINE VecD vpow2(VecD n) {
  return lanes_d([&](int i) {
    const uint64_t bits = static_cast<uint64_t>(static_cast<int64_t>(n[i]) + 1023) << 52;
    double f;
    __builtin_memcpy(&f, &bits, sizeof f);
    return f;
  });
}
static CONV3D_ALWAYS_INLINE VecF vabs(VecF v) {
  return lanes_f([&](int i) { return __builtin_fabsf(v[i]); });
}
static CONV3D_ALWAYS_INLINE VecD vabs(VecD v) {
  return lanes_d([&](int i) { return __builtin_fabs(v[i]); });
}
static CONV3D_ALWAYS_INLINE VecF vcopysign(VecF v, VecF s) {
  return lanes_f([&](int i) { return __builtin_copysignf(v[i], s[i]); });
}
static CONV3D_ALWAYS_INLINE VecD vcopysign(VecD v, VecD s) {
  return lanes_d([&](int i) { return __builtin_copysign(v[i], s[i]); });
}
static CONV3D_ALWAYS_INLINE float vsum(VecF v) { return (v[0] + v[2]) + (v[1] + v[3]); }
static CONV3D_ALWAYS_INLINE double vsum(VecD v) { return v[0] + v[1]; }

// Lane i: the sum of vector i's lanes.
static CONV3D_ALWAYS_INLINE VecF vsums(const VecF (&v)[4]) {
  return lanes_f([&](int i) { return vsum(v[i]); });
}
static CONV3D_ALWAYS_INLINE VecD vsums(const VecD (&v)[2]) {
  return lanes_d([&](int i) { return vsum(v[i]); });
}

static constexpr int kSquareF = kLanesF, kSquareD = kLanesD;

template <class T>
static CONV3D_ALWAYS_INLINE void turn_over(const T* src, ptrdiff_t src_stride, int rows,
                                           int columns, T* dst, ptrdiff_t dst_stride) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) dst[j * dst_stride + i] = src[i * src_stride + j];
}
static CONV3D_ALWAYS_INLINE void vtranspose_columns(const float* src, ptrdiff_t src_stride,
                                                    int columns, float* dst, ptrdiff_t dst_stride) {
  turn_over(src, src_stride, kSquareF, columns, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose_columns(const double* src, ptrdiff_t src_stride,
                                                    int columns, double* dst,
                                                    ptrdiff_t dst_stride) {
  turn_over(src, src_stride, kSquareD, columns, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose_square(const float* src, ptrdiff_t src_stride,
                                                   float* dst, ptrdiff_t dst_stride) {
  turn_over(src, src_stride, kSquareF, kSquareF, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose_square(const double* src, ptrdiff_t src_stride,
                                                   double* dst, ptrdiff_t dst_stride) {
  turn_over(src, src_stride, kSquareD, kSquareD, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose(const float* src, ptrdiff_t src_stride, float* dst,
                                            ptrdiff_t dst_stride) {
  vtranspose_square(src, src_stride, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose(const double* src, ptrdiff_t src_stride, double* dst,
                                            ptrdiff_t dst_stride) {
  vtranspose_square(src, src_stride, dst, dst_stride);
}

}  // namespace conv3d::CONV3D_ISA
