// A pooling problem in normal form.
//
//   output[n, o, c] = reduce over window cells k of input[n, o * s - p + k, c], without the cells
//                     of the padding
#pragma once

#include <string>

#include "problem/problem.h"

namespace conv3d {

// What a caller says. Nothing in it is trusted; make_pool_problem turns it into a PoolProblem or
// throws.
struct PoolSpec {
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kChannelsLast;
  Padding padding = Padding::kValid;
  int64_t batch = 1, channels = 0;
  Extent3 input{}, window{}, stride{1, 1, 1};
  Extent3 pad_before{},
      pad_after{};  // read only when padding is kExplicit; smaller than the window
};

// A checked problem: every window meets at least one cell of the input.
struct PoolProblem {
  DType dtype;
  Layout layout;
  int64_t mb, channels;
  Extent3 input, output, window, stride, pad;  // pad: cells before

  int64_t input_voxels() const { return input[0] * input[1] * input[2]; }  // of one sample
  int64_t output_voxels() const { return output[0] * output[1] * output[2]; }
};

// Throws Error{kInvalidArgument | kOutOfMemory | kUnsupported}: pooling computes in float32 and
// float64.
PoolProblem make_pool_problem(const PoolSpec& spec);

}  // namespace conv3d
