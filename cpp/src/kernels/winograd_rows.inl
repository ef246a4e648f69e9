// Winograd along the width: what winograd_rows_table.h declares.
//
//   input     a row of pixels, zeros at its ends -> x[pixel of a period][channel][tile] by
//             transposition -> B^T, tiles side by side in vectors -> u[point][channel][tile]
//   multiply  the micro-kernel `plane`; either operand may be the one that is broadcast
//   output    A^T, bias, activation
//   gradient  A of a row of grad_output; its products with u are the strided micro-kernel's
//
// A product's sum has one order of k whatever lies along the lanes, and the transforms' arithmetic
// is the same for both, so the choice of lanes never changes a bit.
//
// Included by isa_*.cpp after winograd_transform.inl and winograd_gradient.inl, whose
// one-dimensional transforms it uses.

#include "kernels/winograd_rows_table.h"

namespace conv3d::CONV3D_ISA {

// --- input ---------------------------------------------------------------------------------------

static constexpr int64_t round_to_lanes(int64_t n) { return (n + kLanesF - 1) / kLanesF * kLanesF; }

static CONV3D_ALWAYS_INLINE void zero_floats(float* p, int64_t n) {
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) vstore(p + i, vzero());
  if (i < n) vstore_n(p + i, static_cast<int>(n - i), vzero());
}
static CONV3D_ALWAYS_INLINE void copy_floats(const float* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + kLanesF <= n; i += kLanesF) vstore(dst + i, vload(src + i));
  if (i < n) vstore_n(dst + i, static_cast<int>(n - i), vload_n(src + i, static_cast<int>(n - i)));
}

// Tiles t of one lattice and channel: element j of their windows lies at x[j][t].
template <int N>
static void rows_input_segment(const float* const* x, int64_t tiles, float* u,
                               ptrdiff_t point_stride) {
  for (int64_t t = 0; t < tiles; t += kLanesF) {
    VecF d[N], o[N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) d[i] = vload(x[i] + t);
    input_line<N>(d, o);
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) vstore(u + i * point_stride + t, o[i]);
  }
}
// One tap: the inputs themselves.
static void rows_input_copy(const float* const* x, int points, int64_t tiles, float* u,
                            ptrdiff_t point_stride) {
  for (int i = 0; i < points; ++i)
    for (int64_t t = 0; t < tiles; t += kLanesF) vstore(u + i * point_stride + t, vload(x[i] + t));
}

