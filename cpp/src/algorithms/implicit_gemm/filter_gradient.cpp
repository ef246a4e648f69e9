// The filter gradient as GEMM over voxels:
//
//   grad_filter[tap][i][c] = sum_{n, o} input[n, o s - p + tap d, i] * grad_output[n, o, c]
//
//   k           output voxels, a chunk of some rows of one sample (or of some whole samples, if
//   they
//               are small) at a time: one chain of multiply-adds per chunk
//   rows        input channels; for few of them all (tap along the width, channel) pairs, which are
//               contiguous
//   columns     output channels, packed chunk by chunk into panels, or read in place by few tiles
//               of rows. For few of them the two change places
//
// A tap meets a contiguous range of each output row, so nothing is padded.
//
// The filter is cut into portions (taps, input channels, output channels) whose partial sums stay
// near L2, and the chunks into segments; a work item is one portion of one
// segment. Chunks are summed in a cascade: every kRadix sums of one level are one term of the next,
// so the error grows with the logarithm of the volume. Segments are added pairwise. All of this
// follows from the problem and the machine's caches and cores, so the bits do not depend on the
// number of threads.
//
// Source: pairwise and cascade summation, Higham, The accuracy of floating point summation, 1993.
#include "algorithms/implicit_gemm/filter_gradient.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/segments.h"
#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::implicit_gemm {
namespace {

// A panel of a chunk (256 pixels x 16 floats) takes half of a 32 KB L1; adding a tile to memory
// costs 3 % of its multiply-adds.
constexpr int64_t kChunkPixels = 256;
constexpr int64_t kRadix = 8;
constexpr size_t kLineBytes = 64;
constexpr int kLevels = 5;  // 8^5 chunks of 256 pixels; beyond, the last level is a plain sum
constexpr int64_t kSegmentBytes = 4 << 20;  // of the sums of the fewest segments together
// Below this many columns times taps along the width, packing the input costs more than its pixels'
// distance in memory.
constexpr int64_t kPackedProducts = 96;
constexpr int64_t kMergedChannels =
    8;  // at most so many input channels make poor tiles on their own

// Tiles of rows, in all taps, up to which a panel of columns is read where it lies: packed, it
// stays in the L1 from tile to tile, unless it is too large, as those of wide vectors are
// (measured: 64 rows of 512 bits 6 to 8 % faster in place, 128 2 %, of 256 bits 10 to 30 % slower).
constexpr int64_t kFewTiles = 8, kFewOfLarge = 22;

// Whether output channels are the rows of the product and input channels its columns, which are
// read in place as whole vectors: where the former are very few, or fill vectors worse, and the
// latter lie not too far apart (measured: 16 to 12 channels 10.1 to 6.9 ms, 96 to 24 5 %; 512 to 16
// the other way).
bool swaps(const Problem& p) {
  constexpr int64_t kVeryFew = 4, kFar = 128, kLine = 16;
  const int64_t oc = p.oc / p.groups, ic = p.ic / p.groups;
  if (oc <= kVeryFew) return ic > oc;
  const auto filled = [](int64_t n) {
    return static_cast<double>(n) / static_cast<double>(ceil_div(n, kLine) * kLine);
  };
  return ic > oc && ic <= kFar && oc * p.kw < kPackedProducts && filled(oc) < 0.9 * filled(ic);
}

// Whether rows of the product are all (tap along the width, input channel) pairs. Their staged rows
// are as long as the windows reach, so those must not lie far outside the image.
bool merges_width(const Problem& p, bool swapped) {
  return p.pw < p.kw && (p.ow - 1) * p.sw < p.iw + p.pw && p.kw > 1 && p.dw == 1 && p.groups == 1 &&
         p.ic <= kMergedChannels && !swapped;
}

// `count` elements of each of `pixels` pixels to tiles of `rows` of them: to[tile][pixel][tile]. A
// number of rows known while compiling is moved in registers.
template <int kRows, class T>
void tile_pixels(const T* from, ptrdiff_t step, int64_t pixels, int64_t count, int64_t rows, T* to,
                 int64_t tile, int64_t tile_stride) {
  if constexpr (kRows > 0) rows = kRows;
  const int64_t whole = count / rows, rest = count % rows;
  for (int64_t i = 0; i < pixels; ++i, from += step, to += tile) {
    T* at = to;
    const T* x = from;
    for (int64_t m = 0; m < whole; ++m, x += rows, at += tile_stride)
      std::memcpy(at, x, static_cast<size_t>(rows) * sizeof(T));
    for (int64_t m = 0; m < rest; ++m) at[m] = x[m];
  }
}

template <class T>
void tile_pixels(const T* from, ptrdiff_t step, int64_t pixels, int64_t count, int64_t rows, T* to,
                 int64_t tile, int64_t tile_stride) {
  const auto go = [&](auto constant) {
    tile_pixels<decltype(constant)::value>(from, step, pixels, count, rows, to, tile, tile_stride);
  };
  switch (rows) {
    case 6: return go(std::integral_constant<int, 6>{});
    case 8: return go(std::integral_constant<int, 8>{});
    case 12: return go(std::integral_constant<int, 12>{});
    default: return go(std::integral_constant<int, 0>{});
  }
}

// A tile of a product of `rows` times `columns`: few columns make tall ones, few rows wide ones.
struct FullTile {
  int64_t rows, vectors;
};
template <class T>
FullTile full_tile(const GemmKernels<T>& kernels, int64_t rows, int64_t columns) {
  const int most = kernels.plane_rows;
  const int64_t wide = kernels.plane_vectors[std::min<int64_t>(rows, most)];
  const int64_t vectors = std::max<int64_t>(1, ceil_div(columns, kernels.lanes));
  if (rows > most && vectors < wide) return {kernels.tall_rows[vectors], vectors};
  return {most, wide};
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
  struct Portion {
    int64_t group;
    Range taps;    // (d, h) taps
    Range ic, oc;  // channels of the group
  };
  struct Chunk {
    Range rows, columns;  // (sample, d, h) rows of the output, columns of each
  };
  // Where the products of a chunk go: [tap][row], `row` and `tap` elements apart; added to what is
  // there, or (the only chunk's) in its place.
  struct Sums {
    T* first;
    ptrdiff_t row, tap;
    bool add;
  };
  struct Thread {
    T* levels;  // [kLevels][portion]
    Sums sums;
    T* panels;  // the chunk's grad_output: [panel][pixel][width]
    T* rows;  // input rows of the chunk for one (d, h) tap: [tile of channels][row][pixel][tile_],
              // or, not packed and channels first, [row][pixel][channel]; merged,
              // [slot][pixel][channel]
    int64_t* slots;  // merged: which row of the input a slot holds
    T* tiles;  // merged rows, packed: [tile of (tap along the width, channel)][row][pixel][tile_]
    const T **a, **b;         // [row of a chunk]
    const void** ahead_rows;  // [2][row of a chunk]
  };

  Portion portion_at(int64_t index) const;
  Chunk chunk_at(int64_t index, int64_t batch) const;
  // Of a portion's first element in the filter.
  int64_t portion_offset(const Portion& p) const {
    return (p.taps.begin * p_.kw * icg_ + p.ic.begin) * p_.oc + p.group * ocg_ + p.oc.begin;
  }
  int64_t portion_elements(const Portion& p) const {
    return p.taps.size() * p_.kw * p.ic.size() * p.oc.size();
  }
  void pack_panels(const Portion& portion, const Chunk& chunk, const T* grad_output,
                   Thread* thread) const;
  void pack_row(const T* row, int64_t count, int64_t step, int64_t channels, T* to,
                int64_t tile_stride) const;
  GemmAhead ahead_of(const Portion& portion, const Chunk& chunk, const T* input,
                     const T* grad_output, const Thread& thread) const;
  // `ahead` is what the products ask for on their way.
  void add_chunk(const Portion& portion, const Chunk& chunk, const T* input, const T* grad_output,
                 GemmAhead* ahead, Thread* thread) const;
  // Whether grad_output is multiplied where it lies: as rows all of it is one panel; as columns a
  // chunk's panel comes from the L2 for each tile of rows, which is less than packing it where
  // those are few.
  bool reads_in_place(const Portion& portion) const {
    if (channels_first_ || merged_) return false;
    if (swapped_) return portion.oc.size() == p_.oc;
    const int64_t panel = chunk_rows_ * chunk_columns_ * width_ * static_cast<int64_t>(sizeof(T));
    return portion.taps.size() * p_.kw * ceil_div(portion.ic.size(), rows_) <=
           (panel > static_cast<int64_t>(context_.cpu->l1d_bytes) ? kFewOfLarge : kFewTiles);
  }
  void add_merged(const Portion& portion, const Chunk& chunk, const T* input, Thread* thread) const;
  const T* staged_row(const T* input, int64_t sample, int64_t id, int64_t ih, int64_t slot,
                      int64_t first, int64_t pixels, Thread* thread) const;
  void write_portion(const Portion& portion, const T* sums, T* filter) const;
  void choose_tile(int64_t rows, int64_t columns);
  int rows_of_tile(int64_t left, int64_t tiles, bool packed) const;
  // A power of two, so that threads get as much each, of one or two chunks at least: each costs a
  // pass over the whole filter.
  int64_t segments_of(int64_t chunks) const {
    int64_t segments = 1;
    while (segments * 2 <= segments_ && segments * 3 <= chunks) segments *= 2;
    return segments;
  }
  // Panels and tiles lie a line more than their size apart, against cache-set conflicts.
  static constexpr int64_t kPad = kLineBytes / sizeof(T);
  int64_t panel_stride(const Chunk& chunk) const {
    return chunk.rows.size() * chunk.columns.size() * width_ + kPad;
  }

  Problem problem_;
  const Problem& p_ = problem_;
  PlanContext context_;
  const GemmKernels<T>& kernels_;
  bool channels_first_, merged_, swapped_;
  bool packed_;   // input rows are packed by tiles of channels
  int64_t tile_;  // elements of a pixel in a packed tile
  int64_t icg_, ocg_;
  bool packs_merged_, keeps_rows_ = false;
  int64_t staged_pixels_, slot_planes_, slot_rows_;  // merged: of a slot; slots are planes x rows
  int64_t slots() const { return slot_planes_ * slot_rows_; }
  int64_t chunk_rows_, chunk_columns_, row_chunks_, column_chunks_;  // of one sample
  int64_t chunk_samples_ = 1;  // more than one: chunks are so many whole samples
  int64_t tap_pieces_, ic_pieces_, oc_pieces_;
  int64_t rows_, width_;  // of a tile; the width is that of a panel in memory
  int64_t max_portion_ = 0, segments_ = 1;
  ScratchLedger ledger_;
  int levels_entry_, panels_entry_, rows_entry_, tiles_entry_, pointers_entry_, segments_entry_,
      slots_entry_;
};

template <class T>
FilterGradientPrepared<T>::FilterGradientPrepared(const Problem& problem,
                                                  const PlanContext& context)
    : problem_(problem), context_(context), kernels_(kernels_of<T>(context.kernels->gemm)) {
  const Problem& p = problem;
  channels_first_ = p.layout == Layout::kChannelsFirst;
  icg_ = p.ic / p.groups;
  ocg_ = p.oc / p.groups;
  swapped_ = swaps(p);
  merged_ = merges_width(p, swapped_);

  chunk_columns_ = std::max<int64_t>(
      1, p.ow > kChunkPixels * 3 / 2 ? ceil_div(p.ow, ceil_div(p.ow, kChunkPixels)) : p.ow);
  column_chunks_ = ceil_div(p.ow, chunk_columns_);
  chunk_rows_ = std::max<int64_t>(1, kChunkPixels / chunk_columns_);
  const int64_t rows = std::max<int64_t>(1, p.od * p.oh);
  row_chunks_ = ceil_div(rows, chunk_rows_);
  chunk_rows_ = ceil_div(rows, row_chunks_);
  row_chunks_ = ceil_div(rows, chunk_rows_);
  const int64_t sample_pixels = std::max<int64_t>(1, p.output_voxels());
  if (sample_pixels <= kChunkPixels / 2) {
    chunk_samples_ = kChunkPixels / sample_pixels;
    chunk_rows_ = rows * chunk_samples_;
  }

  // Portions: as many (d, h) taps, output and input channels as the levels' sums leave room for.
  const int64_t near = std::max<int64_t>(2048, 2 * static_cast<int64_t>(context.cpu->l2_bytes) /
                                                   kLevels / static_cast<int64_t>(sizeof(T)));
  // Wide filters: each portion packs all of grad_output again, while a sum is touched once a chunk
  // and may lie in the shared cache, as long as there are portions for all threads.
  const int64_t cores = most_segments(*context.cpu) / 4;
  const int64_t far = static_cast<int64_t>(l3_bytes(*context.cpu)) / (4 * cores) / kLevels /
                      static_cast<int64_t>(sizeof(T));
  const int64_t room = std::max(near, std::min(far, p.filter_elements() / (4 * cores)));
  const int64_t lanes = kernels_.lanes, taps = p.kd * p.kh;
  const int64_t width = kernels_.plane_vectors[kernels_.plane_rows] * lanes;
  ic_pieces_ = oc_pieces_ = tap_pieces_ = 1;
  if (channels_first_) ic_pieces_ = ceil_div(icg_, 128);  // of the staged rows
  const auto size = [&] {
    return ceil_div(taps, tap_pieces_) * p.kw * ceil_div(icg_, ic_pieces_) *
           ceil_div(ocg_, oc_pieces_);
  };
  // Of one tap: a row of the input is packed for that tap alone, which costs more than the panels.
  while (taps * p.kw == 1 && size() > room && ceil_div(icg_, ic_pieces_ * 2) >= 96) ic_pieces_ *= 2;
  // Wide filters: what a pixel's input costs to pack grows with the pieces of output channels, its
  // grad_output's with those of taps; the cheaper one is cut.
  while (ocg_ >= 16 * width && size() > room) {
    const bool cuts_columns = ceil_div(ocg_, oc_pieces_ * 2) >= 4 * width;
    const int64_t rows_packed = taps * (merged_ ? p.kw : 1) * icg_ * oc_pieces_,
                  columns_packed = ocg_ * tap_pieces_;
    if (tap_pieces_ < taps && (columns_packed <= rows_packed || !cuts_columns)) {
      tap_pieces_ = std::min(taps, tap_pieces_ * 2);
    } else if (cuts_columns) {
      oc_pieces_ *= 2;
    } else {
      break;
    }
  }
  while (size() > room && tap_pieces_ < p.kd) tap_pieces_ = p.kd;
  while (size() > room && tap_pieces_ < taps) tap_pieces_ = std::min(taps, tap_pieces_ * 2);
  while (size() > room && ceil_div(ocg_, oc_pieces_ * 2) >= 2 * width) oc_pieces_ *= 2;
  while (!merged_ && size() > room && ceil_div(icg_, ic_pieces_ * 2) >= 48) ic_pieces_ *= 2;
  while (size() > room && ceil_div(ocg_, oc_pieces_ * 2) >= lanes) oc_pieces_ *= 2;
  while (!merged_ && size() > room && ic_pieces_ * 2 <= icg_) ic_pieces_ *= 2;

  // Of the filter alone: pieces differ from layout to layout.
  const int64_t filter_bytes = p.filter_elements() * static_cast<int64_t>(sizeof(T));
  const int64_t most = most_segments(*context.cpu);
  segments_ =
      std::clamp<int64_t>(2 * most * near / std::max<int64_t>(1, p.filter_elements()), 1, most);
  segments_ = std::clamp<int64_t>(
      segment_bytes(kSegmentBytes, *context.cpu) / std::max<int64_t>(1, filter_bytes), 1,
      segments_);
  // A sample of few chunks has few segments: then more portions are what threads share.
  const auto items = [&] {
    return p.groups * tap_pieces_ * ic_pieces_ * oc_pieces_ *
           segments_of(row_chunks_ * column_chunks_);
  };
  const auto splits = [&] {
    if (tap_pieces_ < taps) {
      tap_pieces_ = std::min(taps, tap_pieces_ * 2);
    } else if (!merged_ && ceil_div(icg_, ic_pieces_ * 2) >= 48) {
      ic_pieces_ *= 2;
    } else if (ceil_div(ocg_, oc_pieces_ * 2) >= width) {
      oc_pieces_ *= 2;
    } else {
      return false;
    }
    return true;
  };
  while (chunk_samples_ == 1 && items() < most / 2 && splits()) {
  }
  max_portion_ = size();

  // A few chunks a segment, as `execute` counts them: as many in each.
  const auto used = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(segments_)));
  if (column_chunks_ == 1 && row_chunks_ >= 3 * used && row_chunks_ < 8 * used) {
    chunk_rows_ = ceil_div(rows, ceil_div(row_chunks_, used) * used);
    row_chunks_ = ceil_div(rows, chunk_rows_);
  }

  const int64_t max_ic = ceil_div(icg_, ic_pieces_), max_oc = ceil_div(ocg_, oc_pieces_);
  choose_tile(swapped_ ? max_oc : merged_ ? p.kw * max_ic : max_ic, swapped_ ? max_ic : max_oc);
  const int64_t pixels = chunk_rows_ * chunk_columns_;
  levels_entry_ =
      ledger_.book("gemm.sums", checked_bytes({kLevels, max_portion_, sizeof(T)}, "sums"), true);
  panels_entry_ = ledger_.book(
      "gemm.panels", checked_bytes({pixels + kPad, max_oc + width_, sizeof(T)}, "panels"), true);
  const int64_t staged_width = std::min(p.iw, (chunk_columns_ - 1) * p.sw + (p.kw - 1) * p.dw + 1);
  // One tap reads a pixel once a tile: in place, where the chunk stays near.
  const bool near_input = !channels_first_ && p.kw == 1 &&
                          pixels * p.sw * p.ic * static_cast<int64_t>(sizeof(T)) <=
                              static_cast<int64_t>(l2_bytes(*context.cpu)) / 8;
  packed_ = !merged_ && !swapped_ && !near_input && max_oc * p.kw >= kPackedProducts;
  tile_ = static_cast<int64_t>(round_up(static_cast<size_t>(rows_), 8 / (sizeof(T) / 4)));
  const int64_t staged_channels = packed_           ? ceil_div(max_ic, rows_) * tile_
                                  : channels_first_ ? max_ic
                                                    : 0;
  // Merged rows that lie apart, or are short, are packed too.
  packs_merged_ = merged_ && (chunk_samples_ > 1 || p.sw * icg_ * sizeof(T) > 64);
  const int64_t merged_tiles = packs_merged_ ? ceil_div(p.kw * max_ic, rows_) * tile_ : 0;
  tiles_entry_ = ledger_.book(
      "gemm.tiles", checked_bytes({pixels + kPad, merged_tiles, sizeof(T)}, "tiles"), true);
  staged_pixels_ = (chunk_columns_ - 1) * p.sw + p.kw;
  slot_planes_ = 1;
  slot_rows_ = chunk_rows_;
  if (merged_ && chunk_samples_ == 1) {
    // All rows that the taps of a chunk meet, where they fit half of the L2: taps and the next
    // chunk find most of theirs. No two that one tap meets may have one slot: those of one plane
    // lie less than slot_rows_ apart, and the planes are at most so many strides apart.
    const int64_t turns = ceil_div(chunk_rows_ - 1, std::max<int64_t>(1, p.oh));
    const int64_t planes = std::min(p.id, (p.kd - 1) * p.dd + 1 + turns * p.sd),
                  lines = std::min(p.ih, (chunk_rows_ - 1) * p.sh + (p.kh - 1) * p.dh + 1);
    const double bytes = static_cast<double>(planes) * static_cast<double>(lines) *
                         static_cast<double>(staged_pixels_ * icg_) * sizeof(T);
    if (bytes <= static_cast<double>(l2_bytes(*context.cpu)) / 2) {
      keeps_rows_ = true;
      slot_planes_ = std::max<int64_t>(1, planes);
      slot_rows_ = std::max<int64_t>(1, lines);
    }
  }
  rows_entry_ = ledger_.book(
      "gemm.rows",
      merged_
          ? checked_bytes({slots(), staged_pixels_, icg_, sizeof(T)}, "rows")
          : checked_bytes({chunk_rows_ * staged_width + kPad, staged_channels, sizeof(T)}, "rows"),
      true);
  slots_entry_ = ledger_.book(
      "gemm.slots", checked_bytes({merged_ ? slots() : 0, sizeof(int64_t)}, "slots"), true);
  pointers_entry_ =
      ledger_.book("gemm.pointers", checked_bytes({chunk_rows_, 4 * sizeof(T*)}, "pointers"), true);
  segments_entry_ = ledger_.book(
      "gemm.segments", checked_bytes({segments_ - 1, p.filter_elements(), sizeof(T)}, "segments"),
      false);
}

