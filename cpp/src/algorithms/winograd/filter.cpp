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
  return checked_bytes({g.points(), panel_columns(g.co, kernels), g.ci}, "the packed filter");
}

void pack_filter(const Geometry& g, const KernelTable& kernels, const float* filter, float* packed,
                 ThreadPool& pool, int threads) {
  constexpr int kGroup = kWinogradGroup;
  const int nr = kernels.winograd.nr, taps = g.r[0] * g.r[1] * g.r[2];
  const int64_t columns = panel_columns(g.co, kernels), groups = ceil_div(columns, kGroup);
  // Source channels that share a line of a flipped filter in memory, innermost: the lines of a
  // panel are written one after the other at every point.
  int sources = kWinogradFilterSources;
  while (sources > 1 && sources * taps > kWinogradFilterLines) sources /= 2;
  const int64_t runs = ceil_div(g.ci, sources);
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
    a.position_stride = columns * g.ci;
    a.stream = stream ? 1 : 0;
    // The filter lies as [tap][ic][oc]; flipped, oc is the source and the taps run backwards.
    const int64_t plane = g.ci * g.co;
    a.tap_stride = g.flipped ? -plane : plane;
    a.source_stride = g.flipped ? 1 : g.co;
    a.channel_stride = g.flipped ? g.ci : 1;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t ci = index % runs * sources, co = index / runs * kGroup;
      a.sources = static_cast<int>(std::min<int64_t>(sources, g.ci - ci));
      a.channels = static_cast<int>(std::clamp<int64_t>(g.co - co, 0, kGroup));
      const float* first = filter + (g.flipped ? (taps - 1) * plane : 0);
      a.taps = a.channels == 0 ? first : first + (g.flipped ? ci + co * g.ci : ci * g.co + co);
      const int64_t panel = co / nr * nr, width = std::min<int64_t>(nr, columns - panel);
      a.width = static_cast<int>(std::min<int64_t>(kGroup, columns - co));
      a.source_step = width;
      a.packed = packed + panel * g.ci + ci * width + co % nr;
      kernels.winograd.filter_transform(&a);
    }
  });
}

}  // namespace conv3d::winograd
