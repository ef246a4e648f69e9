#include "algorithms/winograd/filter_gradient_blocking.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "algorithms/machine_rates.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd {
namespace {

constexpr int kGroup = kWinogradGroup;
constexpr int64_t kLineBytes = 64;
// Longer chains round more; shorter ones spend their time on adding tiles of sums to memory.
constexpr int64_t kChain = 64;
constexpr int64_t kWideAfter = 16;
// Channels first, every lattice turns the pixels of all.
constexpr int64_t kTurnedDilation = 4;
constexpr int64_t kPrivateSumBytes = 512 << 10;  // of one segment
// Larger ones pay where a sample has many tiles: a block's lines do not pass from core to core,
// which costs as much as all the rest where the cores share no cache.
constexpr int64_t kLargePrivateSumBytes = 1 << 20;
constexpr int64_t kManyTiles = 1024;
constexpr int64_t kSegmentBytes = 12 << 20, kLargeSegmentBytes = 24 << 20;  // of the fewest

int64_t groups_of(int64_t channels) { return ceil_div(channels, kGroup); }

}  // namespace

std::string why_not_gradient(const Problem& problem, TileShape shape) {
  if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter only";
  if (problem.dtype != DType::kFloat32) return "computes float32 only";
  if (problem.groups != 1) return "computes ungrouped convolutions only";
  const int64_t kernel[3] = {problem.kd, problem.kh, problem.kw},
                stride[3] = {problem.sd, problem.sh, problem.sw};
  bool transforms = false;
  for (int a = 0; a < 3; ++a) {
    const bool small =
        kernel[a] == 1 || kernel[a] == 3 || kernel[a] == 5 || (kernel[a] == 4 && stride[a] == 2);
    if (!small || stride[a] > INT32_MAX ||
        filter_matrix(shape.m[a], static_cast<int>(kernel[a]), static_cast<int>(stride[a])) ==
            nullptr) {
      char text[96];
      std::snprintf(text, sizeof text, "has no F(%d, %lld) with stride %lld", shape.m[a],
                    static_cast<long long>(kernel[a]), static_cast<long long>(stride[a]));
      return text;
    }
    if (a == 2 && stride[a] != 1 && kernel[a] == 1)
      return "needs stride 1 along a width of one tap";
    transforms = transforms || kernel[a] > 1;
  }
  if (!transforms) return "a kernel of one tap has nothing to transform";
  if (problem.layout == Layout::kChannelsFirst && problem.kw > 1 && problem.dw > kTurnedDilation)
    return "needs a smaller dilation along the width when channels are first";
  return {};
}

GradientGeometry make_gradient_geometry(const Problem& problem, TileShape shape) {
  const int64_t input[3] = {problem.id, problem.ih, problem.iw},
                output[3] = {problem.od, problem.oh, problem.ow};
  const int64_t kernel[3] = {problem.kd, problem.kh, problem.kw},
                pad[3] = {problem.pd, problem.ph, problem.pw},
                dilation[3] = {problem.dd, problem.dh, problem.dw},
                stride[3] = {problem.sd, problem.sh, problem.sw};
  GradientGeometry g{};
  g.ci = problem.ic;
  g.co = problem.oc;
  g.channels_first = problem.layout == Layout::kChannelsFirst;
  for (int a = 0; a < 3; ++a) {
    g.input[a] = input[a];
    g.output[a] = output[a];
    g.pad[a] = pad[a];
    g.r[a] = static_cast<int>(kernel[a]);
    g.m[a] = shape.m[a];
    g.stride[a] = static_cast<int>(stride[a]);
    g.n[a] = g.stride[a] * (g.m[a] - 1) + g.r[a];
    g.split[a] = split_of(g.r[a], g.stride[a]);
    g.window[a] = g.n[a];
    g.step[a] = g.stride[a] * g.m[a];
    g.dilation[a] = kernel[a] > 1 ? dilation[a] : 1;
    if (is_pair({input[a], output[a], pad[a], g.dilation[a], stride[a], g.r[a], g.m[a]})) {
      g.split[a] = kSplitPair;
      g.n[a] = 3;
      g.window[a] = 2;
      g.pad[a] = 0;
    }
    g.lattices[a] = std::clamp<int64_t>(g.dilation[a], 1, std::max<int64_t>(1, output[a]));
    g.tiles[a] = ceil_div(ceil_div(output[a], g.dilation[a]), g.m[a]);
  }
  return g;
}

