// Correlations (correlation.h) as batch-reduce GEMM: C[pixel][channel] = sum over taps of
// A_tap[pixel][k] B_tap[k][channel].
//
//   work item   a block of pixels (some rows of the result, or a piece of one) x a range of channel
//               panels
//   A           pixels of the source in place, one pointer per pixel and (depth, height) tap.
//               Taps along the width are contiguous in channels-last memory: kw taps of c
//               channels are one k of kw * c. Pixels at the left and right border meet fewer
//               taps; pixels that meet the same taps form a class and are computed together, so
//               nothing is padded and no border is multiplied. Above and below the volume
//               pointers lead to a row of zeros.
//   B           the filter, packed once as [group][panel][channel chunk][kd kh][kw][k][nr]
//   C           the result, in place
//
// Channels-first tensors go through scratch block by block: the needed rows are transposed into it,
// chunk of channels by chunk, and the block of results is transposed out. Arithmetic and order are
// those of channels-last.
//
// Order of sums: channel chunks, inside them chunks of (depth, height) taps that fit L1 together
// with their B, inside these taps and channels in order. Each chunk is one chain of multiply-adds.
// Chunks depend on the filter and the caches' sizes only.
//
// Source: the indirection buffer (Dukhan, The indirect convolution algorithm, 2019) and
// batch-reduce GEMM (Georganas et al., High-performance deep learning via a single building block,
// 2020), joined and without padding.
#include "algorithms/implicit_gemm/correlation_plan.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "algorithms/implicit_gemm/correlation.h"
#include "algorithms/implicit_gemm/unreached.h"
#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "base/assert.h"
#include "base/math.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::implicit_gemm {
namespace {

// Results stay in registers over a chunk of k of one panel, of about this many L1 (and at most a
// quarter of the L2): it comes from L2 once per tile, which hardware prefetch hides, and C is read
// back less often. Measured on Zen 4: 3 to 20 % faster than with chunks that L1 holds, 0 to 4 %
// faster than with two.
constexpr int64_t kChunkInL1 = 4;
constexpr int64_t kBlockPixels =
    768;  // of a work item: pays for reading the filter from L2 or L3, and for borders
constexpr int64_t kPointwiseBlockPixels =
    96;  // one tap: results are written as whole rows while the filter stays in L2
constexpr double kItemSeconds = 0.12e-6;          // to set one up, measured
constexpr int64_t kTableBytes = 64 << 10;         // of pointers per work item that are read
constexpr int64_t kTableBytesSparse = 512 << 10;  // where only the border's pixels have pointers
constexpr int64_t kStridedBelow =
    2048;  // multiply-adds per pixel and (depth, height) tap: fewer do not pay for pointers
constexpr int64_t kPackElements = 16 << 10;  // of the filter: the least that a thread takes

struct Panel {
  int64_t first;  // channel of the group
  int columns, vectors;
  int64_t width;  // columns in packed memory
  int64_t base;   // sum of the widths before
};

struct Part {
  Correlation c;
  std::vector<TapClass> classes;      // of a whole row
  int64_t packed;                     // offset of its filter
  int64_t rows, block_rows;           // rows of results (d, h), and of a block
  int64_t columns, block_columns;     // of a row
  int64_t row_blocks, column_blocks;  // row blocks of a plane, if blocks do not cross planes
  bool one_plane;  // blocks do not cross planes; else they may even cross samples
  bool strided;    // the inner class reads rows of pixels a constant apart
  bool merged;     // taps along the width are one k
  int64_t groups;  // (d, h) taps
  int64_t groups_per_call;
};

// The result in units of channels: full panels as even as vectors allow.
std::vector<Panel> make_panels(int64_t channels, int lanes, int max_vectors) {
  std::vector<Panel> panels;
  const int64_t vectors = ceil_div(channels, lanes), count = ceil_div(vectors, max_vectors);
  int64_t vector = 0;
  for (int64_t i = 0; i < count; ++i) {
    // AVX2's single vectors make poor tiles: leave at most one of them, last. With four vectors
    // split evenly.
    const int64_t take = max_vectors <= 2 ? std::min<int64_t>(max_vectors, vectors - vector)
                                          : ceil_div(vectors - vector, count - i);
    const int64_t first = vector * lanes;
    panels.push_back({first, static_cast<int>(std::min(channels - first, take * lanes)),
                      static_cast<int>(take), take * lanes, first});
    vector += take;
  }
  return panels;
}

template <class T>
class CorrelationPrepared final : public Prepared {
 public:
  CorrelationPrepared(const Problem& problem, const PlanContext& context);

  size_t packed_filter_bytes() const override {
    return checked_bytes({packed_elements_, sizeof(T)}, "the packed filter");
  }
  std::string packed_filter_format() const override;
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override;
  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override;
  double error_bound() const override;
  int useful_threads() const override {
    return threads_that_pay(correlation_cost(problem_, context_));
  }

 private:
  // Rows are counted over the whole batch: row = (sample * d.outputs + d) * h.outputs + h.
  struct Item {
    const Part* part;
    int64_t group, row, row_end, column, column_end;
    size_t panel, panel_end;
  };
  // A row of an item: output indices, source sample (first channel of the group) and first result
  // of the row.
  struct Row {
    int64_t d, h;
    const T* source;
    T* result;
  };
  // One class of pixels of an item.
  struct ClassRun {
    TapClass taps;
    int64_t rows, width, pixels;
    bool strided;
    T** table;  // [group of the item][pixel]; strided: unused
    T** c;      // [pixel]
  };
  struct Thread;

  void choose_blocks(Part* part);
  void pack_tap(const Part& part, const T* filter, int64_t group, int64_t g, int64_t t,
                int64_t panel_index, int64_t chunk, T* packed) const;
  size_t part_of_item(const int64_t* first_item, int64_t slabs, int64_t* index) const;
  void run_item(const Item& item, const Buffers& buffers, Thread* thread) const;
  void run_chunk(const Item& item, const Buffers& buffers, Thread* thread, int64_t chunk) const;
  void run_rows(const Item& item, const Buffers& buffers, Thread* thread, int64_t chunk,
                size_t panel, int64_t g0, int64_t g1, bool first, bool last) const;
  void stage_source(const Item& item, Thread* thread, int64_t chunk) const;
  void unstage_result(const Item& item, Thread* thread) const;
  void find_rows(const Item& item, const Buffers& buffers, Thread* thread) const;
  int64_t stage_row(const Part& part, const Thread& thread, int64_t td, int64_t th, int64_t row,
                    int64_t ih) const;
  int64_t stage_rows_per_plane(const Part& part, int64_t rows) const;
  bool stage_by_tap(const Part& part, int64_t rows) const;
  int64_t chunk_begin(int64_t chunk) const { return source_group_ * chunk / chunks_; }
  int64_t chunk_size(int64_t chunk) const { return chunk_begin(chunk + 1) - chunk_begin(chunk); }
  int64_t max_chunk() const { return ceil_div(source_group_, chunks_); }
  GemmFinish<T> finish(const Buffers& b, bool first, bool last, int64_t channel,
                       bool stream) const {
    return {first ? 0 : 1,
            last ? 1 : 0,
            b.bias != nullptr ? static_cast<const T*>(b.bias) + channel : nullptr,
            static_cast<int>(problem_.activation),
            static_cast<T>(problem_.leaky_relu_alpha),
            stream ? 1 : 0};
  }

