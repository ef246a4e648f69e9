// Vectors of AVX-512 (F, BW, DQ, VL): 16 floats or 8 doubles, 32 registers. The names are explained
// in vec_avx2.h.
#pragma once

#if !defined(__AVX512F__) && !defined(CONV3D_EMULATE_ISA)
#error "vec_avx512.h needs -mavx512f -mavx512dq"
#endif

#include <cstddef>
#include <cstdint>

#ifdef CONV3D_EMULATE_ISA
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>
#else
#include <immintrin.h>
#endif

#include "kernels/simd/transpose_256.h"
#include "kernels/simd/vec_common.h"

// GCC's own intrinsics pass a deliberately undefined vector as the unused source of a mask and warn
// about it (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace conv3d::CONV3D_ISA {

using VecF = __m512;
using VecD = __m512d;
static constexpr int kLanesF = 16, kLanesD = 8;

// 32 registers: 6 x 4 accumulators + 4 of B + 1 of A = 29 where each row has its own pointer (16
// integer registers allow about 8 pointers); 14 x 2 + 2 + 1 = 31 where rows lie a constant apart.
static constexpr int kMaxNv = 4;
static constexpr int kTapRows[kMaxNv + 1] = {0, 8, 8, 8, 6};
static constexpr int kStridedRows[kMaxNv + 1] = {0, 14, 14, 8, 6};
// Tiles whose B is not packed: 1 x 8, 2 x 8, 3 x 6, 4 x 4 (20 of 32), 6 x 4 vectors.
static constexpr int kPlaneRows = 6;
static constexpr int kPlaneNv[kPlaneRows + 1] = {0, 8, 8, 6, 6, 4, 4};
// Where the columns are few: rows of a tile of so many vectors.
static constexpr int kTallRows[kMaxNv + 1] = {0, 14, 12, 8, 6};
// Products of rows with rows: 6 x 4 accumulators + 4 + 1.
static constexpr int kProductRows = 6, kProductColumns = 4;

static CONV3D_ALWAYS_INLINE VecF vload(const float* p) { return _mm512_loadu_ps(p); }
static CONV3D_ALWAYS_INLINE VecD vload(const double* p) { return _mm512_loadu_pd(p); }
static CONV3D_ALWAYS_INLINE void vstore(float* p, VecF v) { _mm512_storeu_ps(p, v); }
static CONV3D_ALWAYS_INLINE void vstore(double* p, VecD v) { _mm512_storeu_pd(p, v); }
static CONV3D_ALWAYS_INLINE void vstream(float* p, VecF v) { _mm512_stream_ps(p, v); }
static CONV3D_ALWAYS_INLINE void vstream(double* p, VecD v) { _mm512_stream_pd(p, v); }
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

static CONV3D_ALWAYS_INLINE __mmask16 vmask_f(int n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
static CONV3D_ALWAYS_INLINE __mmask8 vmask_d(int n) {
  return static_cast<__mmask8>((1u << n) - 1u);
}
static CONV3D_ALWAYS_INLINE VecF vload_n(const float* p, int n) {
  return _mm512_maskz_loadu_ps(vmask_f(n), p);
}
static CONV3D_ALWAYS_INLINE VecD vload_n(const double* p, int n) {
  return _mm512_maskz_loadu_pd(vmask_d(n), p);
}
static CONV3D_ALWAYS_INLINE void vstore_n(float* p, int n, VecF v) {
  _mm512_mask_storeu_ps(p, vmask_f(n), v);
}
static CONV3D_ALWAYS_INLINE void vstore_n(double* p, int n, VecD v) {
  _mm512_mask_storeu_pd(p, vmask_d(n), v);
}

static CONV3D_ALWAYS_INLINE VecF vload_even(const float* p) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_permutex2var_ps(vload(p), even, vload(p + kLanesF - 1));
}
static CONV3D_ALWAYS_INLINE VecD vload_even(const double* p) {
  const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 9, 11, 13, 15);
  return _mm512_permutex2var_pd(vload(p), even, vload(p + kLanesD - 1));
}

