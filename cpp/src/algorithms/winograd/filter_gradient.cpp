// grad_filter = G^T [ sum over tiles (B^T x) . (A dy) ] G, nested over depth, height and width: see
// README.md.
//
// A tile is m pixels of grad_output per axis; x, the input pixels that its taps meet: n = m + r -
// 1, or the two of a pair. Tiles are counted (sample, lattice, depth, height, width), width
// fastest; a run is some neighbours along the width; a block, some consecutive runs. A block goes
// through
//   columns    both operands along depth and height, to lines [position][channels /
//   16][run][column] products   position by position: along the width, to points [channels /
//   16][tile], then
//              sums[p][oc / 16][ic][16] += the product over the tiles
// and after the last block
//   taps       the sums to grad_filter, in float64 where they are, or with more than three taps
//
// A chain of multiply-adds ends after some 64 tiles; chains are added in float32, and after some
// blocks their sum moves to float64. So the error does not grow with the volume.
//
// Source: S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast
// Algorithms for Convolutional Neural Networks, 2016.
#include "algorithms/winograd/filter_gradient.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::winograd {
namespace {

constexpr int kGroup = kWinogradGroup;

int64_t groups_of(int64_t channels) { return ceil_div(channels, kGroup); }

// `channels` of each of `pixels` pixels, `step` floats apart, to lines of `line` floats.
void stage_row(const float* from, ptrdiff_t step, int64_t pixels, int channels, float* to,
               int64_t line) {
  if (step == line) {
    std::memcpy(to, from, sizeof(float) * static_cast<size_t>(pixels * line));
  } else if (channels == kGroup) {  // a size known while compiling is moved in registers
    for (; pixels > 0; --pixels, from += step, to += line)
      std::memcpy(to, from, sizeof(float) * kGroup);
  } else {
    for (; pixels > 0; --pixels, from += step, to += line)
      std::memcpy(to, from, sizeof(float) * static_cast<size_t>(channels));
  }
}

// Consecutive tiles of one row of one lattice.
struct Run {
  int64_t sample, lattice[3], tile[3];  // of the first tile
  int64_t tiles;
};

// One operand: an image and how its windows lie.
struct Operand {
  const float* image;
  int64_t channels, extent[3];
  int pixels[3];       // of a tile's window
  int step[3];         // from window to window
  int split[3];        // WinogradSplit of its points
  int64_t first[3];    // pixel of lattice a that the window of its tile 0 starts with, plus a
  int64_t columns;     // of a run, at most
  ptrdiff_t position;  // floats from position to position
  float* lines;
};

class GradientPrepared final : public FilterlessPrepared {
 public:
  GradientPrepared(const Problem& problem, const PlanContext& context, TileShape shape,
                   const GradientBlocking& blocking)
      : g_(make_gradient_geometry(problem, shape)),
        b_(blocking),
        x_(gradient_layout(g_, b_)),
        kernels_(context.kernels),
        pieces_(ceil_div(g_.tiles[2], b_.run)),
        seconds_(estimate_gradient_seconds(g_, b_, context)),
        stream_(static_cast<size_t>(g_.r[0] * g_.r[1] * g_.r[2] * g_.ci * g_.co) * sizeof(float) >
                context.cpu->l3_bytes / 3) {
    const auto book = [&](const char* name, int64_t count, size_t elements, size_t size,
                          bool per_thread) {
      return ledger_.book(
          name,
          checked_bytes({count, static_cast<int64_t>(elements), static_cast<int64_t>(size)},
                        "the Winograd workspace"),
          per_thread);
    };
    lines_ = book("winograd lines", 1, x_.line_floats, sizeof(float), !b_.shared);
    points_ = book("winograd points", 1, x_.point_floats, sizeof(float), true);
    sums_ = book("winograd sums", b_.segments, x_.sums_floats, sizeof(float), false);
    wide_ = book("winograd wide sums", b_.segments, x_.sums_floats, sizeof(double), false);
    if (!in_place()) staging_ = book("winograd staging", 1, x_.staging_floats, sizeof(float), true);
  }

