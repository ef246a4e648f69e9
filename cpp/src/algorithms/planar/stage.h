// Where the source rows that a block of results reads lie in scratch.
//
// Along depth and height the block has slots for planes and rows: either all between the first and
// the last that it reads, or one for each tap and result where that is fewer (wide dilations, and
// strides beyond the kernel). Along the width a slot has lines; line l holds the source pixels
// start[l], start[l] + step, ...: one line as it lies in the source, one for each residue of the
// stride, so that the pixels that a tap reads for neighbouring results are neighbours, or one for
// each tap.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms/implicit_gemm/correlation.h"

namespace conv3d::planar {

using implicit_gemm::AxisTaps;

struct StageAxis {
  int64_t slots;        // of a whole block
  int64_t tap_step;     // slots from tap to tap
  int64_t result_step;  // slots from result to result
  // by_tap: slot = tap * block + result; else slot = source index - the first one.
  bool by_tap;
  int64_t block;

  // Source index of a slot of the block that begins at result `first`.
  int64_t source(const AxisTaps& axis, int64_t first, int64_t slot) const;
};
StageAxis make_stage_axis(const AxisTaps& axis, int64_t block);

struct StageWidth {
  int64_t step;  // of the source from pixel to pixel of a line
  std::vector<int64_t>
      start;  // per line, relative to the source index of tap 0 of the first result
  std::vector<int64_t> line, shift;  // per tap: its line, and its pixel for the first result
  int64_t result_step;               // pixels of a line from result to result
  int64_t length;                    // pixels of a line that a block of results reads
  int64_t max_shift;
  bool residues;  // lines are start 0, 1, ..., step - 1: one pass over the source fills all
};
// `split`: neighbouring results read neighbouring pixels, whatever the stride.
StageWidth make_stage_width(const AxisTaps& axis, int64_t block, bool split);

}  // namespace conv3d::planar
