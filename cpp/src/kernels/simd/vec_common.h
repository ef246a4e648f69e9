// What every vec_<isa>.h shares: the inlining macro, and what keeps a vector in a register.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define CONV3D_ALWAYS_INLINE __forceinline
#else
#define CONV3D_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

namespace conv3d::CONV3D_ISA {

// A vector that was loaded, in a register: GCC loads it again for each of two or three uses.
template <class V>
static CONV3D_ALWAYS_INLINE V vkeep(V v) {
#if defined(__AVX2__) && defined(__GNUC__) && !defined(CONV3D_EMULATE_ISA)
  asm("" : "+v"(v));
#endif
  return v;
}

}  // namespace conv3d::CONV3D_ISA