  const ScratchLedger& ledger() const override { return ledger_; }
  std::string detail() const override {
    char text[128];
    std::snprintf(text, sizeof text, "winograd_gradient_f%dx%dx%d %s, blocks of %lld x %lld tiles",
                  g_.m[0], g_.m[1], g_.m[2], b_.shared ? "shared" : "private",
                  static_cast<long long>(b_.runs), static_cast<long long>(b_.run));
    return text;
  }
  double error_bound() const override { return gradient_error_bound(g_, b_); }
  int useful_threads() const override { return threads_that_pay(seconds_); }

  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;

 private:
  // Where a call or a segment of it keeps what it computes.
  struct State {
    Operand input, gradient;
    float* sums;
    double* wide;
    Range ci, co;     // groups of channels whose sums are made
    Range positions;  // of the lines, that are made
  };

  // Rows of the image lie a power of two apart, often, where the pixels of a window push each other
  // out of the cache before the next column reads them: a copy pays. Not along the depth alone,
  // where no column reads what another does.
  bool in_place() const { return !g_.channels_first && g_.n[1] == 1 && g_.n[2] == 1; }
  int64_t staged_line(const Operand& x) const {
    return g_.channels_first ? kGroup : std::min<int64_t>(x.channels, kGroup);
  }
  Run run_at(int64_t index) const;
  State state_of(const Buffers& buffers, float* lines, float* sums, double* wide) const;
  // for_each(n, fn) calls fn(begin, end, thread) for all of [0, n), on one thread or on all.
  template <class ForEach>
  void transform_block(const State& state, Range runs, const Scratch& scratch,
                       const ForEach& for_each) const;
  template <class ForEach>
  void add_runs(const State& state, Range runs, bool wide, bool transform, const Scratch& scratch,
                int threads, const ForEach& for_each) const;
  void transform_run(const Operand& operand, const Run& run, int64_t slot, int64_t group,
                     const Range& positions, float* staging) const;
  void multiply(const State& state, Range runs, int position, Range co, bool accumulate,
                float* points) const;
  void widths(const Operand& operand, Range runs, int position, int64_t group, float* points,
              ptrdiff_t point) const;
  void write_taps(const State& state, bool wide, float* filter, ThreadPool& pool,
                  int threads) const;

