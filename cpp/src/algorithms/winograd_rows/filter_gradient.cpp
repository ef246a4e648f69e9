// grad_filter row = G^T [ sum over rows and tiles (B^T source row) . (A grad_output row) ]: the
// forward algorithm's adjoint, for any taps, stride and dilation. See README.md.
//
// A unit is a window of rows and tiles over a part of the depth. It walks along the depth:
//   input     new planes of the source, row by row, into the ring U[plane][point][row][ci][tile]
//   gradient  a panel of channels of a plane of grad_output: V[point][row][tile][width]
//   products  per point and depth tap: sums[height tap, ci][width] += sum over rows and tiles of
//             U[row + height tap][ci][tile] * V[row][tile][width]
// Height taps and source channels are rows of the product, because they lie one distance apart in
// the ring. After the last unit, G^T in float64.
//
// Order of sums: a chain of multiply-adds per plane of a unit; those are added in float32, after
// kWideAfter planes in float64, in segments of units that are added pairwise. All of it follows
// from the problem and the machine.
#include "algorithms/winograd_rows/filter_gradient.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "algorithms/winograd_rows/ring.h"
#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::winograd_rows {
namespace {

constexpr int64_t kTiles = 32;                   // of a unit's row
constexpr int64_t kFewRows = 4, kMostRows = 16;  // of a unit's plane
constexpr int64_t kChain = 160;     // tiles: a panel of V for one point takes 10 or 20 KB of an L1
constexpr int64_t kWideAfter = 16;  // planes whose sums are added in float32
constexpr int64_t kPartBytes = 512 << 10;    // of a part's sums
constexpr int64_t kMostWidth = 64;           // of a panel
constexpr int64_t kSegmentBytes = 16 << 20;  // of the sums of the fewest segments together

Problem as_forward(const Problem& problem) {
  Problem p = problem;
  p.direction = Direction::kForward;
  return p;
}

struct GradientBlocking {
  Blocking b;
  int64_t parts;           // of the panels: a work item is a part and a segment
  int64_t segments;        // at most
  ptrdiff_t v_point;       // floats from point to point
  int64_t panel_elements;  // sums of one panel: [point][td][th, ci][width]
};

int64_t rows_of_product(const Geometry& g) { return g.c.h.taps * g.ci; }

bool fits(const Blocking& b, const PlanContext& context) {
  return b.ring_floats <= l2_bytes(*context.cpu) / sizeof(float);
}

GradientBlocking choose_gradient_blocking(const Geometry& g, const PlanContext& context) {
  GradientBlocking x{};
  const int64_t all = std::max<int64_t>(1, g.tiles());
  int64_t tiles = std::max<int64_t>(1, kTiles / g.lattices);
  tiles = ceil_div(all, ceil_div(all, tiles));
  const int64_t outputs = std::max<int64_t>(1, g.c.h.outputs);
  int64_t rows =
      std::clamp<int64_t>(kChain / (tiles * g.lattices), 1, std::min(kMostRows, outputs));
  const auto make = [&] { return make_blocking(g, false, tiles, rows, 1, 1, context); };
  const auto v_point = [&](const Blocking& b) {
    return b.rows * b.tiles * g.lattices * b.width + 16;
  };
  const auto room = static_cast<int64_t>(l2_bytes(*context.cpu) / 2 / sizeof(float));
  while (rows > 1 && static_cast<int64_t>(make().ring_floats) + v_point(make()) * g.points > room)
    --rows;
  rows = ceil_div(outputs, ceil_div(outputs, rows));
  // Enough windows for all threads.
  const int64_t planes = std::max<int64_t>(1, g.c.d.outputs) * ceil_div(all, tiles);
  while (rows > kFewRows && ceil_div(outputs, rows) * planes < 2 * most_segments(*context.cpu))
    --rows;
  x.b = make();
  x.v_point = v_point(x.b);
  x.parts = x.segments = 1;
  if (!fits(x.b, context)) return x;  // nor need anything below fit 64 bits
  x.panel_elements = g.points * g.c.d.taps * rows_of_product(g) * x.b.width;
  const int64_t panel_bytes = x.panel_elements * int64_t{sizeof(float)};
  x.parts = ceil_div(x.b.panels, std::max<int64_t>(1, kPartBytes / panel_bytes));
  const double sums = 2.0 * static_cast<double>(panel_bytes) * static_cast<double>(x.b.panels);
  x.segments = most_segments(*context.cpu);
  while (x.segments > 1 && sums * static_cast<double>(x.segments) >
                               static_cast<double>(segment_bytes(kSegmentBytes, *context.cpu)))
    x.segments /= 2;
  return x;
}

double gradient_error_bound(const Geometry& g, const GradientBlocking& x) {
  Geometry chained = g;
  chained.chain = x.b.rows * x.b.tiles * g.lattices + kWideAfter;
  return error_bound(chained);
}

double estimate_gradient_seconds(const Geometry& g, const GradientBlocking& x,
                                 const PlanContext& context) {
  const Blocking& b = x.b;
  const double lanes = context.kernels->gemm.f32.lanes, clock = hertz(context);
  const double all = static_cast<double>(b.tiles * g.lattices);
  const double planes = static_cast<double>(g.c.d.outputs);
  const double windows =
      static_cast<double>(ceil_div(g.tiles(), b.tiles)) *
      std::ceil(static_cast<double>(g.c.h.outputs) / static_cast<double>(b.rows));
  const double vectors = static_cast<double>(b.panels * b.width) / lanes;
  const double rows = static_cast<double>(rows_of_product(g));
  // Tiles of the product: multiply-adds two a cycle, a load for each row and vector.
  const int64_t nv = b.width / context.kernels->gemm.f32.lanes;
  const double tiles = std::ceil(rows / context.kernels->gemm.f32.strided_rows[nv]);
  const double m = rows / tiles, n = static_cast<double>(nv);
  const double per_k = std::max({m * n / 2, (m + n) / 2, 4.0}) * tiles / 0.9;
  double taps = 0;  // of the depth, that meet the source
  for (int64_t o = 0; o < std::min<int64_t>(g.c.d.outputs, 64); ++o) {
    const int64_t at = o * g.c.d.outputs / std::min<int64_t>(g.c.d.outputs, 64);
    taps += static_cast<double>(std::max<int64_t>(0, g.c.d.tap_end(at) - g.c.d.tap_begin(at)));
  }
  taps /= static_cast<double>(std::clamp<int64_t>(g.c.d.outputs, 1, 64));
  const double k = static_cast<double>(b.rows) * all;
  // Each product ends with its sums to memory and begins with some 30 cycles.
  const double products =
      g.points * taps * static_cast<double>(b.panels) * (k * per_k + 3 * rows * n + 30 * tiles);
  const double gradient = k * vectors * (2.0 * g.points + (g.channels_first ? 6.0 : 3.0) * g.m);
  const double planes_new =
      std::min(static_cast<double>(g.c.d.taps), static_cast<double>(g.c.d.stride)) +
      static_cast<double>(g.c.d.taps * g.c.d.dilation) / std::max(planes, 1.0);
  const double input = static_cast<double>(b.source_rows) * planes_new *
                       static_cast<double>(g.ci * x.parts) * std::ceil(all / lanes) *
                       (5.0 * g.points + 6.0 * static_cast<double>(g.period) / g.lattices);
  // Sums are cleared, widened and added by segment, and go to memory and back; then G^T.
  const double elements = static_cast<double>(x.panel_elements) * static_cast<double>(b.panels);
  const double sums = elements * (5.0 * static_cast<double>(x.segments) +
                                  2.0 * planes * windows / kWideAfter + 2.0);
  const double cycles =
      planes * windows * (products + (gradient + input) * transform_share(context));
  const double source = static_cast<double>(g.source_voxels * g.ci) * 4,
               result = static_cast<double>(g.result_voxels * g.co) * 4;
  // Few items leave threads idle, of which there are some.
  const double idle = std::max(1.0, 4.0 / static_cast<double>(x.segments * x.parts));
  return idle * (cycles / clock + sums / kClock) +
         stream_seconds(source * static_cast<double>(x.parts), source, *context.cpu) +
         stream_seconds(result, result, *context.cpu) + 3 * kCallSeconds;
}

class RowsGradientPrepared final : public FilterlessPrepared {
 public:
  RowsGradientPrepared(const Problem& problem, const PlanContext& context, int m)
      : problem_(problem),
        g_(make_geometry(as_forward(problem), m)),
        x_(choose_gradient_blocking(g_, context)),
        kernels_(context.kernels),
        seconds_(estimate_gradient_seconds(g_, x_, context)) {
    const auto book = [&](const char* name, int64_t count, int64_t elements, size_t size,
                          bool per_thread) {
      return ledger_.book(
          name,
          checked_bytes({count, elements, static_cast<int64_t>(size)}, "the Winograd workspace"),
          per_thread);
    };
    const Blocking& b = x_.b;
    ring_ = book("winograd_rows ring", 1, static_cast<int64_t>(b.ring_floats), sizeof(float), true);
    v_ = book("winograd_rows gradient", g_.points, x_.v_point, sizeof(float), true);
    scratch_ =
        book("winograd_rows row", 1, static_cast<int64_t>(b.scratch_floats), sizeof(float), true);
    stage_ =
        book("winograd_rows staging", 1, static_cast<int64_t>(b.stage_floats), sizeof(float), true);
    rows_ = book("winograd_rows pointers", b.rows, 1, sizeof(float*) + sizeof(ptrdiff_t), true);
    sums_ = book("winograd_rows sums", ceil_div(b.panels, x_.parts), x_.panel_elements,
                 sizeof(float), true);
    wide_ = book("winograd_rows wide sums", x_.segments * b.panels, x_.panel_elements,
                 sizeof(double), false);
  }

