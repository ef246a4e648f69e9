// Channels first, windows that do not overlap: each voxel of the input belongs to one window or to
// none, so the convolution is a pointwise one whose input channels are the taps and channels of a
// window.
//
//   work item   a tile of output voxels, what the micro-kernel keeps in registers or a few times
//               that, of one sample; where those are few, a part of the result's channels of it
//   forward     the tile's windows are cut out of the input into scratch, [channel][tap][voxel],
//               and multiplied; results in place. Strides of two: the first panel cuts them, of
//               tiles that lie in one plane
//   backward    grad_output is read in place and kept in scratch for the panels after the first;
//               a group of channels at a time, results [channel][tap][voxel] in scratch are joined
//               to whole rows of the input, with what no window reaches between and behind them:
//               each is written once
//   filter      packed once: [group][panel][k][channel of the panel], forward one group
//
// Kernels are those of the planar family (kernels/planar.inl): lanes along the voxels.
//
// Order of sums: one chain of multiply-adds; forward over channels, and depth, height and width
// taps in each; backward over output channels.
#include "algorithms/patches/patches.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/patches/cells.h"
#include "algorithms/patches/filter_gradient.h"
#include "base/math.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::patches {

std::string why_not_cells(const Problem& p) {
  if (p.layout != Layout::kChannelsFirst) return "rows are contiguous channels first only";
  if (!is_direct_dtype(p.dtype)) return "computes in float32 and float64";
  if (p.groups != 1) return "knows no groups";
  const auto apart = [](int64_t k, int64_t s, int64_t d) { return k <= s && (k == 1 || d == 1); };
  if (!apart(p.kd, p.sd, p.dd) || !apart(p.kh, p.sh, p.dh) || !apart(p.kw, p.sw, p.dw))
    return "windows must not overlap: strides at least as long as the kernel";
  if (p.sw == 1) return "rows without a stride are read in place by others";
  const auto inside = [](int64_t out, int64_t s, int64_t k, int64_t in) {
    return out > 0 && (out - 1) * s + k <= in;
  };
  // A stride beyond the input may be any number; then there is one window, for others to serve.
  if (p.sd > p.id || p.sh > p.ih || p.sw > p.iw) return "strides must not exceed the input";
  if (p.pd != 0 || p.ph != 0 || p.pw != 0 || !inside(p.od, p.sd, p.kd, p.id) ||
      !inside(p.oh, p.sh, p.kh, p.ih) || !inside(p.ow, p.sw, p.kw, p.iw))
    return "knows no padding";
  return "";
}

