#include "algorithms/winograd/blocking.h"

#include <algorithm>
#include <cmath>

#include "algorithms/machine_rates.h"
#include "algorithms/winograd/filter.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd {
namespace {

constexpr int kGroup = kWinogradGroup;
constexpr int64_t kLineBytes = 64;
// Estimates choose what changes bits, so they reckon with this many, whatever the machine has.
constexpr int kEstimateThreads = 2;
constexpr double kEfficiency = 0.87;  // of the multiplication, of the FMA peak

// kUnpacked: cycles of a pair of channels' filter, turned over tap by tap and stored point by
// point.
double filter_cycles(const Geometry& g, double lanes) {
  constexpr double kTapCycles = 0.85, kPointCycles = 2.6;  // of a tap, of a vector of a point
  // With more than three taps in float64, without the shapes known beforehand (measured on four);
  // halves of taps fill their vectors less.
  const double slower = rounds_more(g.r) ? 3.5 : has_halves(g.split) ? 1.6 : 1.0;
  return slower * (kTapCycles * g.r[0] * g.r[1] * g.r[2] + kPointCycles * g.points() / lanes);
}

int64_t groups_of(int64_t channels) { return ceil_div(channels, kGroup); }

}  // namespace

BlockLayout block_layout(const Geometry& g, Way way, int64_t tiles, const KernelTable& kernels) {
  const char* what = "the Winograd workspace";
  const int64_t u = groups_of(g.ci) * kGroup, m = groups_of(g.co) * kGroup, points = g.points();
  BlockLayout layout{};
  layout.tiles = tiles;
  if (g.pixel_lanes) {
    const int64_t nr = kernels.winograd.nr;
    layout.u_panel = checked_product({g.ci, nr}, what) + kGroup;
    layout.m_tile = checked_product({g.co, kGroup}, what) + kGroup;
    layout.u_position = layout.m_position =
        std::max(checked_product({ceil_div(tiles * kGroup, nr), layout.u_panel}, what),
                 checked_product({tiles, layout.m_tile}, what)) +
        kGroup;
    layout.thread_floats = checked_bytes({points + 1, layout.u_position}, what);
    return layout;
  }
  switch (way) {
    case Way::kFused:
      layout.u_position = layout.m_position =
          checked_product({tiles, std::max(u, m)}, what) + kGroup;
      layout.thread_floats = checked_bytes({points + 1, layout.u_position}, what);
      break;
    case Way::kStaged:
      layout.u_position = checked_product({tiles, u}, what) + kGroup;
      layout.m_position = checked_product({tiles, m}, what) + kGroup;
      layout.shared_floats = checked_bytes({points, layout.u_position + layout.m_position}, what);
      break;
    case Way::kUnpacked:
      layout.u_position = checked_product({tiles, u}, what) + kGroup;
      layout.m_position = checked_product({tiles, kernels.winograd.nr}, what) + kGroup;
      layout.filter_position = kUnpackedChannels * kernels.winograd.nr + kGroup;
      layout.shared_floats = checked_bytes({points, layout.u_position}, what);
      layout.thread_floats =
          checked_bytes({points, layout.m_position + layout.filter_position}, what) +
          PanelFilter::lines_floats();
      break;
  }
  return layout;
}

Blocking make_blocking(const Geometry& g, Way way, int64_t tiles, const PlanContext& context) {
  Blocking b{};
  b.way = g.pixel_lanes ? Way::kFused : way;
  b.tiles = tiles;
  const BlockLayout layout = block_layout(g, b.way, tiles, *context.kernels);
  b.shared_floats = layout.shared_floats;
  b.thread_floats = layout.thread_floats;
  if (g.pixel_lanes) {  // no windows are staged
    b.run_phases = 1;
    b.run = static_cast<int>(tiles);
    return b;
  }
  // The window of a run of tiles, one group of channels, in a quarter of the L2; so its results,
  // where they are staged too.
  const int64_t lines = static_cast<int64_t>(l2_bytes(*context.cpu)) / 4 / kLineBytes,
                rows = g.window[0] * g.window[1], columns = lines / rows;
  b.run_phases = static_cast<int>(std::clamp<int64_t>(columns / g.window[2], 1, g.phases[2]));
  b.run = b.run_phases < g.phases[2]
              ? 1
              : static_cast<int>(std::clamp<int64_t>(
                    (columns / b.run_phases - g.window[2] + g.step[2]) / g.step[2], 1, 64));
  const int64_t tile_results =
      g.channels_first ? int64_t{g.outputs[0]} * g.outputs[1] * g.outputs[2] : 0;
  if (tile_results > 0)
    b.run = static_cast<int>(std::clamp<int64_t>(lines / (tile_results * b.run_phases), 1, b.run));
  const int64_t source_lines = rows * (int64_t{g.step[2]} * (b.run - 1) + g.window[2]);
  const int64_t result_lines = tile_results * b.run;
  b.staging_floats =
      static_cast<size_t>(std::max(source_lines, result_lines) * b.run_phases * kGroup);
  return b;
}

