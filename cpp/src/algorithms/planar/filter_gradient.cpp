// The filter gradient of channels-first tensors, filters of width 1, as products of rows:
//
//   grad_filter[tap][i][c] = sum_{n, o} input[n, i, o s - p + tap d] grad_output[n, c, o]
//
//   k           output voxels, a chunk of some rows of one sample at a time, as runs that are
//               contiguous in both tensors, or in scratch and grad_output: lanes run along them, so
//               nothing is transposed
//   rows        input channels, read in place; with a stride along the width every second (third,
//               ...) pixel is gathered into scratch by the tiles of the first columns, or before
//   columns     output channels, read in place
//
// A chunk of all columns stays in the L2, for each tile of rows to read again. A tile's lanes are
// added once a chunk, so chunks are as long as that allows; where channels are many they are short,
// and packing voxels (implicit_gemm/filter_gradient.cpp) is the better way. Where few chunks are
// left to share, threads share the rows too, in pieces.
//
// Order of sums: in a chunk each lane is a chain of multiply-adds over runs and pixels, then lanes
// are added in pairs. Chunks are added in float64, in order, in segments; those
// are added pairwise. All of this follows from the problem and the machine.
#include "algorithms/planar/filter_gradient.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::planar {
namespace {

constexpr int64_t kSegmentBytes = 8 << 20;  // of the sums of the fewest segments together
constexpr int64_t kMostPixels = 4096;       // of a chunk
constexpr int64_t kFewPixels = 256;
constexpr int64_t kLeastPixels = 64;
constexpr int64_t kMostPieces = 4, kPieceChannels = 12;  // two tiles of rows at least

// Output columns at which the one tap along the width meets the input.
Range columns_met(const Problem& p) {
  const int64_t begin = std::min(p.ow, ceil_div(std::max<int64_t>(0, p.pw), p.sw));
  const int64_t last = p.iw - 1 + p.pw;
  return {begin, last < 0 ? begin : std::clamp(last / p.sw + 1, begin, p.ow)};
}

// Chunks of a sample: `rows` rows of output, or a piece of `columns` columns of one; and the pieces
// of the channels of which each is an item of work.
struct Chunks {
  int64_t rows, columns, of_rows, of_columns, pieces;
  int64_t pixels() const { return rows * columns; }
  int64_t count() const { return of_rows * of_columns; }
};

// Strided rows are gathered by the kernel, a plane of a chunk as a run; short planes would leave
// parts of vectors, and are gathered before.
bool gathers_on_the_way(const Problem& p, int64_t lanes) { return p.oh * p.ow >= 4 * lanes; }

Chunks make_chunks(const Problem& p, const PlanContext& context, int64_t element) {
  const int64_t in = std::max<int64_t>(1, p.ic / p.groups),
                out = std::max<int64_t>(1, p.oc / p.groups);
  const int64_t l2 = static_cast<int64_t>(l2_bytes(*context.cpu));
  // The L2 holds the columns, which each tile of rows reads again, and rows that are gathered
  // before. Those that taps read again come from farther away as fast (3x1x1, 256 to 8 channels:
  // chunks of both in the L2 1.04 ms, of the columns alone 0.84).
  const bool before = p.sw > 1 && !gathers_on_the_way(p, lanes_of(*context.kernels, p.dtype));
  int64_t room = l2 * 4 / 5 / ((before ? in + out : out) * element);
  if (p.sw > 1) room = std::min(room, l2 * 3 / 2 / (in * element));  // of scratch
  room = std::clamp(room, kLeastPixels, kMostPixels);
  // Long, but enough of them, or of pieces, for the machine's threads (64 to 128 channels, 8x28x28
  // results: 8 chunks 0.60 ms, 4 in two pieces each 0.57).
  Chunks c{};
  c.pieces = 1;
  const auto longest = [&] {
    return std::max<int64_t>(kFewPixels,
                             p.output_voxels() * c.pieces / most_segments(*context.cpu));
  };
  while (c.pieces < kMostPieces && longest() < room * 9 / 10 && in >= 2 * c.pieces * kPieceChannels)
    c.pieces *= 2;
  const int64_t pixels = std::min(room, longest());
  const auto even = [](int64_t n, int64_t most) {
    return std::max<int64_t>(1, ceil_div(n, std::max<int64_t>(1, ceil_div(n, most))));
  };
  // Whole lines, so that pieces of an aligned row are aligned.
  c.columns = p.ow > pixels ? std::min(p.ow, ceil_div(even(p.ow, pixels), int64_t{16}) * 16)
                            : std::max<int64_t>(1, p.ow);
  const int64_t rows = std::max<int64_t>(1, p.od * p.oh);
  c.rows = p.ow > pixels ? 1 : even(rows, std::max<int64_t>(1, pixels / c.columns));
  c.of_rows = ceil_div(rows, c.rows);
  c.of_columns = ceil_div(std::max<int64_t>(1, p.ow), c.columns);
  return c;
}

template <class T>
class FilterGradientPrepared final : public FilterlessPrepared {
 public:
  FilterGradientPrepared(const Problem& problem, const PlanContext& context);

  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override;
  double error_bound() const override;
  int useful_threads() const override {
    return threads_that_pay(filter_gradient_cost(problem_, context_));
  }