  const ScratchLedger& ledger() const override { return ledger_; }
  std::string detail() const override {
    return "winograd_rows_gradient" + g_.tile_names() + ", blocks of " + std::to_string(x_.b.rows) +
           " rows of " + std::to_string(x_.b.tiles * g_.lattices) + " tiles";
  }
  double error_bound() const override { return gradient_error_bound(g_, x_); }
  int useful_threads() const override { return threads_that_pay(seconds_); }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;

 private:
  struct Unit {
    int64_t sample, depth, depth_end;
    Window window;
  };
  // What a thread works in, and the sums that it adds to.
  struct Thread {
    float *ring, *v, *scratch, *stage, *sums;
    const float** u;
    ptrdiff_t* rows;
    double* wide;
    int64_t added;  // planes whose sums are in `sums`
  };

  void run(const Buffers& buffers, const Unit& unit, const Range& panels, Thread* t) const;
  void transform_gradient(const float* grad_output, const Unit& unit, int64_t plane, int64_t panel,
                          const Thread& t) const;
  void multiply(const Unit& unit, int64_t plane, const Range& taps, float* sums,
                const Thread& t) const;
  void widen(int64_t elements, Thread* t) const;
  void write_taps(const double* sums, float* filter, ThreadPool& pool, int threads) const;