template <class T>
void FilterGradientPrepared<T>::choose_tile(int64_t rows, int64_t columns) {
  const FullTile tile = full_tile(kernels_, rows, columns);
  width_ = kernels_.lanes * tile.vectors;
  rows_ = tile.rows;
  rows_ = std::max<int64_t>(1, ceil_div(rows, std::max<int64_t>(1, ceil_div(rows, rows_))));
  if (swapped_) width_ = ocg_;
}

// Of what is left, for so many tiles: evenly split, but where tiles are packed.
template <class T>
int FilterGradientPrepared<T>::rows_of_tile(int64_t left, int64_t tiles, bool packed) const {
  return static_cast<int>(packed ? std::min(rows_, left) : ceil_div(left, tiles));
}

template <class T>
typename FilterGradientPrepared<T>::Portion FilterGradientPrepared<T>::portion_at(
    int64_t index) const {
  Portion portion{};
  portion.ic = piece(icg_, index % ic_pieces_, ic_pieces_);
  index /= ic_pieces_;
  portion.oc = piece(ocg_, index % oc_pieces_, oc_pieces_);
  index /= oc_pieces_;
  portion.taps = piece(p_.kd * p_.kh, index % tap_pieces_, tap_pieces_);
  portion.group = index / tap_pieces_;
  return portion;
}

