#include "algorithms/winograd/filter.h"

#include <algorithm>
#include <utility>

#include "algorithms/winograd/blocking.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd {
namespace {

// A packed filter that the caches do not keep is written past them, which spares reading its lines
// first.
constexpr size_t kStreamedFloats = size_t{4} << 20;

// Of `sources` packed lines from `line` and up to 16 lanes from `lane`.
WinogradFilterLines filter_lines(const Geometry& g, const float* filter, int64_t line, int sources,
                                 int64_t lane) {
  WinogradFilterLines l{};
  l.count = g.r[0] * g.r[1] * g.r[2];
  // The filter lies as [tap][ic][oc]; flipped, oc is the source and the taps run backwards.
  const int64_t plane = g.ci * g.co;
  l.tap_stride = g.flipped ? -plane : plane;
  l.source_stride = g.flipped ? 1 : g.co;
  l.channel_stride = g.flipped ? g.ci : 1;
  if (g.pixel_lanes) std::swap(l.source_stride, l.channel_stride);
  l.sources = sources;
  l.channels = static_cast<int>(
      std::clamp<int64_t>((g.pixel_lanes ? g.ci : g.co) - lane, 0, kWinogradGroup));
  l.taps = g.flipped ? filter + (l.count - 1) * plane : filter;
  if (l.channels > 0) l.taps += line * l.source_stride + lane * l.channel_stride;
  return l;
}

// Lines that share one of a flipped filter in memory: those of a panel are written one after the
// other at every point.
int sources_of_call(const Geometry& g) {
  const int taps = g.r[0] * g.r[1] * g.r[2];
  int sources = kWinogradFilterSources;
  while (sources > 1 && sources * taps > kWinogradFilterMost) sources /= 2;
  return sources;
}

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
  const int nr = kernels.winograd.nr, sources = sources_of_call(g);
  const int64_t columns = panel_columns(g.co, kernels);
  // What lies side by side in a packed line, `lanes`, and what lies from line to line.
  const int64_t lanes = g.pixel_lanes ? g.ci : g.co, lines_of_all = g.pixel_lanes ? g.co : g.ci,
                groups = ceil_div(g.pixel_lanes ? lanes : columns, kGroup);
  const int64_t runs = ceil_div(lines_of_all, sources);
  const bool stream = packed_filter_floats(g, kernels) > kStreamedFloats;
  pool.parallel_for(runs * groups, 1, threads, [&](int64_t begin, int64_t end, int) {
    alignas(64) float lines[kWinogradFilterMost * kGroup];
    WinogradFilterArgs a{};
    a.axes = filter_axes(g.m, g.r, g.n, g.stride, g.split);
    a.lines = lines;
    a.position_stride = g.pixel_lanes ? groups * kGroup * g.co : columns * g.ci;
    a.stream = stream ? 1 : 0;
    a.wide = 1;
    for (int64_t index = begin; index < end; ++index) {
      const int64_t line = index % runs * sources, lane = index / runs * kGroup;
      a.sources = static_cast<int>(std::min<int64_t>(sources, lines_of_all - line));
      WinogradFilterLines taps = filter_lines(g, filter, line, a.sources, lane);
      taps.lines = lines;
      kernels.winograd.filter_lines(&taps);
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

PanelFilter::PanelFilter(const Geometry& geometry, const KernelTable& kernels, const float* filter,
                         int64_t panel, float* lines)
    : g_(geometry), kernels_(kernels), filter_(filter), lines_(lines) {
  column_ = panel * kernels.winograd.nr;
  width_ = std::min<int64_t>(kernels.winograd.nr, panel_columns(g_.co, kernels) - column_);
}

static_assert(kUnpackedChannels % kWinogradFilterSources == 0);

size_t PanelFilter::lines_floats() { return 2 * kWinogradFilterMost * kWinogradGroup; }

WinogradFilterLines PanelFilter::lines_at(int64_t source, int64_t lane) const {
  const int sources = static_cast<int>(std::min<int64_t>(sources_of_call(g_), g_.ci - source));
  WinogradFilterLines l = filter_lines(g_, filter_, source, sources, column_ + lane);
  l.lines = lines_ + (turn_ % 2) * kWinogradFilterMost * kWinogradGroup;
  return l;
}

void PanelFilter::transform(int64_t first, int64_t sources, float* packed, ptrdiff_t position) {
  WinogradFilterArgs a{};
  a.axes = filter_axes(g_.m, g_.r, g_.n, g_.stride, g_.split);
  a.source_step = width_;
  a.position_stride = position;
  a.wide = rounds_more(g_.r) ? 1 : 0;
  if (turn_ == 0) {
    const WinogradFilterLines lines = lines_at(first, 0);
    kernels_.winograd.filter_lines(&lines);
  }
  const int64_t end = first + sources;
  for (int64_t source = first; source < end;) {
    int64_t next = source;
    for (int64_t lane = 0; lane < width_; lane += kWinogradGroup) {
      const WinogradFilterLines now = lines_at(source, lane);
      a.lines = now.lines;
      a.sources = now.sources;
      a.width = static_cast<int>(std::min<int64_t>(kWinogradGroup, width_ - lane));
      a.packed = packed + (source - first) * width_ + lane;
      ++turn_;
      const bool last = lane + kWinogradGroup >= width_;
      next = last ? source + now.sources : source;
      WinogradFilterLines ahead{};
      if (next < g_.ci) ahead = lines_at(next, last ? 0 : lane + kWinogradGroup);
      a.ahead = next < g_.ci ? &ahead : nullptr;
      kernels_.winograd.filter_transform(&a);
    }
    source = next;
  }
}

}  // namespace conv3d::winograd
