// The planar kernels: a tile of result channels x pixels of one row stays in registers over all k,
// whose source elements lie wherever a table of offsets says.
//
//   rows     lanes along the pixels. Per k: NV loads of source pixels, MR broadcasts of the filter,
//            MR * NV multiply-adds. For channels-first results, where a row is contiguous.
//   pixels   lanes along the result channels. Per k: NV loads of the filter, MR broadcasts of
//            source pixels. For channels-last results, where a pixel is contiguous.
//   products lanes along the pixels of both operands, whose rows are multiplied with each other:
//            the filter gradient of channels-first tensors, without a transposition.
// One table of offsets serves any kernel size, stride, dilation and staging of the source, and
// makes all taps and channels one long loop: three taps of one channel cost no more than their
// multiply-adds. Assumptions: the result aliases nothing; `rows` may read the source up to whole
// vectors behind the row; the filter is padded with zeros to whole vectors in `pixels`.
//
// Included by isa_*.cpp after gemm_ukernel.inl.

#include "kernels/planar_table.h"

namespace conv3d::CONV3D_ISA {

// --- pixels gathered from rows ------------------------------------------------------------------

// n elements `step` apart, soon to be read.
template <class T>
static CONV3D_ALWAYS_INLINE void ask_for(const T* from, int64_t step, int64_t n) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  const int64_t apart = step > kLine ? step : kLine, end = n * step;
  for (int64_t i = 0; i < end; i += apart) prefetch_line(from + i);
}

// Pixels of one row.
template <class T>
static CONV3D_ALWAYS_INLINE void gather_row(const T* src, int64_t step, int64_t n, T* dst) {
  constexpr int kLanes = VecOf<T>::kLanes;
  if (step == 1) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) vstore(dst + i, vload(src + i));
    for (; i < n; ++i) dst[i] = src[i];
    return;
  }
  if (step == 2 && n >= kLanes) {
    // The last vector may repeat some of the one before.
    for (int64_t i = 0; i < n; i += kLanes) {
      const int64_t at = i + kLanes <= n ? i : n - kLanes;
      vstore(dst + at, vload_even(src + 2 * at));
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) dst[i] = src[i * step];
}

// A vector of every second pixel of rows, whichever rows it takes them from: those of a later row
// are loaded where they fall in place. No load leaves what lies between the vector's first pixel
// and its last where rows are at least 2 * width apart, or where they are of one row.
struct HalvesOfRows {
  ptrdiff_t row;
  int64_t column;

  template <class T>
  CONV3D_ALWAYS_INLINE void move(const GatherArgs<T>& a, int64_t pixels) {
    for (column += pixels; column >= a.width; column -= a.width) row += a.row;
    for (; column < 0; column += a.width) row -= a.row;
  }
  // Calls `piece` with where to load and from which lane on that counts.
  template <class T, class F>
  CONV3D_ALWAYS_INLINE void each_piece(const GatherArgs<T>& a, const F& piece) const {
    piece(row + 2 * column, 0);
    ptrdiff_t next = row;
    for (int64_t lane = a.width - column; lane < VecOf<T>::kLanes; lane += a.width) {
      next += a.row;
      piece(next - 2 * lane, static_cast<int>(lane));
    }
  }
};
// Whether that serves.
template <class T>
static CONV3D_ALWAYS_INLINE bool takes_halves(const GatherArgs<T>& a) {
  return a.step == 2 && a.n >= VecOf<T>::kLanes &&
         (a.first + a.n <= a.width || a.row >= 2 * a.width);
}

template <class T>
static void gather_halves(const GatherArgs<T>& a) {
  constexpr int kLanes = VecOf<T>::kLanes;
  HalvesOfRows halves{0, a.first};
  for (int64_t i = 0; i < a.n; i += kLanes) {
    // The last vector repeats some of the one before.
    const int64_t at = i + kLanes > a.n ? a.n - kLanes : i;
    halves.move(a, at - i);
    Vec<T> v;
    halves.each_piece(a, [&](ptrdiff_t from, int lane) {
      const Vec<T> even = vload_even(a.src + from);
      v = lane == 0 ? even : vjoin(v, even, lane);
    });
    vstore(a.dst + at, v);
    halves.move(a, kLanes);
  }
}

