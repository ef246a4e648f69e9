// The Winograd filter gradient, 16 channels side by side. The taps' gradients are r outputs of a
// correlation whose kernel is a tile of grad_output, so with A^T, G, B^T of F(m, r)
//
//   grad_filter = G^T [ sum over tiles (B^T x) . (A dy) ]        x: n pixels, dy: m pixels
//
//   columns:  the pixels of a window at one place along the width, along d and h -> lines
//   width:    lines of n (m) columns -> n points, a run of tiles
//   outer:    the product per point, summed over tiles
//   taps:     G^T along d, h and w, in float32 or float64
//
// Two steps (one where the depth alone is transformed), because what lies between them is two
// thirds of the points: neighbouring tiles share columns. The lines of a block of tiles may live in
// a shared cache; the points never leave L2.
//
// Included by isa_*.cpp after winograd_transform.inl, which has input_line and the filter's axes.

#include "kernels/winograd_gradient_table.h"

namespace conv3d::CONV3D_ISA {

// v = A d for N points from M pixels: even and odd powers serve both points of a pair. With stride
// 2 both halves of the taps meet the same pixels.
template <int N, int M, int kSplit>
static CONV3D_ALWAYS_INLINE void gradient_line(const VecF* d, VecF* o) {
  if constexpr (N == 1) {
    o[0] = d[0];
  } else if constexpr (kSplit != kSplitNone) {
    constexpr int kEven = (N + 1) / 2, kOdd = N / 2;
    gradient_line<kEven, M, kSplitNone>(d, o);
    if constexpr (kSplit == kSplitBoth) {
      gradient_line<kOdd, M, kSplitNone>(d, o + kEven);
    } else {
#pragma GCC unroll 8
      for (int i = 0; i < kOdd; ++i) o[kEven + i] = d[i];
    }
  } else {
    constexpr cook_toom::Halves<N> h = cook_toom::make_halves<N>();
    constexpr int kPairs = cook_toom::Halves<N>::kPairs, kZero = cook_toom::Halves<N>::kZero;
    static_assert(M >= 2 && M <= 4);
    if constexpr (kZero == 1) o[0] = d[0];
#pragma GCC unroll 4
    for (int q = 0; q < kPairs; ++q) {
      VecF even = d[0], odd = d[1];
      if constexpr (M > 2) even = vfma(vset(h.power[q][2]), d[2], even);
      if constexpr (M > 3) odd = vfma(vset(h.power[q][2]), d[3], odd);
      o[kZero + 2 * q] = vfma(vset(h.point[q]), odd, even);
      o[kZero + 2 * q + 1] = vfnma(vset(h.point[q]), odd, even);
    }
    o[N - 1] = d[M - 1];
  }
}

// P pixels to N points: P == N is the input, else grad_output, but for a pair.
template <int N, int P, int kSplit>
static CONV3D_ALWAYS_INLINE void operand_line(const VecF* d, VecF* o) {
  if constexpr (kSplit == kSplitPairTurned) {
    const VecF turned[] = {d[1], d[0]};
    input_line<N, kSplitPair>(turned, o);
  } else if constexpr (P == N || kSplit == kSplitPair) {
    input_line<N, kSplit>(d, o);
  } else {
    gradient_line<N, P, kSplit>(d, o);
  }
}

// Every axis that an operand may have: f(points, pixels, split) with constants.
template <int N, int P, int kSplit>
struct OperandAxis {
  static constexpr int kPoints = N, kPixels = P, kHalves = kSplit;
};
template <class F>
static CONV3D_ALWAYS_INLINE auto with_axis(int points, int pixels, int split, const F& f) {
  switch ((points * 8 + pixels) * 8 + split) {
    case (3 * 8 + 2) * 8 + kSplitPair: return f(OperandAxis<3, 2, kSplitPair>{});
    case (3 * 8 + 2) * 8 + kSplitPairTurned: return f(OperandAxis<3, 2, kSplitPairTurned>{});
    case (1 * 8 + 1) * 8: return f(OperandAxis<1, 1, kSplitNone>{});
    case (4 * 8 + 4) * 8: return f(OperandAxis<4, 4, kSplitNone>{});
    case (5 * 8 + 5) * 8: return f(OperandAxis<5, 5, kSplitNone>{});
    case (6 * 8 + 6) * 8: return f(OperandAxis<6, 6, kSplitNone>{});
    case (7 * 8 + 7) * 8: return f(OperandAxis<7, 7, kSplitNone>{});
    case (4 * 8 + 2) * 8: return f(OperandAxis<4, 2, kSplitNone>{});
    case (5 * 8 + 3) * 8: return f(OperandAxis<5, 3, kSplitNone>{});
    case (6 * 8 + 4) * 8: return f(OperandAxis<6, 4, kSplitNone>{});
    case (6 * 8 + 2) * 8: return f(OperandAxis<6, 2, kSplitNone>{});
    case (7 * 8 + 3) * 8: return f(OperandAxis<7, 3, kSplitNone>{});
    case (5 * 8 + 5) * 8 + kSplitPlain: return f(OperandAxis<5, 5, kSplitPlain>{});
    case (7 * 8 + 7) * 8 + kSplitPlain: return f(OperandAxis<7, 7, kSplitPlain>{});
    case (5 * 8 + 2) * 8 + kSplitPlain: return f(OperandAxis<5, 2, kSplitPlain>{});
    case (7 * 8 + 3) * 8 + kSplitPlain: return f(OperandAxis<7, 3, kSplitPlain>{});
    case (6 * 8 + 6) * 8 + kSplitBoth: return f(OperandAxis<6, 6, kSplitBoth>{});
    case (6 * 8 + 2) * 8 + kSplitBoth: return f(OperandAxis<6, 2, kSplitBoth>{});
    case (7 * 8 + 7) * 8 + kSplitBoth: return f(OperandAxis<7, 7, kSplitBoth>{});
    default: return f(OperandAxis<7, 2, kSplitBoth>{});
  }
}

// Where points go: those of which a bit is set, `apart` floats from each to the next.
struct ColumnPoints {
  float* first;
  ptrdiff_t apart;
  unsigned wanted;
};

// Along d, from the image: for each of `rows` rows, P pixels stride_d apart to N points, of each
// row 16 floats further on. kWhole: whole vectors of channels. Planes outside are read from zeros,
// so that those inside of a tile at the border come as fast, and are asked for as early, as any
// other's.
template <int N, int P, int kSplit, bool kWhole>
static void columns_along_d(const float* src, ptrdiff_t stride_d, ptrdiff_t stride_h, int rows,
                            const ColumnClip& clip, int channels, ptrdiff_t ahead,
                            const ColumnPoints& to) {
  const unsigned wanted = to.wanted;
  const ptrdiff_t apart = to.apart;
  float* dst = to.first;
  alignas(64) static constexpr float kZeros[kWinogradGroup] = {};
  const int vectors = (channels + kLanesF - 1) / kLanesF;
  const float* from[P];
  ptrdiff_t step[P];
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i) {
    const bool inside = i >= clip.plane_begin && i < clip.plane_end;
    from[i] = inside ? src + i * stride_d + clip.row_begin * stride_h : kZeros;
    step[i] = inside ? stride_h : 0;
  }
  for (int row = 0; row < rows; ++row, dst += kWinogradGroup) {
    if (row < clip.row_begin || row >= clip.row_end) {
      for (int i = 0; i < N; ++i)
        for (int v = 0; v < vectors && (wanted >> i & 1) != 0; ++v)
          vstore(dst + i * apart + v * kLanesF, vzero());
      continue;
    }
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i)
      if (step[i] != 0) prefetch_line(from[i] + ahead);
    for (int v = 0; v < vectors; ++v) {
      VecF d[P], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) {
        if constexpr (kWhole) {
          d[i] = vload(from[i] + v * kLanesF);
        } else {
          d[i] = load_lanes(from[i] + v * kLanesF, channels - v * kLanesF);
        }
      }
      operand_line<N, P, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i)
        if ((wanted >> i & 1) != 0) vstore(dst + i * apart + v * kLanesF, o[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) from[i] += step[i];
  }
}

