// What forward, backward_input and backward_filter of a 1x1x1 filter share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/math.h"
#include "kernels/gemm_table.h"
#include "kernels/strassen_table.h"
#include "problem/problem.h"

namespace conv3d::strassen {

// Empty if `problem` multiplies each pixel of its input (`patches`: or each of the patches that it
// is cut into) with one filter, whose channels halve, and may round a little more than the direct
// sum.
std::string why_not_halves(const Problem& problem, bool patches);

// `rows` in tiles of at most the kernels' rows, each even and as even with each other as that
// allows; `tiles` has room for (rows + 1) / 2. Returns their number.
int cut_into_tiles(int64_t rows, const StrassenTable& kernels, int* tiles);
std::vector<int> tiles_of(int64_t rows, const StrassenTable& kernels);

// k of the left operand in lines, rounded up.
inline int64_t whole_lines(int64_t k) { return ceil_div(k, kStrassenLine) * kStrassenLine; }

// kernels.sums of panels whose rows lie along memory: quarter i holds from[i][column * step + row].
void sum_turned(const StrassenTable& kernels, const GemmKernels<float>& gemm, StrassenSumsArgs args,
                ptrdiff_t step);

// The first `makes` of `asks` sums, to be made on the way of products of `parts` parts.
StrassenAhead ahead_of(const StrassenTable& kernels, const StrassenSumsArgs* sums, int makes,
                       int asks, int64_t parts);

// Parts of products of one tile with panels of so many vectors.
inline int64_t parts_of(const StrassenTable& kernels, int64_t vectors, int64_t k) {
  return kStrassenProducts * ceil_div(vectors, kernels.panel_vectors) * ceil_div(k, kStrassenLine);
}

}  // namespace conv3d::strassen
