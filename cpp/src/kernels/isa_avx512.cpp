// The kernels as AVX-512 (F, BW, DQ, VL).
#include "kernels/simd/vec_avx512.h"

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

static constexpr unsigned kNeeds =
    kCpuAvx2 | kCpuFma | kCpuAvx512f | kCpuAvx512bw | kCpuAvx512dq | kCpuAvx512vl;

extern const KernelTable kKernelTable;
const KernelTable kKernelTable = {
    "avx512",           kNeeds,        kGemmTable,      kWinogradTable, kWinogradGradientTable,
    kWinogradRowsTable, kPoolingTable, kDepthwiseTable, kPlanarTable,   kStrassenTable,
    kElementwiseTable,  fma_loop};

}  // namespace conv3d::CONV3D_ISA
