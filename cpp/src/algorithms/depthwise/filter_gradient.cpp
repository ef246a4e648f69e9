// The filter gradient of depthwise convolutions, channels last:
//
//   grad_filter[t][c] = sum_{n, o} input[n, o s - p + t d, c] * grad_output[n, o, c]
//
//   chunk       some rows of one plane of one sample, some 256 results: one chain of multiply-adds
//               for each tap and channel, three taps along the width at a time in registers
//   work item   a segment of the chunks x a block of channels
//
// A tap meets a range of each row's results, so nothing is padded. Chunks are summed in a cascade,
// every kRadix sums of one level are one term of the next, and segments pairwise, so the error
// grows with the logarithm of the volume. All of this follows from the problem and the machine, so
// the bits do not depend on the number of threads.
#include <algorithm>
#include <type_traits>

#include "algorithms/depthwise/depthwise.h"
#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::depthwise {
namespace {

constexpr int64_t kChunkResults = 256;
constexpr int64_t kRadix = 8;
constexpr int kLevels = 5;                  // 8^5 chunks; beyond, the last level is a plain sum
constexpr int64_t kSegmentBytes = 4 << 20;  // of the sums of the fewest segments together
constexpr int64_t kBlockChannels = 64;

template <class T>
class FilterGradientPrepared final : public FilterlessPrepared {
 public:
  FilterGradientPrepared(const Problem& problem, const PlanContext& context);

  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override {
    return "depthwise_filter_gradient, chunks of " + std::to_string(chunk_rows_) + "x" +
           std::to_string(chunk_columns_) + " results, " + std::to_string(segments_) + " segments";
  }
  // One chain per chunk, then the cascade.
  double error_bound() const override {
    const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
    return unit *
           static_cast<double>(chunk_rows_ * chunk_columns_ + kRadix * kLevels + 2 * kMostSegments);
  }
  int useful_threads() const override { return threads_that_pay(seconds_); }

 private:
  struct Chunk {
    int64_t sample, d, row, row_end, column, column_end;
  };
  Chunk chunk_at(int64_t index) const;
  void add_chunk(const Chunk& chunk, int64_t channel, int64_t channels, const Buffers& buffers,
                 const T** pointers, T* sums) const;