template <class T>
typename FilterGradientPrepared<T>::Chunk FilterGradientPrepared<T>::chunk_at(int64_t index,
                                                                              int64_t batch) const {
  Chunk chunk{};
  const int64_t rows = p_.od * p_.oh;
  if (chunk_samples_ > 1) {
    chunk.rows = {index * chunk_rows_, std::min(batch * rows, (index + 1) * chunk_rows_)};
    chunk.columns = {0, p_.ow};
    return chunk;
  }
  const int64_t column = index % column_chunks_ * chunk_columns_;
  index /= column_chunks_;
  const int64_t row = index % row_chunks_ * chunk_rows_;
  const int64_t first = index / row_chunks_ * rows;  // of the sample
  chunk.rows = {first + row, first + std::min(rows, row + chunk_rows_)};
  chunk.columns = {column, std::min(p_.ow, column + chunk_columns_)};
  return chunk;
}

template <class T>
void FilterGradientPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch,
                                        ThreadPool& pool, int threads) const {
  const T* const input = static_cast<const T*>(buffers.input);
  const T* const grad_output = static_cast<const T*>(buffers.grad_output);
  T* const result = static_cast<T*>(buffers.result);
  const int64_t elements = p_.filter_elements();
  if (elements == 0) return;
  const int64_t chunks = p_.output_voxels() == 0 ? 0
                         : chunk_samples_ > 1    ? ceil_div(buffers.batch, chunk_samples_)
                                                 : buffers.batch * row_chunks_ * column_chunks_;
  const int64_t portions = p_.groups * tap_pieces_ * ic_pieces_ * oc_pieces_;
  const int64_t segments = segments_of(chunks);
  T* const others = scratch.get<T>(segments_entry_);
  // What a shared cache holds comes as fast unasked (measured: 32 MB of tensors 5.1 to 4.7 ms, 6 MB
  // 0.56 to 0.59).
  const int64_t voxels = p_.input_voxels() * p_.ic + p_.output_voxels() * p_.oc;
  const bool far = buffers.batch * voxels * static_cast<int64_t>(sizeof(T)) >
                   static_cast<int64_t>(l3_bytes(*context_.cpu)) / 3;
  pool.parallel_for(portions * segments, 1, threads, [&](int64_t begin, int64_t end, int id) {
    Thread thread;
    thread.levels = scratch.get<T>(levels_entry_, id);
    thread.panels = scratch.get<T>(panels_entry_, id);
    thread.rows = scratch.get<T>(rows_entry_, id);
    thread.slots = scratch.get<int64_t>(slots_entry_, id);
    thread.tiles = scratch.get<T>(tiles_entry_, id);
    thread.a = scratch.get<const T*>(pointers_entry_, id);
    thread.b = thread.a + chunk_rows_;
    thread.ahead_rows = reinterpret_cast<const void**>(thread.b + chunk_rows_);
    for (int64_t index = begin; index < end; ++index) {
      const Portion portion = portion_at(index % portions);
      const int64_t segment = index / portions, size = portion_elements(portion);
      const Range range = piece(chunks, segment, segments);
      int levels = 1;  // that this many chunks fill
      for (int64_t unit = range.size() / kRadix; unit > 0 && levels < kLevels; unit /= kRadix)
        ++levels;
      T* const filter = segment == 0 ? result : others + (segment - 1) * elements;
      // A single chunk's sums can go to where they stay: wide layers of few voxels, whose filter is
      // the largest of the tensors (512 to 512 channels of 2 x 7^2: 5.5 to 4.4 ms).
      const bool direct = range.size() == 1 && !merged_ && !swapped_;
      if (direct) {
        thread.sums = {filter + portion_offset(portion), p_.oc, icg_ * p_.oc, false};
      } else {
        thread.sums = {thread.levels, swapped_ ? portion.ic.size() : portion.oc.size(),
                       portion.ic.size() * portion.oc.size(), true};
        std::fill(thread.levels, thread.levels + levels * size, T(0));
      }
      if (merged_) std::fill(thread.slots, thread.slots + slots(), int64_t{-1});
      for (int64_t i = range.begin; i < range.end; ++i) {
        const Chunk chunk = chunk_at(i, buffers.batch);
        if (!reads_in_place(portion)) pack_panels(portion, chunk, grad_output, &thread);
        if (merged_) {
          add_merged(portion, chunk, input, &thread);
        } else {
          GemmAhead ahead{};
          if (far && i + 1 < range.end)
            ahead = ahead_of(portion, chunk_at(i + 1, buffers.batch), input, grad_output, thread);
          add_chunk(portion, chunk, input, grad_output, ahead.count > 0 ? &ahead : nullptr,
                    &thread);
        }
        int64_t unit = i - range.begin + 1;
        for (int level = 0; level + 1 < levels && unit % kRadix == 0; ++level, unit /= kRadix) {
          T* const sums = thread.levels + level * size;
          kernels_.add(sums + size, sums, size);
          std::fill(sums, sums + size, T(0));
        }
      }
      for (int level = 0; level + 1 < levels; ++level)
        kernels_.add(thread.levels + (level + 1) * size, thread.levels + level * size, size);
      if (!direct) write_portion(portion, thread.levels + (levels - 1) * size, filter);
    }
  });
  const auto slot = [&](int64_t s) { return s == 0 ? result : others + (s - 1) * elements; };
  sum_segments(elements, segments, pool, threads, slot, kernels_.add);
}