template <class T>
static void planar_gather(const GatherArgs<T>* p) {
  const GatherArgs<T> a = *p;  // a copy: stores of T might change what they point to
  // What `piece` is given: a row's first pixel, its number in the copy, and how many.
  const auto for_rows = [&](const auto& piece) {
    const T* row = a.src + a.first * a.step;
    int64_t count = a.width - a.first;
    for (int64_t i = 0; i < a.n; i += count, count = a.width) {
      if (count > a.n - i) count = a.n - i;
      piece(row, i, count);
      row += a.row - (i == 0 ? a.first * a.step : 0);
    }
  };
  if (a.ahead != 0)
    for_rows([&](const T* row, int64_t, int64_t n) { ask_for(row + a.ahead, a.step, n); });
  if (takes_halves(a)) {
    gather_halves(a);
  } else {
    for_rows([&](const T* row, int64_t i, int64_t n) { gather_row(row, a.step, n, a.dst + i); });
  }
}

// --- lanes along the pixels ----------------------------------------------------------------------

template <class T>
static constexpr int kVectorBytes = VecOf<T>::kLanes * static_cast<int>(sizeof(T));
template <class T>
static constexpr int kVectorsOfLine = kVectorBytes<T> < 64 ? 64 / kVectorBytes<T> : 1;

// Where the pieces of a tile's vectors of every second pixel lie, relative to the tile's first row,
// and where each vector goes.
struct TilePieces {  // of a tile's vectors, 8 at most
  struct Vector {
    ptrdiff_t at[kGatherPieces];
    int lane[kGatherPieces], count, to;
  } vectors[8];
};

// Where a tile finds its source, and where it leaves a copy of it, if anywhere.
template <class T>
struct PlanarSource {
  int panels;  // that find theirs there, one after the other; one where it leaves a copy
  const T* first;
  const ptrdiff_t *offsets, *end;
  T* copy;
  const ptrdiff_t* copy_offsets;
  const TilePieces* pieces;  // of which the copy is made; null: the pixels lie side by side
  // A share of the rows that are read next, `lines` of each, which are asked for on the way: too
  // far apart for the hardware to guess. Null without.
  const T* next;
  const ptrdiff_t *next_offsets, *next_end;
  int lines, lines_of_k;
};

// One k: a row of source pixels times the filter's weights for it.
template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE void add_row(Vec<T> (&acc)[MR][NV], const T* a, const T* w) {
  constexpr int kLanes = VecOf<T>::kLanes;
  if constexpr (NV <= MR) {
    Vec<T> av[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) av[v] = vkeep(vload(a + v * kLanes));
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Vec<T> f = vset(w[m]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[m][v] = vfma(f, av[v], acc[m][v]);
    }
  } else {
    // Fewer registers: the filter stays, the source passes.
    Vec<T> f[MR];
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) f[m] = vset(w[m]);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      const Vec<T> av = vkeep(vload(a + v * kLanes));
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m) acc[m][v] = vfma(f[m], av, acc[m][v]);
    }
  }
}

// `columns` pixels of MR channels, with `bias` of each; the last of NV vectors may be partial.
template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE void finish_rows_tile(GemmFinish<T> f, ptrdiff_t plane,
                                                  Vec<T> (&acc)[MR][NV], int columns, T* out,
                                                  const T* bias) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int tail = columns - (NV - 1) * kLanes;  // of the last vector, 1..kLanes
  if (f.load_c) {
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const T* const row = out + m * plane;
#pragma GCC unroll 8
      for (int v = 0; v < NV - 1; ++v) acc[m][v] = vadd(vload(row + v * kLanes), acc[m][v]);
      const T* const last = row + (NV - 1) * kLanes;
      acc[m][NV - 1] = vadd(tail == kLanes ? vload(last) : vload_n(last, tail), acc[m][NV - 1]);
    }
  }
  if (f.last) {
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Vec<T> b = vset(bias[m]);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[m][v] = vadd(acc[m][v], b);
    }
    if (f.activation == kActRelu) {
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) acc[m][v] = vmax(vset(T(0)), acc[m][v]);
    }
  }
  if (f.stream) {
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) vstream(out + m * plane + v * kLanes, acc[m][v]);
  } else if (tail == kLanes) {
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) vstore(out + m * plane + v * kLanes, acc[m][v]);
  } else {
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
      for (int v = 0; v < NV - 1; ++v) vstore(out + m * plane + v * kLanes, acc[m][v]);
      vstore_n(out + m * plane + (NV - 1) * kLanes, tail, acc[m][NV - 1]);
    }
  }
  if (f.last && f.activation > kActRelu) {
    for (int m = 0; m < MR; ++m) activate_row<T>(out + m * plane, columns, f.activation, f.alpha);
  }
}

