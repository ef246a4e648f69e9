// result = A^T [ sum_ci (G g) . (B^T d) ] A, nested over depth, height and width: see README.md.
//
// Tiles are counted (sample, depth phase, depth, height phase, height, width, width phase), the
// last fastest, so that phases which share cache lines along the width come together. A block of
// consecutive tiles goes through
//   input transform   U[p][ci / 16][tile][16], in kernels/winograd_transform.inl
//   multiplication    M[p][co / 16][tile][16] = U[p] x packed[p], the house's GEMM micro-kernel,
//                     once per point p
//   output transform  + bias, activation, into the image
// with the sizes of blocking.h. Lanes along the pixels (channels first, the width left alone): a
// tile's width is 16 pixels, each channel passes the transforms by itself, and the operands change
// places:
//   M[p][tile][co][16] = packed[p][ci / 16][co][16] x U[p][panel][ci][nr].

#include "algorithms/winograd/winograd.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "algorithms/winograd/filter.h"
#include "algorithms/winograd/geometry.h"
#include "base/math.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::winograd {
namespace {

constexpr int kGroup = kWinogradGroup;

// Consecutive tiles of one row of one sample: `tiles` along the width from tile `w`, each in
// `phases` phases from `phase`. Tile t of phase phase + f is at offset + t * phases + f of its
// block.
struct Run {
  int64_t sample, d, h, w;  // of the first tile, counted in tiles
  int64_t phase_d, phase_h, phase_w;
  int64_t offset;  // of the first tile in its block
  int tiles, phases;
};

class WinogradPrepared final : public Prepared {
 public:
  WinogradPrepared(const Problem& problem, const PlanContext& context, const Geometry& geometry,
                   const Blocking& blocking)
      : g_(geometry),
        b_(blocking),
        kernels_(context.kernels),
        activation_(static_cast<int>(problem.activation)),
        alpha_(static_cast<float>(problem.leaky_relu_alpha)),
        nr_(kernels_->winograd.nr) {
    const auto bytes = [](size_t floats) {
      return checked_bytes({static_cast<int64_t>(floats), 4}, "scratch");
    };
    shared_ = ledger_.book("winograd shared block", bytes(b_.shared_floats), false);
    block_ = ledger_.book("winograd block", bytes(b_.thread_floats), true);
    staging_ = ledger_.book("winograd staging", b_.staging_floats * sizeof(float), true);
    // Streaming stores pay when the result would only pass through the caches.
    stream_ = g_.result_voxels() * g_.co * 4 > static_cast<int64_t>(context.cpu->l3_bytes / 3);
  }

