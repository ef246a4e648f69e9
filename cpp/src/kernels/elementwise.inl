// Element-wise kernels and sums by column. All are bound by memory or by the latency of an
// addition.
//
// Matrices are [rows][period], dense; arrays of one row ("patterns") are read again for each row
// and stay in L1. Additions and multiplications are rounded one by one, as the separate ops would
// round them. Nothing may alias but `out` with an input of the same elements.
//
// Included by isa_*.cpp after a simd/vec_*.h, epilogue.inl and pooling.inl.

#include "kernels/elementwise_table.h"

namespace conv3d::CONV3D_ISA {

// f(first column, vectors) for blocks of four vectors, then single ones.
template <class T, class F>
static CONV3D_ALWAYS_INLINE void for_columns(int64_t period, const F& f) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t j = 0;
  for (; j + 4 * kLanes <= period; j += 4 * kLanes) f.template operator()<4>(j);
  for (; j < period; j += kLanes) f.template operator()<1>(j);
}

template <class T>
static void column_sums(const T* x, int64_t rows, int64_t period, T* sum) {
  constexpr int kLanes = VecOf<T>::kLanes;
  for_columns<T>(period, [&]<int kVectors>(int64_t j) {
    Vec<T> total[kVectors];
    for (int v = 0; v < kVectors; ++v) total[v] = vset(T(0));
    const T* p = x + j;
    for (int64_t row = 0; row < rows; ++row, p += period)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) total[v] = vadd(total[v], vload(p + v * kLanes));
    for (int v = 0; v < kVectors; ++v) vstore(sum + j + v * kLanes, total[v]);
  });
}

template <class T>
static void column_squares(const T* x, const T* center, int64_t rows, int64_t period, T* sum) {
  constexpr int kLanes = VecOf<T>::kLanes;
  for_columns<T>(period, [&]<int kVectors>(int64_t j) {
    Vec<T> total[kVectors], c[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      total[v] = vset(T(0));
      c[v] = vload(center + j + v * kLanes);
    }
    const T* p = x + j;
    for (int64_t row = 0; row < rows; ++row, p += period)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Vec<T> d = vsub(vload(p + v * kLanes), c[v]);
        total[v] = vfma(d, d, total[v]);
      }
    for (int v = 0; v < kVectors; ++v) vstore(sum + j + v * kLanes, total[v]);
  });
}

template <class T>
static void column_products(const T* x, const T* y, const T* center, int64_t rows, int64_t period,
                            T* sum, T* sum_product) {
  constexpr int kLanes = VecOf<T>::kLanes;
  for_columns<T>(period, [&]<int kVectors>(int64_t j) {
    Vec<T> total[kVectors], product[kVectors], c[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      total[v] = product[v] = vset(T(0));
      c[v] = vload(center + j + v * kLanes);
    }
    const T *p = x + j, *q = y + j;
    for (int64_t row = 0; row < rows; ++row, p += period, q += period)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const Vec<T> a = vload(p + v * kLanes);
        total[v] = vadd(total[v], a);
        product[v] = vfma(a, vsub(vload(q + v * kLanes), c[v]), product[v]);
      }
    for (int v = 0; v < kVectors; ++v) {
      vstore(sum + j + v * kLanes, total[v]);
      vstore(sum_product + j + v * kLanes, product[v]);
    }
  });
}

template <class T, bool kScale, bool kSecond, bool kShift, bool kRelu>
static void affine_rows(const AffineArgs<T>& a, int64_t rows, int64_t period) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const Vec<T> zero = vset(T(0));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * period;
    for (int64_t j = 0; j < period; j += kLanes) {
      Vec<T> v = vload(a.x + at + j);
      if constexpr (kScale) v = vmul(v, vload(a.scale + j));
      if constexpr (kSecond) v = vadd(v, vmul(vload(a.y + at + j), vload(a.scale_y + j)));
      if constexpr (kShift) v = vadd(v, vload(a.shift + j));
      if constexpr (kRelu) v = vmax(zero, v);
      vstore(a.out + at + j, v);
    }
  }
}

template <class T>
static void affine(const AffineArgs<T>* args, int64_t rows, int64_t period) {
  const AffineArgs<T>& a = *args;
  const auto with_relu = [&]<bool kScale, bool kSecond, bool kShift>() {
    if (a.relu) {
      affine_rows<T, kScale, kSecond, kShift, true>(a, rows, period);
    } else {
      affine_rows<T, kScale, kSecond, kShift, false>(a, rows, period);
    }
  };
  const auto with_shift = [&]<bool kScale, bool kSecond>() {
    if (a.shift != nullptr) {
      with_relu.template operator()<kScale, kSecond, true>();
    } else {
      with_relu.template operator()<kScale, kSecond, false>();
    }
  };
  if (a.y != nullptr) {
    with_shift.template operator()<true, true>();
  } else if (a.scale != nullptr) {
    with_shift.template operator()<true, false>();
  } else {
    with_shift.template operator()<false, false>();
  }
}

template <class T>
static void pointwise(Pointwise op, const T* a, const T* b, T parameter, T* out, int64_t n) {
  const Vec<T> zero = vset(T(0)), one = vset(T(1));
  const auto each = [&](const auto& f) {
    for_vectors<T>(n, [&](int64_t at, int lanes) {
      store_some<T>(out + at, lanes, f(load_some<T>(a + at, lanes), load_some<T>(b + at, lanes)));
    });
  };
  switch (op) {
    case Pointwise::kReluGrad:  // a where b > 0; vmax(b, 0) is 0 for a NaN
      each([&](Vec<T> g, Vec<T> y) { return vselect_equal(vmax(y, zero), zero, zero, g); });
      break;
    case Pointwise::kLeakyReluGrad:
      each([&](Vec<T> g, Vec<T> x) {
        return vselect_equal(vmax(x, zero), zero, vmul(g, vset(parameter)), g);
      });
      break;
    case Pointwise::kSigmoidGrad:
      each([&](Vec<T> g, Vec<T> y) { return vmul(g, vmul(y, vsub(one, y))); });
      break;
    case Pointwise::kTanhGrad:
      each([&](Vec<T> g, Vec<T> y) { return vmul(g, vsub(one, vmul(y, y))); });
      break;
    case Pointwise::kAdd: each([&](Vec<T> x, Vec<T> y) { return vadd(x, y); }); break;
  }
}