namespace {

// Results of a group, backward: of few taps they stay near L1 until they are joined.
constexpr int64_t kGroupRows = 96;
// Voxels of a tile: shorter ones cut rows into pieces of little use, longer ones leave L1.
constexpr int64_t kLeastTile = 64, kMostTile = 128;
// Of tiles longer than that, which take more of the L2: most rows of a sum, fewest in a sample.
constexpr int64_t kMostWideRows = 512, kLeastTiles = 16;

struct Shape {
  bool backward;
  int64_t taps, k, rows;       // of a window; of the sum; result channels, backward times taps
  int64_t group_rows, groups;  // rows of a group, the last one maybe fewer
  int64_t tile, pitch;         // voxels; numbers between rows of a tile
  int vectors;                 // of the tiles that the micro-kernel cuts it into
  int64_t voxels, tiles;       // of a sample
  int64_t panels(int64_t group, int64_t max_rows) const {
    return ceil_div(rows_of(group), max_rows);
  }
  // In its group: panels are as even as possible, larger ones first.
  int64_t first_row(int64_t group, int64_t panel, int64_t panels) const {
    const int64_t each = rows_of(group) / panels, extra = rows_of(group) % panels;
    return panel * each + std::min(panel, extra);
  }
  int64_t rows_of(int64_t group) const { return std::min(group_rows, rows - group * group_rows); }
};

// Rows of a tile that stay in the L2.
int64_t rows_that_fit(const PlanContext& context, int64_t pitch, DType dtype) {
  const int64_t size = dtype == DType::kFloat64 ? 8 : 4;
  return static_cast<int64_t>(l2_bytes(*context.cpu)) * 5 / 8 / (pitch * size);
}

template <class T>
Shape make_shape(const Problem& p, const PlanContext& context) {
  const KernelTable& table = *context.kernels;
  const PlanarKernels<T>& kernels = kernels_of<T>(table.planar);
  Shape s{};
  s.backward = p.direction == Direction::kBackwardInput;
  s.taps = taps_of(p);
  s.k = s.backward ? p.oc : p.ic * s.taps;
  s.rows = s.backward ? p.ic * s.taps : p.oc;
  s.group_rows =
      s.backward ? s.taps * std::clamp<int64_t>(kGroupRows / s.taps, 1, std::max<int64_t>(1, p.ic))
                 : std::max<int64_t>(1, s.rows);
  s.groups = ceil_div(s.rows, s.group_rows);
  const int64_t first = s.rows_of(0),
                panel = ceil_div(first, ceil_div(first, int64_t{kernels.max_rows}));
  const int64_t lanes = lanes_of(table, p.dtype);
  const int64_t registers = kernels.vectors[panel] * lanes;
  s.vectors = kernels.vectors[panel];
  s.voxels = p.output_voxels();
  s.tile = std::min(s.voxels, std::max(registers, kLeastTile / registers * registers));
  // Backward whole rows, so that what is joined is contiguous; forward where that costs few lanes.
  if (p.ow <= s.tile && (s.backward || s.tile % p.ow <= s.tile / 16)) s.tile -= s.tile % p.ow;
  // As many rows as fill the vectors of a sample best, where tiles are many and their rows few.
  const auto vectors_of = [&](int64_t n) {
    return s.voxels / n * ceil_div(n, lanes) + ceil_div(s.voxels % n, lanes);
  };
  // Forward none that leaves its plane where the shorter ones do not: the kernel would not gather.
  const int64_t plane = p.oh * p.ow, shortest = s.tile;
  // An odd number of lines: a few voxels of many rows fall into different sets of the L1.
  const int64_t line = p.dtype == DType::kFloat64 ? 8 : 16;
  const auto pitch_of = [&](int64_t n) {
    const int64_t whole = ceil_div(n, lanes) * lanes;
    return n > registers ? (ceil_div(whole, line) | 1) * line : whole;
  };
  if (s.tile % p.ow == 0 && std::max(s.k, s.group_rows) <= kMostWideRows)
    for (int64_t n = s.tile + p.ow; n <= std::min(s.voxels / kLeastTiles, kMostTile); n += p.ow)
      if (vectors_of(n) * 50 < vectors_of(s.tile) * 49 &&
          (s.backward || plane % n == 0 || plane % shortest != 0) &&
          std::max(s.k, s.backward ? s.group_rows : 0) <=
              rows_that_fit(context, pitch_of(n), p.dtype))
        s.tile = n;
  s.pitch = pitch_of(s.tile);
  s.tiles = ceil_div(s.voxels, s.tile);
  return s;
}

// Forward, whether the kernel can gather the windows of these voxels; see its conditions. Narrow
// tiles are cut sooner (measured: 64 to 128 channels with AVX2, 3.0 ms beside 3.2).
bool gathers(const Problem& p, const Shape& s, int64_t lanes, const Range& pixels) {
  const int64_t size = p.dtype == DType::kFloat64 ? 8 : 4, plane = p.oh * p.ow,
                end = (pixels.end - 1) % plane + 1;
  return !s.backward && s.vectors * lanes * size >= 128 && p.sw == 2 && p.sh * p.iw >= 2 * p.ow &&
         end >= std::max(pixels.size(), lanes) && p.ow * (kGatherPieces - 1) >= lanes - 1;
}

template <class T>
class PatchesPrepared final : public Prepared {
 public:
  PatchesPrepared(const Problem& problem, const PlanContext& context);

