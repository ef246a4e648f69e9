// What the machine is taken to do: the one set of constants behind every algorithm's estimate of
// time. The values are nominal, of no machine in particular: only the ratios between algorithms
// matter, so each must look here and nowhere else.
#pragma once

#include <algorithm>
#include <cstddef>

#include "algorithms/algorithm.h"
#include "kernels/kernel_table.h"
#include "problem/problem.h"
#include "runtime/cpu_info.h"

namespace conv3d {

inline int lanes_of(const KernelTable& kernels, DType dtype) {
  return dtype == DType::kFloat64 ? kernels.gemm.f64.lanes : kernels.gemm.f32.lanes;
}

// How often a second a core does two multiply-adds on whole vectors of a table: once a cycle, or
// less often where the vectors are wider than the units that compute them. Without FMA and with
// 128 bits (the generic table) a multiply and an add take the place of one: half. Whatever else an
// instruction does, it does at the clock.
inline constexpr double kClock = 3e9;
inline double hertz(const PlanContext& context) {
  const size_t bytes = static_cast<size_t>(context.kernels->gemm.f32.lanes) * sizeof(float);
  if (bytes < 32) return kClock / 2;
  return kClock / static_cast<double>(std::max<size_t>(1, bytes / context.cpu->vector_unit_bytes));
}

// What a transform's vector takes of the time of a multiply-add's, relative to the processors that
// its constants were measured on. Units of 512 bits double the rate of multiply-adds, but additions
// share their pipes, one pipe permutes and one stores (Sapphire Rapids, 16 layers: 1.3 to 1.6, of
// winograd_rows with its short products).
inline double transform_share(const PlanContext& context) {
  const size_t bytes = static_cast<size_t>(context.kernels->gemm.f32.lanes) * sizeof(float);
  return bytes >= 64 && context.cpu->vector_unit_bytes >= 64 ? 1.45 : 1.0;
}

inline double peak_flops(const PlanContext& context, DType dtype) {
  return hertz(context) * 2 * 2 * lanes_of(*context.kernels, dtype);
}

// Bytes a second that one core reads or writes beyond its own caches: memory (measured 10 to 23 on
// servers of two makers) and the shared cache.
inline constexpr double kMemoryBytes = 12e9;
inline constexpr double kSharedCacheBytes = 30e9;
// Copying between layouts through scratch that stays in a core's own caches.
inline constexpr double kStagingBytes = 20e9;
// Bytes a second of a filter that is packed one number at a time: moved (measured 8 to 10 on Zen
// 4), and transformed in float64 (1.8 to 2.7).
inline constexpr double kGatherBytes = 8e9;
inline constexpr double kScalarTransformBytes = 2.3e9;

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

// The part of a shared cache that nobody else takes.
inline constexpr double kSharedPart = 0.3;

// Seconds to bring `bytes` in, once or repeatedly, from wherever `resident` bytes stay: nothing
// within half of a core's own cache. A shared one keeps less than half of itself where others use
// it too, more or less of it from one minute to the next (16 MB of 32, read over and over: 7 to 12
// ms), so its rate gives way to memory's by degrees.
inline double stream_seconds(double bytes, double resident, const CpuInfo& cpu) {
  if (resident <= static_cast<double>(l2_bytes(cpu)) / 2) return 0;
  const double part = resident / static_cast<double>(l3_bytes(cpu));
  const double beyond = std::clamp((part - kSharedPart) / 0.4, 0.0, 1.0);
  return bytes * ((1 - beyond) / kSharedCacheBytes + beyond / kMemoryBytes);
}

// A sample's tensors, each once.
inline double traffic_seconds(const Problem& p, const CpuInfo& cpu) {
  const double size = p.dtype == DType::kFloat64 ? 8 : 4;
  double seconds = 0;
  for (int64_t elements : {p.input_elements(), p.output_elements(), p.filter_elements()}) {
    const double bytes = size * static_cast<double>(elements);
    seconds += stream_seconds(bytes, bytes, cpu);
  }
  return seconds;
}
// What is less of the two hides for the most part behind the other.
inline double overlapped_seconds(double arithmetic, double traffic) {
  return std::max(arithmetic, traffic) + 0.3 * std::min(arithmetic, traffic);
}

// Packing a filter: what is read and what is written. `forward` leaves it out, because a plan packs
// its filter once; backward_input is a step of training and gets a new filter with every call.
inline double packing_seconds(double filter_bytes, double packed_bytes, const CpuInfo& cpu) {
  const double bytes = filter_bytes + packed_bytes;
  return bytes / (bytes <= static_cast<double>(l2_bytes(cpu)) / 2 ? kStagingBytes : kMemoryBytes);
}

}  // namespace conv3d
