// Kernels of the depthwise path: every channel is filtered by itself, lanes run along channels.
// Plain data.
#pragma once

#include <cstddef>
#include <cstdint>

namespace conv3d {

// Results along a row that all meet the same taps:
//   c[o][i] = act(bias[i] + sum over groups g and taps t, in this order, of
//                 a[g][a_offset + o * a_output + t * a_tap + i] * b[b_group[g] + t * b_tap + i])
// A and C hold `channels` contiguous elements a voxel; B is padded with zeros to whole vectors.
// With three taps as far apart as results, the first result may lack its first tap and the last
// result its last.
template <class T>
struct DepthwiseArgs {
  int64_t outputs, channels;
  int groups, taps;
  int lacks_first, lacks_last;
  const T* const* a;  // per group
  ptrdiff_t a_offset, a_output, a_tap;
  const T* b;
  const ptrdiff_t* b_group;  // per group
  ptrdiff_t b_tap;
  T* c;
  ptrdiff_t c_output;
  const T* bias;   // of the first channel, or null
  int activation;  // as Activation in problem/problem.h
  T alpha;         // of leaky ReLU
};

inline constexpr int kMaxDepthwiseTaps = 3;

// The gradient of up to three taps along the width, over some rows:
//   sums[t][i] += sum over rows r and begin[t] <= o < end[t], in this order, of
//                 x[r][o * x_output + x_tap[t] + i] * g[r][o * g_output + i]
template <class T>
struct DepthwiseFilterArgs {
  int64_t rows, channels;
  int taps;  // 1..kMaxDepthwiseTaps
  const T* const* x;
  const T* const* g;
  ptrdiff_t x_output, g_output;
  ptrdiff_t x_tap[kMaxDepthwiseTaps];  // may be negative: o >= begin[t] makes up for it
  int64_t begin[kMaxDepthwiseTaps], end[kMaxDepthwiseTaps];
  T* sums;
  ptrdiff_t sums_tap;
};

template <class T>
struct DepthwiseKernels {
  void (*taps)(const DepthwiseArgs<T>* args);
  void (*filter)(const DepthwiseFilterArgs<T>* args);
};

struct DepthwiseTable {
  DepthwiseKernels<float> f32;
  DepthwiseKernels<double> f64;
};

}  // namespace conv3d
