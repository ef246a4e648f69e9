// The Winograd transforms: nested one-dimensional F(m, r) along width, height and depth,
// 16 channels side by side.
//
//   input:   window [nd][nh][nw][16] -> along d and h, column by column, in L1 -> along w, to
//            U[p][tile][16]
//   output:  M[p][tile][16] -> along d -> along h -> along w, + bias, activation, to the image
//
// p = (d * nh + h) * nw + w. One tile of one group passes through about 14 to 20 KB of scratch, so
// everything between the image and U (M and the image) stays in L1; U and M are written and read in
// whole 64-byte lines. Nothing of a tile's arithmetic depends on its neighbours, on the layout or
// on where the border lies: a pixel outside the image takes part as a zero.
//
// Included by isa_*.cpp after a simd/vec_*.h, epilogue.inl, gemm_ukernel.inl and pack.inl. Source:
// Lavin and Gray 2016; nesting over axes and vectors over channels: Budden et al., Deep Tensor
// Convolution on Multicores, 2017.

#include "kernels/cook_toom.h"
#include "kernels/winograd_table.h"

namespace conv3d::CONV3D_ISA {

static constexpr int kGroupVectors = kWinogradGroup / kLanesF;
static_assert(kWinogradGroup % kLanesF == 0);

// U and M lie in L2, a page apart from point to point, where no hardware prefetcher follows. Stores
// wait for their line in order, so without a prefetch each of them costs the latency of the L2.
static constexpr int kPrefetchLines = 4;

static CONV3D_ALWAYS_INLINE VecF load_lanes(const float* p, int lanes) {
  return lanes >= kLanesF ? vload(p) : vload_n(p, lanes);
}

// Results in turns: one of two taps and one of one, or both of two.
static constexpr bool is_merge(int split) {
  return split == kSplitMerge || split == kSplitMergePlain;
}
static constexpr bool is_double_merge(int split) {
  return split == kSplitMergeSame || split == kSplitMergeShifted || split == kSplitMergeLast ||
         split == kSplitMergeFirst;
}
// Where the pixels of the second of them begin, and whether its results come first.
static constexpr int second_pixel(int split) {
  return split == kSplitMergeShifted || split == kSplitMergeLast ? 1 : 0;
}
static constexpr bool second_first(int split) {
  return split == kSplitMergeSame || split == kSplitMergeFirst;
}
// Pixels of the window behind so many points.
static constexpr int window_of(int points, int split) {
  return is_double_merge(split) ? (points + 1) / 2 + (split == kSplitMergeShifted ? 1 : 0)
         : is_merge(split) || split == kSplitPair ? (points + 1) / 2
                                                  : points;
}

// o = B^T d for n = N points: the even and the odd half of a row serve both points of a pair.
template <int N, int kSplit = kSplitNone>
static CONV3D_ALWAYS_INLINE void input_line(const VecF* d, VecF* o) {
  if constexpr (N == 1) {
    o[0] = d[0];
  } else if constexpr (kSplit == kSplitPair) {
    o[0] = d[0];
    o[1] = vadd(d[0], d[1]);
    o[2] = d[1];
  } else if constexpr (is_merge(kSplit)) {
    constexpr int kFirst = (N + 1) / 2, kPlain = N / 2;
    input_line<kFirst, kSplitNone>(d, o);
#pragma GCC unroll 8
    for (int i = 0; i < kPlain; ++i) o[kFirst + i] = d[i + (kSplit == kSplitMerge ? 1 : 0)];
  } else if constexpr (is_double_merge(kSplit) && kSplit != kSplitMergeSame) {
    constexpr int kFirst = (N + 1) / 2;
    input_line<kFirst, kSplitNone>(d, o);
    input_line<N / 2, kSplitNone>(d + second_pixel(kSplit), o + kFirst);
  } else if constexpr (kSplit == kSplitMergeSame) {
    input_line<N / 2, kSplitNone>(d, o);
#pragma GCC unroll 8
    for (int i = 0; i < N / 2; ++i) o[N / 2 + i] = o[i];
  } else if constexpr (kSplit != kSplitNone) {
    constexpr int kEven = (N + 1) / 2, kOdd = N / 2;
    VecF even[kEven], odd[kOdd];
#pragma GCC unroll 8
    for (int i = 0; i < kEven; ++i) even[i] = d[2 * i];
#pragma GCC unroll 8
    for (int i = 0; i < kOdd; ++i) odd[i] = d[2 * i + 1];
    input_line<kEven, kSplitNone>(even, o);
    if constexpr (kSplit == kSplitBoth) {
      input_line<kOdd, kSplitNone>(odd, o + kEven);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < kOdd; ++i) o[kEven + i] = odd[i];
    }
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
template <int N, int M, int kSplit>
static CONV3D_ALWAYS_INLINE void output_line(const VecF* m, VecF* y) {
  if constexpr (N == 1) {
    y[0] = m[0];
  } else if constexpr (kSplit == kSplitPair) {
    y[0] = vadd(m[1], m[2]);
    y[1] = vadd(m[1], m[0]);
  } else if constexpr (is_merge(kSplit)) {
    constexpr int kFirst = (N + 1) / 2, kEach = M / 2;
    VecF two[kEach];
    output_line<kFirst, kEach, kSplitNone>(m, two);
#pragma GCC unroll 8
    for (int i = 0; i < kEach; ++i) {
      y[2 * i + (kSplit == kSplitMerge ? 0 : 1)] = two[i];
      y[2 * i + (kSplit == kSplitMerge ? 1 : 0)] = m[kFirst + i];
    }
  } else if constexpr (is_double_merge(kSplit)) {
    constexpr int kFirst = (N + 1) / 2, kEach = M / 2;
    VecF first[kEach], second[kEach];
    output_line<kFirst, kEach, kSplitNone>(m, first);
    output_line<N / 2, kEach, kSplitNone>(m + kFirst, second);
#pragma GCC unroll 8
    for (int i = 0; i < kEach; ++i) {
      y[2 * i + (second_first(kSplit) ? 1 : 0)] = first[i];
      y[2 * i + (second_first(kSplit) ? 0 : 1)] = second[i];
    }
  } else if constexpr (kSplit != kSplitNone) {
    constexpr int kEven = (N + 1) / 2, kOdd = N / 2;
    output_line<kEven, M, kSplitNone>(m, y);
    if constexpr (kSplit == kSplitBoth) {
      VecF odd[M];
      output_line<kOdd, M, kSplitNone>(m + kEven, odd);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) y[i] = vadd(y[i], odd[i]);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) y[i] = vadd(y[i], m[kEven + i]);
    }
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
        y_i = i == 0 ? vadd(y_i, sum[q])
                     : vfma(vset(h.power[q][i]), i % 2 == 0 ? sum[q] : difference[q], y_i);
      if (i == 0 && kZero == 1) y_i = vadd(y_i, m[0]);
      if (i == M - 1) y_i = vadd(y_i, m[N - 1]);
      y[i] = y_i;
    }
  }
}

