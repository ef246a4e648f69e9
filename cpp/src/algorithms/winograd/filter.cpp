#include "algorithms/winograd/filter.h"

#include <algorithm>

#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd {
namespace {

// A packed filter that the caches do not keep is written past them, which spares reading its lines
// first.
constexpr size_t kStreamedFloats = size_t{4} << 20;

}  // namespace

int64_t panel_columns(int64_t co, const KernelTable& kernels) {
  return ceil_div(co, kernels.winograd.lanes) * kernels.winograd.lanes;
}

size_t packed_filter_floats(const Geometry& g, const KernelTable& kernels) {
  const char* what = "the packed filter";
  if (g.pixel_lanes)
    return checked_bytes({g.points(), ceil_div(g.ci, kWinogradGroup), g.co, kWinogradGroup}, what);
  return checked_bytes({g.points(), panel_columns(g.co, kernels), g.ci}, what);
}

void pack_filter(const Geometry& g, const KernelTable& kernels, const float* filter, float* packed,
                 ThreadPool& pool, int threads) {
  constexpr int kGroup = kWinogradGroup;
  const int nr = kernels.winograd.nr, taps = g.r[0] * g.r[1] * g.r[2];
  const int64_t columns = panel_columns(g.co, kernels);
  // What lies side by side in a packed line, `lanes`, and what lies from line to line.
  const int64_t lanes = g.pixel_lanes ? g.ci : g.co, lines = g.pixel_lanes ? g.co : g.ci,
                groups = ceil_div(g.pixel_lanes ? lanes : columns, kGroup);
  // Lines that share one of a flipped filter in memory, innermost: those of a panel are written one
  // after the other at every point.
  int sources = kWinogradFilterSources;
  while (sources > 1 && sources * taps > kWinogradFilterLines) sources /= 2;
  const int64_t runs = ceil_div(lines, sources);
  const bool stream = packed_filter_floats(g, kernels) > kStreamedFloats;
  pool.parallel_for(runs * groups, 1, threads, [&](int64_t begin, int64_t end, int) {
    WinogradFilterArgs a{};
    a.taps_d = g.r[0];
    a.taps_h = g.r[1];
    a.taps_w = g.r[2];
    a.points_d = g.n[0];
    a.points_h = g.n[1];
    a.points_w = g.n[2];
    a.g_d = filter_matrix(g.m[0], g.r[0], g.stride[0]);
    a.g_h = filter_matrix(g.m[1], g.r[1], g.stride[1]);
    a.g_w = filter_matrix(g.m[2], g.r[2], g.stride[2]);
    a.position_stride = g.pixel_lanes ? groups * kGroup * g.co : columns * g.ci;
    a.stream = stream ? 1 : 0;
    // The filter lies as [tap][ic][oc]; flipped, oc is the source and the taps run backwards.
    const int64_t plane = g.ci * g.co;
    a.tap_stride = g.flipped ? -plane : plane;
    const int64_t ci_stride = g.flipped ? 1 : g.co, co_stride = g.flipped ? g.ci : 1;
    a.source_stride = g.pixel_lanes ? co_stride : ci_stride;
    a.channel_stride = g.pixel_lanes ? ci_stride : co_stride;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t line = index % runs * sources, lane = index / runs * kGroup;
      a.sources = static_cast<int>(std::min<int64_t>(sources, lines - line));
      a.channels = static_cast<int>(std::clamp<int64_t>(lanes - lane, 0, kGroup));
      const float* first = filter + (g.flipped ? (taps - 1) * plane : 0);
      a.taps = a.channels == 0 ? first : first + line * a.source_stride + lane * a.channel_stride;
      if (g.pixel_lanes) {
        a.width = a.source_step = kGroup;
        a.packed = packed + (lane * g.co + line * kGroup);
      } else {
        const int64_t panel = lane / nr * nr, width = std::min<int64_t>(nr, columns - panel);
        a.width = static_cast<int>(std::min<int64_t>(kGroup, columns - lane));
        a.source_step = width;
        a.packed = packed + panel * g.ci + line * width + lane % nr;
      }
      kernels.winograd.filter_transform(&a);
    }
  });
}

}  // namespace conv3d::winograd