  GradientGeometry g_;
  GradientBlocking b_;
  GradientLayout x_;
  const KernelTable* kernels_;
  int64_t pieces_;  // runs of a row of tiles
  double seconds_;
  bool stream_;  // a filter that the caches do not keep is written past them
  ScratchLedger ledger_;
  int lines_, points_, sums_, wide_, staging_ = -1;
};

Run GradientPrepared::run_at(int64_t index) const {
  Run run{};
  run.tile[2] = index % pieces_ * b_.run;
  index /= pieces_;
  for (int a = 1; a >= 0; --a) {
    run.tile[a] = index % g_.tiles[a];
    index /= g_.tiles[a];
  }
  for (int a = 2; a >= 0; --a) {
    run.lattice[a] = index % g_.lattices[a];
    index /= g_.lattices[a];
  }
  run.sample = index;
  run.tiles = std::min(b_.run, g_.tiles[2] - run.tile[2]);
  return run;
}

GradientPrepared::State GradientPrepared::state_of(const Buffers& buffers, float* lines,
                                                   float* sums, double* wide) const {
  State s{};
  s.input.image = static_cast<const float*>(buffers.input);
  s.input.channels = g_.ci;
  s.input.columns = x_.input_columns;
  s.input.position = x_.input_position;
  s.input.lines = lines;
  s.gradient.image = static_cast<const float*>(buffers.grad_output);
  s.gradient.channels = g_.co;
  s.gradient.columns = x_.gradient_columns;
  s.gradient.position = x_.gradient_position;
  s.gradient.lines = lines + g_.positions() * x_.input_position;
  for (int a = 0; a < 3; ++a) {
    s.input.extent[a] = g_.input[a];
    s.input.pixels[a] = g_.window[a];
    s.input.split[a] = g_.split[a];
    s.gradient.split[a] = g_.split[a] == kSplitPair ? kSplitPairTurned : g_.split[a];
    s.input.step[a] = g_.step[a];
    s.input.first[a] = -g_.pad[a];
    s.gradient.extent[a] = g_.output[a];
    s.gradient.pixels[a] = g_.m[a];
    s.gradient.step[a] = g_.m[a];
    s.gradient.first[a] = 0;
  }
  s.sums = sums;
  s.wide = wide;
  s.ci = {0, groups_of(g_.ci)};
  s.co = {0, groups_of(g_.co)};
  s.positions = {0, g_.positions()};
  return s;
}

void GradientPrepared::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                               int threads) const {
  float* const filter = static_cast<float*>(buffers.result);
  const int64_t runs = g_.runs_per_sample(b_.run) * buffers.batch;
  if (runs == 0) {
    std::fill_n(filter, g_.r[0] * g_.r[1] * g_.r[2] * g_.ci * g_.co, 0.0f);
    return;
  }
  if (!b_.shared) {
    const int64_t segments = b_.segments_of(runs);
    const int64_t elements = static_cast<int64_t>(x_.sums_floats);
    const auto sums_of = [&](int64_t s) { return scratch.get<float>(sums_) + s * elements; };
    const auto wide_of = [&](int64_t s) { return scratch.get<double>(wide_) + s * elements; };
    // All segments' sums move to float64, or none's.
    const bool wide = b_.is_wide(runs);
    pool.parallel_for(segments, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t s = begin; s < end; ++s) {
        const State state =
            state_of(buffers, scratch.get<float>(lines_, thread), sums_of(s), wide_of(s));
        const auto alone = [&](int64_t n, const auto& fn) { fn(int64_t{0}, n, thread); };
        add_runs(state, piece(runs, s, segments), wide, true, scratch, 1, alone);
      }
    });
    if (wide) {
      sum_segments(elements, segments, pool, threads, wide_of, kernels_->gemm.f64.add);
    } else {
      sum_segments(elements, segments, pool, threads, sums_of, kernels_->gemm.f32.add);
    }
    write_taps(state_of(buffers, nullptr, sums_of(0), wide_of(0)), wide, filter, pool, threads);
    return;
  }
  State state = state_of(buffers, scratch.get<float>(lines_), scratch.get<float>(sums_),
                         scratch.get<double>(wide_));
  // One block keeps the lines of all channels; more than one is transformed again for other sums.
  const bool once = runs <= b_.runs;
  const int64_t owners =
      g_.positions() >= 2 * threads && threads <= kMostOwners ? std::max(1, threads) : 1;
  // f(state, for_each): all threads share the positions, or each has its own.
  const auto for_positions = [&](const auto& f) {
    if (owners == 1) {
      f(state, threads, [&](int64_t n, const auto& fn) { pool.parallel_for(n, 1, threads, fn); });
      return;
    }
    pool.parallel_for(owners, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t owner = begin; owner < end; ++owner) {
        State own = state;
        own.positions = piece(g_.positions(), owner, owners);
        f(own, 1, [&](int64_t n, const auto& fn) { fn(int64_t{0}, n, thread); });
      }
    });
  };
  if (once) {
    for_positions([&](const State& own, int, const auto& for_each) {
      transform_block(own, {0, runs}, scratch, for_each);
    });
  }
  const bool wide = b_.is_wide(runs);
  for (int64_t co = 0; co < groups_of(g_.co); co += b_.co_sums)
    for (int64_t ci = 0; ci < groups_of(g_.ci); ci += b_.ci_sums) {
      state.ci = {ci, std::min(groups_of(g_.ci), ci + b_.ci_sums)};
      state.co = {co, std::min(groups_of(g_.co), co + b_.co_sums)};
      for_positions([&](const State& own, int sharing, const auto& for_each) {
        add_runs(own, {0, runs}, wide, !once, scratch, sharing, for_each);
      });
      write_taps(state, wide, filter, pool, threads);
    }
}

// Lines of both operands for the runs of a block.
template <class ForEach>
void GradientPrepared::transform_block(const State& state, Range runs, const Scratch& scratch,
                                       const ForEach& for_each) const {
  const int64_t groups = state.ci.size() + state.co.size();
  for_each(runs.size() * groups, [&](int64_t begin, int64_t end, int thread) {
    float* const staging = in_place() ? nullptr : scratch.get<float>(staging_, thread);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t slot = i / groups, group = i % groups;
      const Run run = run_at(runs.begin + slot);
      if (group < state.ci.size()) {
        transform_run(state.input, run, slot, state.ci.begin + group, state.positions, staging);
      } else {
        transform_run(state.gradient, run, slot, state.co.begin + group - state.ci.size(),
                      state.positions, staging);
      }
    }
  });
}