// A column of the window: its pixels at one w. What of it lies inside the image.
struct ColumnClip {
  int plane_begin, plane_end, row_begin, row_end;
};

// How input_along_d reads: pixels that are inside and lanes that exist; all pixels inside and whole
// vectors; and 16 channels.
enum InputLoad { kLoadSome, kLoadInside, kLoadWhole };

// Along d, from the image: for each of `rows` rows, the window's pixels stride_d apart to N lines
// dst_plane floats apart; `ahead` is where the source is read next, far_rows is non-zero where dst
// is U.
template <int N, int kSplit, InputLoad kLoad>
static void input_along_d(const float* src, ptrdiff_t stride_d, ptrdiff_t stride_h, int rows,
                          const ColumnClip& clip, int channels, ptrdiff_t ahead, float* dst,
                          ptrdiff_t dst_plane, ptrdiff_t dst_row, ptrdiff_t far_rows) {
  constexpr int kWindow = window_of(N, kSplit);
  const int vectors = kLoad == kLoadWhole ? kGroupVectors : (channels + kLanesF - 1) / kLanesF;
  for (int row = 0; row < rows; ++row, src += stride_h, dst += dst_row) {
    const bool inside = kLoad != kLoadSome || (row >= clip.row_begin && row < clip.row_end);
    if constexpr (kLoad != kLoadSome) {
      // The next column: more misses in flight than the order of loads allows. Measured: 12
      // % of this stage from memory; further ahead the rows, a power of two apart, push
      // each other out of the L1.
#pragma GCC unroll 8
      for (int i = 0; i < kWindow; ++i) prefetch_line(src + i * stride_d + ahead);
    }
    if (far_rows != 0) {
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) prefetch_line(dst + i * dst_plane + far_rows);
    }
    for (int v = 0; v < vectors; ++v) {
      VecF d[kWindow], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < kWindow; ++i) {
        if constexpr (kLoad != kLoadSome) {
          d[i] = vload(src + i * stride_d + v * kLanesF);
        } else {
          d[i] = inside && i >= clip.plane_begin && i < clip.plane_end
                     ? load_lanes(src + i * stride_d + v * kLanesF, channels - v * kLanesF)
                     : vzero();
        }
      }
      input_line<N, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * dst_plane + v * kLanesF, o[i]);
    }
  }
}

// Along h: for each of `planes` planes, the window's lines to N lines.
template <int N, int kSplit>
static void input_along_h(const float* src, int planes, int vectors, float* dst) {
  constexpr int kWindow = window_of(N, kSplit);
  for (int plane = 0; plane < planes;
       ++plane, src += kWindow * kWinogradGroup, dst += N * kWinogradGroup) {
    for (int v = 0; v < vectors; ++v) {
      VecF d[kWindow], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < kWindow; ++i) d[i] = vload(src + i * kWinogradGroup + v * kLanesF);
      input_line<N, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * kWinogradGroup + v * kLanesF, o[i]);
    }
  }
}

// Along w: for each of `lines` lines, one from each of the window's columns, to N positions of U.
template <int N, int kSplit>
static void input_along_w(const float* const* columns, int lines, int vectors, float* u,
                          ptrdiff_t position_stride) {
  constexpr int kWindow = window_of(N, kSplit);
  const float* column[kWindow];
#pragma GCC unroll 8
  for (int i = 0; i < kWindow; ++i) column[i] = columns[i];
  for (ptrdiff_t j = 0; j < lines * kWinogradGroup; j += kWinogradGroup, u += N * position_stride) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) prefetch_line(u + (i + kPrefetchLines * N) * position_stride);
    for (int v = 0; v < vectors; ++v) {
      VecF d[kWindow], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < kWindow; ++i) d[i] = vload(column[i] + j + v * kLanesF);
      input_line<N, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(u + i * position_stride + v * kLanesF, o[i]);
    }
  }
}

using InputDepthFn = void (*)(const float*, ptrdiff_t, ptrdiff_t, int, const ColumnClip&, int,
                              ptrdiff_t, float*, ptrdiff_t, ptrdiff_t, ptrdiff_t);
using InputHeightFn = void (*)(const float*, int, int, float*);
using InputWidthFn = void (*)(const float* const*, int, int, float*, ptrdiff_t);

// Every axis that the path has, as one number.
static constexpr int axis_key(int points, int split) { return points * 16 + split; }

