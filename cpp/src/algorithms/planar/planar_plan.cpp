// Correlations (implicit_gemm/correlation.h) over staged rows:
//
//   result[channel][pixel] = sum over chunks of source channels, depth taps, and inside them
//                            channels, height and width taps, of stage[k][pixel] filter[k][channel]
//
//   work item   a block of results (planes x rows x a piece of a row) of one group, and a range of
//               panels of result channels
//   stage       the source rows that the block reads, a chunk of channels at a time, with zeros
//               where they leave the volume; layout in stage.h
//                 channels first   [channel][plane][row][line][pixel]
//                 channels last    [plane][row][line][pixel][channel]
//               One tap in height and width at stride 1, channels first: no stage, rows are read
//               where they lie; of many panels and channels the first panel of a tile keeps a copy
//               for the others. At stride 2, without borders, the first of many panels gathers it
//   filter      packed once as [group][chunk][panel][k][channel of the panel]
//   result      in place; chunks after the first add to it
//
// Channels first, lanes run along the pixels of a row; channels last, along the result channels.
// All taps and channels of a chunk are one long sum over a table of offsets, so that few source
// channels, narrow filters and borders cost nothing extra; planes outside the volume are left out,
// rows outside are zeros.
//
// Order of sums: chunks, depth taps, then (channels first) channel, height tap, width tap,
// (channels last) height tap, width tap, channel; each chunk one chain of multiply-adds. Chunks
// depend on the problem, but not its batch, and the caches' sizes only. Source: the direct
// convolutions of oneDNN's and Georganas et al.'s papers keep results in registers over the taps;
// staging rows instead of padding the whole source is usual in stencil codes.
#include "algorithms/planar/planar_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <type_traits>
#include <vector>

#include "algorithms/implicit_gemm/correlation.h"
#include "algorithms/implicit_gemm/unreached.h"
#include "algorithms/kernels_of.h"
#include "algorithms/machine_rates.h"
#include "algorithms/planar/stage.h"
#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"
#include "kernels/kernel_table.h"
#include "runtime/phases.h"