// Adds up the sums of the runs, in state.wide or in state.sums.
template <class ForEach>
void GradientPrepared::add_runs(const State& state, Range runs, bool wide, bool transform,
                                const Scratch& scratch, int threads,
                                const ForEach& for_each) const {
  const int64_t co = state.co.size(), of_position = g_.n[2] * x_.sums_point,
                first_sum = state.positions.begin * of_position,
                sums = state.positions.size() * of_position;
  // Work items: one position and some groups of output channels.
  const int64_t parts = std::clamp<int64_t>(ceil_div(int64_t{4} * threads, state.positions.size()),
                                            ceil_div(co, b_.co_part), co);
  const auto widen = [&](bool first) {
    constexpr int64_t kBlock = 16384;
    for_each(ceil_div(sums, kBlock), [&](int64_t begin, int64_t end, int) {
      const int64_t count = std::min(sums, end * kBlock) - begin * kBlock,
                    at = first_sum + begin * kBlock;
      kernels_->winograd_gradient.widen(state.wide + at, state.sums + at, count, first ? 0 : 1);
    });
  };
  int64_t added = 0;  // blocks in state.sums
  bool first = true;
  for (int64_t i = runs.begin; i < runs.end; i += b_.runs) {
    const Range block{i, std::min(runs.end, i + b_.runs)};
    if (transform) transform_block(state, block, scratch, for_each);
    for_each(state.positions.size() * parts, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t item = begin; item < end; ++item) {
        const Range part = piece(co, item % parts, parts);
        multiply(state, block, static_cast<int>(state.positions.begin + item / parts),
                 {state.co.begin + part.begin, state.co.begin + part.end}, added > 0,
                 scratch.get<float>(points_, thread));
      }
    });
    if (++added < b_.wide_after || !wide) continue;
    widen(first);
    first = false;
    added = 0;
  }
  if (wide && added > 0) widen(first);
}

