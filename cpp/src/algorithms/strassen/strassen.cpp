// Y = X W for the pixels X [pixel][source channel] of a sample and the filter W [source channel]
// [result channel]; backward_input has W transposed. README.md tells the scheme.
//
//   work item   a block of up to 64 pixels x a range of result channels, of one sample
//   halves      of the pixels of a block, of the source's channels, of the result's
//   W           packed once: [chunk of source channels][panel or tile of result channels][product]
//               [source channel][channel of the panel or tile]
//   X           its sums in scratch: channels last in tiles of pixels, in lines; channels first in
//               panels of pixels. Of as many chunks at once as a quarter of the L2 holds; those
//               that come next are made between the multiply-adds of the present ones.
//   patches     Where the kernel is as large as its stride a pixel of the result has a patch of the
//               input instead, all taps of which are source channels. A block's patches are copied
//               side by side first, and summed in a pass, of as many chunks as half of the L2 holds
//   Y           in place; chunks after the first add to it
//
// Order of sums: chunks of source channels; in each the products, chains of multiply-adds that go
// on into each other as in kernels/strassen_table.h. Both layouts have the same, and so the same
// bits. Blocks and chunks depend on the sample's size and the filter only.
#include "algorithms/strassen/strassen.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "algorithms/machine_rates.h"
#include "algorithms/strassen/operands.h"
#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::strassen {
namespace {

double cost(const Problem& problem, const PlanContext& context);

constexpr int64_t kBlockPixels = 64, kPixelUnit = 32;
// Source channels of a product: its panel of 256 x 32 and the sums of 64 x 256 pixels stay in 1 MB
// of L2 (measured: blocks of 128 pixels and chunks of 128 are 1 to 5 % slower).
constexpr int64_t kMostChunk = 256;
// Of the L2, for the sums of several chunks: panels and results pass through the rest.
constexpr double kHeldShare = 0.56;
constexpr int64_t kMostPixelTiles = kBlockPixels / 4;  // of half a block, two rows each at least
constexpr int64_t kSplitChannels = 64;  // an item of fewer sums up as long as it multiplies

class StrassenPrepared final : public Prepared {
 public:
  StrassenPrepared(const Problem& problem, const PlanContext& context);

  size_t packed_filter_bytes() const override {
    return checked_bytes({kStrassenProducts, source_half_, padded_half_, sizeof(float)},
                         "the packed filter");
  }
  std::string packed_filter_format() const override {
    return std::string("strassen_") + (first_ ? "tiles" : "panels") +
           (backward_ ? "_transposed" : "");
  }
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override;
  const ScratchLedger& ledger() const override { return ledger_; }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override;
  std::string detail() const override {
    return "strassen, blocks of " + std::to_string(std::min(voxels_, kBlockPixels)) + " pixels, " +
           std::to_string(chunks_) + " channel chunks";
  }
  double error_bound() const override;
  int useful_threads() const override { return useful_threads_; }

 private:
  struct Item {
    int64_t sample;
    Range pixels, units;  // units of result channels: tiles (channels first) or panels
  };
  Range chunk_at(int64_t index) const { return piece(source_half_, index, chunks_); }
  Range block_at(int64_t index) const {
    const Range units = piece(ceil_div(voxels_, kPixelUnit), index, blocks_);
    return {units.begin * kPixelUnit, std::min(voxels_, units.end * kPixelUnit)};
  }
  // While those of one step are multiplied, the sums of the next are made.
  int64_t areas() const { return patches_ ? 1 : 2; }
  int64_t units() const { return static_cast<int64_t>(unit_first_.size()) - 1; }
  // The first source channel of an item's first pixel.
  const float* source_of(const Buffers& buffers, const Item& item) const {
    return static_cast<const float*>(backward_ ? buffers.grad_output : buffers.input) +
           item.sample * voxels_ * source_ + item.pixels.begin * (first_ ? 1 : source_);
  }
  void copy_patches(const Item& item, const float* input, float* to) const;
  // What the products of some chunks read of a block's pixels.
  struct Step {
    Item item;
    Range chunks;
  };
  static constexpr int64_t kMostHeld = 4;  // chunks, at once
  int list_sums(const Step& step, const float* source, float* sums, StrassenSumsArgs* list) const;
  int64_t parts_of_step(const Step& step) const;
  // The operands' shape, the place of the result's quarters.
  StrassenArgs product_of(const Item& item, const Buffers& buffers, int* pixel_tiles) const;
  void multiply(const Step& step, const Buffers& buffers, const float* sums,
                StrassenAhead* ahead) const;
  // Work items [begin, end) of `splits` to a block.
  void run_items(int64_t begin, int64_t end, int64_t splits, const Buffers& buffers, float* patches,
                 float* sums) const;

