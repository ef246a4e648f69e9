// Forward and backward_input of a 1x1x1 filter, and forward of one as large as its strides, by
// Strassen's scheme: products of matrices, block by block of one sample's pixels.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

// "strassen".
const Algorithm& strassen_algorithm();

}  // namespace conv3d