GradientLayout gradient_layout(const GradientGeometry& g, const GradientBlocking& b) {
  const char* what = "the Winograd workspace";
  const int64_t ci = groups_of(g.ci), co = groups_of(g.co), tiles = b.tiles();
  GradientLayout x{};
  x.input_columns = g.step[2] * (b.run - 1) + g.window[2];
  x.gradient_columns = g.m[2] * b.run;
  // One line more per position against cache-set conflicts.
  x.input_position = checked_product({ci, b.runs, x.input_columns, kGroup}, what) + kGroup;
  x.gradient_position = checked_product({co, b.runs, x.gradient_columns, kGroup}, what) + kGroup;
  x.line_floats = checked_bytes({g.positions(), x.input_position + x.gradient_position}, what);
  x.input_point = checked_product({b.ci_part, tiles, kGroup}, what) + kGroup;
  x.gradient_point = checked_product({b.co_part, tiles, kGroup}, what) + kGroup;
  x.point_floats = checked_bytes({g.n[2], x.input_point + x.gradient_point}, what);
  x.sums_point = checked_product({b.co_sums, kGroup, std::min(g.ci, b.ci_sums * kGroup)}, what);
  x.sums_floats = checked_bytes({g.points(), x.sums_point}, what);
  x.staging_floats = static_cast<size_t>(int64_t{g.n[0]} * g.n[1] *
                                         std::max(x.input_columns, x.gradient_columns)) *
                     kGroup * (g.channels_first ? static_cast<size_t>(g.dilation[2]) : 1);
  return x;
}

GradientBlocking make_gradient_blocking(const GradientGeometry& g, bool shared, int64_t tiles,
                                        const PlanContext& context) {
  const int64_t l2 = static_cast<int64_t>(l2_bytes(*context.cpu)),
                l3 = static_cast<int64_t>(l3_bytes(*context.cpu));
  const int64_t ci = groups_of(g.ci), co = groups_of(g.co);
  GradientBlocking b{};
  b.shared = shared;
  // A run's window of one group of channels fits a quarter of the L2, where channels first put it
  // (and all lattices of a dilation).
  const int64_t lines = l2 / 4 / kLineBytes, rows = g.positions();
  int64_t run = std::clamp<int64_t>((lines / rows - g.window[2] + g.step[2]) / g.step[2], 1, 64);
  run = std::min(run, tiles);
  const int64_t row = std::max<int64_t>(1, g.tiles[2]);
  b.run = ceil_div(row, ceil_div(row, run));
  b.runs = std::max<int64_t>(1, tiles / b.run);
  b.chain = ceil_div(b.tiles(), ceil_div(b.tiles(), kChain));
  b.wide_after = kWideAfter;
  b.segment_blocks = most_segments(*context.cpu) > kFewestSegments ? 2 : 4;
  b.ci_sums = ci;
  b.co_sums = co;
  const auto sum_bytes = [&] {
    return static_cast<int64_t>(g.points()) * b.ci_sums * b.co_sums * kGroup * kGroup * 4;
  };
  if (shared) {
    b.segments = 1;
    while (sum_bytes() > l3 / 2 && (b.ci_sums > 1 || b.co_sums > 1)) {
      int64_t* larger = b.ci_sums > b.co_sums ? &b.ci_sums : &b.co_sums;
      *larger = ceil_div(*larger, 2);
    }
  } else {
    // Each has sums in float32 and in float64.
    const int64_t all = segment_bytes(
        sum_bytes() > kPrivateSumBytes ? kLargeSegmentBytes : kSegmentBytes, *context.cpu);
    b.segments = most_segments(*context.cpu);
    while (b.segments > 1 && 3 * sum_bytes() * b.segments > all) b.segments /= 2;
  }
  // The points of both operands' parts within three quarters of the L2.
  const int64_t room = std::max<int64_t>(2, l2 * 3 / 4 / kLineBytes / (g.n[2] * b.tiles()));
  b.co_part = std::min(b.co_sums, std::max<int64_t>(1, room / 2));
  b.ci_part = std::min(b.ci_sums, std::max<int64_t>(1, room - b.co_part));
  b.co_part = std::min(b.co_sums, std::max<int64_t>(1, room - b.ci_part));
  return b;
}

