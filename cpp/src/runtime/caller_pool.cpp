#include "runtime/caller_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>

#include "runtime/chunks.h"
#include "runtime/float_environment.h"

namespace conv3d {
namespace {

struct Job {
  Job(RangeFn f, int64_t count, int64_t grain, int threads)
      : fn(f), chunks(count, grain, threads), mode(FloatEnvironment::current()) {}
  RangeFn fn;
  Chunks chunks;
  FloatEnvironment::Word mode;
  std::atomic<bool> failed{false};
  std::exception_ptr error;
};

// An exception must not travel through the caller's frames, which may be C.
void run_task(void* context, int thread) {
  Job& job = *static_cast<Job*>(context);
  FloatEnvironment environment(job.mode);
  for (int64_t begin = 0, end = 0; job.chunks.take(&begin, &end);) {
    try {
      job.fn(begin, end, thread);
    } catch (...) {
      if (!job.failed.exchange(true)) job.error = std::current_exception();
      job.chunks.drop();
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
  Job job(fn, n, grain, threads);
  call_(context_, threads, run_task, &job);
  if (job.failed.load()) std::rethrow_exception(job.error);
}

}  // namespace conv3d
