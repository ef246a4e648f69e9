#include "plan/fold.h"

namespace conv3d {

Problem fold_width(const Problem& problem) {
  Problem p = problem;
  const bool tiled = p.kw > 1 && p.sw == p.kw && p.dw == 1 && p.pw == 0 && p.iw == p.ow * p.sw;
  if (!tiled || p.groups != 1 || p.layout != Layout::kChannelsLast) return p;
  p.ic *= p.kw;
  p.iw = p.ow;
  p.kw = p.sw = 1;
  p.pw1 = 0;
  return p;
}

}  // namespace conv3d
