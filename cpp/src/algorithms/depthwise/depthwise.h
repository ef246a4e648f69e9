// Depthwise convolution: as many groups as channels, so every channel is filtered by itself.
// Vectors run along channels; there is nothing to sum over but taps.
#pragma once

#include <memory>

#include "algorithms/algorithm.h"

namespace conv3d {

const Algorithm& depthwise_algorithm();                  // forward and backward_input
const Algorithm& depthwise_filter_gradient_algorithm();  // backward_filter

namespace depthwise {

std::unique_ptr<Prepared> prepare_filter_gradient(const Problem& problem,
                                                  const PlanContext& context);

// Why neither direction serves the problem, or nothing.
std::string why_not(const Problem& problem);
// Multiply-adds at `efficiency` of the peak of the vectors' used lanes, or the memory traffic.
double cost(const Problem& problem, const PlanContext& context, double efficiency);

}  // namespace depthwise
}  // namespace conv3d
