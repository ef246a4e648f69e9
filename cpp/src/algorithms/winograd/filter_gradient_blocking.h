// The shapes and sizes of the Winograd filter gradient: how grad_output is cut into tiles, how many
// of them pass together, and where their sums lie.
//
// Everything that decides the order of a sum (runs, blocks, chains, segments) follows from the
// problem and the machine (caches' sizes, cores), never from the layout or a call's threads.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "algorithms/algorithm.h"
#include "algorithms/segments.h"
#include "algorithms/winograd/geometry.h"
#include "base/math.h"

namespace conv3d::winograd {

// A dilation splits the volume into lattices of every dd-th plane, dh-th row and dw-th column,
// which are convolutions without dilation. An axis of one tap has none.
struct GradientGeometry {
  int64_t ci, co;
  int64_t input[3], output[3];  // extents
  int64_t pad[3];               // zeros before
  int64_t dilation[3], lattices[3];
  int r[3], m[3], n[3];  // taps, pixels of a tile of grad_output, points: as in geometry.h
  int window[3];         // pixels of the input that a tile reads: n, or a pair
  int stride[3];         // 1 or 2; anything along the depth and the height where r is 1
  int split[3];          // WinogradSplit of kernels/winograd_table.h
  int step[3];           // input pixels from tile to tile: stride m
  int64_t tiles[3];      // of one lattice
  bool channels_first;
  int points() const { return n[0] * n[1] * n[2]; }
  int positions() const { return n[0] * n[1]; }  // lines of a column
  int64_t tiles_per_sample() const { return runs_per_sample(1); }
  // Of at most `run` tiles.
  int64_t runs_per_sample(int64_t run) const {
    return lattices[0] * lattices[1] * lattices[2] * tiles[0] * tiles[1] * ceil_div(tiles[2], run);
  }
};

// Empty if F(r, shape) can compute the problem, else the reason.
std::string why_not_gradient(const Problem& problem, TileShape shape);
GradientGeometry make_gradient_geometry(const Problem& problem, TileShape shape);

// Two ways to share the work:
// shared:   all threads transform a block of tiles into lines in the shared cache, then share its
//           products by position. One set of sums. Up to kMostOwners threads have positions of
//           their own through both steps: each reads all of the images and makes the first axis
//           anew, but no line passes from core to core, which takes as long as all the rest where
//           the cores have different L3s.
// private:  few channels. Each thread takes a segment of the tiles through both steps within its
//           own L2; every segment has sums of its own, added pairwise at the end.
inline constexpr int kMostOwners = 4;

struct GradientBlocking {
  bool shared;
  int64_t run;               // most tiles of a run, along the width
  int64_t runs;              // of a block
  int64_t chain;             // most tiles in one chain of multiply-adds
  int64_t wide_after;        // blocks whose sums are added in float32 before they move to float64
  int64_t segments;          // private: at most
  int64_t segment_blocks;    // private: of a segment, where there are more than two
  int64_t ci_sums, co_sums;  // groups of 16 channels whose sums are kept at a time
  int64_t ci_part, co_part;  // groups of 16 channels that go through the third axis together
  int64_t tiles() const { return run * runs; }
  int64_t blocks_of(int64_t all_runs) const { return ceil_div(all_runs, runs); }
  // Segments of a call with so many runs, a power of two if they are few: of some blocks, because
  // each costs a pass over its sums, but two where there are two blocks.
  int64_t segments_of(int64_t all_runs) const {
    const int64_t blocks = std::max<int64_t>(1, blocks_of(all_runs));
    const int64_t most =
        std::min(segments, std::max(blocks / segment_blocks, std::min<int64_t>(2, blocks)));
    return most > kFewestSegments
               ? most
               : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(most)));
  }
  // Whether the sums of any of them move to float64.
  bool is_wide(int64_t all_runs) const {
    return blocks_of(ceil_div(all_runs, segments_of(all_runs))) >= wide_after;
  }
};

GradientBlocking choose_gradient_blocking(const GradientGeometry& geometry,
                                          const PlanContext& context);
// The same with the sizes given: for tests and tuning.
GradientBlocking make_gradient_blocking(const GradientGeometry& geometry, bool shared,
                                        int64_t tiles, const PlanContext& context);

// Floats from place to place in a block's lines, a part's points, and the sums.
struct GradientLayout {
  int64_t input_columns, gradient_columns;  // of a run
  ptrdiff_t input_position, gradient_position;
  size_t line_floats;  // of a block, both operands
  ptrdiff_t input_point, gradient_point;
  size_t point_floats;  // of a part, both operands
  ptrdiff_t sums_point;
  size_t sums_floats;
  size_t staging_floats;  // of a run of one group; channels first, of all lattices
};
GradientLayout gradient_layout(const GradientGeometry& geometry, const GradientBlocking& blocking);

// Stated bound on max|error| / max|grad_filter| against float64.
double gradient_error_bound(const GradientGeometry& geometry, const GradientBlocking& blocking);

// Estimated seconds of one sample on one thread.
double estimate_gradient_seconds(const GradientGeometry& geometry, const GradientBlocking& blocking,
                                 const PlanContext& context);

}  // namespace conv3d::winograd
