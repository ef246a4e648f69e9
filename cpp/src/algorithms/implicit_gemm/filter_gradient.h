// Prepared backward_filter: block sizes and scratch.
#pragma once

#include <memory>

#include "algorithms/algorithm.h"

namespace conv3d::implicit_gemm {

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context);
double filter_gradient_cost(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::implicit_gemm
