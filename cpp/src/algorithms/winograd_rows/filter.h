// The packed filter: G along the width for each depth tap, height tap and pair of channels,
// computed in float64 and rounded once.
//
//   packed[point][panel][depth tap][height tap][ci][width]    zeros beyond the last channel
#pragma once

#include <cstddef>

#include "algorithms/winograd_rows/blocking.h"
#include "runtime/thread_pool.h"

namespace conv3d::winograd_rows {

size_t packed_filter_floats(const Geometry& geometry, const Blocking& blocking);
// `filter` is [kd][kh][kw][ic][oc] of the problem.
void pack_filter(const Geometry& geometry, const Blocking& blocking, const Problem& problem,
                 const float* filter, float* packed, ThreadPool& pool, int threads);

}  // namespace conv3d::winograd_rows
