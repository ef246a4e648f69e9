// What is done to finished sums while they are in registers: bias and activation.
//
// Sigmoid and tanh rest on one exp(r) - 1: x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite's
// two-part ln 2), Taylor to r^7 (float) or r^13 (double), whose remainders (1.5e-8 and 1.2e-17 of
// the result) are below half a unit in the last place. Measured over the whole range against long
// double: at most 4 units in the last place for results that are normal numbers.
//
// Included by isa_*.cpp after a simd/vec_*.h.

namespace conv3d::CONV3D_ISA {

// Values of Activation in problem/problem.h.
static constexpr int kActNone = 0, kActRelu = 1, kActLeakyRelu = 2, kActSigmoid = 3, kActTanh = 4;

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  using Type = VecF;
  static constexpr int kLanes = kLanesF, kSquare = kSquareF;  // of a transposition
  static constexpr int kTerms = 7;
  static constexpr float kLog2E = 1.44269504f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  static constexpr float kExpMax = 87.0f;       // e^87 and its inverse are normal numbers
};
template <>
struct VecOf<double> {
  using Type = VecD;
  static constexpr int kLanes = kLanesD, kSquare = kSquareD;
  static constexpr int kTerms = 13;
  static constexpr double kLog2E = 1.4426950408889634, kLn2High = 0.693145751953125,
                          kLn2Low = 1.42860682030941723212e-6;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kExpMax = 708.0;
};
template <class T>
using Vec = typename VecOf<T>::Type;

// scale = 2^n and rest = e^r - 1, so that e^x = scale * (1 + rest). |x| <= kExpMax.
template <class T>
static CONV3D_ALWAYS_INLINE void exp_parts(Vec<T> x, Vec<T>* scale, Vec<T>* rest) {
  using C = VecOf<T>;
  const Vec<T> n = vsub(vadd(vmul(x, vset(C::kLog2E)), vset(C::kRound)), vset(C::kRound));
  const Vec<T> r = vfnma(n, vset(C::kLn2Low), vfnma(n, vset(C::kLn2High), x));
  T factorial[C::kTerms + 1] = {1};
  for (int i = 1; i <= C::kTerms; ++i) factorial[i] = factorial[i - 1] * static_cast<T>(i);
  Vec<T> sum = vset(1 / factorial[C::kTerms]);
#pragma GCC unroll 16
  for (int i = C::kTerms - 1; i >= 2; --i) sum = vfma(sum, r, vset(1 / factorial[i]));
  *rest = vfma(vmul(r, r), sum, r);
  *scale = vpow2(n);
}

template <class T>
static CONV3D_ALWAYS_INLINE Vec<T> vsigmoid(Vec<T> x) {
  const T limit = VecOf<T>::kExpMax;
  Vec<T> scale, rest;
  exp_parts<T>(vmax(vset(-limit), vmin(vset(limit), x)), &scale, &rest);
  const Vec<T> e = vfma(scale, rest, scale);
  return vdiv(e, vadd(vset(T(1)), e));
}

template <class T>
static CONV3D_ALWAYS_INLINE Vec<T> vtanh(Vec<T> x) {
  const T limit = VecOf<T>::kExpMax / 4;  // tanh is 1 long before
  Vec<T> scale, rest;
  exp_parts<T>(vmul(vset(T(-2)), vmin(vset(limit), vabs(x))), &scale, &rest);
  const Vec<T> e = vfma(scale, rest, vsub(scale, vset(T(1))));  // e^(-2|x|) - 1, exact near 0
  return vcopysign(vdiv(e, vadd(vset(T(2)), e)), x);
}

template <class T>
static CONV3D_ALWAYS_INLINE Vec<T> activate_vec(Vec<T> y, int activation, T alpha) {
  const Vec<T> zero = vset(T(0));
  switch (activation) {
    case kActRelu: return vmax(zero, y);
    case kActLeakyRelu: return vfma(vset(alpha), vmin(zero, y), vmax(zero, y));
    case kActSigmoid: return vsigmoid<T>(y);
    case kActTanh: return vtanh<T>(y);
    default: return y;
  }
}
static CONV3D_ALWAYS_INLINE VecF activate(VecF y, int activation, float alpha) {
  return activate_vec<float>(y, activation, alpha);
}

// n elements in place.
template <class T>
static void activate_row(T* y, int64_t n, int activation, T alpha) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    vstore(y + i, activate_vec<T>(vload(y + i), activation, alpha));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) vstore_n(y + i, rest, activate_vec<T>(vload_n(y + i, rest), activation, alpha));
}

}  // namespace conv3d::CONV3D_ISA
