// Winograd along the width: result row = A^T [ sum over td, th, ci of (G g) . (B^T source row) ].
// See README.md.
//
// A work item is a block of rows of results (all planes of the depth, or a part of them) and of
// tiles of the width. It walks along the depth:
//   input     new planes of the source, row by row, into the ring U[plane][point][row][ci][tile]
//   products  per point and panel: C[tile][channel] = sum over td, th, ci U[..][tile]
//   W[..][channel] output    A^T, bias, activation, into the result
// with the sizes of blocking.h.

#include "algorithms/winograd_rows/winograd_rows.h"

#include <algorithm>
#include <cstdio>

#include "algorithms/machine_rates.h"
#include "algorithms/winograd_rows/filter.h"
#include "algorithms/winograd_rows/ring.h"
#include "base/math.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::winograd_rows {
namespace {

// The taps of one chunk that one row of results meets.
struct Sum {
  int groups;  // of the pointers from `first`
  int64_t first, k;
};

class RowsPrepared final : public Prepared {
 public:
  RowsPrepared(const Problem& problem, const PlanContext& context, int m, const Blocking& blocking)
      : problem_(problem),
        g_(make_geometry(problem, m)),
        b_(blocking),
        kernels_(context.kernels),
        seconds_(estimate_seconds(g_, b_, context)) {
    for (const Chunk& chunk : g_.chunks) pointers_ += chunk.depth_end - chunk.depth;
    pointers_ *= b_.rows;
    ring_ = book("winograd_rows ring", b_.ring_floats);
    products_ = book("winograd_rows products", b_.c_floats);
    scratch_ = book("winograd_rows row", b_.scratch_floats);
    stage_ = book("winograd_rows staging", b_.stage_floats);
    table_ = ledger_.book("winograd_rows pointers",
                          checked_bytes({pointers_, 2, sizeof(float*)}, "pointers"), true);
    sums_ = ledger_.book(
        "winograd_rows sums",
        checked_bytes({b_.rows, static_cast<int64_t>(g_.chunks.size()), sizeof(Sum)}, "sums"),
        true);
    // Streaming stores pay when the result would only pass through the caches.
    stream_ = g_.result_voxels * g_.co * 4 > static_cast<int64_t>(context.cpu->l3_bytes / 3);
  }

  size_t packed_filter_bytes() const override {
    return checked_bytes({static_cast<int64_t>(packed_filter_floats(g_, b_)), sizeof(float)},
                         "the packed filter");
  }
  std::string packed_filter_format() const override {
    char text[128];
    std::snprintf(text, sizeof text, "winograd_rows m%d k%lldx%lldx%lld step%d%s width%lld", g_.m,
                  static_cast<long long>(g_.c.d.taps), static_cast<long long>(g_.c.h.taps),
                  static_cast<long long>(g_.c.w.taps), g_.step, g_.backward ? " flipped" : "",
                  static_cast<long long>(b_.width));
    return text;
  }
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override {
    winograd_rows::pack_filter(g_, b_, problem_, static_cast<const float*>(filter),
                               static_cast<float*>(packed), pool, threads);
  }
  const ScratchLedger& ledger() const override { return ledger_; }
  std::string detail() const override {
    char sizes[96];
    std::snprintf(sizes, sizeof sizes, ", blocks of %lld rows of %lld tiles, lanes along the %s",
                  static_cast<long long>(b_.rows), static_cast<long long>(b_.tiles * g_.lattices),
                  b_.lanes_along_tiles ? "tiles" : "channels");
    return "winograd_rows" + g_.tile_names() + sizes;
  }
  double error_bound() const override { return winograd_rows::error_bound(g_); }
  int useful_threads() const override { return threads_that_pay(seconds_); }

  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override {
    Call call;
    call.source = static_cast<const float*>(g_.backward ? buffers.grad_output : buffers.input);
    call.packed = static_cast<const float*>(buffers.packed_filter);
    call.bias = static_cast<const float*>(buffers.bias);
    call.result = static_cast<float*>(buffers.result);
    if (g_.result_voxels == 0 || g_.co == 0) return;
    const int64_t tile_blocks = ceil_div(g_.tiles(), b_.tiles), lines = buffers.batch * tile_blocks;
    int64_t row_blocks = ceil_div(g_.c.h.outputs, b_.rows);
    // Few items: as many for each thread.
    while (row_blocks < g_.c.h.outputs && lines * row_blocks < int64_t{8} * threads &&
           lines * row_blocks % threads != 0)
      ++row_blocks;
    const int64_t columns = lines * row_blocks;
    // Parts of the depth, each of which transforms its first planes anew: as many as make threads
    // finish together where that is little, and wherever threads would be idle.
    const int64_t planes = std::max<int64_t>(1, g_.c.d.outputs);
    const auto wanted = [&](int64_t items) {
      return ceil_div(items, std::max<int64_t>(1, columns));
    };
    const int64_t cheap = planes / (8 * g_.c.d.taps);
    const int64_t parts = std::clamp<int64_t>(
        std::max(std::min(wanted(int64_t{3} * threads), cheap), wanted(threads)), 1, planes);
    pool.parallel_for(columns * parts, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      Thread t;
      t.ring = scratch.get<float>(ring_, thread);
      t.c = scratch.get<float>(products_, thread);
      t.scratch = scratch.get<float>(scratch_, thread);
      t.stage = scratch.get<float>(stage_, thread);
      t.u = scratch.get<const float*>(table_, thread);
      t.w = t.u + pointers_;
      t.sums = scratch.get<Sum>(sums_, thread);
      for (int64_t i = begin; i < end; ++i) {
        Item item;
        const int64_t part = i % parts, block = i / parts % row_blocks;
        const int64_t tile_block = i / parts / row_blocks % tile_blocks;
        item.sample = i / parts / row_blocks / tile_blocks;
        item.depth = g_.c.d.outputs * part / parts;
        item.depth_end = g_.c.d.outputs * (part + 1) / parts;
        item.row = g_.c.h.outputs * block / row_blocks;
        item.rows = g_.c.h.outputs * (block + 1) / row_blocks - item.row;
        const int64_t tile = tile_block * b_.tiles;
        item.tiles = std::min(b_.tiles, g_.tiles() - tile);
        item.column = tile * g_.m * g_.lattices;
        item.columns = std::min(item.tiles * g_.m * g_.lattices, g_.c.w.outputs - item.column);
        run(call, item, &t);
      }
    });
  }