static void rows_input(const RowsInputArgs* a) {
  const int64_t period = int64_t{a->outputs} * a->lattices * a->stride;
  const int64_t columns = round_to_lanes(round_to_lanes(a->tiles) + a->reach);  // of x
  const int64_t span = columns * period;
  const bool channels_last = a->channel_stride == 1;
  // The row with zeros around, [channel][pixel] or [pixel][channel].
  float* const row = a->scratch;
  const int64_t row_floats = round_to_lanes(span * a->channels + kLanesF);
  float* const x = row + row_floats;
  int64_t begin = a->origin < 0 ? -a->origin : 0;
  if (begin > span) begin = span;
  int64_t end = a->pixels - a->origin;
  end = end < begin ? begin : end > span ? span : end;
  const float* const first = a->source + (a->origin + begin) * a->pixel_stride;
  const int64_t c = a->channels;
  if (channels_last) {
    zero_floats(row, begin * c);
    if (a->pixel_stride == c) {
      copy_floats(first, row + begin * c, (end - begin) * c);
    } else {
      const float* src = first;
      float* dst = row + begin * c;
      for (int64_t i = begin; i < end; ++i, src += a->pixel_stride, dst += c)
        copy_floats(src, dst, c);
    }
    zero_floats(row + end * c, row_floats - end * c);
  } else {
    for (int64_t i = 0; i < c; ++i) {
      float* dst = row + i * span;
      zero_floats(dst, begin);
      copy_floats(first + i * a->channel_stride, dst + begin, end - begin);
      zero_floats(dst + end, span - end);
    }
    zero_floats(row + c * span, row_floats - c * span);
  }
  // Rows of x beyond the last are written too, with what is next in `row`.
  const int64_t strip = channels_last ? period * c : period, strips = channels_last ? 1 : c;
  for (int64_t s = 0; s < strips; ++s) {
    const float* src = row + s * span;
    float* dst = x + s * period * columns;
    for (int64_t j = 0; j < strip; j += kLanesF)
      for (int64_t i = 0; i < columns; i += kLanesF)
        vtranspose(src + i * strip + j, strip, dst + j * columns + i, columns);
  }
  const int64_t x_pixel = channels_last ? c : 1, x_channel = channels_last ? 1 : period;
  for (int64_t i = 0; i < c; ++i)
    for (int r = 0; r < a->lattices; ++r) {
      float* const u = a->u + i * a->channel_stride_u + r * int64_t{a->tiles};
      for (int g = 0; g < a->segments; ++g) {
        const RowsSegment& segment = a->segment[g];
        const float* window[kRowsMaxPoints];
        for (int j = 0; j < segment.points; ++j) {
          const int64_t at =
              int64_t{r} * a->stride + (segment.first + int64_t{j} * a->step) * a->dilation;
          window[j] = x + (at % period * x_pixel + i * x_channel) * columns + at / period;
        }
        float* const to = u + segment.point * a->point_stride;
        if (segment.taps == 1) {
          rows_input_copy(window, segment.points, a->tiles, to, a->point_stride);
          continue;
        }
        switch (segment.points) {
          case 3: rows_input_segment<3>(window, a->tiles, to, a->point_stride); break;
          case 4: rows_input_segment<4>(window, a->tiles, to, a->point_stride); break;
          case 5: rows_input_segment<5>(window, a->tiles, to, a->point_stride); break;
          case 6: rows_input_segment<6>(window, a->tiles, to, a->point_stride); break;
          case 7: rows_input_segment<7>(window, a->tiles, to, a->point_stride); break;
          default: rows_input_segment<8>(window, a->tiles, to, a->point_stride); break;
        }
      }
    }
}

// --- products ------------------------------------------------------------------------------------

static constexpr int kRowsVectors = kMaxNv < 2 ? kMaxNv : 2;
static constexpr const int* kRowsPanelRows = kStridedRows;

template <int MR, int NV>
static CONV3D_ALWAYS_INLINE void rows_tile(const GemmPlaneArgs<float>* p, int rows) {
  if constexpr (MR > 1) {
    if (rows < MR) return rows_tile<MR - 1, NV>(p, rows);
  }
  plane_tile<float, MR, NV, false, false>(p, 0, NV * kLanesF);
}

// Tiles split as evenly as full products allow: few rows make poor ones.
template <int NV>
static void rows_panel(const RowsMultiplyArgs* a) {
  constexpr int kRows = kStridedRows[NV];
  GemmPlaneArgs<float> p = {0,    NV * kLanesF, a->groups,   a->k, a->a,     a->a_k,    a->a_offset,
                            a->b, a->b_k,       a->b_offset, a->c, a->c_row, a->load_c, nullptr};
  int64_t row = 0, tiles = (a->rows + kRows - 1) / kRows;
  for (; tiles > 0; --tiles) {
    const int rows = static_cast<int>((a->rows - row + tiles - 1) / tiles);
    rows_tile<kRows, NV>(&p, rows);
    p.a_offset += rows;
    p.c += rows * a->c_row;
    row += rows;
  }
}

static void rows_multiply_channels(const RowsMultiplyArgs* a) {
  if (a->vectors == 1) {
    rows_panel<1>(a);
  } else {
    rows_panel<kRowsVectors>(a);
  }
}

