// The transformed source: rows of `c.d.taps` planes, of which the newest takes the place of the
// oldest. Offsets are in floats, from the ring's start.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>

#include "algorithms/winograd_rows/blocking.h"
#include "algorithms/winograd_rows/geometry.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd_rows {

// Results whose windows of the source are transformed.
struct Window {
  int64_t row, rows;  // of results
  int64_t column;     // of results, the first of a tile
  int64_t tiles;      // of each lattice
};

// Which plane of its lattice; planes of one lattice follow each other in the ring.
int64_t ring_index(const Geometry& g, int64_t plane);
int64_t ring_plane(const Geometry& g, const Blocking& b, int64_t plane);
// Where row `row` of the window's source lies, in rows of a plane. Rows of one residue modulo the
// dilation lie next to each other: height taps are consecutive.
int64_t ring_row(const Geometry& g, const Blocking& b, int64_t row);

// All rows of the window that some result reads and that lie inside the source.
void transform_plane(const Geometry& g, const Blocking& b, const KernelTable& kernels,
                     const float* sample, int64_t plane, const Window& window, float* ring,
                     float* scratch);
// The others as zeros, in all planes.
void clear_outside(const Geometry& g, const Blocking& b, const Window& window, float* ring);

// Planes [begin, end) of results, those whose planes lie on one lattice of the source after each
// other, so that each plane of the lattice is transformed once: enter(plane of the source) for each
// that is new to the ring, then visit(plane of results, first tap, end of its taps).
template <class Enter, class Visit>
void walk_depth(const Geometry& g, int64_t begin, int64_t end, const Enter& enter,
                const Visit& visit) {
  const implicit_gemm::AxisTaps& d = g.c.d;
  const int64_t classes = d.dilation / std::gcd(d.stride, d.dilation);
  for (int64_t first = begin; first < std::min(begin + classes, end); ++first) {
    int64_t newest = std::numeric_limits<int64_t>::min();
    for (int64_t o = first; o < end; o += classes) {
      const int64_t tap_begin = d.tap_begin(o), tap_end = d.tap_end(o);
      for (int64_t tap = tap_begin; tap < tap_end; ++tap) {
        const int64_t plane = o * d.stride + d.origin + tap * d.dilation;
        if (ring_index(g, plane) <= newest) continue;
        newest = ring_index(g, plane);
        enter(plane);
      }
      visit(o, tap_begin, tap_end);
    }
  }
}

}  // namespace conv3d::winograd_rows
