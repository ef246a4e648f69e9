// Vectors of AVX2 + FMA: 8 floats or 4 doubles, 16 registers.
//
// Every vec_<isa>.h gives the same names: VecF, VecD, kLanesF, kLanesD, the constants of the
// micro-kernels and the functions below and in transpose_256.h, overloaded for float and double.
// `vload_n` and `vstore_n` touch only the first n elements, 0 <= n <= lanes. vmax(a, b) and vmin(a,
// b) return b if either is NaN, so that max(floor, x) keeps the NaN of x.
#pragma once

#ifndef __AVX2__
#error "vec_avx2.h needs -mavx2 -mfma"
#endif

#include <cstddef>
#include <cstdint>

#ifdef CONV3D_EMULATE_ISA
#include <simde/x86/avx2.h>
#include <simde/x86/fma.h>
#else
#include <immintrin.h>
#endif

#include "kernels/simd/transpose_256.h"
#include "kernels/simd/vec_common.h"

namespace conv3d::CONV3D_ISA {

using VecF = __m256;
using VecD = __m256d;
static constexpr int kLanesF = 8, kLanesD = 4;

// 16 registers: 6 x 2 accumulators + 2 of B + 1 of A = 15. Eight accumulators hide the FMA's
// latency (4 cycles, 2 a cycle), so one vector of B takes 8 rows; twelve would need more row
// pointers than there are integer registers.
static constexpr int kMaxNv = 2;
static constexpr int kTapRows[kMaxNv + 1] = {
    0, 8, 6};  // rows of a tile of 1, 2 vectors, one pointer a row
static constexpr int kStridedRows[kMaxNv + 1] = {0, 8, 6};  // the same, rows a constant apart
// Tiles whose B is not packed can be wider where the rows are few: 1 x 8, 2 x 6, 3 x 4, 4 x 3
// vectors.
static constexpr int kPlaneRows = 6;
static constexpr int kPlaneNv[kPlaneRows + 1] = {0, 8, 6, 4, 3, 2, 2};
// Where the columns are few: rows of a tile of so many vectors.
static constexpr int kTallRows[kMaxNv + 1] = {0, 12, 6};
// Products of rows with rows: 3 x 4 accumulators + 3 + 1.
static constexpr int kProductRows = 3, kProductColumns = 4;

static CONV3D_ALWAYS_INLINE VecF vload(const float* p) { return _mm256_loadu_ps(p); }
static CONV3D_ALWAYS_INLINE VecD vload(const double* p) { return _mm256_loadu_pd(p); }
static CONV3D_ALWAYS_INLINE void vstore(float* p, VecF v) { _mm256_storeu_ps(p, v); }
static CONV3D_ALWAYS_INLINE void vstore(double* p, VecD v) { _mm256_storeu_pd(p, v); }
// Past the caches; p aligned to the vector.
static CONV3D_ALWAYS_INLINE void vstream(float* p, VecF v) { _mm256_stream_ps(p, v); }
static CONV3D_ALWAYS_INLINE void vstream(double* p, VecD v) { _mm256_stream_pd(p, v); }
static CONV3D_ALWAYS_INLINE void prefetch_line(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0);
}
static CONV3D_ALWAYS_INLINE void prefetch_line_l2(const void* p) {
  _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1);
}
// A line that is stored next, taken away from whichever core wrote it before.
static CONV3D_ALWAYS_INLINE void prefetch_for_write(const void* p) {
#if defined(_MSC_VER) && !defined(__clang__)
  prefetch_line(p);  // _m_prefetchw is not of immintrin.h
#else
  __builtin_prefetch(p, 1);
#endif
}

