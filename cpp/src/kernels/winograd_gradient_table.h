// Kernels of the Winograd filter gradient: the transforms of both operands in two steps, the
// product per point, and the way back to the taps. Plain data; see winograd_gradient.inl.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/winograd_table.h"

namespace conv3d {

// The first two axes of a run of columns. A column is the pixels of a tile's window at one place
// along the width; it becomes points_d * points_h lines of 16 channels:
//   lines[(pd * points_h + ph) * position_stride + column * 16 + channel]
struct WinogradColumnsArgs {
  const float* source;  // pixel (0, 0, 0), first channel of the group; 16 channels contiguous
  ptrdiff_t stride_d, stride_h, stride_w;  // between pixels, in floats
  int64_t extent_d, extent_h, extent_w;    // pixels outside are zeros and are not read
  int64_t origin_d, origin_h, origin_w;    // first pixel of the first column; may be negative
  int points_d, points_h;
  int pixels_d, pixels_h;  // of a column: the window for the input, m for grad_output
  int split_d, split_h;    // WinogradSplit: none, the halves of stride 2, or a pair
  int64_t columns;
  int channels;  // 1..16; rounded up to a vector, with zeros beyond; further lanes stay as they are
  float* lines;  // aligned to 64 bytes
  ptrdiff_t position_stride;         // floats, a multiple of 16
  int position_begin, position_end;  // those that are written, of points_d * points_h
};

// The third axis of a run of tiles: u[point * position_stride + tile * 16 + channel] from columns
// tile * step, tile * step + 1, ...
struct WinogradWidthArgs {
  const float* columns;  // 16 floats each, aligned to 64 bytes
  int points;
  int pixels;  // columns of a tile: the window for the input, m for grad_output
  int split;   // as of the other axes
  int step;
  int64_t tiles;
  int channels;  // 1..16, rounded up to a vector
  float* u;
  ptrdiff_t position_stride;
};

// c[column / 16][row][column % 16] (+)= sum over tiles of a[tile][row] * b[column /
// 16][tile][column % 16], one chain of multiply-adds. Rows of c lie 16 floats apart. c aliases
// neither a nor b.
struct WinogradOuterArgs {
  const float* a;  // 16 floats a tile
  const float* b;
  ptrdiff_t b_group;  // from 16 columns to the next
  int64_t tiles;
  int rows;     // 1..16
  int columns;  // 1..outer_columns; whole vectors of them are computed
  float* c;
  ptrdiff_t c_group;
  int accumulate;
};

// filter[tap][row][channel] = (G^T x G^T x G^T) sums.
struct WinogradTapsArgs {
  const float* sums;        // point p of row i at sums + p * position_stride + i * 16, or
  const double* wide_sums;  // here if it is not null
  int wide;                 // non-zero, or wide sums: in float64, rounded once
  ptrdiff_t position_stride;
  WinogradFilterAxes axes;
  float* filter;  // first tap, first row, first channel
  ptrdiff_t tap_stride, row_stride;
  int rows;
  int channels;  // 1..16
  int stream;    // non-zero: write whole lines past the caches where they are whole and aligned
};

struct WinogradGradientTable {
  int outer_columns;  // most columns of `outer`: 16 or 32
  void (*columns)(const WinogradColumnsArgs* args);
  void (*width)(const WinogradWidthArgs* args);
  void (*outer)(const WinogradOuterArgs* args);
  void (*widen)(double* sums, const float* terms, int64_t n, int add);  // sums (+)= terms
  void (*taps)(const WinogradTapsArgs* args);
};

}  // namespace conv3d
