// Depthwise convolution: a row of results of one vector of channels stays in registers while groups
// and taps are summed.
//
// Two forms of the same sums in the same order. In general each multiply-add loads its input, one
// vector of the filter serves all results of the tile. Where neighbouring results are as far apart
// as neighbouring taps and there are three of these, each input is loaded once and slides from
// result to result: 12 loads for 30 multiply-adds instead of 33.
//
// Included by isa_*.cpp after a simd/vec_*.h and epilogue.inl.

#include "kernels/depthwise_table.h"

namespace conv3d::CONV3D_ISA {

// 16 registers: 12 sums + 1 of B, inputs come as operands. Sliding: 10 sums + 3 of B + 1 input.
static constexpr int kDepthwiseOutputs = 12, kSlidingOutputs = 10;

// The first `lanes` elements of a vector.
template <class T, bool kWhole>
static CONV3D_ALWAYS_INLINE Vec<T> load_lanes(const T* p, int lanes) {
  return kWhole ? vload(p) : vload_n(p, lanes);
}

template <class T, int MR, bool kWhole>
static CONV3D_ALWAYS_INLINE void depthwise_store(Vec<T> (&acc)[MR], const DepthwiseArgs<T>* p,
                                                 int64_t output, int64_t channel, int lanes) {
  Vec<T> bias = vset(T(0));
  if (p->bias != nullptr) bias = load_lanes<T, kWhole>(p->bias + channel, lanes);
  T* c = p->c + output * p->c_output + channel;
#pragma GCC unroll 12
  for (int m = 0; m < MR; ++m, c += p->c_output) {
    Vec<T> y = vadd(acc[m], bias);
    if (p->activation != kActNone) y = activate_vec<T>(y, p->activation, p->alpha);
    if (kWhole) {
      vstore(c, y);
    } else {
      vstore_n(c, lanes, y);
    }
  }
}

template <class T, int MR, bool kWhole>
static void depthwise_tile(const DepthwiseArgs<T>* p, int64_t output, int64_t channel, int lanes) {
  Vec<T> acc[MR];
#pragma GCC unroll 12
  for (int m = 0; m < MR; ++m) acc[m] = vset(T(0));
  const ptrdiff_t step = p->a_output, offset = p->a_offset + output * step + channel;
  for (int g = 0; g < p->groups; ++g) {
    const T* a = p->a[g] + offset;
    const T* b = p->b + p->b_group[g] + channel;
    for (int t = 0; t < p->taps; ++t, a += p->a_tap, b += p->b_tap) {
      const Vec<T> w = vload(b);
#pragma GCC unroll 12
      for (int m = 0; m < MR; ++m)
        acc[m] = vfma(load_lanes<T, kWhole>(a + m * step, lanes), w, acc[m]);
    }
  }
  depthwise_store<T, MR, kWhole>(acc, p, output, channel, lanes);
}

// Three taps, a_tap == a_output.
template <class T, int MR, bool kWhole>
static void sliding_tile(const DepthwiseArgs<T>* p, int64_t output, int64_t channel, int lanes) {
  Vec<T> acc[MR];
#pragma GCC unroll 12
  for (int m = 0; m < MR; ++m) acc[m] = vset(T(0));
  const bool has_first = p->lacks_first == 0 || output > 0;
  const bool has_last = p->lacks_last == 0 || output + MR < p->outputs;
  const ptrdiff_t step = p->a_output, offset = p->a_offset + output * step + channel;
  for (int g = 0; g < p->groups; ++g) {
    const T* const a = p->a[g] + offset;
    const T* const b = p->b + p->b_group[g] + channel;
    const Vec<T> w0 = vload(b), w1 = vload(b + p->b_tap), w2 = vload(b + 2 * p->b_tap);
    if (has_first) acc[0] = vfma(load_lanes<T, kWhole>(a, lanes), w0, acc[0]);
#pragma GCC unroll 16
    for (int j = 1; j <= MR; ++j) {
      const Vec<T> x = load_lanes<T, kWhole>(a + j * step, lanes);
      if (j < MR) acc[j] = vfma(x, w0, acc[j]);
      acc[j - 1] = vfma(x, w1, acc[j - 1]);
      if (j >= 2) acc[j - 2] = vfma(x, w2, acc[j - 2]);
    }
    if (has_last)
      acc[MR - 1] = vfma(load_lanes<T, kWhole>(a + (MR + 1) * step, lanes), w2, acc[MR - 1]);
  }
  depthwise_store<T, MR, kWhole>(acc, p, output, channel, lanes);
}

template <class T, bool kSliding, bool kWhole, int MR>
static CONV3D_ALWAYS_INLINE void depthwise_outputs(const DepthwiseArgs<T>* p, int64_t output,
                                                   int outputs, int64_t channel, int lanes) {
  if constexpr (MR > 1) {
    if (outputs < MR)
      return depthwise_outputs<T, kSliding, kWhole, MR - 1>(p, output, outputs, channel, lanes);
  }
  if constexpr (kSliding) {
    sliding_tile<T, MR, kWhole>(p, output, channel, lanes);
  } else {
    depthwise_tile<T, MR, kWhole>(p, output, channel, lanes);
  }
}

template <class T, bool kSliding>
static CONV3D_ALWAYS_INLINE void depthwise_row(const DepthwiseArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes, kMost = kSliding ? kSlidingOutputs : kDepthwiseOutputs;
  // Tiles as even as can be: few results do not hide the latency of the multiply-adds.
  int64_t output = 0, tiles = (p->outputs + kMost - 1) / kMost;
  for (; tiles > 0; --tiles) {
    const int outputs = static_cast<int>((p->outputs - output + tiles - 1) / tiles);
    int64_t channel = 0;
    for (; channel + kLanes <= p->channels; channel += kLanes)
      depthwise_outputs<T, kSliding, true, kMost>(p, output, outputs, channel, kLanes);
    if (channel < p->channels)
      depthwise_outputs<T, kSliding, false, kMost>(p, output, outputs, channel,
                                                   static_cast<int>(p->channels - channel));
    output += outputs;
  }
}

template <class T>
static void depthwise_taps(const DepthwiseArgs<T>* p) {
  if (p->taps == 3 && p->a_tap == p->a_output) {
    depthwise_row<T, true>(p);
  } else {
    depthwise_row<T, false>(p);
  }
}

// --- the filter's gradient -----------------------------------------------------------------------

template <class T, int KT, int NV, bool kWhole>
static void depthwise_filter_tile(const DepthwiseFilterArgs<T>* p, int64_t channel, int lanes) {
  constexpr int kLanes = VecOf<T>::kLanes;
  Vec<T> acc[KT][NV];
#pragma GCC unroll 3
  for (int t = 0; t < KT; ++t)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) acc[t][v] = vset(T(0));
  // All taps meet the results [inner, inner_end); before and behind each has its own.
  int64_t first = p->begin[0], inner = p->begin[0], inner_end = p->end[0], last = p->end[0];
#pragma GCC unroll 3
  for (int t = 1; t < KT; ++t) {
    first = p->begin[t] < first ? p->begin[t] : first;
    inner = p->begin[t] > inner ? p->begin[t] : inner;
    inner_end = p->end[t] < inner_end ? p->end[t] : inner_end;
    last = p->end[t] > last ? p->end[t] : last;
  }
  if (inner_end < inner) inner_end = inner;
  for (int64_t r = 0; r < p->rows; ++r) {
    const T* const x = p->x[r] + channel;
    const T* const g = p->g[r] + channel;
    const auto border = [&](int64_t from, int64_t to) {
      for (int64_t o = from; o < to; ++o) {
#pragma GCC unroll 3
        for (int t = 0; t < KT; ++t) {
          if (o < p->begin[t] || o >= p->end[t]) continue;
          const T* const at = x + (o * p->x_output + p->x_tap[t]);
#pragma GCC unroll 4
          for (int v = 0; v < NV; ++v)
            acc[t][v] =
                vfma(load_lanes<T, kWhole>(at + v * kLanes, lanes),
                     load_lanes<T, kWhole>(g + o * p->g_output + v * kLanes, lanes), acc[t][v]);
        }
      }
    };
    border(first, inner);
    for (int64_t o = inner; o < inner_end; ++o) {
      const T* const go = g + o * p->g_output;
      const T* const xo = x + o * p->x_output;
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) {
        const Vec<T> y = load_lanes<T, kWhole>(go + v * kLanes, lanes);
#pragma GCC unroll 3
        for (int t = 0; t < KT; ++t)
          acc[t][v] =
              vfma(load_lanes<T, kWhole>(xo + p->x_tap[t] + v * kLanes, lanes), y, acc[t][v]);
      }
    }
    border(inner_end, last);
  }
