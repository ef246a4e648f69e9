// The Winograd entries of the registry for backward_filter, and the way to prepare one with
// blocking of one's own (tests, tuning).
#pragma once

#include <memory>

#include "algorithms/algorithm.h"
#include "algorithms/winograd/filter_gradient_blocking.h"

namespace conv3d {

// winograd_gradient_f4x4x4, winograd_gradient_f2x4x4, ...: one entry per tile shape.
AlgorithmList winograd_gradient_algorithms();

namespace winograd {
std::unique_ptr<Prepared> prepare_gradient(const Problem& problem, const PlanContext& context,
                                           TileShape shape, const GradientBlocking& blocking);
}

}  // namespace conv3d
