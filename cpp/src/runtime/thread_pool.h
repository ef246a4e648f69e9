// Splits an index range over threads. One default pool per process, created at first use, re-created after fork;
// a caller's own pool can stand in its place (conv3d_thread_pool in the C ABI).
#pragma once

#include <cstdint>

namespace conv3d {

// Non-owning reference to a callable void(int64_t begin, int64_t end, int thread). Cheap: no allocation.
class RangeFn {
 public:
  template <class F>
  RangeFn(const F& f)  // NOLINT: implicit on purpose, so that a lambda can be passed
      : object_(&f), call_([](const void* object, int64_t begin, int64_t end, int thread) {
          (*static_cast<const F*>(object))(begin, end, thread);
        }) {}
  void operator()(int64_t begin, int64_t end, int thread) const { call_(object_, begin, end, thread); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t, int64_t, int);
};

class ThreadPool {
 public:
  virtual ~ThreadPool() = default;
  // Most threads that one parallel_for may use, the caller included.
  virtual int max_threads() const = 0;
  // Calls fn over [0, n) in chunks of at least `grain`, handed out dynamically, on at most `threads` threads (the caller
  // works too). `thread` is a distinct id in [0, threads) per concurrent call: index scratch with it. Returns when all is
  // done; an exception of fn is rethrown here. Safe from many threads at once; nested calls run inline.
  virtual void parallel_for(int64_t n, int64_t grain, int threads, RangeFn fn) = 0;
};

ThreadPool& default_thread_pool();
int default_num_threads();  // CONV3D_NUM_THREADS > OMP_NUM_THREADS > min(affinity, floor(cgroup quota), physical cores)

}  // namespace conv3d
