// A ThreadPool over threads of the caller's own, reached through one C function.
#pragma once

#include "runtime/thread_pool.h"

namespace conv3d {

// Must call task(task_context, i) once for every i in [0, tasks) and return when all have returned.
using CallerParallelFor = void (*)(void* context, int tasks,
                                   void (*task)(void* task_context, int i), void* task_context);

class CallerPool final : public ThreadPool {
 public:
  CallerPool(int max_threads, CallerParallelFor call, void* context)
      : max_threads_(max_threads), call_(call), context_(context) {}
  int max_threads() const override { return max_threads_; }
  void parallel_for(int64_t n, int64_t grain, int threads, RangeFn fn) override;

 private:
  int max_threads_;
  CallerParallelFor call_;
  void* context_;
};

}  // namespace conv3d