// The same tile of the next panel.
template <class T, int MR>
static CONV3D_ALWAYS_INLINE void to_next_panel(const PlanarArgs<T>* p, T** out, const T** bias) {
  *out += MR * p->result_plane;
  if (p->finish.bias != nullptr) *bias += MR;
}

// Asks for the lines that row `m` of a tile will be stored to, while it is multiplied: a store that
// waits for its line stops those behind it.
template <class T, int NV>
static CONV3D_ALWAYS_INLINE void ask_for_row(const T* row, int columns) {
  constexpr int kLine = 64 / static_cast<int>(sizeof(T)), kColumns = NV * VecOf<T>::kLanes;
#pragma GCC unroll 8
  for (int i = 0; i < kColumns; i += kLine)
    if (i < columns) prefetch_for_write(row + i);  // else another thread's line, perhaps
}

// A tile that leaves a copy or asks for others.
template <class T, int MR, int NV>
static void planar_tile(const PlanarArgs<T>* p, const PlanarSource<T>& from, const T* w,
                        int columns, T* out, const T* bias) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const PlanarSource<T> source = from;  // a copy: stores of T might change what they point to
  Vec<T> acc[MR][NV];
  clear<T, MR, NV>(acc);
  const auto add = [&](const T* a) {
    add_row<T, MR, NV>(acc, a, w);
    w += MR;
  };
  const T* const first = source.first;
  const ptrdiff_t *offset = source.offsets, *const end = source.end;
  const ptrdiff_t *row = source.next_offsets, *to = source.copy_offsets;
  int line = 0;
  const auto ask = [&] {
    for (int i = 0; i < source.lines_of_k && row != source.next_end; ++i) {
      prefetch_line(source.next + *row + line * (64 / static_cast<int>(sizeof(T))));
      if (++line == source.lines) line = 0, ++row;
    }
  };
  if (source.pieces != nullptr && p->gather_pairs) {
    for (; offset != end; offset += 2, to += 2) {
      const T* const a = first + *offset;
      T *const copy = source.copy + to[0], *const right = source.copy + to[1];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        const TilePieces::Vector& piece = source.pieces->vectors[v];
        const T* at = a + piece.at[0];
        Vec<T> low = vload(at), high = vload(at + kLanes);
        Vec<T> even = veven(low, high), odd = vodd(low, high);
        for (int i = 1; i < piece.count; ++i) {
          at = a + piece.at[i];
          low = vload(at), high = vload(at + kLanes);
          even = vjoin(even, veven(low, high), piece.lane[i]);
          odd = vjoin(odd, vodd(low, high), piece.lane[i]);
        }
        vstore(copy + piece.to, even);
        vstore(right + piece.to, odd);
      }
      ask();
      add(copy);
      ask();
      add(right);
    }
  } else if (source.pieces != nullptr) {
    for (; offset != end; ++offset, ++to) {
      const T* const a = first + *offset;
      T* const copy = source.copy + *to;
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        const TilePieces::Vector& piece = source.pieces->vectors[v];
        Vec<T> even = vload_even(a + piece.at[0]);
        for (int i = 1; i < piece.count; ++i)
          even = vjoin(even, vload_even(a + piece.at[i]), piece.lane[i]);
        vstore(copy + piece.to, even);
      }
      ask();
      add(copy);
    }
  } else if (source.copy != nullptr) {
    for (; offset != end; ++offset, ++to) {
      const T* const a = first + *offset;
      T* const copy = source.copy + *to;
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) vstore(copy + v * kLanes, vload(a + v * kLanes));
      ask();
      add(a);
    }
  } else {
    for (int panel = 1;; ++panel) {
      offset = source.offsets;
      for (int m = 0; m < MR; ++m) {
        if (!p->finish.stream) ask_for_row<T, NV>(out + m * p->result_plane, columns);
        for (const ptrdiff_t* const some = m + 1 < MR ? offset + p->k / MR : end; offset != some;
             ++offset) {
          ask();
          add(first + *offset);
        }
      }
      if (panel == source.panels) break;
      finish_rows_tile<T, MR, NV>(p->finish, p->result_plane, acc, columns, out, bias);
      clear<T, MR, NV>(acc);
      w += (p->filter_k - p->k) * MR;
      to_next_panel<T, MR>(p, &out, &bias);
    }
  }
  finish_rows_tile<T, MR, NV>(p->finish, p->result_plane, acc, columns, out, bias);
}