template <InputLoad kLoad>
static InputDepthFn input_depth_fn(int points, int split) {
  switch (axis_key(points, split)) {
    case axis_key(1, kSplitNone): return input_along_d<1, kSplitNone, kLoad>;
    case axis_key(3, kSplitNone): return input_along_d<3, kSplitNone, kLoad>;
    case axis_key(3, kSplitPair): return input_along_d<3, kSplitPair, kLoad>;
    case axis_key(4, kSplitNone): return input_along_d<4, kSplitNone, kLoad>;
    case axis_key(5, kSplitNone): return input_along_d<5, kSplitNone, kLoad>;
    case axis_key(6, kSplitNone): return input_along_d<6, kSplitNone, kLoad>;
    case axis_key(7, kSplitNone): return input_along_d<7, kSplitNone, kLoad>;
    case axis_key(5, kSplitPlain): return input_along_d<5, kSplitPlain, kLoad>;
    case axis_key(7, kSplitPlain): return input_along_d<7, kSplitPlain, kLoad>;
    case axis_key(6, kSplitBoth): return input_along_d<6, kSplitBoth, kLoad>;
    case axis_key(5, kSplitMerge): return input_along_d<5, kSplitMerge, kLoad>;
    case axis_key(7, kSplitMerge): return input_along_d<7, kSplitMerge, kLoad>;
    case axis_key(5, kSplitMergePlain): return input_along_d<5, kSplitMergePlain, kLoad>;
    case axis_key(7, kSplitMergePlain): return input_along_d<7, kSplitMergePlain, kLoad>;
    case axis_key(6, kSplitMergeSame): return input_along_d<6, kSplitMergeSame, kLoad>;
    case axis_key(6, kSplitMergeShifted): return input_along_d<6, kSplitMergeShifted, kLoad>;
    case axis_key(7, kSplitMergeLast): return input_along_d<7, kSplitMergeLast, kLoad>;
    case axis_key(7, kSplitMergeFirst): return input_along_d<7, kSplitMergeFirst, kLoad>;
    default: return input_along_d<7, kSplitBoth, kLoad>;
  }
}
static InputHeightFn input_height_fn(int points, int split) {
  switch (axis_key(points, split)) {
    case axis_key(1, kSplitNone): return input_along_h<1, kSplitNone>;
    case axis_key(3, kSplitNone): return input_along_h<3, kSplitNone>;
    case axis_key(3, kSplitPair): return input_along_h<3, kSplitPair>;
    case axis_key(4, kSplitNone): return input_along_h<4, kSplitNone>;
    case axis_key(5, kSplitNone): return input_along_h<5, kSplitNone>;
    case axis_key(6, kSplitNone): return input_along_h<6, kSplitNone>;
    case axis_key(7, kSplitNone): return input_along_h<7, kSplitNone>;
    case axis_key(5, kSplitPlain): return input_along_h<5, kSplitPlain>;
    case axis_key(7, kSplitPlain): return input_along_h<7, kSplitPlain>;
    case axis_key(6, kSplitBoth): return input_along_h<6, kSplitBoth>;
    case axis_key(5, kSplitMerge): return input_along_h<5, kSplitMerge>;
    case axis_key(7, kSplitMerge): return input_along_h<7, kSplitMerge>;
    case axis_key(5, kSplitMergePlain): return input_along_h<5, kSplitMergePlain>;
    case axis_key(7, kSplitMergePlain): return input_along_h<7, kSplitMergePlain>;
    case axis_key(6, kSplitMergeSame): return input_along_h<6, kSplitMergeSame>;
    case axis_key(6, kSplitMergeShifted): return input_along_h<6, kSplitMergeShifted>;
    case axis_key(7, kSplitMergeLast): return input_along_h<7, kSplitMergeLast>;
    case axis_key(7, kSplitMergeFirst): return input_along_h<7, kSplitMergeFirst>;
    default: return input_along_h<7, kSplitBoth>;
  }
}
static InputWidthFn input_width_fn(int points, int split) {
  switch (axis_key(points, split)) {
    case axis_key(1, kSplitNone): return input_along_w<1, kSplitNone>;
    case axis_key(3, kSplitNone): return input_along_w<3, kSplitNone>;
    case axis_key(3, kSplitPair): return input_along_w<3, kSplitPair>;
    case axis_key(4, kSplitNone): return input_along_w<4, kSplitNone>;
    case axis_key(5, kSplitNone): return input_along_w<5, kSplitNone>;
    case axis_key(6, kSplitNone): return input_along_w<6, kSplitNone>;
    case axis_key(7, kSplitNone): return input_along_w<7, kSplitNone>;
    case axis_key(5, kSplitPlain): return input_along_w<5, kSplitPlain>;
    case axis_key(7, kSplitPlain): return input_along_w<7, kSplitPlain>;
    case axis_key(6, kSplitBoth): return input_along_w<6, kSplitBoth>;
    case axis_key(5, kSplitMerge): return input_along_w<5, kSplitMerge>;
    case axis_key(7, kSplitMerge): return input_along_w<7, kSplitMerge>;
    case axis_key(5, kSplitMergePlain): return input_along_w<5, kSplitMergePlain>;
    case axis_key(7, kSplitMergePlain): return input_along_w<7, kSplitMergePlain>;
    case axis_key(6, kSplitMergeSame): return input_along_w<6, kSplitMergeSame>;
    case axis_key(6, kSplitMergeShifted): return input_along_w<6, kSplitMergeShifted>;
    case axis_key(7, kSplitMergeLast): return input_along_w<7, kSplitMergeLast>;
    case axis_key(7, kSplitMergeFirst): return input_along_w<7, kSplitMergeFirst>;
    default: return input_along_w<7, kSplitBoth>;
  }
}

static int64_t ceil_div_int(int64_t n, int64_t d) { return n / d + (n % d > 0); }
static int clamp_int(int64_t value, int low, int high) {
  return value < low ? low : value > high ? high : static_cast<int>(value);
}