Blocking choose_blocking(const Geometry& g, int threads, const PlanContext& context) {
  const int64_t tiles = g.tiles_per_sample();
  // Fused: up to twice the L2, since the slot of one point at a time is what must be near; beyond
  // 24 tiles nothing is gained.
  const size_t fused_bytes = 2 * l2_bytes(*context.cpu);
  const auto bytes = [&](Way way, int64_t n) {
    const BlockLayout layout = block_layout(g, way, n, *context.kernels);
    return (layout.shared_floats + layout.thread_floats) * sizeof(float);
  };
  if (g.pixel_lanes) {
    // Long pieces of rows, within the L2; wide layers read the filter for at least four.
    int64_t most = 24;
    while (most > 8 && bytes(Way::kFused, most) > l2_bytes(*context.cpu)) most -= 2;
    while (most > 4 && bytes(Way::kFused, most) > fused_bytes) most -= 2;
    return make_blocking(g, Way::kFused, most, context);
  }
  int64_t fused = 24;
  // Depth alone has few points: more tiles read the filter less often, and channels first reads a
  // piece of a row for each plane and channel, as long as may be.
  if (g.depth_alone()) {
    const int64_t least = g.channels_first ? 32 : 24;
    fused = 64;
    while (fused > least && bytes(Way::kFused, fused) > l2_bytes(*context.cpu) / 2) fused -= 8;
  }
  while (fused > 6 && bytes(Way::kFused, fused) > fused_bytes) fused -= 2;
  // Below a dozen tiles a block re-reads the filter too often; and a sample of few
  // blocks leaves threads idle.
  const bool few = tiles < std::min<int64_t>(fused, 24) * threads;
  const bool narrow = fused < 12 || bytes(Way::kFused, fused) > fused_bytes;
  const bool wide_filter =
      static_cast<size_t>(g.points()) * g.ci * g.co * sizeof(float) > l2_bytes(*context.cpu);
  if (!narrow && !(few && wide_filter)) return make_blocking(g, Way::kFused, fused, context);
  // Staged: what all threads share stays within the L3. A single sample of few tiles still
  // gets room for a small batch.
  int64_t staged = std::clamp<int64_t>(tiles, 32, 96);
  while (staged > 8 && bytes(Way::kStaged, staged) > l3_bytes(*context.cpu)) staged -= 4;
  return make_blocking(g, Way::kStaged, staged, context);
}

int64_t tiles_per_block(const Geometry& g, const Blocking& b, int64_t total, int threads) {
  int64_t blocks = ceil_div(total, b.tiles);
  if (b.way == Way::kFused && blocks < 8 * int64_t{threads}) {
    // Few blocks: a multiple of the threads, but no block below six tiles, the rows of a
    // multiplication, or two of 16 pixels, its columns.
    const int64_t least = g.pixel_lanes ? 2 : 6;
    blocks = std::clamp<int64_t>(ceil_div(blocks, threads) * threads, 1,
                                 std::max<int64_t>(blocks, total / least));
  }
  int64_t tiles = ceil_div(total, std::max<int64_t>(blocks, 1));
  if (g.pixel_lanes) return tiles;
  // Runs of whole lines of a channels-first row.
  if (g.depth_alone() && g.channels_first && tiles > kGroup)
    tiles = std::min(b.tiles, ceil_div(tiles, kGroup) * kGroup);
  // A block that begins between the phases of a tile cuts its runs short.
  const int64_t whole = tiles - tiles % g.phases[2];
  return whole >= 6 ? whole : tiles;
}

int64_t unpacked_parts(const Geometry& g, int64_t tiles, int threads, const KernelTable& kernels) {
  const double lanes = kernels.gemm.f32.lanes, filter = filter_cycles(g, lanes),
               product = g.points() / (2 * lanes * kEfficiency);  // of a pair of channels, a tile
  const int64_t panels = ceil_div(panel_columns(g.co, kernels), kernels.winograd.nr);
  int64_t best = 1;
  double least = 0;
  for (int64_t parts = 1; parts <= 16; ++parts) {
    const int64_t rows = ceil_div(tiles, parts);
    if (parts > 1 && rows < 4) break;  // fewer do not hide the latency of the FMAs
    const double cycles = static_cast<double>(ceil_div(panels * parts, threads)) *
                          (filter + product * static_cast<double>(rows));
    if (parts == 1 || cycles < least) {
      best = parts;
      least = cycles;
    }
  }
  return best;
}

