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
#include "kernels/kernel_table.h"
#include "runtime/thread_pool.h"

namespace conv3d::winograd {

// Result channels rounded up to whole vectors: what all panels of a point hold.
int64_t panel_columns(int64_t co, const KernelTable& kernels);
size_t packed_filter_floats(const Geometry& geometry, const KernelTable& kernels);
// `filter` is [kd][kh][kw][ic][oc] of the problem.
void pack_filter(const Geometry& geometry, const KernelTable& kernels, const float* filter,
                 float* packed, ThreadPool& pool, int threads);

// The transformed filter of one panel, a few source channels at a time and in order:
// packed[p][source][width of the panel], points `position` floats apart. Lanes along the channels.
// Reads what comes next while it computes. In float32, which is faster and adds a rounding or two;
// for more than three taps, whose matrices round more, as pack_filter.
class PanelFilter {
 public:
  // `lines`: scratch of lines_floats(), aligned to 64 bytes.
  PanelFilter(const Geometry& geometry, const KernelTable& kernels, const float* filter,
              int64_t panel, float* lines);
  static size_t lines_floats();
  int64_t width() const { return width_; }
  // Source channels [first, first + sources): from where the last call ended, a multiple of
  // kWinogradFilterSources or all that are left.
  void transform(int64_t first, int64_t sources, float* packed, ptrdiff_t position);

 private:
  WinogradFilterLines lines_at(int64_t source, int64_t lane) const;

  const Geometry& g_;
  const KernelTable& kernels_;
  const float* filter_;
  float* lines_;
  int64_t column_ = 0, width_ = 0;
  int turn_ = 0;
};

}  // namespace conv3d::winograd