#pragma GCC unroll 3
  for (int t = 0; t < KT; ++t) {
    T* const sums = p->sums + t * p->sums_tap + channel;
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      T* const at = sums + v * kLanes;
      const Vec<T> sum = vadd(load_lanes<T, kWhole>(at, lanes), acc[t][v]);
      if (kWhole) {
        vstore(at, sum);
      } else {
        vstore_n(at, lanes, sum);
      }
    }
  }
}

// 16 registers: 3 x 4 sums + 1 of G, inputs come as operands.
template <class T, int KT>
static void depthwise_filter_taps(const DepthwiseFilterArgs<T>* p) {
  constexpr int kLanes = VecOf<T>::kLanes;
  int64_t channel = 0;
  for (; channel + 4 * kLanes <= p->channels; channel += 4 * kLanes)
    depthwise_filter_tile<T, KT, 4, true>(p, channel, kLanes);
  for (; channel + 2 * kLanes <= p->channels; channel += 2 * kLanes)
    depthwise_filter_tile<T, KT, 2, true>(p, channel, kLanes);
  for (; channel + kLanes <= p->channels; channel += kLanes)
    depthwise_filter_tile<T, KT, 1, true>(p, channel, kLanes);
  if (channel < p->channels)
    depthwise_filter_tile<T, KT, 1, false>(p, channel, static_cast<int>(p->channels - channel));
}

template <class T>
static void depthwise_filter(const DepthwiseFilterArgs<T>* p) {
  switch (p->taps) {
    case 1: return depthwise_filter_taps<T, 1>(p);
    case 2: return depthwise_filter_taps<T, 2>(p);
    default: return depthwise_filter_taps<T, 3>(p);
  }
}

template <class T>
static constexpr DepthwiseKernels<T> depthwise_kernels() {
  return {depthwise_taps<T>, depthwise_filter<T>};
}
static constexpr DepthwiseTable kDepthwiseTable = {depthwise_kernels<float>(),
                                                   depthwise_kernels<double>()};

}  // namespace conv3d::CONV3D_ISA