 private:
  struct Thread {
    const T **a, **b;  // [run]
    int64_t* k;
    GatherArgs<T>* gather;  // [run], with a stride along the width
    T* stage;               // then: [channel][pixel of the chunk]
  };

  int64_t taps() const { return problem_.kd * problem_.kh; }
  int64_t group_elements() const { return taps() * icg_ * ocg_; }
  // Between channels of the stage: an odd number of lines, for different sets of the L1.
  int64_t stage_pitch() const {
    const int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    return (ceil_div(chunks_.pixels(), line) | 1) * line;
  }
  // To what `sums` holds, or as the first. Returns whether there was anything.
  bool add_tap(int64_t tap, const Range& rows, const Range& columns, const Range& channels,
               bool add, const T* input, const T* grad_output, const Thread& thread,
               double* sums) const;

  Problem problem_;
  PlanContext context_;
  const PlanarKernels<T>& kernels_;
  int64_t icg_, ocg_;
  int64_t lanes_;
  Range met_;
  Chunks chunks_;
  std::vector<ptrdiff_t> channels_;  // where those of a group begin, if rows are gathered
  int64_t segments_;                 // at most
  ScratchLedger ledger_;
  int pointers_entry_, lengths_entry_, gather_entry_, stage_entry_, sums_entry_;
};

template <class T>
FilterGradientPrepared<T>::FilterGradientPrepared(const Problem& problem,
                                                  const PlanContext& context)
    : problem_(problem),
      context_(context),
      kernels_(kernels_of<T>(context.kernels->planar)),
      icg_(problem.ic / problem.groups),
      ocg_(problem.oc / problem.groups),
      lanes_(lanes_of(*context.kernels, problem.dtype)),
      met_(columns_met(problem)),
      chunks_(make_chunks(problem, context, sizeof(T))) {
  segments_ = std::clamp<int64_t>(
      segment_bytes(kSegmentBytes, *context.cpu) /
          std::max<int64_t>(1, problem.filter_elements() * int64_t{sizeof(double)}),
      1, 2 * most_segments(*context.cpu));
  pointers_entry_ = ledger_.book("planar.pointers",
                                 checked_bytes({chunks_.rows, 2 * sizeof(T*)}, "pointers"), true);
  lengths_entry_ =
      ledger_.book("planar.lengths", checked_bytes({chunks_.rows, sizeof(int64_t)}, "runs"), true);
  const int64_t gathered = problem.sw > 1 ? ceil_div(icg_, chunks_.pieces) : 0;
  gather_entry_ = ledger_.book(
      "planar.gather",
      checked_bytes({gathered > 0 ? chunks_.rows : 0, sizeof(GatherArgs<T>)}, "runs"), true);
  for (int64_t i = 0; i < gathered; ++i) channels_.push_back(i * problem.input_voxels());
  stage_entry_ = ledger_.book("planar.rows",
                              checked_bytes({gathered, stage_pitch(), sizeof(T)}, "rows"), true);
  sums_entry_ = ledger_.book(
      "planar.sums", checked_bytes({segments_, problem.filter_elements(), sizeof(double)}, "sums"),
      false);
}

template <class T>
void FilterGradientPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch,
                                        ThreadPool& pool, int threads) const {
  const Problem& p = problem_;
  const int64_t elements = p.filter_elements();
  if (elements == 0) return;
  const int64_t chunks = p.output_voxels() == 0 ? 0 : buffers.batch * chunks_.count();
  const int64_t segments = std::clamp<int64_t>(chunks, 1, segments_);
  double* const all_sums = scratch.get<double>(sums_entry_);
  const int64_t parts = p.groups * chunks_.pieces;
  pool.parallel_for(parts * segments, 1, threads, [&](int64_t begin, int64_t end, int id) {
    Thread thread;
    thread.a = scratch.get<const T*>(pointers_entry_, id);
    thread.b = thread.a + chunks_.rows;
    thread.k = scratch.get<int64_t>(lengths_entry_, id);
    thread.gather = scratch.get<GatherArgs<T>>(gather_entry_, id);
    thread.stage = scratch.get<T>(stage_entry_, id);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t group = index % p.groups, segment = index / parts;
      const Range channels = piece(icg_, index % parts / p.groups, chunks_.pieces);
      double* const sums = all_sums + segment * elements + group * group_elements();
      const auto clear = [&] {
        for (int64_t tap = 0; tap < taps(); ++tap)
          std::fill(sums + (tap * icg_ + channels.begin) * ocg_,
                    sums + (tap * icg_ + channels.end) * ocg_, 0.0);
      };
      // The first chunk in which one tap alone meets the input begins its sums.
      bool begun = taps() > 1;
      if (begun) clear();
      const Range range = piece(chunks, segment, segments);
      for (int64_t i = range.begin; i < range.end; ++i) {
        const int64_t sample = i / chunks_.count(), in_sample = i % chunks_.count();
        const int64_t row = in_sample / chunks_.of_columns * chunks_.rows,
                      column = in_sample % chunks_.of_columns * chunks_.columns;
        const Range rows{row, std::min(p.od * p.oh, row + chunks_.rows)};
        Range columns{std::max(column, met_.begin),
                      std::min({p.ow, column + chunks_.columns, met_.end})};
        if (columns.end <= columns.begin) continue;
        const T* const input = static_cast<const T*>(buffers.input) +
                               (sample * p.ic + group * icg_) * p.input_voxels();
        const T* const grad_output = static_cast<const T*>(buffers.grad_output) +
                                     (sample * p.oc + group * ocg_) * p.output_voxels();
        for (int64_t tap = 0; tap < taps(); ++tap)
          begun |= add_tap(tap, rows, columns, channels, begun, input, grad_output, thread,
                           sums + (tap * icg_ + channels.begin) * ocg_);
      }
      if (!begun) clear();
    }
  });
  // sums[segment][group][tap][input channel][output channel] to the filter.
  T* const filter = static_cast<T*>(buffers.result);
  write_segments<T>(p.groups * taps() * icg_, ocg_, segments, all_sums, pool, threads,
                    [&](int64_t row) {
                      const int64_t group = row / (taps() * icg_);
                      return filter + row % (taps() * icg_) * p.oc + group * ocg_;
                    });
}

