// What this processor and this process may use: instruction sets (cpuid and xgetbv), caches, cores, environment caps.
#pragma once

#include <cstddef>

#include "base/cpu_feature.h"

namespace conv3d {

struct CpuInfo {
  unsigned features;        // bits of CpuFeature that the processor has and the system enables
  size_t l1d_bytes, l2_bytes, l3_bytes;  // per core; l3 shared
  int physical_cores, usable_threads;    // usable: min(affinity, cgroup quota), at least 1
  const char* vendor;                    // for bug reports
  char model[64];
};

const CpuInfo& cpu_info();  // read once

}  // namespace conv3d
