// Output extents and padding of one axis: the rules of TensorFlow 1.x, shared by
// convolution and pooling.
#pragma once

#include <cstdint>
#include <string>

#include "problem/problem.h"

namespace conv3d {

// One spatial axis with everything known.
struct Axis {
  int64_t output, pad_before, pad_after;
};

// effective = (kernel - 1) * dilation + 1
//   SAME:     output = ceil(n / stride), total = max((output - 1) * stride + effective - n, 0),
//             the odd cell at the end
//   VALID:    output = floor((n - effective) / stride) + 1; a kernel larger than the input is
//             refused
//   explicit: VALID over the input with its padding
// `kernel_name` ("filter", "pool_size") and `axis` ("depth") go into messages. Throws
// Error{kInvalidArgument}.
Axis resolve_axis(const char* kernel_name, const char* axis, int64_t n, int64_t kernel,
                  int64_t stride, int64_t dilation, Padding padding, int64_t pad_before,
                  int64_t pad_after);

inline constexpr const char* kAxisNames[3] = {"depth", "height", "width"};

std::string to_string(const Extent3& extent);  // "(3, 3, 3)"

}  // namespace conv3d