  Problem problem_;
  PlanContext context_;
  const GemmKernels<T>& kernels_;
  CorrelationProblem correlation_;
  std::vector<Part> parts_;
  std::vector<Panel> panels_;  // of one group's result channels
  bool channels_first_;
  bool far_source_;                      // beyond the L2
  bool deep_ = false;                    // any part has several taps along the depth
  bool dot_;                             // lanes along k instead of along channels
  int64_t source_group_, result_group_;  // channels of a group
  int64_t padded_group_;                 // result channels in packed memory
  int64_t chunks_;                       // of source channels
  int64_t packed_elements_ = 0;
  int64_t zeros_ = 0, table_size_ = 0, pixels_ = 0, stage_size_ = 0, block_size_ = 0, classes_ = 0,
          rows_ = 0, max_groups_ = 0;
  ScratchLedger ledger_;
  int zeros_entry_ = -1, table_entry_ = -1, c_entry_ = -1, stage_entry_ = -1, block_entry_ = -1,
      offsets_entry_ = -1, runs_entry_ = -1, rows_entry_ = -1, items_entry_ = -1;
};

// What an item works with on one thread.
template <class T>
struct CorrelationPrepared<T>::Thread {
  T** table;
  T** c;
  T* stage;
  T* block;
  ptrdiff_t* b_groups;
  const T** group_rows;  // strided form
  const T* zeros;
  bool stream;       // the result is large and its rows are whole lines
  bool stream_rows;  // channels first: the result is large
  ClassRun* runs;
  int64_t run_count;
  Row* rows;
  int64_t row_count;
  int64_t td_begin, td_end;  // taps along the depth that any row of the item meets
};

template <class T>
CorrelationPrepared<T>::CorrelationPrepared(const Problem& problem, const PlanContext& context)
    : problem_(problem),
      context_(context),
      kernels_(kernels_of<T>(context.kernels->gemm)),
      correlation_(make_correlations(problem)) {
  channels_first_ = problem.layout == Layout::kChannelsFirst;
  far_source_ =
      correlation_.source_voxels * correlation_.source_channels * static_cast<int64_t>(sizeof(T)) >
      static_cast<int64_t>(context.cpu->l2_bytes);
  source_group_ = correlation_.source_channels / correlation_.groups;
  result_group_ = correlation_.result_channels / correlation_.groups;
  const int64_t l1 = static_cast<int64_t>(context.cpu->l1d_bytes) / static_cast<int64_t>(sizeof(T));
  const int64_t panel_chunk =
      std::min(l1 * kChunkInL1, static_cast<int64_t>(context.cpu->l2_bytes / 4 / sizeof(T)));

  // Chunks of channels: one (d, h) tap of a panel, all its kw taps, in a part of L1.
  int64_t kw = 1;
  for (const Correlation& c : correlation_.parts) kw = std::max(kw, c.w.taps);
  const int64_t widest = int64_t{kernels_.max_vectors} * kernels_.lanes;
  const int64_t k_of_chunk = std::max<int64_t>(64, panel_chunk / widest);
  const int64_t channels_of_chunk = std::max<int64_t>(64, k_of_chunk / kw);
  chunks_ =
      source_group_ * 2 <= channels_of_chunk * 3 ? 1 : ceil_div(source_group_, channels_of_chunk);

  const bool can_merge = correlation_.groups == 1 && chunks_ == 1;
  dot_ = result_group_ <= kMaxDotColumns;
  for (const Correlation& c : correlation_.parts) {
    const bool merged = c.w.taps == 1 || (can_merge && c.w.dilation == 1);
    dot_ = dot_ && max_chunk() * (merged ? c.w.taps : 1) >= 2 * kernels_.lanes;
  }
  if (dot_) {
    panels_ = {{0, static_cast<int>(result_group_), 1, result_group_, 0}};
    padded_group_ = result_group_;
  } else {
    panels_ = make_panels(result_group_, kernels_.lanes, kernels_.max_vectors);
    padded_group_ = panels_.empty() ? 0 : panels_.back().base + panels_.back().width;
  }

  for (const Correlation& c : correlation_.parts) deep_ = deep_ || c.d.taps > 1;
  for (const Correlation& c : correlation_.parts) {
    Part part{};
    part.c = c;
    part.classes = tap_classes(c.w, 0, c.w.outputs);
    classes_ = std::max(classes_, static_cast<int64_t>(part.classes.size()));
    part.groups = c.d.taps * c.h.taps;
    part.merged = c.w.taps == 1 || (can_merge && c.w.dilation == 1);
    const int64_t panel_of_group = c.w.taps * max_chunk() * widest;
    // Dot products read each row of pixels once for few results: the sweep along it comes first.
    const int64_t chunk = dot_ ? l1 / 2 : panel_chunk;
    part.groups_per_call =
        std::clamp<int64_t>(chunk / std::max<int64_t>(1, panel_of_group), 1, part.groups);
    part.packed = packed_elements_;
    // The dot kernel pads k to whole vectors, once per (tap and) chunk.
    const int64_t pad = dot_ ? chunks_ * c.w.taps * kernels_.lanes : 0;
    packed_elements_ += checked_product(
        {correlation_.groups, padded_group_, part.groups, c.w.taps * source_group_ + pad},
        "the packed filter");
    choose_blocks(&part);
    parts_.push_back(part);
  }

  zeros_entry_ = ledger_.book("gemm.zeros", checked_bytes({zeros_, sizeof(T)}, "zeros"), false);
  table_entry_ =
      ledger_.book("gemm.pointers", checked_bytes({table_size_, sizeof(T*)}, "pointers"), true);
  c_entry_ = ledger_.book("gemm.results", checked_bytes({pixels_, sizeof(T*)}, "pointers"), true);
  offsets_entry_ =
      ledger_.book("gemm.groups", checked_bytes({max_groups_, 2 * sizeof(T*)}, "offsets"), true);
  runs_entry_ =
      ledger_.book("gemm.classes", checked_bytes({classes_, sizeof(ClassRun)}, "classes"), true);
  rows_entry_ = ledger_.book("gemm.row", checked_bytes({rows_, sizeof(Row)}, "rows"), true);
  items_entry_ = ledger_.book(
      "gemm.items",
      checked_bytes({static_cast<int64_t>(parts_.size()) + 1, sizeof(int64_t)}, "items"), false);
  if (channels_first_) {
    stage_entry_ = ledger_.book("gemm.rows", checked_bytes({stage_size_, sizeof(T)}, "rows"), true);
    block_entry_ =
        ledger_.book("gemm.block", checked_bytes({block_size_, sizeof(T)}, "results"), true);
  }
}

// Staging by tap copies a row once per tap that reads it; by plane, all rows between the first and
// the last.
template <class T>
bool CorrelationPrepared<T>::stage_by_tap(const Part& part, int64_t rows) const {
  const AxisTaps& h = part.c.h;
  return (rows - 1) * h.stride + (h.taps - 1) * h.dilation + 1 > rows * h.taps;
}

template <class T>
int64_t CorrelationPrepared<T>::stage_rows_per_plane(const Part& part, int64_t rows) const {
  const AxisTaps& h = part.c.h;
  return stage_by_tap(part, rows) ? rows * h.taps
                                  : (rows - 1) * h.stride + (h.taps - 1) * h.dilation + 1;
}

template <class T>
void CorrelationPrepared<T>::choose_blocks(Part* part) {
  const Correlation& c = part->c;
  const int64_t size = sizeof(T), l2 = static_cast<int64_t>(context_.cpu->l2_bytes);
  part->rows = c.d.outputs * c.h.outputs;
  part->columns = c.w.outputs;
  const bool pointwise = part->groups == 1 && c.w.taps == 1;
  const int64_t filter_bytes = padded_group_ * part->groups * c.w.taps * source_group_ * size;
  int64_t target = pointwise && filter_bytes * 2 <= l2 ? kPointwiseBlockPixels : kBlockPixels;
  const int64_t fold = part->merged ? c.w.taps : 1;
  const bool short_rows =
      !dot_ && !channels_first_ && fold * max_chunk() * result_group_ < kStridedBelow;
  const int64_t table = short_rows ? kTableBytesSparse : kTableBytes;
  target = std::clamp(table / 8 / std::max<int64_t>(1, part->groups), std::min(target, int64_t{24}),
                      target);
  // Some dozens of work items, so that threads end together.
  target = std::min(target, std::max<int64_t>(48, ceil_div(part->rows * part->columns, 16)));

  // The source that a block reads, and in channels-first also its results, shall stay in half of
  // L2.
  const auto bytes = [&](int64_t rows, int64_t columns) {
    const int64_t width =
        std::min(c.w.inputs, (columns - 1) * c.w.stride + (c.w.taps - 1) * c.w.dilation + 1);
    const int64_t height = channels_first_
                               ? stage_rows_per_plane(*part, rows)
                               : std::min(c.h.inputs, (rows - 1) * c.h.stride + c.h.taps);
    return size * (c.d.taps * height * width * max_chunk() +
                   (channels_first_ ? rows * columns * result_group_ : 0));
  };
  const int64_t budget = l2 * 5 / 8;
  int64_t columns = part->columns, rows = 1;
  const int64_t most_columns = target + target / 2;
  if (columns > most_columns) columns = ceil_div(columns, ceil_div(columns, target));
  while (columns > 24 && bytes(1, columns) > budget) columns = ceil_div(columns, 2);
  part->block_columns = std::max<int64_t>(1, columns);
  part->column_blocks = ceil_div(part->columns, part->block_columns);
  if (part->column_blocks <= 1) {
    rows = std::max<int64_t>(1, target / part->block_columns);
    while (rows > 1 && bytes(rows, columns) > budget) --rows;
    // Pixels of a border class are one a row: whole tiles of them.
    const int tile = dot_ ? 4 : kernels_.tap_rows[kernels_.max_vectors];
    if (c.w.taps > 1 && rows > tile) rows -= rows % tile;
  }
  // Pieces of planes, planes innermost: of the d.taps planes that an item reads all but one stay in
  // L2 for the next. Planes that are less than two blocks are not cut, and blocks of them may even
  // take rows of several samples; but not where planes are so few that most meet a tap less, which
  // a block of one plane leaves out.
  const bool few_planes = c.d.outputs <= 2 * (c.d.taps - 1) && c.h.outputs * columns >= 16;
  part->one_plane = channels_first_ ||
                    (deep_ && (c.h.outputs >= 2 * rows || part->column_blocks > 1 || few_planes));
  if (part->one_plane) rows = std::min(rows, c.h.outputs);
  const int64_t most =
      part->one_plane || part->rows > rows ? (part->one_plane ? c.h.outputs : part->rows) : rows;
  rows = std::max<int64_t>(1, ceil_div(most, std::max<int64_t>(1, ceil_div(most, rows))));
  part->block_rows = rows;
  part->row_blocks = part->one_plane ? ceil_div(c.h.outputs, rows) : 0;

  part->strided = short_rows || (!dot_ && !channels_first_ && part->groups <= 3 && c.w.taps == 1 &&
                                 c.w.stride == 1 && part->block_columns >= 24);

  const int64_t pixels = part->block_rows * part->block_columns;
  pixels_ = std::max(pixels_, pixels);
  rows_ = std::max(rows_, part->block_rows);
  table_size_ = std::max(table_size_, part->groups * pixels);
  max_groups_ = std::max(max_groups_, part->groups);
  // A pointer into the zeros is advanced over all taps of a row and all channels.
  const int64_t stride = channels_first_ ? max_chunk() : correlation_.source_channels;
  const int64_t reach = std::min((c.w.taps - 1) * c.w.dilation + 1, c.w.inputs);
  zeros_ = std::max(zeros_, (reach + 1) * stride + source_group_ + 16);
  if (channels_first_) {
    const int64_t width = std::min(
        c.w.inputs, (part->block_columns - 1) * c.w.stride + (c.w.taps - 1) * c.w.dilation + 1);
    stage_size_ =
        std::max(stage_size_, c.d.taps * stage_rows_per_plane(*part, rows) * width * max_chunk());
    block_size_ = std::max(block_size_, pixels * result_group_);
  }
}

template <class T>
std::string CorrelationPrepared<T>::packed_filter_format() const {
  // Everything that offsets in the packed filter depend on, beyond the filter's own shape.
  std::string format = std::string("gemm_") + (correlation_.backward ? "backward" : "forward") +
                       (dot_ ? "_dot" : "_nr") +
                       std::to_string(kernels_.max_vectors * kernels_.lanes) + "_chunks" +
                       std::to_string(chunks_);
  if (dot_) {
    for (const Part& part : parts_) format += part.merged ? "m" : "t";
  }
  if (correlation_.backward) {
    // The phases of an axis follow from stride, dilation and padding; of fewer results than strides
    // the last are missing.
    const Problem& p = problem_;
    const int64_t axes[][4] = {
        {p.sd, p.dd, p.pd, p.id}, {p.sh, p.dh, p.ph, p.ih}, {p.sw, p.dw, p.pw, p.iw}};
    for (const auto& [s, d, pad, in] : axes) {
      format += "_s" + std::to_string(s);
      if (s > 1)
        format += "d" + std::to_string(d) + "p" + std::to_string(pad % s) + "n" +
                  std::to_string(std::min(s, in));
    }
  }
  return format;
}

template <class T>
void CorrelationPrepared<T>::pack_filter(const void* filter_data, void* packed_data,
                                         ThreadPool& pool, int threads) const {
  const T* const filter = static_cast<const T*>(filter_data);
  T* const packed = static_cast<T*>(packed_data);
  const int64_t panels = static_cast<int64_t>(panels_.size());
  for (const Part& part : parts_) {
    // Taps innermost but one: the rows that a panel takes of a tap are read together.
    const int64_t runs = part.groups * part.c.w.taps, pieces = panels * chunks_;
    const int64_t elements = max_chunk() * ceil_div(padded_group_, std::max<int64_t>(1, panels));
    pool.parallel_for(correlation_.groups * runs * pieces,
                      1 + kPackElements / std::max<int64_t>(1, elements), threads,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t index = begin; index < end; ++index) {
                          const int64_t piece = index % pieces, run = index / pieces;
                          pack_tap(part, filter, run / runs, run % runs / part.c.w.taps,
                                   run % part.c.w.taps, piece / chunks_, piece % chunks_, packed);
                        }
                      });
  }
}

