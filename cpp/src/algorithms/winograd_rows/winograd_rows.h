// The entries of the registry for Winograd along the width, and the way to prepare one with
// blocking of one's own (tests, tuning).
#pragma once

#include <memory>

#include "algorithms/algorithm.h"
#include "algorithms/winograd_rows/blocking.h"

namespace conv3d {

// winograd_rows_m4, winograd_rows_m6, ...: one entry per number of outputs of a tile.
AlgorithmList winograd_rows_algorithms();

namespace winograd_rows {
std::unique_ptr<Prepared> prepare(const Problem& problem, const PlanContext& context, int m,
                                  const Blocking& blocking);
}

}  // namespace conv3d
