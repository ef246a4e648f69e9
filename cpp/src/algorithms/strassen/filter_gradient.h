// backward_filter of a 1x1x1 filter by Strassen's scheme: one product of matrices, over pixels.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

// "strassen_filter_gradient".
const Algorithm& strassen_gradient_algorithm();

}  // namespace conv3d