// Tiles of NV vectors one after the other, which share neither a copy nor what they ask for.
template <class T, int MR, int NV>
static void planar_tiles(const PlanarArgs<T>* p, const PlanarSource<T>& source, const T* w,
                         int columns, T* out, const T* bias) {
  constexpr int kColumns = NV * VecOf<T>::kLanes;
  // Copies: stores of T might change what they point to.
  const ptrdiff_t *const begin = source.offsets, *const end = source.end;
  const T* const pixels = source.first;
  const GemmFinish<T> finish = p->finish;
  const ptrdiff_t plane = p->result_plane, filter = p->filter_k * MR, share = p->k / MR;
  for (int panel = source.panels; panel > 0; --panel) {
    for (int x = 0; x < columns; x += kColumns) {
      Vec<T> acc[MR][NV];
      clear<T, MR, NV>(acc);
      const T *const first = pixels + x, *f = w;
      const ptrdiff_t* offset = begin;
      const auto add_until = [&](const ptrdiff_t* some) {
        for (; offset != some; ++offset, f += MR) add_row<T, MR, NV>(acc, first + *offset, f);
      };
      if (!finish.stream) {
        for (int m = 0; m < MR; ++m) {
          ask_for_row<T, NV>(out + m * plane + x, columns - x);
          if (m + 1 < MR) add_until(offset + share);
        }
      }
      add_until(end);
      finish_rows_tile<T, MR, NV>(finish, plane, acc,
                                  columns - x < kColumns ? columns - x : kColumns, out + x, bias);
    }
    w += filter;
    to_next_panel<T, MR>(p, &out, &bias);
  }
}

template <class T>
using PlanarTileFn = void (*)(const PlanarArgs<T>*, const PlanarSource<T>&, const T*, int, T*,
                              const T*);

template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE PlanarTileFn<T> planar_tile_of(int channels, int vectors, bool alone) {
  if constexpr (MR > 1) {
    if (channels < MR) return planar_tile_of<T, MR - 1, kPlaneNv[MR - 1]>(channels, vectors, alone);
  }
  if constexpr (NV > 1) {
    if (vectors < NV) return planar_tile_of<T, MR, NV - 1>(channels, vectors, alone);
  }
  return alone ? planar_tiles<T, MR, NV> : planar_tile<T, MR, NV>;
}

// Pieces of `total` as even as possible, larger ones first.
struct EvenSplit {
  int64_t each, extra;
};
static CONV3D_ALWAYS_INLINE EvenSplit even_split(int64_t total, int64_t pieces) {
  return {total / pieces, total % pieces};
}
// Of `pieces`, those from `i` on that are of its size.
static CONV3D_ALWAYS_INLINE int64_t pieces_alike(const EvenSplit& split, int64_t i,
                                                 int64_t pieces) {
  return i < split.extra ? split.extra - i : pieces - i;
}

// Pixels x, x + 1, ... of the width.
template <class T>
static void make_pieces(const PlanarArgs<T>* p, int64_t x, int64_t columns, TilePieces* pieces) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const GatherArgs<T> a = *p->gather;
  const int64_t pixel = a.first + x;
  HalvesOfRows halves{pixel / a.width * a.row, pixel % a.width};
  for (int64_t i = 0; i < columns; i += kLanes) {
    // The last vector repeats some of the one before, or some before the tile.
    const int64_t to = i + kLanes > columns ? columns - kLanes : i;
    halves.move(a, to - i);
    TilePieces::Vector& v = pieces->vectors[i / kLanes];
    v.count = 0;
    v.to = static_cast<int>(to);
    halves.each_piece(a, [&](ptrdiff_t from, int lane) {
      v.at[v.count] = from;
      v.lane[v.count++] = lane;
    });
    halves.move(a, kLanes);
  }
}