  size_t packed_filter_bytes() const override {
    return checked_bytes({shape_.k, shape_.rows, sizeof(T)}, "the packed filter");
  }
  std::string packed_filter_format() const override {
    return std::string("patches_") + (shape_.backward ? "backward" : "forward") + "_groups" +
           std::to_string(shape_.group_rows) + "_panels" + std::to_string(kernels_.max_rows);
  }
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override;
  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override {
    return "patches, tiles of " + std::to_string(shape_.tile) + " voxels, sums of " +
           std::to_string(shape_.k) + ", " + std::to_string(shape_.groups) + " groups" +
           (gathers(problem_, shape_, gemm_.lanes, {0, shape_.tile}) ? ", cut by the first panel"
                                                                     : "");
  }
  double error_bound() const override;
  int useful_threads() const override { return useful_threads_; }

 private:
  struct Thread {
    T *source, *results, *lines;
    ptrdiff_t* ahead;
  };
  struct Item {
    int64_t sample;
    Range pixels, part;  // of the groups, forward: of the panels of the one group
  };
  int64_t source_channel_elements() const {
    return shape_.backward ? problem_.output_voxels() : problem_.input_voxels();
  }
  // `next` is what the thread does then, or null.
  void forward(const Item& item, const Item* next, const Buffers& buffers,
               const Thread& thread) const;
  // Rows of the input that the windows of a tile lie in, at most.
  int64_t window_rows() const {
    return (shape_.tile / problem_.ow + 2) * problem_.kd * problem_.kh * problem_.ic;
  }
  void foresee(const Item& item, const Buffers& buffers, ptrdiff_t* offsets,
               PlanarArgs<T>* args) const;
  void backward(const Item& item, const Buffers& buffers, const Thread& thread,
                const T* bias) const;

  Problem problem_;
  const PlanarKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  Shape shape_;
  int64_t l3_bytes_;
  std::vector<ptrdiff_t> kept_, in_place_;  // offsets of k in scratch, and in the source
  int useful_threads_;
  ScratchLedger ledger_;
  int source_entry_, results_entry_, lines_entry_, ahead_entry_, bias_entry_;
};

double cost(const Problem& problem, const PlanContext& context);

template <class T>
PatchesPrepared<T>::PatchesPrepared(const Problem& problem, const PlanContext& context)
    : problem_(problem),
      kernels_(kernels_of<T>(context.kernels->planar)),
      gemm_(kernels_of<T>(context.kernels->gemm)),
      shape_(make_shape<T>(problem, context)),
      l3_bytes_(static_cast<int64_t>(l3_bytes(*context.cpu))),
      useful_threads_(threads_that_pay(patches::cost(problem, context))) {
  for (int64_t k = 0; k < shape_.k; ++k) {
    kept_.push_back(k * shape_.pitch);
    const int64_t tw = k % problem.kw, th = k / problem.kw % problem.kh,
                  td = k / (problem.kw * problem.kh) % problem.kd;
    in_place_.push_back(shape_.backward ? k * shape_.voxels
                                        : k / shape_.taps * problem.input_voxels() +
                                              (td * problem.ih + th) * problem.iw + tw);
  }
  // Before it a row's room, for a tile that is gathered and shorter than that.
  source_entry_ = ledger_.book(
      "patches.source", checked_bytes({shape_.k + 1, shape_.pitch, sizeof(T)}, "a tile"), true);
  results_entry_ = ledger_.book(
      "patches.results",
      checked_bytes({shape_.backward ? shape_.group_rows : 0, shape_.pitch, sizeof(T)}, "results"),
      true);
  lines_entry_ = ledger_.book(
      "patches.lines",
      checked_bytes({shape_.backward ? lines_of(problem, shape_.tile) : 0, sizeof(T)}, "rows"),
      true);
  ahead_entry_ = ledger_.book(
      "patches.ahead",
      checked_bytes({shape_.backward ? 0 : window_rows(), sizeof(ptrdiff_t)}, "offsets"), true);
  bias_entry_ = ledger_.book(
      "patches.bias",
      checked_bytes({shape_.backward && problem.with_bias ? shape_.rows : 0, sizeof(T)}, "biases"),
      false);
}

// The filter is [tap][input channel][output channel].
template <class T>
void PatchesPrepared<T>::pack_filter(const void* filter, void* packed, ThreadPool& pool,
                                     int threads) const {
  const Shape& s = shape_;
  const T* const w = static_cast<const T*>(filter);
  const int64_t ic = problem_.ic, oc = problem_.oc;
  // Of a channel's tap, counted as in the sums: all output channels.
  const auto weights = [&](int64_t window) {
    return w + (window % s.taps * ic + window / s.taps) * oc;
  };
  const auto pack_panel = [&](int64_t group, int64_t panel, int64_t panels) {
    const int64_t at = s.first_row(group, panel, panels),
                  width = s.first_row(group, panel + 1, panels) - at,
                  first = group * s.group_rows + at;
    T* const to = static_cast<T*>(packed) + first * s.k;
    if (s.backward) {
      for (int64_t i = 0; i < width; ++i) {
        const T* const from = weights(first + i);
        for (int64_t k = 0; k < s.k; ++k) to[k * width + i] = from[k];
      }
    } else {
      for (int64_t k = 0; k < s.k; ++k) {
        const T* const from = weights(k) + first;
        std::copy(from, from + width, to + k * width);
      }
    }
  };
  for (int64_t group = 0; group < s.groups; ++group) {
    const int64_t panels = s.panels(group, kernels_.max_rows);
    pool.parallel_for(panels, 1 + 16384 / (s.k * kernels_.max_rows), threads,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t panel = begin; panel < end; ++panel)
                          pack_panel(group, panel, panels);
                      });
  }
}

