// Channels first, windows that do not overlap (strides at least as long as the kernel).
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

const Algorithm& patches_algorithm();                  // forward and backward_input
const Algorithm& patches_filter_gradient_algorithm();  // backward_filter

}  // namespace conv3d
