// The micro-kernels: a tile of MR rows x NV vectors of C stays in registers while groups, taps and
// k are summed.
//
// Per k: NV loads of B, MR broadcasts of A, MR * NV multiply-adds. The forms differ only in where A
// lies:
//   taps          rows anywhere, one pointer per row and group; pixels of the input, read in place
//   taps_strided  rows a run-time constant apart, one pointer per group; a row of pixels
//   lines         rows 16 floats apart, k in blocks of 16 (the Winograd domain [k / 16][row][16])
//   plane         k outermost, rows contiguous: A^T B, the filter gradient
//   dot           lanes along k, for one to four columns
// Assumptions: C does not alias A or B; B panels are padded with zeros to whole vectors, so only
// stores of C are masked. One accumulator per element and the same order of k in every form and
// tile size: a tile's shape never changes a result.
//
// Included by isa_*.cpp after a simd/vec_*.h and epilogue.inl.

#include "kernels/gemm_table.h"

namespace conv3d::CONV3D_ISA {

// --- accumulators --------------------------------------------------------------------------------

template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE void clear(Vec<T> (&acc)[MR][NV]) {
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[m][v] = vset(T(0));
}

// One k: `a(m)` is the element of row m.
template <class T, int MR, int NV, class A>
static CONV3D_ALWAYS_INLINE void rank_one(Vec<T> (&acc)[MR][NV], const A& a, const T* b) {
  Vec<T> bv[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) bv[v] = vload(b + v * VecOf<T>::kLanes);
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
    const Vec<T> x = vset(a(m));
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) acc[m][v] = vfma(x, bv[v], acc[m][v]);
  }
}

// Writes the tile to rows `c(m)`; `columns` of the NV * lanes are valid.
template <class T, int MR, int NV, class C>
static CONV3D_ALWAYS_INLINE void store_tile(Vec<T> (&acc)[MR][NV], const C& c, int columns,
                                            const GemmFinish<T>& f) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int tail = columns - (NV - 1) * kLanes;  // of the last vector, 1..kLanes
  if (f.load_c) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const T* p = c(m);
#pragma GCC unroll 8
      for (int v = 0; v < NV - 1; ++v) acc[m][v] = vadd(vload(p + v * kLanes), acc[m][v]);
      const T* last = p + (NV - 1) * kLanes;
      acc[m][NV - 1] = vadd(tail == kLanes ? vload(last) : vload_n(last, tail), acc[m][NV - 1]);
    }
  }
  if (f.last) {
    // max(-infinity, y) is y: one instruction serves "none" and ReLU without a branch.
    const Vec<T> floor = vset(f.activation == kActRelu ? T(0) : static_cast<T>(-__builtin_inf()));
    Vec<T> bias[NV];
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      bias[v] = vset(T(0));
      if (f.bias != nullptr) {
        const T* p = f.bias + v * kLanes;
        bias[v] = v < NV - 1 || tail == kLanes ? vload(p) : vload_n(p, tail);
      }
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) acc[m][v] = vmax(floor, vadd(acc[m][v], bias[v]));
  }
  if (f.stream) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      T* p = c(m);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) vstream(p + v * kLanes, acc[m][v]);
    }
    return;
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
    T* p = c(m);
#pragma GCC unroll 8
    for (int v = 0; v < NV - 1; ++v) vstore(p + v * kLanes, acc[m][v]);
    T* last = p + (NV - 1) * kLanes;
    if (tail == kLanes) {
      vstore(last, acc[m][NV - 1]);
    } else {
      vstore_n(last, tail, acc[m][NV - 1]);
    }
  }
}

// The activations that need many registers run over the rows just written.
template <class T, class C>
static CONV3D_ALWAYS_INLINE void finish_rows(const C& c, int rows, int columns,
                                             const GemmFinish<T>& f) {
  if (!f.last || f.activation <= kActRelu) return;
  for (int m = 0; m < rows; ++m) activate_row<T>(c(m), columns, f.activation, f.alpha);
}

// --- rows anywhere -------------------------------------------------------------------------------