// Neighbours along w share columns, which are transformed along d and h once: the last ones, as
// many as a window has, are kept in a ring. Windows that share nothing skip what lies between them.
static void winograd_input_transform(const WinogradInputArgs* a) {
  constexpr int kMax = kWinogradMaxPoints;
  alignas(64) float half[kMax * kMax * kWinogradGroup];        // [nd][rows][16] of one column
  alignas(64) float ring[kMax][kMax * kMax * kWinogradGroup];  // [column][nd][nh][16]
  const int nd = a->points_d, nh = a->points_h;
  const int planes = window_of(nd, a->split_d), rows = window_of(nh, a->split_h),
            window_w = window_of(a->points_w, a->split_w);
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  const InputHeightFn along_h = input_height_fn(nh, a->split_h);
  const InputWidthFn along_w = input_width_fn(a->points_w, a->split_w);
  ColumnClip clip;
  clip.plane_begin = clamp_int(-a->origin_d, 0, planes);
  clip.plane_end = clamp_int(a->extent_d - a->origin_d, 0, planes);
  clip.row_begin = clamp_int(-a->origin_h, 0, rows);
  clip.row_end = clamp_int(a->extent_h - a->origin_h, 0, rows);
  const bool inside = clip.plane_begin == 0 && clip.plane_end == planes && clip.row_begin == 0 &&
                      clip.row_end == rows && a->channels % kLanesF == 0;
  const InputDepthFn along_d = !inside ? input_depth_fn<kLoadSome>(nd, a->split_d)
                               : a->channels == kWinogradGroup
                                   ? input_depth_fn<kLoadWhole>(nd, a->split_d)
                                   : input_depth_fn<kLoadInside>(nd, a->split_d);
  const float* corner = a->source + a->origin_d * a->stride_d + a->origin_h * a->stride_h;
  const ptrdiff_t tile_step = (1 + static_cast<ptrdiff_t>(a->gap)) * kWinogradGroup;
  float* u = a->u;
  if (nh == 1 && a->points_w == 1) {
    // What is called the depth alone: the tiles of the run take the place of the rows.
    const int first = clamp_int(ceil_div_int(-a->origin_w, a->step_w), 0, a->tiles),
              last = clamp_int(ceil_div_int(a->extent_w - a->origin_w, a->step_w), 0, a->tiles);
    const bool row_inside = clip.row_begin == 0 && clip.row_end == 1;
    clip.row_begin = row_inside ? first : 0;
    clip.row_end = row_inside ? last : 0;
    const ptrdiff_t step = a->step_w * a->stride_w;
    const bool whole_run = inside && first == 0 && last == a->tiles;
    (whole_run ? along_d : input_depth_fn<kLoadSome>(nd, a->split_d))(
        corner + a->origin_w * a->stride_w, a->stride_d, step, a->tiles, clip, a->channels,
        kPrefetchLines * step, u, a->position_stride, tile_step, kPrefetchLines * tile_step);
    return;
  }
  int64_t w = a->origin_w;  // of the next new column
  int slot = 0, fresh = window_w;
  for (int tile = 0; tile < a->tiles; ++tile, u += tile_step) {
    for (int i = 0; i < fresh; ++i, ++w) {
      float* column = ring[slot];
      slot = slot + 1 == window_w ? 0 : slot + 1;
      if (w < 0 || w >= a->extent_w) {
        for (ptrdiff_t j = 0; j < nd * nh * kWinogradGroup; j += kLanesF)
          vstore(column + j, vzero());
        continue;
      }
      along_d(corner + w * a->stride_w, a->stride_d, a->stride_h, rows, clip, a->channels,
              a->stride_w, half, rows * kWinogradGroup, kWinogradGroup, 0);
      along_h(half, nd, vectors, column);
    }
    const float* columns[kMax];
    for (int i = 0, s = slot; i < window_w; ++i, s = s + 1 == window_w ? 0 : s + 1)
      columns[i] = ring[s];
    along_w(columns, nd * nh, vectors, u, a->position_stride);
    fresh = a->step_w < window_w ? a->step_w : window_w;
    w += a->step_w - fresh;
  }
}

// Along d or h: for each of `lines` lines, N of them src_stride apart to M of them
// dst_stride apart.
template <int N, int M, int kSplit, int kAhead>
static void output_across(const float* src, ptrdiff_t src_stride, ptrdiff_t src_line_stride,
                          int lines, int vectors, float* dst, ptrdiff_t dst_stride) {
  for (int j = 0; j < lines; ++j, src += src_line_stride, dst += kWinogradGroup) {
    if constexpr (kAhead > 0) {
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) prefetch_line(src + i * src_stride + kAhead * src_line_stride);
    }
    for (int v = 0; v < vectors; ++v) {
      VecF m[N], y[M];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) m[i] = vload(src + i * src_stride + v * kLanesF);
      output_line<N, M, kSplit>(m, y);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) vstore(dst + i * dst_stride + v * kLanesF, y[i]);
    }
  }
}

// How output_along_w writes: lanes that exist; all 16; all 16 and past the caches (dst aligned to a
// line, strides whole lines); one vector of pixels that follow on each other, past the caches (the
// M of a row are whole lines).
enum OutputStore { kStoreSome, kStoreWhole, kStoreStream, kStoreStreamNarrow };

// Where output_along_w reads and writes, in floats: from line to line of a row and from row to row.
struct OutputSteps {
  ptrdiff_t src_line, src_row, pixel, row;
};

// Along w (or the one axis that is transformed), rows of N lines to rows of `pixels` <= M pixels of
// the image, with bias and activation.
template <int N, int M, int kSplit, OutputStore kStore>
static void output_along_w(const float* src, int rows, int pixels, const WinogradOutputArgs* a,
                           const OutputSteps& steps, float* dst) {
  const int vectors = kStore == kStoreStreamNarrow ? 1
                      : kStore == kStoreSome       ? (a->channels + kLanesF - 1) / kLanesF
                                                   : kGroupVectors;
  VecF bias[kGroupVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kGroupVectors; ++v)
    bias[v] = a->bias != nullptr ? vload(a->bias + v * kLanesF) : vzero();
  const bool simple = a->activation == kActNone || a->activation == kActRelu;
  // max(-infinity, y) is y: one instruction serves "none" and ReLU without a branch.
  const VecF floor = vset(a->activation == kActRelu ? 0.0f : -__builtin_inff());
  for (int row = 0; row < rows; ++row, src += steps.src_row, dst += steps.row) {
    VecF y[kGroupVectors][M];
#pragma GCC unroll 4
    for (int v = 0; v < kGroupVectors; ++v) {
      if ((kStore == kStoreSome || kStore == kStoreStreamNarrow) && v >= vectors) {
        for (int i = 0; i < M; ++i) y[v][i] = floor;  // not stored
        continue;
      }
      VecF m[N];
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) m[i] = vload(src + i * steps.src_line + v * kLanesF);
      output_line<N, M, kSplit>(m, y[v]);
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
      float* pixel = dst + i * steps.pixel;
#pragma GCC unroll 4
      for (int v = 0; v < kGroupVectors; ++v) {
        if constexpr (kStore == kStoreStreamNarrow) {
          if (v == 0) vstream(pixel, y[0][i]);
        } else if constexpr (kStore == kStoreStream) {
          vstream(pixel + v * kLanesF, y[v][i]);
        } else if constexpr (kStore == kStoreWhole) {
          vstore(pixel + v * kLanesF, y[v][i]);
        } else {
          const int lanes = a->channels - v * kLanesF;
          if (lanes >= kLanesF)
            vstore(pixel + v * kLanesF, y[v][i]);
          else if (lanes > 0)
            vstore_n(pixel + v * kLanesF, lanes, y[v][i]);
        }
      }
    }
  }
}

using OutputAcrossFn = void (*)(const float*, ptrdiff_t, ptrdiff_t, int, int, float*, ptrdiff_t);
using OutputRowsFn = void (*)(const float*, int, int, const WinogradOutputArgs*, const OutputSteps&,
                              float*);

