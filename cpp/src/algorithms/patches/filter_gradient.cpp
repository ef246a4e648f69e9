// The filter gradient of windows that do not overlap, channels first, as products of rows:
//
//   grad_filter[tap][i][c] = sum_{n, o} window[n, i, tap, o] grad_output[n, c, o]
//
//   k           output voxels of one sample, a chunk at a time: lanes run along them
//   rows        input channels and taps, a portion of channels at a time, whose windows are cut
//               into scratch
//   columns     output channels, read in place
//
// A chunk of a portion and of all output channels stays in half of the L2. A tile's lanes are added
// once a chunk, so chunks are as long as that allows.
//
// Order of sums: in a chunk each lane is a chain of multiply-adds, then lanes are added in pairs.
// Chunks are added in float64, in order, in segments; those are added pairwise. All of this follows
// from the problem and the machine.
#include "algorithms/patches/filter_gradient.h"

#include <algorithm>
#include <cmath>

#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/patches/cells.h"
#include "algorithms/segments.h"
#include "base/math.h"
#include "runtime/phases.h"

namespace conv3d::patches {
namespace {

constexpr int64_t kSegmentBytes = 8 << 20;  // of the sums of the fewest segments together
constexpr int64_t kMostPixels = 1024, kLeastPixels = 128;

struct Chunks {
  int64_t pixels, count;  // of a sample
  int64_t channels;       // of a portion
};

Chunks make_chunks(const Problem& p, const PlanContext& context, int64_t element) {
  const int64_t room = static_cast<int64_t>(l2_bytes(*context.cpu)) / 2 / element,
                taps = taps_of(p);
  Chunks c{};
  // Enough of them for the machine's threads.
  const int64_t longest = std::clamp<int64_t>(
      ceil_div(p.output_voxels(), most_segments(*context.cpu)), kLeastPixels, kMostPixels);
  const int64_t most =
      std::clamp<int64_t>(room / (p.oc + std::max<int64_t>(taps, 48)), kLeastPixels, longest);
  c.count = ceil_div(p.output_voxels(), most);
  c.pixels = ceil_div(ceil_div(p.output_voxels(), c.count), int64_t{16}) * 16;
  c.count = ceil_div(p.output_voxels(), c.pixels);
  c.channels = std::clamp<int64_t>((room / c.pixels - p.oc) / taps, 1, p.ic);
  c.channels = ceil_div(p.ic, ceil_div(p.ic, c.channels));
  return c;
}

template <class T>
class FilterGradientPrepared final : public FilterlessPrepared {
 public:
  FilterGradientPrepared(const Problem& problem, const PlanContext& context)
      : problem_(problem),
        context_(context),
        kernels_(kernels_of<T>(context.kernels->planar)),
        chunks_(make_chunks(problem, context, sizeof(T))) {
    segments_ = std::clamp<int64_t>(
        segment_bytes(kSegmentBytes, *context.cpu) /
            std::max<int64_t>(1, problem.filter_elements() * int64_t{sizeof(double)}),
        1, 2 * most_segments(*context.cpu));
    windows_entry_ = ledger_.book(
        "patches.windows",
        checked_bytes({chunks_.channels, taps_of(problem), pitch(), sizeof(T)}, "windows"), true);
    sums_entry_ = ledger_.book(
        "patches.sums",
        checked_bytes({segments_, problem.filter_elements(), sizeof(double)}, "sums"), false);
  }

  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override {
    return "patches_products, chunks of " + std::to_string(chunks_.pixels) +
           " voxels, portions of " + std::to_string(chunks_.channels) + " channels";
  }
  double error_bound() const override;
  int useful_threads() const override {
    return threads_that_pay(filter_gradient_cost(problem_, context_));
  }

 private:
  // Between rows of scratch: an odd number of lines, for different sets of the L1.
  int64_t pitch() const {
    const int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    return (ceil_div(chunks_.pixels, line) | 1) * line;
  }
  // To what `sums` holds, or as the first.
  void add_chunk(int64_t chunk, bool add, const Buffers& buffers, T* windows, double* sums) const;

