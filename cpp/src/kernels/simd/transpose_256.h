// Squares of 8 floats or 4 doubles in registers of 256 bits, turned over: what both vec_avx2.h and
// vec_avx512.h use, because a transposition is bound by its loads and stores and blocks of 512 bits
// are no faster.
//
// Included by those two, which bring the intrinsics.
#pragma once

#include <cstddef>

#include "kernels/simd/vec_common.h"

namespace conv3d::CONV3D_ISA {

static constexpr int kSquareF = 8, kSquareD = 4;

// r: rows 0..3 beside 4..7, first their left halves: only shuffles within lanes remain.
static CONV3D_ALWAYS_INLINE void turn_square(const __m256 (&r)[8], __m256 (&y)[8]) {
#pragma GCC unroll 2
  for (int h = 0; h < 8; h += 4) {
    const __m256 a = _mm256_unpacklo_ps(r[h], r[h + 1]), b = _mm256_unpackhi_ps(r[h], r[h + 1]),
                 c = _mm256_unpacklo_ps(r[h + 2], r[h + 3]),
                 d = _mm256_unpackhi_ps(r[h + 2], r[h + 3]);
    y[h] = _mm256_shuffle_ps(a, c, 0x44);
    y[h + 1] = _mm256_shuffle_ps(a, c, 0xee);
    y[h + 2] = _mm256_shuffle_ps(b, d, 0x44);
    y[h + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
}
static CONV3D_ALWAYS_INLINE void turn_square(const __m256d (&r)[4], __m256d (&y)[4]) {
  const __m256d a = _mm256_unpacklo_pd(r[0], r[1]), b = _mm256_unpackhi_pd(r[0], r[1]);
  const __m256d c = _mm256_unpacklo_pd(r[2], r[3]), d = _mm256_unpackhi_pd(r[2], r[3]);
  y[0] = _mm256_permute2f128_pd(a, c, 0x20);
  y[1] = _mm256_permute2f128_pd(b, d, 0x20);
  y[2] = _mm256_permute2f128_pd(a, c, 0x31);
  y[3] = _mm256_permute2f128_pd(b, d, 0x31);
}

// Rows src_stride apart to their transpose, rows dst_stride apart.
static CONV3D_ALWAYS_INLINE void vtranspose_square(const float* src, ptrdiff_t src_stride,
                                                   float* dst, ptrdiff_t dst_stride) {
  __m256 r[8], y[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * src_stride)),
                                _mm_loadu_ps(src + (i + 4) * src_stride), 1);
    r[i + 4] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(src + i * src_stride + 4)),
                                    _mm_loadu_ps(src + (i + 4) * src_stride + 4), 1);
  }
  turn_square(r, y);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) _mm256_storeu_ps(dst + i * dst_stride, y[i]);
}
static CONV3D_ALWAYS_INLINE void vtranspose_square(const double* src, ptrdiff_t src_stride,
                                                   double* dst, ptrdiff_t dst_stride) {
  __m256d r[4], y[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) r[i] = _mm256_loadu_pd(src + i * src_stride);
  turn_square(r, y);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(dst + i * dst_stride, y[i]);
}

// Likewise where there are fewer columns than rows: nothing beyond them is read.
static CONV3D_ALWAYS_INLINE void vtranspose_columns(const float* src, ptrdiff_t src_stride,
                                                    int columns, float* dst, ptrdiff_t dst_stride) {
  const __m256i mask =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(columns), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  __m256 r[8], y[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 upper = _mm256_maskload_ps(src + i * src_stride, mask),
                 lower = _mm256_maskload_ps(src + (i + 4) * src_stride, mask);
    r[i] = _mm256_permute2f128_ps(upper, lower, 0x20);
    r[i + 4] = _mm256_permute2f128_ps(upper, lower, 0x31);
  }
  turn_square(r, y);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    if (i < columns) _mm256_storeu_ps(dst + i * dst_stride, y[i]);
}
static CONV3D_ALWAYS_INLINE void vtranspose_columns(const double* src, ptrdiff_t src_stride,
                                                    int columns, double* dst,
                                                    ptrdiff_t dst_stride) {
  const __m256i mask =
      _mm256_cmpgt_epi64(_mm256_set1_epi64x(columns), _mm256_setr_epi64x(0, 1, 2, 3));
  __m256d r[4], y[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) r[i] = _mm256_maskload_pd(src + i * src_stride, mask);
  turn_square(r, y);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    if (i < columns) _mm256_storeu_pd(dst + i * dst_stride, y[i]);
}

}  // namespace conv3d::CONV3D_ISA