namespace conv3d::planar {
namespace {

using implicit_gemm::Correlation;
using implicit_gemm::CorrelationProblem;
using implicit_gemm::make_correlations;

constexpr int64_t kLine = 64;         // bytes
constexpr int64_t kWholeRow = 256;    // results: longer rows are cut
constexpr int64_t kLongPiece = 1024;  // of rows that know no borders
constexpr int64_t kMostPhases = 27;
// Rows in different places of memory that a core's prefetchers follow at once (measured: 32 to 4
// channels of 128^3 in place, 8 of them at a time, 9.5 ms; 16, 11 to 13; all, 15 to 25).
constexpr int64_t kStreams = 8;
constexpr double kLineCycles = 4;       // to bring one of them in, where hardware foresees it
constexpr double kGatherCycles = 0.3;   // a pixel, between multiply-adds
constexpr int64_t kPieceBytes = 4096;   // of a channel, at least, in a block
constexpr int64_t kItemsOfSample = 32;  // so that threads end together

struct Part {
  Correlation c;  // flat: one row of all pixels of a plane
  bool flat;
  bool in_place;            // channels first: rows of the source need no stage
  bool gathers;             // channels first: the first panel of a tile gathers its pixels
  AxisTaps flat_h, flat_w;  // before they were joined
  int64_t block_d, block_h, block_w, blocks_d, blocks_h, blocks_w;
  StageAxis d, h;
  StageWidth w;
  int64_t line_pitch, slot_pitch,
      channel_pitch;                 // elements of the stage; channels last: no channel
  int64_t k_of_channel, k_of_depth;  // taps, and those of one depth tap
  int64_t packed;                    // offset of its filter
  int64_t group_panels;              // panels whose filter stays in L2 together
  bool panel_outer;
  std::vector<std::vector<ptrdiff_t>> offsets;         // per chunk
  std::vector<std::vector<ptrdiff_t>> source_offsets;  // the same in place
  std::vector<ptrdiff_t> kept_offsets;  // of the copy that the panels of a tile share, if any
};

// What blocks depend on beside the part itself.
struct Machine {
  int64_t lanes, l1, l2, size;  // size of an element
};

struct Shape {
  bool first;                          // channels first
  int64_t source_group, result_group;  // channels of a group
  int64_t panels, panel, vectors;      // count, most channels, most vectors of pixels of a tile
  int64_t chunks;
  int64_t apart;  // source channels whose pixels the L2 can hold together, given their distance
};

int64_t chunk_begin(const Shape& s, int64_t chunk) { return s.source_group * chunk / s.chunks; }
int64_t max_chunk(const Shape& s) { return ceil_div(s.source_group, s.chunks); }

// Whether a piece of a row, of all channels and depth taps, stays in the L1 from panel to panel
// where it lies.
bool fits_l1(const Shape& s, const Machine& m, const Correlation& c, int64_t pixels) {
  return s.source_group * c.d.taps * pixels * m.size <= m.l1 * 3 / 4;
}

// Whether rows are read where they lie in the source, without a stage. Where many panels read many
// channels of several depth taps, or of places that throw each other out of the caches, those are
// better staged.
bool reads_source(const Shape& s, const Machine& m, const Correlation& c) {
  return s.first && c.h.is_identity() && c.w.is_identity() &&
         (s.panels <= 2 || (fits_l1(s, m, c, kWholeRow) && m.lanes * m.size >= kLine) ||
          (c.d.taps == 1 && s.source_group <= 2 * s.apart));
}

// In place, panel after panel over all pixels of a piece.
bool sweeps_l1(const Shape& s, const Machine& m, const Correlation& c) {
  return reads_source(s, m, c) && s.panels > 2 && fits_l1(s, m, c, kWholeRow);
}

// In place, where panels and channels are many: the first panel that reads a tile's pixels leaves
// them side by side, for the others to find in few lines of the L1 and few pages.
bool keeps_copy(const Shape& s, const Machine& m, const Correlation& c) {
  return reads_source(s, m, c) && s.panels > 2 && !fits_l1(s, m, c, kWholeRow);
}

int64_t kept_elements(const Shape& s, const Machine& m, const Part& part) {
  if (!part.gathers && !keeps_copy(s, m, part.c)) return 0;
  return m.lanes + max_chunk(s) * s.vectors * m.lanes;
}

// Pixels of a plane as one row, where the filter has no extent in it and results lie without gaps.
bool can_flatten(const Correlation& c) {
  const auto dense = [](const AxisTaps& a) { return a.taps == 1 && a.first == 0 && a.step == 1; };
  return dense(c.h) && dense(c.w) && c.h.outputs > 1;
}

// Whether a chunk of a block reads pixels of a few rows of each of its channels, which can be asked
// for before they are staged.
bool foresees_rows(const Shape& s, const Part& part) {
  return s.first && part.c.d.taps == 1 &&
         (part.flat || (part.c.h.is_identity() && part.c.w.is_identity()));
}

// Whether the pixels of a tile are gathered by the first of its panels, between multiply-adds that
// do not wait for them, instead of being staged: every second pixel of rows without borders. The
// other conditions are the kernel's.
bool gathers_tiles(const Shape& s, const Machine& m, int64_t source_row, const Part& part) {
  const AxisTaps &h = part.flat_h, &w = part.flat_w;
  const auto inside = [](const AxisTaps& a) {
    return a.origin >= 0 && a.origin + (a.outputs - 1) * a.stride < a.inputs;
  };
  return part.flat && !part.in_place && s.panels > 2 && part.c.d.taps == 1 && w.stride == 2 &&
         inside(h) && inside(w) && s.vectors > 1 && part.c.w.outputs >= m.lanes &&
         h.stride * source_row >= 2 * w.outputs && w.outputs * (kGatherPieces - 1) >= m.lanes - 1;
}

void flatten(Part* part) {
  Correlation& c = part->c;
  part->flat = true;
  part->flat_h = c.h;
  part->flat_w = c.w;
  c.w.outputs *= c.h.outputs;
  c.w.inputs = c.w.outputs;
  c.w.stride = 1;
  c.w.origin = 0;
  c.h.outputs = c.h.inputs = 1;
  c.h.stride = 1;
  c.h.origin = 0;
}

void stage_block(const Shape& s, const Machine& m, Part* part) {
  part->d = make_stage_axis(part->c.d, part->block_d);
  part->h = make_stage_axis(part->c.h, part->block_h);
  part->w = make_stage_width(part->c.w, part->block_w, s.first);
  const int64_t per_line = kLine / m.size;
  const auto lines_up = [&](int64_t n) { return ceil_div(n, per_line) * per_line; };
  if (s.first) {
    part->line_pitch = lines_up(ceil_div(part->block_w, m.lanes) * m.lanes + part->w.max_shift);
  } else {
    part->line_pitch = lines_up(part->w.length * s.source_group);
  }
  part->slot_pitch = part->line_pitch * static_cast<int64_t>(part->w.start.size());
  part->channel_pitch = part->d.slots * part->h.slots * part->slot_pitch;
  // An odd number of lines: the same pixel of many channels falls into different sets of the L1.
  if (part->channel_pitch / per_line % 2 == 0) part->channel_pitch += per_line;
}

int64_t stage_elements(const Shape& s, const Part& part) {
  if (part.gathers) return 0;
  return part.channel_pitch * (s.first ? max_chunk(s) : 1);
}

// Rows and planes share the source rows between them: as many as stay in the L2, together with the
// results that chunks are added up in. Returns source pixels copied for each that one result reads
// through one tap of depth and height, and a little for each line copied.
double grow_block(const Shape& s, const Machine& m, int64_t groups, Part* part) {
  const Correlation& c = part->c;
  const int64_t budget = m.l2 * 3 / 8;
  const auto copied = [&] {
    stage_block(s, m, part);
    return static_cast<double>(part->d.slots * part->h.slots) /
           static_cast<double>(part->block_d * part->block_h) *
           (static_cast<double>(part->w.length) + 16) / static_cast<double>(part->block_w);
  };
  const auto fits = [&] {
    stage_block(s, m, part);
    const int64_t bytes = stage_elements(s, *part) * m.size;
    const int64_t results = part->block_d * part->block_h * part->block_w;
    return bytes <= budget &&
           (s.chunks == 1 || bytes + results * s.result_group * m.size <= m.l2 / 2) &&
           ceil_div(c.d.outputs, part->block_d) * ceil_div(c.h.outputs, part->block_h) *
                   ceil_div(c.w.outputs, part->block_w) * groups >=
               kItemsOfSample;
  };
  part->block_d = part->block_h = 1;
  double best = copied();
  for (bool grown = true; grown;) {
    grown = false;
    const int64_t d0 = part->block_d, h0 = part->block_h;
    int64_t best_d = d0, best_h = h0;
    // Short rows are many even where they share nothing: the filter is read once a block, and
    // memory gives some of a channel's rows sooner than one (1x1x3, 32 to 32 channels of rows of 24
    // pixels: 9 rows a block 14.3 ms, 16 12.1, 48 10.9).
    const int64_t piece = s.first && !part->flat ? kPieceBytes / m.size : 0;
    const bool few = d0 * h0 * part->block_w < std::max(8 * s.vectors * m.lanes, piece);
    for (int axis = 0; axis < 2; ++axis) {
      part->block_d = axis == 0 ? d0 : std::min(c.d.outputs, d0 + std::max<int64_t>(1, d0 / 2));
      part->block_h = axis == 0 ? std::min(c.h.outputs, h0 + std::max<int64_t>(1, h0 / 2)) : h0;
      if ((part->block_d == d0 && part->block_h == h0) || !fits()) continue;
      if (copied() < best * 0.999 || (few && !grown && copied() <= best)) {
        best = copied();
        best_d = part->block_d;
        best_h = part->block_h;
        grown = true;
      }
    }
    part->block_d = best_d;
    part->block_h = best_h;
  }
  part->block_d = ceil_div(c.d.outputs, ceil_div(c.d.outputs, part->block_d));
  part->block_h = ceil_div(c.h.outputs, ceil_div(c.h.outputs, part->block_h));
  return copied();
}

void choose_block(const Shape& s, const Machine& m, int64_t groups, Part* part) {
  const Correlation& c = part->c;
  const int64_t tile = s.first ? s.vectors * m.lanes : 16;
  const bool long_row = c.w.taps == 1 && c.h.outputs == 1;
  const auto cut = [&](int64_t most) {
    const int64_t pieces = ceil_div(c.w.outputs, most);
    const auto rounded = [&](int64_t unit) {
      return ceil_div(ceil_div(c.w.outputs, pieces), unit) * unit;
    };
    int64_t piece = rounded(tile);
    // Whole tiles, unless they leave a last one of few vectors, whose multiply-adds wait for each
    // other.
    const int64_t rest = c.w.outputs % piece;
    if (s.first && rest > 0 && rest < tile / 2 && piece < c.w.outputs) piece = rounded(m.lanes);
    return std::max<int64_t>(1, std::min(c.w.outputs, piece));
  };
  const auto bytes = [&] {
    part->block_d = part->block_h = 1;
    stage_block(s, m, part);
    return stage_elements(s, *part) * m.size;
  };
  part->block_w = cut(long_row ? kLongPiece : kWholeRow);
  const bool in_l1 = sweeps_l1(s, m, c);
  while (in_l1 && part->block_w > kWholeRow && !fits_l1(s, m, c, part->block_w))
    part->block_w = cut(part->block_w / 2);
  // A sample shall have work for many threads.
  while (part->block_w > 4 * tile &&
         c.d.outputs * c.h.outputs * ceil_div(c.w.outputs, part->block_w) * groups < kItemsOfSample)
    part->block_w = cut(part->block_w / 2);
  while (part->block_w > tile && bytes() > m.l2 * 3 / 8) part->block_w = cut(part->block_w / 2);
  // Shorter pieces leave room for more rows and planes.
  Part best = *part;
  double least = grow_block(s, m, groups, &best);
  while (part->block_w > 4 * tile) {
    part->block_w = cut(part->block_w / 2);
    Part shorter = *part;
    const double copied = grow_block(s, m, groups, &shorter);
    if (copied < least * 0.9) {
      least = copied;
      best = shorter;
    }
  }
  *part = best;
  part->blocks_d = ceil_div(c.d.outputs, part->block_d);
  part->blocks_h = ceil_div(c.h.outputs, part->block_h);
  part->blocks_w = ceil_div(c.w.outputs, part->block_w);
  stage_block(s, m, part);

  part->k_of_depth = c.h.taps * c.w.taps;
  part->k_of_channel = c.d.taps * part->k_of_depth;
  const int64_t panel_bytes = part->k_of_channel * max_chunk(s) * s.panel * m.size;
  part->group_panels = std::clamp<int64_t>(m.l2 / 4 / std::max<int64_t>(1, panel_bytes), 1,
                                           std::max<int64_t>(1, s.panels));
  const int64_t row_bytes =
      max_chunk(s) * c.d.taps * c.h.taps * part->slot_pitch * m.size + panel_bytes;
  part->panel_outer = part->in_place ? in_l1 : !part->gathers && row_bytes <= m.l1 * 3 / 4;
}

// Cycles of one k of a tile: multiply-adds two a cycle, loads two a cycle, and four of latency.
double k_cycles(double rows, double vectors, double loads) {
  return std::max({rows * vectors / 2, loads / 2, 4.0});
}
constexpr double kTileCycles = 20;  // of a tile, beside its multiply-adds and its results

// Channels first, the tiles of a row of pixels, each of at most `most` vectors.
struct RowTiles {
  double count, channels, vectors;  // of all panels; the mean of one
  RowTiles(const Shape& s, int64_t panels, double width, int most) {
    const double tiles = std::ceil(width / most);
    count = tiles * static_cast<double>(panels);
    channels = static_cast<double>(s.result_group) / static_cast<double>(panels);
    vectors = width / tiles;
  }
  // Half of the source's vectors straddle lines.
  double cycles_of_k() const { return k_cycles(channels, vectors, vectors * 1.5 + channels + 0.5); }
  double results() const { return channels * vectors; }
};

// Channels first, the panels whose tiles fill the registers best, with the rows as long as they
// are: most channels of one, unless fewer gain something. Two panels stay two, which may read the
// source in place; and tiles of whole lines, which may be written past the caches, stay such.
int64_t choose_panels(const CorrelationProblem& problem, const Shape& s, const Machine& m,
                      int max_rows, const int* row_vectors) {
  const auto cycles = [&](int64_t panels) {
    const int most = row_vectors[ceil_div(s.result_group, panels)];
    double sum = 0;
    for (const Correlation& c : problem.parts) {
      const bool flat = can_flatten(c);
      const int64_t rows = c.d.outputs * (flat ? 1 : c.h.outputs);
      const int64_t width = c.w.outputs * (flat ? c.h.outputs : 1);
      const double k = static_cast<double>(c.d.taps * c.h.taps * c.w.taps * s.source_group);
      const RowTiles t(s, panels, static_cast<double>(ceil_div(width, m.lanes)), most);
      sum +=
          static_cast<double>(rows) * t.count * (k * t.cycles_of_k() + kTileCycles + t.results());
    }
    return sum;
  };
  // As PlanarPrepared::whole_lines.
  const auto whole_lines = [&](int64_t panels) {
    const int64_t vector = m.lanes * m.size,
                  vectors = row_vectors[ceil_div(s.result_group, panels)];
    if (vector % kLine == 0) return true;
    return vectors * vector % kLine == 0 &&
           std::all_of(problem.parts.begin(), problem.parts.end(), [&](const Correlation& c) {
             return c.w.outputs * (can_flatten(c) ? c.h.outputs : 1) % (vectors * m.lanes) == 0;
           });
  };
  if (s.result_group == 0) return 1;
  int64_t best = ceil_div(s.result_group, max_rows);
  const bool whole = whole_lines(best);
  double least = cycles(best);
  for (int rows = max_rows - 1; rows > 1; --rows) {
    const int64_t panels = ceil_div(s.result_group, rows);
    if (panels > 2 && best <= 2) break;
    if (whole && !whole_lines(panels)) continue;
    if (const double c = cycles(panels); c < 0.995 * least) {
      least = c;
      best = panels;
    }
  }
  return best;
}

Shape make_shape(const CorrelationProblem& problem, bool first, const Machine& m, int max_rows,
                 const int* row_vectors, int max_vectors) {
  Shape s{};
  s.first = first;
  s.source_group = problem.source_channels / problem.groups;
  s.result_group = problem.result_channels / problem.groups;
  if (first) {
    s.panels = choose_panels(problem, s, m, max_rows, row_vectors);
    s.panel = std::max<int64_t>(1, ceil_div(s.result_group, s.panels));
    s.vectors = row_vectors[s.panel];
  } else {
    const int64_t vectors = ceil_div(s.result_group, m.lanes);
    s.panels = std::max<int64_t>(1, ceil_div(vectors, max_vectors));
    s.panel = ceil_div(vectors, s.panels) * m.lanes;
    s.vectors = 1;
  }
  s.chunks = 1;
  if (!first) return s;
  // Channels a power of two apart meet in few sets of the L2.
  constexpr int64_t kWays = 8;
  const int64_t span = m.l2 / kWays;
  s.apart = span / std::gcd(span, problem.source_voxels * m.size) * kWays;
  // The source pixels of a tile, all channels and taps of a chunk, stay in L1 from panel to panel;
  // one panel alone needs a short row of them in the L2.
  int64_t channels = std::max<int64_t>(1, s.source_group);
  for (const Correlation& c : problem.parts) {
    const StageWidth w = make_stage_width(c.w, s.vectors * m.lanes, true);
    const int64_t lines = c.d.taps * c.h.taps * static_cast<int64_t>(w.start.size());
    const int64_t bytes =
        lines * (s.vectors * m.lanes + w.max_shift + (w.max_shift > 0 ? kLine / m.size : 0)) *
        m.size;
    if (sweeps_l1(s, m, c)) continue;
    int64_t room = s.panels > 1 ? m.l1 * 5 / 8 : m.l2 / 4;
    // Side by side, wide rows pass from L2 as fast as they are multiplied.
    if (keeps_copy(s, m, c) && s.vectors * m.lanes * m.size >= 4 * kLine) room = 2 * m.l1;
    channels = std::min(channels, std::max<int64_t>(1, room / std::max<int64_t>(1, bytes)));
    if (reads_source(s, m, c) && s.panels <= 2)
      channels = std::min(channels, c.d.taps == 1 ? kStreams : 2 * kStreams);
  }
  s.chunks = ceil_div(std::max<int64_t>(1, s.source_group), channels);
  return s;
}

Machine make_machine(const PlanContext& context, int lanes, int64_t size) {
  return {lanes, static_cast<int64_t>(std::max<size_t>(context.cpu->l1d_bytes, 4096)),
          static_cast<int64_t>(std::max<size_t>(context.cpu->l2_bytes, 16384)), size};
}

std::vector<Part> make_parts(const CorrelationProblem& problem, const Shape& s, const Machine& m) {
  std::vector<Part> parts;
  for (const Correlation& c : problem.parts) {
    if (c.d.outputs == 0 || c.h.outputs == 0 || c.w.outputs == 0) continue;  // nothing to cut
    Part part{};
    part.c = c;
    part.in_place = reads_source(s, m, c);
    if (s.first && can_flatten(c)) flatten(&part);
    part.gathers = gathers_tiles(s, m, problem.source_row, part);
    choose_block(s, m, problem.groups, &part);
    parts.push_back(part);
  }
  return parts;
}

template <class T>
class PlanarPrepared final : public Prepared {
 public:
  PlanarPrepared(const Problem& problem, const PlanContext& context);

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
  int useful_threads() const override { return useful_threads_; }