// Measured on Zen 3 (AVX2) and Zen 4; transform_share says more of others. The multiplication runs
// at 0.87 of the FMA peak; a vector of a transform costs 2.3 (in) or 1.7 (out) cycles per axis and
// element.
double estimate_seconds(const Geometry& g, const Blocking& b, const PlanContext& context) {
  constexpr double kBlockSeconds = 0.5e-6;  // between the phases
  constexpr double kFilterTransform = 1.5;  // cycles of a vector of terms: two multiply-adds
  const double lanes = context.kernels->gemm.f32.lanes;
  const double cycles = hertz(context);  // a second
  const CpuInfo& cpu = *context.cpu;
  const double tiles = static_cast<double>(g.tiles_per_sample()), points = g.points();
  const double co = g.pixel_lanes ? static_cast<double>(g.co)
                                  : static_cast<double>(panel_columns(g.co, *context.kernels));

  // Multiplication. Fewer than four rows of A do not hide the latency of the FMAs.
  const double per_block = static_cast<double>(tiles_per_block(g, b, g.tiles_per_sample(), 1));
  const double blocks = tiles / per_block;
  const double products =
      g.pixel_lanes ? tiles * kGroup * std::max(co, 4.0) : std::max(per_block, 4.0) * blocks * co;
  const double multiply =
      products * points * static_cast<double>(g.ci) / (lanes * 2 * cycles * kEfficiency);
  const bool unpacked = b.way == Way::kUnpacked;
  const double filter_bytes = points * static_cast<double>(g.ci) * co * 4;
  // Unpacked: U once for every panel.
  const double u_bytes = points * per_block * static_cast<double>(groups_of(g.ci) * kGroup) * 4;
  const double panels = std::ceil(co / context.kernels->winograd.nr);
  double operand = unpacked ? stream_seconds(u_bytes * panels * blocks, u_bytes, cpu)
                            : stream_seconds(filter_bytes * blocks, filter_bytes, cpu);
  // M comes and goes with every few source channels, unless the L2 holds it beside the filter's
  // part.
  const double m_bytes = points * per_block * context.kernels->winograd.nr * 4,
               part_bytes = points * kUnpackedChannels * context.kernels->winograd.nr * 4;
  if (unpacked && m_bytes + part_bytes > static_cast<double>(l2_bytes(cpu))) {
    const double times = 2 * panels * blocks * static_cast<double>(g.ci) / kUnpackedChannels;
    operand += stream_seconds(m_bytes * times, m_bytes + part_bytes, cpu);
  }
  double product = std::max(multiply, operand) + 0.4 * std::min(multiply, operand);
  if (unpacked) {
    // A thread's panels may be one more than another's.
    product *= std::ceil(panels / kEstimateThreads) * kEstimateThreads / panels;
  }

  // Transforms. Columns of the input are shared along w, so the first two axes see step[2] of
  // window[2].
  const auto vectors_of = [&](int64_t channels) {
    const auto count = static_cast<double>(channels);
    return g.pixel_lanes ? count * kGroup / lanes : std::ceil(count / lanes);
  };
  const double in_vectors = vectors_of(g.ci), out_vectors = vectors_of(g.co);
  const double columns = std::min(g.window[2], g.step[2]);
  double in_elements = columns * (g.window[1] + g.n[1]) * g.n[0] + points;
  double out_elements =
      points + g.outputs[0] * (g.n[1] + g.outputs[1]) * static_cast<double>(g.n[2]);
  if (g.n[2] == 1 && (g.n[1] == 1 || (g.pixel_lanes && g.n[0] == 1)))
    in_elements = out_elements = points;  // one pass each
  // With a stride the points of some taps are copies.
  const bool strided = has_halves(g.split);
  const double copies = strided ? 0.75 : 1.0;
  const double in_cycles = tiles * in_elements * in_vectors * 2.3 * copies;
  const double out_cycles = tiles * out_elements * out_vectors * 1.7 * copies;
  const double pixels = g.pixel_lanes ? kGroup : 1;  // of a tile of the width
  const double source_bytes =
      static_cast<double>(g.source_voxels()) / pixels * in_vectors * lanes * 4;
  const double result_bytes =
      static_cast<double>(g.result_voxels()) / pixels * out_vectors * lanes * 4;
  // Windows overlap, so rows of the source come in more than once, if only from the L3.
  const double overlap =
      static_cast<double>(g.window[0] * g.window[1]) / (static_cast<double>(g.step[0]) * g.step[1]);
  double seconds = product + (in_cycles + out_cycles) * transform_share(context) / cycles;
  seconds += stream_seconds(source_bytes * overlap, source_bytes, cpu) +
             stream_seconds(result_bytes, result_bytes, cpu);
  if (b.way == Way::kStaged) {
    // U and M are written by one stage and read by the next, through what holds a block of them.
    const double bytes =
        4.0 * points * static_cast<double>(groups_of(g.ci) + groups_of(g.co)) * kGroup;
    seconds += stream_seconds(2 * bytes * tiles, bytes * per_block, cpu);
  }
  // Through the staging, in lines. Transposing the source hides behind its reads; results go out in
  // pieces of rows.
  const double lines = static_cast<double>(g.source_voxels() * groups_of(g.ci)) * overlap;
  const double pieces = static_cast<double>(g.result_voxels() * g.co) * sizeof(float);
  const double copied = g.pixel_lanes      ? 0.0
                        : g.channels_first ? 0.4 * lines * kLineBytes + 2.6 * pieces
                        : g.depth_alone()  ? 0.0
                                           : lines * kLineBytes;
  seconds += copied / kStagingBytes;
  // backward_input: a new filter with every call; see packing_seconds.
  const double pairs = static_cast<double>(g.ci) * co, taps = g.r[0] * g.r[1] * g.r[2];
  if (unpacked) {
    seconds += stream_seconds(u_bytes * blocks, u_bytes, cpu);
    // What it reads was asked for.
    const double transform = blocks * pairs * filter_cycles(g, lanes) / cycles;
    const double read = blocks * packing_seconds(taps * pairs * 4, 0, cpu);
    seconds += overlapped_seconds(transform, read);
  } else if (g.flipped) {
    // Multiply-adds of the axes in float64: half as many lanes.
    const double terms =
        g.r[0] * g.r[1] * g.n[2] * g.r[2] + g.r[0] * g.n[1] * g.n[2] * g.r[1] + points * g.r[0];
    seconds += kFilterTransform * terms * pairs / lanes / cycles +
               packing_seconds(taps * pairs * 4, filter_bytes, cpu);
  }
  return seconds + blocks * kBlockSeconds + 3 * kCallSeconds;  // three phases
}

