// The geometry that forward and backward_input share: dense correlations without holes.
//
//   result[first + step * o] = act(bias + sum over taps t and source channels of
//                                  source[o * stride + origin + t * dilation] *
//                                  filter[tap_first + t * tap_step])
//
// per axis, zeros outside the source. Forward is one correlation. backward_input with stride s is
// one per phase (the results of index r modulo s per axis): a tap takes part in exactly one phase,
// so no zero is ever inserted or multiplied.
#pragma once

#include <cstdint>
#include <vector>

#include "problem/problem.h"

namespace conv3d::implicit_gemm {

struct AxisTaps {
  int64_t outputs;                   // results of this correlation along the axis
  int64_t first, step;               // their indices in the result
  int64_t inputs;                    // extent of the source
  int64_t stride, origin, dilation;  // source index of output o and tap t
  int64_t taps;
  int64_t tap_first, tap_step;  // filter index of tap t

  // Taps [begin, end) that meet the source at output o; empty if begin >= end.
  int64_t tap_begin(int64_t o) const;
  int64_t tap_end(int64_t o) const;
  // One tap at stride one over the same extent: the axis can be joined with its neighbour.
  bool is_identity() const;
};

// Outputs [begin, end) along an axis that meet the same taps.
struct TapClass {
  int64_t begin, end;
  int64_t tap_begin, tap_end;
};
// The classes of outputs [begin, end) in order.
std::vector<TapClass> tap_classes(const AxisTaps& axis, int64_t begin, int64_t end);

struct Correlation {
  AxisTaps d, h, w;
};

// A whole operation.
struct CorrelationProblem {
  std::vector<Correlation> parts;  // each has at least one tap; no result belongs to two
  bool complete;                   // every result belongs to a part; else the others are act(bias)
  bool backward;                   // source is grad_output, result is grad_input
  int64_t source_channels, result_channels;  // totals
  int64_t groups;
  int64_t source_row, source_plane,
      source_voxels;  // pixels of the source's rows, planes and samples
  int64_t result_row, result_plane, result_voxels;
};

// `problem` is forward or backward_input.
CorrelationProblem make_correlations(const Problem& problem);

}  // namespace conv3d::implicit_gemm