// A panel of one chunk of channels of tap t along the width of group g of taps.
template <class T>
void CorrelationPrepared<T>::pack_tap(const Part& part, const T* filter, int64_t group, int64_t g,
                                      int64_t t, int64_t panel_index, int64_t chunk,
                                      T* packed) const {
  const Correlation& c = part.c;
  const bool backward = correlation_.backward;
  const Panel& panel = panels_[static_cast<size_t>(panel_index)];
  const int64_t first = chunk_begin(chunk), count = chunk_size(chunk);
  // Padding of the dot form is booked per chunk and tap; what a merged k does not need stays
  // unused.
  const int64_t pad = dot_ ? kernels_.lanes : 0;
  T* const group_out =
      packed + part.packed +
      part.groups * c.w.taps * (source_group_ + chunks_ * pad) *
          (group * padded_group_ + panel.base) +
      (part.groups * (first + chunk * pad) + g * (count + pad)) * c.w.taps * panel.width;
  const int64_t kd = c.d.tap_first + g / c.h.taps * c.d.tap_step,
                kh = c.h.tap_first + g % c.h.taps * c.h.tap_step,
                kw = c.w.tap_first + t * c.w.tap_step;
  // The tap's matrix lies as [source][result], backward as [result][source].
  const int64_t oc = problem_.oc, ic_group = problem_.ic / problem_.groups;
  const T* const matrix = filter + ((kd * problem_.kh + kh) * problem_.kw + kw) * ic_group * oc +
                          (backward ? panel.first * oc + group * source_group_ + first
                                    : first * oc + group * result_group_ + panel.first);
  const auto transpose = [&](int64_t rows, int64_t columns, T* to, int64_t to_row) {
    const TransposeArgs<T> args = {matrix, oc, to, to_row, rows, columns};
    kernels_.transpose(&args);
  };
  const auto copy = [&](int64_t rows, int64_t columns, T* to, int64_t to_row) {
    for (int64_t i = 0; i < rows; ++i) std::copy_n(matrix + i * oc, columns, to + i * to_row);
  };
  if (!dot_) {
    T* const to = group_out + t * count * panel.width;
    if (backward) {
      transpose(panel.columns, count, to, panel.width);
    } else {
      copy(count, panel.columns, to, panel.width);
    }
    if (panel.columns < panel.width) {
      for (int64_t k = 0; k < count; ++k)
        std::fill(to + k * panel.width + panel.columns, to + (k + 1) * panel.width, T(0));
    }
    return;
  }
  const int64_t row = part.merged ? c.w.taps * count : count;
  const int64_t padded =
      static_cast<int64_t>(round_up(static_cast<size_t>(row), static_cast<size_t>(kernels_.lanes)));
  T* const to = group_out + (part.merged ? t * count : t * panel.columns * padded);
  if (backward) {
    copy(panel.columns, count, to, padded);
  } else {
    transpose(count, panel.columns, to, padded);
  }
  if (!part.merged || t == c.w.taps - 1) {
    const int64_t end = part.merged ? padded - t * count : padded;
    for (int64_t n = 0; n < panel.columns; ++n)
      std::fill(to + n * padded + count, to + n * padded + end, T(0));
  }
}