 private:
  struct Call {
    const float *source, *packed, *bias;
    float* result;
  };
  struct Item {
    int64_t sample, depth, depth_end, row, rows, tiles;
    int64_t column, columns;  // of the results
  };
  // Rows of an item and panels whose products are kept together.
  struct Part {
    int64_t row, row_end, panel, panel_end;
  };
  struct Thread {
    float *ring, *c, *scratch, *stage;
    const float **u, **w;
    Sum* sums;
  };

  int book(const char* name, size_t floats) {
    return ledger_.book(
        name, checked_bytes({static_cast<int64_t>(floats), sizeof(float)}, "scratch"), true);
  }

  void run(const Call& call, const Item& item, Thread* t) const {
    walk_depth(
        g_, item.depth, item.depth_end, [&](int64_t plane) { transform(call, item, plane, t); },
        [&](int64_t o, int64_t tap_begin, int64_t tap_end) {
          find_sums(call, item, o, tap_begin, tap_end, t);
          for (int64_t row = 0; row < item.rows; row += b_.c_rows)
            for (int64_t panel = 0; panel < b_.panels; panel += b_.group) {
              const Part part{row, std::min(item.rows, row + b_.c_rows), panel,
                              std::min(b_.panels, panel + b_.group)};
              multiply(item, part, t);
              if (b_.lanes_along_tiles) {
                output_tiles(call, item, o, part, t);
              } else {
                output_channels(call, item, o, part, t);
              }
            }
        });
  }

  void transform(const Call& call, const Item& item, int64_t plane, Thread* t) const {
    transform_plane(g_, b_, *kernels_, call.source + item.sample * g_.source_voxels * g_.ci, plane,
                    {item.row, item.rows, item.column, item.tiles}, t->ring, t->scratch);
  }

  void find_sums(const Call& call, const Item& item, int64_t o, int64_t depth_begin,
                 int64_t depth_end, Thread* t) const {
    const implicit_gemm::AxisTaps &d = g_.c.d, &h = g_.c.h;
    int64_t next = 0;
    Sum* sum = t->sums;
    for (int64_t row = 0; row < item.rows; ++row) {
      const int64_t height_begin = h.tap_begin(item.row + row),
                    height_end = h.tap_end(item.row + row);
      for (const Chunk& chunk : g_.chunks) {
        const int64_t first = std::max(chunk.height, height_begin),
                      last = std::min(chunk.height_end, height_end);
        *sum = {0, next, (last - first) * (chunk.ci_end - chunk.ci)};
        if (first < last) {
          for (int64_t td = std::max(chunk.depth, depth_begin);
               td < std::min(chunk.depth_end, depth_end); ++td, ++next, ++sum->groups) {
            t->u[next] =
                t->ring + ring_plane(g_, b_, o * d.stride + d.origin + td * d.dilation) +
                (ring_row(g_, b_, row * h.stride + first * h.dilation) * g_.ci + chunk.ci) *
                    b_.padded_tiles;
            t->w[next] = call.packed + ((td * h.taps + first) * g_.ci + chunk.ci) * b_.width;
          }
        }
        ++sum;
      }
    }
  }