// Along h: for each of `planes` planes of P lines, to N lines position_stride apart.
template <int N, int P, int kSplit>
static void columns_along_h(const float* src, int planes, int vectors, float* dst,
                            ptrdiff_t position_stride) {
  for (int plane = 0; plane < planes; ++plane, src += P * kWinogradGroup) {
    for (int v = 0; v < vectors; ++v) {
      VecF d[P], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) d[i] = vload(src + i * kWinogradGroup + v * kLanesF);
      operand_line<N, P, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * position_stride + v * kLanesF, o[i]);
    }
    dst += N * position_stride;
  }
}

using ColumnsDepthFn = void (*)(const float*, ptrdiff_t, ptrdiff_t, int, const ColumnClip&, int,
                                ptrdiff_t, const ColumnPoints&);
using ColumnsHeightFn = void (*)(const float*, int, int, float*, ptrdiff_t);

template <bool kWhole>
static ColumnsDepthFn columns_depth_fn(int points, int pixels, int split) {
  return with_axis(points, pixels, split, [](auto axis) -> ColumnsDepthFn {
    using A = decltype(axis);
    return columns_along_d<A::kPoints, A::kPixels, A::kHalves, kWhole>;
  });
}
static ColumnsHeightFn columns_height_fn(int points, int pixels, int split) {
  return with_axis(points, pixels, split, [](auto axis) -> ColumnsHeightFn {
    using A = decltype(axis);
    return columns_along_h<A::kPoints, A::kPixels, A::kHalves>;
  });
}