static constexpr int output_key(int points, int outputs, int split) {
  return axis_key(points, split) * 8 + outputs;
}

template <int kAhead>
static OutputAcrossFn output_across_fn(int points, int outputs, int split) {
  switch (output_key(points, outputs, split)) {
    case output_key(1, 1, kSplitNone): return output_across<1, 1, kSplitNone, kAhead>;
    case output_key(3, 2, kSplitNone): return output_across<3, 2, kSplitNone, kAhead>;
    case output_key(3, 2, kSplitPair): return output_across<3, 2, kSplitPair, kAhead>;
    case output_key(4, 2, kSplitNone): return output_across<4, 2, kSplitNone, kAhead>;
    case output_key(4, 3, kSplitNone): return output_across<4, 3, kSplitNone, kAhead>;
    case output_key(5, 3, kSplitNone): return output_across<5, 3, kSplitNone, kAhead>;
    case output_key(5, 2, kSplitNone): return output_across<5, 2, kSplitNone, kAhead>;
    case output_key(5, 4, kSplitNone): return output_across<5, 4, kSplitNone, kAhead>;
    case output_key(6, 4, kSplitNone): return output_across<6, 4, kSplitNone, kAhead>;
    case output_key(6, 3, kSplitNone): return output_across<6, 3, kSplitNone, kAhead>;
    case output_key(6, 2, kSplitNone): return output_across<6, 2, kSplitNone, kAhead>;
    case output_key(7, 3, kSplitNone): return output_across<7, 3, kSplitNone, kAhead>;
    case output_key(5, 2, kSplitPlain): return output_across<5, 2, kSplitPlain, kAhead>;
    case output_key(7, 3, kSplitPlain): return output_across<7, 3, kSplitPlain, kAhead>;
    case output_key(6, 2, kSplitBoth): return output_across<6, 2, kSplitBoth, kAhead>;
    case output_key(5, 4, kSplitMerge): return output_across<5, 4, kSplitMerge, kAhead>;
    case output_key(7, 6, kSplitMerge): return output_across<7, 6, kSplitMerge, kAhead>;
    case output_key(5, 4, kSplitMergePlain): return output_across<5, 4, kSplitMergePlain, kAhead>;
    case output_key(7, 6, kSplitMergePlain): return output_across<7, 6, kSplitMergePlain, kAhead>;
    case output_key(6, 4, kSplitMergeSame): return output_across<6, 4, kSplitMergeSame, kAhead>;
    case output_key(6, 4, kSplitMergeShifted):
      return output_across<6, 4, kSplitMergeShifted, kAhead>;
    case output_key(7, 4, kSplitMergeLast): return output_across<7, 4, kSplitMergeLast, kAhead>;
    case output_key(7, 4, kSplitMergeFirst): return output_across<7, 4, kSplitMergeFirst, kAhead>;
    default: return output_across<7, 2, kSplitBoth, kAhead>;
  }
}

template <OutputStore kStore>
static OutputRowsFn output_rows_fn(int points, int outputs, int split) {
  switch (output_key(points, outputs, split)) {
    case output_key(1, 1, kSplitNone): return output_along_w<1, 1, kSplitNone, kStore>;
    case output_key(3, 2, kSplitNone): return output_along_w<3, 2, kSplitNone, kStore>;
    case output_key(3, 2, kSplitPair): return output_along_w<3, 2, kSplitPair, kStore>;
    case output_key(4, 2, kSplitNone): return output_along_w<4, 2, kSplitNone, kStore>;
    case output_key(4, 3, kSplitNone): return output_along_w<4, 3, kSplitNone, kStore>;
    case output_key(5, 3, kSplitNone): return output_along_w<5, 3, kSplitNone, kStore>;
    case output_key(5, 2, kSplitNone): return output_along_w<5, 2, kSplitNone, kStore>;
    case output_key(5, 4, kSplitNone): return output_along_w<5, 4, kSplitNone, kStore>;
    case output_key(6, 4, kSplitNone): return output_along_w<6, 4, kSplitNone, kStore>;
    case output_key(6, 3, kSplitNone): return output_along_w<6, 3, kSplitNone, kStore>;
    case output_key(6, 2, kSplitNone): return output_along_w<6, 2, kSplitNone, kStore>;
    case output_key(7, 3, kSplitNone): return output_along_w<7, 3, kSplitNone, kStore>;
    case output_key(5, 2, kSplitPlain): return output_along_w<5, 2, kSplitPlain, kStore>;
    case output_key(7, 3, kSplitPlain): return output_along_w<7, 3, kSplitPlain, kStore>;
    case output_key(6, 2, kSplitBoth): return output_along_w<6, 2, kSplitBoth, kStore>;
    case output_key(5, 4, kSplitMerge): return output_along_w<5, 4, kSplitMerge, kStore>;
    case output_key(7, 6, kSplitMerge): return output_along_w<7, 6, kSplitMerge, kStore>;
    case output_key(5, 4, kSplitMergePlain): return output_along_w<5, 4, kSplitMergePlain, kStore>;
    case output_key(7, 6, kSplitMergePlain): return output_along_w<7, 6, kSplitMergePlain, kStore>;
    case output_key(6, 4, kSplitMergeSame): return output_along_w<6, 4, kSplitMergeSame, kStore>;
    case output_key(6, 4, kSplitMergeShifted):
      return output_along_w<6, 4, kSplitMergeShifted, kStore>;
    case output_key(7, 4, kSplitMergeLast): return output_along_w<7, 4, kSplitMergeLast, kStore>;
    case output_key(7, 4, kSplitMergeFirst): return output_along_w<7, 4, kSplitMergeFirst, kStore>;
    default: return output_along_w<7, 2, kSplitBoth, kStore>;
  }
}

