// What the Winograd path computes, in one form for both directions, and how the output
// is cut into tiles.
//
// forward: a correlation of `input` with `filter`. backward_input with stride 1: a correlation of
// grad_output with the filter flipped in all three axes and its channels swapped, padded by k - 1 -
// p. Everything after this file sees a correlation.
#pragma once

#include <cstdint>
#include <string>

#include "problem/problem.h"

namespace conv3d::winograd {

// m of F(m, r) per axis: depth, height, width. 1 stands for an axis of kernel size 1,
// which is not transformed.
struct TileShape {
  int m[3];
};

struct Geometry {
  int64_t ci, co;     // channels of source and result
  int64_t source[3];  // extents
  int64_t result[3];
  int64_t pad[3];  // zeros before; may be negative (the first window starts inside)
  int r[3];        // kernel size per axis
  bool flipped;    // taps reversed and channels swapped when the filter is packed
  bool channels_first;
  int m[3], n[3];    // outputs and points per axis, n = m + r - 1
  int64_t tiles[3];  // of one sample
  int points() const { return n[0] * n[1] * n[2]; }
  int64_t tiles_per_sample() const { return tiles[0] * tiles[1] * tiles[2]; }
  int64_t source_voxels() const { return source[0] * source[1] * source[2]; }
  int64_t result_voxels() const { return result[0] * result[1] * result[2]; }
};

// Empty if F(shape) can compute the problem, else the reason.
std::string why_not_geometry(const Problem& problem, TileShape shape);
// Requires why_not_geometry to be empty.
Geometry make_geometry(const Problem& problem, TileShape shape);

// G of F(m, r) in float64, [m + r - 1][r]; null for a pair that has no matrices here.
const double* filter_matrix(int m, int r);

// Channels in one chain of additions; the chunks' sums are added in order. Shorter chains round
// less: sqrt(2) less at 256 channels for 1 % of the time.
inline constexpr int64_t kSumChunk = 128;

// Stated bound on max|error| / max|result| against float64, for data without an order of its own
// (README.md has the measurements behind it).
double error_bound(const Geometry& geometry);

}  // namespace conv3d::winograd
