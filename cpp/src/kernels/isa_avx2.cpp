// The kernels as AVX2 + FMA.
#include "kernels/simd/vec_avx2.h"

#include "base/cpu_feature.h"
#include "kernels/kernel_table.h"

#include "kernels/epilogue.inl"
#include "kernels/fma_loop.inl"
#include "kernels/gemm_ukernel.inl"
#include "kernels/pack.inl"
#include "kernels/pooling.inl"

#include "kernels/depthwise.inl"
#include "kernels/elementwise.inl"
#include "kernels/gemm_fill.inl"
#include "kernels/planar.inl"
#include "kernels/strassen.inl"
#include "kernels/winograd_transform.inl"

#include "kernels/winograd_gradient.inl"
#include "kernels/winograd_rows.inl"

namespace conv3d::CONV3D_ISA {

extern const KernelTable kKernelTable;
const KernelTable kKernelTable = {"avx2",         kCpuAvx2 | kCpuFma,     kGemmTable,
                                  kWinogradTable, kWinogradGradientTable, kWinogradRowsTable,
                                  kPoolingTable,  kDepthwiseTable,        kPlanarTable,
                                  kStrassenTable, kElementwiseTable,      fma_loop};

}  // namespace conv3d::CONV3D_ISA
