#include "runtime/fork.h"

#include <mutex>

#if defined(__unix__) || defined(__APPLE__)
#define CONV3D_POSIX 1
#include <pthread.h>
#else
#define CONV3D_POSIX 0
#endif

namespace conv3d {
namespace {

std::mutex g_building;
thread_local bool t_building = false;

#if CONV3D_POSIX
constexpr const ForkHandlers* kParts[] = {&kThreadPoolForkHandlers, &kWorkspaceForkHandlers};

void before_fork() {
  g_building.lock();
  for (const ForkHandlers* part : kParts) part->before();
}
void after_fork_in_parent() {
  for (const ForkHandlers* part : kParts) part->in_parent();
  g_building.unlock();
}
void after_fork_in_child() {
  for (const ForkHandlers* part : kParts) part->in_child();
  g_building.unlock();
}

// When the library is loaded: at a first use, a fork by another thread could be under way.
[[maybe_unused]] const int registered =
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
#endif

}  // namespace

BuildingLock::BuildingLock() : outermost_(!t_building) {
  if (outermost_) g_building.lock();
  t_building = true;
}

BuildingLock::~BuildingLock() {
  if (!outermost_) return;
  t_building = false;
  g_building.unlock();
}

}  // namespace conv3d
