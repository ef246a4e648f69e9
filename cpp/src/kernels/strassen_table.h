// Kernels of Strassen's scheme: seven products of sums of quarters. Plain data; see strassen.inl
// and algorithms/strassen/README.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

inline constexpr int kStrassenProducts = 7;
inline constexpr int kStrassenQuarters = 4;  // upper left, upper right, lower left, lower right
inline constexpr int kStrassenLine = 16;     // k of a line of the left operand

// What the products read of a matrix, one after the other. Of the left operand, with quarters x:
//
//   A0 = x[0]  A1 = x[1]  A4 = x[3]  A5 = x[2] + x[3]  A2 = A5 - x[0]  A3 = x[0] - x[2]
//   A6 = x[1] - A2
//
// of the right one:
//
//   B0 = x[0]  B1 = x[2]  B6 = x[3]  B5 = x[1] - x[0]  B2 = x[3] - B5  B3 = x[3] - x[1]
//   B4 = x[2] - B2
struct StrassenSumsArgs {
  int right;  // operand
  const float* from[kStrassenQuarters];
  ptrdiff_t from_row;
  int64_t rows[kStrassenQuarters], columns[kStrassenQuarters];  // that there are; zeros beyond
  float* to;                              // product after product, to_product apart
  ptrdiff_t to_product, to_row, to_line;  // a row's 16 columns are to_line apart
  int64_t to_rows, to_columns;
};

// Sums that products make on their way, for the products after them. What is read is asked for
// `lead` parts before.
struct StrassenAhead {
  const StrassenSumsArgs* sums;       // one after the other
  int makes, asks;                    // the first ones are made, and maybe more asked for
  int64_t make_vectors, ask_vectors;  // of all of them
  int64_t parts;                      // one for each 16 k of a tile's product, less `lead`
  int64_t lead;
  // How far they are; zeros at first.
  struct Place {
    int index;
    int64_t row, column, due;
  } made, asked;
};

// C (+)= A B with rows, k and columns in halves, A's rows broadcast and the lanes along B's
// columns: seven products of sums of quarters of A and of B (StrassenSumsArgs):
//
//   C[upper left]  = A0 B0 + A1 B1
//   u = A0 B0 + A2 B2,  v = u + A3 B3
//   C[lower left]  = v + A4 B4
//   C[lower right] = v + A5 B5
//   C[upper right] = u + A5 B5 + A6 B6
//
// Transposed, A holds sums of the second matrix and B those of the first, each transposed, and so
// does C: the same products and sums of the same numbers.
struct StrassenArgs {
  int transposed;
  int64_t k;  // of each product
  // Rows of A0 cut into tiles of so many, each even and at most the table's.
  const int* tile_rows;  // [tiles]
  int tiles;
  int64_t rows[2], columns[2];  // of C that are written, in the halves
  int64_t vectors;              // of B0's columns; panels are of the table's, the last maybe fewer
  int row_outer;                // all panels of a tile, then the next; else all tiles of a panel
  // In the order in which they are read: [tile][product][k][rows of the tile], or in lines, with k
  // rounded up, [tile][product][k / 16][rows of the tile][16].
  const float* a;
  int a_lines;
  const float* b;  // [panel][product][k][columns of the panel], whole vectors
  float* c[kStrassenQuarters];
  ptrdiff_t c_row;
  int load_c, last;      // as in GemmFinish
  const float* bias[2];  // of the halves' first column, transposed: row; or null
  int activation;
  float alpha;
  int stream;  // write past the caches where whole lines are written; not with load_c, nor with an
               // activation beyond ReLU, which reads them again
  StrassenAhead* ahead;  // or null
};

struct StrassenTable {
  int lanes, panel_vectors;  // most vectors of a panel
  int tile_rows;             // most rows of a tile, even
  void (*multiply)(const StrassenArgs* args);
  void (*sums)(const StrassenSumsArgs* args);
};

}  // namespace conv3d