  Problem problem_;
  const StrassenTable& kernels_;
  const GemmKernels<float>& gemm_;
  bool first_, backward_, patches_;  // channels first; backward_input; of several taps each
  int64_t voxels_, source_, result_;
  int64_t source_half_, result_half_, padded_half_;  // padded: to whole units
  int64_t chunks_, blocks_, l3_bytes_;
  int64_t chunk_sums_;               // numbers: the sums of a block's pixels in one chunk
  int64_t held_;                     // chunks whose sums are held at once
  std::vector<int> channel_tiles_;   // channels first
  std::vector<int64_t> unit_first_;  // [units + 1]: first channel
  int useful_threads_;
  ScratchLedger ledger_;
  int sums_entry_, patches_entry_;
};

StrassenPrepared::StrassenPrepared(const Problem& problem, const PlanContext& context)
    : problem_(problem),
      kernels_(context.kernels->strassen),
      gemm_(context.kernels->gemm.f32),
      first_(problem.layout == Layout::kChannelsFirst),
      backward_(problem.direction == Direction::kBackwardInput),
      patches_(problem.kd * problem.kh * problem.kw > 1),
      voxels_(problem.output_voxels()),
      source_(backward_ ? problem.oc : problem.kd * problem.kh * problem.kw * problem.ic),
      result_(backward_ ? problem.ic : problem.oc),
      source_half_(source_ / 2),
      result_half_(result_ / 2),
      chunks_(ceil_div(source_half_, kMostChunk)),
      blocks_(ceil_div(ceil_div(voxels_, kPixelUnit), kBlockPixels / kPixelUnit)),
      l3_bytes_(static_cast<int64_t>(l3_bytes(*context.cpu))),
      chunk_sums_(kStrassenProducts * (kBlockPixels / 2) *
                  whole_lines(ceil_div(source_half_, chunks_))),
      held_(std::clamp<int64_t>(
          static_cast<int64_t>(kHeldShare * static_cast<double>(l2_bytes(*context.cpu))) /
              (areas() * chunk_sums_ * static_cast<int64_t>(sizeof(float))),
          1, std::min(chunks_, kMostHeld))),
      useful_threads_(threads_that_pay(strassen::cost(problem, context))) {
  unit_first_ = {0};
  if (first_) {
    channel_tiles_ = tiles_of(result_half_, kernels_);
    for (const int rows : channel_tiles_) unit_first_.push_back(unit_first_.back() + rows);
  } else {
    const int64_t panel = kernels_.panel_vectors * kernels_.lanes,
                  columns = ceil_div(result_half_, kernels_.lanes) * kernels_.lanes;
    while (unit_first_.back() < columns)
      unit_first_.push_back(std::min(columns, unit_first_.back() + panel));
  }
  padded_half_ = unit_first_.back();
  sums_entry_ = ledger_.book(
      "strassen.sums", checked_bytes({areas(), held_, chunk_sums_, sizeof(float)}, "sums"), true);
  patches_entry_ = ledger_.book(
      "strassen.patches",
      checked_bytes({patches_ ? kBlockPixels : 0, source_, sizeof(float)}, "patches"), true);
}

// Rows are source channels, columns result channels.
void StrassenPrepared::pack_filter(const void* filter, void* packed, ThreadPool& pool,
                                   int threads) const {
  const float* const w = static_cast<const float*>(filter);
  const int64_t k_step = backward_ ? 1 : problem_.oc, n_step = backward_ ? problem_.oc : 1;
  pool.parallel_for(units() * chunks_, 1, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t index = begin; index < end; ++index) {
      const auto unit = static_cast<size_t>(index % units());
      const Range k = chunk_at(index / units());
      const int64_t n = unit_first_[unit], width = unit_first_[unit + 1] - n,
                    columns = std::min(width, result_half_ - n);
      StrassenSumsArgs s{};
      s.right = 1;
      for (int i = 0; i < kStrassenQuarters; ++i) {
        s.from[i] =
            w + (k.begin + i / 2 * source_half_) * k_step + (n + i % 2 * result_half_) * n_step;
        s.rows[i] = k.size();
        s.columns[i] = columns;
      }
      s.from_row = k_step;
      s.to =
          static_cast<float*>(packed) + kStrassenProducts * (k.begin * padded_half_ + n * k.size());
      s.to_product = k.size() * width;
      s.to_row = width;
      s.to_line = kStrassenLine;
      s.to_rows = k.size();
      s.to_columns = width;
      if (backward_) {
        sum_turned(kernels_, gemm_, s, problem_.oc);
      } else {
        kernels_.sums(&s);
      }
    }
  });
}

