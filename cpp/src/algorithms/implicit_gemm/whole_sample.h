// Channels-first problems whose filter covers a whole sample: patch embeddings called with the
// patches as the batch. The sample is one contiguous row of k, so the operation is a plain GEMM
// over samples and nothing needs to be transposed.
#pragma once

#include <memory>

#include "algorithms/algorithm.h"

namespace conv3d::implicit_gemm {

// Whether `problem` (forward or backward_input) is of this kind.
bool is_whole_sample(const Problem& problem);
// The same sums as a 1x1x1 problem over one pixel of all channels and voxels.
Problem as_one_pixel(const Problem& problem);
std::unique_ptr<Prepared> prepare_whole_sample(const Problem& problem, const PlanContext& context);

}  // namespace conv3d::implicit_gemm