template <class T>
static void planar_rows(const PlanarArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int64_t vectors = (p->width + kLanes - 1) / kLanes;
  const int64_t tiles = (vectors + p->vectors - 1) / p->vectors;
  const T no_bias[kPlaneRows] = {};
  const EvenSplit tile_split = even_split(vectors, tiles),
                  panel_split = even_split(p->channels, p->panels);
  const int64_t outer = p->panel_outer ? p->panels : tiles,
                inner = p->panel_outer ? tiles : p->panels;
  // Tiles or panels of one size are one call, unless tiles ask for others or make a copy.
  for (int64_t o = 0, swept = 1; o < outer; o += swept) {
    if (p->panel_outer && p->ahead == nullptr) swept = pieces_alike(panel_split, o, outer);
    for (int64_t i = 0, run = 1; i < inner; i += run) {
      const int64_t panel = p->panel_outer ? o : i, tile = p->panel_outer ? i : o;
      run = pieces_alike(p->panel_outer ? tile_split : panel_split, i, inner);
      if (p->panel_outer ? p->ahead != nullptr : p->kept != nullptr && i == 0) run = 1;
      const int64_t first_vector =
          tile * tile_split.each + (tile < tile_split.extra ? tile : tile_split.extra);
      const int64_t first =
          panel * panel_split.each + (panel < panel_split.extra ? panel : panel_split.extra);
      const int channels = static_cast<int>(panel_split.each + (panel < panel_split.extra));
      const int64_t x = first_vector * kLanes;
      const int64_t tile_vectors = tile_split.each + (tile < tile_split.extra);
      const int64_t end = x + (p->panel_outer ? run : 1) * tile_vectors * kLanes;
      const int columns = static_cast<int>((end < p->width ? end : p->width) - x);
      PlanarSource<T> source{};
      source.panels = static_cast<int>(p->panel_outer ? swept : run);
      source.first = p->source + x;
      source.offsets = p->offsets;
      source.end = p->offsets + p->k;
      TilePieces pieces;
      if (p->kept != nullptr && i == 0 && p->gather != nullptr) {
        source.first = p->source;
        make_pieces<T>(p, x, columns, &pieces);
        source.pieces = &pieces;
      } else if (p->kept != nullptr && p->gather == nullptr) {
        source.next = p->source + end;
        source.next_offsets = p->offsets + p->k * i / inner;
        source.next_end = p->offsets + p->k * (i + run) / inner;
        // One line more than the vectors have, which need not begin with one.
        source.lines = (p->vectors + kVectorsOfLine<T> - 1) / kVectorsOfLine<T> + 1;
        source.lines_of_k = static_cast<int>((source.lines + inner - 1) / inner);
      }
      if (p->kept != nullptr) {
        if (i == 0) {
          source.copy = p->kept + (p->keeps_all ? x : 0);
          source.copy_offsets = p->kept_offsets;
        } else {
          source.first = p->kept + (p->keeps_all ? x : 0);
          source.offsets = p->kept_offsets;
          source.end = source.offsets + p->k;
        }
      }
      if ((p->kept == nullptr || p->gather != nullptr) && p->ahead != nullptr) {
        const int64_t share = o * inner + i, shares = outer * inner;
        source.next = p->ahead;
        source.next_offsets = p->ahead_offsets + p->ahead_rows * share / shares;
        source.next_end = p->ahead_offsets + p->ahead_rows * (share + run) / shares;
        source.lines = p->ahead_lines;
        const int64_t lines = (source.next_end - source.next_offsets) * p->ahead_lines;
        const int64_t k = run * p->k;
        source.lines_of_k = static_cast<int>((lines + k - 1) / (k > 0 ? k : 1));
      }
      const bool alone = source.copy == nullptr && source.next == nullptr;
      planar_tile_of<T, kPlaneRows, kPlaneNv[kPlaneRows]>(channels, static_cast<int>(tile_vectors),
                                                          alone)(
          p, source, p->filter + first * p->filter_k + p->k_first * channels, columns,
          p->result + first * p->result_plane + x,
          p->finish.bias != nullptr ? p->finish.bias + first : no_bias);
    }
  }
}

// --- lanes along the result channels -------------------------------------------------------------

template <class T, int MR, int NV>
static void pixel_tile(const PlanarArgs<T>* p, const T* b, int64_t x, int64_t first) {
  constexpr int kColumns = NV * VecOf<T>::kLanes;
  Vec<T> acc[MR][NV];
  clear<T, MR, NV>(acc);
  const ptrdiff_t step = p->step;
  const T* const source = p->source + x * step;
  const auto add = [&](ptrdiff_t offset) {
    const T* const a = source + offset;
    rank_one<T, MR, NV>(acc, [&](int m) { return a[m * step]; }, b);
    b += kColumns;
  };
  for (const ptrdiff_t *offset = p->offsets, *const end = offset + p->k; offset != end; ++offset)
    add(*offset);
  const int64_t rest = p->channels - first;
  const int columns = rest < kColumns ? static_cast<int>(rest) : kColumns;
  const ptrdiff_t result_step = p->result_step;
  T* const out = p->result + x * result_step + first;
  const auto c = [&](int m) { return out + m * result_step; };
  GemmFinish<T> finish = p->finish;
  if (finish.bias != nullptr) finish.bias += first;
  store_tile<T, MR, NV>(acc, c, columns, finish);
  finish_rows<T>(c, MR, columns, finish);
}

