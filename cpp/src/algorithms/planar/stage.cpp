#include "algorithms/planar/stage.h"

#include <algorithm>

namespace conv3d::planar {

StageAxis make_stage_axis(const AxisTaps& axis, int64_t block) {
  const int64_t span = (block - 1) * axis.stride + (axis.taps - 1) * axis.dilation + 1;
  if (block * axis.taps < span) return {block * axis.taps, block, 1, true, block};
  return {span, axis.dilation, axis.stride, false, block};
}

int64_t StageAxis::source(const AxisTaps& axis, int64_t first, int64_t slot) const {
  const int64_t start = first * axis.stride + axis.origin;
  return by_tap ? start + slot % block * axis.stride + slot / block * axis.dilation : start + slot;
}

StageWidth make_stage_width(const AxisTaps& axis, int64_t block, bool split) {
  StageWidth w{};
  const int64_t taps = axis.taps, reach = (taps - 1) * axis.dilation;
  w.line.resize(static_cast<size_t>(taps));
  w.shift.resize(static_cast<size_t>(taps));
  w.step = split ? axis.stride : 1;
  w.result_step = split ? 1 : axis.stride;
  const int64_t one_tap = (block - 1) * w.result_step + 1;
  // Lines by residue of the tap's source index, each as long as its farthest tap needs.
  std::vector<int64_t> residue_line(static_cast<size_t>(std::min(w.step, reach + 1)), -1);
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t at = t * axis.dilation;
    int64_t& line = residue_line[static_cast<size_t>(at % w.step)];
    if (line < 0) {
      line = static_cast<int64_t>(w.start.size());
      w.start.push_back(at % w.step);
    }
    w.line[static_cast<size_t>(t)] = line;
    w.shift[static_cast<size_t>(t)] = at / w.step;
  }
  w.max_shift = reach / w.step;
  w.length = one_tap + w.max_shift;
  if (taps * one_tap < static_cast<int64_t>(w.start.size()) * w.length) {
    w.start.clear();
    for (int64_t t = 0; t < taps; ++t) {
      w.start.push_back(t * axis.dilation);
      w.line[static_cast<size_t>(t)] = t;
      w.shift[static_cast<size_t>(t)] = 0;
    }
    w.max_shift = 0;
    w.length = one_tap;
  }
  w.residues = static_cast<int64_t>(w.start.size()) == w.step;
  for (size_t l = 0; l < w.start.size(); ++l)
    w.residues = w.residues && w.start[l] == static_cast<int64_t>(l);
  return w;
}

}  // namespace conv3d::planar
