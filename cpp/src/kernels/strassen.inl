// Strassen's scheme in Winograd's form (seven products, fifteen sums) over packed operands. A tile
// of MR rows x NV vectors is taken through all seven products at its place, so that the sums
// between them stay in registers or in L1 and every quarter of C is written once.
//
// Assumptions: C aliases neither A nor B, and sums that are made ahead go elsewhere; B is padded
// with zeros to whole vectors; A has all rows of its tiles, whatever rows of C are written.
//
// Source: V. Strassen, Gaussian elimination is not optimal, 1969; S. Winograd's form in D. Knuth,
// The Art of Computer Programming 2, 4.6.4; sums inside the micro-kernel after J. Huang et al.,
// Strassen's algorithm reloaded, 2016.
//
// Included by isa_*.cpp after gemm_ukernel.inl.

#include "kernels/strassen_table.h"

namespace conv3d::CONV3D_ISA {

static constexpr int kStrassenNv = kMaxNv < 2 ? kMaxNv : 2;
static constexpr int kStrassenRows = kStridedRows[kStrassenNv];
static_assert(kStrassenRows % 2 == 0);

// Where a tile is written.
struct StrassenTarget {
  float* c;
  int64_t rows, columns;  // of C from here on
  const float* bias;      // of the first row or column, or null
};

// Sums of a tile, [row][column], to C: those rows and columns that there are, with all that comes
// after.
template <int NV>
static void strassen_write(const StrassenArgs* p, const float* tile, int rows,
                           const StrassenTarget& to) {
  constexpr int kNr = NV * kLanesF;
  const int64_t columns = to.columns < kNr ? to.columns : kNr;
  if (columns <= 0) return;
  const int count = static_cast<int>(to.rows < rows ? to.rows : rows);
  const bool load_c = p->load_c != 0, of_columns = to.bias != nullptr && !p->transposed;
  const VecF floor = vset(p->last && p->activation == kActRelu ? 0.0f : -__builtin_inff());
  if (columns == kNr) {
    constexpr uintptr_t kLine = 64;
    const uintptr_t place =
        reinterpret_cast<uintptr_t>(to.c) | static_cast<uintptr_t>(p->c_row) * sizeof(float);
    const bool stream = p->stream && place % kLine == 0 && kNr * sizeof(float) % kLine == 0;
    VecF bias[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      bias[v] = p->last && of_columns ? vload(to.bias + v * kLanesF) : vset(0.0f);
    for (int m = 0; m < count; ++m) {
      float* const c = to.c + m * p->c_row;
      if (p->last && to.bias != nullptr && p->transposed)
#pragma GCC unroll 4
        for (int v = 0; v < NV; ++v) bias[v] = vset(to.bias[m]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        VecF y = vload(tile + m * kNr + v * kLanesF);
        if (load_c) y = vadd(vload(c + v * kLanesF), y);
        y = vmax(floor, vadd(y, bias[v]));
        if (stream) {
          vstream(c + v * kLanesF, y);
        } else {
          vstore(c + v * kLanesF, y);
        }
      }
    }
  } else {
    for (int m = 0; m < count; ++m) {
      float* const c = to.c + m * p->c_row;
      for (int64_t j = 0; j < columns; j += kLanesF) {
        const int n = static_cast<int>(columns - j < kLanesF ? columns - j : kLanesF);
        VecF y = vload(tile + m * kNr + j);
        if (load_c) y = vadd(vload_n(c + j, n), y);
        VecF bias = vset(0.0f);
        if (p->last && to.bias != nullptr)
          bias = p->transposed ? vset(to.bias[m]) : vload_n(to.bias + j, n);
        vstore_n(c + j, n, vmax(floor, vadd(y, bias)));
      }
    }
  }
  if (!p->last || p->activation <= kActRelu) return;
  for (int m = 0; m < count; ++m)
    activate_row<float>(to.c + m * p->c_row, columns, p->activation, p->alpha);
}

// The vectors at row i and column j of all sums.
static CONV3D_ALWAYS_INLINE void strassen_sum(const StrassenSumsArgs* p, int64_t i, int64_t j) {
  const auto load = [&](int quarter) {
    const int64_t n = i < p->rows[quarter] ? p->columns[quarter] - j : 0;
    const float* const x = p->from[quarter] + i * p->from_row + j;
    return n >= kLanesF ? vload(x) : n <= 0 ? vset(0.0f) : vload_n(x, static_cast<int>(n));
  };
  float* const to = p->to + i * p->to_row + j / kStrassenLine * p->to_line + j % kStrassenLine;
  const int64_t left = p->to_columns - j;
  // Without gaps between rows a whole vector may reach into the next one, which comes after it, but
  // no further: stores with a mask take many cycles on some processors.
  const bool whole = left >= kLanesF || (p->to_row == p->to_columns && i + 1 < p->to_rows &&
                                         2 * p->to_columns >= kLanesF);
  const auto put = [&](int n, VecF x) {
    float* const at = to + n * p->to_product;
    if (whole) {
      vstore(at, x);
    } else {
      vstore_n(at, static_cast<int>(left), x);
    }
  };
  // In an order that holds three vectors at most: products keep the other registers.
  const VecF x0 = load(0);
  put(0, x0);
  if (p->right) {
    const VecF x1 = load(1), b5 = vsub(x1, x0);
    put(5, b5);
    const VecF x3 = load(3);
    put(6, x3);
    put(3, vsub(x3, x1));
    const VecF b2 = vsub(x3, b5);
    put(2, b2);
    const VecF x2 = load(2);
    put(1, x2);
    put(4, vsub(x2, b2));
  } else {
    const VecF x2 = load(2);
    put(3, vsub(x0, x2));
    const VecF x3 = load(3);
    put(4, x3);
    const VecF a5 = vadd(x2, x3);
    put(5, a5);
    const VecF a2 = vsub(a5, x0);
    put(2, a2);
    const VecF x1 = load(1);
    put(1, x1);
    put(6, vsub(x1, a2));
  }
}

// Sums that are made between the multiply-adds, in even parts: their loads, additions and stores
// take what the multiply-adds leave of the core. On their own they would take as long again.
struct StrassenOnTheWay {
  StrassenAhead* const state;

  static CONV3D_ALWAYS_INLINE void step(const StrassenAhead* a, StrassenAhead::Place* place) {
    const StrassenSumsArgs* const s = a->sums + place->index;
    place->column += kLanesF;
    if (place->column < s->to_columns) return;
    place->column = 0;
    if (++place->row < s->to_rows) return;
    place->row = 0;
    ++place->index;
  }

  CONV3D_ALWAYS_INLINE void part() const {
    StrassenAhead* const a = state;
    if (a == nullptr) return;
    for (a->asked.due += a->ask_vectors; a->asked.due >= a->parts; a->asked.due -= a->parts) {
      if (a->asked.index == a->asks) break;
      const StrassenSumsArgs* const s = a->sums + a->asked.index;
#pragma GCC unroll 4
      for (int i = 0; i < kStrassenQuarters; ++i) {
        const float* const x = s->from[i] + a->asked.row * s->from_row + a->asked.column;
        prefetch_line_l2(x);
        prefetch_line_l2(x + kLanesF - 1);
      }
      step(a, &a->asked);
    }
    if (a->lead > 0) {
      --a->lead;
      return;
    }
    for (a->made.due += a->make_vectors; a->made.due >= a->parts; a->made.due -= a->parts) {
      strassen_sum(a->sums + a->made.index, a->made.row, a->made.column);
      step(a, &a->made);
    }
  }
};

// The tile at `row` and `column` of the halves.
template <int MR, int NV, bool kLines>
static void strassen_tile(const StrassenArgs* p, int64_t row, int64_t column) {
  const StrassenOnTheWay way{p->ahead};
  constexpr int kNr = NV * kLanesF;
  // B comes from L2: asked for so many k before, two lines or less at a time.
  constexpr int kAheadOfB = 24;
  alignas(64) float u[MR * kNr], v[MR * kNr], t[MR * kNr];
  Vec<float> acc[MR][NV];
  const auto store = [&](float* to) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) vstore(to + m * kNr + n * kLanesF, acc[m][n]);
  };
  const auto load = [&](const float* from) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) acc[m][n] = vload(from + m * kNr + n * kLanesF);
  };
  const auto add = [&](const float* term) {
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < NV; ++n) acc[m][n] = vadd(acc[m][n], vload(term + m * kNr + n * kLanesF));
  };
  // Quarter [i][j] of the product that is not transposed.
  const auto write = [&](int i, int j, const float* sums) {
    const int lower = p->transposed ? j : i, right = p->transposed ? i : j;
    const float* bias = p->bias[j];
    if (bias != nullptr) bias += p->transposed ? row : column;
    strassen_write<NV>(p, sums, MR,
                       {p->c[2 * lower + right] + row * p->c_row + column, p->rows[lower] - row,
                        p->columns[right] - column, bias});
  };
  // What will be added to, long before.
  const auto ask = [&](int i, int j) {
    if (!p->load_c) return;
    const int quarter = p->transposed ? 2 * j + i : 2 * i + j;
    const float* const c = p->c[quarter] + row * p->c_row + column;
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
      for (int line = 0; line < kNr; line += kStrassenLine) prefetch_line(c + m * p->c_row + line);
  };
  const int64_t k_of_a = kLines ? (p->k + kStrassenLine - 1) / kStrassenLine * kStrassenLine : p->k;
  const float* a = p->a + row * k_of_a * kStrassenProducts;
  const float* b = p->b + column * p->k * kStrassenProducts;
  const auto step = [&](const float* x, ptrdiff_t apart) {
#pragma GCC unroll 4
    for (int line = 0; line < kNr; line += kStrassenLine) prefetch_line(b + kAheadOfB * kNr + line);
    rank_one<float, MR, NV>(acc, [&](int m) { return x[m * apart]; }, b);
    b += kNr;
  };
  clear<float, MR, NV>(acc);
  for (int product = 0; product < kStrassenProducts; ++product) {
    if (product == 0) ask(0, 0);
    if (product == 3) ask(1, 0);
    if (product == 4) ask(1, 1);
    if (product == 5) ask(0, 1);
    if constexpr (kLines) {
      for (int64_t k = 0; k < p->k; k += kStrassenLine, a += MR * kStrassenLine) {
        const int64_t count = p->k - k < kStrassenLine ? p->k - k : kStrassenLine;
        way.part();
        for (int64_t i = 0; i < count; ++i) step(a + i, kStrassenLine);
      }
    } else {
      for (int64_t left = p->k; left > 0; left -= kStrassenLine) {
        way.part();
        for (int64_t k = left < kStrassenLine ? left : kStrassenLine; k > 0; --k, a += MR)
          step(a, 1);
      }
    }
    switch (product) {
      case 0: store(u); break;
      case 1:
        store(t);
        write(0, 0, t);
        clear<float, MR, NV>(acc);
        break;
      case 2:
        add(u);
        store(u);
        break;
      case 3: store(v); break;
      case 4:
        store(t);
        write(1, 0, t);
        clear<float, MR, NV>(acc);
        break;
      case 5:
        store(t);
        add(v);
        store(v);
        write(1, 1, v);
        load(t);
        add(u);
        break;
      default: store(t); write(0, 1, t);
    }
  }
}

