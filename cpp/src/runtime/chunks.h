// How a parallel_for's range is handed out to its threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace conv3d {

// [0, n) in chunks of at least `grain`, for `threads` threads: long ones first, since what follows
// in the same chunk finds its neighbours in the caches, then shorter ones, which even out what
// other processes take.
class Chunks {
 public:
  Chunks(int64_t n, int64_t grain, int threads) : n_(n), grain_(grain), threads_(threads) {}

  // The next one, or false if none are left.
  bool take(int64_t* begin, int64_t* end) {
    int64_t at = next_.load(std::memory_order_relaxed);
    while (at < n_) {
      const int64_t size = std::min(n_ - at, std::max(grain_, (n_ - at) / (2 * int64_t{threads_})));
      if (!next_.compare_exchange_weak(at, at + size, std::memory_order_relaxed)) continue;
      *begin = at;
      *end = at + size;
      return true;
    }
    return false;
  }
  // Those not yet taken are dropped.
  void drop() { next_.store(n_, std::memory_order_relaxed); }

 private:
  const int64_t n_, grain_;
  const int threads_;
  std::atomic<int64_t> next_{0};
};

}  // namespace conv3d
