// The entries of the registry for backward_filter by Winograd along the width.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

// winograd_rows_gradient_m4, winograd_rows_gradient_m2
AlgorithmList winograd_rows_gradient_algorithms();

}  // namespace conv3d
