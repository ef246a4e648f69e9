#include "plan/fold.h"

namespace conv3d {

Problem fold(const Problem& problem) {
  Problem p = problem;
  const bool tiled = p.kw > 1 && p.sw == p.kw && p.dw == 1 && p.pw == 0 && p.iw == p.ow * p.sw;
  if (tiled && p.groups == 1 && p.layout == Layout::kChannelsLast) {
    p.ic *= p.kw;
    p.iw = p.ow;
    p.kw = p.sw = 1;
    p.pw1 = 0;
  }
  const auto still = [](int64_t in, int64_t out, int64_t taps, int64_t stride) {
    return taps == 1 && stride == 1 && in == out;
  };
  if (!still(p.ih, p.oh, p.kh, p.sh) || !still(p.iw, p.ow, p.kw, p.sw) || p.ph != 0 || p.pw != 0)
    return p;
  p.iw = p.ow = p.ih * p.iw;
  p.ih = p.oh = 1;
  if (!still(p.id, p.od, p.kd, p.sd) || p.pd != 0) return p;
  p.iw = p.ow = p.id * p.iw;
  p.id = p.od = 1;
  return p;
}

}  // namespace conv3d