void GradientPrepared::transform_run(const Operand& x, const Run& run, int64_t slot, int64_t group,
                                     const Range& positions, float* staging) const {
  const PhaseTimer timer(Phase::kTransform);
  WinogradColumnsArgs a{};
  a.points_d = g_.n[0];
  a.points_h = g_.n[1];
  a.pixels_d = x.pixels[0];
  a.pixels_h = x.pixels[1];
  a.split_d = x.split[0];
  a.split_h = x.split[1];
  a.columns = x.step[2] * (run.tiles - 1) + x.pixels[2];
  a.channels = static_cast<int>(std::min<int64_t>(kGroup, x.channels - group * kGroup));
  a.position_stride = x.position;
  a.position_begin = static_cast<int>(positions.begin);
  a.position_end = static_cast<int>(positions.end);
  a.lines = x.lines + (group * b_.runs + slot) * x.columns * kGroup;
  // Lattice `a` of an axis starts at pixel a + first: residue and index within its own lattice.
  int64_t offset[3], extent[3], origin[3];
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t step = g_.dilation[axis], at = x.first[axis] + run.lattice[axis];
    int64_t residue = at % step;
    if (residue < 0) residue += step;
    offset[axis] = residue;
    extent[axis] = x.extent[axis] <= residue ? 0 : ceil_div(x.extent[axis] - residue, step);
    origin[axis] = (at - residue) / step + run.tile[axis] * x.step[axis];
  }
  const int64_t voxels = x.extent[0] * x.extent[1] * x.extent[2];
  const float* const sample = x.image + run.sample * voxels * x.channels;
  if (in_place()) {
    const ptrdiff_t stride_w = x.channels, stride_h = x.extent[2] * stride_w,
                    stride_d = x.extent[1] * stride_h;
    a.source = sample + group * kGroup + offset[0] * stride_d + offset[1] * stride_h +
               offset[2] * stride_w;
    a.stride_d = stride_d * g_.dilation[0];
    a.stride_h = stride_h * g_.dilation[1];
    a.stride_w = stride_w * g_.dilation[2];
    a.extent_d = extent[0];
    a.extent_h = extent[1];
    a.extent_w = extent[2];
    a.origin_d = origin[0];
    a.origin_h = origin[1];
    a.origin_w = origin[2];
    kernels_->winograd_gradient.columns(&a);
    return;
  }
  // What the run's windows have of the image, to lines of up to 16 channels.
  int64_t begin[3], size[3];
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t span = axis == 2 ? a.columns : x.pixels[axis];
    begin[axis] = std::clamp<int64_t>(origin[axis], 0, extent[axis]);
    size[axis] = std::clamp<int64_t>(origin[axis] + span, begin[axis], extent[axis]) - begin[axis];
  }
  // Channels first, whole pieces of rows are turned: pixels of one lattice lie its dilation apart.
  const int64_t line = staged_line(x), apart = g_.channels_first ? g_.dilation[2] : 1;
  const int64_t span = size[2] == 0 ? 0 : (size[2] - 1) * apart + 1;
  float* to = staging;
  for (int64_t d = 0; d < size[0]; ++d)
    for (int64_t h = 0; h < size[1]; ++h, to += span * line) {
      const int64_t at_d = offset[0] + (begin[0] + d) * g_.dilation[0],
                    at_h = offset[1] + (begin[1] + h) * g_.dilation[1],
                    at_w = offset[2] + begin[2] * g_.dilation[2];
      const int64_t pixel = (at_d * x.extent[1] + at_h) * x.extent[2] + at_w;
      if (g_.channels_first) {
        const TransposeArgs<float> t = {
            sample + group * kGroup * voxels + pixel, voxels, to, line, a.channels, span};
        kernels_->gemm.f32.transpose(&t);
      } else {
        stage_row(sample + pixel * x.channels + group * kGroup, x.channels * g_.dilation[2],
                  size[2], a.channels, to, line);
      }
    }
  a.source = staging;
  a.stride_w = apart * line;
  a.stride_h = span * line;
  a.stride_d = size[1] * a.stride_h;
  a.extent_d = size[0];
  a.extent_h = size[1];
  a.extent_w = size[2];
  a.origin_d = origin[0] - begin[0];
  a.origin_h = origin[1] - begin[1];
  a.origin_w = origin[2] - begin[2];
  kernels_->winograd_gradient.columns(&a);
}

// The third axis of one group at one position: points[point][tile of the block][16].
void GradientPrepared::widths(const Operand& x, Range runs, int position, int64_t group,
                              float* points, ptrdiff_t point) const {
  WinogradWidthArgs a{};
  a.points = g_.n[2];
  a.pixels = x.pixels[2];
  a.split = x.split[2];
  a.step = x.step[2];
  a.channels = static_cast<int>(std::min<int64_t>(kGroup, x.channels - group * kGroup));
  a.position_stride = point;
  a.columns = x.lines + position * x.position + group * b_.runs * x.columns * kGroup;
  a.u = points;
  for (int64_t index = runs.begin; index < runs.end; ++index) {
    a.tiles = std::min(b_.run, g_.tiles[2] - index % pieces_ * b_.run);
    kernels_->winograd_gradient.width(&a);
    a.columns += x.columns * kGroup;
    a.u += a.tiles * kGroup;
  }
}

