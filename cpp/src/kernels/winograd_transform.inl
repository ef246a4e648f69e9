// The Winograd transforms: nested one-dimensional F(m, r) along width, height and depth, 16 channels side by side.
//
//   input:   window [nd][nh][nw][16]  ->  along w and h, plane by plane, in L1  ->  along d, to U[p][tile][16]
//   output:  M[p][tile][16]  ->  along d  ->  along h  ->  along w, + bias, activation, to the image
//
// p = (d * nh + h) * nw + w. One tile of one group passes through about 14 KB of scratch, so everything between the image and
// U (M and the image) stays in L1; U and M are written and read in whole 64-byte lines.
// Nothing of a tile's arithmetic depends on its neighbours, on the layout or on where the border lies: a pixel outside
// the image takes part as a zero.
//
// Included by isa_*.cpp after a simd/vec_*.h. Source: Lavin and Gray 2016; nesting over axes and vectors over channels:
// Budden et al., Deep Tensor Convolution on Multicores, 2017.

#include "kernels/cook_toom.h"
#include "kernels/winograd_table.h"

namespace conv3d::CONV3D_ISA {

static constexpr int kGroupVectors = kWinogradGroup / kLanesF;
static_assert(kWinogradGroup % kLanesF == 0);

static CONV3D_ALWAYS_INLINE VecF load_lanes(const float* p, int lanes) {
  return lanes >= kLanesF ? vload(p) : vload_n(p, lanes);
}

// o = B^T d for n = N points: the even and the odd half of a row serve both points of a pair.
template <int N>
static CONV3D_ALWAYS_INLINE void input_line(const VecF* d, VecF* o) {
  if constexpr (N == 1) {
    o[0] = d[0];
  } else {
    constexpr cook_toom::Halves<N> h = cook_toom::make_halves<N>();
    constexpr int kPairs = cook_toom::Halves<N>::kPairs, kZero = cook_toom::Halves<N>::kZero;
    if constexpr (kZero == 1) {
      VecF z = d[2 * kPairs];
#pragma GCC unroll 4
      for (int k = kPairs - 1; k >= 0; --k) z = vfma(vset(h.all[k]), d[2 * k], z);
      o[0] = z;
    }
#pragma GCC unroll 4
    for (int q = 0; q < kPairs; ++q) {
      VecF even = d[2 * kPairs - 1 + kZero], odd = d[2 * kPairs - 2 + kZero];
#pragma GCC unroll 4
      for (int k = kPairs - 2; k >= 0; --k) {
        even = vfma(vset(h.pair[q][k]), d[2 * k + 1 + kZero], even);
        odd = vfma(vset(h.pair[q][k]), d[2 * k + kZero], odd);
      }
      o[kZero + 2 * q] = vfma(vset(h.point[q]), odd, even);
      o[kZero + 2 * q + 1] = vfnma(vset(h.point[q]), odd, even);
    }
    VecF z = d[2 * kPairs + kZero];
#pragma GCC unroll 4
    for (int k = kPairs - 1; k >= 0; --k) z = vfma(vset(h.all[k]), d[2 * k + kZero], z);
    o[N - 1] = z;
  }
}

// y = A^T m for M outputs from N points.
template <int N, int M>
static CONV3D_ALWAYS_INLINE void output_line(const VecF* m, VecF* y) {
  if constexpr (N == 1) {
    y[0] = m[0];
  } else {
    constexpr cook_toom::Halves<N> h = cook_toom::make_halves<N>();
    constexpr int kPairs = cook_toom::Halves<N>::kPairs, kZero = cook_toom::Halves<N>::kZero;
    VecF sum[kPairs], difference[kPairs];
#pragma GCC unroll 4
    for (int q = 0; q < kPairs; ++q) {
      sum[q] = vadd(m[kZero + 2 * q], m[kZero + 2 * q + 1]);
      difference[q] = vsub(m[kZero + 2 * q], m[kZero + 2 * q + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < M; ++i) {
      VecF y_i = i == 0 ? sum[0] : vmul(vset(h.power[0][i]), i % 2 == 0 ? sum[0] : difference[0]);
#pragma GCC unroll 4
      for (int q = 1; q < kPairs; ++q)
        y_i = i == 0 ? vadd(y_i, sum[q]) : vfma(vset(h.power[q][i]), i % 2 == 0 ? sum[q] : difference[q], y_i);
      if (i == 0 && kZero == 1) y_i = vadd(y_i, m[0]);
      if (i == M - 1) y_i = vadd(y_i, m[N - 1]);
      y[i] = y_i;
    }
  }
}

// What of a plane of the window lies inside the image: rows [row_begin, row_end), pixels [begin, end) of each.
struct PlaneClip {
  int row_begin, row_end, begin, end;
};

// Along w: rows of N pixels of the image to lines dst[row][N][16]. kWhole: all pixels inside and 16 channels.
template <int N, bool kWhole>
static void input_along_w(const float* src, ptrdiff_t stride_h, ptrdiff_t stride_w, int rows, PlaneClip clip, int channels,
                          float* dst) {
  const int vectors = kWhole ? kGroupVectors : (channels + kLanesF - 1) / kLanesF;
  for (int row = 0; row < rows; ++row, src += stride_h, dst += N * kWinogradGroup) {
    const bool inside = kWhole || (row >= clip.row_begin && row < clip.row_end);
    for (int v = 0; v < vectors; ++v) {
      VecF d[N], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        if constexpr (kWhole) {
          d[i] = vload(src + i * stride_w + v * kLanesF);
        } else {
          d[i] = inside && i >= clip.begin && i < clip.end
                     ? load_lanes(src + i * stride_w + v * kLanesF, channels - v * kLanesF)
                     : vzero();
        }
      }
      input_line<N>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * kWinogradGroup + v * kLanesF, o[i]);
    }
  }
}

// Along h or d: for each of `lines` lines, N of them src_stride apart to N of them dst_stride apart.
template <int N>
static void input_across(const float* src, ptrdiff_t src_stride, int lines, int vectors, float* dst, ptrdiff_t dst_stride,
                         ptrdiff_t dst_line_stride) {
  for (int j = 0; j < lines; ++j, src += kWinogradGroup, dst += dst_line_stride) {
    for (int v = 0; v < vectors; ++v) {
      VecF d[N], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) d[i] = vload(src + i * src_stride + v * kLanesF);
      input_line<N>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * dst_stride + v * kLanesF, o[i]);
    }
  }
}

