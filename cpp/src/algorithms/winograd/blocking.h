// How many tiles go through the three stages together, and on how many threads: the sizes that
// decide the speed and never a result's bits, because tiles do not share sums.
#pragma once

#include <cstddef>
#include <cstdint>

#include "algorithms/algorithm.h"
#include "algorithms/winograd/geometry.h"

namespace conv3d::winograd {

// Ways through transform, multiply and inverse:
// fused:     a block of tiles passes all three on one thread, within its L2 (or near it). M
//            replaces U in place, one slot behind. Every block streams the whole packed filter, so
//            this needs many tiles or few channels.
// staged:    a larger block passes each stage on all threads before the next starts; multiplying
//            is shared out by point, so the packed filter is read once per block, not once per
//            thread. For wide layers and few tiles.
// unpacked:  backward_input, whose filter is another one with every call. Nothing is packed: after
//            the input transform, shared, a thread takes a panel of result channels through all
//            that follows. It transforms the filter of some source channels into its L2,
//            multiplies, and so on through the channels. M of the panel stays in its L2 too. For
//            the widest layers and fewest tiles, whose packed filter, eight times the filter, would
//            be written to memory and read once.
enum class Way { kFused, kStaged, kUnpacked };

// Source channels whose filter is transformed together (kUnpacked): their chain of additions.
inline constexpr int kUnpackedChannels = 32;

struct Blocking {
  Way way;
  int64_t tiles;        // most per block
  int run, run_phases;  // most tiles along the width, and phases of each, that are staged (or
                        // with lanes along the pixels transformed) together
  size_t shared_floats, thread_floats;  // of a block: for all threads, and for each
  size_t staging_floats;                // per thread
};

// The layout of a block of `tiles`: U[p][ci / 16][tile][16], one line more per point against
// cache-set conflicts; M likewise. Lanes along the pixels: U[p][panel][ci][nr], panels of nr
// pixels, and M[p][tile][co][16], one line more per panel and per tile.
struct BlockLayout {
  int64_t tiles;
  ptrdiff_t u_position, m_position;  // floats from point to point
  ptrdiff_t u_panel, m_tile;         // lanes along the pixels
  ptrdiff_t filter_position;         // kUnpacked
  size_t shared_floats, thread_floats;
};
BlockLayout block_layout(const Geometry& geometry, Way way, int64_t tiles,
                         const KernelTable& kernels);

// Fused or staged, for so many threads.
Blocking choose_blocking(const Geometry& geometry, int threads, const PlanContext& context);
// The same with the sizes given: for tests and tuning. Lanes along the pixels: always fused.
Blocking make_blocking(const Geometry& geometry, Way way, int64_t tiles,
                       const PlanContext& context);
// All of it, and which way the lanes run: the cheapest of what can be.
struct Form {
  Geometry geometry;
  Blocking blocking;
  double seconds;  // estimate_seconds
};
Form choose_form(const Problem& problem, TileShape shape, const PlanContext& context);

// Tiles per block for a call of `total` tiles: as few blocks as the blocking allows, of equal
// size, enough for the threads.
int64_t tiles_per_block(const Geometry& geometry, const Blocking& blocking, int64_t total,
                        int threads);

// kUnpacked: how many parts the `tiles` of a block fall into for each panel: more than one where
// threads outnumber the panels, or nearly. Each part transforms the filter anew.
int64_t unpacked_parts(const Geometry& geometry, int64_t tiles, int threads,
                       const KernelTable& kernels);

// Estimated seconds of one sample on one thread.
double estimate_seconds(const Geometry& geometry, const Blocking& blocking,
                        const PlanContext& context);

}  // namespace conv3d::winograd
