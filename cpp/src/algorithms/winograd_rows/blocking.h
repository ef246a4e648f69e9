// How much of the volume goes through transform, products and inverse together: sizes that decide
// the speed and never a result's bits, because tiles and rows do not share sums.
#pragma once

#include <cstddef>
#include <cstdint>

#include "algorithms/algorithm.h"
#include "algorithms/winograd_rows/geometry.h"

namespace conv3d::winograd_rows {

// A work item walks along the depth with the transformed rows of `kd` planes of the source in a
// ring:
//   ring   [plane][point][row][ci][tile]
//   c      [panel][row of results][point][tile][width], or lanes along the tiles [width][tile]
struct Blocking {
  bool lanes_along_tiles;  // else along the result's channels
  int64_t tiles;           // most per lattice and item
  int64_t rows;            // most rows of results of a plane and item
  int64_t group, c_rows;   // panels and rows of results whose products are kept together
  int64_t panels, width;   // of result channels; the packed filter has panels * width of them
  // What follows from them.
  int64_t source_rows;           // of the ring, per plane
  int64_t padded_tiles;          // of all lattices, whole vectors
  int64_t point_stride;          // of the ring, floats
  int64_t plane_stride;          // of the ring, floats
  int64_t c_point, c_row_block;  // floats from point to point, and of one row and panel
  int64_t stage_pixels;          // pixels of a row of the staging
  size_t ring_floats, c_floats, scratch_floats, stage_floats;
};

Blocking choose_blocking(const Geometry& geometry, const PlanContext& context);
// The same with the sizes given: for tests and tuning.
Blocking make_blocking(const Geometry& geometry, bool lanes_along_tiles, int64_t tiles,
                       int64_t rows, int64_t group, int64_t c_rows, const PlanContext& context);

// Estimated seconds of one sample on one thread.
double estimate_seconds(const Geometry& geometry, const Blocking& blocking,
                        const PlanContext& context);

}  // namespace conv3d::winograd_rows