static CONV3D_ALWAYS_INLINE __m256i vmask_f(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static CONV3D_ALWAYS_INLINE __m256i vmask_d(int n) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
static CONV3D_ALWAYS_INLINE VecF vload_n(const float* p, int n) {
  return _mm256_maskload_ps(p, vmask_f(n));
}
static CONV3D_ALWAYS_INLINE VecD vload_n(const double* p, int n) {
  return _mm256_maskload_pd(p, vmask_d(n));
}
// p[0], p[2], ... : reads nothing beyond the last of them.
static CONV3D_ALWAYS_INLINE VecF vload_even(const float* p) {
  const __m256 v = _mm256_shuffle_ps(vload(p), vload(p + kLanesF - 1), _MM_SHUFFLE(3, 1, 2, 0));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), _MM_SHUFFLE(3, 1, 2, 0)));
}
static CONV3D_ALWAYS_INLINE VecD vload_even(const double* p) {
  const __m256d v = _mm256_shuffle_pd(vload(p), vload(p + kLanesD - 1), 0b1010);
  return _mm256_permute4x64_pd(v, _MM_SHUFFLE(3, 1, 2, 0));
}
// Of a[0], a[1], ..., b[0], b[1], ... every second one: the first, the third, ...; the second, ...
static CONV3D_ALWAYS_INLINE VecF veven(VecF a, VecF b) {
  const __m256d v = _mm256_castps_pd(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(2, 0, 2, 0)));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(v, _MM_SHUFFLE(3, 1, 2, 0)));
}
static CONV3D_ALWAYS_INLINE VecD veven(VecD a, VecD b) {
  return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), _MM_SHUFFLE(3, 1, 2, 0));
}
static CONV3D_ALWAYS_INLINE VecF vodd(VecF a, VecF b) {
  const __m256d v = _mm256_castps_pd(_mm256_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(v, _MM_SHUFFLE(3, 1, 2, 0)));
}
static CONV3D_ALWAYS_INLINE VecD vodd(VecD a, VecD b) {
  return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), _MM_SHUFFLE(3, 1, 2, 0));
}
// a[0], b[0], a[1], b[1], ...: the lower half of them, and the upper one.
static CONV3D_ALWAYS_INLINE VecF vzip_low(VecF a, VecF b) {
  return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
static CONV3D_ALWAYS_INLINE VecD vzip_low(VecD a, VecD b) {
  return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
static CONV3D_ALWAYS_INLINE VecF vzip_high(VecF a, VecF b) {
  return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
static CONV3D_ALWAYS_INLINE VecD vzip_high(VecD a, VecD b) {
  return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}
// Masked stores take some 20 cycles on AMD's processors; halves do not.
static CONV3D_ALWAYS_INLINE void vstore_n(float* p, int n, VecF v) {
  if (n == kLanesF) return vstore(p, v);
  __m128 rest = _mm256_castps256_ps128(v);
  if (n & 4) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
    rest = _mm_movehl_ps(rest, rest);
    p += 2;
  }
  if (n & 1) _mm_store_ss(p, rest);
}
static CONV3D_ALWAYS_INLINE void vstore_n(double* p, int n, VecD v) {
  if (n == kLanesD) return vstore(p, v);
  __m128d rest = _mm256_castpd256_pd128(v);
  if (n & 2) {
    _mm_storeu_pd(p, rest);
    rest = _mm256_extractf128_pd(v, 1);
    p += 2;
  }
  if (n & 1) _mm_store_sd(p, rest);
}

// kLanesD floats as doubles, and two vectors of doubles rounded to floats.
static CONV3D_ALWAYS_INLINE VecD vwiden(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
static CONV3D_ALWAYS_INLINE VecF vnarrow(VecD low, VecD high) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(low)), _mm256_cvtpd_ps(high),
                              1);
}