// The chunk's grad_output, channels of the portion: [panel][pixel][width].
template <class T>
void FilterGradientPrepared<T>::pack_panels(const Portion& portion, const Chunk& chunk,
                                            const T* grad_output, Thread* thread) const {
  const PhaseTimer timer(Phase::kTransform);
  const int64_t voxels = p_.output_voxels();
  const int64_t first = portion.group * ocg_ + portion.oc.begin, channels = portion.oc.size();
  // Whole rows follow each other in memory, channels first within a sample.
  const int64_t rows = std::max<int64_t>(1, p_.od * p_.oh);
  const bool whole = chunk.columns.size() == p_.ow;
  const int64_t joined = !whole                                  ? 1
                         : channels_first_ && chunk_samples_ > 1 ? rows
                                                                 : chunk.rows.size();
  const int64_t runs = chunk.rows.size() / joined, run = joined * chunk.columns.size();
  const int64_t stride = panel_stride(chunk), panels = ceil_div(channels, width_);
  for (int64_t r = 0; r < runs; ++r) {
    const int64_t row = chunk.rows.begin + r * joined, sample = row / rows;
    const int64_t voxel = row % rows * p_.ow + chunk.columns.begin;  // of the sample
    const T* const image = grad_output + sample * voxels * p_.oc;
    T* const to = thread->panels + r * run * width_;
    if (channels_first_) {
      for (int64_t panel = 0; panel < panels; ++panel) {
        const TransposeArgs<T> args = {
            image + (first + panel * width_) * voxels + voxel, voxels, to + panel * stride, width_,
            std::min(width_, channels - panel * width_),       run};
        kernels_.transpose(&args);
      }
      continue;
    }
    // A few panels at a time: pixels lie far apart where the channels are many.
    constexpr int64_t kPanels = 4;
    for (int64_t panel = 0; panel < panels; panel += kPanels) {
      const T* from = image + voxel * p_.oc + first + panel * width_;
      const int64_t count = std::min(kPanels * width_, channels - panel * width_);
      for (int64_t i = 0; i < run; ++i, from += p_.oc) {
        T* at = to + panel * stride + i * width_;
        int64_t c = 0;
        for (; c + width_ <= count; c += width_, at += stride) {
          if (width_ * sizeof(T) == kLineBytes) {  // a size known while compiling is fast
            std::memcpy(at, from + c, kLineBytes);
          } else {
            std::memcpy(at, from + c, static_cast<size_t>(width_) * sizeof(T));
          }
        }
        if (c < count) std::memcpy(at, from + c, static_cast<size_t>(count - c) * sizeof(T));
      }
    }
  }
}