template <int MR>
static CONV3D_ALWAYS_INLINE void rows_of_channels(const GemmPlaneArgs<float>* p, int vectors) {
  if constexpr (MR > 1) {
    if (p->rows < MR) return rows_of_channels<MR - 1>(p, vectors);
  }
  constexpr int kNv = kPlaneNv[MR];
  int64_t done = 0;
  for (int tiles = (vectors + kNv - 1) / kNv; tiles > 0; --tiles) {
    const int64_t take = (vectors - done + tiles - 1) / tiles;
    plane_rest<float, MR, kNv>(p, done * kLanesF, static_cast<int>(take * kLanesF));
    done += take;
  }
}

static void rows_multiply_tiles(const RowsMultiplyArgs* a) {
  const GemmPlaneArgs<float> p = {static_cast<int>(a->rows),
                                  int64_t{a->vectors} * kLanesF,
                                  a->groups,
                                  a->k,
                                  a->a,
                                  a->a_k,
                                  a->a_offset,
                                  a->b,
                                  a->b_k,
                                  a->b_offset,
                                  a->c,
                                  a->c_row,
                                  a->load_c,
                                  nullptr};
  rows_of_channels<kPlaneRows>(&p, a->vectors);
}

// --- output --------------------------------------------------------------------------------------

// y (+)= A^T of one segment of N points.
template <int N, int M>
static CONV3D_ALWAYS_INLINE void rows_inverse(const float* c, ptrdiff_t point_stride, bool first,
                                              VecF* y) {
  VecF m[N], part[M];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) m[i] = vload(c + i * point_stride);
  output_line<N, M, kSplitNone>(m, part);
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) y[i] = first ? part[i] : vadd(y[i], part[i]);
}

template <int M>
static CONV3D_ALWAYS_INLINE void rows_results(const RowsOutputArgs* a, const float* c, VecF bias,
                                              VecF floor, VecF* y) {
  const ptrdiff_t stride = a->point_stride;
  for (int g = 0; g < a->segments; ++g) {
    const RowsSegment& segment = a->segment[g];
    const float* from = c + segment.point * stride;
    const bool first = g == 0;
    if (segment.taps == 1) {
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) {
        const VecF v = vload(from + i * stride);
        y[i] = first ? v : vadd(y[i], v);
      }
      continue;
    }
    switch (segment.taps) {
      case 2: rows_inverse<M + 1, M>(from, stride, first, y); break;
      case 3: rows_inverse<M + 2, M>(from, stride, first, y); break;
      case 4:
        if constexpr (M + 3 <= kRowsMaxPoints) rows_inverse<M + 3, M>(from, stride, first, y);
        break;
      default:
        if constexpr (M + 4 <= kRowsMaxPoints) rows_inverse<M + 4, M>(from, stride, first, y);
        break;
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
    y[i] = vmax(floor, vadd(y[i], bias));
    if (a->activation > kActRelu) y[i] = activate(y[i], a->activation, a->alpha);
  }
}

static CONV3D_ALWAYS_INLINE VecF rows_floor(const RowsOutputArgs* a) {
  return vset(a->activation == kActRelu ? 0.0f : static_cast<float>(-__builtin_inf()));
}