static CONV3D_ALWAYS_INLINE VecF veven(VecF a, VecF b) {
  const __m512i order =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(a, order, b);
}
static CONV3D_ALWAYS_INLINE VecD veven(VecD a, VecD b) {
  return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b);
}
static CONV3D_ALWAYS_INLINE VecF vodd(VecF a, VecF b) {
  const __m512i order =
      _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return _mm512_permutex2var_ps(a, order, b);
}
static CONV3D_ALWAYS_INLINE VecD vodd(VecD a, VecD b) {
  return _mm512_permutex2var_pd(a, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b);
}
static CONV3D_ALWAYS_INLINE VecF vzip_low(VecF a, VecF b) {
  const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return _mm512_permutex2var_ps(a, order, b);
}
static CONV3D_ALWAYS_INLINE VecD vzip_low(VecD a, VecD b) {
  return _mm512_permutex2var_pd(a, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), b);
}
static CONV3D_ALWAYS_INLINE VecF vzip_high(VecF a, VecF b) {
  const __m512i order =
      _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return _mm512_permutex2var_ps(a, order, b);
}
static CONV3D_ALWAYS_INLINE VecD vzip_high(VecD a, VecD b) {
  return _mm512_permutex2var_pd(a, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), b);
}

static CONV3D_ALWAYS_INLINE VecD vwiden(const float* p) {
  return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}