static void winograd_columns(const WinogradColumnsArgs* a) {
  constexpr int kMax = kWinogradMaxPoints;
  alignas(64) float half[kMax * kMax * kWinogradGroup];  // [points_d][pixels_h][16]
  alignas(64) float some[kMax * kWinogradGroup];
  const int begin = a->position_begin, end = a->position_end;
  const int nd = a->points_d, nh = a->points_h, rows = a->pixels_h;
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  ColumnClip clip;
  clip.plane_begin = clamp_int(-a->origin_d, 0, a->pixels_d);
  clip.plane_end = clamp_int(a->extent_d - a->origin_d, 0, a->pixels_d);
  clip.row_begin = clamp_int(-a->origin_h, 0, rows);
  clip.row_end = clamp_int(a->extent_h - a->origin_h, 0, rows);
  const bool whole = a->channels % kLanesF == 0;
  const bool empty = clip.plane_begin >= clip.plane_end || clip.row_begin >= clip.row_end;
  const ColumnsDepthFn along_d = whole ? columns_depth_fn<true>(nd, a->pixels_d, a->split_d)
                                       : columns_depth_fn<false>(nd, a->pixels_d, a->split_d);
  const ColumnsHeightFn along_h = columns_height_fn(nh, a->pixels_h, a->split_h);
  const float* corner = a->source + a->origin_d * a->stride_d + a->origin_h * a->stride_h;
  float* lines = a->lines;
  // To the pixels that are asked for: columns of one row are soon done.
  const ptrdiff_t ahead = (rows == 1 ? 16 : 1) * a->stride_w;
  if (nh == 1 && rows == 1 && !empty) {
    // Neighbouring columns are one pass, straight to the lines.
    const int64_t first = clamp_int(-a->origin_w, 0, static_cast<int>(a->columns)),
                  last = clamp_int(a->extent_w - a->origin_w, static_cast<int>(first),
                                   static_cast<int>(a->columns));
    const auto clear = [&](int64_t from, int64_t to) {
      for (int p = begin; p < end; ++p)
        for (int64_t at = from * kWinogradGroup; at < to * kWinogradGroup; at += kLanesF)
          vstore(lines + p * a->position_stride + at, vzero());
    };
    clear(0, first);
    clear(last, a->columns);
    clip.row_begin = 0;
    clip.row_end = static_cast<int>(last - first);
    along_d(corner + (a->origin_w + first) * a->stride_w, a->stride_d, a->stride_w, clip.row_end,
            clip, a->channels, ahead,
            {lines + first * kWinogradGroup, a->position_stride, (1u << end) - (1u << begin)});
    return;
  }
  const ColumnPoints all = {half, rows * kWinogradGroup, ~0u};
  for (int64_t i = 0, w = a->origin_w; i < a->columns; ++i, ++w, lines += kWinogradGroup) {
    if (empty || w < 0 || w >= a->extent_w) {
      for (int p = begin; p < end; ++p)
        for (int v = 0; v < kWinogradGroup; v += kLanesF)
          vstore(lines + p * a->position_stride + v, vzero());
      continue;
    }
    along_d(corner + w * a->stride_w, a->stride_d, a->stride_h, rows, clip, a->channels, ahead,
            all);
    for (int plane = begin / nh; plane * nh < end;) {
      const float* const from = half + plane * rows * kWinogradGroup;
      const int first = plane * nh;
      if (first < begin || first + nh > end) {  // a part of a plane
        along_h(from, 1, vectors, some, kWinogradGroup);
        for (int p = first < begin ? begin : first; p < end && p < first + nh; ++p)
          for (int v = 0; v < vectors * kLanesF; v += kLanesF)
            vstore(lines + p * a->position_stride + v,
                   vload(some + (p - first) * kWinogradGroup + v));
        ++plane;
        continue;
      }
      const int planes = (end - first) / nh;
      along_h(from, planes, vectors, lines + first * a->position_stride, a->position_stride);
      plane += planes;
    }
  }
}