// `count` pixels of a row, `step` apart, to tiles of channels: to[tile][pixel][tile_].
template <class T>
void FilterGradientPrepared<T>::pack_row(const T* row, int64_t count, int64_t step,
                                         int64_t channels, T* to, int64_t tile_stride) const {
  if (!channels_first_) {
    tile_pixels(row, step * p_.ic, count, channels, rows_, to, tile_, tile_stride);
    return;
  }
  // Tiles are narrower than vectors: some are turned together, then cut.
  constexpr int64_t kPixels = 32, kTiles = 8, kMostRows = 16;
  CONV3D_ASSERT(rows_ <= kMostRows);
  T turned[kPixels * kTiles * kMostRows];
  const int64_t most = kTiles * rows_, together = std::max<int64_t>(1, kPixels / step);
  for (int64_t m = 0; m < channels; m += most) {
    const int64_t width = std::min(most, channels - m);
    for (int64_t i = 0; i < count; i += together) {
      const int64_t n = std::min(together, count - i);
      // Whole steps, where a next pixel follows: vectors are whole too.
      const int64_t span = i + n < count ? n * step : (n - 1) * step + 1;
      const TransposeArgs<T> args = {
          row + m * p_.input_voxels() + i * step, p_.input_voxels(), turned, most, width, span};
      kernels_.transpose(&args);
      tile_pixels(turned, step * most, n, width, rows_, to + m / rows_ * tile_stride + i * tile_,
                  tile_, tile_stride);
    }
  }
}

// What a chunk will read for the first time: its grad_output, and the input's rows under the last
// tap.
template <class T>
GemmAhead FilterGradientPrepared<T>::ahead_of(const Portion& portion, const Chunk& chunk,
                                              const T* input, const T* grad_output,
                                              const Thread& thread) const {
  const Problem& p = p_;
  constexpr int64_t kSize = sizeof(T), kLine = static_cast<int64_t>(kLineBytes);
  GemmAhead ahead{};
  // `pixels` of each of the rows, `step` apart, of `channels` of `all`.
  const auto add = [&](const void* const* rows, int64_t count, int64_t pixels, int64_t step,
                       int64_t channels, int64_t all, int64_t voxels) {
    if (count == 0 || pixels == 0) return;
    GemmAhead::Region region{rows, count, 1, 0, 0};
    if (channels_first_) {
      region.pieces = channels;
      region.piece_bytes = voxels * kSize;
      region.lines = ceil_div(((pixels - 1) * step + 1) * kSize, kLine);
    } else if (step == 1 && channels == all) {
      region.lines = ceil_div(pixels * all * kSize, kLine);
    } else {
      region.pieces = pixels;
      region.piece_bytes = step * all * kSize;
      region.lines = ceil_div(channels * kSize, kLine);
    }
    ahead.lines += count * region.pieces * region.lines;
    ahead.regions[ahead.count++] = region;
  };
  const int64_t rows_of_sample = std::max<int64_t>(1, p.od * p.oh), size = chunk.rows.size(),
                tap = portion.taps.end - 1;
  const int64_t oc = portion.group * ocg_ + portion.oc.begin,
                ic = portion.group * icg_ + portion.ic.begin;
  const int64_t left = std::clamp<int64_t>(chunk.columns.begin * p.sw - p.pw, 0, p.iw),
                right = std::clamp<int64_t>(
                    (chunk.columns.end - 1) * p.sw - p.pw + (p.kw - 1) * p.dw + 1, left, p.iw);
  // Channel `c` of pixel `voxel` of a sample.
  const auto place = [&](const T* tensor, int64_t sample, int64_t voxel, int64_t c, int64_t voxels,
                         int64_t channels) {
    return tensor + sample * voxels * channels +
           (channels_first_ ? c * voxels + voxel : voxel * channels + c);
  };
  int64_t count = 0;
  for (int64_t r = chunk.rows.begin; r < chunk.rows.end; ++r) {
    const int64_t sample = r / rows_of_sample, row = r % rows_of_sample;
    thread.ahead_rows[r - chunk.rows.begin] =
        place(grad_output, sample, row * p.ow + chunk.columns.begin, oc, p.output_voxels(), p.oc);
    const int64_t id = row / p.oh * p.sd - p.pd + tap / p.kh * p.dd,
                  ih = row % p.oh * p.sh - p.ph + tap % p.kh * p.dh;
    if (id < 0 || id >= p.id || ih < 0 || ih >= p.ih) continue;
    thread.ahead_rows[chunk_rows_ + count++] =
        place(input, sample, (id * p.ih + ih) * p.iw + left, ic, p.input_voxels(), p.ic);
  }
  add(thread.ahead_rows, size, chunk.columns.size(), 1, portion.oc.size(), p.oc, p.output_voxels());
  const int64_t step = p.kw == 1 ? p.sw : 1;
  add(thread.ahead_rows + chunk_rows_, count, ceil_div(right - left, step), step, portion.ic.size(),
      p.ic, p.input_voxels());
  const int64_t rows = swapped_ ? portion.oc.size() : portion.ic.size(),
                columns = swapped_ ? portion.ic.size() : portion.oc.size(),
                width = kernels_.lanes * kernels_.max_vectors;
  ahead.parts = std::max<int64_t>(1, portion.taps.size() * p.kw * ceil_div(rows, rows_) *
                                         ceil_div(columns, width) * size * chunk.columns.size() /
                                         GemmAhead::kPart);
  return ahead;
}

