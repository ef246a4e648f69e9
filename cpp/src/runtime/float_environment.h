// The floating-point control word (MXCSR) while our code runs: round to nearest, exceptions masked,
// and denormals either flushed (kernels: denormal operands cost up to a hundred cycles each) or
// kept (the reference). Restored afterwards.
#pragma once

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#define CONV3D_HAS_MXCSR 1
#else
#define CONV3D_HAS_MXCSR 0
#endif

namespace conv3d {

enum class Denormals { kFlush, kKeep };

class FloatEnvironment {
 public:
  using Word = unsigned;
  explicit FloatEnvironment(Denormals denormals) : FloatEnvironment(word(denormals)) {}
  explicit FloatEnvironment(Word wanted) : saved_(current()) { set(wanted); }
  ~FloatEnvironment() { set(saved_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

  static Word word(Denormals denormals) {
    constexpr Word kMaskAll = 0x1f80, kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
    return denormals == Denormals::kFlush ? (kMaskAll | kFlushToZero | kDenormalsAreZero)
                                          : kMaskAll;
  }
#if CONV3D_HAS_MXCSR
  static Word current() { return _mm_getcsr(); }

 private:
  static void set(Word wanted) { _mm_setcsr(wanted); }
#else
  static Word current() { return 0; }

 private:
  static void set(Word) {}
#endif
  Word saved_;
};

}  // namespace conv3d
