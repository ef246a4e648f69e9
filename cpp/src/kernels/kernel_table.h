// One table per ISA: its name, what it needs of the processor, and its kernels by family. Plain
// data, nothing inline: the files compiled with ISA flags fill it, everything above reads it.
#pragma once

#include <cstdint>

#include "kernels/depthwise_table.h"
#include "kernels/elementwise_table.h"
#include "kernels/gemm_table.h"
#include "kernels/planar_table.h"
#include "kernels/pooling_table.h"
#include "kernels/strassen_table.h"
#include "kernels/winograd_gradient_table.h"
#include "kernels/winograd_rows_table.h"
#include "kernels/winograd_table.h"

namespace conv3d {

struct KernelTable {
  const char* name;            // "generic", "avx2", "avx512": what CONV3D_MAX_ISA takes
  unsigned required_features;  // bits of CpuFeature
  GemmTable gemm;
  WinogradTable winograd;
  WinogradGradientTable winograd_gradient;
  WinogradRowsTable winograd_rows;
  PoolingTable pooling;
  DepthwiseTable depthwise;
  PlanarTable planar;
  StrassenTable strassen;
  ElementwiseTable elementwise;
  // `rounds` rounds of independent float FMAs; returns the operations done. `sink`
  // takes one vector.
  double (*fma_loop)(int64_t rounds, float* sink);
};

}  // namespace conv3d
