// Direct summation in double: the oracle of the tests and the last resort. Serves every problem.
#pragma once

#include "algorithms/algorithm.h"

namespace conv3d {

const Algorithm& reference_algorithm();

}  // namespace conv3d
