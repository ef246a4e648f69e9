#include "plan/live_taps.h"

#include <algorithm>

#include "base/math.h"

namespace conv3d {
namespace {

// What one axis looks like, and the taps of it that are kept.
struct Axis {
  int64_t input, output, taps, stride, dilation, pad;
};
struct Kept {
  int64_t first, count;
};

// Tap t meets the pixels o * stride + t * dilation - pad of results o. The first taps are dead
// while their last pixel is negative, the last ones from where their first pixel is beyond the
// image. Padding stays non-negative, so a dilation may keep a dead tap at the front.
Kept kept(const Axis& a) {
  if (a.input == 0 || a.output == 0) return {0, a.taps};
  const int64_t last = (a.output - 1) * a.stride;
  const int64_t dead = a.pad > last ? ceil_div(a.pad - last, a.dilation) : 0;
  const int64_t first = std::min({dead, a.pad / a.dilation, a.taps - 1});
  const int64_t end = std::min(a.taps, ceil_div(a.pad + a.input, a.dilation));
  return {first, std::max<int64_t>(1, end - first)};
}

}  // namespace

LiveTaps all_taps(const Problem& p) {
  return {{p.kd, p.kh, p.kw}, {0, 0, 0}, {p.kd, p.kh, p.kw}, p.ic / p.groups * p.oc};
}

LiveTaps live_taps(const Problem& p) {
  const Axis axes[3] = {{p.id, p.od, p.kd, p.sd, p.dd, p.pd},
                        {p.ih, p.oh, p.kh, p.sh, p.dh, p.ph},
                        {p.iw, p.ow, p.kw, p.sw, p.dw, p.pw}};
  LiveTaps taps = all_taps(p);
  for (int a = 0; a < 3; ++a) {
    const Kept k = kept(axes[a]);
    taps.first[a] = k.first;
    taps.count[a] = k.count;
  }
  return taps;
}

Problem of_live_taps(const Problem& problem, const LiveTaps& taps) {
  Problem p = problem;
  // Zeros behind the image that no tap meets any more are none.
  const auto trim = [&taps](int axis, int64_t* kernel, int64_t dilation, int64_t* before,
                            int64_t* after) {
    const int64_t dropped = taps.kernel[axis] - taps.first[axis] - taps.count[axis];
    *kernel = taps.count[axis];
    *before -= taps.first[axis] * dilation;
    *after = std::max<int64_t>(0, *after - dropped * dilation);
  };
  trim(0, &p.kd, p.dd, &p.pd, &p.pd1);
  trim(1, &p.kh, p.dh, &p.ph, &p.ph1);
  trim(2, &p.kw, p.dw, &p.pw, &p.pw1);
  return p;
}

}  // namespace conv3d