template <class T, int MR, int NV>
static void tap_tile(const GemmTapArgs<T>* p, int64_t row) {
  constexpr int kNr = NV * VecOf<T>::kLanes;
  Vec<T> acc[MR][NV];
  clear<T, MR, NV>(acc);
  const T* const* table = p->a + row;
  for (int g = 0; g < p->groups; ++g, table += p->a_group) {
    const T* a[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) a[m] = table[m] + p->a_offset;
    const T* b_of_tap = p->b + p->b_group[g];
    for (int t = p->taps;;) {
      const T* b = b_of_tap;
      const int64_t k = p->k;
      for (int64_t i = 0; i < k; ++i, b += kNr)
        rank_one<T, MR, NV>(acc, [&](int m) { return a[m][i]; }, b);
      if (--t <= 0) break;
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) a[m] += p->a_tap;
      b_of_tap += p->b_tap;
    }
  }
  T* const* rows = p->c + row;
  const auto c = [&](int m) { return rows[m] + p->c_offset; };
  store_tile<T, MR, NV>(acc, c, p->columns, p->finish);
  finish_rows<T>(c, MR, p->columns, p->finish);
}

template <class T>
using TapTileFn = void (*)(const GemmTapArgs<T>*, int64_t);

// Tiles of 1..MR rows, so that what remains after whole tiles is one call.
template <class T, int NV, int MR>
struct TapTiles {
  static CONV3D_ALWAYS_INLINE TapTileFn<T> of(int rows) {
    return rows == MR ? tap_tile<T, MR, NV> : TapTiles<T, NV, MR - 1>::of(rows);
  }
};
template <class T, int NV>
struct TapTiles<T, NV, 1> {
  static CONV3D_ALWAYS_INLINE TapTileFn<T> of(int) { return tap_tile<T, 1, NV>; }
};

template <class T, int NV>
static void tap_panel(const GemmTapArgs<T>* p) {
  constexpr int kRows = kTapRows[NV];
  int64_t row = 0;
  for (; row + kRows <= p->rows; row += kRows) tap_tile<T, kRows, NV>(p, row);
  if (row < p->rows) TapTiles<T, NV, kRows>::of(static_cast<int>(p->rows - row))(p, row);
}

template <class T, int NV>
static CONV3D_ALWAYS_INLINE void tap_vectors(const GemmTapArgs<T>* p) {
  if constexpr (NV > 1) {
    if (p->vectors < NV) return tap_vectors<T, NV - 1>(p);
  }
  tap_panel<T, NV>(p);
}

template <class T>
static void gemm_taps(const GemmTapArgs<T>* p) {
  tap_vectors<T, kMaxNv>(p);
}

// --- rows a constant apart -----------------------------------------------------------------------

// kAhead: one group, one tap; the rows after these come from memory, too many short ones for the
// hardware to foresee.
template <class T, int MR, int NV, bool kAhead = false>
static void strided_tile(const GemmTapArgs<T>* p, int64_t row) {
  constexpr int kNr = NV * VecOf<T>::kLanes;
  Vec<T> acc[MR][NV];
  clear<T, MR, NV>(acc);
  const ptrdiff_t step = p->a_row, offset = p->a_offset + row * step;
  if constexpr (kAhead) {
    constexpr int64_t kOfLine = 64 / sizeof(T);
    const T *a = p->a[0] + offset, *b = p->b + p->b_group[0];
    for (const T* const end = a + p->k; a != end;) {
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) prefetch_line(a + (m + MR) * step);
      const T* const line_end = end - a < kOfLine ? end : a + kOfLine;
      for (; a != line_end; ++a, b += kNr)
        rank_one<T, MR, NV>(acc, [&](int m) { return a[m * step]; }, b);
    }
  }
  for (int g = kAhead ? p->groups : 0; g < p->groups; ++g) {
    const T* a_of_tap = p->a[g] + offset;
    const T* b_of_tap = p->b + p->b_group[g];
    for (int t = 0; t < p->taps; ++t, a_of_tap += p->a_tap, b_of_tap += p->b_tap) {
      const T* a = a_of_tap;
      const T* b = b_of_tap;
      for (const T* const end = a + p->k; a != end; ++a, b += kNr)
        rank_one<T, MR, NV>(acc, [&](int m) { return a[m * step]; }, b);
    }
  }
  T* const first = p->c0 + row * p->c_row + p->c_offset;
  const auto c = [&](int m) { return first + m * p->c_row; };
  store_tile<T, MR, NV>(acc, c, p->columns, p->finish);
  finish_rows<T>(c, MR, p->columns, p->finish);
}

