#include "algorithms/winograd_rows/ring.h"

#include <algorithm>

#include "runtime/phases.h"

namespace conv3d::winograd_rows {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

bool is_read(const Geometry& g, int64_t row, int64_t rows) {
  const implicit_gemm::AxisTaps& h = g.c.h;
  if (h.stride == 1 && h.dilation == 1) return true;
  for (int64_t tap = 0; tap < h.taps; ++tap) {
    const int64_t at = row - tap * h.dilation;
    if (at >= 0 && at % h.stride == 0 && at / h.stride < rows) return true;
  }
  return false;
}

// Of the source, from its first row on.
int64_t first_row(const Geometry& g, const Window& window) {
  return window.row * g.c.h.stride + g.c.h.origin;
}
int64_t rows_of(const Geometry& g, const Window& window) {
  return (window.rows - 1) * g.c.h.stride + (g.c.h.taps - 1) * g.c.h.dilation + 1;
}

}  // namespace

int64_t ring_index(const Geometry& g, int64_t plane) { return floor_div(plane, g.c.d.dilation); }

int64_t ring_plane(const Geometry& g, const Blocking& b, int64_t plane) {
  const int64_t at = ring_index(g, plane), taps = g.c.d.taps;
  return (at - floor_div(at, taps) * taps) * b.plane_stride;
}

int64_t ring_row(const Geometry& g, const Blocking& b, int64_t row) {
  const int64_t dilation = g.c.h.dilation;
  return row % dilation * (b.source_rows / dilation) + row / dilation;
}

void transform_plane(const Geometry& g, const Blocking& b, const KernelTable& kernels,
                     const float* sample, int64_t plane, const Window& window, float* ring,
                     float* scratch) {
  const PhaseTimer timer(Phase::kTransform);
  const implicit_gemm::AxisTaps &h = g.c.h, &w = g.c.w;
  float* const to = ring + ring_plane(g, b, plane);
  RowsInputArgs a{};
  a.pixel_stride = g.channels_first ? 1 : g.ci;
  a.channel_stride = g.channels_first ? g.source_voxels : 1;
  a.pixels = w.inputs;
  a.origin = window.column * w.stride + w.origin;
  a.outputs = g.m;
  a.lattices = g.lattices;
  a.tiles = static_cast<int>(window.tiles);
  a.stride = static_cast<int>(w.stride);
  a.dilation = static_cast<int>(w.dilation);
  a.step = g.step;
  a.segments = static_cast<int>(g.segments.size());
  a.segment = g.segments.data();
  a.reach = g.reach;
  a.scratch = scratch;
  a.point_stride = b.point_stride;
  a.channel_stride_u = b.padded_tiles;
  const int64_t first = first_row(g, window), rows = rows_of(g, window);
  for (int64_t row = std::max<int64_t>(0, -first); row < std::min(rows, h.inputs - first); ++row) {
    if (!is_read(g, row, window.rows)) continue;
    const float* source =
        sample + (plane * g.source_plane + (first + row) * g.source_row) * a.pixel_stride;
    float* const u = to + ring_row(g, b, row) * g.ci * b.padded_tiles;
    for (int64_t ci = 0; ci < g.ci; ci += kRowsChannels) {
      a.channels = static_cast<int>(std::min<int64_t>(kRowsChannels, g.ci - ci));
      a.source = source + ci * a.channel_stride;
      a.u = u + ci * b.padded_tiles;
      kernels.winograd_rows.input(&a);
    }
  }
}

void clear_outside(const Geometry& g, const Blocking& b, const Window& window, float* ring) {
  const int64_t first = first_row(g, window), rows = rows_of(g, window),
                floats = g.ci * b.padded_tiles;
  for (int64_t row = 0; row < rows; ++row) {
    if (first + row >= 0 && first + row < g.c.h.inputs) continue;
    for (int64_t plane = 0; plane < g.c.d.taps; ++plane)
      for (int p = 0; p < g.points; ++p)
        std::fill_n(
            ring + plane * b.plane_stride + p * b.point_stride + ring_row(g, b, row) * floats,
            floats, 0.0f);
  }
}

}  // namespace conv3d::winograd_rows
