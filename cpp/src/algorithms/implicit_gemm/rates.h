// What the machine is taken to do, for estimates of time. Only ratios between algorithms matter.
#pragma once

#include <algorithm>

#include "kernels/kernel_table.h"
#include "problem/problem.h"
#include "runtime/cpu_info.h"

namespace conv3d::implicit_gemm {

// Two multiply-adds a cycle at 3 GHz: what AVX2 and AVX-512 server cores sustain. Without FMA and
// with 4 lanes (the generic table) a multiply and an add a cycle: half.
inline double peak_flops(const KernelTable& kernels, DType dtype) {
  const int lanes = dtype == DType::kFloat64 ? kernels.gemm.f64.lanes : kernels.gemm.f32.lanes;
  return 3e9 * 2 * 2 * lanes * (lanes >= (dtype == DType::kFloat64 ? 4 : 8) ? 1.0 : 0.5);
}

// Bytes a second that one core reads or writes beyond its own caches: measured 10 to 23 on servers
// of two makers.
inline constexpr double kMemoryBytes = 12e9;
// Starting a parallel region costs about this; below it a thread does not pay.
inline constexpr double kForkSeconds = 5e-6;

inline int threads_that_pay(double seconds) {
  return static_cast<int>(std::clamp(seconds / (2 * kForkSeconds), 1.0, 1024.0));
}

}  // namespace conv3d::implicit_gemm