static CONV3D_ALWAYS_INLINE VecF vset(float x) { return _mm256_set1_ps(x); }
static CONV3D_ALWAYS_INLINE VecD vset(double x) { return _mm256_set1_pd(x); }
static CONV3D_ALWAYS_INLINE VecF vzero() { return _mm256_setzero_ps(); }
static CONV3D_ALWAYS_INLINE VecF vfma(VecF a, VecF b, VecF c) {
  return _mm256_fmadd_ps(a, b, c);
}  // a b + c
static CONV3D_ALWAYS_INLINE VecD vfma(VecD a, VecD b, VecD c) { return _mm256_fmadd_pd(a, b, c); }
static CONV3D_ALWAYS_INLINE VecF vfnma(VecF a, VecF b, VecF c) {
  return _mm256_fnmadd_ps(a, b, c);
}  // c - a b
static CONV3D_ALWAYS_INLINE VecD vfnma(VecD a, VecD b, VecD c) { return _mm256_fnmadd_pd(a, b, c); }
static CONV3D_ALWAYS_INLINE VecF vadd(VecF a, VecF b) { return _mm256_add_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vadd(VecD a, VecD b) { return _mm256_add_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vsub(VecF a, VecF b) { return _mm256_sub_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vsub(VecD a, VecD b) { return _mm256_sub_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmul(VecF a, VecF b) { return _mm256_mul_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmul(VecD a, VecD b) { return _mm256_mul_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vdiv(VecF a, VecF b) { return _mm256_div_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vdiv(VecD a, VecD b) { return _mm256_div_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmax(VecF a, VecF b) { return _mm256_max_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmax(VecD a, VecD b) { return _mm256_max_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmin(VecF a, VecF b) { return _mm256_min_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmin(VecD a, VecD b) { return _mm256_min_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vsqrt(VecF v) { return _mm256_sqrt_ps(v); }
static CONV3D_ALWAYS_INLINE VecD vsqrt(VecD v) { return _mm256_sqrt_pd(v); }
// Lane by lane: a == b ? x : y.
static CONV3D_ALWAYS_INLINE VecF vselect_equal(VecF a, VecF b, VecF x, VecF y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}
static CONV3D_ALWAYS_INLINE VecD vselect_equal(VecD a, VecD b, VecD x, VecD y) {
  return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_EQ_OQ));
}
// The first n lanes of a, 0 <= n <= lanes, and the others of b.
static CONV3D_ALWAYS_INLINE VecF vjoin(VecF a, VecF b, int n) {
  return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(vmask_f(n)));
}
static CONV3D_ALWAYS_INLINE VecD vjoin(VecD a, VecD b, int n) {
  return _mm256_blendv_pd(b, a, _mm256_castsi256_pd(vmask_d(n)));
}
// 2^n of whole numbers n within the exponent's range: n + 2^23 + 127 (2^52 + 1023) has the
// exponent's bits at the bottom.
static CONV3D_ALWAYS_INLINE VecF vpow2(VecF n) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_castps_si256(_mm256_add_ps(n, _mm256_set1_ps(8388735.0f))), 23));
}
static CONV3D_ALWAYS_INLINE VecD vpow2(VecD n) {
  return _mm256_castsi256_pd(_mm256_slli_epi64(
      _mm256_castpd_si256(_mm256_add_pd(n, _mm256_set1_pd(4503599627371519.0))), 52));
}
static CONV3D_ALWAYS_INLINE VecF vabs(VecF v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
static CONV3D_ALWAYS_INLINE VecD vabs(VecD v) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), v); }
// Magnitude of v, sign of s.
static CONV3D_ALWAYS_INLINE VecF vcopysign(VecF v, VecF s) {
  return _mm256_or_ps(vabs(v), _mm256_and_ps(_mm256_set1_ps(-0.0f), s));
}
static CONV3D_ALWAYS_INLINE VecD vcopysign(VecD v, VecD s) {
  return _mm256_or_pd(vabs(v), _mm256_and_pd(_mm256_set1_pd(-0.0), s));
}
// Sum of the lanes, always in the same order: halves added, then halves of halves.
static CONV3D_ALWAYS_INLINE float vsum(VecF v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static CONV3D_ALWAYS_INLINE double vsum(VecD v) {
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

// Lane i: the sum of vector i's lanes, added in the order of vsum.
static CONV3D_ALWAYS_INLINE VecF vsums(const VecF (&v)[8]) {
  __m256 t[4];  // vectors i and i + 4, four lanes left of each
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    t[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i], v[i + 4], 0x20),
                         _mm256_permute2f128_ps(v[i], v[i + 4], 0x31));
  __m256 u[2];  // two lanes left of each
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256d a = _mm256_castps_pd(t[2 * i]), b = _mm256_castps_pd(t[2 * i + 1]);
    u[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                         _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
  }
  return _mm256_add_ps(_mm256_shuffle_ps(u[0], u[1], 0x88), _mm256_shuffle_ps(u[0], u[1], 0xdd));
}
static CONV3D_ALWAYS_INLINE VecD vsums(const VecD (&v)[4]) {
  const __m256d a = _mm256_add_pd(_mm256_permute2f128_pd(v[0], v[2], 0x20),
                                  _mm256_permute2f128_pd(v[0], v[2], 0x31));
  const __m256d b = _mm256_add_pd(_mm256_permute2f128_pd(v[1], v[3], 0x20),
                                  _mm256_permute2f128_pd(v[1], v[3], 0x31));
  return _mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
}

// lanes x lanes elements, rows src_stride apart, to their transpose, rows dst_stride apart.
static CONV3D_ALWAYS_INLINE void vtranspose(const float* src, ptrdiff_t src_stride, float* dst,
                                            ptrdiff_t dst_stride) {
  vtranspose_square(src, src_stride, dst, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose(const double* src, ptrdiff_t src_stride, double* dst,
                                            ptrdiff_t dst_stride) {
  vtranspose_square(src, src_stride, dst, dst_stride);
}

}  // namespace conv3d::CONV3D_ISA
