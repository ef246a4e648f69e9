// Transposition between channels-first and channels-last blocks, and sums of arrays.
//
// Included by isa_*.cpp after a simd/vec_*.h and epilogue.inl.

#include "kernels/gemm_table.h"

namespace conv3d::CONV3D_ISA {

template <class T>
static void transpose_cached(const TransposeArgs<T>* p) {
  constexpr int64_t kSquare = VecOf<T>::kSquare;
  if (p->columns <= 0) return;
  if (p->rows < kSquare) {
    for (int64_t j = 0; j < p->columns; ++j)
      for (int64_t i = 0; i < p->rows; ++i)
        p->dst[j * p->dst_stride + i] = p->src[i * p->src_stride + j];
    return;
  }
  // The last square of a side that is no multiple of it begins early, over the one before it.
  const int64_t last_row = p->rows - kSquare, last_column = p->columns - kSquare;
  if (last_column < 0) {
    for (int64_t i = 0; i < p->rows; i += kSquare) {
      const int64_t row = i < last_row ? i : last_row;
      vtranspose_columns(p->src + row * p->src_stride, p->src_stride, static_cast<int>(p->columns),
                         p->dst + row, p->dst_stride);
    }
    return;
  }
  // Blocks of a line by a line, and outermost along the side whose lines lie far apart, often a
  // power of two: there few pages are in use at a time, and no line is evicted before its end.
  constexpr int64_t kLine = 64 / sizeof(T);
  const bool rows_far = p->src_stride >= p->dst_stride;
  const int64_t outer = rows_far ? p->rows : p->columns, inner = rows_far ? p->columns : p->rows;
  for (int64_t u = 0; u < outer; u += kLine) {
    const int64_t u_end = u + kLine < outer ? u + kLine : outer;
    for (int64_t v = 0; v < inner; v += kLine) {
      const int64_t v_end = v + kLine < inner ? v + kLine : inner;
      const int64_t row = rows_far ? u : v, row_end = rows_far ? u_end : v_end,
                    column = rows_far ? v : u, column_end = rows_far ? v_end : u_end;
      for (int64_t i = row; i < row_end; i += kSquare) {
        const int64_t r = i < last_row ? i : last_row;
        for (int64_t j = column; j < column_end; j += kSquare) {
          const int64_t c = j < last_column ? j : last_column;
          vtranspose_square(p->src + r * p->src_stride + c, p->src_stride,
                            p->dst + c * p->dst_stride + r, p->dst_stride);
        }
      }
    }
  }
}

// Rows [begin, end) of the source.
template <class T>
static void transpose_rows(const TransposeArgs<T>* p, int64_t begin, int64_t end) {
  if (begin >= end) return;
  TransposeArgs<T> some = *p;
  some.src += begin * p->src_stride;
  some.dst += begin;
  some.rows = end - begin;
  transpose_cached(&some);
}

template <class T>
static void transpose_block(const TransposeArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  constexpr int64_t kLine = 64 / sizeof(T);
  // Lines of all rows of dst begin at the same places.
  const bool even =
      p->dst_stride % kLine == 0 && reinterpret_cast<uintptr_t>(p->dst) % sizeof(T) == 0;
  const int64_t off = static_cast<int64_t>(reinterpret_cast<uintptr_t>(p->dst) % 64 / sizeof(T)),
                head = (kLine - off) % kLine,
                lines = p->stream && even && head < p->rows ? (p->rows - head) / kLine : 0;
  if (lines == 0) return transpose_cached(p);
  transpose_rows(p, 0, head);
  transpose_rows(p, head + lines * kLine, p->rows);
  alignas(64) T block[kLine * kLine];  // [column][row]
  const TransposeArgs<T> whole = {nullptr, p->src_stride, block, kLine, kLine, kLine};
  for (int64_t j = 0; j < p->columns; j += kLine) {
    const int64_t columns = p->columns - j < kLine ? p->columns - j : kLine;
    for (int64_t i = head; i < head + lines * kLine; i += kLine) {
      TransposeArgs<T> some = whole;
      some.src = p->src + i * p->src_stride + j;
      some.columns = columns;
      transpose_cached(&some);
      for (int64_t c = 0; c < columns; ++c)
#pragma GCC unroll 4
        for (int64_t v = 0; v < kLine; v += kLanes)
          vstream(p->dst + (j + c) * p->dst_stride + i + v, vload(block + c * kLine + v));
    }
  }
}

template <class T>
static void add_rows(T* sum, const T* term, int64_t n) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(sum + i, vadd(vload(sum + i), vload(term + i)));
  for (; i < n; ++i) sum[i] += term[i];
}

}  // namespace conv3d::CONV3D_ISA
