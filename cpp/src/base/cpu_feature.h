// Instruction-set bits. A plain enum: ISA files include it, so it must hold no code.
#pragma once

namespace conv3d {

enum CpuFeature : unsigned {
  kCpuAvx2 = 1u << 0,
  kCpuFma = 1u << 1,
  kCpuF16c = 1u << 2,
  kCpuAvx512f = 1u << 3,
  kCpuAvx512bw = 1u << 4,
  kCpuAvx512dq = 1u << 5,
  kCpuAvx512vl = 1u << 6,
};

}  // namespace conv3d