// [pixel][depth tap][height tap][width tap][channel], channels first with the pixels last and
// kBlockPixels apart: the order of the filter.
void StrassenPrepared::copy_patches(const Item& item, const float* input, float* to) const {
  const Problem& p = problem_;
  const int64_t run = p.kw * p.ic;
  input += item.sample * p.input_voxels() * p.ic;
  int64_t pixels = 0;  // at a time, of one row
  for (int64_t pixel = item.pixels.begin; pixel < item.pixels.end; pixel += pixels) {
    const int64_t d = pixel / (p.oh * p.ow) * p.sd, h = pixel / p.ow % p.oh * p.sh,
                  w = pixel % p.ow * p.sw;
    pixels = std::min(item.pixels.end - pixel, p.ow - pixel % p.ow);
    float* tap = to + (pixel - item.pixels.begin) * (first_ ? 1 : source_);
    for (int64_t td = 0; td < p.kd; ++td)
      for (int64_t th = 0; th < p.kh; ++th) {
        const int64_t voxel = ((d + td) * p.ih + h + th) * p.iw + w;
        if (first_) {
          for (int64_t c = 0; c < p.ic; ++c, tap += kBlockPixels) {
            const TransposeArgs<float> move = {
                input + c * p.input_voxels() + voxel, p.sw, tap, p.ic * kBlockPixels, pixels, p.kw};
            gemm_.transpose(&move);
          }
          tap += (p.kw - 1) * p.ic * kBlockPixels;
        } else {
          // Patches side by side are one row of the input, which the hardware foresees.
          const float* from = input + voxel * p.ic;
          for (int64_t i = 0; i < pixels; ++i, from += run)
            std::memcpy(tap + i * source_, from, static_cast<size_t>(run) * sizeof(float));
          tap += run;
        }
      }
  }
}

// The pixels of a block as operands of the products, chunk after chunk; `source` is the first one's
// first channel. Returns how many are in the list.
int StrassenPrepared::list_sums(const Step& step, const float* source, float* sums,
                                StrassenSumsArgs* list) const {
  const int64_t size = step.item.pixels.size(), pixels[] = {ceil_div(size, 2), size / 2};
  const int64_t pixel = first_ ? 1 : source_, channel = !first_    ? 1
                                                        : patches_ ? kBlockPixels
                                                                   : voxels_;
  int pixel_tiles[kMostPixelTiles];
  const int tiles = first_ ? 0 : cut_into_tiles(pixels[0], kernels_, pixel_tiles);
  int count = 0;
  for (int64_t chunk = step.chunks.begin; chunk < step.chunks.end; ++chunk) {
    const Range k = chunk_at(chunk);
    const float* const from = source + k.begin * channel;
    StrassenSumsArgs s{};
    for (int i = 0; i < kStrassenQuarters; ++i)
      s.from[i] = from + i / 2 * pixels[0] * pixel + i % 2 * source_half_ * channel;
    s.to = sums + (chunk - step.chunks.begin) * chunk_sums_;
    if (first_) {
      // Panels of pixels, a row for each source channel.
      const int64_t columns = ceil_div(pixels[0], kernels_.lanes) * kernels_.lanes,
                    panel = kernels_.panel_vectors * kernels_.lanes;
      s.from_row = channel;
      s.to_rows = k.size();
      s.to_line = kStrassenLine;
      std::fill(s.rows, s.rows + kStrassenQuarters, k.size());
      for (int64_t at = 0; at < columns; at += panel) {
        s.to_row = s.to_columns = std::min(panel, columns - at);
        s.to_product = s.to_row * k.size();
        for (int i = 0; i < kStrassenQuarters; ++i)
          s.columns[i] = std::min(s.to_row, pixels[i / 2] - at);
        list[count++] = s;
        for (const float*& p : s.from) p += s.to_row;
        s.to += kStrassenProducts * s.to_product;
      }
      continue;
    }
    // Tiles of pixels, a row each.
    s.from_row = source_;
    s.to_row = kStrassenLine;
    s.to_columns = whole_lines(k.size());
    std::fill(s.columns, s.columns + kStrassenQuarters, k.size());
    int64_t at = 0;
    for (int tile = 0; tile < tiles; ++tile) {
      s.to_rows = pixel_tiles[tile];
      s.to_line = s.to_rows * kStrassenLine;
      s.to_product = s.to_rows * s.to_columns;
      for (int i = 0; i < kStrassenQuarters; ++i)
        s.rows[i] = std::min(s.to_rows, pixels[i / 2] - at);
      list[count++] = s;
      for (const float*& p : s.from) p += s.to_rows * source_;
      s.to += kStrassenProducts * s.to_product;
      at += s.to_rows;
    }
  }
  return count;
}

