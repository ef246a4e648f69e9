#include "runtime/caller_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "runtime/float_environment.h"

namespace conv3d {
namespace {

struct Job {
  Job(RangeFn f, int64_t count, int64_t chunk_size)
      : fn(f), n(count), chunk(chunk_size), mode(FloatEnvironment::current()) {}
  RangeFn fn;
  int64_t n, chunk;
  FloatEnvironment::Word mode;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
};

// An exception must not travel through the caller's frames, which may be C.
void run_task(void* context, int thread) {
  Job& job = *static_cast<Job*>(context);
  FloatEnvironment environment(job.mode);
  while (true) {
    const int64_t begin = job.next.fetch_add(job.chunk, std::memory_order_relaxed);
    if (begin >= job.n) return;
    try {
      job.fn(begin, std::min(begin + job.chunk, job.n), thread);
    } catch (...) {
      if (!job.failed.exchange(true)) job.error = std::current_exception();
      job.next.store(job.n, std::memory_order_relaxed);
    }
  }
}

}  // namespace

void CallerPool::parallel_for(int64_t n, int64_t grain, int threads, RangeFn fn) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  threads = static_cast<int>(
      std::min<int64_t>(std::clamp(threads, 1, max_threads_), (n - 1) / grain + 1));
  if (threads == 1) {
    fn(0, n, 0);
    return;
  }
  Job job(fn, n, std::max(grain, n / (int64_t{threads} * 8)));
  call_(context_, threads, run_task, &job);
  if (job.failed.load()) std::rethrow_exception(job.error);
}

}  // namespace conv3d
