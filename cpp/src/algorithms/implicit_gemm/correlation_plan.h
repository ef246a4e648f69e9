// Prepared forward or backward_input: block sizes, packing and scratch of a set of correlations.
#pragma once

#include <memory>

#include "algorithms/algorithm.h"

namespace conv3d::implicit_gemm {

std::unique_ptr<Prepared> prepare_correlation(const Problem& problem, const PlanContext& context);
double correlation_cost(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::implicit_gemm
