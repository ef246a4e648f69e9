// Splits an index range over threads. One default pool per process, created at first
// use, re-created after fork; a caller's own pool can stand in its place
// (conv3d_thread_pool in the C ABI).
#pragma once

#include <cstdint>

namespace conv3d {

// What this thread wrote past the caches is seen by others before what it writes from now on. Once
// a range, by RangeFn: a fence waits for memory, and between blocks of some kilobytes it cost a
// quarter of the time.
void publish_streamed_stores();

// Non-owning reference to a callable void(int64_t begin, int64_t end, int thread).
// Cheap: no allocation.
class RangeFn {
 public:
  template <class F>
  RangeFn(const F& f)  // NOLINT: implicit on purpose, so that a lambda can be passed
      : object_(&f), call_([](const void* object, int64_t begin, int64_t end, int thread) {
          (*static_cast<const F*>(object))(begin, end, thread);
        }) {}
  void operator()(int64_t begin, int64_t end, int thread) const {
    call_(object_, begin, end, thread);
    publish_streamed_stores();
  }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int64_t, int);
};

class ThreadPool {
 public:
  virtual ~ThreadPool() = default;
  // Most threads that one parallel_for may use, the caller included.
  virtual int max_threads() const = 0;
  // Calls fn over [0, n) in chunks of at least `grain`, handed out dynamically, on at most
  // `threads` threads (the caller works too). `thread` is a distinct id in [0, threads) per
  // concurrent call: index scratch with it. Returns when all is done; an exception of fn is
  // rethrown here (the first one; chunks not yet begun are dropped). Safe from many threads at
  // once; nested calls run inline. fn runs under the caller's floating-point control word.
  virtual void parallel_for(int64_t n, int64_t grain, int threads, RangeFn fn) = 0;
};

// The process's own pool: threads sleep when there is no work, serve any number of callers, block
// all signals, and are never joined, so that leaving the process is safe at any moment. If threads
// cannot be had, callers work alone.
ThreadPool& default_thread_pool();
int default_num_threads();  // CONV3D_NUM_THREADS > OMP_NUM_THREADS > min(affinity, floor(cgroup
                            // quota), physical cores)

// What calls use that do not say how many threads they want. Starts as default_num_threads().
int get_num_threads();
void set_num_threads(int threads);  // clamped to [1, kMaxThreads]

// For tests: from now on creating a worker thread fails, as it does under RLIMIT_NPROC or seccomp.
void fail_thread_creation_for_testing(bool fail);

}  // namespace conv3d
