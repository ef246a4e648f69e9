// Kernels of the planar path: rows of result pixels from staged source rows. Plain data; see
// planar.inl.
//
// result[channel][x] (+)= sum over k of source[offsets[k] + x * step] * filter[k][channel], k in
// order and one accumulator per element.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/gemm_table.h"

namespace conv3d {

// Rows that a vector of gathered pixels may take some from.
inline constexpr int kGatherPieces = 4;

// n pixels of rows of `width` of them, the first being pixel `first` of the first row:
// dst[i] = src[(first + i) / width * row + (first + i) % width * step] for i < n.
template <class T>
struct GatherArgs {
  const T* src;   // pixel 0 of the first row
  ptrdiff_t row;  // from row to row, if there are several: at least their extent
  int64_t first, width;
  int64_t step;  // from pixel to pixel
  int64_t n;
  T* dst;
  ptrdiff_t ahead;  // what lies so far on is asked for, to be gathered later; 0: none
};

// A row of `width` result pixels. `panels` of the filter's panels, the first one beginning at
// result channel 0 of bias, result and filter.
template <class T>
struct PlanarArgs {
  const T* source;
  const ptrdiff_t* offsets;  // [k]
  int64_t k;
  int64_t k_first;  // of these k in a packed panel
  int64_t step;     // `pixels`: from pixel to pixel of the source
  int64_t width;
  const T* filter;   // the first panel's first k; `rows`: [panel][k][rows of the panel],
                     // `pixels`: [panel][k][vectors of the panel * lanes]
  int64_t filter_k;  // k of a packed panel, at least k
  int channels;      // result channels of these panels
  int panels;        // `rows`: their channels, `pixels`: their vectors are split evenly, larger
                     // ones first
  int vectors;       // `rows`: most vectors of pixels of a tile
  int panel_outer;   // `rows`: all pixels of a panel, then the next; else all panels of a tile
  T* kept;  // `rows`, not panel_outer: the first panel of a tile writes the source it reads
            // here, the others read it there; null: all read the source
  // `rows`, with kept: the pixels of a row of results are every second one of these rows, which
  // lie at least 2 * width apart and of which a vector meets at most kGatherPieces. Those up to the
  // width's end are a vector at least, rows before the first at the same distance included: of a
  // tile that is less, some before it are read, and kept before its place, so `kept` has a vector's
  // room before it. src, n, dst and ahead are not read. Null: pixels are contiguous.
  const GatherArgs<T>* gather;
  int gather_pairs;  // every second k is the right neighbour of the one before, and kept behind it
  const ptrdiff_t* kept_offsets;  // [k], at least `vectors` vectors apart
  int keeps_all;  // tiles are kept one after the other, in rows for the whole width; else each
                  // takes the place of the one before
  // `rows`, without kept or with gather: rows of the source that are wanted after this call are
  // asked for on the way, so many lines of each; null without.
  const T* ahead;
  const ptrdiff_t* ahead_offsets;  // [ahead_rows]
  int64_t ahead_rows;
  int ahead_lines;
  T* result;               // first pixel, first channel
  ptrdiff_t result_step;   // `pixels`: from pixel to pixel
  ptrdiff_t result_plane;  // `rows`: from channel to channel
  GemmFinish<T> finish;    // bias of the first channel; stream: every line is written whole
};

// sums[m][n] (+)= sum over runs and x < k[run] of a[run][m * a_row + x] * b[run][n * b_row + x],
// lanes along x.
template <class T>
struct ProductArgs {
  const T* const* a;  // [run]
  const T* const* b;
  const int64_t* k;
  int64_t runs;
  ptrdiff_t a_row, b_row;
  int64_t rows, columns;
  double* sums;
  ptrdiff_t sums_row;
  int add;  // to what `sums` holds; else it is overwritten
  // Row m of `a` is first gathered, by the tiles of the first columns, from src + gather_offsets[m]
  // to dst + m * a_row, which is where `a` says; n and ahead are not read. Null: rows lie there.
  const GatherArgs<T>* gather;      // [run]
  const ptrdiff_t* gather_offsets;  // [rows]
};

// Rows of a full tile of such products, `rows` by `columns` where the registers alone decide. Rows
// of both sides a multiple of 4 KiB apart (channels of 2^10 voxels) meet in one set of the L1,
// which the bits within a page choose: no more of them together than it has ways (16 to 16 channels
// of 32^3, 6 + 4 rows 0.23 ms, 4 + 4 0.20; 64 to 64 of 16x56x56 6.0 and 5.3; copied elsewhere 0.22
// and 5.4).
inline int product_tile_rows(int rows, int columns, int64_t a_row_bytes, int64_t b_row_bytes) {
  constexpr int64_t kPage = 4096;
  constexpr int kWays = 8;
  const bool meet = a_row_bytes != 0 && a_row_bytes % kPage == 0 && b_row_bytes % kPage == 0;
  return meet && rows > kWays - columns ? kWays - columns : rows;
}

// Rows cut into cells of `step` elements, of which the first `taps` are kept apart:
// cut[t * tap + r * n + i] = rows[r * row + i * step + t] for r < count, i < n, t < taps.
template <class T>
struct CutArgs {
  const T* rows;
  ptrdiff_t row;
  int64_t count, n;
  int64_t step, taps;
  T* cut;
  ptrdiff_t tap;
  ptrdiff_t ahead;  // rows + ahead are asked for, to be cut later; 0: none
};

// The reverse: `elements` of each row, `rest` where there is no tap or no cell.
template <class T>
struct JoinArgs {
  const T* cut;
  ptrdiff_t tap;
  int64_t count, n;
  int64_t step, taps;
  T* rows;
  ptrdiff_t row;
  int64_t elements;
  T rest;
};

template <class T>
struct PlanarKernels {
  int max_rows;         // most channels of a panel of `rows`
  const int* vectors;   // [max_rows + 1]: vectors of a full tile by its channels
  int max_vectors;      // most vectors of a panel of `pixels`
  int pixel_rows_even;  // tiles of one vector have an even number of pixels
  // Lanes along the pixels, filter broadcast. Reads the source up to whole vectors.
  void (*rows)(const PlanarArgs<T>* args);
  // Lanes along the result channels, source broadcast.
  void (*pixels)(const PlanarArgs<T>* args);
  int product_rows, product_columns;  // of a full tile
  void (*products)(const ProductArgs<T>* args);
  void (*cut)(const CutArgs<T>* args);
  void (*join)(const JoinArgs<T>* args);
  // Pixels of rows, side by side.
  void (*gather)(const GatherArgs<T>* args);
  // n elements past the caches, but for lines that are not whole.
  void (*stream)(const T* src, int64_t n, T* dst);
};

struct PlanarTable {
  PlanarKernels<float> f32;
  PlanarKernels<double> f64;
};

}  // namespace conv3d