GradientBlocking choose_gradient_blocking(const GradientGeometry& g, const PlanContext& context) {
  const int64_t l2 = static_cast<int64_t>(l2_bytes(*context.cpu)),
                l3 = static_cast<int64_t>(l3_bytes(*context.cpu));
  // Runs end with columns that no other tile of theirs shares.
  const int64_t run = std::clamp<int64_t>(g.tiles[2], 1, 16);
  const int64_t columns =
      groups_of(g.ci) * (g.step[2] * (run - 1) + g.window[2]) + groups_of(g.co) * g.m[2] * run;
  const int64_t sums =
      static_cast<int64_t>(g.points()) * groups_of(g.ci) * groups_of(g.co) * kGroup * kGroup * 4;
  const int64_t tile_bytes = int64_t{g.positions()} * ceil_div(columns, run) * kLineBytes;
  // Of many threads three quarters must have a segment.
  const bool many = most_segments(*context.cpu) > kFewestSegments;
  const auto enough = [&](const GradientBlocking& b) {
    return !many || 4 * b.segments_of(g.runs_per_sample(b.run)) >= 3 * most_segments(*context.cpu);
  };
  if (sums <= kPrivateSumBytes) {
    // What lies between the steps shares the L2 with images, points and sums; fewer tiles make
    // short chains. (1 MiB: half is 10 % faster than all; 512 KiB: all.)
    const int64_t room = std::max<int64_t>(l2 / 2, std::min<int64_t>(l2, 512 << 10));
    const GradientBlocking b =
        make_gradient_blocking(g, false, std::clamp<int64_t>(room / tile_bytes, 8, 64), context);
    if (enough(b)) return b;
  } else if (sums <= kLargePrivateSumBytes && g.tiles_per_sample() >= kManyTiles) {
    const GradientBlocking b =
        make_gradient_blocking(g, false, std::clamp<int64_t>(2 * l2 / tile_bytes, 16, 64), context);
    if (enough(b)) return b;
  }
  // 64 to 96 tiles were best for 32 to 256 channels; more rounds more.
  int64_t tiles = std::clamp<int64_t>(l3 / 2 / tile_bytes, 16, 64);
  // A sample that nearly fits is one block: then its sums pass memory once.
  if (g.tiles_per_sample() <= tiles + tiles / 2) tiles = std::max(tiles, g.tiles_per_sample());
  return make_gradient_blocking(g, true, tiles, context);
}

double gradient_error_bound(const GradientGeometry& g, const GradientBlocking& b) {
  // As for the other directions: rounding grows like the square root of a chain of additions, times
  // what the transforms amplify per axis.
  // Segments of a block less than those that move to float64 are added in float32, in pairs.
  const double chain = static_cast<double>(b.chain) +
                       static_cast<double>(b.wide_after * ceil_div(b.tiles(), b.chain)) +
                       std::log2(static_cast<double>(b.segments));
  double bound = 2e-7 * std::sqrt(1.0 + chain / 16.0);
  for (int a = 0; a < 3; ++a) {
    const int n = g.split[a] == kSplitNone ? g.n[a] : (g.n[a] + 1) / 2;  // the larger half decides
    bound *= g.split[a] == kSplitPair ? kPairAmplifies
             : n == 1                 ? 1.0
             : n <= 4                 ? 1.15
             : n == 5                 ? 1.75
             : n == 6                 ? 2.5
                                      : 3.4;
  }
  return bound;
}

