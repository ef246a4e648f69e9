// Strassen's scheme in Winograd's form (seven products, fifteen sums) over packed operands. A tile
// of MR rows x NV vectors is taken through all seven products at its place, so that the sums
// between them stay in registers or in L1 and every quarter of C is written once.
//
// Assumptions: C aliases neither A nor B; B is padded with zeros to whole vectors; A has all rows
// of its tiles, whatever rows of C are written.
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

// The regions ahead, in even shares: a burst of requests would fill the core's miss buffers and
// hold up the products.
struct StrassenAhead {
  struct Place {
    const char *row, *line, *row_end;
    ptrdiff_t pitch;
    int64_t bytes, lines, due;  // of the region; times `shares`, as yet
  };
  Place places[kStrassenRegions];
  int64_t shares;

  StrassenAhead(const StrassenRegion* regions, int64_t in_shares) : shares(in_shares) {
    constexpr int64_t kLine = 64;
    for (int i = 0; i < kStrassenRegions; ++i) {
      const StrassenRegion& r = regions[i];
      const char* const first = reinterpret_cast<const char*>(r.first);
      places[i] = {first,
                   first,
                   first + r.bytes,
                   r.row * static_cast<ptrdiff_t>(sizeof(float)),
                   r.bytes,
                   (r.bytes + kLine - 1) / kLine * r.rows,
                   0};
    }
  }

  void ask() {
    constexpr int64_t kLine = 64;
    for (Place& p : places) {
      for (p.due += p.lines; p.due >= shares; p.due -= shares) {
        prefetch_line(p.line);
        p.line += kLine;
        if (p.line >= p.row_end) {
          p.row += p.pitch;
          p.line = p.row;
          p.row_end = p.row + p.bytes;
        }
      }
    }
  }
};

// The tile at `row` and `column` of the halves.
template <int MR, int NV, bool kLines>
static void strassen_tile(const StrassenArgs* p, StrassenAhead* ahead, int64_t row,
                          int64_t column) {
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
        ahead->ask();
        for (int64_t i = 0; i < count; ++i) step(a + i, kStrassenLine);
      }
    } else {
      for (int64_t left = p->k; left > 0; left -= kStrassenLine) {
        ahead->ask();
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
static CONV3D_ALWAYS_INLINE void strassen_any(const StrassenArgs* p, StrassenAhead* ahead, int rows,
                                              int64_t row, int64_t column) {
  if constexpr (MR > 2) {
    if (rows < MR) return strassen_any<MR - 2, NV, kLines>(p, ahead, rows, row, column);
  }
  strassen_tile<MR, NV, kLines>(p, ahead, row, column);
}

template <int NV>
static CONV3D_ALWAYS_INLINE void strassen_at(const StrassenArgs* p, StrassenAhead* ahead, int rows,
                                             int64_t row, int64_t column) {
  if constexpr (NV > 1) {
    if (p->vectors * kLanesF - column < NV * kLanesF)
      return strassen_at<NV - 1>(p, ahead, rows, row, column);
  }
  if (p->a_lines) {
    strassen_any<kStrassenRows, NV, true>(p, ahead, rows, row, column);
  } else {
    strassen_any<kStrassenRows, NV, false>(p, ahead, rows, row, column);
  }
}

static void strassen_multiply(const StrassenArgs* p) {
  constexpr int64_t kNr = kStrassenNv * kLanesF;
  const int64_t panels = (p->vectors + kStrassenNv - 1) / kStrassenNv;
  StrassenAhead ahead(p->ahead, p->tiles * panels * kStrassenProducts *
                                    ((p->k + kStrassenLine - 1) / kStrassenLine));
  if (p->row_outer) {
    int64_t row = 0;
    for (int tile = 0; tile < p->tiles; row += p->tile_rows[tile++])
      for (int64_t panel = 0; panel < panels; ++panel)
        strassen_at<kStrassenNv>(p, &ahead, p->tile_rows[tile], row, panel * kNr);
  } else {
    for (int64_t panel = 0; panel < panels; ++panel) {
      int64_t row = 0;
      for (int tile = 0; tile < p->tiles; row += p->tile_rows[tile++])
        strassen_at<kStrassenNv>(p, &ahead, p->tile_rows[tile], row, panel * kNr);
    }
  }
  if (p->stream) vstream_fence();
}

static void strassen_sums(const StrassenSumsArgs* p) {
  constexpr int kAhead = 8 * kStrassenLine;  // where the next sums go: too many places to foresee
  constexpr ptrdiff_t kRowsAhead = 12;
  const ptrdiff_t product = p->to_product;
  const auto load = [&](int quarter, int64_t row, int64_t column) {
    const int64_t n = row < p->rows[quarter] ? p->columns[quarter] - column : 0;
    const float* const x = p->from[quarter] + row * p->from_row + column;
    prefetch_line(x + kRowsAhead * p->from_row);
    return n >= kLanesF ? vload(x) : n <= 0 ? vset(0.0f) : vload_n(x, static_cast<int>(n));
  };
  for (int64_t i = 0; i < p->to_rows; ++i) {
    // Without gaps between rows a whole vector may reach into the next one, which comes after it:
    // stores with a mask take many cycles on some processors.
    const bool whole = p->to_row == p->to_columns && i + 1 < p->to_rows &&
                       2 * p->to_columns >= kLanesF;  // no further than that one
    for (int64_t j = 0; j < p->to_columns; j += kLanesF) {
      float* const to = p->to + i * p->to_row + j / kStrassenLine * p->to_line + j % kStrassenLine;
      const int64_t left = p->to_columns - j;
      const auto put = [&](int n, VecF x) {
        float* const at = to + n * product;
        prefetch_line(at + kAhead);
        if (left >= kLanesF || whole) {
          vstore(at, x);
        } else {
          vstore_n(at, static_cast<int>(left), x);
        }
      };
      const VecF x0 = load(0, i, j);
      put(0, x0);
      const VecF x1 = load(1, i, j), x2 = load(2, i, j), x3 = load(3, i, j);
      if (p->right) {
        const VecF b5 = vsub(x1, x0), b2 = vsub(x3, b5);
        put(1, x2);
        put(2, b2);
        put(3, vsub(x3, x1));
        put(4, vsub(x2, b2));
        put(5, b5);
        put(6, x3);
      } else {
        const VecF a5 = vadd(x2, x3), a2 = vsub(a5, x0);
        put(1, x1);
        put(2, a2);
        put(3, vsub(x0, x2));
        put(4, x3);
        put(5, a5);
        put(6, vsub(x1, a2));
      }
    }
  }
}

static constexpr StrassenTable kStrassenTable = {kLanesF, kStrassenNv, kStrassenRows,
                                                 strassen_multiply, strassen_sums};

}  // namespace conv3d::CONV3D_ISA