  Problem problem_;
  Geometry g_;
  GradientBlocking x_;
  const KernelTable* kernels_;
  double seconds_;
  ScratchLedger ledger_;
  int ring_, v_, scratch_, stage_, rows_, sums_, wide_;
};

void RowsGradientPrepared::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                                   int threads) const {
  if (problem_.filter_elements() == 0) return;
  const Blocking& b = x_.b;
  const int64_t tile_blocks = ceil_div(g_.tiles(), b.tiles),
                row_blocks = ceil_div(g_.c.h.outputs, b.rows),
                windows = buffers.batch * tile_blocks * row_blocks;
  // Parts of the depth transform their first planes anew: only for segments of two units or so, and
  // for as many units in each.
  const auto parts_of = [&](int64_t wanted) {
    return std::clamp<int64_t>(ceil_div(wanted, std::max<int64_t>(1, windows)), 1,
                               std::max<int64_t>(1, g_.c.d.outputs));
  };
  int64_t depths = parts_of(2 * x_.segments);
  const auto unevenness = [&](int64_t parts) {
    const int64_t count = std::max<int64_t>(1, windows * parts);
    return static_cast<double>(ceil_div(count, x_.segments) * x_.segments) /
           static_cast<double>(count);
  };
  for (int64_t more = depths; more <= parts_of(4 * x_.segments); ++more)
    if (unevenness(more) < unevenness(depths) - 0.1) depths = more;
  const int64_t units = g_.result_voxels == 0 ? 0 : windows * depths;
  int64_t segments = 1;
  while (segments * 2 <= std::min(x_.segments, units)) segments *= 2;
  const int64_t elements = x_.panel_elements * b.panels;
  double* const wide = scratch.get<double>(wide_);

  pool.parallel_for(segments * x_.parts, 1, threads, [&](int64_t begin, int64_t end, int id) {
    Thread t{};
    t.ring = scratch.get<float>(ring_, id);
    t.v = scratch.get<float>(v_, id);
    t.scratch = scratch.get<float>(scratch_, id);
    t.stage = scratch.get<float>(stage_, id);
    t.sums = scratch.get<float>(sums_, id);
    t.u = scratch.get<const float*>(rows_, id);
    t.rows = reinterpret_cast<ptrdiff_t*>(t.u + b.rows);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t segment = index / x_.parts;
      const Range panels = piece(b.panels, index % x_.parts, x_.parts);
      const int64_t of_part = panels.size() * x_.panel_elements;
      t.wide = wide + segment * elements + panels.begin * x_.panel_elements;
      std::fill_n(t.wide, of_part, 0.0);
      std::fill_n(t.sums, of_part, 0.0f);
      t.added = 0;
      const Range range = piece(units, segment, segments);
      for (int64_t i = range.begin; i < range.end; ++i) {
        Unit unit{};
        const int64_t depth = i % depths, row = i / depths % row_blocks,
                      tile = i / depths / row_blocks % tile_blocks * b.tiles;
        unit.sample = i / depths / row_blocks / tile_blocks;
        unit.depth = g_.c.d.outputs * depth / depths;
        unit.depth_end = g_.c.d.outputs * (depth + 1) / depths;
        unit.window.row = g_.c.h.outputs * row / row_blocks;
        unit.window.rows = g_.c.h.outputs * (row + 1) / row_blocks - unit.window.row;
        unit.window.column = tile * g_.m * g_.lattices;
        unit.window.tiles = std::min(b.tiles, g_.tiles() - tile);
        run(buffers, unit, panels, &t);
      }
      if (t.added > 0) widen(of_part, &t);
    }
  });
  sum_segments(
      elements, segments, pool, threads, [&](int64_t s) { return wide + s * elements; },
      kernels_->gemm.f64.add);
  write_taps(wide, static_cast<float*>(buffers.result), pool, threads);
}

