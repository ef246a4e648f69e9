// Filter gradients that add up a volume in segments, each with sums of its own: how many segments,
// and what they may take. They are the work items, so there must be enough of them for the
// machine's threads; each costs a pass over the sums. Neither depends on how many threads a call
// is given, because the order of the sums follows from them, and up to eight cores not on those.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "runtime/cpu_info.h"
#include "runtime/thread_pool.h"

namespace conv3d {

inline constexpr int64_t kFewestSegments = 8, kMostSegments = 32;

// A power of two, so that a power of two of threads get as many each.
inline int64_t most_segments(const CpuInfo& cpu) {
  const auto threads = static_cast<uint64_t>(std::max(1, cpu.usable_threads));
  return std::clamp(static_cast<int64_t>(std::bit_ceil(threads)), kFewestSegments, kMostSegments);
}

// `bytes` for the fewest, in proportion.
inline int64_t segment_bytes(int64_t bytes, const CpuInfo& cpu) {
  return bytes * (most_segments(cpu) / kFewestSegments);
}

// Segment 0 += all others, pairwise: add(s, t) adds the sums of segment t to those of s.
template <class Add>
void add_segments(int64_t segments, const Add& add) {
  for (int64_t step = 1; step < segments; step *= 2)
    for (int64_t s = 0; s + step < segments; s += 2 * step) add(s, s + step);
}

// The same for arrays of `elements` numbers, slot(s) of each segment, block by block on all
// threads; add(sum, term, n) adds n of them.
template <class T, class Slot>
void sum_segments(int64_t elements, int64_t segments, ThreadPool& pool, int threads,
                  const Slot& slot, void (*add)(T* sum, const T* term, int64_t n)) {
  if (segments == 1) return;
  constexpr int64_t kBlock = 4096, kGrain = 1 << 16;  // numbers read
  pool.parallel_for((elements - 1) / kBlock + 1, 1 + kGrain / (kBlock * segments), threads,
                    [&](int64_t begin, int64_t end, int) {
                      const int64_t first = begin * kBlock,
                                    count = std::min(elements, end * kBlock) - first;
                      add_segments(segments, [&](int64_t s, int64_t t) {
                        add(slot(s) + first, slot(t) + first, count);
                      });
                    });
}

// The same for sums in float64, which are `rows` of `columns`, written as T: to(row) is where.
template <class T, class Place>
void write_segments(int64_t rows, int64_t columns, int64_t segments, double* sums, ThreadPool& pool,
                    int threads, const Place& to) {
  constexpr int64_t kGrain = 1 << 15;  // numbers read
  pool.parallel_for(rows, 1 + kGrain / (columns * segments), threads,
                    [&](int64_t begin, int64_t end, int) {
                      for (int64_t row = begin; row < end; ++row) {
                        double* const first = sums + row * columns;
                        add_segments(segments, [&](int64_t s, int64_t t) {
                          double* const sum = first + s * rows * columns;
                          const double* const term = first + t * rows * columns;
                          for (int64_t c = 0; c < columns; ++c) sum[c] += term[c];
                        });
                        T* const at = to(row);
                        for (int64_t c = 0; c < columns; ++c) at[c] = static_cast<T>(first[c]);
                      }
                    });
}

}  // namespace conv3d
