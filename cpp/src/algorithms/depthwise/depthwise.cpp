// Forward and backward_input of depthwise convolutions, channels last:
//
//   result[o][c] = act(bias[c] + sum over taps t of source[o * stride + origin + t * dilation][c] *
//                                                   filter[t][c])
//
// The geometry is that of implicit_gemm/correlation.h: forward is one correlation, backward_input
// one per phase of the strides.
//
//   work item   some rows of a plane, or a piece of one row
//   order       a strip of results, down the rows of the item, then the next strip: the windows of
//               neighbouring rows overlap, and a strip's stay in L2
//   filter      packed as [part][kd kh][kw][channels, padded to vectors]
//
// Order of sums: taps in order, one chain of multiply-adds. Nothing else enters it.
#include "algorithms/depthwise/depthwise.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "algorithms/implicit_gemm/correlation.h"
#include "algorithms/implicit_gemm/unreached.h"
#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d {
namespace depthwise {
namespace {

using implicit_gemm::Correlation;
using implicit_gemm::CorrelationProblem;
using implicit_gemm::TapClass;

// A strip's windows of a 3x3x3 filter take some 150 KB of L2 at most. Strips whose windows fit L1
// gained nothing: calls of the kernel got too short.
constexpr int64_t kStrip = 32, kStripChannels = 128;
constexpr int64_t kMostRows = 64;           // of an item
constexpr int64_t kItemElements = 1 << 15;  // of the result: 10 microseconds

// Results of a row that one kernel call may compute.
struct Run {
  TapClass taps;
  bool lacks_first, lacks_last;  // the first result its first tap, the last its last
};

struct Part {
  Correlation c;
  std::vector<Run> runs;  // of a row
  int64_t packed;         // offset of its filter
  int64_t block_rows, row_blocks, block_columns, column_blocks;
  int64_t groups;  // (d, h) taps
};

// The classes of a row of results; where the kernel slides, the inner one with its neighbours.
std::vector<Run> runs_of(const implicit_gemm::AxisTaps& w) {
  std::vector<Run> runs;
  const bool sliding = w.taps == 3 && w.stride == w.dilation;
  for (const TapClass& taps : implicit_gemm::tap_classes(w, 0, w.outputs)) {
    if (sliding && !runs.empty()) {
      Run& before = runs.back();
      const TapClass& t = before.taps;
      const bool whole = taps.tap_begin == 0 && taps.tap_end == 3;
      if (whole && t.tap_begin == 1 && t.tap_end == 3 && t.end - t.begin == 1) {
        before = {{t.begin, taps.end, 0, 3}, true, false};
        continue;
      }
      if (taps.tap_begin == 0 && taps.tap_end == 2 && taps.end - taps.begin == 1 &&
          t.tap_begin == 0 && t.tap_end == 3) {
        before.taps.end = taps.end;
        before.lacks_last = true;
        continue;
      }
    }
    runs.push_back({taps, false, false});
  }
  return runs;
}

template <class T>
class DepthwisePrepared final : public Prepared {
 public:
  DepthwisePrepared(const Problem& problem, const PlanContext& context);

  size_t packed_filter_bytes() const override {
    return checked_bytes({packed_elements_, sizeof(T)}, "the packed filter");
  }
  std::string packed_filter_format() const override;
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override;
  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override {
    return "depthwise_taps, strips of " + std::to_string(kStrip) + " results, " +
           std::to_string(parts_.size()) + (parts_.size() == 1 ? " phase" : " phases");
  }
  // A chain of n multiply-adds.
  double error_bound() const override {
    const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
    return unit * static_cast<double>(std::max<int64_t>(1, p_.kd * p_.kh * p_.kw) + 1);
  }
  int useful_threads() const override { return threads_that_pay(seconds_); }

 private:
  struct Rows {
    int64_t sample, d, row, row_end, column, column_end;
  };
  void run_item(const Part& part, const Rows& rows, const Buffers& buffers, const T** a,
                ptrdiff_t* b_group) const;

