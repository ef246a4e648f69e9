// Kernels of the Winograd path: the transforms of one run of tiles and one group of channels, and
// the product per point. Plain data; see winograd_transform.inl and gemm_ukernel.inl.
//
// The words are those of lanes along the channels. Where algorithms/winograd lets them run along
// the pixels, the 16 lanes are neighbouring pixels of one channel, and rows and columns of a
// product change places.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

// Channels travel in groups of 16: one 64-byte line per pixel, per point or per output,
// on every ISA.
inline constexpr int kWinogradGroup = 16;
inline constexpr int kWinogradMaxPoints = 7, kWinogradMaxOutputs = 6,
                     kWinogradMaxTaps = 5;  // per axis

// How the points of an axis come about.
enum WinogradSplit {
  kSplitNone = 0,   // Toom and Cook's: stride 1
  kSplitPlain = 1,  // stride 2: those of the even pixels, then the odd pixels as they are
  kSplitBoth = 2,   // stride 2: those of the even pixels, then those of the odd ones
  // backward_input with stride 2 and three taps: F(m, 2) of a window of m + 1 pixels, then m of its
  // pixels as they are, of points = 2 m + 1; 2 m results, in turns.
  kSplitMerge = 3,       // the last m pixels, and F(m, 2) first
  kSplitMergePlain = 4,  // the first m pixels, and plain products first
  // An axis of two pixels and two results between zeros, and three taps: x0, x0 + x1 and x1, three
  // points.
  kSplitPair = 5,
  kSplitPairTurned = 6,  // the same points of grad_output in the filter gradient: x1, x0 + x1, x0
  // backward_input with stride 2 and four taps: two F(m, 2), points = 2 (m + 1); 2 m results, in
  // turns.
  kSplitMergeSame = 7,     // of the same m + 1 pixels, those of the second first
  kSplitMergeShifted = 8,  // the second a pixel on, of m + 2
  // The same with five taps: F(m, 3) of a window of m + 2 pixels, then F(m, 2), points = 2 m + 3.
  kSplitMergeLast = 9,   // of the last m + 1 pixels, and F(m, 3) first
  kSplitMergeFirst = 10  // of the first m + 1 pixels, and F(m, 2) first
};

// U[p][tile][0..15] = (B^T x B^T x B^T) d, d the window of each tile: as many pixels along an axis
// as points, (points + 1) / 2 where two phases of results read the same ones (kSplitMerge), one
// more of kSplitMergeShifted, or two (kSplitPair).
struct WinogradInputArgs {
  const float* source;  // pixel (0, 0, 0), first channel of the group; 16 channels contiguous
  ptrdiff_t stride_d, stride_h, stride_w;  // between pixels, in floats
  int64_t extent_d, extent_h, extent_w;    // pixels outside are zeros and are not read
  int64_t origin_d, origin_h, origin_w;  // first pixel of the first tile's window; may be negative
  int points_d, points_h, points_w;
  int split_d, split_h, split_w;  // WinogradSplit
  int step_w;                     // the next tile's window starts step_w pixels on
  int tiles;
  int channels;  // 1..16: lanes beyond are neither read nor (rounded up to a vector) written
  // Aligned to 64 bytes; point p of tile t at u + p * position_stride + t * (1 + gap) * 16.
  float* u;
  int gap;                    // tiles of other runs between two of this one
  ptrdiff_t position_stride;  // floats, a multiple of 16
};

// result = act(bias + (A^T x A^T x A^T) M), clipped to the extent.
struct WinogradOutputArgs {
  const float* m;  // aligned to 64 bytes; as u above
  ptrdiff_t position_stride;
  int gap;  // as in the input
  int points_d, points_h, points_w;
  int split_d, split_h, split_w;
  int outputs_d, outputs_h,
      outputs_w;  // per axis, m of F(m, r) or 2 m; the tiles lie outputs_w pixels apart
  int64_t extent_d, extent_h, extent_w;  // pixels outside are not written
  int64_t origin_d, origin_h, origin_w;  // first pixel of the first tile; not negative
  int tiles;
  int channels;   // 1..16, written
  float* result;  // pixel (0, 0, 0), first channel of the group
  ptrdiff_t stride_d, stride_h, stride_w;
  const float* bias;  // 16 floats, or null
  int activation;     // as Activation in problem/problem.h
  float alpha;        // of leaky ReLU
  int stream;  // non-zero: write whole lines past the caches where they are whole and aligned
};

// G of the three axes: [points][taps] each.
struct WinogradFilterAxes {
  int taps_d, taps_h, taps_w, points_d, points_h, points_w;
  const double *g_d, *g_h, *g_w;
};

// Most source channels of a filter transform, and most of them times taps.
inline constexpr int kWinogradFilterSources = 16, kWinogradFilterMost = 512;

// lines[tap][source][16] = the taps of some source and 16 result channels.
struct WinogradFilterLines {
  const float* taps;     // first tap, first source channel, first of the result channels
  ptrdiff_t tap_stride;  // may be negative: taps in reverse order
  ptrdiff_t source_stride, channel_stride;  // between source and result channels; one of them is 1
  int count;                                // of taps
  int sources;
  int channels;  // 0..16; lines beyond them are zeros
  float* lines;
};

// packed[p * position_stride + s * source_step + c] = (G x G x G) g of source channel s and result
// channel c.
struct WinogradFilterArgs {
  const float* lines;  // as above
  int sources;
  int width;  // floats written per point and source channel: whole vectors, up to 16
  WinogradFilterAxes axes;
  float* packed;
  ptrdiff_t source_step, position_stride;  // floats
  int stream;  // non-zero: write past the caches; packed is aligned to the vector
  int wide;    // non-zero: in float64, rounded once
  const WinogradFilterLines* ahead;  // made meanwhile, or null
};

struct WinogradTable {
  int nr;     // result channels of a panel of the packed filter: 16 or 32
  int lanes;  // what is left of them makes a narrower panel, of so many or a multiple
  void (*filter_lines)(const WinogradFilterLines* args);
  void (*filter_transform)(const WinogradFilterArgs* args);
  void (*input_transform)(const WinogradInputArgs* args);
  // C (+)= A B for `rows` tiles: A[k / 16][row][16] with blocks a_block apart, B[k][vectors *
  // lanes], C[column / 16][row][16] with groups c_group apart. C may alias neither A nor B.
  void (*multiply)(int64_t rows, const float* a, ptrdiff_t a_block, const float* b, int kc,
                   float* c, ptrdiff_t c_group, int accumulate, int vectors);
  void (*output_transform)(const WinogradOutputArgs* args);
  // Asks for `floats` from p, for the L2.
  void (*ask)(const float* p, int64_t floats);
};

}  // namespace conv3d
