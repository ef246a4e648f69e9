#include "algorithms/fma_peak/fma_peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/dispatch.h"
#include "runtime/thread_pool.h"

namespace conv3d {

double measure_fma_peak(int threads, double seconds) {
  if (threads < 1)
    throw Error(Status::kInvalidArgument,
                "threads is " + std::to_string(threads) + "; at least 1 is accepted");
  if (!(seconds > 0 && seconds <= 10)) {
    throw Error(Status::kInvalidArgument, "seconds is " + std::to_string(seconds) +
                                              "; more than 0 and at most 10 is accepted");
  }
  using Clock = std::chrono::steady_clock;
  constexpr int64_t kRounds =
      100000;  // about 0.1 ms: short beside a scheduler's slice, long beside reading the clock
  const KernelTable& kernels = kernel_table();
  ThreadPool& pool = default_thread_pool();
  threads = std::min(threads, pool.max_threads());
  std::vector<double> rates(static_cast<size_t>(threads), 0.0);
  std::atomic<int> started{0};
  pool.parallel_for(threads, 1, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      // All at once, or the threads would not compete for what they share. A pool that is busy
      // elsewhere is not waited for long.
      ++started;
      const Clock::time_point patience = Clock::now() + std::chrono::milliseconds(50);
      while (started < threads && Clock::now() < patience) {
      }
      float sink[64];
      double operations = 0, elapsed = 0;
      const Clock::time_point start = Clock::now();
      do {
        operations += kernels.fma_loop(kRounds, sink);
        elapsed = std::chrono::duration<double>(Clock::now() - start).count();
      } while (elapsed < seconds);
      rates[static_cast<size_t>(i)] = operations / elapsed;
    }
  });
  double total = 0;
  for (const double rate : rates) total += rate;
  return total;
}

}  // namespace conv3d
