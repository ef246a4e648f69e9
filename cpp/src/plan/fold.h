// The same memory described as a simpler problem.
#pragma once

#include "problem/problem.h"

namespace conv3d {

// Where the windows tile the rows of the image, kw neighbours of one row are the channels of one
// pixel, in the image as in the filter: a problem of kw * ic channels, one tap and stride 1 along
// the width. Its strided gradient has fewer phases of longer rows. Channels last, one group; other
// problems come back as they are.
Problem fold_width(const Problem& problem);

}  // namespace conv3d