template <int M, int NV>
static void rows_output_channels_of(const RowsOutputArgs* a) {
  const VecF floor = rows_floor(a);
  const int tail = a->channels - (NV - 1) * kLanesF;
  VecF bias[NV];
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v)
    bias[v] = a->bias == nullptr ? vzero()
              : v < NV - 1       ? vload(a->bias + v * kLanesF)
                                 : vload_n(a->bias + v * kLanesF, tail);
  const ptrdiff_t pixel = a->pixel_stride, step = a->lattices * pixel;
  for (int r = 0; r < a->lattices; ++r) {
    const float* c = a->c + r * int64_t{a->tiles} * a->c_row;
    for (int64_t t = 0; t < a->tiles; ++t, c += a->c_row) {
      const int64_t at = t * M * a->lattices + r;
      if (at >= a->pixels) break;
      VecF y[NV][M];
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) rows_results<M>(a, c + v * kLanesF, bias[v], floor, y[v]);
      float* to = a->result + at * pixel;
      const int64_t left = (a->pixels - at + a->lattices - 1) / a->lattices;
      if (left >= M && tail == kLanesF) {
        if (a->stream) {
#pragma GCC unroll 8
          for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) vstream(to + i * step + v * kLanesF, y[v][i]);
        } else {
#pragma GCC unroll 8
          for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
            for (int v = 0; v < NV; ++v) vstore(to + i * step + v * kLanesF, y[v][i]);
        }
        continue;
      }
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) {
        if (i >= left) break;
#pragma GCC unroll 2
        for (int v = 0; v < NV - 1; ++v) vstore(to + i * step + v * kLanesF, y[v][i]);
        vstore_n(to + i * step + (NV - 1) * kLanesF, tail, y[NV - 1][i]);
      }
    }
  }
}

template <int M>
static CONV3D_ALWAYS_INLINE void rows_output_channels_m(const RowsOutputArgs* a) {
  if (kRowsVectors == 1 || a->channels <= kLanesF) {
    rows_output_channels_of<M, 1>(a);
  } else {
    rows_output_channels_of<M, kRowsVectors>(a);
  }
}

static void rows_output_channels(const RowsOutputArgs* a) {
  switch (a->outputs) {
    case 2: rows_output_channels_m<2>(a); break;
    case 4: rows_output_channels_m<4>(a); break;
    default: rows_output_channels_m<6>(a); break;
  }
}

// Lane t of vector i to `to` + (t * M + i) * step.
template <int M>
static CONV3D_ALWAYS_INLINE void rows_interleave(const VecF* y, float* to, int64_t step) {
  constexpr int kSquare = kLanesF;
  constexpr int kRound = (M + kSquare - 1) / kSquare * kSquare;
  alignas(64) float in[kRound * kLanesF], out[kLanesF * kRound];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) vstore(in + i * kLanesF, y[i]);
#pragma GCC unroll 8
  for (int i = M; i < kRound; ++i) vstore(in + i * kLanesF, vzero());
#pragma GCC unroll 4
  for (int i = 0; i < kRound; i += kSquare) vtranspose(in + i * kLanesF, kLanesF, out + i, kRound);
  if (step == 1) {
    // Whole vectors, each over what the one before wrote too much; the last one in its own length.
    for (int t = 0; t < kLanesF - 1; ++t) {
#pragma GCC unroll 4
      for (int i = 0; i < M; i += kLanesF) {
        if (i + kLanesF <= M || t * M + i + kLanesF <= kLanesF * M) {
          vstore(to + t * M + i, vload(out + t * kRound + i));
        } else {
          vstore_n(to + t * M + i, M - i, vload(out + t * kRound + i));
        }
      }
    }
    for (int i = 0; i < M; ++i) to[(kLanesF - 1) * M + i] = out[(kLanesF - 1) * kRound + i];
    return;
  }
  for (int t = 0; t < kLanesF; ++t)
    for (int i = 0; i < M; ++i) to[(t * M + i) * step] = out[t * kRound + i];
}

template <int M>
static void rows_output_tiles_of(const RowsOutputArgs* a) {
  const VecF floor = rows_floor(a);
  for (int channel = 0; channel < a->channels; ++channel) {
    const VecF bias = vset(a->bias == nullptr ? 0.0f : a->bias[channel]);
    float* const row = a->result + channel * a->row_stride;
    for (int r = 0; r < a->lattices; ++r) {
      const float* c = a->c + channel * a->c_row + r * int64_t{a->tiles};
      for (int64_t t = 0; t < a->tiles; t += kLanesF) {
        VecF y[M];
        rows_results<M>(a, c + t, bias, floor, y);
        rows_interleave<M>(y, row + t * M * a->lattices + r, a->lattices);
      }
    }
  }
}

