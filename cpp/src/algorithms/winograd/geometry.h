// What the Winograd path computes, in one form for both directions, and how the output
// is cut into tiles.
//
// forward: a correlation of `input` with `filter`. backward_input with stride 1: a correlation of
// grad_output with the filter flipped in all three axes and its channels swapped, padded by
// (k - 1) d - p. Everything after this file sees a correlation.
//
// backward_input with stride 2 and three taps: with u = result + p, even u meet taps 2 and 0 of
// pixels u / 2 - 1 and u / 2, odd u meet tap 1 of pixel (u - 1) / 2. m of each read one window of
// m + 1 pixels: F(m, 2) beside m plain products, 2 m results in turns. With the taps reversed G is
// that of the forward pass with stride 2. Of four taps odd u meet taps 3 and 1 of the same pixels
// as u - 1: two F(m, 2), of one window, or of two a pixel apart where the first u is odd. Of five,
// even u meet three: F(m, 3) beside F(m, 2).
//
// Two pixels and two results of an axis, zeros around them, and three taps f: two linear functions
// of (x0, x1), by three products where F(2, 3) has four points:
//   y0 = f1 (x0 + x1) + (f2 - f1) x1,  y1 = f1 (x0 + x1) + (f0 - f1) x0
//
// Dilation d: the results whose index is f modulo d read only pixels whose index is f - pad modulo
// d. So an axis falls into d phases, each a correlation without dilation between two lattices of
// pixels d apart.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/winograd_table.h"
#include "problem/problem.h"

namespace conv3d::winograd {

// m of F(m, r) per axis: depth, height, width. 1 stands for an axis of kernel size 1,
// which is not transformed (but may have a stride).
struct TileShape {
  int m[3];
};

struct Geometry {
  int64_t ci, co;     // channels of source and result
  int64_t source[3];  // extents
  int64_t result[3];
  int64_t pad[3];       // zeros before; may be negative (the first window starts inside)
  int r[3];             // kernel size per axis
  int stride[3];        // 1 or 2; anything where r is 1, forward
  int64_t dilation[3];  // 1 where stride is not
  bool flipped;         // taps reversed and channels swapped when the filter is packed
  bool channels_first;
  int m[3];           // of F(m, r)
  int n[3];           // points: stride (m - 1) + r, or 3 of a pair
  int split[3];       // WinogradSplit of kernels/winograd_table.h
  int window[3];      // pixels of its window: n, m + 1 or 2 of backward_input with stride 2, a pair
  int step[3];        // from window to window: stride m, or m
  int outputs[3];     // results of a tile: m, or 2 m
  int64_t phases[3];  // that hold results: min(dilation, result)
  int64_t tiles[3];   // of one phase
  // Lanes along the pixels: of the width a tile holds 16 neighbours, and channels stand where
  // tiles else do. See along_pixels.
  bool pixel_lanes;
  // The width is not transformed and has neither strides nor borders: rows of the source are rows
  // of the result.
  bool keeps_rows() const {
    return n[2] == 1 && step[2] == 1 && pad[2] == 0 && source[2] == result[2];
  }
  // So is the height: a plane is one row.
  bool depth_alone() const {
    return keeps_rows() && n[1] == 1 && source[1] == 1 && result[1] == 1 && pad[1] == 0;
  }
  int points() const { return n[0] * n[1] * n[2]; }
  int64_t tiles_per_sample() const {
    return tiles[0] * tiles[1] * tiles[2] * phases[0] * phases[1] * phases[2];
  }
  int64_t source_voxels() const { return source[0] * source[1] * source[2]; }
  int64_t result_voxels() const { return result[0] * result[1] * result[2]; }
};

// The pixels of one axis that one phase reads or writes: `count` of them from `first`, dilation
// apart. The window (or the outputs) of its tile 0 begins at pixel `origin` of these.
struct Lattice {
  int64_t first, count, origin;
};
Lattice source_lattice(const Geometry& geometry, int axis, int64_t phase);
Lattice result_lattice(const Geometry& geometry, int axis, int64_t phase);

// Empty if F(shape) can compute the problem, else the reason.
std::string why_not_geometry(const Problem& problem, TileShape shape);
// Requires why_not_geometry to be empty. Lanes along the channels.
Geometry make_geometry(const Problem& problem, TileShape shape);
// The same with lanes along the pixels of channels-first planes, which are transformed where they
// lie, without a transposition. Requires channels first and keeps_rows.
Geometry along_pixels(const Geometry& geometry);

// G of F(m, r) in float64, [points][r]; null for what has no matrices here.
//
// Stride 2: the even pixels of a window meet the even taps, the odd ones the odd taps, and each
// half is an F(m, r / 2) of its own. G is made of the two, rows of the even half first.
const double* filter_matrix(int m, int r, int stride = 1, int split = kSplitNone);
// G of the three axes.
WinogradFilterAxes filter_axes(const int (&m)[3], const int (&r)[3], const int (&n)[3],
                               const int (&stride)[3], const int (&split)[3]);
// Whether filters of this size are transformed in float64 even where they do not stay, and so their
// gradients: matrices of more than three taps round more.
bool rounds_more(const int (&r)[3]);
// The halves of F(m, r) with this stride, as WinogradSplit.
int split_of(int r, int stride);
// Whether an axis is of halves, of stride 2.
bool has_halves(const int (&split)[3]);
// An axis whose phases are at most two pixels and as many results between zeros, of three taps and
// tiles of two: kSplitPair. Then the window is the pair, without padding.
struct AxisForm {
  int64_t source, result, pad, dilation, stride;
  int r, m;
};
bool is_pair(const AxisForm& axis);
// Of the error bounds: F(2, 3) has 1.2.
inline constexpr double kPairAmplifies = 1.8;

// Channels in one chain of additions (kUnpackedChannels where nothing is packed); the chunks' sums
// are added in order. Shorter chains round less: sqrt(2) less at 256 channels for 1 % of the time.
inline constexpr int64_t kSumChunk = 128;

// Stated bound on max|error| / max|result| against float64, for data without an order of its own
// (README.md has the measurements behind it).
double error_bound(const Geometry& geometry);

}  // namespace conv3d::winograd