// In which the products make sums on their way.
int64_t StrassenPrepared::parts_of_step(const Step& step) const {
  const Range units = step.item.units;
  int pixel_tiles[kMostPixelTiles];
  const int64_t half = ceil_div(step.item.pixels.size(), 2),
                columns = first_ ? half
                                 : unit_first_[static_cast<size_t>(units.end)] -
                                       unit_first_[static_cast<size_t>(units.begin)],
                tiles = first_ ? units.size() : cut_into_tiles(half, kernels_, pixel_tiles);
  int64_t parts = 0;
  for (int64_t chunk = step.chunks.begin; chunk < step.chunks.end; ++chunk)
    parts += tiles * parts_of(kernels_, ceil_div(columns, kernels_.lanes), chunk_at(chunk).size());
  return parts;
}

StrassenArgs StrassenPrepared::product_of(const Item& item, const Buffers& buffers,
                                          int* pixel_tiles) const {
  const int64_t pixels[] = {ceil_div(item.pixels.size(), 2), item.pixels.size() / 2};
  float* const result = static_cast<float*>(buffers.result) + item.sample * voxels_ * result_;
  const int64_t pixel = first_ ? 1 : result_, channel = first_ ? voxels_ : 1;
  const int64_t n = unit_first_[static_cast<size_t>(item.units.begin)],
                n_end = unit_first_[static_cast<size_t>(item.units.end)];
  StrassenArgs args{};
  args.activation = static_cast<int>(problem_.activation);
  args.alpha = static_cast<float>(problem_.leaky_relu_alpha);
  args.c_row = first_ ? voxels_ : result_;
  int64_t* const of_pixels = first_ ? args.columns : args.rows;
  int64_t* const of_channels = first_ ? args.rows : args.columns;
  for (int64_t g = 0; g < 2; ++g) {  // half of the pixels, and of the channels
    of_pixels[g] = pixels[g];
    of_channels[g] = std::min(n_end, result_half_) - n;
    if (problem_.with_bias)
      args.bias[g] = static_cast<const float*>(buffers.bias) + g * result_half_ + n;
    for (int64_t h = 0; h < 2; ++h)
      args.c[first_ ? h * 2 + g : g * 2 + h] =
          result + (item.pixels.begin + g * pixels[0]) * pixel + (n + h * result_half_) * channel;
  }
  if (first_) {
    args.transposed = args.row_outer = 1;
    args.tile_rows = channel_tiles_.data() + item.units.begin;
    args.tiles = static_cast<int>(item.units.size());
    args.vectors = ceil_div(pixels[0], kernels_.lanes);
  } else {
    args.tiles = cut_into_tiles(pixels[0], kernels_, pixel_tiles);
    args.tile_rows = pixel_tiles;
    args.a_lines = 1;
    args.vectors = (n_end - n) / kernels_.lanes;
  }
  const bool past_caches =
      buffers.batch * voxels_ * result_ * static_cast<int64_t>(sizeof(float)) > l3_bytes_ / 3;
  args.stream = past_caches && chunks_ == 1 && problem_.activation <= Activation::kRelu;
  return args;
}