static CONV3D_ALWAYS_INLINE VecF vnarrow(VecD low, VecD high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

static CONV3D_ALWAYS_INLINE VecF vset(float x) { return _mm512_set1_ps(x); }
static CONV3D_ALWAYS_INLINE VecD vset(double x) { return _mm512_set1_pd(x); }
static CONV3D_ALWAYS_INLINE VecF vzero() { return _mm512_setzero_ps(); }
static CONV3D_ALWAYS_INLINE VecF vfma(VecF a, VecF b, VecF c) { return _mm512_fmadd_ps(a, b, c); }
static CONV3D_ALWAYS_INLINE VecD vfma(VecD a, VecD b, VecD c) { return _mm512_fmadd_pd(a, b, c); }
static CONV3D_ALWAYS_INLINE VecF vfnma(VecF a, VecF b, VecF c) { return _mm512_fnmadd_ps(a, b, c); }
static CONV3D_ALWAYS_INLINE VecD vfnma(VecD a, VecD b, VecD c) { return _mm512_fnmadd_pd(a, b, c); }
static CONV3D_ALWAYS_INLINE VecF vadd(VecF a, VecF b) { return _mm512_add_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vadd(VecD a, VecD b) { return _mm512_add_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vsub(VecF a, VecF b) { return _mm512_sub_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vsub(VecD a, VecD b) { return _mm512_sub_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmul(VecF a, VecF b) { return _mm512_mul_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmul(VecD a, VecD b) { return _mm512_mul_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vdiv(VecF a, VecF b) { return _mm512_div_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vdiv(VecD a, VecD b) { return _mm512_div_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmax(VecF a, VecF b) { return _mm512_max_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmax(VecD a, VecD b) { return _mm512_max_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vmin(VecF a, VecF b) { return _mm512_min_ps(a, b); }
static CONV3D_ALWAYS_INLINE VecD vmin(VecD a, VecD b) { return _mm512_min_pd(a, b); }
static CONV3D_ALWAYS_INLINE VecF vsqrt(VecF v) { return _mm512_sqrt_ps(v); }
static CONV3D_ALWAYS_INLINE VecD vsqrt(VecD v) { return _mm512_sqrt_pd(v); }
static CONV3D_ALWAYS_INLINE VecF vselect_equal(VecF a, VecF b, VecF x, VecF y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ), y, x);
}
static CONV3D_ALWAYS_INLINE VecD vselect_equal(VecD a, VecD b, VecD x, VecD y) {
  return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ), y, x);
}
static CONV3D_ALWAYS_INLINE VecF vjoin(VecF a, VecF b, int n) {
  return _mm512_mask_blend_ps(vmask_f(n), b, a);
}
static CONV3D_ALWAYS_INLINE VecD vjoin(VecD a, VecD b, int n) {
  return _mm512_mask_blend_pd(vmask_d(n), b, a);
}
static CONV3D_ALWAYS_INLINE VecF vpow2(VecF n) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_castps_si512(_mm512_add_ps(n, _mm512_set1_ps(8388735.0f))), 23));
}
static CONV3D_ALWAYS_INLINE VecD vpow2(VecD n) {
  return _mm512_castsi512_pd(_mm512_slli_epi64(
      _mm512_castpd_si512(_mm512_add_pd(n, _mm512_set1_pd(4503599627371519.0))), 52));
}
static CONV3D_ALWAYS_INLINE VecF vabs(VecF v) { return _mm512_abs_ps(v); }
static CONV3D_ALWAYS_INLINE VecD vabs(VecD v) { return _mm512_abs_pd(v); }
static CONV3D_ALWAYS_INLINE VecF vcopysign(VecF v, VecF s) {
  return _mm512_or_ps(vabs(v), _mm512_and_ps(_mm512_set1_ps(-0.0f), s));
}
static CONV3D_ALWAYS_INLINE VecD vcopysign(VecD v, VecD s) {
  return _mm512_or_pd(vabs(v), _mm512_and_pd(_mm512_set1_pd(-0.0), s));
}
static CONV3D_ALWAYS_INLINE float vsum(VecF v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
static CONV3D_ALWAYS_INLINE double vsum(VecD v) {
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

// Lane i: the sum of vector i's lanes, added in the order of vsum. By halves, as with 256 bits.
static CONV3D_ALWAYS_INLINE __m256 vsums_half(const __m256 (&v)[8]) {
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
static CONV3D_ALWAYS_INLINE __m256d vsums_half(const __m256d (&v)[4]) {
  const __m256d a = _mm256_add_pd(_mm256_permute2f128_pd(v[0], v[2], 0x20),
                                  _mm256_permute2f128_pd(v[0], v[2], 0x31));
  const __m256d b = _mm256_add_pd(_mm256_permute2f128_pd(v[1], v[3], 0x20),
                                  _mm256_permute2f128_pd(v[1], v[3], 0x31));
  return _mm256_add_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
}
static CONV3D_ALWAYS_INLINE VecF vsums(const VecF (&v)[16]) {
  __m256 half[2][8];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    half[i / 8][i % 8] =
        _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
  return _mm512_insertf32x8(_mm512_castps256_ps512(vsums_half(half[0])), vsums_half(half[1]), 1);
}
static CONV3D_ALWAYS_INLINE VecD vsums(const VecD (&v)[8]) {
  __m256d half[2][4];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    half[i / 4][i % 4] =
        _mm256_add_pd(_mm512_castpd512_pd256(v[i]), _mm512_extractf64x4_pd(v[i], 1));
  return _mm512_insertf64x4(_mm512_castpd256_pd512(vsums_half(half[0])), vsums_half(half[1]), 1);
}

static CONV3D_ALWAYS_INLINE void vtranspose(const float* src, ptrdiff_t src_stride, float* dst,
                                            ptrdiff_t dst_stride) {
  for (int i = 0; i < kLanesF; i += kSquareF)
    for (int j = 0; j < kLanesF; j += kSquareF)
      vtranspose_square(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
}
static CONV3D_ALWAYS_INLINE void vtranspose(const double* src, ptrdiff_t src_stride, double* dst,
                                            ptrdiff_t dst_stride) {
  for (int i = 0; i < kLanesD; i += kSquareD)
    for (int j = 0; j < kLanesD; j += kSquareD)
      vtranspose_square(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
}

}  // namespace conv3d::CONV3D_ISA