// Adds the chunk's part to thread->sums, or puts it there: [tap][tap along w][input channel][output
// channel], swapped: [...][output][input].
template <class T>
void FilterGradientPrepared<T>::add_chunk(const Portion& portion, const Chunk& chunk,
                                          const T* input, const T* grad_output, GemmAhead* ahead,
                                          Thread* thread) const {
  const PhaseTimer timer(Phase::kMultiply);
  const Problem& p = p_;
  const bool in_place = reads_in_place(portion);
  const int64_t b_pixel = in_place ? p.oc : width_;
  const Sums& all_sums = thread->sums;
  const int64_t rows_of_sample = p.od * p.oh;
  const int64_t first = portion.group * icg_ + portion.ic.begin;
  // Output columns of the chunk at which tap t along the width meets the input.
  const auto columns_of = [&](int64_t t) {
    const int64_t at = t * p.dw - p.pw;
    const int64_t begin = at >= 0 ? 0 : ceil_div(-at, p.sw), last = p.iw - 1 - at;
    const int64_t end = last < 0 ? 0 : last / p.sw + 1;
    Range range{std::max(chunk.columns.begin, begin), std::min(chunk.columns.end, end)};
    range.end = std::max(range.begin, range.end);
    return range;
  };
  // Pixels that the taps meet, from `left` to `right`. One tap meets some columns' pixels, a stride
  // apart: packed, they are neighbours.
  const bool dense = packed_ && p.kw == 1;
  const Range met = columns_of(0);
  const int64_t left =
      dense ? met.begin * p.sw - p.pw : std::max<int64_t>(0, chunk.columns.begin * p.sw - p.pw);
  const int64_t right =
      dense ? left + (met.size() == 0 ? 0 : (met.size() - 1) * p.sw + 1)
            : std::min(p.iw, (chunk.columns.end - 1) * p.sw - p.pw + (p.kw - 1) * p.dw + 1);
  const int64_t pixel = packed_ ? tile_ : channels_first_ ? portion.ic.size() : p.ic;
  const int64_t staged = dense ? met.size() : std::max<int64_t>(0, right - left);
  const int64_t tile_stride = packed_ ? chunk.rows.size() * staged * tile_ + kPad : 0;
  const int64_t column = dense ? pixel : p.sw * pixel;  // from column to column

  for (int64_t tap = portion.taps.begin; tap < portion.taps.end; ++tap) {
    T* const sums = all_sums.first + (tap - portion.taps.begin) * p.kw * all_sums.tap;
    const auto clear = [&](T* c) {
      for (int64_t i = 0; i < portion.ic.size(); ++i)
        std::fill_n(c + i * all_sums.row, portion.oc.size(), T(0));
    };
    // Input rows that the tap meets; a[] holds their first pixel (channels first: pixel `left`),
    // b[] the panel's row.
    int64_t rows = 0;
    for (int64_t r = chunk.rows.begin; r < chunk.rows.end; ++r) {
      const int64_t id = r % rows_of_sample / p.oh * p.sd - p.pd + tap / p.kh * p.dd,
                    ih = r % p.oh * p.sh - p.ph + tap % p.kh * p.dh;
      if (id < 0 || id >= p.id || ih < 0 || ih >= p.ih || right <= left) continue;
      const int64_t voxel = (id * p.ih + ih) * p.iw;
      const T* const sample = input + r / rows_of_sample * p.input_voxels() * p.ic;
      if (packed_) {
        T* const to = thread->rows + rows * staged * tile_;
        pack_row(channels_first_ ? sample + first * p.input_voxels() + voxel + left
                                 : sample + (voxel + left) * p.ic + first,
                 staged, dense ? p.sw : 1, portion.ic.size(), to, tile_stride);
        thread->a[rows] = to - (dense ? met.begin : left) * tile_;
      } else if (channels_first_) {
        T* const to = thread->rows + rows * (right - left) * portion.ic.size();
        const TransposeArgs<T> args = {sample + first * p.input_voxels() + voxel + left,
                                       p.input_voxels(),
                                       to,
                                       portion.ic.size(),
                                       portion.ic.size(),
                                       right - left};
        kernels_.transpose(&args);
        thread->a[rows] = to - left * pixel;
      } else {
        thread->a[rows] = sample + voxel * p.ic + first;
      }
      thread->b[rows] =
          in_place
              ? grad_output + r * p.ow * p.oc + portion.group * ocg_ + portion.oc.begin
              : thread->panels +
                    ((r - chunk.rows.begin) * chunk.columns.size() - chunk.columns.begin) * width_;
      ++rows;
    }
    if (rows == 0) {
      for (int64_t t = 0; t < p.kw && !all_sums.add; ++t) clear(sums + t * all_sums.tap);
      continue;
    }
    // Rows that follow each other at one distance can pass as one where all their pixels take part.
    const ptrdiff_t row_step = rows > 1 ? thread->a[1] - thread->a[0] : 0;
    bool even =
        rows > 1 && rows == chunk.rows.size() && (!in_place || chunk.columns.size() == p.ow);
    for (int64_t r = 2; r < rows && even; ++r) even = thread->a[r] - thread->a[r - 1] == row_step;

    GemmPlaneArgs<T> args{};
    args.load_c = all_sums.add ? 1 : 0;
    args.ahead = ahead;
    const int64_t panel_stride = this->panel_stride(chunk);
    // sums[m][n] (+)= sum over the rows and columns `range`; m counts what is contiguous in the
    // input from pixel `at` on.
    const auto multiply = [&](Range range, int64_t at, int64_t count, T* c) {
      if (range.size() == 0) {
        if (!all_sums.add) clear(c);
        return;
      }
      const bool one =
          even && range.size() == chunk.columns.size() && row_step == range.size() * column;
      args.groups = one ? 1 : static_cast<int>(rows);
      args.k = one ? rows * range.size() : range.size();
      const ptrdiff_t input_offset = range.begin * column + (dense ? 0 : at * pixel),
                      panel_offset = range.begin * b_pixel;
      if (swapped_) {
        args.a = thread->b;
        args.a_k = b_pixel;
        args.b = thread->a;
        args.b_k = column;
        args.b_offset = input_offset;
        args.columns = count;
        args.c_row = all_sums.row;
        const int64_t channels = portion.oc.size();
        int64_t tiles = ceil_div(channels, rows_);
        for (int64_t m = 0; m < channels; m += args.rows, --tiles) {
          args.rows = rows_of_tile(channels - m, tiles, false);
          args.a_offset = panel_offset + m;
          args.c = c + m * all_sums.row;
          kernels_.plane(&args);
        }
        return;
      }
      args.a = thread->a;
      args.a_k = column;
      args.b = thread->b;
      args.b_k = b_pixel;
      args.c_row = all_sums.row;
      for (int64_t n = 0; n < portion.oc.size(); n += width_) {
        args.columns = std::min(width_, portion.oc.size() - n);
        args.b_offset = panel_offset + (in_place ? n : n / width_ * panel_stride);
        int64_t tiles = ceil_div(count, rows_);
        for (int64_t m = 0; m < count; m += args.rows, --tiles) {
          args.rows = rows_of_tile(count - m, tiles, packed_);
          args.a_offset = input_offset + (packed_ ? m / rows_ * tile_stride : m);
          args.c = c + m * all_sums.row + n;
          kernels_.plane(&args);
        }
      }
    };

    for (int64_t t = 0; t < p.kw; ++t)
      multiply(columns_of(t), t * p.dw - p.pw, portion.ic.size(), sums + t * all_sums.tap);
  }
}

