// Prepared filter gradient of windows that do not overlap.
#pragma once

#include <memory>

#include "algorithms/algorithm.h"

namespace conv3d::patches {

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context);
double filter_gradient_cost(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::patches
