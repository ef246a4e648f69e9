// The filter gradient of a 1x1x1 filter by Strassen's scheme (README.md):
//
//   grad_filter[i][c] = sum over pixels of input[pixel][i] * grad_output[pixel][c]
//
//   k           pixels of one sample, a chunk at a time: one chain of multiply-adds per product
//   rows        of the channels that are more, some tiles at a time while the ones before are
//               multiplied
//   columns     of the channels that are fewer or fill vectors better, once per chunk and item
//   halves      of the rows, the columns and the pixels of a chunk
//
// A work item is a piece of the rows over a segment of the chunks. Its sums stay near L2. Chunks
// are summed in two levels, about as many in each, and segments pairwise, so the error grows with
// the root of the volume at most. All of this follows from the problem and the machine's caches
// and cores, so the bits do not depend on the number of threads; both layouts have the same.
#include "algorithms/strassen/filter_gradient.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "algorithms/strassen/operands.h"
#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::strassen {
namespace {

double cost(const Problem& problem, const PlanContext& context);

constexpr int64_t kChain = 128;     // most pixels of a product
constexpr int64_t kPixelUnit = 32;  // chunks are cut at multiples
constexpr int kGroupTiles = 2;      // of rows, whose sums are made at once
constexpr int64_t kLevels = 2, kOneLevel = 8;
constexpr int64_t kSegmentBytes = 4 << 20;  // of the sums of the fewest segments together

double filled(int64_t n, int64_t whole) {
  return static_cast<double>(n) / static_cast<double>(ceil_div(n, whole) * whole);
}

// Whether output channels are the rows: columns are the channels whose half fills vectors better,
// or that are fewer; much fewer in any case, for their sums must stay in L2.
bool swaps(const Problem& p, int64_t lanes) {
  constexpr int64_t kMuch = 4;
  const double as_input = filled(p.ic / 2, lanes), as_output = filled(p.oc / 2, lanes);
  const bool apart = p.ic > kMuch * p.oc || p.oc > kMuch * p.ic;
  return !apart && as_input != as_output ? as_input > as_output : p.oc > p.ic;
}

class StrassenFilterGradient final : public FilterlessPrepared {
 public:
  StrassenFilterGradient(const Problem& problem, const PlanContext& context);

  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override;
  double error_bound() const override;
  int useful_threads() const override { return useful_threads_; }

 private:
  // Pixels of a sample, in halves; the first is at least as long as the second.
  struct Chunk {
    int64_t sample, begin, pixels[2];
  };
  // Consecutive tiles of rows of a half.
  struct Group {
    int64_t first, rows;  // of the half
    const int* tiles;
    int count;
  };
  struct Thread {
    float *left, *then_left, *right;  // `left`: of the rows to be multiplied next, or nothing yet
    bool left_made;
  };
  // Of the rows of a piece: [half][row][column], halves `half` apart.
  struct Sums {
    float* first;
    int64_t half;
  };
  Chunk chunk_at(int64_t index) const;
  int list_left(const Chunk& chunk, const Group& group, const float* matrix, float* to,
                StrassenSumsArgs* list) const;
  void sum_right(const Chunk& chunk, const float* matrix, float* to) const;
  void add_chunk(const Chunk& chunk, const Chunk* next, Range tiles, const Buffers& buffers,
                 bool first, const Sums& sums, Thread* thread) const;
  StrassenSumsArgs right_share(const Chunk& chunk, const float* matrix, int64_t share,
                               int64_t shares) const;
  void write_piece(Range tiles, const float* sums, float* filter) const;
  int64_t piece_rows(Range tiles) const {  // of a half
    return std::min(row_half_, tile_first_[static_cast<size_t>(tiles.end)]) -
           tile_first_[static_cast<size_t>(tiles.begin)];
  }
  const float* left_of(const Buffers& b) const {
    return static_cast<const float*>(swapped_ ? b.grad_output : b.input);
  }
  const float* right_of(const Buffers& b) const {
    return static_cast<const float*>(swapped_ ? b.input : b.grad_output);
  }

