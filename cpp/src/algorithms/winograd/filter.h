// The packed filter of the Winograd path: (G x G x G) g per pair of channels, computed in
// float64 and rounded once.
//
//   packed[p][panel][ci][nr]     p = point, panel = group of nr result channels; the last is as
//                                wide as it needs, in whole vectors, with zeros beyond the last
//                                channel
//   packed[p][ci / 16][co][16]   lanes along the pixels; zeros beyond the last source channel
#pragma once

#include <cstddef>

#include "algorithms/winograd/geometry.h"
#include "runtime/thread_pool.h"

namespace conv3d {
struct KernelTable;
}

namespace conv3d::winograd {

// Result channels rounded up to whole vectors: what all panels of a point hold.
int64_t panel_columns(int64_t co, const KernelTable& kernels);
size_t packed_filter_floats(const Geometry& geometry, const KernelTable& kernels);
// `filter` is [kd][kh][kw][ic][oc] of the problem.
void pack_filter(const Geometry& geometry, const KernelTable& kernels, const float* filter,
                 float* packed, ThreadPool& pool, int threads);

}  // namespace conv3d::winograd
