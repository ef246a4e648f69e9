// Kernels of Winograd along the width: the transform of one row of the source or of grad_output,
// the product of one point and row, the inverse transform of one row of results. Plain data; see
// winograd_rows.inl.
//
// A row of results is cut into tiles of `outputs` (m) results. With a dilation a row falls into
// `lattices` (e) interleaved ones: result (t e m + i e + r) is output i of tile t of lattice r. The
// tiles of a row lie lattice after lattice: tile t of lattice r has index r * tiles + t.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_table.h"

namespace conv3d {

inline constexpr int kRowsMaxPoints = 8;  // of a segment
inline constexpr int kRowsMaxOutputs = 6;
inline constexpr int kRowsMaxTaps = 5;
// Source channels of one transform: what its scratch holds.
inline constexpr int kRowsChannels = 16;

// Taps first, first + step, ... of a row of taps: one F(m, taps), or for one tap m plain products.
struct RowsSegment {
  int first, taps;
  int point, points;  // its first point among those of the row, and how many
};

// u[point][channel][tile] = B^T of the window of each tile, pixels outside the row as zeros.
struct RowsInputArgs {
  const float* source;                     // pixel 0, first channel
  ptrdiff_t pixel_stride, channel_stride;  // one of them is 1
  int64_t pixels;                          // of the row
  int64_t origin;                          // pixel of the first window's first tap; may be negative
  int channels;                            // 1..kRowsChannels
  int outputs, lattices, tiles;            // tiles of each lattice
  int stride, dilation;                    // pixels from result to result and from tap to tap
  int step;                                // taps from output to output of a tile, and in a segment
  int segments;
  const RowsSegment* segment;
  int reach;       // whole periods (outputs * lattices * stride pixels) that a window extends over
  float* scratch;  // aligned to 64 bytes, rows_scratch floats
  float* u;
  ptrdiff_t point_stride, channel_stride_u;
};

// c[row][column] (+)= sum over groups g and k of rows[g][k][row] * columns[g][k][column].
struct RowsMultiplyArgs {
  int64_t rows;
  int vectors;  // columns in vectors
  int groups;
  int64_t k;
  const float* const* a;  // rows, per group
  ptrdiff_t a_k, a_offset;
  const float* const* b;  // columns, per group
  ptrdiff_t b_k, b_offset;
  float* c;
  ptrdiff_t c_row;
  int load_c;
};

// results = act(bias + A^T c). Lanes along the channels: c[point][tile][channel], to pixels
// pixel_stride apart. Lanes along the tiles: c[point][channel][tile], to rows of
// tiles (rounded up to whole vectors) * lattices * outputs pixels, row_stride apart.
struct RowsOutputArgs {
  const float* c;
  ptrdiff_t point_stride, c_row;
  int outputs, lattices, tiles;
  int segments;
  const RowsSegment* segment;
  int64_t pixels;  // of the results; lanes along the channels: not written beyond
  int channels;
  float* result;
  ptrdiff_t pixel_stride;  // lanes along the channels
  ptrdiff_t row_stride;    // lanes along the tiles
  const float* bias;       // per channel, or null
  int activation;          // as Activation in problem/problem.h
  float alpha;             // of leaky ReLU
  int stream;              // lanes along the channels: write past the caches; whole aligned vectors
};

// v[point][tile][channel] = A of the tiles of a row of grad_output, pixels beyond the row as zeros,
// and zeros beyond the channels: the filter gradient's second operand.
struct RowsGradientArgs {
  const float* source;  // pixel 0, first channel of the panel
  ptrdiff_t pixel_stride;
  int64_t pixels;
  int outputs, lattices, tiles;  // 2 or 4 outputs; tiles of each lattice
  int segments;
  const RowsSegment* segment;
  int channels;  // 1..vectors * lanes
  int vectors;   // of the panel, 1..WinogradRowsTable::vectors
  float* v;
  ptrdiff_t point_stride;
};

struct WinogradRowsTable {
  int vectors;            // most vectors of result channels in a panel
  const int* panel_rows;  // [vectors + 1]: tiles of a full product by vectors
  void (*input)(const RowsInputArgs* args);
  void (*multiply_channels)(const RowsMultiplyArgs* args);  // rows are tiles, columns one panel
  void (*multiply_tiles)(const RowsMultiplyArgs* args);     // rows are 1..plane_rows channels
  void (*output_channels)(const RowsOutputArgs* args);
  void (*output_tiles)(const RowsOutputArgs* args);
  void (*gradient)(const RowsGradientArgs* args);
  void (*copy)(const float* src, float* dst, int64_t n, int stream);
};

}  // namespace conv3d