template <class T>
static void exponential(T* x, int64_t n) {
  const Vec<T> low = vset(-VecOf<T>::kExpMax), zero = vset(T(0));
  for_vectors<T>(n, [&](int64_t at, int lanes) {
    const Vec<T> v = load_some<T>(x + at, lanes);
    const Vec<T> limited = vmin(zero, vmax(low, v));
    Vec<T> scale, rest;
    exp_parts<T>(limited, &scale, &rest);
    const Vec<T> e = vselect_equal(limited, v, vfma(scale, rest, scale), zero);
    store_some<T>(x + at, lanes, vselect_equal(v, v, e, v));
  });
}

// One pass over memory. The order of operations is that of the formulas beside each rule, each
// rounded.
template <class T>
static void optimizer(const OptimizerArgs<T>* args, int64_t n) {
  const OptimizerArgs<T>& o = *args;
  const Vec<T> a = vset(o.a), b = vset(o.b), c = vset(o.c), d = vset(o.d), one = vset(T(1));
  const auto each = [&](const auto& f) {
    for_vectors<T>(n, [&](int64_t at, int lanes) {
      f(at, lanes, load_some<T>(o.grad + at, lanes), load_some<T>(o.var + at, lanes));
    });
  };
  switch (o.rule) {
    case OptimizerRule::kGradientDescent:  // var - a g
      each([&](int64_t at, int lanes, Vec<T> g, Vec<T> var) {
        store_some<T>(o.new_var + at, lanes, vsub(var, vmul(a, g)));
      });
      break;
    case OptimizerRule::kMomentum:  // m = b m + g;  var - a m
    case OptimizerRule::kNesterov:  // m = b m + g;  var - (a g + a (b m))
      each([&](int64_t at, int lanes, Vec<T> g, Vec<T> var) {
        const Vec<T> m = vadd(vmul(load_some<T>(o.slot0 + at, lanes), b), g);
        const Vec<T> step =
            o.rule == OptimizerRule::kMomentum ? vmul(m, a) : vadd(vmul(g, a), vmul(vmul(m, b), a));
        store_some<T>(o.new_slot0 + at, lanes, m);
        store_some<T>(o.new_var + at, lanes, vsub(var, step));
      });
      break;
    case OptimizerRule::kRmsProp:  // ms += (g^2 - ms) (1 - d);  m = b m + a g / sqrt(ms + c);  var
                                   // - m
      each([&](int64_t at, int lanes, Vec<T> g, Vec<T> var) {
        const Vec<T> old = load_some<T>(o.slot0 + at, lanes);
        const Vec<T> ms = vadd(old, vmul(vsub(vmul(g, g), old), vsub(one, d)));
        const Vec<T> m =
            vadd(vmul(load_some<T>(o.slot1 + at, lanes), b), vdiv(vmul(g, a), vsqrt(vadd(ms, c))));
        store_some<T>(o.new_slot0 + at, lanes, ms);
        store_some<T>(o.new_slot1 + at, lanes, m);
        store_some<T>(o.new_var + at, lanes, vsub(var, m));
      });
      break;
    case OptimizerRule::kAdam:  // m += (g - m)(1 - b);  v += (g^2 - v)(1 - d);  var - (m a) /
                                // (sqrt(v) + c)
    case OptimizerRule::kNesterovAdam:  // the same with g (1 - b) + b m in the place of the last m
      each([&](int64_t at, int lanes, Vec<T> g, Vec<T> var) {
        const Vec<T> old_m = load_some<T>(o.slot0 + at, lanes),
                     old_v = load_some<T>(o.slot1 + at, lanes);
        const Vec<T> m = vadd(vmul(vsub(g, old_m), vsub(one, b)), old_m);
        const Vec<T> v = vadd(vmul(vsub(vmul(g, g), old_v), vsub(one, d)), old_v);
        const Vec<T> step =
            o.rule == OptimizerRule::kAdam ? m : vadd(vmul(g, vsub(one, b)), vmul(b, m));
        store_some<T>(o.new_slot0 + at, lanes, m);
        store_some<T>(o.new_slot1 + at, lanes, v);
        store_some<T>(o.new_var + at, lanes, vsub(var, vdiv(vmul(step, a), vadd(vsqrt(v), c))));
      });
      break;
  }
}

template <class T>
static constexpr ElementwiseKernels<T> elementwise_kernels() {
  return {column_sums<T>, column_squares<T>, column_products<T>, affine<T>,
          pointwise<T>,   exponential<T>,    optimizer<T>};
}

static void stream_lines(void* to, const void* from, int64_t lines) {
  float* y = static_cast<float*>(to);
  const float* x = static_cast<const float*>(from);
  constexpr int kLineFloats = 16;
  static_assert(kLineFloats % kLanesF == 0);
  for (; lines > 0; --lines, x += kLineFloats, y += kLineFloats)
    for (int i = 0; i < kLineFloats; i += kLanesF) vstream(y + i, vload(x + i));
}

static constexpr ElementwiseTable kElementwiseTable = {elementwise_kernels<float>(),
                                                       elementwise_kernels<double>(), stream_lines};

}  // namespace conv3d::CONV3D_ISA