// Where the staged source row `ih` lies that tap (td, th) of the item's row number `row` reads.
template <class T>
int64_t CorrelationPrepared<T>::stage_row(const Part& part, const Thread& thread, int64_t td,
                                          int64_t th, int64_t row, int64_t ih) const {
  const AxisTaps& h = part.c.h;
  const int64_t plane = td * stage_rows_per_plane(part, part.block_rows);
  if (stage_by_tap(part, part.block_rows)) return plane + th * part.block_rows + row;
  return plane + ih - (thread.rows[0].h * h.stride + h.origin);
}

// Transposes the rows that an item reads, channels [chunk), to [row][pixel][channel].
template <class T>
void CorrelationPrepared<T>::stage_source(const Item& item, Thread* thread, int64_t chunk) const {
  const PhaseTimer timer(Phase::kTransform);
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const int64_t count = chunk_size(chunk), first = chunk_begin(chunk);
  const int64_t left = std::max<int64_t>(0, item.column * c.w.stride + c.w.origin);
  const int64_t right = std::min(c.w.inputs, (item.column_end - 1) * c.w.stride + c.w.origin +
                                                 (c.w.taps - 1) * c.w.dilation + 1);
  if (right <= left) return;
  const T* const sample = thread->rows[0].source;
  const int64_t od = thread->rows[0].d;
  const bool by_tap = stage_by_tap(part, part.block_rows);
  const auto copy = [&](int64_t id, int64_t ih, int64_t slot) {
    const T* const row = sample + first * correlation_.source_voxels +
                         id * correlation_.source_plane + ih * correlation_.source_row + left;
    const TransposeArgs<T> args = {row,
                                   correlation_.source_voxels,
                                   thread->stage + slot * (right - left) * count,
                                   count,
                                   count,
                                   right - left};
    kernels_.transpose(&args);
  };
  for (int64_t td = thread->td_begin; td < thread->td_end; ++td) {
    const int64_t id = od * c.d.stride + c.d.origin + td * c.d.dilation;
    if (by_tap) {
      for (int64_t th = 0; th < c.h.taps; ++th) {
        for (int64_t row = 0; row < thread->row_count; ++row) {
          const int64_t ih = thread->rows[row].h * c.h.stride + c.h.origin + th * c.h.dilation;
          if (ih >= 0 && ih < c.h.inputs) copy(id, ih, stage_row(part, *thread, td, th, row, ih));
        }
      }
    } else {
      const int64_t top = thread->rows[0].h * c.h.stride + c.h.origin;
      const int64_t bottom = thread->rows[thread->row_count - 1].h * c.h.stride + c.h.origin +
                             (c.h.taps - 1) * c.h.dilation + 1;
      for (int64_t ih = std::max<int64_t>(0, top); ih < std::min(c.h.inputs, bottom); ++ih)
        copy(id, ih, stage_row(part, *thread, td, 0, 0, ih));
    }
  }
}