  float* products(Thread* t, const Part& part, int64_t panel, int64_t row) const {
    return t->c + ((panel - part.panel) * b_.c_rows + row - part.row) * b_.c_row_block;
  }

  void multiply(const Item& item, const Part& part, Thread* t) const {
    const PhaseTimer timer(Phase::kMultiply);
    const int lanes = kernels_->gemm.f32.lanes;
    const int64_t chunks = static_cast<int64_t>(g_.chunks.size()), k = g_.k();
    const int64_t whole = (g_.lattices - 1) * item.tiles + ceil_div(item.tiles, lanes) * lanes;
    RowsMultiplyArgs a{};
    a.c_row = b_.lanes_along_tiles ? b_.padded_tiles : b_.width;
    for (int p = 0; p < g_.points; ++p)
      for (int64_t panel = part.panel; panel < part.panel_end; ++panel) {
        const int64_t channels = std::min(b_.width, g_.co - panel * b_.width);
        const ptrdiff_t u = p * b_.point_stride, w = (p * b_.panels + panel) * k * b_.width;
        for (int64_t chunk = 0; chunk < chunks; ++chunk)
          for (int64_t row = part.row; row < part.row_end; ++row) {
            const Sum* const of_row = t->sums + row * chunks;
            const Sum& sum = of_row[chunk];
            a.c = products(t, part, panel, row) + p * b_.c_point;
            a.load_c = 0;
            for (int64_t before = 0; before < chunk; ++before)
              a.load_c |= of_row[before].groups > 0;
            // The first chunk also clears what no tap adds to.
            if (sum.groups == 0 && (a.load_c != 0 || chunk + 1 < chunks)) continue;
            a.groups = sum.groups;
            a.k = sum.k;
            if (b_.lanes_along_tiles) {
              a.rows = channels;
              a.vectors = static_cast<int>(ceil_div(whole, lanes));
              a.a = t->w + sum.first;
              a.a_k = b_.width;
              a.a_offset = w;
              a.b = t->u + sum.first;
              a.b_k = b_.padded_tiles;
              a.b_offset = u;
              kernels_->winograd_rows.multiply_tiles(&a);
            } else {
              a.rows = item.tiles * g_.lattices;
              a.vectors = static_cast<int>(ceil_div(channels, lanes));
              a.a = t->u + sum.first;
              a.a_k = b_.padded_tiles;
              a.a_offset = u;
              a.b = t->w + sum.first;
              a.b_k = b_.width;
              a.b_offset = w;
              kernels_->winograd_rows.multiply_channels(&a);
            }
          }
      }
  }

  RowsOutputArgs output_args(const Item& item) const {
    RowsOutputArgs a{};
    a.point_stride = b_.c_point;
    a.c_row = b_.lanes_along_tiles ? b_.padded_tiles : b_.width;
    a.outputs = g_.m;
    a.lattices = g_.lattices;
    a.tiles = static_cast<int>(item.tiles);
    a.segments = static_cast<int>(g_.segments.size());
    a.segment = g_.segments.data();
    a.pixels = item.columns;
    a.activation = static_cast<int>(problem_.activation);
    a.alpha = static_cast<float>(problem_.leaky_relu_alpha);
    return a;
  }
  // The first pixel of the item in a row of results, first channel.
  float* result_row(const Call& call, const Item& item, int64_t o, int64_t row) const {
    const int64_t pixel = o * g_.result_plane + (item.row + row) * g_.result_row + item.column;
    return call.result + item.sample * g_.result_voxels * g_.co +
           pixel * (g_.channels_first ? 1 : g_.co);
  }