static void winograd_output_transform(const WinogradOutputArgs* a) {
  constexpr int kMax = kWinogradMaxPoints, kOut = kWinogradMaxOutputs;
  alignas(64) float slab[kOut * kMax * kMax * kWinogradGroup];  // [md][nh][nw][16]
  alignas(64) float plane[kOut * kMax * kWinogradGroup];        // [mh][nw][16]
  const int nd = a->points_d, nh = a->points_h, nw = a->points_w;
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  const ptrdiff_t plane_size = static_cast<ptrdiff_t>(nh) * nw * kWinogradGroup;
  const OutputAcrossFn along_d = output_across_fn<kPrefetchLines>(nd, a->outputs_d, a->split_d),
                       along_h = output_across_fn<0>(nh, a->outputs_h, a->split_h);
  const bool whole = a->channels == kWinogradGroup;
  const bool aligned =
      a->stream != 0 && reinterpret_cast<uintptr_t>(a->result) % 64 == 0 &&
      (a->stride_d | a->stride_h | (a->outputs_w * a->stride_w)) % kWinogradGroup == 0;
  const bool stream_whole = aligned && whole && a->stride_w % kWinogradGroup == 0;
  if (nh == 1 && a->points_w == 1) {
    // What is called the depth alone: each tile is a row of outputs_d pixels.
    const ptrdiff_t tile_step = (1 + static_cast<ptrdiff_t>(a->gap)) * kWinogradGroup;
    const OutputSteps steps = {a->position_stride, tile_step, a->stride_d, a->stride_w};
    const OutputRowsFn rows_fn = stream_whole
                                     ? output_rows_fn<kStoreStream>(nd, a->outputs_d, a->split_d)
                                 : whole ? output_rows_fn<kStoreWhole>(nd, a->outputs_d, a->split_d)
                                         : output_rows_fn<kStoreSome>(nd, a->outputs_d, a->split_d);
    if (a->origin_h < a->extent_h)
      rows_fn(a->m, clamp_int(a->extent_w - a->origin_w, 0, a->tiles),
              clamp_int(a->extent_d - a->origin_d, 0, a->outputs_d), a, steps,
              a->result + a->origin_d * a->stride_d + a->origin_h * a->stride_h +
                  a->origin_w * a->stride_w);
    return;
  }
  const OutputSteps steps = {kWinogradGroup, nw * kWinogradGroup, a->stride_w, a->stride_h};
  const bool stream_narrow = aligned && a->channels == kLanesF && a->stride_w == kLanesF &&
                             kLanesF < kWinogradGroup && a->origin_w % a->outputs_w == 0;
  const OutputRowsFn cached = whole ? output_rows_fn<kStoreWhole>(nw, a->outputs_w, a->split_w)
                                    : output_rows_fn<kStoreSome>(nw, a->outputs_w, a->split_w);
  const OutputRowsFn streamed =
      stream_narrow ? output_rows_fn<kStoreStreamNarrow>(nw, a->outputs_w, a->split_w)
                    : output_rows_fn<kStoreStream>(nw, a->outputs_w, a->split_w);
  const int depth = clamp_int(a->extent_d - a->origin_d, 0, a->outputs_d);
  const int rows = clamp_int(a->extent_h - a->origin_h, 0, a->outputs_h);
  const ptrdiff_t tile_step = (1 + static_cast<ptrdiff_t>(a->gap)) * kWinogradGroup;
  int64_t origin_w = a->origin_w;
  const float* m = a->m;
  for (int tile = 0; tile < a->tiles; ++tile, origin_w += a->outputs_w, m += tile_step) {
    const int pixels = clamp_int(a->extent_w - origin_w, 0, a->outputs_w);
    float* corner =
        a->result + a->origin_d * a->stride_d + a->origin_h * a->stride_h + origin_w * a->stride_w;
    // Narrow pixels make whole lines together only.
    const bool stream = stream_whole || (stream_narrow && pixels == a->outputs_w);
    const OutputRowsFn along_w = stream ? streamed : cached;
    if (!stream) {
      for (int d = 0; d < depth; ++d)
        for (int h = 0; h < rows; ++h)
          for (int i = 0; i < pixels; ++i)
            prefetch_for_write(corner + d * a->stride_d + h * a->stride_h + i * a->stride_w);
    }
    along_d(m, nh * nw * a->position_stride, a->position_stride, nh * nw, vectors, slab,
            plane_size);
    for (int d = 0; d < depth; ++d) {
      along_h(slab + d * plane_size, nw * kWinogradGroup, kWinogradGroup, nw, vectors, plane,
              nw * kWinogradGroup);
      along_w(plane, rows, pixels, a, steps, corner + d * a->stride_d);
    }
  }
}

// A vector of Real from numbers of that type, or from floats.
template <class Real, class T>
static CONV3D_ALWAYS_INLINE Vec<Real> load_as(const T* p) {
  if constexpr (sizeof(Real) > sizeof(T)) {
    return vwiden(p);
  } else {
    return vload(p);
  }
}

// Whether the rows of G are those of the point 0, of pairs +-p and of infinity, so that both rows
// of a pair share the even taps and, but for the sign, the odd ones.
template <int N, int R>
static consteval bool filter_rows_in_pairs() {
  if constexpr (R == 3 && (N == 4 || N == 6)) {  // no axis of stride 2 has these points
    constexpr cook_toom::Matrices<N - R + 1, R> exact = cook_toom::make<N - R + 1, R>();
    double g[N][R] = {};
    for (int j = 0; j < N; ++j)
      for (int k = 0; k < R; ++k) g[j][k] = cook_toom::to_double(exact.g[j][k]);
    bool pairs = g[0][1] == 0 && g[0][2] == 0 && g[N - 1][0] == 0 && g[N - 1][1] == 0;
    for (int j = 1; j < N - 1; j += 2)
      pairs = pairs && g[j][0] == g[j + 1][0] && g[j][1] == -g[j + 1][1] && g[j][2] == g[j + 1][2];
    return pairs;
  } else {
    return false;
  }
}

// G of N points of R taps in every lane: read once, not again after each store.
template <int N, int R, class Real>
struct FilterRows {
  Vec<Real> g[N * R];
  explicit CONV3D_ALWAYS_INLINE FilterRows(const Real* from) {
#pragma GCC unroll 64
    for (int i = 0; i < N * R; ++i) g[i] = vset(from[i]);
  }
};