template <class T>
using PixelTileFn = void (*)(const PlanarArgs<T>*, const T*, int64_t, int64_t);

template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE PixelTileFn<T> pixel_tile_of(int pixels, int vectors) {
  if constexpr (NV > 1) {
    if (vectors < NV) return pixel_tile_of<T, kStridedRows[NV - 1], NV - 1>(pixels, vectors);
  }
  if constexpr (MR > 1) {
    if (pixels < MR) return pixel_tile_of<T, MR - 1, NV>(pixels, vectors);
  }
  return pixel_tile<T, MR, NV>;
}

template <class T>
static void planar_pixels(const PlanarArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int64_t vectors = (p->channels + kLanes - 1) / kLanes;
  const EvenSplit split = even_split(vectors, p->panels);
  const int most = kStridedRows[split.each + (split.extra > 0)];
  const int64_t tiles = (p->width + most - 1) / most;
  const EvenSplit tile_split = even_split(p->width, tiles);
  int64_t pixels = tile_split.each + (tile_split.extra > 0);
  int64_t run = tile_split.extra > 0 ? tile_split.extra : tiles;
  if (p->finish.stream) {
    // Whole lines: tiles begin at even pixels.
    pixels = most < p->width ? most : p->width;
    run = p->width / pixels;
  }
  // Tiles and panels of one size have one function.
  for (int64_t x = 0; x < p->width;) {
    int64_t vector = 0;
    for (int64_t panel = 0; panel < p->panels;) {
      const int64_t columns = (split.each + (panel < split.extra)) * kLanes,
                    alike = pieces_alike(split, panel, p->panels), first = vector * kLanes;
      const PixelTileFn<T> multiply = pixel_tile_of<T, kStridedRows[kMaxNv], kMaxNv>(
          static_cast<int>(pixels), static_cast<int>(columns / kLanes));
      const T* const filter = p->filter + first * p->filter_k + p->k_first * columns;
      for (int64_t tile = 0; tile < run; ++tile)
        for (int64_t i = 0; i < alike; ++i)
          multiply(p, filter + i * columns * p->filter_k, x + tile * pixels, first + i * columns);
      panel += alike;
      vector += alike * columns / kLanes;
    }
    x += run * pixels;
    pixels = p->finish.stream ? p->width - x : tile_split.each;
    run = p->finish.stream ? 1 : tiles - tile_split.extra;
  }
}

// --- products of rows ----------------------------------------------------------------------------

