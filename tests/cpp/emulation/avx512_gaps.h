// Intrinsics that kernels/simd/vec_avx512.h uses and that some releases of SIMDe lack.
// Included before isa_avx512.cpp when it is compiled with CONV3D_EMULATE_ISA, on processors
// without AVX-512, for tests only.
#pragma once

#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

static inline simde__m512 conv3d_gap_maskz_loadu_ps(simde__mmask16 mask, const void* p) {
  float lanes[16] = {};
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1)
      lanes[i] = static_cast<const float*>(p)[i];  // lanes outside the mask are not touched
  return simde_mm512_loadu_ps(lanes);
}
static inline simde__m512d conv3d_gap_maskz_loadu_pd(simde__mmask8 mask, const void* p) {
  double lanes[8] = {};
  for (int i = 0; i < 8; ++i)
    if (mask >> i & 1) lanes[i] = static_cast<const double*>(p)[i];
  return simde_mm512_loadu_pd(lanes);
}
static inline void conv3d_gap_mask_storeu_ps(void* p, simde__mmask16 mask, simde__m512 v) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, v);
  for (int i = 0; i < 16; ++i)
    if (mask >> i & 1) static_cast<float*>(p)[i] = lanes[i];
}
static inline void conv3d_gap_mask_storeu_pd(void* p, simde__mmask8 mask, simde__m512d v) {
  double lanes[8];
  simde_mm512_storeu_pd(lanes, v);
  for (int i = 0; i < 8; ++i)
    if (mask >> i & 1) static_cast<double*>(p)[i] = lanes[i];
}
static inline simde__m256 conv3d_gap_extractf32x8_ps(simde__m512 v, int half) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, v);
  return simde_mm256_loadu_ps(lanes + 8 * half);
}
static inline simde__m512d conv3d_gap_cvtps_pd(simde__m256 v) {
  float from[8];
  double to[8];
  simde_mm256_storeu_ps(from, v);
  for (int i = 0; i < 8; ++i) to[i] = from[i];
  return simde_mm512_loadu_pd(to);
}
static inline simde__m256 conv3d_gap_cvtpd_ps(simde__m512d v) {
  double from[8];
  float to[8];
  simde_mm512_storeu_pd(from, v);
  for (int i = 0; i < 8; ++i) to[i] = static_cast<float>(from[i]);
  return simde_mm256_loadu_ps(to);
}

#undef _mm512_cvtps_pd
#undef _mm512_cvtpd_ps
#define _mm512_cvtps_pd(v) conv3d_gap_cvtps_pd(v)
#define _mm512_cvtpd_ps(v) conv3d_gap_cvtpd_ps(v)
#undef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps(v, half) conv3d_gap_extractf32x8_ps(v, half)
#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_loadu_pd
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_storeu_pd
#undef _mm512_stream_ps
#undef _mm512_stream_pd
#define _mm512_maskz_loadu_ps(mask, p) conv3d_gap_maskz_loadu_ps(mask, p)
#define _mm512_maskz_loadu_pd(mask, p) conv3d_gap_maskz_loadu_pd(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) conv3d_gap_mask_storeu_ps(p, mask, v)
#define _mm512_mask_storeu_pd(p, mask, v) conv3d_gap_mask_storeu_pd(p, mask, v)
#define _mm512_stream_ps(p, v) simde_mm512_storeu_ps(p, v)
#define _mm512_stream_pd(p, v) simde_mm512_storeu_pd(p, v)