  Problem problem_;
  const StrassenTable& kernels_;
  const GemmKernels<float>& gemm_;
  bool first_, swapped_;  // channels first; rows are output channels
  int64_t voxels_, rows_, columns_, row_half_, column_half_, vectors_;
  int64_t chunks_;  // of a sample
  int64_t most_segments_, pieces_;
  int64_t left_sums_;         // numbers: of a group's rows in a chunk
  bool cores_want_segments_;  // more than the fewest
  std::vector<int> tiles_;
  std::vector<int64_t> tile_first_;  // [tiles + 1]
  int useful_threads_;
  ScratchLedger ledger_;
  int left_entry_, right_entry_, levels_entry_, segments_entry_;
};

StrassenFilterGradient::StrassenFilterGradient(const Problem& problem, const PlanContext& context)
    : problem_(problem),
      kernels_(context.kernels->strassen),
      gemm_(context.kernels->gemm.f32),
      first_(problem.layout == Layout::kChannelsFirst),
      swapped_(swaps(problem, context.kernels->strassen.lanes)),
      voxels_(problem.input_voxels()),
      rows_(swapped_ ? problem.oc : problem.ic),
      columns_(swapped_ ? problem.ic : problem.oc),
      row_half_(rows_ / 2),
      column_half_(columns_ / 2),
      vectors_(ceil_div(column_half_, kernels_.lanes)),
      chunks_(std::max<int64_t>(1, ceil_div(voxels_, 2 * kChain))),
      tiles_(tiles_of(row_half_, kernels_)),
      useful_threads_(threads_that_pay(strassen::cost(problem, context))) {
  tile_first_ = {0};
  for (const int rows : tiles_) tile_first_.push_back(tile_first_.back() + rows);
  const auto size = static_cast<int64_t>(sizeof(float));
  const int64_t filter_bytes = checked_product({rows_, columns_, size}, "the filter gradient");
  most_segments_ = std::clamp<int64_t>(segment_bytes(kSegmentBytes, *context.cpu) / filter_bytes, 1,
                                       most_segments(*context.cpu));
  cores_want_segments_ = most_segments(*context.cpu) > kFewestSegments;
  const int64_t room = 2 * static_cast<int64_t>(l2_bytes(*context.cpu)) / kLevels;
  const auto tiles = static_cast<int64_t>(tiles_.size());
  pieces_ = std::clamp<int64_t>(ceil_div(filter_bytes, room), 1, tiles);
  const int64_t most_rows = ceil_div(tiles, pieces_) * kernels_.tile_rows;
  levels_entry_ = ledger_.book(
      "strassen.levels", checked_bytes({kLevels, 2, most_rows, columns_, size}, "sums"), true);
  const int64_t chain = whole_lines(ceil_div(ceil_div(voxels_, chunks_), 2) + kPixelUnit);
  left_sums_ = kStrassenProducts * kGroupTiles * kernels_.tile_rows * chain;
  left_entry_ = ledger_.book("strassen.rows", checked_bytes({2, left_sums_, size}, "rows"), true);
  right_entry_ = ledger_.book(
      "strassen.columns",
      checked_bytes({kStrassenProducts, vectors_ * kernels_.lanes, chain, size}, "columns"), true);
  segments_entry_ = ledger_.book(
      "strassen.segments", checked_bytes({most_segments_ - 1, filter_bytes}, "segments"), false);
}

StrassenFilterGradient::Chunk StrassenFilterGradient::chunk_at(int64_t index) const {
  const Range units = piece(ceil_div(voxels_, kPixelUnit), index % chunks_, chunks_);
  const int64_t begin = units.begin * kPixelUnit,
                pixels = std::min(voxels_, units.end * kPixelUnit) - begin,
                half = ceil_div(pixels, 2);
  return {index / chunks_, begin, {half, pixels - half}};
}

// Rows of the chunk in the order in which tiles are multiplied; see StrassenArgs::a.
int StrassenFilterGradient::list_left(const Chunk& chunk, const Group& group, const float* matrix,
                                      float* to, StrassenSumsArgs* list) const {
  const int64_t pixel = first_ ? 1 : rows_, channel = first_ ? voxels_ : 1;
  const float* const sample = matrix + chunk.sample * voxels_ * rows_ + chunk.begin * pixel;
  StrassenSumsArgs s{};
  s.from_row = first_ ? voxels_ : rows_;
  s.to = to;
  int64_t row = group.first;
  for (int tile = 0; tile < group.count; ++tile) {
    const int64_t tile_rows = group.tiles[tile], there = std::min(tile_rows, row_half_ - row);
    for (int i = 0; i < kStrassenQuarters; ++i) {  // [half of the rows][half of the pixels]
      s.from[i] = sample + i % 2 * chunk.pixels[0] * pixel + (i / 2 * row_half_ + row) * channel;
      s.rows[i] = first_ ? there : chunk.pixels[i % 2];
      s.columns[i] = first_ ? chunk.pixels[i % 2] : there;
    }
    if (first_) {
      s.to_rows = tile_rows;
      s.to_columns = whole_lines(chunk.pixels[0]);
      s.to_row = kStrassenLine;
      s.to_line = tile_rows * kStrassenLine;
    } else {
      s.to_rows = chunk.pixels[0];
      s.to_columns = s.to_row = tile_rows;
      s.to_line = kStrassenLine;
    }
    s.to_product = s.to_rows * s.to_columns;
    list[tile] = s;
    s.to += kStrassenProducts * s.to_product;
    row += tile_rows;
  }
  return group.count;
}

// Columns of the chunk in panels.
void StrassenFilterGradient::sum_right(const Chunk& chunk, const float* matrix, float* to) const {
  const PhaseTimer timer(Phase::kTransform);
  const int64_t pixel = first_ ? 1 : columns_, channel = first_ ? voxels_ : 1;
  const int64_t panel = kernels_.panel_vectors * kernels_.lanes, padded = vectors_ * kernels_.lanes,
                k = chunk.pixels[0];
  const float* const sample = matrix + chunk.sample * voxels_ * columns_ + chunk.begin * pixel;
  StrassenSumsArgs s{};
  s.right = 1;
  s.from_row = columns_;
  s.to_rows = k;
  s.to_line = kStrassenLine;
  for (int64_t column = 0; column < padded; column += panel) {
    const int64_t width = std::min(panel, padded - column);
    s.to = to + kStrassenProducts * k * column;
    s.to_row = s.to_columns = width;
    s.to_product = k * width;
    for (int i = 0; i < kStrassenQuarters; ++i) {  // [half of the pixels][half of the columns]
      s.from[i] =
          sample + i / 2 * chunk.pixels[0] * pixel + (i % 2 * column_half_ + column) * channel;
      s.rows[i] = chunk.pixels[i / 2];
      s.columns[i] = std::min(width, column_half_ - column);
    }
    if (first_) {
      sum_turned(kernels_, gemm_, s, voxels_);
    } else {
      kernels_.sums(&s);
    }
  }
}

// A share of the rows in memory that sum_right will read.
StrassenSumsArgs StrassenFilterGradient::right_share(const Chunk& chunk, const float* matrix,
                                                     int64_t share, int64_t shares) const {
  const int64_t pixel = first_ ? 1 : columns_, channel = first_ ? voxels_ : 1;
  const Range rows = piece(first_ ? column_half_ : chunk.pixels[0], share, shares);
  StrassenSumsArgs s{};
  s.from_row = first_ ? channel : pixel;
  s.to_rows = rows.size();
  s.to_columns = first_ ? chunk.pixels[0] : column_half_;
  const float* const first = matrix + chunk.sample * voxels_ * columns_ + chunk.begin * pixel;
  for (int i = 0; i < kStrassenQuarters; ++i)
    s.from[i] = first + i / 2 * chunk.pixels[0] * pixel + i % 2 * column_half_ * channel +
                rows.begin * s.from_row;
  return s;
}

// Adds a chunk to the sums, or begins them.
void StrassenFilterGradient::add_chunk(const Chunk& chunk, const Chunk* next, Range tiles,
                                       const Buffers& buffers, bool first, const Sums& sums,
                                       Thread* thread) const {
  sum_right(chunk, right_of(buffers), thread->right);
  const int64_t first_row = tile_first_[static_cast<size_t>(tiles.begin)];
  StrassenArgs args{};
  args.k = chunk.pixels[0];
  args.vectors = vectors_;
  args.columns[0] = args.columns[1] = column_half_;
  args.a_lines = first_ ? 1 : 0;
  args.b = thread->right;
  args.c_row = columns_;
  args.load_c = first ? 0 : 1;
  const auto group_at = [&](int64_t tile) {
    const int64_t end = std::min(tile + kGroupTiles, tiles.end);
    return Group{tile_first_[static_cast<size_t>(tile)],
                 tile_first_[static_cast<size_t>(end)] - tile_first_[static_cast<size_t>(tile)],
                 tiles_.data() + tile, static_cast<int>(end - tile)};
  };
  StrassenSumsArgs list[kGroupTiles + 1];
  for (int64_t tile = tiles.begin; tile < tiles.end; tile += kGroupTiles) {
    const Group group = group_at(tile);
    if (!thread->left_made) {
      const PhaseTimer timer(Phase::kTransform);
      const int count = list_left(chunk, group, left_of(buffers), thread->left, list);
      for (int i = 0; i < count; ++i) kernels_.sums(&list[i]);
    }
    const PhaseTimer timer(Phase::kMultiply);
    args.a = thread->left;
    args.tile_rows = group.tiles;
    args.tiles = group.count;
    args.rows[0] = args.rows[1] = std::min(group.rows, row_half_ - group.first);
    for (int i = 0; i < kStrassenQuarters; ++i)
      args.c[i] = sums.first + i / 2 * sums.half + (group.first - first_row) * columns_ +
                  i % 2 * column_half_;
    // The next rows, of this chunk or the first ones of the next, and a share of its columns, whose
    // sums would not fit the L2 a second time.
    const bool more = tile + kGroupTiles < tiles.end;
    StrassenAhead ahead{};
    thread->left_made = more || next != nullptr;
    if (thread->left_made) {
      const int makes =
          list_left(more ? chunk : *next, group_at(more ? tile + kGroupTiles : tiles.begin),
                    left_of(buffers), thread->then_left, list);
      if (next != nullptr)
        list[makes] = right_share(*next, right_of(buffers), (tile - tiles.begin) / kGroupTiles,
                                  ceil_div(tiles.size(), kGroupTiles));
      ahead = ahead_of(kernels_, list, makes, makes + (next != nullptr ? 1 : 0),
                       group.count * parts_of(kernels_, vectors_, args.k));
      std::swap(thread->left, thread->then_left);
    }
    args.ahead = thread->left_made ? &ahead : nullptr;
    kernels_.multiply(&args);
    CONV3D_ASSERT(ahead.made.index == ahead.makes);
  }
}

void StrassenFilterGradient::write_piece(Range tiles, const float* sums, float* filter) const {
  const int64_t first = tile_first_[static_cast<size_t>(tiles.begin)], rows = piece_rows(tiles);
  for (int64_t h = 0; h < 2; ++h, sums += rows * columns_) {
    const int64_t row = h * row_half_ + first;
    if (swapped_) {
      const TransposeArgs<float> args = {sums, columns_, filter + row, rows_, rows, columns_};
      gemm_.transpose(&args);
    } else {
      std::copy(sums, sums + rows * columns_, filter + row * columns_);
    }
  }
}

void StrassenFilterGradient::execute(const Buffers& buffers, const Scratch& scratch,
                                     ThreadPool& pool, int threads) const {
  float* const result = static_cast<float*>(buffers.result);
  const int64_t elements = rows_ * columns_, chunks = voxels_ == 0 ? 0 : buffers.batch * chunks_;
  if (chunks == 0) {
    std::fill(result, result + elements, 0.0f);
    return;
  }
  // A power of two, so that threads get as much each; of two chunks at least, unless the machine
  // has cores for more: each costs some passes over the filter.
  const int64_t fewest = cores_want_segments_ ? 1 : 2;
  int64_t segments = 1;
  while (segments * 2 <= most_segments_ && segments * 2 * fewest <= chunks) segments *= 2;
  float* const others = scratch.get<float>(segments_entry_);
  const auto slot = [&](int64_t s) { return s == 0 ? result : others + (s - 1) * elements; };
  // Rows are independent: more pieces of them where segments alone leave threads without work.
  const auto tiles = static_cast<int64_t>(tiles_.size());
  const int64_t pieces = std::clamp<int64_t>(ceil_div(2 * int64_t{threads}, segments), pieces_,
                                             std::max(pieces_, tiles / 2));
  pool.parallel_for(pieces * segments, 1, threads, [&](int64_t begin, int64_t end, int id) {
    float* const left = scratch.get<float>(left_entry_, id);
    Thread thread{left, left + left_sums_, scratch.get<float>(right_entry_, id), false};
    float* const levels = scratch.get<float>(levels_entry_, id);
    for (int64_t index = begin; index < end; ++index) {
      const int64_t segment = index / pieces;
      const Range rows = piece(tiles, index % pieces, pieces),
                  range = piece(chunks, segment, segments);
      const int64_t half = piece_rows(rows) * columns_, size = 2 * half;
      // A few chunks need no second level, nor a place of their own.
      const bool two_levels = range.size() > kOneLevel;
      const int64_t radix =
          two_levels ? static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(range.size()))))
                     : kOneLevel;
      const bool in_place = !two_levels && !swapped_;
      const Sums sums =
          in_place ? Sums{slot(segment) + tile_first_[static_cast<size_t>(rows.begin)] * columns_,
                          row_half_ * columns_}
                   : Sums{levels, half};
      float* const total = levels + size;
      for (int64_t i = range.begin; i < range.end; ++i) {
        const int64_t at = i - range.begin;
        const Chunk chunk = chunk_at(i), next = chunk_at(std::min(i + 1, range.end - 1));
        add_chunk(chunk, i + 1 < range.end ? &next : nullptr, rows, buffers, at % radix == 0, sums,
                  &thread);
        if (!two_levels || ((at + 1) % radix != 0 && i + 1 < range.end)) continue;
        if (at < radix) {
          std::copy(levels, levels + size, total);
        } else {
          gemm_.add(total, levels, size);
        }
      }
      if (!in_place) write_piece(rows, two_levels ? total : levels, slot(segment));
    }
  });
  sum_segments(elements, segments, pool, threads, slot, gemm_.add);
}

