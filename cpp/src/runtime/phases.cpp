#include "runtime/phases.h"

#include <cstdint>

#include "runtime/verbose.h"

namespace conv3d {
namespace {

std::atomic<int64_t> g_nanoseconds[kPhases];

}  // namespace

std::atomic<bool> g_phases_timed{false};

void time_phases(bool on, double seconds[kPhases]) {
  g_phases_timed.store(false, std::memory_order_relaxed);
  for (int i = 0; i < kPhases; ++i) {
    const int64_t sum = g_nanoseconds[i].exchange(0, std::memory_order_relaxed);
    if (seconds != nullptr) seconds[i] = static_cast<double>(sum) * 1e-9;
  }
  g_phases_timed.store(on, std::memory_order_relaxed);
}

double phase_now() { return now_seconds(); }

void add_to_phase(Phase phase, double start) {
  g_nanoseconds[static_cast<int>(phase)].fetch_add(
      static_cast<int64_t>((now_seconds() - start) * 1e9), std::memory_order_relaxed);
}

}  // namespace conv3d