// sums[p] (+)= products of the block's tiles, for the points p of one position and the groups `co`.
void GradientPrepared::multiply(const State& state, Range runs, int position, Range co,
                                bool accumulate, float* points) const {
  const PhaseTimer timer(Phase::kMultiply);
  int64_t tiles = 0;
  for (int64_t index = runs.begin; index < runs.end; ++index)
    tiles += std::min(b_.run, g_.tiles[2] - index % pieces_ * b_.run);
  const int64_t most = b_.tiles() * kGroup, chains = ceil_div(tiles, b_.chain);
  const int64_t rows = std::min(g_.ci, b_.ci_sums * kGroup);  // of a group of columns in the sums
  float* const v_room = points + g_.n[2] * x_.input_point;
  const int64_t lines = kernels_->winograd_gradient.outer_columns / kGroup;
  // Points of groups [begin, end): at `room`, or the lines themselves where there is no third axis
  // and runs follow each other without gaps.
  const bool direct = g_.n[2] == 1 && (runs.size() == 1 || g_.tiles[2] % b_.run == 0);
  const auto points_of = [&](const Operand& x, Range groups, float* room, ptrdiff_t point) {
    if (direct) return x.lines + position * x.position + groups.begin * most;
    for (int64_t group = groups.begin; group < groups.end; ++group)
      widths(x, runs, position, group, room + (group - groups.begin) * most, point);
    return room;
  };
  WinogradOuterArgs a{};
  a.b_group = most;
  a.c_group = rows * kGroup;
  for (int64_t co_begin = co.begin; co_begin < co.end; co_begin += b_.co_part) {
    const int64_t co_end = std::min(co.end, co_begin + b_.co_part);
    const float* const v = points_of(state.gradient, {co_begin, co_end}, v_room, x_.gradient_point);
    for (int64_t ci_begin = state.ci.begin; ci_begin < state.ci.end; ci_begin += b_.ci_part) {
      const int64_t ci_end = std::min(state.ci.end, ci_begin + b_.ci_part);
      const float* const u = points_of(state.input, {ci_begin, ci_end}, points, x_.input_point);
      for (int point = 0; point < g_.n[2]; ++point) {
        float* const sums = state.sums + (position * g_.n[2] + point) * x_.sums_point;
        for (int64_t group = ci_begin; group < ci_end; ++group) {
          a.rows = static_cast<int>(std::min<int64_t>(kGroup, g_.ci - group * kGroup));
          for (int64_t column = co_begin; column < co_end; column += lines) {
            a.columns = static_cast<int>(
                std::min({lines * kGroup, (co_end - column) * kGroup, g_.co - column * kGroup}));
            a.c = sums +
                  ((column - state.co.begin) * rows + (group - state.ci.begin) * kGroup) * kGroup;
            for (int64_t chain = 0; chain < chains; ++chain) {
              const Range range = piece(tiles, chain, chains);
              a.tiles = range.size();
              a.a = u + point * x_.input_point + (group - ci_begin) * most + range.begin * kGroup;
              a.b =
                  v + point * x_.gradient_point + (column - co_begin) * most + range.begin * kGroup;
              a.accumulate = accumulate || chain > 0;
              kernels_->winograd_gradient.outer(&a);
            }
          }
        }
      }
    }
  }
}

// The taps of the pairs of channels whose sums are complete.
void GradientPrepared::write_taps(const State& state, bool wide, float* filter, ThreadPool& pool,
                                  int threads) const {
  const int64_t rows = std::min(g_.ci, b_.ci_sums * kGroup);
  const int64_t ci_begin = state.ci.begin * kGroup,
                ci = std::min(g_.ci, state.ci.end * kGroup) - ci_begin;
  constexpr int64_t kRows = 16;  // of an item: their sums adjoin at every point
  const int64_t parts = ceil_div(ci, kRows);
  pool.parallel_for(parts * state.co.size(), 1, threads, [&](int64_t begin, int64_t end, int) {
    const PhaseTimer timer(Phase::kInverse);
    WinogradTapsArgs a{};
    a.wide = rounds_more(g_.r) ? 1 : 0;
    a.row_stride = g_.co;
    a.stream = stream_ ? 1 : 0;
    a.position_stride = x_.sums_point;
    a.axes = filter_axes(g_.m, g_.r, g_.n, g_.stride, g_.split);
    a.tap_stride = g_.ci * g_.co;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i % parts * kRows, group = i / parts,
                    column = (state.co.begin + group) * kGroup;
      const int64_t at = (group * rows + row) * kGroup;
      a.rows = static_cast<int>(std::min(kRows, ci - row));
      a.sums = wide ? nullptr : state.sums + at;
      a.wide_sums = wide ? state.wide + at : nullptr;
      a.filter = filter + (ci_begin + row) * g_.co + column;
      a.channels = static_cast<int>(std::min<int64_t>(kGroup, g_.co - column));
      kernels_->winograd_gradient.taps(&a);
    }
  });
}