// A tile of MR x NC sums, each a vector along x until the runs end: MR + NC loads for MR * NC
// multiply-adds. Vectors' lanes are added at the end, in the order of vsum.
template <class T, int MR, int NC, bool kGathers>
static void product_tile(const ProductArgs<T>* p, int64_t row, int64_t column) {
  constexpr int kLanes = VecOf<T>::kLanes, kSums = MR * NC;
  Vec<T> acc[MR][NC];
  clear<T, MR, NC>(acc);
  // The side with fewer rows stays in registers, the other passes.
  const auto add = [&](const auto& a, const auto& b) {
    if constexpr (MR < NC) {
      Vec<T> av[MR];
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m) av[m] = a(m);
#pragma GCC unroll 8
      for (int n = 0; n < NC; ++n) {
        const Vec<T> bv = vkeep(b(n));
#pragma GCC unroll 8
        for (int m = 0; m < MR; ++m) acc[m][n] = vfma(av[m], bv, acc[m][n]);
      }
    } else {
      Vec<T> bv[NC];
#pragma GCC unroll 8
      for (int n = 0; n < NC; ++n) bv[n] = b(n);
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m) {
        const Vec<T> av = vkeep(a(m));
#pragma GCC unroll 8
        for (int n = 0; n < NC; ++n) acc[m][n] = vfma(av, bv[n], acc[m][n]);
      }
    }
  };
  for (int64_t run = 0; run < p->runs; ++run) {
    const T *a[MR], *b[NC];
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) a[m] = p->a[run] + (row + m) * p->a_row;
#pragma GCC unroll 8
    for (int n = 0; n < NC; ++n) b[n] = p->b[run] + (column + n) * p->b_row;
    const int64_t k = p->k[run];
    int64_t x = 0;
    if constexpr (kGathers) {
      GatherArgs<T> gather = p->gather[run];
      gather.n = k;
      const T* const from = gather.src;
      T* const kept = gather.dst + row * p->a_row;
      const ptrdiff_t* const offsets = p->gather_offsets + row;
      HalvesOfRows halves{0, gather.first};
      // From vector to vector, with the products of each; then the last one, which repeats some of
      // the one before, without.
      const auto gather_vector = [&](int64_t at) {
        halves.each_piece(gather, [&](ptrdiff_t piece, int lane) {
#pragma GCC unroll 8
          for (int m = 0; m < MR; ++m) {
            const Vec<T> even = vload_even(from + offsets[m] + piece);
            T* const to = kept + m * p->a_row + at;
            vstore(to, lane == 0 ? even : vjoin(vload(to), even, lane));
          }
        });
      };
      if (takes_halves(gather)) {
        for (; x + kLanes <= k; x += kLanes) {
          gather_vector(x);
          halves.move(gather, kLanes);
          add([&](int m) { return vload(a[m] + x); }, [&](int n) { return vload(b[n] + x); });
        }
        halves.move(gather, k - kLanes - x);
        if (x < k) gather_vector(k - kLanes);
      } else {
        for (int m = 0; m < MR; ++m) {
          gather.src = from + offsets[m];
          gather.dst = kept + m * p->a_row;
          planar_gather<T>(&gather);
        }
      }
    }
    for (; x + kLanes <= k; x += kLanes)
      add([&](int m) { return vload(a[m] + x); }, [&](int n) { return vload(b[n] + x); });
    if (const int rest = static_cast<int>(k - x); rest > 0)
      add([&](int m) { return vload_n(a[m] + x, rest); },
          [&](int n) { return vload_n(b[n] + x, rest); });
  }
  constexpr int kVectors = (kSums + kLanes - 1) / kLanes;
  T sums[kVectors * kLanes];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
    Vec<T> some[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      const int at = v * kLanes + i;
      some[i] = at < kSums ? acc[at < kSums ? at / NC : 0][at < kSums ? at % NC : 0] : vset(T(0));
    }
    vstore(sums + v * kLanes, vsums(some));
  }
  for (int m = 0; m < MR; ++m) {
    double* const to = p->sums + (row + m) * p->sums_row + column;
    if (p->add) {
      for (int n = 0; n < NC; ++n) to[n] += static_cast<double>(sums[m * NC + n]);
    } else {
      for (int n = 0; n < NC; ++n) to[n] = static_cast<double>(sums[m * NC + n]);
    }
  }
}

template <class T, int MR, int NC>
static CONV3D_ALWAYS_INLINE void product_any(const ProductArgs<T>* p, int64_t row, int64_t column,
                                             int64_t rows, int64_t columns) {
  if constexpr (MR > 1) {
    if (rows < MR) return product_any<T, MR - 1, NC>(p, row, column, rows, columns);
  }
  if constexpr (NC > 1) {
    if (columns < NC) return product_any<T, MR, NC - 1>(p, row, column, rows, columns);
  }
  if (column == 0 && p->gather != nullptr) {
    product_tile<T, MR, NC, true>(p, row, column);
  } else {
    product_tile<T, MR, NC, false>(p, row, column);
  }
}

template <class T>
static void planar_products(const ProductArgs<T>* p) {
  constexpr int64_t kSize = sizeof(T);
  const int tile_rows =
      product_tile_rows(kProductRows, kProductColumns, p->a_row * kSize, p->b_row * kSize);
  const int64_t tiles = (p->rows + tile_rows - 1) / tile_rows,
                column_tiles = (p->columns + kProductColumns - 1) / kProductColumns;
  const EvenSplit rows = even_split(p->rows, tiles), columns = even_split(p->columns, column_tiles);
  int64_t row = 0;
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t count = rows.each + (i < rows.extra);
    int64_t column = 0;
    for (int64_t j = 0; j < column_tiles; ++j) {
      const int64_t n = columns.each + (j < columns.extra);
      product_any<T, kProductRows, kProductColumns>(p, row, column, count, n);
      column += n;
    }
    row += count;
  }
}

// --- staging -------------------------------------------------------------------------------------