template <class T, int NV, int MR>
struct StridedTiles {
  static CONV3D_ALWAYS_INLINE TapTileFn<T> of(int rows) {
    return rows == MR ? strided_tile<T, MR, NV> : StridedTiles<T, NV, MR - 1>::of(rows);
  }
};
template <class T, int NV>
struct StridedTiles<T, NV, 1> {
  static CONV3D_ALWAYS_INLINE TapTileFn<T> of(int) { return strided_tile<T, 1, NV>; }
};

// Rows split as evenly as tiles of at most kStridedRows allow: few rows make poor tiles.
template <class T, int NV>
static void strided_panel(const GemmTapArgs<T>* p) {
  constexpr int kRows = kStridedRows[NV];
  int64_t row = 0, tiles = (p->rows + kRows - 1) / kRows;
  for (; tiles > 0; --tiles) {
    const int rows = static_cast<int>((p->rows - row + tiles - 1) / tiles);
    if (rows == kRows && p->ahead) {
      strided_tile<T, kRows, NV, true>(p, row);
    } else if (rows == kRows) {
      strided_tile<T, kRows, NV>(p, row);
    } else {
      StridedTiles<T, NV, kRows>::of(rows)(p, row);
    }
    row += rows;
  }
}

template <class T, int NV>
static CONV3D_ALWAYS_INLINE void strided_vectors(const GemmTapArgs<T>* p) {
  if constexpr (NV > 1) {
    if (p->vectors < NV) return strided_vectors<T, NV - 1>(p);
  }
  strided_panel<T, NV>(p);
}

template <class T>
static void gemm_taps_strided(const GemmTapArgs<T>* p) {
  strided_vectors<T, kMaxNv>(p);
}

// --- lines of 16 channels: the Winograd domain ---------------------------------------------------

static constexpr int kChannelLine = 16;
// Two lines wide where 32 registers allow it (14 x 32 with 512-bit vectors), else one.
static constexpr int kLinesNv =
    kMaxNv * kLanesF >= 2 * kChannelLine ? 2 * kChannelLine / kLanesF : kChannelLine / kLanesF;
static constexpr int kLinesNr = kLinesNv * kLanesF;
// Rows of a tile of `vectors`. They lie a fixed distance apart and need no pointers, so one vector
// of eight lanes takes twelve: 12 accumulators + 1 of B + 1 of A, and 13 loads for 12
// multiply-adds.
static constexpr int lines_rows_of(int vectors) {
  return vectors > kMaxNv               ? 2
         : vectors == 1 && kLanesF == 8 ? 12
                                        : kStridedRows[vectors <= kMaxNv ? vectors : 1];
}

struct LinesArgs {
  const float* a;
  ptrdiff_t a_block;
  const float* b;
  int kc;
  float* c;
  ptrdiff_t c_group;
  int accumulate;
};

template <int MR, int NV>
static void lines_tile(const LinesArgs* p, int64_t row) {
  constexpr int kNr = NV * kLanesF;
  Vec<float> acc[MR][NV];
  clear<float, MR, NV>(acc);
  const float* block = p->a + row * kChannelLine;
  const float* b = p->b;
  for (int k = 0; k < p->kc; k += kChannelLine, block += p->a_block) {
    const int count = p->kc - k < kChannelLine ? p->kc - k : kChannelLine;
    for (int i = 0; i < count; ++i, b += kNr) {
      // The next panel comes from L3 or memory, once per block of tiles: 3 to 8 % of the whole for
      // 64 channels and more.
      prefetch_line(b + p->kc * kNr);
      rank_one<float, MR, NV>(acc, [&](int m) { return block[m * kChannelLine + i]; }, b);
    }
  }
  float* const c = p->c + row * kChannelLine;
  constexpr int kPerLine = kChannelLine / kLanesF;
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m) {
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) {
      float* at = c + (v / kPerLine) * p->c_group + m * kChannelLine + (v % kPerLine) * kLanesF;
      vstore(at, p->accumulate ? vadd(vload(at), acc[m][v]) : acc[m][v]);
    }
  }
}