void RowsGradientPrepared::run(const Buffers& buffers, const Unit& unit, const Range& panels,
                               Thread* t) const {
  const float* const source =
      static_cast<const float*>(buffers.input) + unit.sample * g_.source_voxels * g_.ci;
  const float* const grad_output =
      static_cast<const float*>(buffers.grad_output) + unit.sample * g_.result_voxels * g_.co;
  clear_outside(g_, x_.b, unit.window, t->ring);
  walk_depth(
      g_, unit.depth, unit.depth_end,
      [&](int64_t plane) {
        transform_plane(g_, x_.b, *kernels_, source, plane, unit.window, t->ring, t->scratch);
      },
      [&](int64_t o, int64_t tap_begin, int64_t tap_end) {
        if (tap_begin >= tap_end) return;
        for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
          transform_gradient(grad_output, unit, o, panel, *t);
          multiply(unit, o, {tap_begin, tap_end},
                   t->sums + (panel - panels.begin) * x_.panel_elements, *t);
        }
        if (++t->added == kWideAfter) widen(panels.size() * x_.panel_elements, t);
      });
}

// V of the rows of a window's plane.
void RowsGradientPrepared::transform_gradient(const float* grad_output, const Unit& unit,
                                              int64_t plane, int64_t panel, const Thread& t) const {
  const PhaseTimer timer(Phase::kTransform);
  const Window& window = unit.window;
  const int64_t first = panel * x_.b.width;
  RowsGradientArgs a{};
  a.outputs = g_.m;
  a.lattices = g_.lattices;
  a.tiles = static_cast<int>(window.tiles);
  a.pixels = std::min(window.tiles * g_.m * g_.lattices, g_.c.w.outputs - window.column);
  a.segments = static_cast<int>(g_.segments.size());
  a.segment = g_.segments.data();
  a.channels = static_cast<int>(std::min(x_.b.width, g_.co - first));
  a.vectors = static_cast<int>(x_.b.width / kernels_->gemm.f32.lanes);
  a.point_stride = x_.v_point;
  for (int64_t row = 0; row < window.rows; ++row) {
    const int64_t pixel =
        plane * g_.result_plane + (window.row + row) * g_.result_row + window.column;
    a.v = t.v + row * window.tiles * g_.lattices * x_.b.width;
    if (g_.channels_first) {
      const TransposeArgs<float> move{grad_output + first * g_.result_voxels + pixel,
                                      g_.result_voxels,
                                      t.stage,
                                      x_.b.width,
                                      a.channels,
                                      a.pixels};
      kernels_->gemm.f32.transpose(&move);
      a.source = t.stage;
      a.pixel_stride = x_.b.width;
    } else {
      a.source = grad_output + pixel * g_.co + first;
      a.pixel_stride = g_.co;
    }
    kernels_->winograd_rows.gradient(&a);
  }
}