template <int N, int P, int kSplit>
static void width_tiles(const WinogradWidthArgs* a) {
  const float* src = a->columns;
  float* dst = a->u;
  const ptrdiff_t step = static_cast<ptrdiff_t>(a->step) * kWinogradGroup,
                  position_stride = a->position_stride;
  const int vectors = (a->channels + kLanesF - 1) / kLanesF;
  for (int64_t t = 0; t < a->tiles; ++t, src += step, dst += kWinogradGroup) {
    for (int v = 0; v < vectors; ++v) {
      VecF d[P], o[N];
#pragma GCC unroll 8
      for (int i = 0; i < P; ++i) d[i] = vload(src + i * kWinogradGroup + v * kLanesF);
      operand_line<N, P, kSplit>(d, o);
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) vstore(dst + i * position_stride + v * kLanesF, o[i]);
    }
  }
}

static void winograd_width(const WinogradWidthArgs* a) {
  with_axis(a->points, a->pixels, a->split, [a](auto axis) {
    using A = decltype(axis);
    width_tiles<A::kPoints, A::kPixels, A::kHalves>(a);
  });
}

// --- the product per point -----------------------------------------------------------------------

static constexpr int kOuterNv = kLinesNv;
// Eight accumulators hide the latency of the multiply-adds.
static constexpr int outer_rows(int vectors) {
  return vectors <= kMaxNv ? (kStridedRows[vectors <= kMaxNv ? vectors : 1] < kChannelLine
                                  ? kStridedRows[vectors <= kMaxNv ? vectors : 1]
                                  : kChannelLine)
                           : 2;
}

template <int MR, int NV>
static void outer_tile(const WinogradOuterArgs* p, int row) {
  constexpr int kPerLine = kChannelLine / kLanesF;
  Vec<float> acc[MR][NV];
  clear<float, MR, NV>(acc);
  const float* a = p->a + row;
  const float* b = p->b;
  const ptrdiff_t b_group = p->b_group;
  for (int64_t t = p->tiles; t > 0; --t, a += kChannelLine, b += kChannelLine) {
    VecF bv[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      bv[v] = vload(b + (v / kPerLine) * b_group + (v % kPerLine) * kLanesF);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const VecF x = vset(a[m]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[m][v] = vfma(x, bv[v], acc[m][v]);
    }
  }
  float* const c = p->c + row * kChannelLine;
  if (p->accumulate) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v)
        acc[m][v] = vadd(
            vload(c + (v / kPerLine) * p->c_group + m * kChannelLine + (v % kPerLine) * kLanesF),
            acc[m][v]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      vstore(c + (v / kPerLine) * p->c_group + m * kChannelLine + (v % kPerLine) * kLanesF,
             acc[m][v]);
  }
}

template <int MR, int NV>
static CONV3D_ALWAYS_INLINE void outer_some_rows(const WinogradOuterArgs* p, int row, int rows) {
  if constexpr (MR > 1) {
    if (rows < MR) return outer_some_rows<MR - 1, NV>(p, row, rows);
  }
  outer_tile<MR, NV>(p, row);
}

template <int NV>
static void outer_vectors(const WinogradOuterArgs* p) {
  constexpr int kRows = outer_rows(NV);
  int row = 0;
  for (int tiles = (p->rows + kRows - 1) / kRows; tiles > 0; --tiles) {
    const int rows = (p->rows - row + tiles - 1) / tiles;
    outer_some_rows<kRows, NV>(p, row, rows);
    row += rows;
  }
}

template <int NV>
static CONV3D_ALWAYS_INLINE void outer_columns(const WinogradOuterArgs* p, int vectors) {
  if constexpr (NV > 1) {
    if (vectors < NV) return outer_columns<NV - 1>(p, vectors);
  }
  outer_vectors<NV>(p);
}

