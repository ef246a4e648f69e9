// What makes the library usable in a child of fork: all of its locks are free there, and nothing is
// half built.
#pragma once

#include <atomic>

namespace conv3d {

// Held by the thread that builds something, and across a fork. Re-entrant: building one thing may
// be the first use of another.
class BuildingLock {
 public:
  BuildingLock();
  ~BuildingLock();
  BuildingLock(const BuildingLock&) = delete;
  BuildingLock& operator=(const BuildingLock&) = delete;

 private:
  const bool outermost_;
};

// A value of static storage that is built at its first use and never destroyed: a call may be
// running at exit. A static of a function would do but for fork: in the child of a fork that fell
// into another thread's first use, it waits for that thread, which is not there.
template <class T>
class FirstUse {
 public:
  constexpr FirstUse() = default;
  FirstUse(const FirstUse&) = delete;
  FirstUse& operator=(const FirstUse&) = delete;

  // build() returns the value and calls no code of the application's, which might wait for another
  // thread's first use. What it throws leaves nothing behind, and the next use tries again.
  template <class Build>
  T& get(const Build& build) {
    T* value = value_.load(std::memory_order_acquire);
    if (value != nullptr) return *value;
    const BuildingLock lock;
    value = value_.load(std::memory_order_relaxed);
    if (value == nullptr) {
      value = new T(build());
      value_.store(value, std::memory_order_release);
    }
    return *value;
  }

  T* if_built() const { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<T*> value_{nullptr};
};

// What a part with a lock of its own does about a fork: takes it before, frees it on both sides.
// Nothing is built, and no code of the application's called, with such a lock held.
struct ForkHandlers {
  void (*before)();
  void (*in_parent)();
  void (*in_child)();
};
extern const ForkHandlers kThreadPoolForkHandlers;  // thread_pool.cpp
extern const ForkHandlers kWorkspaceForkHandlers;   // workspace.cpp

}  // namespace conv3d