// `ahead` says which sums are to be made meanwhile, or is null.
void StrassenPrepared::multiply(const Step& step, const Buffers& buffers, const float* sums,
                                StrassenAhead* ahead) const {
  const PhaseTimer timer(Phase::kMultiply);
  int pixel_tiles[kMostPixelTiles];
  const Item& item = step.item;
  const StrassenArgs args = product_of(item, buffers, pixel_tiles);
  const int64_t channel = first_ ? voxels_ : 1,
                n = unit_first_[static_cast<size_t>(item.units.begin)];
  // With the sums of several chunks at hand, a few result channels pass all of those chunks, so
  // that what is added to is still in L1.
  const bool whole = step.chunks.size() == 1;
  StrassenArgs part = args;
  part.ahead = ahead;
  for (int64_t unit = item.units.begin; unit < item.units.end;) {
    const int64_t unit_end = whole ? item.units.end : unit + 1,
                  m = unit_first_[static_cast<size_t>(unit)],
                  m_end = unit_first_[static_cast<size_t>(unit_end)];
    for (int64_t g = 0; g < 2; ++g) {
      const int64_t channels = std::min(m_end, result_half_) - m;
      (first_ ? part.rows : part.columns)[g] = channels;
      if (args.bias[g] != nullptr) part.bias[g] = args.bias[g] + (m - n);
    }
    for (int i = 0; i < kStrassenQuarters; ++i) part.c[i] = args.c[i] + (m - n) * channel;
    if (first_) {
      part.tile_rows = args.tile_rows + (unit - item.units.begin);
      part.tiles = static_cast<int>(unit_end - unit);
    } else {
      part.vectors = (m_end - m) / kernels_.lanes;
    }
    for (int64_t chunk = step.chunks.begin; chunk < step.chunks.end; ++chunk) {
      const Range k = chunk_at(chunk);
      const float* const w = static_cast<const float*>(buffers.packed_filter) +
                             kStrassenProducts * (k.begin * padded_half_ + m * k.size());
      const float* const x = sums + (chunk - step.chunks.begin) * chunk_sums_;
      part.k = k.size();
      part.a = first_ ? w : x;
      part.b = first_ ? x : w;
      part.last = chunk == chunks_ - 1;
      part.load_c = chunk > 0;
      kernels_.multiply(&part);
    }
    unit = unit_end;
  }
}

void StrassenPrepared::run_items(int64_t begin, int64_t end, int64_t splits, const Buffers& buffers,
                                 float* patches, float* sums) const {
  const auto step_at = [&](int64_t index, int64_t chunk) {
    const int64_t block = index / splits;
    return Step{
        {block / blocks_, block_at(block % blocks_), piece(units(), index % splits, splits)},
        {chunk, std::min(chunk + held_, chunks_)}};
  };
  StrassenSumsArgs list[kMostPixelTiles * kMostHeld];  // panels of pixels are fewer than tiles
  float* areas_of[] = {sums, sums + (areas() - 1) * held_ * chunk_sums_};
  bool made = false;  // the step's sums, in areas_of[0]
  Step step = step_at(begin, 0);
  for (int64_t index = begin; index < end;) {
    if (!made) {
      const PhaseTimer timer(Phase::kTransform);
      const float* source = patches;
      if (!patches_) {
        source = source_of(buffers, step.item);
      } else if (step.chunks.begin == 0) {
        copy_patches(step.item, static_cast<const float*>(buffers.input), patches);
      }
      const int count = list_sums(step, source, areas_of[0], list);
      for (int i = 0; i < count; ++i) kernels_.sums(&list[i]);
    }
    const int64_t then_index = step.chunks.end == chunks_ ? index + 1 : index;
    const Step then = step_at(std::min(then_index, end - 1), step.chunks.end % chunks_);
    const bool same = held_ == chunks_ && then_index / splits == index / splits;
    made = same;
    if (patches_ || same || then_index == end) {
      multiply(step, buffers, areas_of[0], nullptr);
    } else {
      const int count = list_sums(then, source_of(buffers, then.item), areas_of[1], list);
      StrassenAhead ahead = ahead_of(kernels_, list, count, count, parts_of_step(step));
      multiply(step, buffers, areas_of[0], &ahead);
      CONV3D_ASSERT(ahead.made.index == ahead.makes);
      made = true;
      std::swap(areas_of[0], areas_of[1]);
    }
    index = then_index;
    step = then;
  }
}