static void winograd_outer(const WinogradOuterArgs* p) {
  outer_columns<kOuterNv>(p, (p->columns + kLanesF - 1) / kLanesF);
}

// --- the way back --------------------------------------------------------------------------------

static void winograd_widen(double* sums, const float* terms, int64_t n, int add) {
  if (add) {
    for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(terms[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) sums[i] = static_cast<double>(terms[i]);
  }
}

// o = G^T x, of R taps from N points.
template <int N, int R, class Real>
static CONV3D_ALWAYS_INLINE void taps_line(const FilterRows<N, R, Real>& rows, const Vec<Real>* x,
                                           Vec<Real>* o) {
  const Vec<Real>* const g = rows.g;
  if constexpr (filter_rows_in_pairs<N, R>()) {
    o[0] = vmul(g[0], x[0]);
    o[2] = vmul(g[N * R - 1], x[N - 1]);
#pragma GCC unroll 4
    for (int j = 1; j < N - 1; j += 2) {
      const Vec<Real> even = vadd(x[j], x[j + 1]), odd = vsub(x[j], x[j + 1]);
      o[0] = vfma(g[j * R], even, o[0]);
      o[1] = j == 1 ? vmul(g[j * R + 1], odd) : vfma(g[j * R + 1], odd, o[1]);
      o[2] = vfma(g[j * R + 2], even, o[2]);
    }
  } else {
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) {
      o[k] = vmul(g[k], x[0]);
#pragma GCC unroll 8
      for (int j = 1; j < N; ++j) o[k] = vfma(g[j * R + k], x[j], o[k]);
    }
  }
}

// One axis for 16 channels: for each of `lines` lines, N of them src_stride apart to R of them
// dst_stride apart.
template <int N, int R, class Real>
static void taps_axis(const Real* g, const Real* src, ptrdiff_t src_stride, ptrdiff_t src_line,
                      int lines, Real* dst, ptrdiff_t dst_stride, ptrdiff_t dst_line) {
  const FilterRows<N, R, Real> rows(g);
  for (int line = 0; line < lines; ++line, src += src_line, dst += dst_line) {
    for (int v = 0; v < kWinogradGroup; v += VecOf<Real>::kLanes) {
      Vec<Real> x[N], o[R];
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) x[j] = vload(src + j * src_stride + v);
      taps_line(rows, x, o);
#pragma GCC unroll 8
      for (int k = 0; k < R; ++k) vstore(dst + k * dst_stride + v, o[k]);
    }
  }
}

// The depth, where the sums are read: dst[row][R][plane][16]. The sums of a row lie megabytes
// apart, often a power of two, so they are asked for while those before them are computed.
template <int N, int R, class Real, class T>
static void taps_first_axis(const Real* g, const T* sums, ptrdiff_t position, int plane, int count,
                            Real* dst) {
  constexpr int kLines = sizeof(T) * kWinogradGroup / 64;  // of a row of sums
  const FilterRows<N, R, Real> rows(g);
  const ptrdiff_t stride = plane * position;
  for (int p = 0; p < plane; ++p, sums += position) {
    for (int row = 0; row < count; ++row) {
      const T* const from = sums + row * kWinogradGroup;
      Real* const to = dst + (static_cast<ptrdiff_t>(row) * R * plane + p) * kWinogradGroup;
      if (p + 1 < plane) {
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j)
          for (int i = 0; i < kLines; ++i)
            prefetch_line(from + position + j * stride + i * (kWinogradGroup / kLines));
      }
      for (int v = 0; v < kWinogradGroup; v += VecOf<Real>::kLanes) {
        Vec<Real> x[N], o[R];
#pragma GCC unroll 8
        for (int j = 0; j < N; ++j) x[j] = load_as<Real>(from + j * stride + v);
        taps_line(rows, x, o);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k) vstore(to + k * plane * kWinogradGroup + v, o[k]);
      }
    }
  }
}

template <class Real, class T>
struct TapsAxis {
  void (*first)(const Real*, const T*, ptrdiff_t, int, int, Real*);
  void (*axis)(const Real*, const Real*, ptrdiff_t, ptrdiff_t, int, Real*, ptrdiff_t, ptrdiff_t);
};
template <class Real, class T, int N, int R>
static constexpr TapsAxis<Real, T> kTapsAxis = {taps_first_axis<N, R, Real, T>,
                                                taps_axis<N, R, Real>};

