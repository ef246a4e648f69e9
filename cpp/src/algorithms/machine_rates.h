// What the machine is taken to do: the one set of constants behind every algorithm's estimate of
// time. The values are nominal, of no machine in particular: only the ratios between algorithms
// matter, so each must look here and nowhere else.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/kernel_table.h"
#include "problem/problem.h"
#include "runtime/cpu_info.h"

namespace conv3d {

// Cycles a second that AVX2 and AVX-512 server cores sustain with two multiply-adds each. Without
// FMA and with 4 lanes (the generic table) a multiply and an add take the place of one: half.
inline double hertz(int lanes, DType dtype = DType::kFloat32) {
  return lanes >= (dtype == DType::kFloat64 ? 4 : 8) ? 3e9 : 1.5e9;
}

inline double peak_flops(const KernelTable& kernels, DType dtype) {
  const int lanes = dtype == DType::kFloat64 ? kernels.gemm.f64.lanes : kernels.gemm.f32.lanes;
  return hertz(lanes, dtype) * 2 * 2 * lanes;
}

// Bytes a second that one core reads or writes beyond its own caches: memory (measured 10 to 23 on
// servers of two makers) and the shared cache.
inline constexpr double kMemoryBytes = 12e9;
inline constexpr double kSharedCacheBytes = 30e9;
// Copying between layouts through scratch that stays in a core's own caches.
inline constexpr double kStagingBytes = 20e9;

// What a call costs beside its arithmetic.
inline constexpr double kCallSeconds = 1e-6;
// Starting a parallel region costs about this; below twice of it a thread does not pay.
inline constexpr double kForkSeconds = 5e-6;

inline int threads_that_pay(double seconds) {
  return static_cast<int>(std::clamp(seconds / (2 * kForkSeconds), 1.0, 1024.0));
}

// What an unknown cache is taken for; and the cap on what all threads share, whatever the machine
// says.
inline size_t l2_bytes(const CpuInfo& cpu) {
  return std::max<size_t>(cpu.l2_bytes, size_t{256} << 10);
}
inline size_t l3_bytes(const CpuInfo& cpu) {
  return std::clamp<size_t>(cpu.l3_bytes, size_t{8} << 20, size_t{32} << 20);
}

// Seconds to bring `bytes` in, once or repeatedly, from wherever `resident` bytes stay: nothing
// within half of a core's own cache.
inline double stream_seconds(double bytes, double resident, const CpuInfo& cpu) {
  if (resident <= static_cast<double>(l2_bytes(cpu)) / 2) return 0;
  return bytes /
         (resident <= static_cast<double>(l3_bytes(cpu)) / 2 ? kSharedCacheBytes : kMemoryBytes);
}

}  // namespace conv3d