template <int MR, int NV, bool kLines>
static CONV3D_ALWAYS_INLINE void strassen_any(const StrassenArgs* p, int rows, int64_t row,
                                              int64_t column) {
  if constexpr (MR > 2) {
    if (rows < MR) return strassen_any<MR - 2, NV, kLines>(p, rows, row, column);
  }
  strassen_tile<MR, NV, kLines>(p, row, column);
}

template <int NV>
static CONV3D_ALWAYS_INLINE void strassen_at(const StrassenArgs* p, int rows, int64_t row,
                                             int64_t column) {
  if constexpr (NV > 1) {
    if (p->vectors * kLanesF - column < NV * kLanesF)
      return strassen_at<NV - 1>(p, rows, row, column);
  }
  if (p->a_lines) {
    strassen_any<kStrassenRows, NV, true>(p, rows, row, column);
  } else {
    strassen_any<kStrassenRows, NV, false>(p, rows, row, column);
  }
}

static void strassen_multiply(const StrassenArgs* p) {
  constexpr int64_t kNr = kStrassenNv * kLanesF;
  const int64_t panels = (p->vectors + kStrassenNv - 1) / kStrassenNv;
  if (p->row_outer) {
    int64_t row = 0;
    for (int tile = 0; tile < p->tiles; row += p->tile_rows[tile++])
      for (int64_t panel = 0; panel < panels; ++panel)
        strassen_at<kStrassenNv>(p, p->tile_rows[tile], row, panel * kNr);
  } else {
    for (int64_t panel = 0; panel < panels; ++panel) {
      int64_t row = 0;
      for (int tile = 0; tile < p->tiles; row += p->tile_rows[tile++])
        strassen_at<kStrassenNv>(p, p->tile_rows[tile], row, panel * kNr);
    }
  }
}

static void strassen_sums(const StrassenSumsArgs* p) {
  constexpr int kAhead = 8 * kStrassenLine;  // where the next sums go: too many places to foresee
  constexpr ptrdiff_t kRowsAhead = 12;
  for (int64_t i = 0; i < p->to_rows; ++i) {
    for (int64_t j = 0; j < p->to_columns; j += kLanesF) {
#pragma GCC unroll 4
      for (int x = 0; x < kStrassenQuarters; ++x)
        prefetch_line(p->from[x] + (i + kRowsAhead) * p->from_row + j);
      float* const to = p->to + i * p->to_row + j / kStrassenLine * p->to_line + kAhead;
#pragma GCC unroll 7
      for (int n = 0; n < kStrassenProducts; ++n) prefetch_for_write(to + n * p->to_product);
      strassen_sum(p, i, j);
    }
  }
}

static constexpr StrassenTable kStrassenTable = {kLanesF, kStrassenNv, kStrassenRows,
                                                 strassen_multiply, strassen_sums};

}  // namespace conv3d::CONV3D_ISA