using InputAcrossFn = void (*)(const float*, ptrdiff_t, int, int, float*, ptrdiff_t, ptrdiff_t);
using InputRowsFn = void (*)(const float*, ptrdiff_t, ptrdiff_t, int, PlaneClip, int, float*);

static InputAcrossFn input_across_fn(int points) {
  switch (points) {
    case 1: return input_across<1>;
    case 4: return input_across<4>;
    case 5: return input_across<5>;
    case 6: return input_across<6>;
    default: return input_across<7>;
  }
}

template <bool kWhole>
static InputRowsFn input_rows_fn(int points) {
  switch (points) {
    case 1: return input_along_w<1, kWhole>;
    case 4: return input_along_w<4, kWhole>;
    case 5: return input_along_w<5, kWhole>;
    case 6: return input_along_w<6, kWhole>;
    default: return input_along_w<7, kWhole>;
  }
}

static int clamp_int(int64_t value, int low, int high) {
  return value < low ? low : value > high ? high : static_cast<int>(value);
}

static void winograd_input_transform(const WinogradInputArgs* a) {
  constexpr int kMax = kWinogradMaxPoints;
  alignas(64) float plane[kMax * kMax * kWinogradGroup];
  alignas(64) float window[kMax * kMax * kMax * kWinogradGroup];
  const int nd = a->points_d, nh = a->points_h, nw = a->points_w;
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  const ptrdiff_t plane_size = static_cast<ptrdiff_t>(nh) * nw * kWinogradGroup;
  const InputRowsFn rows_whole = input_rows_fn<true>(nw), rows_clipped = input_rows_fn<false>(nw);
  const InputAcrossFn along_h = input_across_fn(nh), along_d = input_across_fn(nd);
  PlaneClip clip;
  clip.row_begin = clamp_int(-a->origin_h, 0, nh);
  clip.row_end = clamp_int(a->extent_h - a->origin_h, 0, nh);
  const int plane_begin = clamp_int(-a->origin_d, 0, nd), plane_end = clamp_int(a->extent_d - a->origin_d, 0, nd);
  const bool rows_inside = clip.row_begin == 0 && clip.row_end == nh && a->channels == kWinogradGroup;
  const float* corner = a->source + a->origin_d * a->stride_d + a->origin_h * a->stride_h;
  int64_t origin_w = a->origin_w;
  float* u = a->u;
  for (int tile = 0; tile < a->tiles; ++tile, origin_w += a->step_w, u += kWinogradGroup) {
    clip.begin = clamp_int(-origin_w, 0, nw);
    clip.end = clamp_int(a->extent_w - origin_w, 0, nw);
    const InputRowsFn along_w = rows_inside && clip.begin == 0 && clip.end == nw ? rows_whole : rows_clipped;
    float* target = window;
    for (int d = 0; d < nd; ++d, target += plane_size) {
      if (d < plane_begin || d >= plane_end) {
        for (ptrdiff_t i = 0; i < plane_size; i += kLanesF) vstore(target + i, vzero());
        continue;
      }
      along_w(corner + d * a->stride_d + origin_w * a->stride_w, a->stride_h, a->stride_w, nh, clip, a->channels, plane);
      along_h(plane, nw * kWinogradGroup, nw, vectors, target, nw * kWinogradGroup, kWinogradGroup);
    }
    along_d(window, plane_size, nh * nw, vectors, u, nh * nw * a->position_stride, a->position_stride);
  }
}