// o = G x.
template <int N, int R, class Real>
static CONV3D_ALWAYS_INLINE void filter_line(const FilterRows<N, R, Real>& rows, const Vec<Real>* x,
                                             Vec<Real>* o) {
  const Vec<Real>* const g = rows.g;
  if constexpr (filter_rows_in_pairs<N, R>()) {
    o[0] = vmul(g[0], x[0]);
#pragma GCC unroll 4
    for (int j = 1; j < N - 1; j += 2) {
      const Vec<Real> even = vfma(g[j * R + 2], x[2], vmul(g[j * R], x[0]));
      o[j] = vfma(g[j * R + 1], x[1], even);
      o[j + 1] = vfnma(g[j * R + 1], x[1], even);
    }
    o[N - 1] = vmul(g[N * R - 1], x[2]);
  } else {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      o[j] = vmul(g[j * R], x[0]);
#pragma GCC unroll 8
      for (int k = 1; k < R; ++k) o[j] = vfma(g[j * R + k], x[k], o[j]);
    }
  }
}
static_assert(filter_rows_in_pairs<4, 3>() && filter_rows_in_pairs<6, 3>());

// One axis of the filter transform for 16 result channels: for each of `lines` lines, R of them
// src_stride apart to N of them dst_stride apart (in groups of 16 numbers).
template <int N, int R, class Real, class T>
static void filter_axis(const Real* g, const T* src, ptrdiff_t src_stride, ptrdiff_t src_line,
                        int lines, Real* dst, ptrdiff_t dst_stride, ptrdiff_t dst_line) {
  const FilterRows<N, R, Real> rows(g);
  for (int line = 0; line < lines; ++line, src += src_line, dst += dst_line) {
#pragma GCC unroll 4
    for (int v = 0; v < kWinogradGroup; v += VecOf<Real>::kLanes) {
      Vec<Real> x[R], o[N];
#pragma GCC unroll 8
      for (int k = 0; k < R; ++k) x[k] = load_as<Real>(src + k * src_stride + v);
      filter_line(rows, x, o);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) vstore(dst + j * dst_stride + v, o[j]);
    }
  }
}

// Height and width at once, where both are F(m, 3) of the same m: `planes` times 3 x 3 taps,
// src_tap apart, to N x N groups of 16 numbers one after the other. What lies between stays in
// registers and L1.
template <int N, class Real>
static void filter_planes(const Real* g, const float* src, ptrdiff_t src_tap, int planes,
                          Real* dst) {
  const FilterRows<N, 3, Real> rows(g);
  for (; planes > 0; --planes, src += 9 * src_tap, dst += N * N * kWinogradGroup) {
#pragma GCC unroll 1
    for (int v = 0; v < kWinogradGroup; v += VecOf<Real>::kLanes) {
      Vec<Real> y[3][N];
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        Vec<Real> x[3];
#pragma GCC unroll 3
        for (int k = 0; k < 3; ++k) x[k] = load_as<Real>(src + (r * 3 + k) * src_tap + v);
        filter_line(rows, x, y[r]);
      }
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) {
        const Vec<Real> x[3] = {y[0][j], y[1][j], y[2][j]};
        Vec<Real> o[N];
        filter_line(rows, x, o);
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) vstore(dst + (i * N + j) * kWinogradGroup + v, o[i]);
      }
    }
  }
}

// The last axis, rounded and written to where it stays: for each of `lines` positions the lines of
// all source channels one after the other, so that what adjoins in memory is written together.
template <int N, int R, class Real, bool kStream>
static void filter_last_axis(const Real* g, const Real* src, ptrdiff_t source_size, int sources,
                             int lines, const WinogradFilterArgs* a, float* packed) {
  constexpr int kLanes = VecOf<Real>::kLanes, kParts = kLanesF / kLanes;
  const FilterRows<N, R, Real> rows(g);
  const ptrdiff_t src_stride = static_cast<ptrdiff_t>(lines) * kWinogradGroup,
                  dst_stride = lines * a->position_stride;
  for (int line = 0; line < lines; ++line, src += kWinogradGroup, packed += a->position_stride) {
    for (int s = 0; s < sources; ++s) {
      const Real* from = src + s * source_size;
      float* to = packed + s * a->source_step;
      for (int v = 0; v < a->width; v += kLanesF) {
        Vec<Real> x[kParts][R], o[kParts][N];
#pragma GCC unroll 2
        for (int part = 0; part < kParts; ++part) {
#pragma GCC unroll 8
          for (int k = 0; k < R; ++k) x[part][k] = vload(from + k * src_stride + v + part * kLanes);
          filter_line(rows, x[part], o[part]);
        }
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) {
          VecF rounded;
          if constexpr (kParts == 2) {
            rounded = vnarrow(o[0][j], o[1][j]);
          } else {
            rounded = o[0][j];
          }
          if constexpr (kStream) {
            vstream(to + j * dst_stride + v, rounded);
          } else {
            vstore(to + j * dst_stride + v, rounded);
          }
        }
      }
    }
  }
}
static_assert(kLanesF == 2 * kLanesD);

template <class Real>
struct FilterAxis {
  template <class T>
  using Pass = void (*)(const Real*, const T*, ptrdiff_t, ptrdiff_t, int, Real*, ptrdiff_t,
                        ptrdiff_t);
  using Last = void (*)(const Real*, const Real*, ptrdiff_t, int, int, const WinogradFilterArgs*,
                        float*);
  Pass<float> taps;
  Pass<Real> axis;
  Last last, last_stream;
  void (*planes)(const Real*, const float*, ptrdiff_t, int, Real*);  // or null
};
template <class Real, int N, int R>
static constexpr auto planes_of() {
  if constexpr (R == 3 && N <= 6) {
    return filter_planes<N, Real>;
  } else {
    return nullptr;
  }
}
template <class Real, int N, int R>
static constexpr FilterAxis<Real> kFilterAxis = {
    filter_axis<N, R, Real, float>, filter_axis<N, R, Real, Real>,
    filter_last_axis<N, R, Real, false>, filter_last_axis<N, R, Real, true>,
    planes_of<Real, N, R>()};

template <class Real>
static const FilterAxis<Real>& filter_axis_of(int points, int taps) {
  switch (points * 8 + taps) {
    case 1 * 8 + 1: return kFilterAxis<Real, 1, 1>;
    case 3 * 8 + 2: return kFilterAxis<Real, 3, 2>;
    case 4 * 8 + 2: return kFilterAxis<Real, 4, 2>;
    case 5 * 8 + 2: return kFilterAxis<Real, 5, 2>;
    case 3 * 8 + 3: return kFilterAxis<Real, 3, 3>;
    case 4 * 8 + 3: return kFilterAxis<Real, 4, 3>;
    case 5 * 8 + 3: return kFilterAxis<Real, 5, 3>;
    case 6 * 8 + 3: return kFilterAxis<Real, 6, 3>;
    case 7 * 8 + 3: return kFilterAxis<Real, 7, 3>;
    case 5 * 8 + 4: return kFilterAxis<Real, 5, 4>;
    case 6 * 8 + 4: return kFilterAxis<Real, 6, 4>;
    case 6 * 8 + 5: return kFilterAxis<Real, 6, 5>;
    default: return kFilterAxis<Real, 7, 5>;
  }
}