template <int MR, int NV>
static CONV3D_ALWAYS_INLINE void lines_rows(const LinesArgs* p, int64_t row, int rows) {
  if constexpr (MR > 1) {
    if (rows < MR) return lines_rows<MR - 1, NV>(p, row, rows);
  }
  lines_tile<MR, NV>(p, row);
}

template <int NV>
static CONV3D_ALWAYS_INLINE void lines_panel(const LinesArgs* p, int64_t rows, int vectors) {
  if constexpr (NV > 1) {
    if (vectors < NV) return lines_panel<NV - 1>(p, rows, vectors);
  }
  constexpr int kRows = lines_rows_of(NV);
  int64_t row = 0, tiles = (rows + kRows - 1) / kRows;
  for (; tiles > 0; --tiles) {
    const int count = static_cast<int>((rows - row + tiles - 1) / tiles);
    lines_rows<kRows, NV>(p, row, count);
    row += count;
  }
}

// C (+)= A B for `rows` rows: A[k / 16][row][16] with blocks a_block apart, B[k][nr] of nr / lanes
// = `vectors` <= kLinesNv, C[column / 16][row][16] with lines c_group apart. C may alias neither A
// nor B.
[[maybe_unused]] static void gemm_lines(int64_t rows, const float* a, ptrdiff_t a_block,
                                        const float* b, int kc, float* c, ptrdiff_t c_group,
                                        int accumulate, int vectors) {
  const LinesArgs args = {a, a_block, b, kc, c, c_group, accumulate};
  lines_panel<kLinesNv>(&args, rows, vectors);
}

// --- k outermost ---------------------------------------------------------------------------------

// A part of what is ahead, to the L2.
static CONV3D_ALWAYS_INLINE void ask_part(GemmAhead* a) {
  constexpr int64_t kLineBytes = 64;
  for (a->due += a->lines; a->due >= a->parts; a->due -= a->parts) {
    if (a->region == a->count) return;
    const GemmAhead::Region& r = a->regions[a->region];
    prefetch_line_l2(static_cast<const char*>(r.rows[a->row]) + a->piece * r.piece_bytes +
                     a->line * kLineBytes);
    if (++a->line < r.lines) continue;
    a->line = 0;
    if (++a->piece < r.pieces) continue;
    a->piece = 0;
    if (++a->row < r.row_count) continue;
    a->row = 0;
    ++a->region;
  }
}

template <class T, int MR, int NV, bool kMasked, bool kAhead>
static void plane_tile(const GemmPlaneArgs<T>* p, int64_t column, int columns) {
  constexpr int kLanes = VecOf<T>::kLanes;
  Vec<T> acc[MR][NV];
  clear<T, MR, NV>(acc);
  const int tail = columns - (NV - 1) * kLanes;
  for (int g = 0; g < p->groups; ++g) {
    const T* a = p->a[g] + p->a_offset;
    const T* b = p->b[g] + p->b_offset + column;
    for (int64_t left = p->k; left > 0; left -= GemmAhead::kPart) {
      if constexpr (kAhead) ask_part(p->ahead);
      for (int64_t k = kAhead && left > GemmAhead::kPart ? GemmAhead::kPart : left; k > 0;
           --k, a += p->a_k, b += p->b_k) {
        Vec<T> bv[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV - 1; ++v) bv[v] = vload(b + v * kLanes);
        bv[NV - 1] = kMasked ? vload_n(b + (NV - 1) * kLanes, tail) : vload(b + (NV - 1) * kLanes);
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          const Vec<T> x = vset(a[m]);
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v) acc[m][v] = vfma(x, bv[v], acc[m][v]);
        }
      }
      if constexpr (!kAhead) break;
    }
  }
  const GemmFinish<T> finish = {p->load_c, 0, nullptr, 0, T(0), 0};
  T* const first = p->c + column;
  store_tile<T, MR, NV>(acc, [&](int m) { return first + m * p->c_row; }, columns, finish);
}