// As many tiles as leave M of a panel within the L2 and U within half of the L3.
Blocking unpacked_blocking(const Geometry& g, const PlanContext& context) {
  int64_t tiles = 96;
  const auto fits = [&](int64_t n) {
    const BlockLayout layout = block_layout(g, Way::kUnpacked, n, *context.kernels);
    const auto m = static_cast<size_t>(layout.m_position) * g.points();
    return m * sizeof(float) <= l2_bytes(*context.cpu) &&
           layout.shared_floats * sizeof(float) <= l3_bytes(*context.cpu) / 2;
  };
  while (tiles > 4 && !fits(tiles)) tiles -= 4;
  return make_blocking(g, Way::kUnpacked, tiles, context);
}

Form choose_form(const Problem& problem, TileShape shape, const PlanContext& context) {
  // What shares the work of the threads best has the same bits, and is not what is reckoned with.
  const auto packed = [&context](const Geometry& g, const Blocking& reckoned) {
    return Form{g, choose_blocking(g, context.cpu->usable_threads, context),
                estimate_seconds(g, reckoned, context)};
  };
  const Geometry g = make_geometry(problem, shape);
  const Blocking reckoned = choose_blocking(g, kEstimateThreads, context);
  const bool fused = reckoned.way == Way::kFused;
  Form best = packed(g, reckoned);
  if (g.channels_first && g.keeps_rows() && fused) {
    const Geometry along = along_pixels(g);
    const Form pixels = packed(along, choose_blocking(along, kEstimateThreads, context));
    const bool fits = pixels.blocking.thread_floats * sizeof(float) <= 2 * l2_bytes(*context.cpu);
    if (fits && pixels.seconds < best.seconds) best = pixels;
  }
  if (g.flipped) {
    const Blocking blocking = unpacked_blocking(g, context);
    const Form unpacked{g, blocking, estimate_seconds(g, blocking, context)};
    // What threads share costs more where their cores have different L3s.
    if (unpacked.seconds * (fused ? 1.1 : 1.0) < best.seconds) best = unpacked;
  }
  return best;
}

}  // namespace conv3d::winograd