class GradientAlgorithm final : public Algorithm {
 public:
  GradientAlgorithm(const char* name, TileShape shape) : name_(name), shape_(shape) {}
  const char* name() const override { return name_; }
  const char* family() const override { return "winograd"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext& context) const override {
    if (problem.accuracy == Accuracy::kStrict)
      return "accuracy is 'strict': Winograd rounds more than the direct sum";
    if (context.kernels->winograd_gradient.outer == nullptr)
      return "this instruction set has no Winograd kernels";
    return why_not_gradient(problem, shape_);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    const GradientGeometry geometry = make_gradient_geometry(problem, shape_);
    return estimate_gradient_seconds(geometry, choose_gradient_blocking(geometry, context),
                                     context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return prepare_gradient(
        problem, context, shape_,
        choose_gradient_blocking(make_gradient_geometry(problem, shape_), context));
  }

 private:
  const char* name_;
  TileShape shape_;
};

}  // namespace

std::unique_ptr<Prepared> prepare_gradient(const Problem& problem, const PlanContext& context,
                                           TileShape shape, const GradientBlocking& blocking) {
  return std::make_unique<GradientPrepared>(problem, context, shape, blocking);
}

}  // namespace conv3d::winograd

namespace conv3d {

AlgorithmList winograd_gradient_algorithms() {
  using winograd::GradientAlgorithm;
  static const GradientAlgorithm f4x4x4("winograd_gradient_f4x4x4", {{4, 4, 4}}),
      f3x4x4("winograd_gradient_f3x4x4", {{3, 4, 4}}),
      f2x4x4("winograd_gradient_f2x4x4", {{2, 4, 4}}),
      f3x3x3("winograd_gradient_f3x3x3", {{3, 3, 3}}),
      f2x3x3("winograd_gradient_f2x3x3", {{2, 3, 3}}),
      f4x3x3("winograd_gradient_f4x3x3", {{4, 3, 3}}),
      f4x2x2("winograd_gradient_f4x2x2", {{4, 2, 2}}),
      f2x2x2("winograd_gradient_f2x2x2", {{2, 2, 2}}),
      f1x4x4("winograd_gradient_f1x4x4", {{1, 4, 4}}),
      f1x3x3("winograd_gradient_f1x3x3", {{1, 3, 3}}),
      f1x2x2("winograd_gradient_f1x2x2", {{1, 2, 2}}),
      f4x4x1("winograd_gradient_f4x4x1", {{4, 4, 1}}),
      f3x3x1("winograd_gradient_f3x3x1", {{3, 3, 1}}),
      f2x4x1("winograd_gradient_f2x4x1", {{2, 4, 1}}),
      f2x2x1("winograd_gradient_f2x2x1", {{2, 2, 1}}),
      f4x1x4("winograd_gradient_f4x1x4", {{4, 1, 4}}),
      f2x1x2("winograd_gradient_f2x1x2", {{2, 1, 2}}),
      f1x4x1("winograd_gradient_f1x4x1", {{1, 4, 1}}),
      f1x2x1("winograd_gradient_f1x2x1", {{1, 2, 1}}),
      f1x1x4("winograd_gradient_f1x1x4", {{1, 1, 4}}),
      f1x1x2("winograd_gradient_f1x1x2", {{1, 1, 2}}),
      f4x1x1("winograd_gradient_f4x1x1", {{4, 1, 1}}),
      f3x1x1("winograd_gradient_f3x1x1", {{3, 1, 1}}),
      f2x1x1("winograd_gradient_f2x1x1", {{2, 1, 1}});
  static const Algorithm* const items[] = {&f4x4x4, &f3x4x4, &f2x4x4, &f3x3x3, &f2x3x3, &f4x3x3,
                                           &f4x2x2, &f2x2x2, &f1x4x4, &f1x3x3, &f1x2x2, &f4x4x1,
                                           &f3x3x1, &f2x4x1, &f2x2x1, &f4x1x4, &f2x1x2, &f1x4x1,
                                           &f1x2x1, &f1x1x4, &f1x1x2, &f4x1x1, &f3x1x1, &f2x1x1};
  return {items, static_cast<int>(sizeof items / sizeof items[0])};
}

}  // namespace conv3d
