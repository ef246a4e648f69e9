// Convolution over staged rows: rows of the source are copied into scratch with their borders, and
// a table of offsets makes all taps and channels of a result pixel one long sum.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

// Forward and backward_input in float32 and float64. See planar_plan.cpp.
const Algorithm& planar_algorithm();
// backward_filter of filters of width 1, channels first. See filter_gradient.cpp.
const Algorithm& planar_filter_gradient_algorithm();

}  // namespace conv3d
