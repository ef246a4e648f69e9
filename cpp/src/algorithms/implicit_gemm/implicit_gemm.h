// Convolution as batch-reduce GEMM over filter taps, without im2col: pixels are read where they
// lie.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

// Forward and backward_input, every problem in float32 and float64. See correlation_plan.cpp.
const Algorithm& gemm_direct_algorithm();

// backward_filter, every problem in float32 and float64. See filter_gradient.cpp.
const Algorithm& gemm_filter_gradient_algorithm();

}  // namespace conv3d