  const Problem p_;
  const DepthwiseKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  const CorrelationProblem correlation_;
  const int64_t channels_, padded_;
  const double seconds_;
  std::vector<Part> parts_;
  int64_t packed_elements_ = 0, table_size_ = 0;
  ScratchLedger ledger_;
  int groups_entry_ = -1;
};

template <class T>
DepthwisePrepared<T>::DepthwisePrepared(const Problem& problem, const PlanContext& context)
    : p_(problem),
      kernels_(kernels_of<T>(context.kernels->depthwise)),
      gemm_(kernels_of<T>(context.kernels->gemm)),
      correlation_(implicit_gemm::make_correlations(problem)),
      channels_(problem.ic),
      padded_(ceil_div(channels_, gemm_.lanes) * gemm_.lanes),
      seconds_(depthwise_algorithm().cost(problem, context)) {
  for (const Correlation& c : correlation_.parts) {
    Part part{};
    part.c = c;
    part.runs = runs_of(c.w);
    part.groups = c.d.taps * c.h.taps;
    part.packed = packed_elements_;
    packed_elements_ += checked_product({part.groups, c.w.taps, padded_}, "the packed filter");
    const int64_t pixels = std::max<int64_t>(kStrip, kItemElements / channels_);
    part.block_columns = std::clamp<int64_t>(pixels, 1, std::max<int64_t>(1, c.w.outputs));
    part.column_blocks = ceil_div(c.w.outputs, part.block_columns);
    part.block_rows = std::clamp<int64_t>(pixels / part.block_columns, 1,
                                          std::clamp<int64_t>(c.h.outputs, 1, kMostRows));
    part.row_blocks = ceil_div(c.h.outputs, part.block_rows);
    table_size_ = std::max(table_size_, part.groups * part.block_rows);
    parts_.push_back(part);
  }
  groups_entry_ = ledger_.book("depthwise.groups",
                               checked_bytes({table_size_, 2 * sizeof(T*)}, "pointers"), true);
}

template <class T>
std::string DepthwisePrepared<T>::packed_filter_format() const {
  // Forward packs the filter in its own order; phases follow from stride, dilation and padding, and
  // where results are fewer than strides the last are missing.
  std::string format = "depthwise_" + std::to_string(padded_);
  if (!correlation_.backward) return format;
  const Problem& p = p_;
  const int64_t axes[][4] = {
      {p.sd, p.dd, p.pd, p.id}, {p.sh, p.dh, p.ph, p.ih}, {p.sw, p.dw, p.pw, p.iw}};
  format += "_backward";
  for (const auto& [s, d, pad, in] : axes) {
    format += "_s" + std::to_string(s);
    if (s > 1)
      format += "d" + std::to_string(d) + "p" + std::to_string(pad % s) + "n" +
                std::to_string(std::min(s, in));
  }
  return format;
}

template <class T>
void DepthwisePrepared<T>::pack_filter(const void* filter_data, void* packed_data, ThreadPool&,
                                       int) const {
  const T* const filter = static_cast<const T*>(filter_data);
  for (const Part& part : parts_) {
    const Correlation& c = part.c;
    T* out = static_cast<T*>(packed_data) + part.packed;
    for (int64_t g = 0; g < part.groups; ++g) {
      const int64_t kd = c.d.tap_first + g / c.h.taps * c.d.tap_step;
      const int64_t kh = c.h.tap_first + g % c.h.taps * c.h.tap_step;
      for (int64_t t = 0; t < c.w.taps; ++t, out += padded_) {
        const int64_t kw = c.w.tap_first + t * c.w.tap_step;
        const T* const tap = filter + ((kd * p_.kh + kh) * p_.kw + kw) * channels_;
        std::copy(tap, tap + channels_, out);
        std::fill(out + channels_, out + padded_, T(0));
      }
    }
  }
}

template <class T>
void DepthwisePrepared<T>::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                                   int threads) const {
  if (buffers.batch * correlation_.result_voxels * channels_ == 0) return;
  if (!correlation_.complete)
    implicit_gemm::fill_unreached(correlation_, p_, gemm_, buffers, pool, threads);
  for (const Part& part : parts_) {
    const int64_t planes = buffers.batch * part.c.d.outputs;
    const int64_t per_plane = part.row_blocks * part.column_blocks, items = planes * per_plane;
    // Neighbouring planes on one thread, for what they share in L2.
    const int64_t grain = std::max<int64_t>(1, items / (8 * int64_t{threads}));
    pool.parallel_for(items, grain, threads, [&](int64_t begin, int64_t end, int id) {
      const T** const a = scratch.get<const T*>(groups_entry_, id);
      ptrdiff_t* const b_group = reinterpret_cast<ptrdiff_t*>(a + table_size_);
      for (int64_t index = begin; index < end; ++index) {
        const int64_t plane = index / per_plane, block = index % per_plane;
        Rows rows{};
        rows.sample = plane / part.c.d.outputs;
        rows.d = plane % part.c.d.outputs;
        rows.row = block / part.column_blocks * part.block_rows;
        rows.row_end = std::min(part.c.h.outputs, rows.row + part.block_rows);
        rows.column = block % part.column_blocks * part.block_columns;
        rows.column_end = std::min(part.c.w.outputs, rows.column + part.block_columns);
        run_item(part, rows, buffers, a, b_group);
      }
    });
  }
}

template <class T>
void DepthwisePrepared<T>::run_item(const Part& part, const Rows& rows, const Buffers& buffers,
                                    const T** a, ptrdiff_t* b_group) const {
  const Correlation& c = part.c;
  const T* const sample =
      static_cast<const T*>(correlation_.backward ? buffers.grad_output : buffers.input) +
      rows.sample * correlation_.source_voxels * channels_;
  T* const plane = static_cast<T*>(buffers.result) +
                   (rows.sample * correlation_.result_voxels +
                    (c.d.first + rows.d * c.d.step) * correlation_.result_plane + c.w.first) *
                       channels_;
  // Where the taps of each row find their input and their filter.
  const int64_t d_begin = c.d.tap_begin(rows.d), d_end = c.d.tap_end(rows.d);
  int groups[kMostRows];
  for (int64_t row = rows.row; row < rows.row_end; ++row) {
    const int64_t h_begin = c.h.tap_begin(row), h_end = c.h.tap_end(row), i = row - rows.row;
    int64_t at = i * part.groups;
    for (int64_t td = d_begin; td < d_end; ++td) {
      const int64_t id = rows.d * c.d.stride + c.d.origin + td * c.d.dilation;
      for (int64_t th = h_begin; th < h_end; ++th) {
        const int64_t ih = row * c.h.stride + c.h.origin + th * c.h.dilation;
        a[at] =
            sample + (id * correlation_.source_plane + ih * correlation_.source_row) * channels_;
        b_group[at++] = (td * c.h.taps + th) * c.w.taps * padded_;
      }
    }
    groups[i] = static_cast<int>(at - i * part.groups);
  }

  DepthwiseArgs<T> args{};
  args.a_output = c.w.stride * channels_;
  args.a_tap = c.w.dilation * channels_;
  args.b_tap = padded_;
  args.c_output = c.w.step * channels_;
  args.activation = static_cast<int>(p_.activation);
  args.alpha = static_cast<T>(p_.leaky_relu_alpha);
  for (int64_t channel = 0; channel < channels_; channel += kStripChannels) {
    args.channels = std::min(kStripChannels, channels_ - channel);
    args.bias = buffers.bias != nullptr ? static_cast<const T*>(buffers.bias) + channel : nullptr;
    for (const Run& run : part.runs) {
      const TapClass& taps = run.taps;
      const int64_t run_end = std::min(taps.end, rows.column_end);
      args.taps = static_cast<int>(std::max<int64_t>(0, taps.tap_end - taps.tap_begin));
      args.b = static_cast<const T*>(buffers.packed_filter) + part.packed +
               taps.tap_begin * padded_ + channel;
      for (int64_t column = std::max(taps.begin, rows.column); column < run_end; column += kStrip) {
        args.outputs = std::min(kStrip, run_end - column);
        args.lacks_first = run.lacks_first && column == taps.begin;
        args.lacks_last = run.lacks_last && column + args.outputs == taps.end;
        args.a_offset =
            (column * c.w.stride + c.w.origin + taps.tap_begin * c.w.dilation) * channels_ +
            channel;
        for (int64_t i = 0; i < rows.row_end - rows.row; ++i) {
          args.a = a + i * part.groups;
          args.b_group = b_group + i * part.groups;
          args.groups = args.taps > 0 ? groups[i] : 0;
          args.c = plane +
                   ((c.h.first + (rows.row + i) * c.h.step) * correlation_.result_row +
                    column * c.w.step) *
                       channels_ +
                   channel;
          kernels_.taps(&args);
        }
      }
    }
  }
}

}  // namespace