template <class T>
void CorrelationPrepared<T>::unstage_result(const Item& item, Thread* thread) const {
  const PhaseTimer timer(Phase::kInverse);
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const int64_t channel = panels_[item.panel].first;
  const int64_t channels =
      panels_[item.panel_end - 1].first + panels_[item.panel_end - 1].columns - channel;
  const int64_t width = item.column_end - item.column;
  const T* in = thread->block;
  for (int64_t row = 0; row < thread->row_count; ++row, in += width * channels) {
    T* const out =
        thread->rows[row].result + channel * correlation_.result_voxels + item.column * c.w.step;
    if (c.w.step == 1) {
      const TransposeArgs<T> args = {in,
                                     channels,
                                     out,
                                     correlation_.result_voxels,
                                     width,
                                     channels,
                                     thread->stream_rows ? 1 : 0};
      kernels_.transpose(&args);
    } else {
      for (int64_t n = 0; n < channels; ++n)
        for (int64_t i = 0; i < width; ++i)
          out[n * correlation_.result_voxels + i * c.w.step] = in[i * channels + n];
    }
  }
}

template <class T>
void CorrelationPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch,
                                     ThreadPool& pool, int threads) const {
  const int64_t result_bytes = buffers.batch * correlation_.result_voxels *
                               correlation_.result_channels * static_cast<int64_t>(sizeof(T));
  if (result_bytes == 0) return;
  T* const result = static_cast<T*>(buffers.result);
  if (!correlation_.complete)
    fill_unreached(correlation_, problem_, kernels_, buffers, pool, threads);
  if (parts_.empty()) return;

  T* const zeros = scratch.get<T>(zeros_entry_);
  std::fill(zeros, zeros + zeros_, T(0));

  // Items, and a split of the panels where there are too few of them.
  int64_t* const first_item = scratch.get<int64_t>(items_entry_);
  first_item[0] = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    first_item[i + 1] =
        first_item[i] + correlation_.groups * part.column_blocks *
                            (part.one_plane ? buffers.batch * part.row_blocks * part.c.d.outputs
                                            : ceil_div(buffers.batch * part.rows, part.block_rows));
  }
  const int64_t all_items = first_item[parts_.size()];
  const int64_t panels = static_cast<int64_t>(panels_.size());
  const int64_t wanted = threads > 1 ? 4 * int64_t{threads} : 1;
  const int64_t splits =
      std::clamp<int64_t>(ceil_div(wanted, std::max<int64_t>(1, all_items)), 1, panels);

  // Rows of whole lines, and more of them than the caches hold: past the caches.
  const int64_t line = 64;
  const bool stream = result_bytes > static_cast<int64_t>(context_.cpu->l2_bytes) &&
                      !channels_first_ && reinterpret_cast<uintptr_t>(result) % line == 0 &&
                      correlation_.result_channels * static_cast<int64_t>(sizeof(T)) % line == 0 &&
                      result_group_ * static_cast<int64_t>(sizeof(T)) % line == 0;

  // Phases read the same source and, for few channels, write the same lines: they take turns, slab
  // by slab of the volume.
  int64_t slabs = parts_.size() > 1 ? all_items : 1;
  for (size_t i = 0; i < parts_.size(); ++i)
    slabs = std::clamp<int64_t>(first_item[i + 1] - first_item[i], 1, slabs);

  const int64_t items = all_items * splits;
  // Neighbours on one thread, for what they share in L2.
  const int64_t grain = threads > 1 ? std::max<int64_t>(1, items / (8 * int64_t{threads}))
                                    : std::max<int64_t>(1, items);
  pool.parallel_for(items, grain, threads, [&](int64_t begin, int64_t end, int id) {
    Thread thread{};
    thread.table = scratch.get<T*>(table_entry_, id);
    thread.c = scratch.get<T*>(c_entry_, id);
    thread.b_groups = scratch.get<ptrdiff_t>(offsets_entry_, id);
    thread.group_rows = reinterpret_cast<const T**>(thread.b_groups + max_groups_);
    thread.stage = channels_first_ ? scratch.get<T>(stage_entry_, id) : nullptr;
    thread.block = channels_first_ ? scratch.get<T>(block_entry_, id) : nullptr;
    thread.runs = scratch.get<ClassRun>(runs_entry_, id);
    thread.rows = scratch.get<Row>(rows_entry_, id);
    thread.zeros = zeros;
    thread.stream = stream;
    thread.stream_rows =
        channels_first_ && result_bytes > static_cast<int64_t>(context_.cpu->l3_bytes / 2);
    for (int64_t index = begin; index < end; ++index) {
      int64_t rest = index / splits;
      const int64_t split = index % splits;
      const size_t number = part_of_item(first_item, slabs, &rest);
      const Part& part = parts_[number];
      Item item{};
      item.part = &part;
      if (part.one_plane) {
        const int64_t d = rest % part.c.d.outputs;
        rest /= part.c.d.outputs;
        item.column = rest % part.column_blocks * part.block_columns;
        rest /= part.column_blocks;
        const int64_t h = rest % part.row_blocks * part.block_rows;
        rest /= part.row_blocks;
        const int64_t plane = rest / correlation_.groups * part.c.d.outputs + d;
        item.row = plane * part.c.h.outputs + h;
        item.row_end = plane * part.c.h.outputs + std::min(part.c.h.outputs, h + part.block_rows);
      } else {
        item.column = rest % part.column_blocks * part.block_columns;
        rest /= part.column_blocks;
        item.row = rest / correlation_.groups * part.block_rows;
        item.row_end = std::min(buffers.batch * part.rows, item.row + part.block_rows);
      }
      item.group = rest % correlation_.groups;
      item.column_end = std::min(part.columns, item.column + part.block_columns);
      item.panel = static_cast<size_t>(panels * split / splits);
      item.panel_end = static_cast<size_t>(panels * (split + 1) / splits);
      if (item.panel < item.panel_end) run_item(item, buffers, &thread);
    }
  });
}

