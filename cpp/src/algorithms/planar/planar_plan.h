// Prepared forward or backward_input over staged rows: block sizes, packing and scratch.
#pragma once

#include <memory>
#include <string>

#include "algorithms/algorithm.h"

namespace conv3d::planar {

// Why staged rows cannot serve `problem` (forward or backward_input in float32 or float64); empty
// if they can.
std::string why_not_planar(const Problem& problem);
std::unique_ptr<Prepared> prepare_planar(const Problem& problem, const PlanContext& context);
double planar_cost(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::planar
