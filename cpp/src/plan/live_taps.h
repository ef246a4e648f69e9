// The taps of a filter that meet a pixel. Where a volume is thinner than the kernel, as in the last
// stage of a network of short clips, the outer planes of the filter meet padding alone: one plane
// of depth leaves one tap of three. Algorithms see the problem of the live taps; the filter's dead
// ones are neither read nor packed, and their gradient is zero.
#pragma once

#include <cstdint>

#include "problem/problem.h"

namespace conv3d {

// A box within the filter [kd][kh][kw][ic / groups][oc].
struct LiveTaps {
  int64_t kernel[3], first[3], count[3];
  int64_t channels;  // elements of a tap

  bool all() const {
    return count[0] == kernel[0] && count[1] == kernel[1] && count[2] == kernel[2];
  }
  // The live taps lie in one piece from offset().
  bool contiguous() const {
    const bool rows = count[2] == kernel[2] || (count[0] == 1 && count[1] == 1);
    return rows && (count[1] == kernel[1] || count[0] == 1);
  }
  int64_t elements() const { return count[0] * count[1] * count[2] * channels; }
  int64_t offset() const { return at(0, 0); }
  // Calls fn(offset in the filter, offset in the live taps, elements) for each piece.
  template <class F>
  void for_each_piece(const F& fn) const {
    if (contiguous()) return fn(offset(), int64_t{0}, elements());
    const int64_t row = count[2] * channels;
    for (int64_t d = 0; d < count[0]; ++d)
      for (int64_t h = 0; h < count[1]; ++h) fn(at(d, h), (d * count[1] + h) * row, row);
  }

 private:
  int64_t at(int64_t d, int64_t h) const {
    return (((first[0] + d) * kernel[1] + first[1] + h) * kernel[2] + first[2]) * channels;
  }
};

LiveTaps all_taps(const Problem& problem);
// At least one tap of every axis. Dead taps between live ones stay.
LiveTaps live_taps(const Problem& problem);

// The problem of those taps: the same results.
Problem of_live_taps(const Problem& problem, const LiveTaps& taps);

}  // namespace conv3d