std::string StrassenFilterGradient::detail() const {
  return std::string("strassen, rows of ") + (swapped_ ? "output" : "input") + " channels, " +
         std::to_string(chunks_) + " chunks a sample, " + std::to_string(pieces_) + " pieces, " +
         std::to_string(most_segments_) + " segments";
}

// A chain of n multiply-adds errs by at most n u of the sum of magnitudes, in practice by its
// square root; the sums of quarters by some times as much (README.md). Then chunks in two levels
// and segments.
double StrassenFilterGradient::error_bound() const {
  const double length = static_cast<double>(std::min(voxels_, kChain)),
               chain = std::min(length, 8 + 2 * std::max(1.0, length / 16));
  return 0x1p-24 * (3 * chain + 8 + 2 * std::sqrt(std::sqrt(static_cast<double>(chunks_))));
}

double cost(const Problem& p, const PlanContext& context) {
  const StrassenTable& kernels = context.kernels->strassen;
  const int64_t lanes = kernels.lanes;
  const bool swapped = swaps(p, lanes), first = p.layout == Layout::kChannelsFirst;
  const double rows = static_cast<double>(swapped ? p.oc : p.ic),
               columns = static_cast<double>(swapped ? p.ic : p.oc),
               pixels = static_cast<double>(p.input_voxels());
  const double chain = std::max(1.0, std::min(pixels / 2, static_cast<double>(kChain)));
  const double fill = filled((swapped ? p.ic : p.oc) / 2, lanes);
  const double tile = context.kernels->gemm.f32.max_vectors >= 4 ? 0.935 : 0.88;
  const double arithmetic =
      p.flops() * 0.875 / (peak_flops(context, p.dtype) * tile * fill) * (chain + 4) / chain;
  // Cycles for each number that is summed up, measured. Channels last, tiles of rows are vectors
  // that are not full.
  const double narrow = lanes >= 16 ? 1.0 : 1.4;
  // Two threads share a sample of few chunks by its rows, and each piece of those makes the
  // columns' sums anew.
  const double chunks = std::ceil(pixels / (2 * static_cast<double>(kChain))),
               pieces = chunks < 4   ? 4
                        : chunks < 8 ? 2
                                     : 1;
  const double sums =
      pixels * ((first ? 0.4 : 1.15 * narrow) * rows + (first ? 2.0 : 1.4) * columns * pieces) /
      kClock;
  const double filter = sizeof(float) * static_cast<double>(p.filter_elements());
  return kCallSeconds + 2 * filter / kSharedCacheBytes +
         overlapped_seconds(arithmetic + sums, traffic_seconds(p, *context.cpu));
}

class Gradient final : public Algorithm {
 public:
  const char* name() const override { return "strassen_filter_gradient"; }
  const char* family() const override { return "strassen"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter";
    return why_not_halves(problem, false);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return strassen::cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return std::make_unique<StrassenFilterGradient>(problem, context);
  }
};

}  // namespace
}  // namespace conv3d::strassen

namespace conv3d {

const Algorithm& strassen_gradient_algorithm() {
  static const strassen::Gradient algorithm;
  return algorithm;
}

}  // namespace conv3d