// The part that item *index of all belongs to; *index becomes the item's number in it. A slab holds
// the same fraction of every part's items, part after part.
template <class T>
size_t CorrelationPrepared<T>::part_of_item(const int64_t* first_item, int64_t slabs,
                                            int64_t* index) const {
  const size_t parts = parts_.size();
  const auto begin_of = [&](size_t part, int64_t slab) {
    const int64_t items = first_item[part + 1] - first_item[part];
    return items / slabs * slab + items % slabs * slab / slabs;  // items * slab / slabs
  };
  const auto before = [&](int64_t slab) {
    int64_t items = 0;
    for (size_t i = 0; i < parts; ++i) items += begin_of(i, slab);
    return items;
  };
  int64_t low = 0, high = slabs;  // before(low) <= *index < before(high)
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (before(middle) <= *index ? low : high) = middle;
  }
  *index -= before(low);
  for (size_t i = 0; i < parts; ++i) {
    const int64_t first = begin_of(i, low), count = begin_of(i, low + 1) - first;
    if (*index < count) {
      *index += first;
      return i;
    }
    *index -= count;
  }
  CONV3D_ASSERT(false);
  return 0;
}

template <class T>
void CorrelationPrepared<T>::find_rows(const Item& item, const Buffers& buffers,
                                       Thread* thread) const {
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const T* const source =
      static_cast<const T*>(correlation_.backward ? buffers.grad_output : buffers.input) +
      item.group * source_group_ * (channels_first_ ? correlation_.source_voxels : 1);
  T* const result = static_cast<T*>(buffers.result) +
                    item.group * result_group_ * (channels_first_ ? correlation_.result_voxels : 1);
  const int64_t pixel = channels_first_ ? 1 : correlation_.result_channels;
  thread->row_count = 0;
  thread->td_begin = c.d.taps;
  thread->td_end = 0;
  for (int64_t index = item.row; index < item.row_end; ++index) {
    const int64_t plane = index / c.h.outputs, sample = plane / c.d.outputs;
    Row row{plane % c.d.outputs, index % c.h.outputs,
            source + sample * correlation_.source_voxels * correlation_.source_channels, nullptr};
    row.result = result + sample * correlation_.result_voxels * correlation_.result_channels +
                 ((c.d.first + row.d * c.d.step) * correlation_.result_plane +
                  (c.h.first + row.h * c.h.step) * correlation_.result_row + c.w.first) *
                     pixel;
    thread->td_begin = std::min(thread->td_begin, c.d.tap_begin(row.d));
    thread->td_end = std::max(thread->td_end, c.d.tap_end(row.d));
    thread->rows[thread->row_count++] = row;
  }
  if (thread->td_end <= thread->td_begin) thread->td_begin = thread->td_end = 0;
}

// Pointers of an item's pixels and results, then its chunks.
template <class T>
void CorrelationPrepared<T>::run_item(const Item& item, const Buffers& buffers,
                                      Thread* thread) const {
  const Part& part = *item.part;
  const Correlation& c = part.c;
  find_rows(item, buffers, thread);
  const int64_t block_channel = panels_[item.panel].first;
  const int64_t block_channels =
      panels_[item.panel_end - 1].first + panels_[item.panel_end - 1].columns - block_channel;
  const int64_t left = std::max<int64_t>(0, item.column * c.w.stride + c.w.origin);
  const int64_t right = std::min(c.w.inputs, (item.column_end - 1) * c.w.stride + c.w.origin +
                                                 (c.w.taps - 1) * c.w.dilation + 1);

  thread->run_count = 0;
  T** table = thread->table;
  T** c_pointers = thread->c;
  for (TapClass taps : part.classes) {
    taps.begin = std::max(taps.begin, item.column);
    taps.end = std::min(taps.end, item.column_end);
    if (taps.begin >= taps.end) continue;
    ClassRun run{};
    run.taps = taps;
    run.rows = item.row_end - item.row;
    run.width = taps.end - taps.begin;
    run.pixels = run.rows * run.width;
    run.strided = part.strided && run.width >= 12;
    if (run.taps.tap_end < run.taps.tap_begin) run.taps.tap_end = run.taps.tap_begin;
    run.c = c_pointers;
    c_pointers += run.pixels;
    run.table = table;
    if (!run.strided) {
      T** at = run.c;
      for (int64_t row = 0; row < run.rows; ++row) {
        int64_t step = c.w.step * correlation_.result_channels;
        T* pixel = thread->rows[row].result + taps.begin * step;
        if (channels_first_) {
          step = block_channels;
          pixel = thread->block +
                  (row * (item.column_end - item.column) + taps.begin - item.column) * step -
                  block_channel;
        }
        for (int64_t i = 0; i < run.width; ++i) *at++ = pixel + i * step;
      }
      const int64_t first_column =
          taps.begin * c.w.stride + c.w.origin + run.taps.tap_begin * c.w.dilation;
      // Pointers into staged rows do not change from chunk to chunk only if the chunks are of one
      // size: pixels lie one chunk apart. They are made per chunk there.
      if (!channels_first_) {
        for (int64_t g = thread->td_begin * c.h.taps; g < thread->td_end * c.h.taps; ++g) {
          T** to = table + (g - thread->td_begin * c.h.taps) * run.pixels;
          const int64_t d_offset = c.d.origin + g / c.h.taps * c.d.dilation,
                        h_offset = c.h.origin + g % c.h.taps * c.h.dilation;
          for (const Row* at_row = thread->rows; at_row < thread->rows + thread->row_count;
               ++at_row) {
            const Row& row = *at_row;
            const int64_t id = row.d * c.d.stride + d_offset, ih = row.h * c.h.stride + h_offset;
            if (id < 0 || id >= c.d.inputs || ih < 0 || ih >= c.h.inputs) {
              for (int64_t i = 0; i < run.width; ++i) *to++ = const_cast<T*>(thread->zeros);
              continue;
            }
            T* pixel = const_cast<T*>(row.source) + (id * correlation_.source_plane +
                                                     ih * correlation_.source_row + first_column) *
                                                        correlation_.source_channels;
            const int64_t step = c.w.stride * correlation_.source_channels;
            for (int64_t i = 0; i < run.width; ++i, pixel += step) *to++ = pixel;
          }
        }
      }
      table += (thread->td_end - thread->td_begin) * c.h.taps * run.pixels;
    }
    thread->runs[thread->run_count++] = run;
  }

  for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
    if (channels_first_) {
      stage_source(item, thread, chunk);
      const int64_t count = chunk_size(chunk);
      for (int64_t number = 0; number < thread->run_count; ++number) {
        const ClassRun& run = thread->runs[number];
        T** to = run.table;
        const int64_t first_column =
            run.taps.begin * c.w.stride + c.w.origin + run.taps.tap_begin * c.w.dilation - left;
        for (int64_t g = thread->td_begin * c.h.taps; g < thread->td_end * c.h.taps; ++g) {
          for (int64_t row = 0; row < run.rows; ++row) {
            const int64_t ih =
                thread->rows[row].h * c.h.stride + c.h.origin + g % c.h.taps * c.h.dilation;
            const bool inside = ih >= 0 && ih < c.h.inputs && run.taps.tap_end > run.taps.tap_begin;
            T* pixel = const_cast<T*>(thread->zeros);
            int64_t step = 0;
            if (inside) {
              const int64_t slot = stage_row(part, *thread, g / c.h.taps, g % c.h.taps, row, ih);
              pixel = thread->stage + (slot * (right - left) + first_column) * count;
              step = c.w.stride * count;
            }
            for (int64_t i = 0; i < run.width; ++i, pixel += step) *to++ = pixel;
          }
        }
      }
    }
    run_chunk(item, buffers, thread, chunk);
  }
  if (channels_first_) unstage_result(item, thread);
}