// Along d or h: for each of `lines` lines, N of them src_stride apart to M of them dst_stride apart.
template <int N, int M>
static void output_across(const float* src, ptrdiff_t src_stride, ptrdiff_t src_line_stride, int lines, int vectors,
                          float* dst, ptrdiff_t dst_stride) {
  for (int j = 0; j < lines; ++j, src += src_line_stride, dst += kWinogradGroup) {
    for (int v = 0; v < vectors; ++v) {
      VecF m[N], y[M];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) m[i] = vload(src + i * src_stride + v * kLanesF);
      output_line<N, M>(m, y);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) vstore(dst + i * dst_stride + v * kLanesF, y[i]);
    }
  }
}

// How output_along_w writes: lanes that exist; all 16; all 16 and past the caches (dst aligned to a line, strides whole lines).
enum OutputStore { kStoreSome, kStoreWhole, kStoreStream };

// Along w, rows of N lines to rows of `pixels` <= M pixels of the image, with bias and activation.
template <int N, int M, OutputStore kStore>
static void output_along_w(const float* src, int rows, int pixels, const WinogradOutputArgs* a, float* dst) {
  const int vectors = kStore == kStoreSome ? (a->channels + kLanesF - 1) / kLanesF : kGroupVectors;
  VecF bias[kGroupVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kGroupVectors; ++v) bias[v] = a->bias != nullptr ? vload(a->bias + v * kLanesF) : vzero();
  const bool simple = a->activation == kActNone || a->activation == kActRelu;
  // max(-infinity, y) is y: one instruction serves "none" and ReLU without a branch.
  const VecF floor = vset(a->activation == kActRelu ? 0.0f : -__builtin_inff());
  for (int row = 0; row < rows; ++row, src += N * kWinogradGroup, dst += a->stride_h) {
    VecF y[kGroupVectors][M];
#pragma GCC unroll 4
    for (int v = 0; v < kGroupVectors; ++v) {
      if (kStore == kStoreSome && v >= vectors) {
        for (int i = 0; i < M; ++i) y[v][i] = floor;  // not stored
        continue;
      }
      VecF m[N];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) m[i] = vload(src + i * kWinogradGroup + v * kLanesF);
      output_line<N, M>(m, y[v]);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) y[v][i] = vmax(floor, vadd(y[v][i], bias[v]));
      if (!simple) {
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) y[v][i] = activate(y[v][i], a->activation, a->alpha);
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      if (i >= pixels) break;
      float* pixel = dst + i * a->stride_w;
#pragma GCC unroll 4
      for (int v = 0; v < kGroupVectors; ++v) {
        if constexpr (kStore == kStoreStream) {
          vstream(pixel + v * kLanesF, y[v][i]);
        } else if constexpr (kStore == kStoreWhole) {
          vstore(pixel + v * kLanesF, y[v][i]);
        } else {
          const int lanes = a->channels - v * kLanesF;
          if (lanes >= kLanesF) vstore(pixel + v * kLanesF, y[v][i]);
          else if (lanes > 0) vstore_n(pixel + v * kLanesF, lanes, y[v][i]);
        }
      }
    }
  }
}

using OutputAcrossFn = void (*)(const float*, ptrdiff_t, ptrdiff_t, int, int, float*, ptrdiff_t);
using OutputRowsFn = void (*)(const float*, int, int, const WinogradOutputArgs*, float*);

static OutputAcrossFn output_across_fn(int points, int outputs) {
  switch (points * 8 + outputs) {
    case 1 * 8 + 1: return output_across<1, 1>;
    case 4 * 8 + 2: return output_across<4, 2>;
    case 5 * 8 + 3: return output_across<5, 3>;
    case 6 * 8 + 4: return output_across<6, 4>;
    case 6 * 8 + 2: return output_across<6, 2>;
    default: return output_across<7, 3>;
  }
}

