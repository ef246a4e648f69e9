// The same memory described as a simpler problem.
#pragma once

#include "problem/problem.h"

namespace conv3d {

// Problems that come back as they are but for these, in either order:
// - Where nothing moves along the height and the width, a plane is one long row; and a volume,
// where
//   nothing moves along the depth either.
// - Where the windows tile the rows of the image, kw neighbours of one row are the channels of one
//   pixel, in the image as in the filter: a problem of kw * ic channels, one tap and stride 1 along
//   the width. Its strided gradient has fewer phases of longer rows. Channels last, one group.
Problem fold(const Problem& problem);

}  // namespace conv3d