template <class T>
void CorrelationPrepared<T>::run_chunk(const Item& item, const Buffers& buffers, Thread* thread,
                                       int64_t chunk) const {
  const PhaseTimer timer(Phase::kMultiply);
  const Part& part = *item.part;
  const int64_t groups_begin = thread->td_begin * part.c.h.taps,
                groups_end = thread->td_end * part.c.h.taps;
  for (size_t panel = item.panel; panel < item.panel_end; ++panel) {
    // Calls are cut at multiples of groups_per_call whatever part of the taps meets the source, so
    // that sums do not depend on how the work is divided into items.
    const int64_t per = part.groups_per_call;
    int64_t call = groups_begin / per;
    const int64_t call_end = std::max(call + 1, ceil_div(groups_end, per));
    for (const int64_t call_first = call; call < call_end; ++call) {
      const int64_t g0 = std::max(groups_begin, call * per),
                    g1 = std::min(groups_end, (call + 1) * per);
      run_rows(item, buffers, thread, chunk, panel, g0, std::max(g0, g1),
               chunk == 0 && call == call_first, chunk == chunks_ - 1 && call == call_end - 1);
    }
  }
}

// One kernel call per class (strided: per row) for groups [g0, g1) of a chunk.
template <class T>
void CorrelationPrepared<T>::run_rows(const Item& item, const Buffers& buffers, Thread* thread,
                                      int64_t chunk, size_t panel_index, int64_t g0, int64_t g1,
                                      bool first, bool last) const {
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const Panel& panel = panels_[panel_index];
  const int64_t count = chunk_size(chunk);
  const int64_t pad = dot_ ? kernels_.lanes : 0;
  const int64_t k_of_group = c.w.taps * (source_group_ + chunks_ * pad);
  const int64_t pixel = channels_first_ ? count : correlation_.source_channels;
  const T* const b = static_cast<const T*>(buffers.packed_filter) + part.packed +
                     part.groups * k_of_group * (item.group * padded_group_ + panel.base) +
                     part.groups * c.w.taps * (chunk_begin(chunk) + chunk * pad) * panel.width;
  const int64_t b_step = c.w.taps * (count + pad) * panel.width;
  const bool stream = thread->stream && first && last && panel.columns == panel.width &&
                      panel.width * static_cast<int64_t>(sizeof(T)) % 64 == 0 &&
                      problem_.activation <= Activation::kRelu;
  const GemmFinish<T> finish_args =
      finish(buffers, first, last, item.group * result_group_ + panel.first, stream);
  const ptrdiff_t a_offset = channels_first_ ? 0 : chunk_begin(chunk);

  for (int64_t number = 0; number < thread->run_count; ++number) {
    const ClassRun& run = thread->runs[number];
    const int64_t taps = run.taps.tap_end - run.taps.tap_begin;
    const int64_t used = taps > 0 ? g1 - g0 : 0;
    if (dot_) {
      const int64_t row = part.merged ? c.w.taps * count : count;
      const int64_t padded = static_cast<int64_t>(
          round_up(static_cast<size_t>(row), static_cast<size_t>(kernels_.lanes)));
      GemmDotArgs<T> args{};
      args.rows = run.pixels;
      args.columns = panel.columns;
      args.groups = static_cast<int>(used);
      args.taps = part.merged ? 1 : static_cast<int>(taps);
      args.k = part.merged ? taps * count : count;
      args.a = run.table + (g0 - thread->td_begin * c.h.taps) * run.pixels;
      args.a_group = run.pixels;
      args.a_offset = a_offset;
      args.a_tap = c.w.dilation * pixel;
      args.b = b + (part.merged ? run.taps.tap_begin * count
                                : run.taps.tap_begin * panel.columns * padded);
      args.b_column = padded;
      args.b_tap = panel.columns * padded;
      for (int64_t g = g0; g < g1; ++g) thread->b_groups[g - g0] = g * b_step;
      args.b_group = thread->b_groups;
      args.c = run.c;
      args.c_offset = panel.first;
      args.finish = finish_args;
      kernels_.dot(&args);
      continue;
    }
    GemmTapArgs<T> args{};
    args.columns = panel.columns;
    args.vectors = panel.vectors;
    args.taps = part.merged ? 1 : static_cast<int>(taps);
    args.k = part.merged ? taps * count : count;
    args.a_offset = a_offset;
    args.a_tap = c.w.dilation * pixel;
    args.b = b + run.taps.tap_begin * count * panel.width;
    args.b_tap = count * panel.width;
    args.b_group = thread->b_groups;
    args.c_offset = panel.first;
    args.finish = finish_args;
    if (!run.strided) {
      for (int64_t g = g0; g < g1; ++g) thread->b_groups[g - g0] = g * b_step;
      args.rows = run.pixels;
      args.groups = static_cast<int>(used);
      args.a = run.table + (g0 - thread->td_begin * c.h.taps) * run.pixels;
      args.a_group = run.pixels;
      args.c = run.c;
      kernels_.taps(&args);
      continue;
    }
    // Row by row: a tap is either inside for all pixels of a row or for none.
    const int64_t column =
        run.taps.begin * c.w.stride + c.w.origin + run.taps.tap_begin * c.w.dilation;
    args.rows = run.width;
    args.a = thread->group_rows;
    args.a_row = c.w.stride * correlation_.source_channels;
    args.c_row = c.w.step * correlation_.result_channels;
    const bool ahead = far_source_ && part.groups * c.w.taps == 1 && panel_index == item.panel;
    for (int64_t index = 0; index < thread->row_count; ++index) {
      const Row& row = thread->rows[index];
      int groups = 0;
      int64_t td = g0 / c.h.taps, th = g0 % c.h.taps;
      for (int64_t g = g0; g < g0 + used; ++g) {
        const int64_t id = row.d * c.d.stride + c.d.origin + td * c.d.dilation;
        const int64_t ih = row.h * c.h.stride + c.h.origin + th * c.h.dilation;
        if (++th == c.h.taps) th = 0, ++td;
        if (id < 0 || id >= c.d.inputs || ih < 0 || ih >= c.h.inputs) continue;
        thread->group_rows[groups] =
            row.source + (id * correlation_.source_plane + ih * correlation_.source_row + column) *
                             correlation_.source_channels;
        thread->b_groups[groups++] = g * b_step;
      }
      args.groups = groups;
      args.ahead = ahead && groups == 1 ? 1 : 0;
      args.c0 = row.result + run.taps.begin * args.c_row;
      kernels_.taps_strided(&args);
    }
  }
}

