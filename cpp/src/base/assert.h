// CONV3D_ASSERT(condition): a broken invariant of our own. Compiled out of release builds;
// otherwise throws, never aborts.
#pragma once

#include "base/status.h"

#ifdef NDEBUG
#define CONV3D_ASSERT(condition) static_cast<void>(0)
#else
#define CONV3D_ASSERT(condition)                                                              \
  static_cast<void>(                                                                          \
      (condition) ||                                                                          \
      (throw ::conv3d::Error(::conv3d::Status::kInternal,                                     \
                             std::string("broken invariant: " #condition " in ") + __FILE__), \
       false))
#endif
