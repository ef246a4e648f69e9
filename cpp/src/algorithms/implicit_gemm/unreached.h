// Results that no tap reaches, as between the windows of a stride beyond the kernel: bias and
// activation alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "algorithms/algorithm.h"
#include "algorithms/implicit_gemm/correlation.h"
#include "kernels/gemm_table.h"
#include "runtime/thread_pool.h"

namespace conv3d::implicit_gemm {

// Fills the whole result with them, before the others are written.
template <class T>
void fill_unreached(const CorrelationProblem& c, const Problem& problem,
                    const GemmKernels<T>& kernels, const Buffers& buffers, ThreadPool& pool,
                    int threads) {
  constexpr int64_t kGrain = 65536;  // numbers
  const auto act = [&](T* values, int64_t n) {
    kernels.activate(values, n, static_cast<int>(problem.activation),
                     static_cast<T>(problem.leaky_relu_alpha));
  };
  T* const result = static_cast<T*>(buffers.result);
  const T* const bias = static_cast<const T*>(buffers.bias);
  const int64_t channels = c.result_channels, pixels = buffers.batch * c.result_voxels;
  if (bias == nullptr) {
    T value(0);
    act(&value, 1);
    pool.parallel_for(pixels * channels, kGrain, threads, [&](int64_t begin, int64_t end, int) {
      std::fill(result + begin, result + end, value);
    });
    return;
  }
  if (problem.layout == Layout::kChannelsFirst) {
    const int64_t run = c.result_voxels;
    pool.parallel_for(buffers.batch * channels, 1 + kGrain / run, threads,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t row = begin; row < end; ++row) {
                          T value = bias[row % channels];
                          act(&value, 1);
                          std::fill(result + row * run, result + (row + 1) * run, value);
                        }
                      });
    return;
  }
  pool.parallel_for(pixels, 1 + kGrain / channels, threads, [&](int64_t begin, int64_t end, int) {
    T* const pixel = result + begin * channels;
    const auto bytes = static_cast<size_t>(channels) * sizeof(T);
    std::memcpy(pixel, bias, bytes);
    act(pixel, channels);
    for (int64_t i = 1; i < end - begin; ++i) std::memcpy(pixel + i * channels, pixel, bytes);
  });
}

}  // namespace conv3d::implicit_gemm
