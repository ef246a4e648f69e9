// What every vec_<isa>.h shares: the inlining macro and the vector type that belongs to an element
// type.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define CONV3D_ALWAYS_INLINE __forceinline
#else
#define CONV3D_ALWAYS_INLINE inline __attribute__((always_inline))
#endif