// Row (id, ih) of a sample, pixels from `first` on, as [pixel][channel] with zeros beyond the
// image.
template <class T>
const T* FilterGradientPrepared<T>::staged_row(const T* input, int64_t sample, int64_t id,
                                               int64_t ih, int64_t slot, int64_t first,
                                               int64_t pixels, Thread* thread) const {
  const Problem& p = p_;
  T* const to = thread->rows + slot * staged_pixels_ * icg_;
  const int64_t row = (sample * p.id + id) * p.ih + ih,
                name = row * column_chunks_ + (first + p.pw) / (chunk_columns_ * p.sw);
  if (thread->slots[slot] == name) return to;
  thread->slots[slot] = name;
  const int64_t begin = std::clamp<int64_t>(first, 0, p.iw),
                end = std::clamp<int64_t>(first + pixels, begin, p.iw), inside = end - begin;
  T* const at = to + std::min(begin - first, pixels) * icg_;
  std::fill(to, at, T(0));
  std::fill(at + inside * icg_, to + pixels * icg_, T(0));
  if (inside == 0) return to;
  if (!channels_first_) {
    std::memcpy(at, input + (row * p.iw + begin) * icg_,
                static_cast<size_t>(inside * icg_) * sizeof(T));
    return to;
  }
  const TransposeArgs<T> args = {
      input + sample * icg_ * p.input_voxels() + (id * p.ih + ih) * p.iw + begin,
      p.input_voxels(),
      at,
      icg_,
      icg_,
      inside};
  kernels_.transpose(&args);
  return to;
}

// The same for few input channels: rows of the product are (tap along the width, channel), which
// are contiguous in a row of the input; zeros at its ends spare the taps columns of their own.
template <class T>
void FilterGradientPrepared<T>::add_merged(const Portion& portion, const Chunk& chunk,
                                           const T* input, Thread* thread) const {
  const PhaseTimer timer(Phase::kMultiply);
  const Problem& p = p_;
  const int64_t count = p.kw * icg_, columns = chunk.columns.size(), channels = portion.oc.size();
  const int64_t first = chunk.columns.begin * p.sw - p.pw, pixels = (columns - 1) * p.sw + p.kw;
  const int64_t rows_of_sample = p.od * p.oh;
  for (int64_t tap = portion.taps.begin; tap < portion.taps.end; ++tap) {
    int64_t rows = 0;
    bool follow = true;  // each other in the panels
    for (int64_t r = chunk.rows.begin; r < chunk.rows.end; ++r) {
      const int64_t id = r % rows_of_sample / p.oh * p.sd - p.pd + tap / p.kh * p.dd,
                    ih = r % p.oh * p.sh - p.ph + tap % p.kh * p.dh;
      if (id < 0 || id >= p.id || ih < 0 || ih >= p.ih) continue;
      const int64_t slot =
          keeps_rows_ ? id % slot_planes_ * slot_rows_ + ih % slot_rows_ : r - chunk.rows.begin;
      thread->a[rows] = staged_row(input, r / rows_of_sample, id, ih, slot, first, pixels, thread);
      thread->b[rows] = thread->panels + (r - chunk.rows.begin) * columns * width_;
      follow = follow && thread->b[rows] == thread->b[0] + rows * columns * width_;
      ++rows;
    }
    if (rows == 0) continue;
    GemmPlaneArgs<T> args{};
    args.load_c = 1;
    args.groups = static_cast<int>(rows);
    args.k = columns;
    args.a = thread->a;
    args.a_k = p.sw * icg_;
    args.b = thread->b;
    args.b_k = width_;
    args.c_row = channels;
    const int64_t tile_stride = rows * columns * tile_ + kPad;
    if (packs_merged_) {
      for (int64_t r = 0; r < rows; ++r) {
        T* const to = thread->tiles + r * columns * tile_;
        tile_pixels(thread->a[r], p.sw * icg_, columns, count, rows_, to, tile_, tile_stride);
        thread->a[r] = to;
      }
      args.a_k = tile_;
      if (follow) {
        args.groups = 1;
        args.k = rows * columns;
      }
    }
    T* const sums = thread->levels + (tap - portion.taps.begin) * count * channels;
    for (int64_t n = 0; n < channels; n += width_) {
      args.columns = std::min(width_, channels - n);
      args.b_offset = n / width_ * panel_stride(chunk);
      int64_t tiles = ceil_div(count, rows_);
      for (int64_t m = 0; m < count; m += args.rows, --tiles) {
        args.rows = rows_of_tile(count - m, tiles, packs_merged_);
        args.a_offset = packs_merged_ ? m / rows_ * tile_stride : m;
        args.c = sums + m * channels + n;
        kernels_.plane(&args);
      }
    }
  }
}