 private:
  // A block of results: [d, d_end) x [h, h_end) x [w, w_end) of a part, in outputs of its axes.
  struct Item {
    const Part* part;
    int64_t sample, group, panel, panel_end, d, d_end, h, h_end, w, w_end;
  };

  void make_offsets(Part* part) const;
  bool whole_lines(const PlanarArgs<T>& args) const;
  bool reads_in_place(const Item& item, const Buffers& buffers) const;
  struct Thread {
    T* stage;
    Range* lines;
    ptrdiff_t* ahead;
  };
  // `next` is what the thread does then, or null.
  void run_item(const Item& item, const Item* next, const Buffers& buffers,
                const Thread& thread) const;
  // Rows of a channel that a block of a part reads some pixels of, at most.
  static int64_t rows_of_channel(const Part& part) {
    return part.flat ? part.block_w / part.flat_w.outputs + 2 : 1;
  }
  void foresee(const Item& item, int64_t chunk, const T* source, ptrdiff_t* offsets,
               PlanarArgs<T>* args) const;
  // The same of all rows of an item's stage.
  struct Lines {
    int64_t length;       // pixels
    Range together;       // those that one pass over a row takes apart for all lines
    const Range* inside;  // those of each line that lie in the row
  };
  Lines make_lines(const Item& item, Range* inside) const;
  void stage_chunk(const Item& item, const T* source, int64_t chunk, Range* inside, T* stage) const;
  void stage_row(const Item& item, const T* plane, int64_t ih, const Lines& lines, ptrdiff_t ahead,
                 T* to) const;
  void stage_flat(const Item& item, const T* plane, ptrdiff_t ahead, T* to) const;
  // First channel of a panel in a group, and what a panel takes of the packed filter's row.
  int64_t panel_channel(int64_t panel) const;
  int64_t panel_width(int64_t panel) const {
    return panel_channel(panel + 1) - panel_channel(panel);
  }
  // Packed elements of one k.
  int64_t packed_row() const { return panel_channel(shape_.panels); }