// `input` and `grad_output`: a group of a sample; `sums`: of the first of the channels.
template <class T>
bool FilterGradientPrepared<T>::add_tap(int64_t tap, const Range& rows, const Range& columns,
                                        const Range& channels, bool add, const T* input,
                                        const T* grad_output, const Thread& thread,
                                        double* sums) const {
  const Problem& p = problem_;
  input += channels.begin * p.input_voxels();
  const bool gathers = p.sw > 1, on_the_way = gathers && gathers_on_the_way(p, lanes_);
  const int64_t width = columns.size();
  ProductArgs<T> args{};
  int64_t staged = 0;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t id = r / p.oh * p.sd - p.pd + tap / p.kh * p.dd,
                  ih = r % p.oh * p.sh - p.ph + tap % p.kh * p.dh;
    if (id < 0 || id >= p.id || ih < 0 || ih >= p.ih) continue;
    const T* a = input + (id * p.ih + ih) * p.iw + columns.begin * p.sw - p.pw;
    const T* const b = grad_output + r * p.ow + columns.begin;
    GatherArgs<T> gather{};
    if (gathers) {
      T* const place = thread.stage + staged;
      gather = {a, p.sh * p.iw, 0, width, p.sw, width, place, 0};
      for (int64_t i = 0; !on_the_way && i < channels.size(); ++i) {
        kernels_.gather(&gather);
        gather.src += p.input_voxels();
        gather.dst += stage_pitch();
      }
      a = place;
      staged += width;
    }
    const int64_t last = args.runs - 1;
    // A run that is gathered on the way has rows of one plane.
    if (last >= 0 && a == thread.a[last] + thread.k[last] && b == thread.b[last] + thread.k[last] &&
        !(on_the_way && r % p.oh == 0)) {
      thread.k[last] += width;
      continue;
    }
    if (on_the_way) thread.gather[args.runs] = gather;
    thread.a[args.runs] = a;
    thread.b[args.runs] = b;
    thread.k[args.runs++] = width;
  }
  if (args.runs == 0) return false;
  args.a = thread.a;
  args.b = thread.b;
  args.k = thread.k;
  args.a_row = gathers ? stage_pitch() : p.input_voxels();
  args.b_row = p.output_voxels();
  args.rows = channels.size();
  args.columns = ocg_;
  args.sums = sums;
  args.sums_row = ocg_;
  args.add = add ? 1 : 0;
  if (on_the_way) {
    args.gather = thread.gather;
    args.gather_offsets = channels_.data();
  }
  const PhaseTimer timer(Phase::kMultiply);
  kernels_.products(&args);
  return true;
}