// What the next tile will cut, as what `args` asks for on its way.
template <class T>
void PatchesPrepared<T>::foresee(const Item& item, const Buffers& buffers, ptrdiff_t* offsets,
                                 PlanarArgs<T>* args) const {
  const Problem& p = problem_;
  int64_t rows_of_channel = 0, longest = 0;
  each_piece(p, item.pixels,
             [&](int64_t d, int64_t h, int64_t rows, int64_t w, int64_t n, int64_t) {
               longest = std::max(longest, n * p.sw);
               for (int64_t td = 0; td < p.kd; ++td)
                 for (int64_t r = 0; r < rows; ++r)
                   for (int64_t th = 0; th < p.kh; ++th)
                     offsets[rows_of_channel++] =
                         ((d * p.sd + td) * p.ih + (h + r) * p.sh + th) * p.iw + w * p.sw;
             });
  // The other channels', from the one before: this list is a part of each tile's time.
  const int64_t count = rows_of_channel * p.ic;
  for (int64_t i = rows_of_channel; i < count; ++i)
    offsets[i] = offsets[i - rows_of_channel] + p.input_voxels();
  args->ahead = static_cast<const T*>(buffers.input) + item.sample * p.ic * p.input_voxels();
  args->ahead_offsets = offsets;
  args->ahead_rows = count;
  args->ahead_lines =
      static_cast<int>(ceil_div(longest * static_cast<int64_t>(sizeof(T)), int64_t{64}));
}

