// Prepared backward_filter of channels-first tensors from rows where they lie: blocks and scratch.
#pragma once

#include <memory>
#include <string>

#include "algorithms/algorithm.h"

namespace conv3d::planar {

// Why products of rows cannot serve `problem`; empty if they can.
std::string why_not_filter_gradient(const Problem& problem);
std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context);
double filter_gradient_cost(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::planar