template <class T>
std::string FilterGradientPrepared<T>::detail() const {
  return "planar_products, chunks of " + std::to_string(chunks_.rows) + "x" +
         std::to_string(chunks_.columns) + " pixels" +
         (chunks_.pieces > 1 ? ", " + std::to_string(chunks_.pieces) + " pieces" : "") +
         (problem_.sw > 1 ? ", rows gathered" : ", rows read in place");
}

// A lane's chain, the lanes in pairs, and the rounding of a sum in float64 to the result.
template <class T>
double FilterGradientPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
  const double lanes = lanes_of(*context_.kernels, problem_.dtype);
  const double chain = static_cast<double>(chunks_.pixels()) / lanes +
                       static_cast<double>(chunks_.rows) + std::log2(lanes) + 1;
  // In float64 chunks are a chain too.
  const double chunks = std::is_same_v<T, float> ? 0 : static_cast<double>(chunks_.count());
  return unit * (chain + chunks);
}

template <class T>
double filter_gradient_cost(const Problem& p, const PlanContext& context) {
  const PlanarKernels<T>& kernels = kernels_of<T>(context.kernels->planar);
  const double slow = hertz(context) / kClock;
  const double lanes = lanes_of(*context.kernels, p.dtype);
  const Chunks chunks = make_chunks(p, context, sizeof(T));
  const int64_t icg = std::max<int64_t>(1, p.ic / p.groups),
                ocg = std::max<int64_t>(1, p.oc / p.groups);
  const auto apart = [](int64_t voxels) { return voxels * static_cast<int64_t>(sizeof(T)); };
  const int tile_rows =
      product_tile_rows(kernels.product_rows, kernels.product_columns,
                        p.sw > 1 ? 0 : apart(p.input_voxels()), apart(p.output_voxels()));
  const double row_tiles = static_cast<double>(ceil_div(icg, int64_t{tile_rows})),
               column_tiles = static_cast<double>(ceil_div(ocg, int64_t{kernels.product_columns}));
  const double m = static_cast<double>(icg) / row_tiles,
               n = static_cast<double>(ocg) / column_tiles;
  // A run's last vector may be a part of one; runs are joined where rows follow each other, those
  // that are gathered on the way in a plane.
  const bool joined = p.sw > 1 || (p.ow == p.iw && p.pw == 0);
  const bool in_plane = p.sw > 1 && gathers_on_the_way(p, static_cast<int64_t>(lanes));
  const double width = static_cast<double>(chunks.columns), rows = static_cast<double>(chunks.rows);
  const double of_run = !joined ? 1.0 : in_plane ? std::min(rows, static_cast<double>(p.oh)) : rows;
  const double steps = rows / of_run * std::ceil(of_run * width / lanes);
  // Multiply-adds two a cycle, loads two a cycle, four cycles of latency; each sum's lanes are
  // added, and added to memory (measured: 5 cycles).
  const double step = std::max({m * n / 2, (m + n) / 2, 4.0}) / 0.9;
  const double tile = steps * step + (5 * m * n + 20) * slow;
  const double groups = static_cast<double>(p.groups), taps = static_cast<double>(p.kd * p.kh);
  const double cycles =
      static_cast<double>(p.mb * chunks.count()) * groups * taps * row_tiles * column_tiles * tile;
  const double gathered =
      p.sw > 1 ? static_cast<double>(p.mb * p.output_voxels() * p.ic) * taps : 0;
  const double arithmetic = cycles / hertz(context) + gathered * 0.7 / kClock;
  return kCallSeconds + overlapped_seconds(arithmetic, traffic_seconds(p, *context.cpu)) /
                            std::max(1, context.threads);
}

}  // namespace

std::string why_not_filter_gradient(const Problem& problem) {
  if (problem.layout != Layout::kChannelsFirst) return "rows are contiguous channels first only";
  if (problem.kw != 1) return "filters have more than one tap along the width";
  return "";
}

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<FilterGradientPrepared<double>>(problem, context);
  return std::make_unique<FilterGradientPrepared<float>>(problem, context);
}

double filter_gradient_cost(const Problem& problem, const PlanContext& context) {
  return problem.dtype == DType::kFloat64 ? filter_gradient_cost<double>(problem, context)
                                          : filter_gradient_cost<float>(problem, context);
}

}  // namespace conv3d::planar