void StrassenPrepared::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                               int threads) const {
  const int64_t whole = buffers.batch * blocks_;
  if (whole == 0) return;
  const int64_t wanted = threads > 1 ? 4 * int64_t{threads} : 1;
  const int64_t splits =
      std::clamp<int64_t>(std::min(ceil_div(wanted, whole), result_ / kSplitChannels), 1, units());
  pool.parallel_for(whole * splits, 1, threads, [&](int64_t begin, int64_t end, int id) {
    run_items(begin, end, splits, buffers, scratch.get<float>(patches_entry_, id),
              scratch.get<float>(sums_entry_, id));
  });
}

// A chain of n multiply-adds errs by at most n u of the sum of magnitudes, in practice by its
// square root; the sums of quarters by some times as much (README.md).
double StrassenPrepared::error_bound() const {
  const double length = static_cast<double>(ceil_div(source_half_, chunks_));
  return 0x1p-24 *
         (3 * std::min(length, 8 + 2 * std::max(1.0, length / 16)) + static_cast<double>(chunks_));
}

double cost(const Problem& p, const PlanContext& context) {
  const bool backward = p.direction == Direction::kBackwardInput;
  const int64_t taps = p.kd * p.kh * p.kw;
  const double source = static_cast<double>(backward ? p.oc : p.ic * taps),
               result = static_cast<double>(backward ? p.ic : p.oc),
               pixels = static_cast<double>(p.output_voxels());
  // Tiles of 32 registers hide the loads better than those of 16.
  const double tile = context.kernels->gemm.f32.max_vectors >= 4 ? 0.94 : 0.9;
  // Lanes that are not full; what a tile costs beside its products.
  const int64_t lanes = context.kernels->strassen.lanes;
  const double blocks = std::ceil(pixels / kBlockPixels);
  const bool along_pixels = p.layout == Layout::kChannelsFirst;
  const double lined = along_pixels ? pixels : result / 2,
               unit = along_pixels ? kPixelUnit : static_cast<double>(lanes),
               fill = lined / (std::ceil(lined / unit) * unit);
  const double chain = std::min<double>(source / 2, kMostChunk);
  const double arithmetic =
      p.flops() * 0.875 / (peak_flops(context, p.dtype) * tile * fill) * (chain + 2) / chain;
  // Cycles for each number of the source, summed up, and of the result.
  const double copied = taps == 1 ? 0.0 : 3.35;  // nothing asks for patches ahead
  const double summed = lanes >= 16 ? 0.5 : 1.15;
  const double sums =
      pixels * ((summed + copied) * source + (along_pixels ? 0.6 : 0.35) * result) / kClock;
  const double filter = sizeof(float) * source * result, packed = 1.75 * filter;
  // Each block reads all of it.
  const double refills = packed > static_cast<double>(l2_bytes(*context.cpu))
                             ? stream_seconds(packed * blocks, packed, *context.cpu)
                             : 0.0;
  const double packing = backward ? packing_seconds(filter, packed, *context.cpu) : 0.0;
  return kCallSeconds + packing +
         overlapped_seconds(arithmetic + sums, traffic_seconds(p, *context.cpu) + refills);
}

class Strassen final : public Algorithm {
 public:
  const char* name() const override { return "strassen"; }
  const char* family() const override { return "strassen"; }
  bool direct() const override { return false; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction == Direction::kBackwardFilter)
      return "computes forward and backward_input";
    if (problem.output_voxels() < kPixelUnit)
      return "halves blocks of pixels: a sample must have at least 32";
    return why_not_halves(problem, problem.direction == Direction::kForward);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return strassen::cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return std::make_unique<StrassenPrepared>(problem, context);
  }
};

}  // namespace
}  // namespace conv3d::strassen

namespace conv3d {

const Algorithm& strassen_algorithm() {
  static const strassen::Strassen algorithm;
  return algorithm;
}

}  // namespace conv3d