std::string why_not(const Problem& problem) {
  if (problem.groups != problem.ic || problem.ic != problem.oc)
    return "needs as many groups as channels in and out";
  if (problem.dtype != DType::kFloat32 && problem.dtype != DType::kFloat64)
    return "computes in float32 and float64";
  if (problem.layout != Layout::kChannelsLast) return "computes channels last";
  return "";
}

double cost(const Problem& problem, const PlanContext& context, double efficiency) {
  const bool f64 = problem.dtype == DType::kFloat64;
  const double lanes = f64 ? context.kernels->gemm.f64.lanes : context.kernels->gemm.f32.lanes;
  const double channels = static_cast<double>(problem.ic);
  const double fill = channels / (std::ceil(channels / lanes) * lanes);
  const double bytes =
      (f64 ? 8.0 : 4.0) * static_cast<double>(problem.input_elements() + problem.output_elements());
  const double arithmetic =
      problem.flops() / (peak_flops(context, problem.dtype) * efficiency * std::max(fill, 1e-3));
  return kCallSeconds + std::max(arithmetic, bytes / kMemoryBytes) / std::max(1, context.threads);
}

}  // namespace depthwise

namespace {

class Depthwise final : public Algorithm {
 public:
  const char* name() const override { return "depthwise_taps"; }
  const char* family() const override { return "depthwise"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction == Direction::kBackwardFilter)
      return "computes forward and backward_input";
    return depthwise::why_not(problem);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return depthwise::cost(problem, context, 0.6);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    if (problem.dtype == DType::kFloat64)
      return std::make_unique<depthwise::DepthwisePrepared<double>>(problem, context);
    return std::make_unique<depthwise::DepthwisePrepared<float>>(problem, context);
  }
};

class DepthwiseFilterGradient final : public Algorithm {
 public:
  const char* name() const override { return "depthwise_filter_gradient"; }
  const char* family() const override { return "depthwise"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter";
    return depthwise::why_not(problem);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return depthwise::cost(problem, context, 0.5);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return depthwise::prepare_filter_gradient(problem, context);
  }
};

}  // namespace

const Algorithm& depthwise_algorithm() {
  static const Depthwise algorithm;
  return algorithm;
}

const Algorithm& depthwise_filter_gradient_algorithm() {
  static const DepthwiseFilterGradient algorithm;
  return algorithm;
}

}  // namespace conv3d
