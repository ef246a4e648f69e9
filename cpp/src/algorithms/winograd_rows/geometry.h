// What Winograd along the width computes, in one form for all directions: how the taps of a row
// fall into segments F(m, r), how a row of results falls into tiles, and in which chunks the sum
// over depth taps, height taps and source channels is added up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "algorithms/implicit_gemm/correlation.h"
#include "kernels/winograd_rows_table.h"
#include "problem/problem.h"

namespace conv3d::winograd_rows {

// What is added in one chain: depth taps [depth, depth_end), each with height taps [height,
// height_end), each with source channels [ci, ci_end). All of the channels, or one tap.
struct Chunk {
  int64_t depth, depth_end, height, height_end, ci, ci_end;
};

struct Geometry {
  implicit_gemm::Correlation c;
  int64_t ci, co;  // channels of source and result
  int64_t source_row, source_plane, source_voxels, result_row, result_plane, result_voxels;
  bool backward;
  bool channels_first;
  int m;         // outputs of a tile
  int lattices;  // of a row of results: 1 unless the width is dilated
  int step;      // taps between the outputs of a tile
  std::vector<RowsSegment> segments;
  int points;      // of all segments
  int64_t period;  // pixels of the source from tile to tile
  int reach;       // periods that a window extends over
  std::vector<Chunk> chunks;
  int64_t chain;  // terms of the longest chunk
  int64_t k() const { return c.d.taps * c.h.taps * ci; }
  int64_t tiles() const;           // of each lattice of a row
  std::string tile_names() const;  // " F(4, 4) + F(4, 3)"
};

// Empty if tiles of m outputs can compute the problem, else the reason.
std::string why_not_geometry(const Problem& problem, int m);
// Requires why_not_geometry to be empty.
Geometry make_geometry(const Problem& problem, int m);

// G of F(m, r) in float64, [m + r - 1][r]; null for a pair that has no matrices here.
const double* filter_matrix(int m, int r);

// Stated bound on max|error| / max|result| against float64, for data without an order of its own
// (README.md has the measurements behind it).
double error_bound(const Geometry& geometry);

}  // namespace conv3d::winograd_rows
