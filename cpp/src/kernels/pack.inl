// Transposition between channels-first and channels-last blocks, and sums of arrays.
//
// Included by isa_*.cpp after a simd/vec_*.h and epilogue.inl.

#include "kernels/gemm_table.h"

namespace conv3d::CONV3D_ISA {

template <class T>
static void transpose_block(const TransposeArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  const int64_t whole_rows = p->rows - p->rows % kLanes,
                whole_columns = p->columns - p->columns % kLanes;
  // A line's worth of columns at a time: rows may lie a power of two apart and evict each other's
  // lines before long.
  constexpr int64_t kColumns = 64 / sizeof(T);
  for (int64_t strip = 0; strip < whole_columns; strip += kColumns) {
    const int64_t end = strip + kColumns < whole_columns ? strip + kColumns : whole_columns;
    for (int64_t i = 0; i < whole_rows; i += kLanes)
      for (int64_t j = strip; j < end; j += kLanes)
        vtranspose(p->src + i * p->src_stride + j, p->src_stride, p->dst + j * p->dst_stride + i,
                   p->dst_stride);
  }
  for (int64_t j = 0; j < whole_columns; ++j)
    for (int64_t i = whole_rows; i < p->rows; ++i)
      p->dst[j * p->dst_stride + i] = p->src[i * p->src_stride + j];
  for (int64_t j = whole_columns; j < p->columns; ++j)
    for (int64_t i = 0; i < p->rows; ++i)
      p->dst[j * p->dst_stride + i] = p->src[i * p->src_stride + j];
}

template <class T>
static void add_rows(T* sum, const T* term, int64_t n) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(sum + i, vadd(vload(sum + i), vload(term + i)));
  for (; i < n; ++i) sum[i] += term[i];
}

}  // namespace conv3d::CONV3D_ISA