template <class T>
void PatchesPrepared<T>::forward(const Item& item, const Item* next, const Buffers& buffers,
                                 const Thread& thread) const {
  const Problem& p = problem_;
  const Shape& s = shape_;
  const T* const input =
      static_cast<const T*>(buffers.input) + item.sample * p.ic * p.input_voxels();
  PlanarArgs<T> args{};
  GatherArgs<T> gather{};
  if (gathers(p, s, gemm_.lanes, item.pixels)) {
    const int64_t row = item.pixels.begin / p.ow;
    gather.row = p.sh * p.iw;
    gather.first = item.pixels.begin % p.ow;
    gather.width = p.ow;
    gather.step = p.sw;
    args.gather = &gather;
    args.gather_pairs = p.kw == 2 ? 1 : 0;
    args.source = input + (row / p.oh * p.sd * p.ih + row % p.oh * p.sh) * p.iw;
    args.offsets = in_place_.data();
    args.kept = thread.source;
    args.kept_offsets = kept_.data();
    args.keeps_all = 1;
  } else {
    const PhaseTimer timer(Phase::kTransform);
    cut_windows(p, kernels_, input, p.ic, item.pixels, thread.source, s.pitch);
    args.source = thread.source;
    args.offsets = kept_.data();
  }
  const PhaseTimer timer(Phase::kMultiply);
  const int64_t panels = s.panels(0, kernels_.max_rows),
                row = s.first_row(0, item.part.begin, panels);
  args.k = args.filter_k = s.k;
  args.width = item.pixels.size();
  args.vectors = s.vectors;
  args.filter = static_cast<const T*>(buffers.packed_filter) + row * s.k;
  args.channels = static_cast<int>(s.first_row(0, item.part.end, panels) - row);
  args.panels = static_cast<int>(item.part.size());
  args.result =
      static_cast<T*>(buffers.result) + (item.sample * p.oc + row) * s.voxels + item.pixels.begin;
  args.result_plane = s.voxels;
  args.finish.last = 1;
  args.finish.activation = static_cast<int>(p.activation);
  args.finish.alpha = static_cast<T>(p.leaky_relu_alpha);
  if (buffers.bias != nullptr) args.finish.bias = static_cast<const T*>(buffers.bias) + row;
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  args.finish.stream =
      buffers.batch * p.oc * s.voxels * static_cast<int64_t>(sizeof(T)) > l3_bytes_ / 3 &&
      p.activation <= Activation::kRelu && reinterpret_cast<uintptr_t>(args.result) % 64 == 0 &&
      args.width % std::max<int64_t>(kLine, gemm_.lanes) == 0 && s.voxels % kLine == 0;
  if (next != nullptr && (next->pixels.begin != item.pixels.begin || next->sample != item.sample))
    foresee(*next, buffers, thread.ahead, &args);
  kernels_.rows(&args);
}

template <class T>
void PatchesPrepared<T>::backward(const Item& item, const Buffers& buffers, const Thread& thread,
                                  const T* bias) const {
  const Problem& p = problem_;
  const Shape& s = shape_;
  const T* const source = static_cast<const T*>(buffers.grad_output) +
                          item.sample * p.oc * s.voxels + item.pixels.begin;
  PlanarArgs<T> args{};
  args.k = args.filter_k = s.k;
  args.width = item.pixels.size();
  args.vectors = s.vectors;
  args.result = thread.results;
  args.result_plane = s.pitch;
  args.finish.last = 1;
  args.finish.activation = static_cast<int>(p.activation);
  args.finish.alpha = static_cast<T>(p.leaky_relu_alpha);
  // The last vector may reach beyond the tile's voxels, but not beyond the tensor.
  const int64_t last_channel = ((item.sample + 1) * p.oc - 1) * s.voxels,
                end = item.pixels.begin +
                      ceil_div(item.pixels.size(), int64_t{gemm_.lanes}) * gemm_.lanes;
  if (last_channel + end <= buffers.batch * p.oc * s.voxels) {
    args.source = source;
    args.offsets = in_place_.data();
    args.kept = thread.source;
    args.kept_offsets = kept_.data();
    args.keeps_all = 1;
  } else {
    const PhaseTimer timer(Phase::kTransform);
    for (int64_t k = 0; k < s.k; ++k)
      std::copy(source + k * s.voxels, source + k * s.voxels + item.pixels.size(),
                thread.source + kept_[static_cast<size_t>(k)]);
    args.source = thread.source;
    args.offsets = kept_.data();
  }
  const int64_t size = static_cast<int64_t>(sizeof(T));
  const bool past_caches = buffers.batch * p.ic * p.input_voxels() * size > l3_bytes_ / 3;
  for (int64_t group = item.part.begin; group < item.part.end; ++group) {
    const int64_t row = group * s.group_rows, channel = row / s.taps;
    {
      const PhaseTimer timer(Phase::kMultiply);
      args.channels = static_cast<int>(s.rows_of(group));
      args.panels = static_cast<int>(s.panels(group, kernels_.max_rows));
      args.filter = static_cast<const T*>(buffers.packed_filter) + row * s.k;
      args.finish.bias = bias != nullptr ? bias + row : nullptr;
      kernels_.rows(&args);
      args.source = thread.source;
      args.offsets = kept_.data();
      args.kept = nullptr;
    }
    const PhaseTimer timer(Phase::kInverse);
    const auto rest = [&](int64_t c) {
      T value = bias != nullptr ? bias[row + c * s.taps] : T(0);
      if (p.activation != Activation::kNone)
        gemm_.activate(&value, 1, static_cast<int>(p.activation),
                       static_cast<T>(p.leaky_relu_alpha));
      return value;
    };
    join_windows(
        p, kernels_, thread.results, s.pitch, s.rows_of(group) / s.taps, item.pixels,
        past_caches ? thread.lines : nullptr, rest,
        static_cast<T*>(buffers.result) + (item.sample * p.ic + channel) * p.input_voxels());
  }
}