template <class T, int MR, int NV, bool kMasked>
static CONV3D_ALWAYS_INLINE void plane_any_tile(const GemmPlaneArgs<T>* p, int64_t column,
                                                int columns) {
  if (p->ahead != nullptr) {
    plane_tile<T, MR, NV, kMasked, true>(p, column, columns);
  } else {
    plane_tile<T, MR, NV, kMasked, false>(p, column, columns);
  }
}

// What remains of the columns: whole vectors first, then one masked.
template <class T, int MR, int NV>
static CONV3D_ALWAYS_INLINE void plane_rest(const GemmPlaneArgs<T>* p, int64_t column,
                                            int columns) {
  constexpr int kLanes = VecOf<T>::kLanes;
  if constexpr (NV > 1) {
    if (columns <= (NV - 1) * kLanes) return plane_rest<T, MR, NV - 1>(p, column, columns);
  }
  if (columns == NV * kLanes) {
    plane_any_tile<T, MR, NV, false>(p, column, columns);
  } else {
    plane_any_tile<T, MR, NV, true>(p, column, columns);
  }
}

// Vectors of a tile of so many rows.
static constexpr int plane_vectors_of(int rows) {
  if (rows <= kPlaneRows) return kPlaneNv[rows];
  int vectors = 1;
  while (vectors < kMaxNv && kTallRows[vectors + 1] >= rows) ++vectors;
  return vectors;
}

template <class T, int MR>
static void plane_rows(const GemmPlaneArgs<T>* p) {
  constexpr int kNv = plane_vectors_of(MR), kNr = kNv * VecOf<T>::kLanes;
  int64_t column = 0;
  for (; column + kNr <= p->columns; column += kNr)
    plane_any_tile<T, MR, kNv, false>(p, column, kNr);
  if (column < p->columns) plane_rest<T, MR, kNv>(p, column, static_cast<int>(p->columns - column));
}

template <class T, int MR>
static CONV3D_ALWAYS_INLINE void plane_any(const GemmPlaneArgs<T>* p) {
  if constexpr (MR > 1) {
    if (p->rows < MR) return plane_any<T, MR - 1>(p);
  }
  plane_rows<T, MR>(p);
}

template <class T>
static void gemm_plane(const GemmPlaneArgs<T>* p) {
  plane_any<T, kTallRows[1]>(p);
}

// --- lanes along k -------------------------------------------------------------------------------

// The sums of the accumulators' lanes as vectors of [row][column], so that the activation runs over
// whole vectors; they are stored as such where rows follow each other in memory.
// `bias` repeats by columns, or is null.
template <class T, int MR, int NC>
static CONV3D_ALWAYS_INLINE void dot_store(const Vec<T> (&acc)[MR][NC], const GemmDotArgs<T>* p,
                                           int64_t row, const T* bias) {
  constexpr int kLanes = VecOf<T>::kLanes, kSums = MR * NC, kVectors = (kSums - 1) / kLanes + 1;
  const GemmFinish<T>& f = p->finish;
  T* const* const rows = p->c + row;
  bool contiguous = true;
#pragma GCC unroll 16
  for (int m = 1; m < MR; ++m) contiguous = contiguous && rows[m] == rows[0] + m * NC;
  T* const first = rows[0] + p->c_offset;
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    constexpr int kTail = kSums - (kVectors - 1) * kLanes;
    const int count = v < kVectors - 1 ? kLanes : kTail;
    T memory[kLanes];
    Vec<T> sums;
    if constexpr (kSums * 2 > kLanes) {
      Vec<T> some[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        const int at = v * kLanes + i;
        some[i] = at < kSums ? acc[at < kSums ? at / NC : 0][at < kSums ? at % NC : 0] : vset(T(0));
      }
      sums = vsums(some);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        memory[i] = i < kSums ? vsum(acc[i / NC % MR][i % NC]) : T(0);
      sums = vload(memory);
    }
    if (f.load_c) {
      for (int i = 0; i < kLanes; ++i) {
        const int at = v * kLanes + i;
        memory[i] = i < count ? rows[at / NC][p->c_offset + at % NC] : T(0);
      }
      sums = vadd(vload(memory), sums);
    }
    if (f.last) {
      if (bias != nullptr) sums = vadd(sums, vload(bias + v * kLanes));
      sums = activate_vec<T>(sums, f.activation, f.alpha);
    }
    if (contiguous) {
      if (count == kLanes) {
        vstore(first + v * kLanes, sums);
      } else {
        vstore_n(first + v * kLanes, count, sums);
      }
    } else {
      vstore(memory, sums);
      for (int i = 0; i < count; ++i) {
        const int at = v * kLanes + i;
        rows[at / NC][p->c_offset + at % NC] = memory[i];
      }
    }
  }
}

