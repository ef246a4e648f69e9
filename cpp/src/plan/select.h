// Which algorithm serves a problem: walks the registry, asks why_not() and cost(),
// honours a forced name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "plan/live_taps.h"
#include "problem/problem.h"

namespace conv3d {

// What was asked and answered; kept for explain().
struct Candidate {
  std::string name, family;
  double seconds;      // estimated for one sample on one thread; negative if it cannot serve
  std::string reason;  // why not, or how its arrays are converted; empty otherwise
};

struct Selection {
  const Algorithm* algorithm;
  const KernelTable* kernels;
  Problem inner;  // what the algorithm is given: the problem of the live taps, possibly folded, in
                  // channels-last layout and in float32
  LiveTaps taps;  // of the problem's filter, that are the inner problem's
  std::unique_ptr<Prepared> prepared;
  std::string why;
  std::vector<Candidate> candidates;
};

// The largest max|error| / max|output| that accuracy "default" allows in float32.
inline constexpr double kDefaultErrorBound = 1e-5;

// The instruction set is that of context.kernels or one below it: where channels leave wide vectors
// half empty, or where wide vectors are computed in two halves, narrower ones are no slower.
// `forced` is "auto", a family or a name; "auto" obeys CONV3D_ALGORITHM. The answer depends on one
// sample and the filter, never on batch or threads, so that results do not either.
// Throws Error{kInvalidArgument} for an unknown name, Error{kUnsupported} if a forced algorithm
// cannot serve the problem.
Selection select_algorithm(const Problem& problem, const PlanContext& context,
                           const std::string& forced);

}  // namespace conv3d