template <class T>
void FilterGradientPrepared<T>::write_portion(const Portion& portion, const T* sums,
                                              T* filter) const {
  const int64_t per_tap = portion.ic.size() * portion.oc.size();
  for (int64_t tap = portion.taps.begin; tap < portion.taps.end; ++tap) {
    for (int64_t t = 0; t < p_.kw; ++t, sums += per_tap) {
      T* const to = filter + portion_offset(portion) +
                    ((tap - portion.taps.begin) * p_.kw + t) * icg_ * p_.oc;
      if (swapped_) {
        const TransposeArgs<T> args = {sums,  portion.ic.size(), to,
                                       p_.oc, portion.oc.size(), portion.ic.size()};
        kernels_.transpose(&args);
      } else {
        for (int64_t i = 0; i < portion.ic.size(); ++i)
          std::memcpy(to + i * p_.oc, sums + i * portion.oc.size(),
                      static_cast<size_t>(portion.oc.size()) * sizeof(T));
      }
    }
  }
}

template <class T>
std::string FilterGradientPrepared<T>::detail() const {
  return std::string(swapped_  ? "gemm_voxels_swapped"
                     : merged_ ? "gemm_voxels_merged"
                               : "gemm_voxels") +
         ", chunks of " + std::to_string(chunk_rows_) + "x" + std::to_string(chunk_columns_) +
         " pixels, " + std::to_string(p_.groups * tap_pieces_ * ic_pieces_ * oc_pieces_) +
         " portions, " + std::to_string(segments_) + " segments";
}

// One chain per chunk, then the cascade.
template <class T>
double FilterGradientPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
  return unit *
         static_cast<double>(chunk_rows_ * chunk_columns_ + kRadix * kLevels + kMostSegments);
}

// The part of an axis' pairs of tap and output that lie inside the input.
double pairs_inside(int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t dilation,
                    int64_t pad) {
  double inside = 0;
  const int64_t most = std::min<int64_t>(taps, 64);  // of a long axis, evenly spread taps
  for (int64_t i = 0; i < most; ++i) {
    const int64_t at = i * taps / most * dilation - pad;
    const int64_t begin = at >= 0 ? 0 : ceil_div(-at, stride), last = in - 1 - at;
    const int64_t end = last < 0 ? 0 : std::min(out, last / stride + 1);
    inside += static_cast<double>(std::max<int64_t>(0, end - begin));
  }
  return inside / std::max(1.0, static_cast<double>(most * out));
}

// The part of the peak that tiles of `rows` times `columns` leave.
template <class T>
double tile_efficiency(const GemmKernels<T>& kernels, int64_t rows, int64_t columns,
                       const CpuInfo& cpu) {
  const double vectors = static_cast<double>(ceil_div(columns, kernels.lanes));
  const FullTile tile = full_tile(kernels, rows, columns);
  const double r = static_cast<double>(rows) / static_cast<double>(ceil_div(rows, tile.rows)),
               v = vectors / std::ceil(vectors / static_cast<double>(tile.vectors));
  // Two units of a latency of four; half as many where a vector is computed in two halves.
  const bool halves = sizeof(T) * static_cast<size_t>(kernels.lanes) > cpu.vector_unit_bytes;
  const double hidden = r * v / (halves ? 4.0 : 8.0), loads = halves ? 1.0 : r * v / (r + v);
  // Wide vectors spare instructions, where tiles are full of them (measured: 6 x 3 vectors 6 to
  // 25 % faster than 6 x 2 of half the width, 6 x 2.5 8 %).
  const double fewer = halves && r * v >= 14 ? 1.04 : 1.0;
  return static_cast<double>(columns) / (vectors * kernels.lanes) * std::min({1.0, hidden, loads}) *
         fewer;
}

template <class T>
double filter_gradient_cost(const Problem& p, const PlanContext& context,
                            const GemmKernels<T>& kernels) {
  const int64_t oc = p.oc / p.groups, ic = p.ic / p.groups;
  const bool swapped = swaps(p);
  const bool merged = merges_width(p, swapped);
  const int64_t rows = std::max<int64_t>(1, swapped  ? oc
                                            : merged ? p.kw * ic
                                                     : ic),
                columns = std::max<int64_t>(1, swapped ? ic : oc);
  const double efficiency = 0.87 * tile_efficiency(kernels, rows, columns, *context.cpu);
  const double inside_d = pairs_inside(p.id, p.od, p.kd, p.sd, p.dd, p.pd),
               inside_h = pairs_inside(p.ih, p.oh, p.kh, p.sh, p.dh, p.ph),
               inside_w = merged ? 1.0 : pairs_inside(p.iw, p.ow, p.kw, p.sw, p.dw, p.pw);
  double seconds = p.flops() * inside_d * inside_h * inside_w /
                   (peak_flops(context, p.dtype) * std::max(efficiency, 1e-3));
  const double input = static_cast<double>(p.input_elements()),
               filter = static_cast<double>(p.filter_elements()) * sizeof(T);
  // Strides beyond the kernel leave rows out.
  const auto share = [](int64_t k, int64_t s) {
    return std::min(1.0, static_cast<double>(k) / static_cast<double>(s));
  };
  const double read = input * share(p.kd, p.sd) * share(p.kh, p.sh);
  const double once = sizeof(T) * (read + static_cast<double>(p.output_elements()));
  // What lies beyond the caches is asked for while chunks are multiplied.
  const bool asked =
      p.kd * p.kh * p.kw == 1 && once > static_cast<double>(l3_bytes(*context.cpu)) / 3;
  seconds += (asked ? 0.5 : 1.0) * stream_seconds(once, once, *context.cpu) +
             2 * filter / kSharedCacheBytes;
  // Rows of the input are packed or turned for each tap that meets them; merged ones once.
  const bool first = p.layout == Layout::kChannelsFirst;
  const double rows_met = merged ? 1.0
                                 : static_cast<double>(p.kd * p.kh) * inside_d * inside_h /
                                       static_cast<double>(p.sd * p.sh);
  const double cycles = first ? 1.2 : !merged && oc * p.kw >= kPackedProducts ? 0.5 : 0.0;
  return kCallSeconds + seconds + input * rows_met * cycles / kClock;
}

}  // namespace

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<FilterGradientPrepared<double>>(problem, context);
  return std::make_unique<FilterGradientPrepared<float>>(problem, context);
}

// Measured on Zen 4: 0.87 of the peak where tiles are full, and a pass over both tensors beside it.
double filter_gradient_cost(const Problem& problem, const PlanContext& context) {
  const Problem& p = problem;
  return p.dtype == DType::kFloat64 ? filter_gradient_cost(p, context, context.kernels->gemm.f64)
                                    : filter_gradient_cost(p, context, context.kernels->gemm.f32);
}

}  // namespace conv3d::implicit_gemm