  Problem problem_;
  PlanContext context_;
  const PlanarKernels<T>& kernels_;
  Chunks chunks_;
  int64_t segments_;  // at most
  ScratchLedger ledger_;
  int windows_entry_, sums_entry_;
};

// sums: [input channel][tap][output channel]
template <class T>
void FilterGradientPrepared<T>::add_chunk(int64_t chunk, bool add, const Buffers& buffers,
                                          T* windows, double* sums) const {
  const Problem& p = problem_;
  const int64_t sample = chunk / chunks_.count, begin = chunk % chunks_.count * chunks_.pixels;
  const Range pixels{begin, std::min(p.output_voxels(), begin + chunks_.pixels)};
  const T* const input = static_cast<const T*>(buffers.input) + sample * p.ic * p.input_voxels();
  const T* const grad_output =
      static_cast<const T*>(buffers.grad_output) + sample * p.oc * p.output_voxels() + pixels.begin;
  const int64_t k = pixels.size();
  for (int64_t c = 0; c < p.ic; c += chunks_.channels) {
    const int64_t channels = std::min(chunks_.channels, p.ic - c);
    {
      const PhaseTimer timer(Phase::kTransform);
      cut_windows(p, kernels_, input + c * p.input_voxels(), channels, pixels, windows, pitch());
    }
    const PhaseTimer timer(Phase::kMultiply);
    const T* const a = windows;
    ProductArgs<T> args{};
    args.a = &a;
    args.b = &grad_output;
    args.k = &k;
    args.runs = 1;
    args.a_row = pitch();
    args.b_row = p.output_voxels();
    args.rows = channels * taps_of(p);
    args.columns = p.oc;
    args.sums = sums + c * taps_of(p) * p.oc;
    args.sums_row = p.oc;
    args.add = add ? 1 : 0;
    kernels_.products(&args);
  }
}

template <class T>
void FilterGradientPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch,
                                        ThreadPool& pool, int threads) const {
  const Problem& p = problem_;
  const int64_t elements = p.filter_elements(), taps = taps_of(p);
  if (elements == 0) return;
  const int64_t chunks = buffers.batch * chunks_.count,
                segments = std::clamp<int64_t>(chunks, 1, segments_);
  double* const all_sums = scratch.get<double>(sums_entry_);
  pool.parallel_for(segments, 1, threads, [&](int64_t begin, int64_t end, int id) {
    for (int64_t segment = begin; segment < end; ++segment) {
      double* const sums = all_sums + segment * elements;
      const Range range = piece(chunks, segment, segments);
      if (range.size() == 0) std::fill(sums, sums + elements, 0.0);
      for (int64_t i = range.begin; i < range.end; ++i)
        add_chunk(i, i > range.begin, buffers, scratch.get<T>(windows_entry_, id), sums);
    }
  });
  T* const filter = static_cast<T*>(buffers.result);
  write_segments<T>(p.ic * taps, p.oc, segments, all_sums, pool, threads,
                    [&](int64_t row) { return filter + (row % taps * p.ic + row / taps) * p.oc; });
}

// A lane's chain, the lanes in pairs, and the rounding of a sum in float64 to the result.
template <class T>
double FilterGradientPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53,
               lanes = lanes_of(*context_.kernels, problem_.dtype);
  const double chain = static_cast<double>(chunks_.pixels) / lanes + std::log2(lanes) + 2;
  // In float64 chunks are a chain too.
  return unit * (chain + (std::is_same_v<T, float> ? 0 : static_cast<double>(chunks_.count)));
}

}  // namespace

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<FilterGradientPrepared<double>>(problem, context);
  return std::make_unique<FilterGradientPrepared<float>>(problem, context);
}

double filter_gradient_cost(const Problem& p, const PlanContext& context) {
  const bool f64 = p.dtype == DType::kFloat64;
  const int64_t tile_rows = f64 ? context.kernels->planar.f64.product_rows
                                : context.kernels->planar.f32.product_rows,
                tile_columns = f64 ? context.kernels->planar.f64.product_columns
                                   : context.kernels->planar.f32.product_columns;
  const double slow = hertz(context) / kClock, lanes = lanes_of(*context.kernels, p.dtype);
  const Chunks chunks = make_chunks(p, context, f64 ? 8 : 4);
  const double rows = static_cast<double>(p.ic * taps_of(p)),
               row_tiles = std::ceil(rows / static_cast<double>(tile_rows)),
               columns = static_cast<double>(p.oc),
               column_tiles = std::ceil(columns / static_cast<double>(tile_columns));
  const double m = rows / row_tiles, n = columns / column_tiles;
  // As for the planar products.
  const double step = std::max({m * n / 2, (m + n) / 2, 4.0}) / 0.93;
  const double tile =
      std::ceil(static_cast<double>(chunks.pixels) / lanes) * step + (5 * m * n + 20) * slow;
  const double cut = static_cast<double>(p.output_voxels()) * rows * cycles_to_move(p) +
                     static_cast<double>(p.od * p.oh * p.kd * p.kh * p.ic) * 12;
  const double arithmetic =
      static_cast<double>(p.mb) *
      (static_cast<double>(chunks.count) * row_tiles * column_tiles * tile + slow * cut) /
      hertz(context);
  return kCallSeconds + overlapped_seconds(arithmetic, traffic_seconds(p, *context.cpu)) /
                            std::max(1, context.threads);
}

}  // namespace conv3d::patches
