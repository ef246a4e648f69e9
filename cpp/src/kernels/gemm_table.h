// Kernels of the direct path: batch-reduce GEMM tiles, dot products, packing and transposition.
// Plain data.
//
// All of them compute C[row][column] (+)= sum over groups g, taps t and k of A[g][t][row][k] *
// B[g][t][k][column], in exactly this order of g, t, k and one accumulator per element; they differ
// in how A and B are addressed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

inline constexpr int kMaxDotColumns = 4;

// What happens to C besides the sum.
template <class T>
struct GemmFinish {
  int load_c;      // add to what C holds (else C is overwritten and may be uninitialised)
  int last;        // the sum is complete: add bias, apply activation
  const T* bias;   // of the first column, or null
  int activation;  // as Activation in problem/problem.h
  T alpha;         // of leaky ReLU
  int stream;      // write past the caches: rows are aligned to, and made of, whole lines. Not with
                   // load_c
};

// B packed per panel: [g][t][k][nr], nr = vectors of the panel * lanes, zeros beyond the last
// column.
template <class T>
struct GemmTapArgs {
  int64_t rows;
  int columns;  // 1..nr of the panel
  int vectors;  // of the panel, 1..max_vectors
  int groups, taps;
  int64_t k;
  const T* const* a;  // row pointers a[g * a_group + row]; strided form: a[g], rows a_row apart
  ptrdiff_t a_group;
  ptrdiff_t a_row;     // strided form only
  ptrdiff_t a_offset;  // added to every pointer
  ptrdiff_t a_tap;     // from tap to tap
  const T* b;
  const ptrdiff_t* b_group;  // offset of each group's B
  ptrdiff_t b_tap;
  T* const* c;         // row pointers; strided form: null, rows at c0 + row * c_row
  ptrdiff_t c_offset;  // added to every pointer
  T* c0;
  ptrdiff_t c_row;
  GemmFinish<T> finish;
  int ahead;  // strided form, one group and tap: the next tile's rows of A are asked for
};

// B packed as [g][t][column][k padded with zeros to whole vectors]; lanes run along k. Few columns,
// long k. A is not read beyond k; B is, up to a whole vector.
template <class T>
struct GemmDotArgs {
  int64_t rows;
  int columns;  // 1..kMaxDotColumns
  int groups, taps;
  int64_t k;
  const T* const* a;
  ptrdiff_t a_group, a_offset, a_tap;
  const T* b;
  const ptrdiff_t* b_group;
  ptrdiff_t b_tap, b_column;
  T* const* c;
  ptrdiff_t c_offset;
  GemmFinish<T> finish;
};

// What is wanted later, asked for in even parts on the way: of each row of a region some pieces, of
// each piece some lines.
struct GemmAhead {
  static constexpr int kRegions = 2;
  static constexpr int64_t kPart = 16;  // k of a tile
  struct Region {
    const void* const* rows;
    int64_t row_count, pieces;
    ptrdiff_t piece_bytes;  // from piece to piece
    int64_t lines;
  };
  Region regions[kRegions];  // none empty
  int count;
  int64_t lines;  // of all regions
  int64_t parts;  // about one for each kPart of a tile
  // How far they are; zeros at first.
  int region;
  int64_t row, piece, line, due;
};

// Both operands with k outermost: A[g][k][row], rows contiguous; B[g][k][column], columns
// contiguous, any column count.
template <class T>
struct GemmPlaneArgs {
  int rows;  // 1..tall_rows[1]
  int64_t columns;
  int groups;
  int64_t k;
  const T* const* a;  // per group
  ptrdiff_t a_k, a_offset;
  const T* const* b;  // per group
  ptrdiff_t b_k, b_offset;
  T* c;
  ptrdiff_t c_row;
  int load_c;
  GemmAhead* ahead;  // or null
};

// dst[j][i] = src[i][j] for i < rows, j < columns; apart from each other, dst_stride >= rows, and
// an element may be written twice. stream: whole lines of dst pass the caches.
template <class T>
struct TransposeArgs {
  const T* src;
  ptrdiff_t src_stride;
  T* dst;
  ptrdiff_t dst_stride;
  int64_t rows, columns;
  int stream = 0;
};

template <class T>
struct GemmKernels {
  int lanes;                 // elements of a vector
  int max_vectors;           // of a packed panel
  int plane_rows;            // rows of a plane tile, where the columns are many
  const int* plane_vectors;  // [plane_rows + 1]: vectors of a full tile by its rows
  const int* tall_rows;      // [max_vectors + 1]: most rows of a plane tile of so many vectors
  const int* tap_rows;       // [max_vectors + 1]: rows of a full tile by vectors of its panel
  const int* strided_rows;   // the same for the strided form
  void (*taps)(const GemmTapArgs<T>* args);          // one pointer per row and group
  void (*taps_strided)(const GemmTapArgs<T>* args);  // one pointer per group, rows a constant apart
  void (*dot)(const GemmDotArgs<T>* args);
  void (*plane)(const GemmPlaneArgs<T>* args);
  void (*transpose)(const TransposeArgs<T>* args);
  void (*add)(T* sum, const T* term, int64_t n);  // sum += term
  void (*activate)(T* y, int64_t n, int activation, T alpha);
};

struct GemmTable {
  GemmKernels<float> f32;
  GemmKernels<double> f64;
};

}  // namespace conv3d