template <class T>
void PatchesPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                                 int threads) const {
  const Shape& s = shape_;
  const int64_t whole = buffers.batch * s.tiles;
  if (whole * s.rows == 0) return;
  const T* bias = nullptr;
  if (s.backward && buffers.bias != nullptr) {
    T* const spread = scratch.get<T>(bias_entry_);
    for (int64_t row = 0; row < s.rows; ++row)
      spread[row] = static_cast<const T*>(buffers.bias)[row / s.taps];
    bias = spread;
  }
  const int64_t parts = s.backward ? s.groups : s.panels(0, kernels_.max_rows),
                wanted =
                    threads > 1 ? 2 * int64_t{threads} : 1;  // parts of a tile each cut it anew
  const int64_t splits = std::clamp<int64_t>(ceil_div(wanted, whole), 1, parts);
  const int64_t items = whole * splits;
  // Neighbours on one thread: tiles share lines of rows.
  const int64_t grain = threads > 1 ? std::max<int64_t>(1, items / (8 * int64_t{threads})) : items;
  pool.parallel_for(items, grain, threads, [&](int64_t begin, int64_t end, int id) {
    const Thread thread{scratch.get<T>(source_entry_, id) + gemm_.lanes,
                        scratch.get<T>(results_entry_, id), scratch.get<T>(lines_entry_, id),
                        scratch.get<ptrdiff_t>(ahead_entry_, id)};
    const auto item_at = [&](int64_t index) {
      const int64_t tile = index / splits % s.tiles;
      return Item{index / splits / s.tiles,
                  {tile * s.tile, std::min(s.voxels, (tile + 1) * s.tile)},
                  piece(parts, index % splits, splits)};
    };
    for (int64_t index = begin; index < end; ++index) {
      const Item item = item_at(index), next = item_at(std::min(index + 1, end - 1));
      if (s.backward) {
        backward(item, buffers, thread, bias);
      } else {
        forward(item, index + 1 < end ? &next : nullptr, buffers, thread);
      }
    }
  });
}

// A chain of n multiply-adds errs by at most n u of the sum of magnitudes, and in practice by its
// square root.
template <class T>
double PatchesPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53,
               length = static_cast<double>(std::max<int64_t>(1, shape_.k));
  return unit * std::min(length, 8 + 2 * std::max(1.0, length / 16));
}

