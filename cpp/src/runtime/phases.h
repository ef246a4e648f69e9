// Where a convolution's time goes: seconds of all threads together, by phase. Off unless asked for;
// a phase that is not timed costs one load.
#pragma once

#include <atomic>

namespace conv3d {

enum class Phase : int {
  kPack,       // the filter into the form that the algorithm wants
  kTransform,  // what is read, into the form that is multiplied: Winograd's forward transform,
               // staging, transposition
  kMultiply,   // multiply-adds, and what is done between them
  kInverse,    // Winograd's inverse transform, transposition of the result; bias and activation
};
inline constexpr int kPhases = 4;

extern std::atomic<bool> g_phases_timed;

// Starts a new measurement, or ends it; in both cases the sums so far are written to `seconds`
// unless it is null.
void time_phases(bool on, double seconds[kPhases]);

void add_to_phase(Phase phase, double start);
double phase_now();

// The time from here to the end of the scope.
class PhaseTimer {
 public:
  explicit PhaseTimer(Phase phase)
      : phase_(phase),
        start_(g_phases_timed.load(std::memory_order_relaxed) ? phase_now() : -1.0) {}
  ~PhaseTimer() {
    if (start_ >= 0) add_to_phase(phase_, start_);
  }
  PhaseTimer(const PhaseTimer&) = delete;
  PhaseTimer& operator=(const PhaseTimer&) = delete;

 private:
  Phase phase_;
  double start_;
};

}  // namespace conv3d