// Taps [begin, end) of them.
static void filter_lines_of(const WinogradFilterLines* a, int begin, int end) {
  constexpr int kG = kWinogradGroup;
  const int tap_floats = a->sources * kG;
  for (int t = begin; t < end; ++t) {
    const float* const tap = a->taps + t * a->tap_stride;
    float* const to = a->lines + t * tap_floats;
    if (a->channels < kG) {
      for (int i = 0; i < tap_floats; ++i) to[i] = 0;
    }
    if (a->channel_stride == 1) {
      for (int s = 0; s < a->sources; ++s) {
        const float* from = tap + s * a->source_stride;
        for (int v = 0; v < a->channels; v += kLanesF)
          vstore(to + s * kG + v, load_lanes(from + v, a->channels - v));
      }
    } else {
      const TransposeArgs<float> transposed = {tap, a->channel_stride, to,
                                               kG,  a->channels,       a->sources};
      transpose_block(&transposed);
    }
  }
}
static void winograd_filter_lines(const WinogradFilterLines* a) { filter_lines_of(a, 0, a->count); }

// Lines of the next call, a few taps with each source channel of this one, and what they read is
// asked for one source channel before: the taps of wide layers lie a power of two apart, so that
// caches hold the same line of a few of them only.
static CONV3D_ALWAYS_INLINE void filter_lines_ahead(const WinogradFilterLines* a, int step,
                                                    int steps) {
  const int begin = a->count * step / steps, end = a->count * (step + 1) / steps,
            next = step + 1 < steps ? a->count * (step + 2) / steps : end;
  const bool rows = a->channel_stride == 1;
  const ptrdiff_t stride = rows ? a->source_stride : a->channel_stride;
  for (int t = end; t < next; ++t) {
    const float* line = a->taps + t * a->tap_stride;
    for (int i = rows ? a->sources : a->channels; i > 0; --i, line += stride) {
      prefetch_line_l2(line);
      prefetch_line_l2(line + kWinogradGroup - 1);
    }
  }
  filter_lines_of(a, begin, end);
}

// G of the three axes as numbers of type Real.
template <class Real>
struct FilterMatrices {
  Real d[kWinogradMaxPoints * kWinogradMaxTaps], h[kWinogradMaxPoints * kWinogradMaxTaps],
      w[kWinogradMaxPoints * kWinogradMaxTaps];
  explicit FilterMatrices(const WinogradFilterAxes& a) {
    for (int i = 0; i < a.points_d * a.taps_d; ++i) d[i] = static_cast<Real>(a.g_d[i]);
    for (int i = 0; i < a.points_h * a.taps_h; ++i) h[i] = static_cast<Real>(a.g_h[i]);
    for (int i = 0; i < a.points_w * a.taps_w; ++i) w[i] = static_cast<Real>(a.g_w[i]);
  }
};

template <class Real>
static void filter_transform_as(const WinogradFilterArgs* a) {
  constexpr int kMax = kWinogradMaxPoints, kTaps = kWinogradMaxTaps, kG = kWinogradGroup;
  constexpr int kMiddle = 256;  // lines before the last axis: 32 KB of float64
  static_assert(kMiddle >= kTaps * kMax * kMax);
  alignas(64) Real along_w[kTaps * kTaps * kMax * kG];  // [r0][r1][n2][16] of a source channel
  alignas(64) Real middle[kMiddle * kG];                // [source][r0][n1][n2][16]
  const FilterMatrices<Real> g(a->axes);
  const int n0 = a->axes.points_d, n1 = a->axes.points_h, n2 = a->axes.points_w,
            r0 = a->axes.taps_d, r1 = a->axes.taps_h, r2 = a->axes.taps_w;
  const int tap_floats = a->sources * kG;
  const FilterAxis<Real>&axis_w = filter_axis_of<Real>(n2, r2),
        &axis_h = filter_axis_of<Real>(n1, r1), &axis_d = filter_axis_of<Real>(n0, r0);
  const auto last = a->stream != 0 ? axis_d.last_stream : axis_d.last;
  const bool square = a->axes.g_h == a->axes.g_w && axis_w.planes != nullptr;
  const int plane = n1 * n2, source_size = r0 * plane * kG, most = kMiddle * kG / source_size;
  for (int first = 0; first < a->sources; first += most) {
    const int count = a->sources - first < most ? a->sources - first : most;
    for (int s = 0; s < count; ++s) {
      if (a->ahead != nullptr) filter_lines_ahead(a->ahead, first + s, a->sources);
      if (square) {
        axis_w.planes(g.w, a->lines + (first + s) * kG, tap_floats, r0, middle + s * source_size);
        continue;
      }
      axis_w.taps(g.w, a->lines + (first + s) * kG, tap_floats, r2 * tap_floats, r0 * r1, along_w,
                  kG, n2 * kG);
      for (int d = 0; d < r0; ++d)
        axis_h.axis(g.h, along_w + d * r1 * n2 * kG, n2 * kG, kG, n2,
                    middle + s * source_size + d * plane * kG, n2 * kG, kG);
    }
    last(g.d, middle, source_size, count, plane, a, a->packed + first * a->source_step);
  }
}

static void winograd_filter_transform(const WinogradFilterArgs* a) {
  if (a->wide != 0) {
    filter_transform_as<double>(a);
  } else {
    filter_transform_as<float>(a);
  }
}

static void winograd_ask(const float* p, int64_t floats) {
  for (int64_t i = 0; i < floats; i += kWinogradGroup) prefetch_line_l2(p + i);
}

static constexpr WinogradTable kWinogradTable = {kLinesNr,
                                                 kLanesF,
                                                 winograd_filter_lines,
                                                 winograd_filter_transform,
                                                 winograd_input_transform,
                                                 gemm_lines,
                                                 winograd_output_transform,
                                                 winograd_ask};

}  // namespace conv3d::CONV3D_ISA