template <class T>
std::string CorrelationPrepared<T>::detail() const {
  std::string text = dot_ ? "gemm_dot" : parts_.size() > 1 ? "gemm_phases" : "gemm_taps";
  if (parts_.empty()) return text + ", no taps";
  const Part& part = parts_[0];
  text += ", blocks of " + std::to_string(part.block_rows) + "x" +
          std::to_string(part.block_columns) + " pixels, " + std::to_string(panels_.size()) +
          " panels, " + std::to_string(chunks_) + " channel chunks, " +
          std::to_string(part.groups_per_call) + " of " + std::to_string(part.groups) +
          " taps a call";
  if (parts_.size() > 1) text += ", " + std::to_string(parts_.size()) + " phases";
  return text;
}

// A chain of n multiply-adds errs by at most n u of the sum of magnitudes, and in practice by its
// square root.
template <class T>
double CorrelationPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
  const Problem& p = problem_;
  const double length =
      static_cast<double>(std::max<int64_t>(1, p.kd * p.kh * p.kw * source_group_));
  return unit * std::min(length, 8 + 2 * std::max(1.0, length / 16));
}

}  // namespace

std::unique_ptr<Prepared> prepare_correlation(const Problem& problem, const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<CorrelationPrepared<double>>(problem, context);
  return std::make_unique<CorrelationPrepared<float>>(problem, context);
}

// Multiply-adds at the rate of tiles of the panels' widths, or the memory traffic, whichever takes
// longer.
double correlation_cost(const Problem& problem, const PlanContext& context) {
  const bool f64 = problem.dtype == DType::kFloat64;
  const int lanes = f64 ? context.kernels->gemm.f64.lanes : context.kernels->gemm.f32.lanes;
  const bool backward = problem.direction == Direction::kBackwardInput;
  const double result_group =
      static_cast<double>((backward ? problem.ic : problem.oc) / problem.groups);
  const double source_group =
      static_cast<double>((backward ? problem.oc : problem.ic) / problem.groups);
  const double size = f64 ? 8 : 4;
  // Of the phase with the fewest taps.
  const int64_t taps = backward ? std::max<int64_t>(1, problem.kw / problem.sw) : problem.kw;
  const double mean_taps =
      static_cast<double>(problem.kw) / static_cast<double>(backward ? problem.sw : 1);
  const bool dot =
      result_group <= kMaxDotColumns && source_group * static_cast<double>(taps) >= 2 * lanes;
  // Vectors that are not full, and k loops too short for their overhead.
  const double vectors = std::max(1.0, std::ceil(result_group / lanes));
  const double k = source_group * static_cast<double>(problem.kw);
  // Few dot products share little of what they load, and each row of taps begins anew (measured:
  // rows of 24 to 384 numbers for 1 and 3 results).
  const double run = source_group * std::max(1.0, mean_taps), results = std::max(1.0, result_group),
               shared = std::min(0.84, 0.45 + 0.13 * results) * run / (run + 52 / results);
  const double fill = dot ? shared : result_group / (vectors * lanes) * (vectors < 2 ? 0.75 : 1.0);
  // Tiles of 32 registers hide the loads better than those of 16.
  const double tile = context.kernels->gemm.f32.max_vectors >= 4 && !dot ? 0.94 : 0.9;
  const double efficiency = tile * std::max(fill, 1e-3) * k / (k + 0.5);
  // Channels first: every block's rows are transposed for each depth tap, backward for each phase,
  // that reads them, and the results back; with gaps between them one by one.
  const double source_elements =
      static_cast<double>(backward ? problem.output_elements() : problem.input_elements());
  const double result_elements =
      static_cast<double>(backward ? problem.input_elements() : problem.output_elements());
  const double phases = backward ? static_cast<double>(std::min(problem.sd, problem.kd) *
                                                       std::min(problem.sh, problem.kh) *
                                                       std::min(problem.sw, problem.kw))
                                 : 1.0;
  // Forward, strides leave rows out, or share them between fewer taps.
  const double depth = static_cast<double>(problem.kd) / static_cast<double>(problem.sd),
               height = problem.kh > problem.sh
                            ? 1.5
                            : static_cast<double>(problem.kh) / static_cast<double>(problem.sh);
  const double passes =
      backward ? std::max(phases, static_cast<double>(problem.kd) * (problem.kh > 1 ? 1.5 : 1.0))
               : depth * height;
  const double written = phases > 1 && problem.sw > 1 ? 3.0 : 1.0;
  const double transposed =
      problem.layout == Layout::kChannelsFirst
          ? size * (source_elements * passes + result_elements * written) / (kStagingBytes * 0.65)
          : 0.0;
  const double pixels = result_elements / (result_group * static_cast<double>(problem.groups));
  const bool one_tap = problem.kd * problem.kh * problem.kw == 1;
  const double items = pixels / static_cast<double>(one_tap ? kPointwiseBlockPixels : kBlockPixels);
  // A vector of results costs as much to finish and write as one to two of multiply-adds.
  const double all_k = k * static_cast<double>(problem.kd * problem.kh);
  const double arithmetic = problem.flops() / (peak_flops(context, problem.dtype) * efficiency) *
                                (dot ? 1.0 : (all_k + 1.5) / all_k) +
                            items * kItemSeconds + transposed;
  const double filter = size * static_cast<double>(problem.filter_elements());
  const double packing =
      backward ? packing_seconds(filter, dot ? filter : filter * vectors * lanes / result_group,
                                 *context.cpu)
               : 0.0;
  const int threads = std::max(1, context.threads);
  return kCallSeconds +
         (overlapped_seconds(arithmetic, traffic_seconds(problem, *context.cpu)) + packing) /
             threads;
}

}  // namespace conv3d::implicit_gemm