  bool reads_filter() const override { return b_.way == Way::kUnpacked; }
  size_t packed_filter_bytes() const override {
    if (reads_filter())
      return checked_bytes({g_.r[0] * g_.r[1] * g_.r[2], g_.ci, g_.co, 4}, "the filter");
    return packed_filter_floats(g_, *kernels_) * sizeof(float);
  }
  std::string packed_filter_format() const override {
    if (reads_filter()) return "as it is";
    char text[96];
    // A stride changes the points, and so does a pair of pixels.
    std::snprintf(text, sizeof text, "winograd %s r%dx%dx%d split%d%d%d%s %s%d",
                  tile_name().c_str(), g_.r[0], g_.r[1], g_.r[2], g_.split[0], g_.split[1],
                  g_.split[2], g_.flipped ? " flipped" : "", g_.pixel_lanes ? "ci" : "nr",
                  g_.pixel_lanes ? kGroup : nr_);
    return text;
  }
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override {
    if (reads_filter()) {
      constexpr int64_t kBlock = int64_t{1} << 18;
      const auto bytes = static_cast<int64_t>(packed_filter_bytes());
      pool.parallel_for(ceil_div(bytes, kBlock), 1, threads, [&](int64_t begin, int64_t end, int) {
        std::memcpy(static_cast<char*>(packed) + begin * kBlock,
                    static_cast<const char*>(filter) + begin * kBlock,
                    static_cast<size_t>(std::min(bytes, end * kBlock) - begin * kBlock));
      });
      return;
    }
    winograd::pack_filter(g_, *kernels_, static_cast<const float*>(filter),
                          static_cast<float*>(packed), pool, threads);
  }
  const ScratchLedger& ledger() const override { return ledger_; }
  std::string detail() const override {
    char text[96];
    std::snprintf(text, sizeof text, "winograd_%s %s, blocks of %lld tiles%s", tile_name().c_str(),
                  way_name(), static_cast<long long>(b_.tiles),
                  g_.pixel_lanes ? " of 16 pixels" : "");
    return text;
  }
  double error_bound() const override { return winograd::error_bound(g_); }
  int useful_threads() const override {
    // A thread is worth waking for some 20 microseconds of work: 2 million multiply-adds. Few tiles
    // wait for the filter, which the threads share.
    constexpr double kFilterNumber = 16;  // multiply-adds
    const double tiles = static_cast<double>(g_.tiles_per_sample()) * (g_.pixel_lanes ? kGroup : 1),
                 each = tiles + (b_.way == Way::kFused ? 0 : kFilterNumber),
                 work = each * g_.points() * static_cast<double>(g_.ci * g_.co);
    return static_cast<int>(std::clamp(work / 2e6, 1.0, 1e6));
  }

  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override {
    Call call;
    call.source = static_cast<const float*>(g_.flipped ? buffers.grad_output : buffers.input);
    call.packed = static_cast<const float*>(buffers.packed_filter);
    call.bias = static_cast<const float*>(buffers.bias);
    call.result = static_cast<float*>(buffers.result);
    const int64_t total = g_.tiles_per_sample() * buffers.batch;
    if (total == 0) return;
    call.layout = block_layout(g_, b_.way, tiles_per_block(g_, b_, total, threads), *kernels_);
    const int64_t size = call.layout.tiles, blocks = ceil_div(total, size);
    if (b_.way != Way::kFused) {
      for (int64_t block = 0; block < blocks; ++block)
        run_staged(call, block * size, std::min(size, total - block * size), scratch, pool,
                   threads);
      return;
    }
    pool.parallel_for(blocks, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t block = begin; block < end; ++block)
        run_fused(call, block * size, std::min(size, total - block * size), scratch, thread);
    });
  }

 private:
  struct Call {
    const float *source, *packed, *bias;
    float* result;
    BlockLayout layout;
  };

  const char* way_name() const {
    switch (b_.way) {
      case Way::kFused: return "fused";
      case Way::kStaged: return "staged";
      case Way::kUnpacked: return "unpacked";
    }
    return "";
  }
  std::string tile_name() const {
    char text[48];
    std::snprintf(text, sizeof text, "f%dx%dx%d", g_.m[0], g_.m[1], g_.m[2]);
    return text;
  }

  void run_fused(const Call& call, int64_t first, int64_t count, const Scratch& scratch,
                 int thread) const {
    float* m = scratch.get<float>(block_, thread);
    float* u = m + call.layout.u_position;  // M of point p goes to the slot of U of point p - 1
    if (g_.pixel_lanes) {
      transform_pixels(call, first, count, u);
      multiply_pixels(call, count, u, m);
      inverse_pixels(call, first, count, m);
      return;
    }
    float* staging = scratch.get<float>(staging_, thread);
    const int64_t source_groups = ceil_div(g_.ci, kGroup), result_groups = ceil_div(g_.co, kGroup);
    transform_input(call, first, 0, count, 0, source_groups, u, staging);
    const int64_t panels = ceil_div(g_.co, nr_);
    {
      const PhaseTimer timer(Phase::kMultiply);
      for (int p = 0; p < g_.points(); ++p) multiply(call, p, 0, panels, count, u, m);
    }
    transform_output(call, first, 0, count, 0, result_groups, m, staging);
  }

  // kStaged and kUnpacked.
  void run_staged(const Call& call, int64_t first, int64_t count, const Scratch& scratch,
                  ThreadPool& pool, int threads) const {
    float* u = scratch.get<float>(shared_);
    float* m = u + g_.points() * call.layout.u_position;
    // Work items of a few tiles and a few groups, so that few tiles of many channels
    // still feed all threads.
    constexpr int64_t kTiles = 4, kGroups = 4;
    const int64_t chunks = ceil_div(count, kTiles);
    const auto transform_all = [&](int64_t groups, auto&& transform) {
      const int64_t group_chunks = ceil_div(groups, kGroups);
      pool.parallel_for(
          chunks * group_chunks, 1, threads, [&](int64_t begin, int64_t end, int thread) {
            float* staging = scratch.get<float>(staging_, thread);
            for (int64_t i = begin; i < end; ++i) {
              const int64_t tile = i / group_chunks * kTiles, group = i % group_chunks * kGroups;
              transform(tile, std::min(count, tile + kTiles), group,
                        std::min(groups, group + kGroups), staging);
            }
          });
    };
    transform_all(ceil_div(g_.ci, kGroup), [&](int64_t begin, int64_t end, int64_t group_begin,
                                               int64_t group_end, float* staging) {
      transform_input(call, first, begin, end, group_begin, group_end, u, staging);
    });
    const int64_t panels = ceil_div(g_.co, nr_);
    if (b_.way == Way::kUnpacked) {
      const int64_t parts = unpacked_parts(g_, count, threads, *kernels_);
      pool.parallel_for(panels * parts, 1, threads, [&](int64_t begin, int64_t end, int thread) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t panel = i / parts, part = i % parts;
          run_panel(call, first, count * part / parts, count * (part + 1) / parts, panel, u,
                    scratch, thread);
        }
      });
      return;
    }
    const int64_t splits =
        std::clamp<int64_t>(ceil_div(int64_t{8} * threads, g_.points()), 1, panels);
    pool.parallel_for(g_.points() * splits, 1, threads, [&](int64_t begin, int64_t end, int) {
      const PhaseTimer timer(Phase::kMultiply);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t p = i / splits, s = i % splits;
        multiply(call, static_cast<int>(p), panels * s / splits, panels * (s + 1) / splits, count,
                 u, m);
      }
    });
    transform_all(ceil_div(g_.co, kGroup), [&](int64_t begin, int64_t end, int64_t group_begin,
                                               int64_t group_end, float* staging) {
      transform_output(call, first, begin, end, group_begin, group_end, m, staging);
    });
  }

  // kUnpacked: the result channels of one panel, of the tiles [begin, end) of the block.
  void run_panel(const Call& call, int64_t first, int64_t begin, int64_t end, int64_t panel,
                 const float* u, const Scratch& scratch, int thread) const {
    float* const m = scratch.get<float>(block_, thread);
    float* const packed = m + g_.points() * call.layout.m_position;
    const int64_t tiles = call.layout.tiles;
    PanelFilter filter(g_, *kernels_, call.packed, panel,
                       packed + g_.points() * call.layout.filter_position);
    const int vectors = static_cast<int>(filter.width()) / kernels_->winograd.lanes;
    for (int64_t k = 0; k < g_.ci; k += kUnpackedChannels) {
      const int kc = static_cast<int>(std::min<int64_t>(kUnpackedChannels, g_.ci - k));
      {
        const PhaseTimer timer(Phase::kPack);
        filter.transform(k, kc, packed, call.layout.filter_position);
      }
      const PhaseTimer timer(Phase::kMultiply);
      for (int p = 0; p < g_.points(); ++p) {
        // Each point is a piece of U too short for what the processor foresees by itself: 4 to 30 %
        // of the whole.
        const float* const a = u + p * call.layout.u_position + k * tiles + begin * kGroup;
        float* const c = m + p * call.layout.m_position + begin * kGroup;
        if (p + 1 < g_.points()) {
          for (int64_t at = 0; at < kc; at += kGroup)
            kernels_->winograd.ask(a + call.layout.u_position + at * tiles, (end - begin) * kGroup);
          for (int64_t at = 0; at < nr_; at += kGroup)
            kernels_->winograd.ask(c + call.layout.m_position + at * tiles, (end - begin) * kGroup);
        }
        kernels_->winograd.multiply(end - begin, a, tiles * kGroup,
                                    packed + p * call.layout.filter_position, kc, c, tiles * kGroup,
                                    k > 0, vectors);
      }
    }
    const int64_t group = panel * nr_ / kGroup,
                  groups = ceil_div(std::min<int64_t>(nr_, g_.co - panel * nr_), kGroup);
    transform_output(call, first, begin, end, group, group + groups, m - group * tiles * kGroup,
                     scratch.get<float>(staging_, thread));
  }

  // Calls fn(run) for the tiles [begin, end) of the block that starts at tile `first`.
  template <class F>
  void for_each_run(int64_t first, int64_t begin, int64_t end, const F& fn) const {
    const int64_t phases = g_.phases[2];
    while (begin < end) {
      Run run;
      int64_t index = first + begin;
      const auto take = [&index](int64_t extent) {
        const int64_t at = index % extent;
        index /= extent;
        return at;
      };
      run.phase_w = take(phases);
      run.w = take(g_.tiles[2]);
      run.h = take(g_.tiles[1]);
      run.phase_h = take(g_.phases[1]);
      run.d = take(g_.tiles[0]);
      run.phase_d = take(g_.phases[0]);
      run.sample = index;
      run.offset = begin;
      const int64_t left = end - begin;
      if (run.phase_w == 0 && left >= phases && b_.run_phases >= phases) {
        run.tiles =
            static_cast<int>(std::min({left / phases, g_.tiles[2] - run.w, int64_t{b_.run}}));
        run.phases = static_cast<int>(phases);
      } else {
        run.tiles = 1;
        run.phases =
            static_cast<int>(std::min({left, phases - run.phase_w, int64_t{b_.run_phases}}));
      }
      fn(run);
      begin += int64_t{run.tiles} * run.phases;
    }
  }

  // fn(runs, n): a block's runs, some of one sample at a time.
  template <class F>
  void for_some_runs(int64_t first, int64_t count, const F& fn) const {
    constexpr int kMost = 24;
    Run runs[kMost];
    int n = 0;
    for_each_run(first, 0, count, [&](const Run& run) {
      if (n == kMost || (n > 0 && runs[0].sample != run.sample)) {
        fn(runs, n);
        n = 0;
      }
      runs[n++] = run;
    });
    if (n > 0) fn(runs, n);
  }

  // What of `count` pixels from `origin` lies inside [0, extent).
  struct Rows {
    int64_t begin, count;
  };
  static Rows rows_inside(int64_t origin, int64_t count, int64_t extent) {
    const int64_t begin = std::clamp<int64_t>(origin, 0, extent);
    return {begin, std::clamp<int64_t>(origin + count, begin, extent) - begin};
  }

  void transform_input(const Call& call, int64_t first, int64_t begin, int64_t end,
                       int64_t group_begin, int64_t group_end, float* u, float* staging) const {
    const PhaseTimer timer(Phase::kTransform);
    WinogradInputArgs a{};
    a.points_d = g_.n[0];
    a.points_h = g_.n[1];
    a.points_w = g_.n[2];
    a.split_d = g_.split[0];
    a.split_h = g_.split[1];
    a.split_w = g_.split[2];
    a.step_w = g_.step[2];
    a.position_stride = call.layout.u_position;
    for_each_run(first, begin, end, [&](const Run& run) {
      const Lattice d = source_lattice(g_, 0, run.phase_d), h = source_lattice(g_, 1, run.phase_h);
      a.origin_d = d.origin + run.d * g_.step[0];
      a.origin_h = h.origin + run.h * g_.step[1];
      const Rows planes = rows_inside(a.origin_d, g_.window[0], d.count),
                 rows = rows_inside(a.origin_h, g_.window[1], h.count);
      a.origin_d -= planes.begin;  // the staging holds what is inside
      a.origin_h -= rows.begin;
      a.extent_d = planes.count;
      a.extent_h = rows.count;
      a.tiles = run.tiles;
      a.gap = run.phases - 1;
      if (in_place()) {
        a.origin_d = d.origin + run.d * g_.step[0];
        a.origin_h = h.origin + run.h * g_.step[1];
        a.origin_w = run.w * g_.step[2] - g_.pad[2];
        a.extent_d = d.count;
        a.extent_h = h.count;
        a.extent_w = g_.source[2];
        a.stride_w = g_.ci;
        a.stride_h = g_.source[2] * a.stride_w;
        a.stride_d = g_.dilation[0] * g_.source[1] * a.stride_h;
      }
      for (int64_t group = group_begin; group < group_end; ++group) {
        a.channels = static_cast<int>(std::min<int64_t>(kGroup, g_.ci - group * kGroup));
        const int64_t sample = run.sample * g_.source_voxels() * g_.ci;
        const float* image =
            call.source + sample +
            (g_.channels_first ? group * kGroup * g_.source_voxels() : group * kGroup);
        if (in_place()) {
          a.source = image + d.first * g_.source[1] * a.stride_h;
          a.u = u + (group * call.layout.tiles + run.offset) * kGroup;
          kernels_->winograd.input_transform(&a);
          continue;
        }
        gather(image, run, d, h, planes, rows, a.channels, staging);
        for (int phase = 0; phase < run.phases; ++phase) {
          a.u = u + (group * call.layout.tiles + run.offset + phase) * kGroup;
          const Lattice w = source_lattice(g_, 2, run.phase_w + phase);
          const int64_t origin = w.origin + run.w * g_.step[2];
          point_at_staging(run, phase, origin, w, staging, &a);
          kernels_->winograd.input_transform(&a);
        }
      }
    });
  }

  // The windows of a run, staged as lines of up to 16 channels. In the image rows lie kilobytes
  // apart, often a power of two, where the pixels of a window push each other out of the cache
  // before the next tile reads them: the copy pays, 3 to 13 % of the whole. Pixel j of phase f of
  // the run lies at [d][h][j * phases + f], in the rows that are inside the image; where that is
  // outside the image along the width, nothing is written.
  // Along the depth alone no tile reads what another does nearby: there the copy would not pay.
  bool in_place() const { return !g_.channels_first && g_.n[1] == 1 && g_.n[2] == 1; }
  int64_t staged_line() const {
    return g_.channels_first ? kGroup : std::min<int64_t>(g_.ci, kGroup);
  }
  void copy_pixels(const float* from, int64_t count, int channels, float* to) const {
    if (g_.ci <= kGroup) {
      std::memcpy(to, from, sizeof(float) * count * g_.ci);
      return;
    }
    for (; count > 0; --count, from += g_.ci, to += kGroup) {
      if (channels == kGroup) {
        std::memcpy(to, from, sizeof(float) * kGroup);
      } else {
        std::memcpy(to, from, sizeof(float) * channels);
      }
    }
  }
  int64_t window_pixels(const Run& run) const {
    return int64_t{g_.step[2]} * (run.tiles - 1) + g_.window[2];
  }
  void gather(const float* image, const Run& run, const Lattice& d, const Lattice& h,
              const Rows& planes, const Rows& rows, int channels, float* staging) const {
    const int64_t pixels = window_pixels(run), dilation = g_.dilation[2];
    // All phases: neighbours in the image are neighbours in the staging.
    const bool whole = run.phases == dilation;
    const int64_t pieces = whole ? 1 : pixels, length = whole ? pixels * dilation : run.phases;
    const int64_t first = run.w * g_.step[2] * dilation + run.phase_w - g_.pad[2];
    const int64_t line = staged_line();
    for (int64_t i = 0; i < planes.count; ++i)
      for (int64_t j = 0; j < rows.count; ++j, staging += pixels * run.phases * line) {
        const int64_t row = ((d.first + (planes.begin + i) * g_.dilation[0]) * g_.source[1] +
                             h.first + (rows.begin + j) * g_.dilation[1]) *
                            g_.source[2];
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t at = first + piece * dilation;
          const Rows inside = rows_inside(at, length, g_.source[2]);
          if (inside.count == 0) continue;
          float* to = staging + (piece * length + inside.begin - at) * line;
          if (!g_.channels_first) {
            copy_pixels(image + (row + inside.begin) * g_.ci, inside.count, channels, to);
            continue;
          }
          TransposeArgs<float> t{
              image + row + inside.begin, g_.source_voxels(), to, line, channels, inside.count};
          kernels_->gemm.f32.transpose(&t);
        }
      }
  }

  void point_at_staging(const Run& run, int phase, int64_t origin, const Lattice& w,
                        const float* staging, WinogradInputArgs* a) const {
    const int64_t pixels = window_pixels(run);
    const Rows columns = rows_inside(origin, pixels, w.count);
    a->origin_w = origin - columns.begin;
    a->extent_w = columns.count;
    a->stride_w = run.phases * staged_line();
    a->stride_h = pixels * a->stride_w;
    a->stride_d = a->extent_h * a->stride_h;
    a->source = staging - a->origin_w * a->stride_w + phase * staged_line();
  }

  void multiply(const Call& call, int p, int64_t panel_begin, int64_t panel_end, int64_t count,
                const float* u, float* m) const {
    const int64_t columns = panel_columns(g_.co, *kernels_);
    const float* a = u + p * call.layout.u_position;
    float* c = m + p * call.layout.m_position;
    for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const int64_t width = std::min<int64_t>(nr_, columns - panel * nr_);
      const float* b = call.packed + (p * columns + panel * nr_) * g_.ci;
      for (int64_t k = 0; k < g_.ci; k += kSumChunk) {
        const int kc = static_cast<int>(std::min(kSumChunk, g_.ci - k));
        kernels_->winograd.multiply(count, a + k * call.layout.tiles, call.layout.tiles * kGroup,
                                    b + k * width, kc, c + panel * nr_ * call.layout.tiles,
                                    call.layout.tiles * kGroup, k > 0,
                                    static_cast<int>(width) / kernels_->winograd.lanes);
      }
    }
  }

  void transform_output(const Call& call, int64_t first, int64_t begin, int64_t end,
                        int64_t group_begin, int64_t group_end, const float* m,
                        float* staging) const {
    const PhaseTimer timer(Phase::kInverse);
    WinogradOutputArgs a{};
    a.position_stride = call.layout.m_position;
    a.points_d = g_.n[0];
    a.points_h = g_.n[1];
    a.points_w = g_.n[2];
    a.split_d = g_.split[0];
    a.split_h = g_.split[1];
    a.split_w = g_.split[2];
    a.outputs_d = g_.outputs[0];
    a.outputs_h = g_.outputs[1];
    a.outputs_w = g_.outputs[2];
    a.activation = activation_;
    a.alpha = alpha_;
    for_each_run(first, begin, end, [&](const Run& run) {
      const Lattice d = result_lattice(g_, 0, run.phase_d), h = result_lattice(g_, 1, run.phase_h);
      const int64_t row = g_.result[2] * g_.co, plane = g_.result[1] * row;
      a.tiles = run.tiles;
      a.gap = run.phases - 1;
      for (int64_t group = group_begin; group < group_end; ++group) {
        a.channels = static_cast<int>(std::min<int64_t>(kGroup, g_.co - group * kGroup));
        alignas(64) float bias[kGroup] = {};
        if (call.bias != nullptr)
          std::memcpy(bias, call.bias + group * kGroup, sizeof(float) * a.channels);
        a.bias = call.bias != nullptr ? bias : nullptr;
        const int64_t sample = run.sample * g_.result_voxels() * g_.co;
        for (int phase = 0; phase < run.phases; ++phase) {
          const Lattice w = result_lattice(g_, 2, run.phase_w + phase);
          a.m = m + (group * call.layout.tiles + run.offset + phase) * kGroup;
          a.extent_w = w.count;
          a.origin_w = run.w * g_.outputs[2];
          if (g_.channels_first) {
            // Of its tiles alone: staging is [d][h][j * phases + f] as for the input.
            a.result = staging - (a.origin_w * run.phases - phase) * kGroup;
            a.extent_d = std::min<int64_t>(d.count - run.d * g_.outputs[0], g_.outputs[0]);
            a.extent_h = std::min<int64_t>(h.count - run.h * g_.outputs[1], g_.outputs[1]);
            a.origin_d = a.origin_h = 0;
            a.stride_w = int64_t{run.phases} * kGroup;
            a.stride_h = int64_t{g_.outputs[2]} * run.tiles * a.stride_w;
            a.stride_d = a.extent_h * a.stride_h;
            a.stream = 0;
          } else {
            a.result = call.result + sample + group * kGroup + d.first * plane + h.first * row +
                       w.first * g_.co;
            a.extent_d = d.count;
            a.extent_h = h.count;
            a.origin_d = run.d * g_.outputs[0];
            a.origin_h = run.h * g_.outputs[1];
            a.stride_w = g_.dilation[2] * g_.co;
            a.stride_h = g_.dilation[1] * row;
            a.stride_d = g_.dilation[0] * plane;
            a.stream = stream_;
          }
          kernels_->winograd.output_transform(&a);
        }
        if (g_.channels_first)
          scatter(staging, run, d, h, a,
                  call.result + sample + group * kGroup * g_.result_voxels());
      }
    });
  }

  // --- lanes along the pixels ---

  int panel_tiles() const { return nr_ / kGroup; }
  // Where tile `tile` of a block of `count` lies in U, from source channel to source channel
  // `channel` floats apart: the last panel may be narrower.
  struct InPanel {
    ptrdiff_t offset, channel;
  };
  InPanel in_panel(const Call& call, int64_t tile, int64_t count) const {
    const int64_t panel = tile / panel_tiles(), first = panel * panel_tiles();
    return {panel * call.layout.u_panel + (tile - first) * kGroup,
            std::min<int64_t>(panel_tiles(), count - first) * kGroup};
  }
  int pixels_of(int64_t tile) const {
    return static_cast<int>(std::min<int64_t>(kGroup, g_.result[2] - tile * kGroup));
  }

  // What of a run lies equally far apart in U, `step` tiles from one to the next, of equally many
  // pixels.
  struct Piece {
    int64_t tile;  // within the run
    int tiles, step, pixels;
  };
  // Calls fn(piece) for the pieces of a run whose every step-th tile belongs together.
  template <class F>
  void for_each_piece(const Run& run, int step, bool last_alone, const F& fn) const {
    const int pixels = pixels_of(run.w + run.tiles - 1);
    const bool alone = last_alone || pixels < kGroup;
    const int rest = run.tiles - (alone ? 1 : 0);
    for (int i = 0; i < std::min(step, rest); ++i)
      fn(Piece{i, (rest - i + step - 1) / step, step, kGroup});
    if (alone) fn(Piece{rest, 1, 1, pixels});
  }

  // The axes that are transformed. Of one alone the kernel makes one pass, along what it takes for
  // the depth: returns whether that is the height.
  template <class Args>
  bool set_axes(Args* a) const {
    const bool height_alone = g_.n[0] == 1;
    a->points_d = height_alone ? g_.n[1] : g_.n[0];
    a->points_h = height_alone ? 1 : g_.n[1];
    a->points_w = 1;
    a->split_d = height_alone ? g_.split[1] : g_.split[0];
    a->split_h = height_alone ? kSplitNone : g_.split[1];
    return height_alone;
  }

  void transform_pixels(const Call& call, int64_t first, int64_t count, float* u) const {
    const PhaseTimer timer(Phase::kTransform);
    WinogradInputArgs a{};
    const bool height_alone = set_axes(&a);
    a.position_stride = call.layout.u_position;
    a.gap = static_cast<int>(call.layout.u_panel / kGroup) - 1;
    a.extent_w = g_.tiles[2];
    a.stride_w = kGroup;
    a.stride_h = g_.dilation[1] * g_.source[2];
    a.stride_d = height_alone ? a.stride_h : g_.dilation[0] * g_.source[1] * g_.source[2];
    // A channel's rows of all runs lie near each other, and far from the next channel's.
    for_some_runs(first, count, [&](const Run* runs, int n) {
      const float* const channels = call.source + runs[0].sample * g_.source_voxels() * g_.ci;
      for (int64_t ci = 0; ci < g_.ci; ++ci) {
        for (const Run* run = runs; run != runs + n; ++run) {
          const Lattice d = source_lattice(g_, 0, run->phase_d),
                        h = source_lattice(g_, 1, run->phase_h);
          const int64_t plane = d.origin + run->d * g_.step[0];
          int64_t first_plane = d.first;
          a.origin_h = h.origin + run->h * g_.step[1];
          a.extent_h = h.count;
          if (height_alone) {
            // Outside the volume there are no rows.
            const bool inside = plane >= 0 && plane < d.count;
            first_plane += inside ? plane : 0;
            a.origin_d = std::exchange(a.origin_h, 0);
            a.extent_d = inside ? std::exchange(a.extent_h, 1) : 0;
          } else {
            a.origin_d = plane;
            a.extent_d = d.count;
          }
          a.source = channels + ci * g_.source_voxels() +
                     (first_plane * g_.source[1] + h.first) * g_.source[2];
          // The last panel's only tile lies closer than the others.
          const bool narrow =
              run->offset + run->tiles == count && in_panel(call, count - 1, count).channel != nr_;
          for_each_piece(*run, panel_tiles(), narrow, [&](const Piece& piece) {
            const InPanel at = in_panel(call, run->offset + piece.tile, count);
            a.origin_w = run->w + piece.tile;
            a.step_w = piece.step;
            a.tiles = piece.tiles;
            a.channels = piece.pixels;
            a.u = u + at.offset + ci * at.channel;
            kernels_->winograd.input_transform(&a);
          });
        }
      }
    });
  }

  void multiply_pixels(const Call& call, int64_t count, const float* u, float* m) const {
    const PhaseTimer timer(Phase::kMultiply);
    const BlockLayout& l = call.layout;
    for (int p = 0; p < g_.points(); ++p, u += l.u_position, m += l.m_position) {
      const float* filter = call.packed + p * ceil_div(g_.ci, kGroup) * kGroup * g_.co;
      for (int64_t k = 0; k < g_.ci; k += kSumChunk) {
        const int kc = static_cast<int>(std::min(kSumChunk, g_.ci - k));
        for (int64_t tile = 0; tile < count; tile += panel_tiles()) {
          const InPanel at = in_panel(call, tile, count);
          kernels_->winograd.multiply(g_.co, filter + k * g_.co, g_.co * kGroup,
                                      u + at.offset + k * at.channel, kc, m + tile * l.m_tile,
                                      l.m_tile, k > 0,
                                      static_cast<int>(at.channel) / kernels_->winograd.lanes);
        }
      }
    }
  }

  void inverse_pixels(const Call& call, int64_t first, int64_t count, const float* m) const {
    const PhaseTimer timer(Phase::kInverse);
    WinogradOutputArgs a{};
    a.position_stride = call.layout.m_position;
    a.gap = static_cast<int>(call.layout.m_tile / kGroup) - 1;
    const bool height_alone = set_axes(&a);
    a.outputs_d = height_alone ? g_.outputs[1] : g_.outputs[0];
    a.outputs_h = height_alone ? 1 : g_.outputs[1];
    a.outputs_w = 1;
    a.extent_w = g_.tiles[2];
    a.stride_w = kGroup;
    a.stride_h = g_.dilation[1] * g_.result[2];
    a.stride_d = height_alone ? a.stride_h : g_.dilation[0] * g_.result[1] * g_.result[2];
    a.activation = activation_;
    a.alpha = alpha_;
    a.stream = stream_;
    for_some_runs(first, count, [&](const Run* runs, int n) {
      float* const channels = call.result + runs[0].sample * g_.result_voxels() * g_.co;
      for (int64_t co = 0; co < g_.co; ++co) {
        alignas(64) float bias[kGroup];
        a.bias = nullptr;
        if (call.bias != nullptr) {
          std::fill_n(bias, kGroup, call.bias[co]);
          a.bias = bias;
        }
        for (const Run* run = runs; run != runs + n; ++run) {
          const Lattice d = result_lattice(g_, 0, run->phase_d),
                        h = result_lattice(g_, 1, run->phase_h);
          const int64_t plane = run->d * g_.outputs[0];
          a.origin_h = run->h * g_.outputs[1];
          a.extent_h = h.count;
          if (height_alone) {
            a.origin_d = std::exchange(a.origin_h, 0);
            a.extent_d = std::exchange(a.extent_h, 1);
          } else {
            a.origin_d = plane;
            a.extent_d = d.count;
          }
          a.result =
              channels + co * g_.result_voxels() +
              ((d.first + (height_alone ? plane : 0)) * g_.result[1] + h.first) * g_.result[2];
          for_each_piece(*run, 1, false, [&](const Piece& piece) {
            a.origin_w = run->w + piece.tile;
            a.tiles = piece.tiles;
            a.channels = piece.pixels;
            a.m = m + (run->offset + piece.tile) * call.layout.m_tile + co * kGroup;
            kernels_->winograd.output_transform(&a);
          });
        }
      }
    });
  }

  // Writes the lines of a run to a channels-first image.
  void scatter(const float* staging, const Run& run, const Lattice& d, const Lattice& h,
               const WinogradOutputArgs& a, float* image) const {
    const int64_t pixels = int64_t{g_.outputs[2]} * run.tiles, dilation = g_.dilation[2];
    const bool whole = run.phases == dilation;
    const int64_t pieces = whole ? 1 : pixels, length = whole ? pixels * dilation : run.phases;
    const int64_t first = run.w * g_.outputs[2] * dilation + run.phase_w;
    for (int64_t i = 0; i < a.extent_d; ++i)
      for (int64_t j = 0; j < a.extent_h; ++j, staging += pixels * run.phases * kGroup) {
        float* row =
            image + ((d.first + (run.d * g_.outputs[0] + i) * g_.dilation[0]) * g_.result[1] +
                     h.first + (run.h * g_.outputs[1] + j) * g_.dilation[1]) *
                        g_.result[2];
        for (int64_t piece = 0; piece < pieces; ++piece) {
          const int64_t at = first + piece * dilation;
          if (at >= g_.result[2]) break;
          TransposeArgs<float> t{
              staging + piece * length * kGroup,   kGroup,    row + at, g_.result_voxels(),
              std::min(length, g_.result[2] - at), a.channels};
          kernels_->gemm.f32.transpose(&t);
        }
      }
  }

  Geometry g_;
  Blocking b_;
  const KernelTable* kernels_;
  int activation_;
  float alpha_;
  int nr_;
  bool stream_;
  ScratchLedger ledger_;
  int shared_ = -1, block_ = -1, staging_ = -1;
};