double cost(const Problem& p, const PlanContext& context) {
  const bool f64 = p.dtype == DType::kFloat64;
  const Shape s = f64 ? make_shape<double>(p, context) : make_shape<float>(p, context);
  const int max_rows =
      f64 ? context.kernels->planar.f64.max_rows : context.kernels->planar.f32.max_rows;
  const double lanes = lanes_of(*context.kernels, p.dtype), size = f64 ? 8 : 4;
  const double k = static_cast<double>(s.k), slow = hertz(context) / kClock;
  const auto group_cycles = [&](int64_t group) {
    const double panels = static_cast<double>(s.panels(group, max_rows)),
                 rows = static_cast<double>(s.rows_of(group)) / panels,
                 all = std::ceil(static_cast<double>(s.tile) / lanes),
                 count = std::ceil(all / static_cast<double>(s.vectors)), vectors = all / count;
    // As for the planar rows: multiply-adds two a cycle, loads two a cycle, latency.
    const double step = std::max({rows * vectors / 2, (vectors + rows + 0.5) / 2, 4.0}) / 0.92;
    return count * panels * (k * step + 20 * slow + rows * vectors);
  };
  // All groups but the last are alike.
  const double tile =
      static_cast<double>(s.groups - 1) * group_cycles(0) + group_cycles(s.groups - 1);
  // Windows are cut, whole rows joined, by element and by row; what the first panel gathers it does
  // between its multiply-adds.
  const double element = cycles_to_move(p), elements = static_cast<double>(s.voxels * s.k);
  const auto rows_of = [&](int64_t planes, int64_t rows) {
    return static_cast<double>(p.ic * planes * rows);
  };
  // Rows that no window reaches are only filled.
  constexpr double kFilled = 0.3;
  const double whole = static_cast<double>(p.ic * p.input_voxels()),
               joined = rows_of(p.od * p.kd, p.oh * p.kh) * static_cast<double>(p.iw);
  const double moved =
      slow * (s.backward ? joined * element + (whole - joined) * kFilled + rows_of(p.id, p.ih) * 12
              : gathers(p, s, static_cast<int64_t>(lanes), {0, s.tile})
                  ? elements * 0.4
                  : elements * element + rows_of(p.od * p.kd, p.oh * p.kh) * 20);
  // Each tile reads the filter.
  const double filter_bytes = size * k * static_cast<double>(s.rows),
               tiles = static_cast<double>(s.tiles);
  const double filter = stream_seconds(filter_bytes * tiles, filter_bytes, *context.cpu);
  const double packing =
      s.backward ? 2 * size * static_cast<double>(p.filter_elements()) / kGatherBytes : 0.0;
  const double arithmetic = static_cast<double>(p.mb) * (tiles * tile + moved) / hertz(context);
  return kCallSeconds +
         (overlapped_seconds(arithmetic, traffic_seconds(p, *context.cpu) + filter) + packing) /
             std::max(1, context.threads);
}

class Patches final : public Algorithm {
 public:
  const char* name() const override { return "patches"; }
  const char* family() const override { return "patches"; }
  std::string why_not(const Problem& problem, const PlanContext& context) const override {
    if (problem.direction == Direction::kBackwardFilter)
      return "computes forward and backward_input";
    const std::string reason = why_not_cells(problem);
    if (!reason.empty()) return reason;
    // A tile's windows stay in the L2, and backward the results of a group.
    const Shape s = problem.dtype == DType::kFloat64 ? make_shape<double>(problem, context)
                                                     : make_shape<float>(problem, context);
    const int64_t most = rows_that_fit(context, s.pitch, problem.dtype);
    if (s.k > most || (s.backward && s.group_rows > most))
      return "windows or channels are too many for the L2";
    return "";
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return patches::cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    if (problem.dtype == DType::kFloat64)
      return std::make_unique<PatchesPrepared<double>>(problem, context);
    return std::make_unique<PatchesPrepared<float>>(problem, context);
  }
};

class PatchesFilterGradient final : public Algorithm {
 public:
  const char* name() const override { return "patches_filter_gradient"; }
  const char* family() const override { return "patches"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter";
    return why_not_cells(problem);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return filter_gradient_cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return prepare_filter_gradient(problem, context);
  }
};

}  // namespace
}  // namespace conv3d::patches

namespace conv3d {

const Algorithm& patches_algorithm() {
  static const patches::Patches algorithm;
  return algorithm;
}

const Algorithm& patches_filter_gradient_algorithm() {
  static const patches::PatchesFilterGradient algorithm;
  return algorithm;
}

}  // namespace conv3d
