// What this processor and this process may use: instruction sets (cpuid and xgetbv),
// caches, cores, memory.
#pragma once

#include <cstddef>

#include "base/cpu_feature.h"

namespace conv3d {

struct CpuInfo {
  unsigned features;  // bits of CpuFeature that the processor has and the system enables
  size_t l1d_bytes, l2_bytes, l3_bytes;  // per core; l3 shared
  // Bytes that one floating-point unit computes at a time: AMD's Zen 4 and its smaller kin run
  // AVX-512 as two halves of 32.
  size_t vector_unit_bytes;
  int physical_cores, usable_threads;  // usable: min(affinity, cgroup quota), at least 1
  const char* vendor;                  // for bug reports
  char model[64];
  size_t memory_bytes;  // min(physical memory, cgroup limit); 0 if unknown
};

const CpuInfo& cpu_info();  // read once

// floor(quota / period) of the text of cgroup v2's cpu.max ("200000 100000", "max 100000"); 0 if
// unlimited or malformed, and at least 1 otherwise. Of v1's two files likewise.
int cgroup_v2_cpus(const char* cpu_max);
int cgroup_v1_cpus(const char* quota_us, const char* period_us);

// A thread count from an environment variable's text: 1 to kMaxThreads, surrounded by blanks at
// most. 0 if it is not one.
inline constexpr int kMaxThreads = 1024;
int parse_threads(const char* text);

// CpuFeature bits from raw cpuid words and XCR0: apart from the instruction itself, so that it
// can be tested for processors that are not here (a hypervisor masking AVX-512, a system that
// does not save zmm registers).
unsigned features_from_cpuid(unsigned leaf1_ecx, unsigned leaf7_ebx, unsigned long long xcr0);

// Likewise vector_unit_bytes: `performance_leaf_eax` is cpuid 0x8000001a of AMD processors, whose
// bit 3 (FP512) says that the units are 512 bits wide; others are as wide as their registers.
size_t vector_unit_bytes_from_cpuid(unsigned features, bool amd, unsigned performance_leaf_eax);

}  // namespace conv3d
