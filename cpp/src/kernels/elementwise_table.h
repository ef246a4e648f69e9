// Kernels of the element-wise family: sums and affine maps by channel, gradients of activations,
// exponentials, optimizers. Plain data.
#pragma once

#include <cstdint>

namespace conv3d {

// A "pattern" is a vector by channel repeated to `period` elements, the same for each row of a
// matrix [rows][period]; period is a multiple of kPatternUnit, so that every vector of every
// instruction set divides it.
constexpr int64_t kPatternUnit = 16;

enum class Pointwise : int {
  kReluGrad = 0,
  kLeakyReluGrad = 1,
  kSigmoidGrad = 2,
  kTanhGrad = 3,
  kAdd = 4
};
enum class OptimizerRule : int {
  kGradientDescent = 0,
  kMomentum = 1,
  kNesterov = 2,
  kRmsProp = 3,
  kAdam = 4,
  kNesterovAdam = 5
};

template <class T>
struct AffineArgs {  // out = x * scale + y * scale_y + shift, then max(0, .) if relu; null terms
                     // and factors are left out
  const T *x, *scale, *y, *scale_y, *shift;
  T* out;
  bool relu;
};

template <class T>
struct OptimizerArgs {
  OptimizerRule rule;
  const T *grad, *var, *slot0, *slot1;
  T *new_var, *new_slot0, *new_slot1;
  T a, b, c, d;  // by rule, see elementwise.inl
};

template <class T>
struct ElementwiseKernels {
  void (*sums)(const T* x, int64_t rows, int64_t period, T* sum);  // sum x
  void (*squares)(const T* x, const T* center, int64_t rows, int64_t period,
                  T* sum);  // sum (x - center)^2
  void (*products)(const T* x, const T* y, const T* center, int64_t rows,
                   int64_t period,           // sum x and
                   T* sum, T* sum_product);  // sum x (y - center)
  void (*affine)(const AffineArgs<T>* args, int64_t rows, int64_t period);
  void (*pointwise)(Pointwise op, const T* a, const T* b, T parameter, T* out, int64_t n);
  void (*exponential)(T* x,
                      int64_t n);  // e^x in place for x <= 0; below the normal numbers 0; NaN stays
  void (*optimizer)(const OptimizerArgs<T>* args, int64_t n);
};

struct ElementwiseTable {
  ElementwiseKernels<float> f32;
  ElementwiseKernels<double> f64;
  // `lines` of 64 bytes past the caches; both pointers aligned to a line.
  void (*stream)(void* to, const void* from, int64_t lines);
};

}  // namespace conv3d