template <class T, int MR, int NC>
static void dot_tile(const GemmDotArgs<T>* p, int64_t row, const T* bias) {
  constexpr int kLanes = VecOf<T>::kLanes;
  Vec<T> acc[MR][NC];
  clear<T, MR, NC>(acc);
  const int64_t k = p->k, whole = k - k % kLanes;
  const ptrdiff_t padded = p->b_column;
  const int tail = static_cast<int>(k - whole);
  for (int g = 0; g < p->groups; ++g) {
    const T* a[MR];
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) a[m] = p->a[g * p->a_group + row + m] + p->a_offset;
    const T* b = p->b + p->b_group[g];
    for (int t = 0; t < p->taps; ++t, b += p->b_tap) {
      for (int64_t i = 0; i < whole; i += kLanes) {
        Vec<T> x[MR];
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) x[m] = vload(a[m] + i);
#pragma GCC unroll 4
        for (int c = 0; c < NC; ++c) {
          const Vec<T> w = vload(b + c * padded + i);
#pragma GCC unroll 16
          for (int m = 0; m < MR; ++m) acc[m][c] = vfma(x[m], w, acc[m][c]);
        }
      }
      if (tail != 0) {
#pragma GCC unroll 16
        for (int m = 0; m < MR; ++m) {
          const Vec<T> x = vload_n(a[m] + whole, tail);
#pragma GCC unroll 4
          for (int c = 0; c < NC; ++c) {
            // Masked too: with taps clipped at the border what follows is another tap or column,
            // maybe NaN.
            acc[m][c] = vfma(x, vload_n(b + c * padded + whole, tail), acc[m][c]);
          }
        }
      }
#pragma GCC unroll 16
      for (int m = 0; m < MR; ++m) a[m] += p->a_tap;
    }
  }
  dot_store<T, MR, NC>(acc, p, row, bias);
}

template <class T, int NC>
static void dot_rows(const GemmDotArgs<T>* p) {
  // 8 x 1, 4 x 2, 4 x 3 accumulators; 4 x 4 needs more than 16 registers.
  constexpr int kRows = NC == 1 ? 8 : NC < 4 ? 4 : 2;
  T pattern[16];  // of at most 12 sums, rounded up to vectors
  const T* bias = nullptr;
  if (p->finish.last && p->finish.bias != nullptr) {
    for (int i = 0; i < 16; ++i) pattern[i] = p->finish.bias[i % NC];
    bias = pattern;
  }
  int64_t row = 0;
  for (; row + kRows <= p->rows; row += kRows) dot_tile<T, kRows, NC>(p, row, bias);
  for (; row < p->rows; ++row) dot_tile<T, 1, NC>(p, row, bias);
}

template <class T>
static void gemm_dot(const GemmDotArgs<T>* p) {
  switch (p->columns) {
    case 1: return dot_rows<T, 1>(p);
    case 2: return dot_rows<T, 2>(p);
    case 3: return dot_rows<T, 3>(p);
    default: return dot_rows<T, 4>(p);
  }
}

}  // namespace conv3d::CONV3D_ISA