  const Problem p_;
  const DepthwiseKernels<T>& kernels_;
  void (*const add_)(T*, const T*, int64_t);
  const int64_t channels_, taps_;
  const double seconds_;
  int64_t chunk_rows_, chunk_columns_, row_chunks_, column_chunks_, segments_;
  ScratchLedger ledger_;
  int levels_entry_, pointers_entry_, segments_entry_;
};

template <class T>
FilterGradientPrepared<T>::FilterGradientPrepared(const Problem& problem,
                                                  const PlanContext& context)
    : p_(problem),
      kernels_(kernels_of<T>(context.kernels->depthwise)),
      add_(kernels_of<T>(context.kernels->gemm).add),
      channels_(problem.ic),
      taps_(problem.kd * problem.kh * problem.kw),
      seconds_(depthwise_filter_gradient_algorithm().cost(problem, context)) {
  const int64_t columns = std::max<int64_t>(1, p_.ow), rows = std::max<int64_t>(1, p_.oh);
  column_chunks_ = columns > kChunkResults * 3 / 2 ? ceil_div(columns, kChunkResults) : 1;
  chunk_columns_ = ceil_div(columns, column_chunks_);
  column_chunks_ = ceil_div(columns, chunk_columns_);
  row_chunks_ = ceil_div(rows, std::max<int64_t>(1, kChunkResults / chunk_columns_));
  chunk_rows_ = ceil_div(rows, row_chunks_);
  row_chunks_ = ceil_div(rows, chunk_rows_);
  const int64_t filter_bytes = p_.filter_elements() * static_cast<int64_t>(sizeof(T));
  segments_ = std::clamp<int64_t>(
      segment_bytes(kSegmentBytes, *context.cpu) / std::max<int64_t>(1, filter_bytes), 1,
      2 * most_segments(*context.cpu));
  levels_entry_ = ledger_.book(
      "depthwise.sums",
      checked_bytes({kLevels, taps_, std::min(channels_, kBlockChannels), sizeof(T)}, "sums"),
      true);
  pointers_entry_ = ledger_.book("depthwise.rows",
                                 checked_bytes({chunk_rows_, 2 * sizeof(T*)}, "pointers"), true);
  segments_entry_ = ledger_.book(
      "depthwise.segments",
      checked_bytes({segments_ - 1, p_.filter_elements(), sizeof(T)}, "segments"), false);
}

template <class T>
typename FilterGradientPrepared<T>::Chunk FilterGradientPrepared<T>::chunk_at(int64_t index) const {
  Chunk chunk{};
  chunk.column = index % column_chunks_ * chunk_columns_;
  index /= column_chunks_;
  chunk.row = index % row_chunks_ * chunk_rows_;
  index /= row_chunks_;
  chunk.d = index % p_.od;
  chunk.sample = index / p_.od;
  chunk.row_end = std::min(p_.oh, chunk.row + chunk_rows_);
  chunk.column_end = std::min(p_.ow, chunk.column + chunk_columns_);
  return chunk;
}

// Results [*begin, *end) of [begin, end) whose tap at `offset` (from the result's index times the
// stride) lies within an axis of the input.
void clip(int64_t size, int64_t stride, int64_t offset, int64_t* begin, int64_t* end) {
  if (offset < 0) *begin = std::max(*begin, ceil_div(-offset, stride));
  const int64_t left = size - 1 - offset;
  *end = left < 0 ? *begin : std::max(*begin, std::min(*end, left / stride + 1));
}

template <class T>
void FilterGradientPrepared<T>::add_chunk(const Chunk& chunk, int64_t channel, int64_t channels,
                                          const Buffers& buffers, const T** pointers,
                                          T* sums) const {
  const Problem& p = p_;
  const T* const input =
      static_cast<const T*>(buffers.input) + chunk.sample * p.input_voxels() * channels_ + channel;
  const T* const grad_output = static_cast<const T*>(buffers.grad_output) +
                               ((chunk.sample * p.od + chunk.d) * p.oh * p.ow) * channels_ +
                               channel;
  DepthwiseFilterArgs<T> args{};
  args.channels = channels;
  args.x = pointers;
  args.g = pointers + chunk_rows_;
  args.x_output = p.sw * channels_;
  args.g_output = channels_;
  args.sums_tap = channels;
  for (int64_t td = 0; td < p.kd; ++td) {
    const int64_t id = chunk.d * p.sd - p.pd + td * p.dd;
    if (id < 0 || id >= p.id) continue;
    for (int64_t th = 0; th < p.kh; ++th) {
      const int64_t h_offset = th * p.dh - p.ph;
      int64_t row = chunk.row, row_end = chunk.row_end;
      clip(p.ih, p.sh, h_offset, &row, &row_end);
      args.rows = row_end - row;
      if (args.rows <= 0) continue;
      for (int64_t r = row; r < row_end; ++r) {
        pointers[r - row] = input + (id * p.ih + r * p.sh + h_offset) * p.iw * channels_;
        pointers[chunk_rows_ + r - row] = grad_output + r * p.ow * channels_;
      }
      for (int64_t first = 0; first < p.kw; first += kMaxDepthwiseTaps) {
        args.taps = static_cast<int>(std::min<int64_t>(kMaxDepthwiseTaps, p.kw - first));
        for (int t = 0; t < args.taps; ++t) {
          const int64_t offset = (first + t) * p.dw - p.pw;
          args.begin[t] = chunk.column;
          args.end[t] = chunk.column_end;
          clip(p.iw, p.sw, offset, &args.begin[t], &args.end[t]);
          args.x_tap[t] = offset * channels_;
        }
        args.sums = sums + ((td * p.kh + th) * p.kw + first) * channels;
        kernels_.filter(&args);
      }
    }
  }
}

template <class T>
void FilterGradientPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch,
                                        ThreadPool& pool, int threads) const {
  T* const result = static_cast<T*>(buffers.result);
  const int64_t elements = p_.filter_elements();
  if (elements == 0) return;
  const int64_t chunks = buffers.batch * p_.od * row_chunks_ * column_chunks_;
  const int64_t blocks = ceil_div(channels_, kBlockChannels);
  const int64_t segments = std::clamp<int64_t>(chunks / 2, 1, segments_);
  T* const others = scratch.get<T>(segments_entry_);
  const auto slot = [&](int64_t segment) {
    return segment == 0 ? result : others + (segment - 1) * elements;
  };
  pool.parallel_for(blocks * segments, 1, threads, [&](int64_t begin, int64_t end, int id) {
    T* const levels_base = scratch.get<T>(levels_entry_, id);
    const T** const pointers = scratch.get<const T*>(pointers_entry_, id);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t segment = index / blocks, channel = index % blocks * kBlockChannels;
      const int64_t channels = std::min(kBlockChannels, channels_ - channel),
                    size = taps_ * channels;
      const int64_t chunk = chunks * segment / segments,
                    chunk_end = chunks * (segment + 1) / segments;
      int levels = 1;  // that this many chunks fill
      for (int64_t unit = (chunk_end - chunk) / kRadix; unit > 0 && levels < kLevels;
           unit /= kRadix)
        ++levels;
      std::fill(levels_base, levels_base + levels * size, T(0));
      for (int64_t i = chunk; i < chunk_end; ++i) {
        add_chunk(chunk_at(i), channel, channels, buffers, pointers, levels_base);
        int64_t unit = i - chunk + 1;
        for (int level = 0; level + 1 < levels && unit % kRadix == 0; ++level, unit /= kRadix) {
          T* const sums = levels_base + level * size;
          add_(sums + size, sums, size);
          std::fill(sums, sums + size, T(0));
        }
      }
      for (int level = 0; level + 1 < levels; ++level)
        add_(levels_base + (level + 1) * size, levels_base + level * size, size);
      const T* from = levels_base + (levels - 1) * size;
      T* to = slot(segment) + channel;
      for (int64_t t = 0; t < taps_; ++t, from += channels, to += channels_)
        std::copy(from, from + channels, to);
    }
  });
  sum_segments(elements, segments, pool, threads, slot, add_);
}

}  // namespace

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<FilterGradientPrepared<double>>(problem, context);
  return std::make_unique<FilterGradientPrepared<float>>(problem, context);
}

}  // namespace conv3d::depthwise