// Measured on Zen 4 (AVX2), in both layouts: a vector of a transform costs 1.9 cycles per axis and
// element.
double estimate_gradient_seconds(const GradientGeometry& g, const GradientBlocking& b,
                                 const PlanContext& context) {
  constexpr double kEfficiency = 0.85, kTransformCycles = 1.9;
  const int lanes = context.kernels->gemm.f32.lanes;
  const double cycles = hertz(context);
  const CpuInfo& cpu = *context.cpu;
  const GradientLayout x = gradient_layout(g, b);
  const double tiles = static_cast<double>(g.tiles_per_sample()), points = g.points();
  const double blocks = tiles / static_cast<double>(b.tiles());
  const auto vectors_of = [&](int64_t channels) {
    return static_cast<double>(channels / kGroup * (kGroup / lanes) +
                               ceil_div(channels % kGroup, lanes));
  };
  const double ci_vectors = vectors_of(g.ci), co_vectors = vectors_of(g.co);
  const double rows =
      static_cast<double>(g.ci - g.ci % kGroup) +
      (g.ci % kGroup == 0 ? 0.0 : std::max(6.0, static_cast<double>(g.ci % kGroup)));

  // Products; each chain ends with a tile of sums to memory.
  const double chain = std::min(static_cast<double>(b.chain), tiles);
  const double multiply =
      tiles * points * rows * co_vectors / (2 * kEfficiency) * (1 + 8 / std::max(1.0, chain));
  // Transforms. Runs share no columns, their tiles do.
  const double columns = static_cast<double>(x.input_columns) / static_cast<double>(b.run);
  const double input_elements = columns * (g.window[1] + g.n[1]) * g.n[0] + points;
  const double gradient_elements = 1.0 * g.m[2] * g.n[0] * (g.m[1] + g.n[1]) + points;
  // Sums of channels that do not fit are made in turn, each from all tiles.
  const double input_passes =
      blocks <= 1 ? 1 : static_cast<double>(ceil_div(groups_of(g.co), b.co_sums));
  const double gradient_passes =
      blocks <= 1 ? 1 : static_cast<double>(ceil_div(groups_of(g.ci), b.ci_sums));
  // With a stride the points of some taps are copies; windows of seven pixels spill registers and
  // reach over many rows (measured: 2.5 to 5 times as long).
  const bool strided = has_halves(g.split), wide = g.n[0] > 6 || g.n[1] > 6 || g.n[2] > 6,
             all_wide = g.n[0] > 6 && g.n[1] > 6 && g.n[2] > 6;
  const double transform = tiles * kTransformCycles *
                           (strided && all_wide ? 3.5
                            : strided && wide   ? 1.6
                            : strided           ? 0.65
                                                : 1.0) *
                           (input_elements * ci_vectors * input_passes +
                            gradient_elements * co_vectors * gradient_passes);
  // The way back to the taps: cycles of a vector of a point, in float64 or float32.
  const int64_t runs = g.runs_per_sample(b.run);
  const bool in_float64 = b.is_wide(runs);
  // More than three taps are more lines of each, in registers that do not hold them.
  const double way_back = rounds_more(g.r) ? 30 : in_float64 ? 8 : 4;
  const double back =
      static_cast<double>(g.ci * groups_of(g.co)) * kGroup * points * way_back / lanes;
  double seconds = (multiply + transform * transform_share(context) + back) / cycles;

  // Lines of a block: written (read first by most caches) and read again.
  const double line_bytes = static_cast<double>(x.line_floats) * 4;
  const double sum_bytes = static_cast<double>(x.sums_floats) * 4;
  seconds += 0.5 * stream_seconds(3 * line_bytes * blocks * std::max(input_passes, gradient_passes),
                                  line_bytes / 2, cpu);
  const double all_sums = points * static_cast<double>(g.ci * groups_of(g.co)) * kLineBytes;
  // A thread's own come in while others are multiplied.
  seconds +=
      (b.shared ? 1.0 : 0.5) * stream_seconds(2 * all_sums * std::max(1.0, blocks), sum_bytes, cpu);
  // Segments are added, some first widened (measured: cycles an element).
  if (!b.shared)
    seconds += (in_float64 ? 2.0 : 0.6) * static_cast<double>(b.segments_of(runs) * x.sums_floats) /
               kClock;
  const double filter_bytes = static_cast<double>(g.ci * g.co * g.r[0] * g.r[1] * g.r[2]) * 4;
  seconds += stream_seconds(2 * filter_bytes, filter_bytes, cpu);
  const double input_bytes = static_cast<double>(g.input[0] * g.input[1] * g.input[2]) *
                             static_cast<double>(groups_of(g.ci) * kLineBytes) * input_passes;
  const double gradient_bytes = static_cast<double>(g.output[0] * g.output[1] * g.output[2]) *
                                static_cast<double>(groups_of(g.co) * kLineBytes) * gradient_passes;
  const double overlap =
      static_cast<double>(g.window[0]) * g.window[1] / (static_cast<double>(g.step[0]) * g.step[1]);
  // What windows share comes in again from the shared cache.
  const double again = std::min(input_bytes, kSharedPart * static_cast<double>(l3_bytes(cpu)));
  seconds += stream_seconds(input_bytes * std::min(1.0, overlap), input_bytes, cpu) +
             stream_seconds(input_bytes * std::max(0.0, overlap - 1), again, cpu) +
             stream_seconds(gradient_bytes, gradient_bytes, cpu);
  // By the machine, because a choice must not follow from a call's threads.
  // Shared lines and sums pass from core to core, which costs nothing where those share a cache and
  // the same again or more where they do not. Owners read all of the images instead.
  const double shared = most_segments(*context.cpu) > kFewestSegments ? 1.25 : 1.0;
  // Of the depth alone, planes far apart come in side by side, which many channels hide (measured:
  // 1 to 1.4 times as long).
  const double far = g.r[1] * g.r[2] == 1 && !(b.shared && blocks > 1) ? 1.12 : 1.0;
  return (b.shared ? shared : 1.0) * far * seconds + 3 * kCallSeconds;
}

}  // namespace conv3d::winograd