  Problem problem_;
  PlanContext context_;
  const PlanarKernels<T>& kernels_;
  const GemmKernels<T>& gemm_;
  CorrelationProblem correlation_;
  Machine machine_;
  Shape shape_;
  std::vector<Part> parts_;
  int64_t packed_elements_ = 0;
  int useful_threads_;
  ScratchLedger ledger_;
  int stage_entry_ = -1, lines_entry_ = -1, ahead_entry_ = -1;
};

template <class T>
PlanarPrepared<T>::PlanarPrepared(const Problem& problem, const PlanContext& context)
    : problem_(problem),
      context_(context),
      kernels_(kernels_of<T>(context.kernels->planar)),
      gemm_(kernels_of<T>(context.kernels->gemm)),
      correlation_(make_correlations(problem)),
      machine_(make_machine(context, gemm_.lanes, sizeof(T))),
      shape_(make_shape(correlation_, problem.layout == Layout::kChannelsFirst, machine_,
                        kernels_.max_rows, kernels_.vectors, kernels_.max_vectors)),
      parts_(make_parts(correlation_, shape_, machine_)) {
  useful_threads_ = threads_that_pay(planar_cost(problem, context));
  int64_t stage = 0, lines = 0, ahead = 0;
  for (Part& part : parts_) {
    part.packed = packed_elements_;
    packed_elements_ +=
        checked_product({correlation_.groups, packed_row(), shape_.source_group, part.k_of_channel},
                        "the packed filter");
    make_offsets(&part);
    stage = std::max({stage, stage_elements(shape_, part), kept_elements(shape_, machine_, part)});
    lines = std::max(lines, static_cast<int64_t>(part.w.start.size()));
    if (foresees_rows(shape_, part))
      ahead = std::max(ahead, max_chunk(shape_) * rows_of_channel(part));
  }
  stage_entry_ = ledger_.book("planar.rows", checked_bytes({stage, sizeof(T)}, "rows"), true);
  lines_entry_ = ledger_.book("planar.lines", checked_bytes({lines, sizeof(Range)}, "lines"), true);
  ahead_entry_ =
      ledger_.book("planar.ahead", checked_bytes({ahead, sizeof(ptrdiff_t)}, "offsets"), true);
}

template <class T>
int64_t PlanarPrepared<T>::panel_channel(int64_t panel) const {
  const int64_t unit = shape_.first ? 1 : machine_.lanes;
  const int64_t total = ceil_div(shape_.result_group, unit);
  const int64_t each = total / shape_.panels, extra = total % shape_.panels;
  return (panel * each + std::min(panel, extra)) * unit;
}

template <class T>
void PlanarPrepared<T>::make_offsets(Part* part) const {
  const Correlation& c = part->c;
  for (int64_t chunk = 0; chunk < shape_.chunks; ++chunk) {
    const int64_t channels = chunk_begin(shape_, chunk + 1) - chunk_begin(shape_, chunk);
    std::vector<ptrdiff_t> offsets;
    offsets.reserve(static_cast<size_t>(channels * part->k_of_channel));
    const auto at = [&](int64_t td, int64_t th, int64_t tw) {
      const size_t t = static_cast<size_t>(tw);
      const int64_t slot = td * part->d.tap_step * part->h.slots + th * part->h.tap_step;
      return slot * part->slot_pitch + part->w.line[t] * part->line_pitch +
             part->w.shift[t] * (shape_.first ? 1 : shape_.source_group);
    };
    for (int64_t td = 0; td < c.d.taps; ++td) {
      if (shape_.first) {
        for (int64_t n = 0; n < channels; ++n)
          for (int64_t th = 0; th < c.h.taps; ++th)
            for (int64_t tw = 0; tw < c.w.taps; ++tw)
              offsets.push_back(n * part->channel_pitch + at(td, th, tw));
      } else {
        for (int64_t th = 0; th < c.h.taps; ++th)
          for (int64_t tw = 0; tw < c.w.taps; ++tw)
            for (int64_t n = 0; n < channels; ++n) offsets.push_back(at(td, th, tw) + n);
      }
    }
    part->offsets.push_back(std::move(offsets));
  }
  if (!part->in_place && !part->gathers) return;
  for (const auto& staged : part->offsets) {
    const int64_t channels = static_cast<int64_t>(staged.size()) / part->k_of_channel;
    std::vector<ptrdiff_t> offsets;
    offsets.reserve(staged.size());
    for (int64_t td = 0; td < c.d.taps; ++td)
      for (int64_t n = 0; n < channels; ++n)
        offsets.push_back(n * correlation_.source_voxels +
                          td * c.d.dilation * correlation_.source_plane);
    part->source_offsets.push_back(std::move(offsets));
  }
  if (!part->gathers && !keeps_copy(shape_, machine_, c)) return;
  for (int64_t k = 0; k < max_chunk(shape_); ++k)
    part->kept_offsets.push_back(k * shape_.vectors * machine_.lanes);
}

template <class T>
std::string PlanarPrepared<T>::packed_filter_format() const {
  std::string format = std::string("planar_") + (shape_.first ? "rows" : "pixels") +
                       (correlation_.backward ? "_backward" : "_forward") + "_panels" +
                       std::to_string(shape_.panels) + "x" + std::to_string(packed_row()) +
                       "_chunks" + std::to_string(shape_.chunks);
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
void PlanarPrepared<T>::pack_filter(const void* filter_data, void* packed_data, ThreadPool& pool,
                                    int threads) const {
  const T* const filter = static_cast<const T*>(filter_data);
  const int64_t oc = problem_.oc, ic_group = problem_.ic / problem_.groups;
  const bool backward = correlation_.backward, first_layout = shape_.first;
  for (const Part& part : parts_) {
    const Correlation& c = part.c;
    pool.parallel_for(
        correlation_.groups * shape_.panels, 1, threads, [&](int64_t begin, int64_t end, int) {
          for (int64_t index = begin; index < end; ++index) {
            const int64_t group = index / shape_.panels, panel = index % shape_.panels;
            const int64_t channel = panel_channel(panel), width = panel_width(panel);
            const int64_t columns = std::min(width, shape_.result_group - channel);
            for (int64_t chunk = 0; chunk < shape_.chunks; ++chunk) {
              const int64_t first = chunk_begin(shape_, chunk);
              const int64_t count = chunk_begin(shape_, chunk + 1) - first;
              T* to = static_cast<T*>(packed_data) + part.packed +
                      part.k_of_channel *
                          ((group * shape_.source_group + first) * packed_row() + count * channel);
              // Where a tap of the chunk's first channel goes, and how far apart channels are.
              const int64_t taps = first_layout ? part.k_of_depth : 1;
              for (int64_t td = 0; td < c.d.taps; ++td)
                for (int64_t t = 0; t < part.k_of_depth; ++t) {
                  const int64_t th = t / c.w.taps, tw = t % c.w.taps;
                  const T* const tap =
                      filter + (((c.d.tap_first + td * c.d.tap_step) * problem_.kh + c.h.tap_first +
                                 th * c.h.tap_step) *
                                    problem_.kw +
                                c.w.tap_first + tw * c.w.tap_step) *
                                   ic_group * oc;
                  T* const out =
                      to + (td * part.k_of_depth * count + (first_layout ? t : t * count)) * width;
                  const int64_t step = taps * width;
                  if (backward) {
                    for (int64_t i = 0; i < columns; ++i) {
                      const T* const in =
                          tap + (channel + i) * oc + group * shape_.source_group + first;
                      for (int64_t n = 0; n < count; ++n) out[n * step + i] = in[n];
                    }
                  } else {
                    const T* const in = tap + first * oc + group * shape_.result_group + channel;
                    for (int64_t n = 0; n < count; ++n)
                      std::copy(in + n * oc, in + n * oc + columns, out + n * step);
                  }
                  for (int64_t n = 0; n < count; ++n)
                    std::fill(out + n * step + columns, out + n * step + width, T(0));
                }
            }
          }
        });
  }
}

template <class T>
typename PlanarPrepared<T>::Lines PlanarPrepared<T>::make_lines(const Item& item,
                                                                Range* inside) const {
  const StageWidth& stage = item.part->w;
  const AxisTaps& w = item.part->c.w;
  const int64_t length = (item.w_end - item.w - 1) * stage.result_step + 1 + stage.max_shift,
                base = item.w * w.stride + w.origin, step = stage.step;
  const auto inside_of = [&](int64_t start) {
    const int64_t at = base + start, left = w.inputs - 1 - at;
    const int64_t low = at >= 0 ? 0 : std::min(length, (-at + step - 1) / step),
                  high = left < 0 ? 0 : std::min(length, left / step + 1);
    return Range{low, std::max(low, high)};
  };
  const size_t count = stage.start.size();
  for (size_t l = 0; l < count; ++l) inside[l] = inside_of(stage.start[l]);
  Lines lines{length, {0, 0}, inside};
  if (stage.residues && step > 1) {
    lines.together = {inside[0].begin, std::min(inside[0].end, inside[count - 1].end)};
    if (lines.together.size() < 0) lines.together = {0, 0};
  }
  return lines;
}

// The pixels of one source row that the item reads, as lines. `plane` is the row's plane. What lies
// `ahead` of it is wanted soon.
template <class T>
void PlanarPrepared<T>::stage_row(const Item& item, const T* plane, int64_t ih, const Lines& lines,
                                  ptrdiff_t ahead, T* to) const {
  const Part& part = *item.part;
  const AxisTaps& w = part.c.w;
  const int64_t pixel = shape_.first ? 1 : shape_.source_group;
  const size_t count = part.w.start.size(), element = sizeof(T) * static_cast<size_t>(pixel);
  const auto clear = [&](T* line, int64_t begin, int64_t end) {
    if (begin < end)
      std::memset(line + begin * pixel, 0, element * static_cast<size_t>(end - begin));
  };
  if (ih < 0 || ih >= part.c.h.inputs) {
    for (size_t l = 0; l < count; ++l)
      clear(to + static_cast<int64_t>(l) * part.line_pitch, 0, lines.length);
    return;
  }
  const int64_t base = item.w * w.stride + w.origin, step = part.w.step;
  const T* const row = plane + (ih * correlation_.source_row + base) * pixel;
  const Range& together = lines.together;
  if (together.size() > 0) {
    const CutArgs<T> cut = {row + together.begin * step,
                            0,
                            1,
                            together.size(),
                            step,
                            step,
                            to + together.begin,
                            part.line_pitch,
                            ahead};
    kernels_.cut(&cut);
  }
  for (size_t l = 0; l < count; ++l) {
    T* const line = to + static_cast<int64_t>(l) * part.line_pitch;
    const Range& inside = lines.inside[l];
    const T* const in = row + part.w.start[l] * pixel;
    const auto gather = [&](int64_t begin, int64_t end) {
      if (begin >= end) return;
      const int64_t n = (end - begin) * pixel;
      const GatherArgs<T> args = {in + begin * step * pixel, 0, 0, n, step, n, line + begin * pixel,
                                  step == 1 ? ahead : 0};
      kernels_.gather(&args);
    };
    clear(line, 0, inside.begin);
    if (together.size() > 0) {
      gather(inside.begin, together.begin);
      gather(together.end, inside.end);
    } else {
      gather(inside.begin, inside.end);
    }
    clear(line, inside.end, lines.length);
  }
}

// Channels first: the source pixels of results [w, w_end) of a plane, counted over its rows.
template <class T>
void PlanarPrepared<T>::stage_flat(const Item& item, const T* plane, ptrdiff_t ahead, T* to) const {
  const AxisTaps &h = item.part->flat_h, &w = item.part->flat_w;
  // Where every result reads a pixel, rows are one call: they are short.
  const bool whole = w.origin >= 0 && w.origin + (w.outputs - 1) * w.stride < w.inputs;
  int64_t ow = item.w % w.outputs, ih = item.w / w.outputs * h.stride + h.origin;
  for (int64_t rest = item.w_end - item.w; rest > 0; ow = 0) {
    const T* const row = plane + ih * correlation_.source_row;
    const bool inside = ih >= 0 && ih < h.inputs;
    // Rows ahead of the volume's end, and what they and what is left hold.
    const int64_t rows = whole && inside ? (h.inputs - 1 - ih) / h.stride + 1 : 1;
    const int64_t count = std::min(rows * w.outputs - ow, rest);
    if (!inside) {
      std::fill(to, to + count, T(0));
    } else {
      int64_t from = 0, end = count;
      const int64_t first = ow * w.stride + w.origin, last = first + (count - 1) * w.stride;
      if (!whole && first < 0) from = std::min(count, (-first + w.stride - 1) / w.stride);
      if (!whole && last >= w.inputs)
        end = std::max(from, count - (last - w.inputs + w.stride) / w.stride);
      std::fill(to, to + from, T(0));
      const GatherArgs<T> args = {row + w.origin, h.stride * correlation_.source_row,
                                  ow + from,      w.outputs,
                                  w.stride,       end - from,
                                  to + from,      ahead};
      kernels_.gather(&args);
      std::fill(to + end, to + count, T(0));
    }
    rest -= count;
    to += count;
    ih += rows * h.stride;
  }
}

// `source`: the item's sample and group.
template <class T>
void PlanarPrepared<T>::stage_chunk(const Item& item, const T* source, int64_t chunk, Range* inside,
                                    T* stage) const {
  const PhaseTimer timer(Phase::kTransform);
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const Lines lines = part.flat ? Lines{} : make_lines(item, inside);
  const int64_t pixel = shape_.first ? 1 : shape_.source_group;
  const int64_t first = chunk_begin(shape_, chunk);
  const int64_t channels = shape_.first ? chunk_begin(shape_, chunk + 1) - first : 1;
  // Slots of results that this item lacks, at the volume's end, need no pixels.
  const int64_t planes =
      part.d.by_tap ? part.d.slots
                    : (item.d_end - item.d - 1) * c.d.stride + (c.d.taps - 1) * c.d.dilation + 1;
  const int64_t rows =
      part.h.by_tap ? part.h.slots
                    : (item.h_end - item.h - 1) * c.h.stride + (c.h.taps - 1) * c.h.dilation + 1;
  for (int64_t n = 0; n < channels; ++n) {
    const T* const channel =
        shape_.first ? source + (first + n) * correlation_.source_voxels : source;
    T* const to = stage + n * part.channel_pitch;
    // Channels are too far apart for the hardware to guess the next one.
    const ptrdiff_t ahead = n + 2 < channels ? 2 * correlation_.source_voxels : 0;
    for (int64_t ds = 0; ds < planes; ++ds) {
      const int64_t id = part.d.source(c.d, item.d, ds);
      // Depth taps outside the volume are left out of the sums.
      if (id < 0 || id >= c.d.inputs) continue;
      const T* const plane = channel + id * correlation_.source_plane * pixel;
      for (int64_t hs = 0; hs < rows; ++hs) {
        T* const slot = to + (ds * part.h.slots + hs) * part.slot_pitch;
        if (part.flat) {
          stage_flat(item, plane, ahead, slot);
        } else {
          stage_row(item, plane, part.h.source(c.h, item.h, hs), lines, ahead, slot);
        }
      }
    }
  }
}

// Whether the item's rows are read where they are: the last vector of a row may reach beyond it,
// but not beyond the source.
template <class T>
bool PlanarPrepared<T>::reads_in_place(const Item& item, const Buffers& buffers) const {
  if (!item.part->in_place) return false;
  const CorrelationProblem& p = correlation_;
  const AxisTaps& d = item.part->c.d;
  const int64_t channel =
      item.sample * p.source_channels + (item.group + 1) * shape_.source_group - 1;
  const int64_t plane =
      std::min(d.inputs - 1, (item.d_end - 1) * d.stride + d.origin + (d.taps - 1) * d.dilation);
  const int64_t width = ceil_div(item.w_end - item.w, machine_.lanes) * machine_.lanes;
  return channel * p.source_voxels + plane * p.source_plane + item.w + width <=
         buffers.batch * p.source_channels * p.source_voxels;
}

template <class T>
void PlanarPrepared<T>::run_item(const Item& item, const Item* next, const Buffers& buffers,
                                 const Thread& thread) const {
  const Part& part = *item.part;
  const Correlation& c = part.c;
  const CorrelationProblem& p = correlation_;
  const int64_t result_pixel = shape_.first ? 1 : p.result_channels;
  const auto source_of = [&](const Item& at) {
    return static_cast<const T*>(p.backward ? buffers.grad_output : buffers.input) +
           at.sample * p.source_voxels * p.source_channels +
           at.group * shape_.source_group * (shape_.first ? p.source_voxels : 1);
  };
  const T* const source = source_of(item);
  const int64_t channel0 = item.group * shape_.result_group;
  T* const result = static_cast<T*>(buffers.result) +
                    item.sample * p.result_voxels * p.result_channels +
                    channel0 * (shape_.first ? p.result_voxels : 1);

  PlanarArgs<T> args{};
  args.width = item.w_end - item.w;
  args.vectors = static_cast<int>(shape_.vectors);
  const bool in_place = reads_in_place(item, buffers);
  const bool staged = !in_place && !part.gathers;
  GatherArgs<T> gather{};
  int64_t gathered = 0;  // its first row, in a plane
  if (part.gathers) {
    gather.row = part.flat_h.stride * p.source_row;
    gather.first = item.w % part.flat_w.outputs;
    gather.width = part.flat_w.outputs;
    gather.step = part.flat_w.stride;
    args.gather = &gather;
    gathered =
        (item.w / part.flat_w.outputs * part.flat_h.stride + part.flat_h.origin) * p.source_row +
        part.flat_w.origin;
  }
  if (!staged && !part.kept_offsets.empty()) {
    args.kept = thread.stage + machine_.lanes;
    args.kept_offsets = part.kept_offsets.data();
  }
  args.panel_outer = part.panel_outer ? 1 : 0;
  args.step = shape_.first ? 1 : part.w.result_step * shape_.source_group;
  args.result_step = c.w.step * p.result_channels;
  args.result_plane = p.result_voxels;
  args.finish.activation = static_cast<int>(problem_.activation);
  args.finish.alpha = static_cast<T>(problem_.leaky_relu_alpha);
  const int64_t size = static_cast<int64_t>(sizeof(T));
  const int64_t result_bytes = buffers.batch * p.result_voxels * p.result_channels * size;
  // Rows of many channels are many streams, for which a shared cache has less room (12 MB of
  // 32: 1.0 to 2.4 ms with the neighbours of a virtual machine, 1.0 past the caches).
  const bool past_caches = result_bytes > static_cast<int64_t>(context_.cpu->l3_bytes / 3) &&
                           shape_.chunks == 1 && problem_.activation <= Activation::kRelu;

  for (int64_t chunk = 0; chunk < shape_.chunks; ++chunk) {
    if (staged) stage_chunk(item, source, chunk, thread.lines, thread.stage);
    const PhaseTimer timer(Phase::kMultiply);
    const int64_t first = chunk_begin(shape_, chunk);
    const int64_t count = chunk_begin(shape_, chunk + 1) - first;
    const ptrdiff_t* const offsets =
        (staged ? part.offsets : part.source_offsets)[static_cast<size_t>(chunk)].data();
    const T* const filter =
        static_cast<const T*>(buffers.packed_filter) + part.packed +
        part.k_of_channel * (item.group * shape_.source_group + first) * packed_row();
    args.filter_k = count * part.k_of_channel;
    args.finish.load_c = chunk > 0;
    args.finish.last = chunk == shape_.chunks - 1;
    args.ahead = nullptr;
    if (!in_place && foresees_rows(shape_, part) &&
        item.panel_end - item.panel <= part.group_panels && item.d_end - item.d == 1 &&
        item.h_end - item.h == 1) {
      const bool last = chunk == shape_.chunks - 1;
      const Item* const then = last ? next : &item;
      if (then != nullptr && then->part == item.part)
        foresee(*then, last ? 0 : chunk + 1, source_of(*then), thread.ahead, &args);
    }
    for (int64_t panel = item.panel; panel < item.panel_end; panel += part.group_panels) {
      const int64_t panel_end = std::min(item.panel_end, panel + part.group_panels);
      const int64_t channel = panel_channel(panel);
      args.panels = static_cast<int>(panel_end - panel);
      args.channels =
          static_cast<int>(std::min(panel_channel(panel_end), shape_.result_group) - channel);
      args.filter = filter + channel * args.filter_k;
      args.finish.bias = buffers.bias != nullptr
                             ? static_cast<const T*>(buffers.bias) + channel0 + channel
                             : nullptr;
      for (int64_t d = item.d; d < item.d_end; ++d) {
        const int64_t td = c.d.tap_begin(d), td_end = std::max(td, c.d.tap_end(d));
        args.k_first = td * count * part.k_of_depth;
        args.k = (td_end - td) * count * part.k_of_depth;
        args.offsets = offsets + args.k_first;
        for (int64_t h = item.h; h < item.h_end; ++h) {
          args.source = !staged ? source + first * p.source_voxels +
                                      (d * c.d.stride + c.d.origin) * p.source_plane +
                                      (part.gathers ? gathered : item.w)
                                : thread.stage + ((d - item.d) * part.d.result_step * part.h.slots +
                                                  (h - item.h) * part.h.result_step) *
                                                     part.slot_pitch;
          args.result =
              result +
              ((c.d.first + d * c.d.step) * p.result_plane +
               (c.h.first + h * c.h.step) * p.result_row + c.w.first + item.w * c.w.step) *
                  result_pixel +
              channel * (shape_.first ? p.result_voxels : 1);
          args.finish.stream = past_caches && whole_lines(args);
          (shape_.first ? kernels_.rows : kernels_.pixels)(&args);
        }
      }
    }
  }
}

// What a chunk of an item will stage, as what `args` asks for on its way.
template <class T>
void PlanarPrepared<T>::foresee(const Item& item, int64_t chunk, const T* source,
                                ptrdiff_t* offsets, PlanarArgs<T>* args) const {
  const Part& part = *item.part;
  const AxisTaps &d = part.c.d, &h = part.flat_h, &w = part.flat_w;
  const int64_t id = item.d * d.stride + d.origin;
  if (id < 0 || id >= d.inputs) return;
  int64_t rows = 0, pixels = 0;
  if (part.flat) {
    for (int64_t at = item.w; at < item.w_end;) {
      const int64_t oh = at / w.outputs, ow = at % w.outputs, ih = oh * h.stride + h.origin,
                    count = std::min(w.outputs - ow, item.w_end - at);
      at += count;
      if (ih < 0 || ih >= h.inputs) continue;
      offsets[rows++] =
          ih * correlation_.source_row + std::max<int64_t>(0, ow * w.stride + w.origin);
      pixels = std::max(pixels, std::min(count * w.stride, w.inputs));
    }
  } else {
    offsets[rows++] = item.w;
    pixels = item.w_end - item.w;
  }
  const int64_t first = chunk_begin(shape_, chunk),
                channels = chunk_begin(shape_, chunk + 1) - first;
  for (int64_t n = 1; n < channels; ++n)
    for (int64_t i = 0; i < rows; ++i)
      offsets[n * rows + i] = n * correlation_.source_voxels + offsets[i];
  args->ahead = source + first * correlation_.source_voxels + id * correlation_.source_plane;
  args->ahead_offsets = offsets;
  args->ahead_rows = channels * rows;
  args->ahead_lines = static_cast<int>(ceil_div(pixels * static_cast<int64_t>(sizeof(T)), kLine));
}

// Whether every line that a call writes is written whole, by stores that follow each other.
template <class T>
bool PlanarPrepared<T>::whole_lines(const PlanarArgs<T>& args) const {
  const int64_t size = static_cast<int64_t>(sizeof(T)), vector = machine_.lanes * size;
  if (reinterpret_cast<uintptr_t>(args.result) % kLine != 0) return false;
  if (shape_.first)
    return args.width * size % kLine == 0 && args.result_plane * size % kLine == 0 &&
           (vector % kLine == 0 || (shape_.vectors * vector % kLine == 0 &&
                                    args.width % (shape_.vectors * machine_.lanes) == 0));
  if (args.channels % machine_.lanes != 0) return false;
  const int64_t vectors = args.channels / machine_.lanes;
  if (args.panels == 1 && vectors == 1 && args.result_step == args.channels)
    return args.channels * size * 2 % kLine == 0 && args.width % 2 == 0 && kernels_.pixel_rows_even;
  return args.result_step * size % kLine == 0 && vectors / args.panels * vector % kLine == 0 &&
         (vectors % args.panels == 0 || (vectors / args.panels + 1) * vector % kLine == 0);
}

template <class T>
void PlanarPrepared<T>::execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                                int threads) const {
  if (buffers.batch * correlation_.result_voxels * correlation_.result_channels == 0) return;
  if (!correlation_.complete)
    implicit_gemm::fill_unreached(correlation_, problem_, gemm_, buffers, pool, threads);
  if (parts_.empty()) return;

  // Items, and a split of the panels where there are too few of them.
  int64_t blocks = 0;
  for (const Part& part : parts_) blocks += part.blocks_d * part.blocks_h * part.blocks_w;
  const int64_t whole = buffers.batch * correlation_.groups * blocks;
  const int64_t wanted = threads > 1 ? 4 * int64_t{threads} : 1;
  const int64_t splits = std::clamp<int64_t>(ceil_div(wanted, whole), 1, shape_.panels);
  const int64_t items = whole * splits;
  // Neighbours on one thread, for what they share in L2.
  const int64_t grain = threads > 1 ? std::max<int64_t>(1, items / (8 * int64_t{threads})) : items;
  pool.parallel_for(items, grain, threads, [&](int64_t begin, int64_t end, int id) {
    const Thread thread{scratch.get<T>(stage_entry_, id), scratch.get<Range>(lines_entry_, id),
                        scratch.get<ptrdiff_t>(ahead_entry_, id)};
    const auto item_at = [&](int64_t index) {
      int64_t rest = index / splits;
      const int64_t split = index % splits;
      Item item{};
      item.panel = shape_.panels * split / splits;
      item.panel_end = shape_.panels * (split + 1) / splits;
      item.group = rest / blocks % correlation_.groups;
      item.sample = rest / blocks / correlation_.groups;
      rest %= blocks;
      size_t number = 0;
      const auto size = [](const Part& part) {
        return part.blocks_d * part.blocks_h * part.blocks_w;
      };
      while (rest >= size(parts_[number])) rest -= size(parts_[number++]);
      const Part& part = parts_[number];
      item.part = &part;
      // Planes innermost: the next block reads most of the same.
      item.d = rest % part.blocks_d * part.block_d;
      rest /= part.blocks_d;
      item.w = rest % part.blocks_w * part.block_w;
      item.h = rest / part.blocks_w * part.block_h;
      item.d_end = std::min(part.c.d.outputs, item.d + part.block_d);
      item.h_end = std::min(part.c.h.outputs, item.h + part.block_h);
      item.w_end = std::min(part.c.w.outputs, item.w + part.block_w);
      return item;
    };
    Item item = item_at(begin);
    for (int64_t index = begin; index < end; ++index) {
      const Item next = item_at(std::min(index + 1, end - 1));
      if (item.panel < item.panel_end)
        run_item(item, index + 1 < end ? &next : nullptr, buffers, thread);
      item = next;
    }
  });
}

template <class T>
std::string PlanarPrepared<T>::detail() const {
  std::string text = shape_.first ? "planar_rows" : "planar_pixels";
  if (parts_.empty()) return text + ", no taps";
  const Part& part = parts_[0];
  text += ", blocks of " + std::to_string(part.block_d) + "x" + std::to_string(part.block_h) + "x" +
          std::to_string(part.block_w) + " pixels, " + std::to_string(shape_.panels) + " panels, " +
          std::to_string(shape_.chunks) + " channel chunks";
  if (part.in_place) text += ", rows read in place";
  if (part.gathers) {
    text += ", rows gathered by the first panel";
  } else if (!part.kept_offsets.empty()) {
    text += " and kept side by side";
  }
  if (parts_.size() > 1) text += ", " + std::to_string(parts_.size()) + " phases";
  return text;
}

// As for the other direct sums: a chain of n multiply-adds errs by at most n u of the sum of
// magnitudes, and in practice by its square root.
template <class T>
double PlanarPrepared<T>::error_bound() const {
  const double unit = std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
  const Problem& p = problem_;
  const double length =
      static_cast<double>(std::max<int64_t>(1, p.kd * p.kh * p.kw * shape_.source_group));
  return unit * std::min(length, 8 + 2 * std::max(1.0, length / 16));
}

}  // namespace

std::string why_not_planar(const Problem& problem) {
  // Each phase is a convolution of its own, with blocks and offsets of its own.
  if (problem.direction == Direction::kBackwardInput &&
      problem.sd * problem.sh * problem.sw > kMostPhases)
    return "backward_input falls into too many phases";
  if (problem.layout == Layout::kChannelsLast && problem.groups > 1)
    return "channels-last groups are not contiguous";
  if (problem.layout == Layout::kChannelsFirst && problem.direction == Direction::kBackwardInput &&
      problem.sw > 1)
    return "backward_input with a stride along the width leaves gaps in rows of channels-first "
           "results";
  return "";
}

std::unique_ptr<Prepared> prepare_planar(const Problem& problem, const PlanContext& context) {
  if (problem.dtype == DType::kFloat64)
    return std::make_unique<PlanarPrepared<double>>(problem, context);
  return std::make_unique<PlanarPrepared<float>>(problem, context);
}

// Cycles of the tiles, bytes copied into the stage, and the traffic beyond the core's caches.
double planar_cost(const Problem& problem, const PlanContext& context) {
  const bool f64 = problem.dtype == DType::kFloat64;
  const CorrelationProblem correlation = make_correlations(problem);
  const bool first = problem.layout == Layout::kChannelsFirst;
  const int lanes = f64 ? context.kernels->gemm.f64.lanes : context.kernels->gemm.f32.lanes;
  const Machine m = make_machine(context, lanes, f64 ? 8 : 4);
  const auto& t64 = context.kernels->planar.f64;
  const auto& t32 = context.kernels->planar.f32;
  const Shape s =
      f64 ? make_shape(correlation, first, m, t64.max_rows, t64.vectors, t64.max_vectors)
          : make_shape(correlation, first, m, t32.max_rows, t32.vectors, t32.max_vectors);
  const int* const strided_rows =
      f64 ? context.kernels->gemm.f64.strided_rows : context.kernels->gemm.f32.strided_rows;
  const double groups = static_cast<double>(correlation.groups), size = static_cast<double>(m.size);
  const double chunks = static_cast<double>(s.chunks), panels = static_cast<double>(s.panels);
  const double samples = static_cast<double>(problem.mb);

  // Of a tile's cycles, measured; wide tiles spend less on what is not multiplied.
  const double efficiency = !first ? 0.93 : m.lanes * m.size >= kLine ? 0.92 : 0.885;
  // Cycles beside the multiply-adds are as many however slow those are.
  const double slow = hertz(context) / kClock;
  double cycles = 0, staged = 0, filter = 0;
  for (const Part& part : make_parts(correlation, s, m)) {
    const Correlation& c = part.c;
    const double k = static_cast<double>(part.k_of_channel * s.source_group);
    const double rows = static_cast<double>(c.d.outputs * c.h.outputs);
    const double width = static_cast<double>(part.block_w);
    const double pieces = static_cast<double>(c.w.outputs) / width;  // of a row
    double row = 0;                                                  // cycles of a block's row
    if (first) {
      const RowTiles t(s, s.panels, std::ceil(width / lanes), static_cast<int>(s.vectors));
      const double multiply = t.cycles_of_k() / efficiency;
      row = t.count *
            (k * multiply + chunks * (kTileCycles * slow + t.results() * (s.chunks > 1 ? 2 : 1)));
      // In place the first panel waits for lines of L2 and beyond.
      if (part.in_place && !keeps_copy(s, m, c)) {
        const double lines = t.vectors * lanes * size / kLine + 1;
        row += t.count / panels * k * std::max(0.0, lines * kLineCycles * slow - multiply);
      }
    } else {
      const double vectors = std::ceil(static_cast<double>(s.result_group) / lanes) / panels;
      const double most = strided_rows[static_cast<int>(std::ceil(vectors))];
      const double tiles = std::ceil(width / most);
      const double n = width / tiles;
      // A panel that L1 does not hold comes from L2 for every tile.
      const double far = k * vectors * lanes * size > static_cast<double>(m.l1) * 0.75 ? 0.8 : 0;
      row = tiles * panels *
            (k * (k_cycles(n, vectors, n + vectors + 0.5) / efficiency + far) + kTileCycles * slow +
             n * vectors);
    }
    cycles += rows * pieces * row;
    // Every block reads the filter.
    const double filter_bytes = k * size * static_cast<double>(s.panels * s.panel);
    filter += stream_seconds(
        filter_bytes * static_cast<double>(part.blocks_d * part.blocks_h * part.blocks_w),
        filter_bytes * groups, *context.cpu);
    // Copies of the stage: by line and, where a line is gathered, by element.
    const double slots = static_cast<double>(part.d.slots * part.h.slots) /
                         static_cast<double>(part.block_d * part.block_h);
    const double lines = static_cast<double>(part.w.start.size());
    const double channels = static_cast<double>(s.source_group);
    const int64_t step = part.flat ? part.flat_w.stride : part.w.step;
    const double per_pixel = step == 1                 ? size / 8
                             : step == 2 && !part.flat ? (c.w.taps == 1 ? 0.7 : 1.0)
                                                       : 1.5;
    const double length = static_cast<double>(part.w.length);
    if (part.in_place) continue;
    if (part.gathers) {
      const double times = std::ceil(panels / static_cast<double>(part.group_panels));
      staged += slow * rows * pieces * channels * width * kGatherCycles * times;
      continue;
    }
    staged += slow * rows * pieces * slots * lines *
              (first ? channels * (15 + length * per_pixel) : 15 + length * channels * size / 8);
  }
  const double arithmetic = samples * groups * (cycles + staged) / hertz(context);
  // A new filter with every call; see packing_seconds.
  const double packing =
      problem.direction == Direction::kBackwardInput
          ? 2 * size * static_cast<double>(problem.filter_elements()) / kGatherBytes
          : 0.0;
  return kCallSeconds +
         (overlapped_seconds(arithmetic, traffic_seconds(problem, *context.cpu)) + packing) /
             std::max(1, context.threads);
}

}  // namespace conv3d::planar