// sums[point][td][th, ci][width] of one panel, for the depth taps `taps`.
void RowsGradientPrepared::multiply(const Unit& unit, int64_t plane, const Range& taps, float* sums,
                                    const Thread& t) const {
  const PhaseTimer timer(Phase::kMultiply);
  const implicit_gemm::AxisTaps &d = g_.c.d, &h = g_.c.h;
  const Blocking& b = x_.b;
  const int64_t rows = rows_of_product(g_), all = unit.window.tiles * g_.lattices;
  GemmTapArgs<float> a{};
  a.rows = rows;
  a.columns = static_cast<int>(b.width);
  a.vectors = static_cast<int>(b.width / kernels_->gemm.f32.lanes);
  a.groups = static_cast<int>(unit.window.rows);
  a.taps = 1;
  a.k = all;
  a.a = t.u;
  a.a_row = b.padded_tiles;
  a.b_group = t.rows;
  a.c_row = b.width;
  a.finish.load_c = 1;
  for (int64_t row = 0; row < unit.window.rows; ++row) t.rows[row] = row * all * b.width;
  for (int64_t td = taps.begin; td < taps.end; ++td) {
    const float* const ring =
        t.ring + ring_plane(g_, b, plane * d.stride + d.origin + td * d.dilation);
    for (int64_t row = 0; row < unit.window.rows; ++row)
      t.u[row] = ring + ring_row(g_, b, row * h.stride) * g_.ci * b.padded_tiles;
    for (int p = 0; p < g_.points; ++p) {
      a.a_offset = p * b.point_stride;
      a.b = t.v + p * x_.v_point;
      a.c0 = sums + (p * d.taps + td) * rows * b.width;
      kernels_->gemm.f32.taps_strided(&a);
    }
  }
}

void RowsGradientPrepared::widen(int64_t elements, Thread* t) const {
  kernels_->winograd_gradient.widen(t->wide, t->sums, elements, 1);
  std::fill_n(t->sums, elements, 0.0f);
  t->added = 0;
}

void RowsGradientPrepared::write_taps(const double* sums, float* filter, ThreadPool& pool,
                                      int threads) const {
  const int64_t width = x_.b.width, rows = rows_of_product(g_), taps = g_.c.w.taps;
  CONV3D_ASSERT(width <= kMostWidth);
  const int64_t point = g_.c.d.taps * rows * width;
  pool.parallel_for(g_.c.d.taps * rows, 4, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      // (td, th) and a source channel; taps along the width lie between them in the filter.
      float* const to = filter + (i / g_.ci * taps * g_.ci + i % g_.ci) * g_.co;
      for (const RowsSegment& s : g_.segments) {
        const double* const matrix = s.taps == 1 ? nullptr : filter_matrix(g_.m, s.taps);
        for (int tap = 0; tap < s.taps; ++tap) {
          float* const of_tap = to + (s.first + tap * g_.step) * g_.ci * g_.co;
          for (int64_t panel = 0; panel < x_.b.panels; ++panel) {
            const double* const from =
                sums + panel * x_.panel_elements + s.point * point + i * width;
            double sum[kMostWidth] = {};
            for (int p = 0; p < s.points; ++p) {
              const double weight = matrix == nullptr ? 1.0 : matrix[p * s.taps + tap];
              for (int64_t c = 0; c < width; ++c) sum[c] += weight * from[p * point + c];
            }
            const int64_t channels = std::min(width, g_.co - panel * width);
            for (int64_t c = 0; c < channels; ++c)
              of_tap[panel * width + c] = static_cast<float>(sum[c]);
          }
        }
      }
    }
  });
}

class RowsGradientAlgorithm final : public Algorithm {
 public:
  RowsGradientAlgorithm(const char* name, int m) : name_(name), m_(m) {}
  const char* name() const override { return name_; }
  const char* family() const override { return "winograd_rows"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext& context) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter only";
    if (problem.accuracy == Accuracy::kStrict)
      return "accuracy is 'strict': Winograd rounds more than the direct sum";
    const std::string reason = why_not_geometry(as_forward(problem), m_);
    if (!reason.empty()) return reason;
    const Geometry g = make_geometry(as_forward(problem), m_);
    const GradientBlocking x = choose_gradient_blocking(g, context);
    if (!fits(x.b, context)) return "has more channels than a core's cache holds rows of";
    return {};
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    const Geometry g = make_geometry(as_forward(problem), m_);
    return estimate_gradient_seconds(g, choose_gradient_blocking(g, context), context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return std::make_unique<RowsGradientPrepared>(problem, context, m_);
  }

 private:
  const char* name_;
  int m_;
};

}  // namespace
}  // namespace conv3d::winograd_rows

namespace conv3d {

AlgorithmList winograd_rows_gradient_algorithms() {
  using winograd_rows::RowsGradientAlgorithm;
  static const RowsGradientAlgorithm m4("winograd_rows_gradient_m4", 4),
      m2("winograd_rows_gradient_m2", 2);
  static const Algorithm* const items[] = {&m4, &m2};
  return {items, static_cast<int>(sizeof items / sizeof items[0])};
}

}  // namespace conv3d