template <class Real, class T>
static const TapsAxis<Real, T>& taps_axis_of(int points, int taps) {
  switch (points * 8 + taps) {
    case 1 * 8 + 1: return kTapsAxis<Real, T, 1, 1>;
    case 3 * 8 + 3: return kTapsAxis<Real, T, 3, 3>;
    case 4 * 8 + 3: return kTapsAxis<Real, T, 4, 3>;
    case 5 * 8 + 3: return kTapsAxis<Real, T, 5, 3>;
    case 6 * 8 + 3: return kTapsAxis<Real, T, 6, 3>;
    case 7 * 8 + 3: return kTapsAxis<Real, T, 7, 3>;
    case 6 * 8 + 4: return kTapsAxis<Real, T, 6, 4>;
    case 6 * 8 + 5: return kTapsAxis<Real, T, 6, 5>;
    default: return kTapsAxis<Real, T, 7, 5>;
  }
}

template <class Real, class T>
static void taps_as(const WinogradTapsArgs* a, const T* sums) {
  constexpr int kMax = kWinogradMaxPoints, kTaps = kWinogradMaxTaps, kG = kWinogradGroup;
  // Of as many rows as fit: 27 KB of the L1, and one row of the largest kind.
  constexpr int kHalf = 27 * 1024 / sizeof(Real) / kG, kRow = kTaps * kMax * kMax;
  alignas(64) Real half[(kHalf > kRow ? kHalf : kRow) * kG], lower[kTaps * kTaps * kMax * kG],
      taps[kTaps * kTaps * kTaps * kG];
  const FilterMatrices<Real> g(a->axes);
  const int n0 = a->axes.points_d, n1 = a->axes.points_h, n2 = a->axes.points_w,
            r0 = a->axes.taps_d, r1 = a->axes.taps_h, r2 = a->axes.taps_w, plane = n1 * n2,
            size = r0 * plane;
  const auto first = taps_axis_of<Real, T>(n0, r0).first;
  const auto along_h = taps_axis_of<Real, T>(n1, r1).axis,
             along_w = taps_axis_of<Real, T>(n2, r2).axis;
  const int most = kHalf / size > 1 ? kHalf / size : 1;
  // Whole lines of memory only.
  const bool stream = a->stream != 0 && a->channels == kG && a->tap_stride % kG == 0 &&
                      a->row_stride % kG == 0 && reinterpret_cast<uintptr_t>(a->filter) % 64 == 0;
  for (int begin = 0; begin < a->rows; begin += most) {
    const int count = a->rows - begin < most ? a->rows - begin : most;
    // [n0][n1][n2] -> [r0][n1][n2] -> [r0][r1][n2] -> [r0][r1][r2], 16 channels each
    first(g.d, sums + begin * kG, a->position_stride, plane, count, half);
    for (int row = 0; row < count; ++row) {
      const Real* const from = half + row * size * kG;
      for (int d = 0; d < r0; ++d)
        along_h(g.h, from + d * plane * kG, n2 * kG, kG, n2, lower + d * r1 * n2 * kG, n2 * kG, kG);
      along_w(g.w, lower, kG, n2 * kG, r0 * r1, taps, kG, r2 * kG);
      float* to = a->filter + (begin + row) * a->row_stride;
      for (int t = 0; t < r0 * r1 * r2; ++t, to += a->tap_stride)
        for (int c = 0; c < a->channels; c += kLanesF) {
          VecF line;
          if constexpr (sizeof(Real) == sizeof(float)) {
            line = vload(taps + t * kG + c);
          } else {
            line = vnarrow(vload(taps + t * kG + c), vload(taps + t * kG + c + kLanesD));
          }
          const int left = a->channels - c;
          if (stream) {
            vstream(to + c, line);
          } else if (left >= kLanesF) {
            vstore(to + c, line);
          } else {
            vstore_n(to + c, left, line);
          }
        }
    }
  }
}

static void winograd_taps(const WinogradTapsArgs* a) {
  if (a->wide_sums != nullptr) {
    taps_as<double>(a, a->wide_sums);
  } else if (a->wide != 0) {
    taps_as<double>(a, a->sums);
  } else {
    taps_as<float>(a, a->sums);
  }
}

static constexpr WinogradGradientTable kWinogradGradientTable = {
    kLinesNr, winograd_columns, winograd_width, winograd_outer, winograd_widen, winograd_taps};

}  // namespace conv3d::CONV3D_ISA