class WinogradAlgorithm final : public Algorithm {
 public:
  WinogradAlgorithm(const char* name, TileShape shape) : name_(name), shape_(shape) {}
  const char* name() const override { return name_; }
  const char* family() const override { return "winograd"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext& context) const override {
    if (problem.accuracy == Accuracy::kStrict)
      return "accuracy is 'strict': Winograd rounds more than the direct sum";
    if (context.kernels->winograd.multiply == nullptr)
      return "this instruction set has no Winograd kernels";
    return why_not_geometry(problem, shape_);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return choose_form(problem, shape_, context).seconds;
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    const Form form = choose_form(problem, shape_, context);
    return winograd::prepare(problem, context, form.geometry, form.blocking);
  }

 private:
  const char* name_;
  TileShape shape_;
};

}  // namespace

std::unique_ptr<Prepared> prepare(const Problem& problem, const PlanContext& context,
                                  const Geometry& geometry, const Blocking& blocking) {
  return std::make_unique<WinogradPrepared>(problem, context, geometry, blocking);
}

}  // namespace conv3d::winograd

namespace conv3d {

AlgorithmList winograd_algorithms() {
  using winograd::WinogradAlgorithm;
  // The shapes that win somewhere: cubes; flatter ones for shallow volumes and for the weights of
  // wide layers; planes and columns for kernels that are 1 along some axes.
  static const WinogradAlgorithm f4x4x4("winograd_f4x4x4", {{4, 4, 4}}),
      f3x4x4("winograd_f3x4x4", {{3, 4, 4}}), f2x4x4("winograd_f2x4x4", {{2, 4, 4}}),
      f4x3x3("winograd_f4x3x3", {{4, 3, 3}}), f3x3x3("winograd_f3x3x3", {{3, 3, 3}}),
      f2x3x3("winograd_f2x3x3", {{2, 3, 3}}), f4x2x2("winograd_f4x2x2", {{4, 2, 2}}),
      f2x2x2("winograd_f2x2x2", {{2, 2, 2}}), f1x4x4("winograd_f1x4x4", {{1, 4, 4}}),
      f1x3x3("winograd_f1x3x3", {{1, 3, 3}}), f1x2x2("winograd_f1x2x2", {{1, 2, 2}}),
      f4x4x1("winograd_f4x4x1", {{4, 4, 1}}), f3x3x1("winograd_f3x3x1", {{3, 3, 1}}),
      f2x4x1("winograd_f2x4x1", {{2, 4, 1}}), f2x2x1("winograd_f2x2x1", {{2, 2, 1}}),
      f4x1x4("winograd_f4x1x4", {{4, 1, 4}}), f2x1x2("winograd_f2x1x2", {{2, 1, 2}}),
      f1x4x1("winograd_f1x4x1", {{1, 4, 1}}), f1x2x1("winograd_f1x2x1", {{1, 2, 1}}),
      f1x1x4("winograd_f1x1x4", {{1, 1, 4}}), f1x1x2("winograd_f1x1x2", {{1, 1, 2}}),
      f4x1x1("winograd_f4x1x1", {{4, 1, 1}}), f3x1x1("winograd_f3x1x1", {{3, 1, 1}}),
      f2x1x1("winograd_f2x1x1", {{2, 1, 1}});
  static const Algorithm* const items[] = {&f4x4x4, &f3x4x4, &f2x4x4, &f4x3x3, &f3x3x3, &f2x3x3,
                                           &f4x2x2, &f2x2x2, &f1x4x4, &f1x3x3, &f1x2x2, &f4x4x1,
                                           &f3x3x1, &f2x4x1, &f2x2x1, &f4x1x4, &f2x1x2, &f1x4x1,
                                           &f1x2x1, &f1x1x4, &f1x1x2, &f4x1x1, &f3x1x1, &f2x1x1};
  return {items, static_cast<int>(sizeof items / sizeof items[0])};
}

}  // namespace conv3d