template <OutputStore kStore>
static OutputRowsFn output_rows_fn(int points, int outputs) {
  switch (points * 8 + outputs) {
    case 1 * 8 + 1: return output_along_w<1, 1, kStore>;
    case 4 * 8 + 2: return output_along_w<4, 2, kStore>;
    case 5 * 8 + 3: return output_along_w<5, 3, kStore>;
    case 6 * 8 + 4: return output_along_w<6, 4, kStore>;
    case 6 * 8 + 2: return output_along_w<6, 2, kStore>;
    default: return output_along_w<7, 3, kStore>;
  }
}

static void winograd_output_transform(const WinogradOutputArgs* a) {
  constexpr int kMax = kWinogradMaxPoints, kOut = kWinogradMaxOutputs;
  alignas(64) float slab[kOut * kMax * kMax * kWinogradGroup];  // [md][nh][nw][16]
  alignas(64) float plane[kOut * kMax * kWinogradGroup];        // [mh][nw][16]
  const int nd = a->points_d, nh = a->points_h, nw = a->points_w;
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  const ptrdiff_t plane_size = static_cast<ptrdiff_t>(nh) * nw * kWinogradGroup;
  const OutputAcrossFn along_d = output_across_fn(nd, a->outputs_d), along_h = output_across_fn(nh, a->outputs_h);
  const bool whole = a->channels == kWinogradGroup;
  const bool stream = whole && a->stream != 0 && reinterpret_cast<uintptr_t>(a->result) % 64 == 0 &&
                      (a->stride_d | a->stride_h | a->stride_w) % kWinogradGroup == 0;
  const OutputRowsFn along_w = stream  ? output_rows_fn<kStoreStream>(nw, a->outputs_w)
                               : whole ? output_rows_fn<kStoreWhole>(nw, a->outputs_w)
                                       : output_rows_fn<kStoreSome>(nw, a->outputs_w);
  const int depth = clamp_int(a->extent_d - a->origin_d, 0, a->outputs_d);
  const int rows = clamp_int(a->extent_h - a->origin_h, 0, a->outputs_h);
  int64_t origin_w = a->origin_w;
  const float* m = a->m;
  for (int tile = 0; tile < a->tiles; ++tile, origin_w += a->outputs_w, m += kWinogradGroup) {
    const int pixels = clamp_int(a->extent_w - origin_w, 0, a->outputs_w);
    along_d(m, nh * nw * a->position_stride, a->position_stride, nh * nw, vectors, slab, plane_size);
    for (int d = 0; d < depth; ++d) {
      along_h(slab + d * plane_size, nw * kWinogradGroup, kWinogradGroup, nw, vectors, plane, nw * kWinogradGroup);
      along_w(plane, rows, pixels, a,
              a->result + (a->origin_d + d) * a->stride_d + a->origin_h * a->stride_h + origin_w * a->stride_w);
    }
  }
  if (stream) vstream_fence();
}

// Transposition in blocks of kLanesF pixels through registers would save little: the rows come from memory once per block of
// tiles, the lines stay in L1.
static void winograd_gather_lines(const WinogradTransposeArgs* a) {
  for (int64_t begin = 0; begin < a->pixels; begin += kWinogradGroup) {
    const int64_t count = a->pixels - begin < kWinogradGroup ? a->pixels - begin : kWinogradGroup;
    float* lines = a->lines + begin * kWinogradGroup;
    for (int c = 0; c < a->channels; ++c) {
      const float* row = a->row + c * a->channel_stride + begin;
      for (int64_t i = 0; i < count; ++i) lines[i * kWinogradGroup + c] = row[i];
    }
    for (int64_t i = 0; i < count; ++i)
      for (int c = a->channels; c < kWinogradGroup; ++c) lines[i * kWinogradGroup + c] = 0.0f;
  }
}

static void winograd_scatter_lines(const WinogradTransposeArgs* a) {
  for (int64_t begin = 0; begin < a->pixels; begin += kWinogradGroup) {
    const int64_t count = a->pixels - begin < kWinogradGroup ? a->pixels - begin : kWinogradGroup;
    const float* lines = a->lines + begin * kWinogradGroup;
    for (int c = 0; c < a->channels; ++c) {
      float* row = a->row + c * a->channel_stride + begin;
      for (int64_t i = 0; i < count; ++i) row[i] = lines[i * kWinogradGroup + c];
    }
  }
}

static constexpr WinogradTable kWinogradTable = {winograd_input_transform, winograd_output_transform,
                                                 winograd_gather_lines, winograd_scatter_lines};

}  // namespace conv3d::CONV3D_ISA
