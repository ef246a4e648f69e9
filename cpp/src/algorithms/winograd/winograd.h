// The Winograd entries of the registry, and the way to prepare one with blocking of
// one's own (tests, tuning).
#pragma once

#include <memory>

#include "algorithms/algorithm.h"
#include "algorithms/winograd/blocking.h"

namespace conv3d {

// winograd_f4x4x4, winograd_f2x4x4, ...: one entry per tile shape.
AlgorithmList winograd_algorithms();

namespace winograd {
std::unique_ptr<Prepared> prepare(const Problem& problem, const PlanContext& context,
                                  const Geometry& geometry, const Blocking& blocking);
}

}  // namespace conv3d