  void output_channels(const Call& call, const Item& item, int64_t o, const Part& part,
                       Thread* t) const {
    const PhaseTimer timer(Phase::kInverse);
    const int lanes = kernels_->gemm.f32.lanes;
    RowsOutputArgs a = output_args(item);
    for (int64_t row = part.row; row < part.row_end; ++row) {
      float* const result = result_row(call, item, o, row);
      for (int64_t panel = part.panel; panel < part.panel_end; ++panel) {
        const int64_t channel = panel * b_.width;
        a.c = products(t, part, panel, row);
        a.channels = static_cast<int>(std::min(b_.width, g_.co - channel));
        a.bias = call.bias == nullptr ? nullptr : call.bias + channel;
        if (!g_.channels_first) {
          a.result = result + channel;
          a.pixel_stride = g_.co;
          // Whole lines only: those of a pixel, or of neighbours that are written in order.
          const bool whole = g_.co * 4 % 64 == 0 && a.channels * 4 % 64 == 0;
          const bool dense = g_.co == lanes && g_.lattices == 1;
          a.stream = stream_ && (whole || dense) && reinterpret_cast<uintptr_t>(a.result) % 64 == 0;
          kernels_->winograd_rows.output_channels(&a);
          continue;
        }
        a.result = t->stage;
        a.pixel_stride = b_.width;
        kernels_->winograd_rows.output_channels(&a);
        const TransposeArgs<float> move{
            t->stage,         b_.width,     result + channel * g_.result_voxels,
            g_.result_voxels, item.columns, a.channels,
            stream_ ? 1 : 0};
        kernels_->gemm.f32.transpose(&move);
      }
    }
  }

  void output_tiles(const Call& call, const Item& item, int64_t o, const Part& part,
                    Thread* t) const {
    const PhaseTimer timer(Phase::kInverse);
    RowsOutputArgs a = output_args(item);
    a.row_stride = b_.stage_pixels;
    const int64_t first = part.panel * b_.width,
                  channels = std::min(part.panel_end * b_.width, g_.co) - first;
    for (int64_t row = part.row; row < part.row_end; ++row) {
      for (int64_t panel = part.panel; panel < part.panel_end; ++panel) {
        const int64_t channel = panel * b_.width;
        a.c = products(t, part, panel, row);
        a.channels = static_cast<int>(std::min(b_.width, g_.co - channel));
        a.bias = call.bias == nullptr ? nullptr : call.bias + channel;
        a.result = t->stage + (channel - first) * b_.stage_pixels;
        kernels_->winograd_rows.output_tiles(&a);
      }
      float* const result = result_row(call, item, o, row);
      if (g_.channels_first) {
        for (int64_t i = 0; i < channels; ++i)
          kernels_->winograd_rows.copy(t->stage + i * b_.stage_pixels,
                                       result + (first + i) * g_.result_voxels, item.columns,
                                       stream_ ? 1 : 0);
      } else {
        const TransposeArgs<float> move{t->stage, b_.stage_pixels, result + first,
                                        g_.co,    channels,        item.columns};
        kernels_->gemm.f32.transpose(&move);
      }
    }
  }

  Problem problem_;
  Geometry g_;
  Blocking b_;
  const KernelTable* kernels_;
  double seconds_;
  bool stream_;
  int64_t pointers_ = 0;
  ScratchLedger ledger_;
  int ring_ = -1, products_ = -1, scratch_ = -1, stage_ = -1, table_ = -1, sums_ = -1;
};

class RowsAlgorithm final : public Algorithm {
 public:
  RowsAlgorithm(const char* name, int m) : name_(name), m_(m) {}
  const char* name() const override { return name_; }
  const char* family() const override { return "winograd_rows"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.accuracy == Accuracy::kStrict)
      return "accuracy is 'strict': Winograd rounds more than the direct sum";
    return why_not_geometry(problem, m_);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    const Geometry geometry = make_geometry(problem, m_);
    return estimate_seconds(geometry, choose_blocking(geometry, context), context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return winograd_rows::prepare(problem, context, m_,
                                  choose_blocking(make_geometry(problem, m_), context));
  }

 private:
  const char* name_;
  int m_;
};

}  // namespace

std::unique_ptr<Prepared> prepare(const Problem& problem, const PlanContext& context, int m,
                                  const Blocking& blocking) {
  return std::make_unique<RowsPrepared>(problem, context, m, blocking);
}

}  // namespace conv3d::winograd_rows

namespace conv3d {

AlgorithmList winograd_rows_algorithms() {
  using winograd_rows::RowsAlgorithm;
  static const RowsAlgorithm m4("winograd_rows_m4", 4), m6("winograd_rows_m6", 6),
      m2("winograd_rows_m2", 2);
  static const Algorithm* const items[] = {&m4, &m6, &m2};
  return {items, static_cast<int>(sizeof items / sizeof items[0])};
}

}  // namespace conv3d