static void rows_output_tiles(const RowsOutputArgs* a) {
  switch (a->outputs) {
    case 2: rows_output_tiles_of<2>(a); break;
    case 4: rows_output_tiles_of<4>(a); break;
    default: rows_output_tiles_of<6>(a); break;
  }
}

// --- grad_output ---------------------------------------------------------------------------------

// A of one segment: M pixels to its points.
template <int N, int M>
static CONV3D_ALWAYS_INLINE void rows_gradient_segment(const VecF* d, float* v,
                                                       ptrdiff_t point_stride) {
  VecF o[N];
  gradient_line<N, M, kSplitNone>(d, o);
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) vstore(v + i * point_stride, o[i]);
}

template <int M>
static CONV3D_ALWAYS_INLINE void rows_gradient_tile(const RowsGradientArgs* a, const VecF* d,
                                                    float* v) {
  for (int g = 0; g < a->segments; ++g) {
    const RowsSegment& segment = a->segment[g];
    float* const to = v + segment.point * a->point_stride;
    switch (segment.taps) {
      case 1:
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) vstore(to + i * a->point_stride, d[i]);
        break;
      case 2: rows_gradient_segment<M + 1, M>(d, to, a->point_stride); break;
      case 3: rows_gradient_segment<M + 2, M>(d, to, a->point_stride); break;
      case 4: rows_gradient_segment<M + 3, M>(d, to, a->point_stride); break;
      default: rows_gradient_segment<M + 4, M>(d, to, a->point_stride); break;
    }
  }
}

template <int M>
static void rows_gradient_of(const RowsGradientArgs* a) {
  const ptrdiff_t step = a->lattices * a->pixel_stride;
  const int64_t width = int64_t{a->vectors} * kLanesF;
  for (int r = 0; r < a->lattices; ++r) {
    float* to = a->v + r * int64_t{a->tiles} * width;
    for (int64_t t = 0; t < a->tiles; ++t, to += width) {
      const int64_t at = t * M * a->lattices + r;
      const int64_t left = at < a->pixels ? (a->pixels - at + a->lattices - 1) / a->lattices : 0;
      const float* const from = a->source + at * a->pixel_stride;
      for (int c = 0; c < a->vectors * kLanesF; c += kLanesF) {
        const int lanes = a->channels - c;
        VecF d[M];
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i)
          d[i] = i >= left || lanes <= 0 ? vzero() : load_lanes(from + i * step + c, lanes);
        rows_gradient_tile<M>(a, d, to + c);
      }
    }
  }
}

static void rows_gradient(const RowsGradientArgs* a) {
  if (a->outputs == 2) {
    rows_gradient_of<2>(a);
  } else {
    rows_gradient_of<4>(a);
  }
}

// n floats, past the caches where `stream`: what is not whole aligned vectors goes the usual way.
static void rows_copy(const float* src, float* dst, int64_t n, int stream) {
  if (!stream) {
    copy_floats(src, dst, n);
    return;
  }
  constexpr int64_t kLine = 64;
  const int64_t off =
      static_cast<int64_t>((kLine - reinterpret_cast<uintptr_t>(dst) % kLine) % kLine / 4);
  const int64_t head = off < n ? off : n;
  copy_floats(src, dst, head);
  int64_t i = head;
  for (; i + 16 <= n; i += 16)
#pragma GCC unroll 4
    for (int v = 0; v < 16; v += kLanesF) vstream(dst + i + v, vload(src + i + v));
  copy_floats(src + i, dst + i, n - i);
}

static constexpr WinogradRowsTable kWinogradRowsTable = {
    kRowsVectors,           kRowsPanelRows,      rows_input,
    rows_multiply_channels, rows_multiply_tiles, rows_output_channels,
    rows_output_tiles,      rows_gradient,       rows_copy};

}  // namespace conv3d::CONV3D_ISA
