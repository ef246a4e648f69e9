// The GEMM family's part of an ISA's table. Included last by isa_*.cpp.

namespace conv3d::CONV3D_ISA {

template <class T>
static constexpr GemmKernels<T> gemm_kernels() {
  return {
      VecOf<T>::kLanes, kMaxNv,          kPlaneRows,
      kPlaneNv,         kTallRows,       kTapRows,
      kStridedRows,     gemm_taps<T>,    gemm_taps_strided<T>,
      gemm_dot<T>,      gemm_plane<T>,   transpose_block<T>,
      add_rows<T>,      activate_row<T>,
  };
}
static constexpr GemmTable kGemmTable = {gemm_kernels<float>(), gemm_kernels<double>()};

}  // namespace conv3d::CONV3D_ISA