template <class T>
static void planar_cut(const CutArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const CutArgs<T> a = *p;  // a copy: stores of T might change what they point to
  if (a.ahead != 0)
    for (int64_t r = 0; r < a.count; ++r) ask_for(a.rows + a.ahead + r * a.row, a.step, a.n);
  for (int64_t r = 0; r < a.count; ++r) {
    const T* const row = a.rows + r * a.row;
    T* const to = a.cut + r * a.n;
    if (a.step == 2 && a.taps == 2) {
      for (int64_t i = 0; i < a.n; i += kLanes) {
        if (a.n >= kLanes) {
          // The last vector may repeat some of the one before.
          const int64_t at = i + kLanes <= a.n ? i : a.n - kLanes;
          const Vec<T> low = vload(row + 2 * at), high = vload(row + 2 * at + kLanes);
          vstore(to + at, veven(low, high));
          vstore(to + a.tap + at, vodd(low, high));
        } else {
          const int n = static_cast<int>(a.n), first = 2 * n < kLanes ? 2 * n : kLanes;
          const Vec<T> low = vload_n(row, first),
                       high = 2 * n > kLanes ? vload_n(row + kLanes, 2 * n - kLanes) : vset(T(0));
          vstore_n(to, n, veven(low, high));
          vstore_n(to + a.tap, n, vodd(low, high));
        }
      }
    } else if (a.step == 2 && a.taps == 1) {
      gather_row(row, a.step, a.n, to);
    } else if (a.step >= kLanes && a.taps == a.step) {
      const TransposeArgs<T> turn = {row, a.step, to, a.tap, a.n, a.taps};
      transpose_cached<T>(&turn);
    } else {
      for (int64_t t = 0; t < a.taps; ++t)
        for (int64_t i = 0; i < a.n; ++i) to[t * a.tap + i] = row[i * a.step + t];
    }
  }
}

// Elements of one row from `cell` on.
template <class T>
static void join_each(const JoinArgs<T>* p, const T* cut, int64_t cell, T* row) {
  for (int64_t e = cell * p->step; e < p->elements; ++cell)
    for (int64_t t = 0; t < p->step && e < p->elements; ++t, ++e)
      row[e] = cell < p->n && t < p->taps ? cut[t * p->tap + cell] : p->rest;
}

template <class T>
static void planar_join(const JoinArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int64_t cells = p->elements / p->step, whole = p->n < cells ? p->n : cells;
  const Vec<T> rest = vset(p->rest);
  for (int64_t r = 0; r < p->count; ++r) {
    const T* const cut = p->cut + r * p->n;
    T* const row = p->rows + r * p->row;
    const auto put = [&](T* to, int64_t n, Vec<T> v) {
      if (n < kLanes) {
        vstore_n(to, static_cast<int>(n), v);
      } else {
        vstore(to, v);
      }
    };
    int64_t cell = 0;
    if (p->taps == 0) {
      for (int64_t e = 0; e < p->elements; e += kLanes) put(row + e, p->elements - e, rest);
      continue;
    }
    if (p->step == 2) {
      for (; cell < whole; cell += kLanes) {
        const int64_t n = whole - cell < kLanes ? whole - cell : kLanes;
        const auto load = [&](const T* from) {
          return n < kLanes ? vload_n(from, static_cast<int>(n)) : vload(from);
        };
        const Vec<T> a = load(cut + cell), b = p->taps == 2 ? load(cut + p->tap + cell) : rest;
        T* const to = row + 2 * cell;
        put(to, 2 * n, vzip_low(a, b));
        if (2 * n > kLanes) put(to + kLanes, 2 * n - kLanes, vzip_high(a, b));
      }
      cell = whole;
    } else if (p->step >= kLanes && p->taps == p->step) {
      const TransposeArgs<T> turn = {cut, p->tap, row, p->step, p->taps, whole};
      transpose_cached<T>(&turn);
      cell = whole;
    }
    join_each(p, cut, cell, row);
  }
}

template <class T>
static void planar_stream(const T* src, int64_t n, T* dst) {
  constexpr int kLanes = VecOf<T>::kLanes;
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  const auto off = static_cast<int64_t>(reinterpret_cast<uintptr_t>(dst) / sizeof(T)) % kLine;
  const int64_t head = off == 0          ? 0
                       : kLine - off < n ? kLine - off
                                         : n,
                end = head + (n - head) / kLine * kLine;
  for (int64_t i = 0; i < head; ++i) dst[i] = src[i];
  for (int64_t i = head; i < end; i += kLanes) vstream(dst + i, vload(src + i));
  for (int64_t i = end; i < n; ++i) dst[i] = src[i];
}

template <class T>
static constexpr PlanarKernels<T> planar_kernels() {
  return {kPlaneRows,         kPlaneNv,         kMaxNv,         kStridedRows[1] % 2 == 0,
          planar_rows<T>,     planar_pixels<T>, kProductRows,   kProductColumns,
          planar_products<T>, planar_cut<T>,    planar_join<T>, planar_gather<T>,
          planar_stream<T>};
}
static constexpr PlanarTable kPlanarTable = {planar_kernels<float>(), planar_kernels<double>()};

}  // namespace conv3d::CONV3D_ISA
