// Channels last: one kernel call per voxel, lanes along the channels. Channels first: rows are
// reduced over depth and height with lanes along the width, then along the width.
#include "algorithms/pooling/pooling.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "algorithms/kernels_of.h"
#include "base/math.h"
#include "base/range.h"

namespace conv3d {
namespace {

// Elements that a thread should at least touch for its start to pay (about 10 us of memory
// traffic).
constexpr int64_t kGrainElements = 1 << 14;

template <class T>
void add_row(const KernelTable& table, T* sum, const T* term, int64_t n) {
  if constexpr (std::is_same_v<T, float>) {
    table.gemm.f32.add(sum, term, n);
  } else {
    table.gemm.f64.add(sum, term, n);
  }
}

// Input cells of window o along axis a.
Range cells_of(const PoolProblem& p, size_t a, int64_t o) {
  const int64_t first = o * p.stride[a] - p.pad[a];
  return {std::max<int64_t>(0, first), std::min(p.input[a], first + p.window[a])};
}

// Windows along axis a that hold input cell i.
Range windows_of(const PoolProblem& p, size_t a, int64_t i) {
  const int64_t at = i + p.pad[a];
  const int64_t begin = at < p.window[a] ? 0 : (at - p.window[a]) / p.stride[a] + 1;
  return {begin, std::max(begin, std::min(p.output[a], at / p.stride[a] + 1))};
}

int64_t grain(int64_t elements_each) {
  return 1 + kGrainElements / std::max<int64_t>(1, elements_each);
}

template <class T>
void forward(const PoolProblem& p, const KernelTable& table, bool maximum, const T* input,
             T* output, ThreadPool& pool, int threads) {
  const PoolingKernels<T>& kernels = kernels_of<T>(table.pooling);
  const int64_t rows = p.output[0] * p.output[1], c = p.channels;
  const int64_t window = p.window[0] * p.window[1] * p.window[2];
  if (p.mb * rows * p.output[2] * c == 0) return;
  if (p.layout == Layout::kChannelsLast) {
    pool.parallel_for(
        p.mb * rows, grain(p.output[2] * c * window), threads,
        [&](int64_t begin, int64_t end, int) {
          for (int64_t row = begin; row < end; ++row) {
            const int64_t n = row / rows, od = row % rows / p.output[1], oh = row % p.output[1];
            const Range d = cells_of(p, 0, od), h = cells_of(p, 1, oh);
            for (int64_t ow = 0; ow < p.output[2]; ++ow) {
              const Range w = cells_of(p, 2, ow);
              const PoolBox<T> box = {
                  input +
                      (((n * p.input[0] + d.begin) * p.input[1] + h.begin) * p.input[2] + w.begin) *
                          c,
                  {d.size(), h.size(), w.size()},
                  {p.input[1] * p.input[2] * c, p.input[2] * c, c},
                  c};
              T* const result = output + (row * p.output[2] + ow) * c;
              if (maximum) {
                kernels.maximum(&box, result);
              } else {
                kernels.average(&box, nullptr, static_cast<T>(d.size() * h.size() * w.size()),
                                result);
              }
            }
          }
        });
    return;
  }
  pool.parallel_for(
      p.mb * c * rows, grain(p.output[2] * window), threads, [&](int64_t begin, int64_t end, int) {
        std::vector<T> reduced(static_cast<size_t>(p.input[2]));
        for (int64_t row = begin; row < end; ++row) {
          const int64_t image = row / rows, od = row % rows / p.output[1], oh = row % p.output[1];
          const Range d = cells_of(p, 0, od), h = cells_of(p, 1, oh);
          std::fill(reduced.begin(), reduced.end(),
                    maximum ? -std::numeric_limits<T>::infinity() : T(0));
          for (int64_t id = d.begin; id < d.end; ++id)
            for (int64_t ih = h.begin; ih < h.end; ++ih) {
              const T* const cells =
                  input + ((image * p.input[0] + id) * p.input[1] + ih) * p.input[2];
              if (maximum) {
                kernels.maximum_row(reduced.data(), cells, p.input[2]);
              } else {
                add_row(table, reduced.data(), cells, p.input[2]);
              }
            }
          T* const result = output + row * p.output[2];
          for (int64_t ow = 0; ow < p.output[2]; ++ow) {
            const Range w = cells_of(p, 2, ow);
            T value = maximum ? -std::numeric_limits<T>::infinity() : T(0);
            for (int64_t i = w.begin; i < w.end; ++i) {
              const T x = reduced[static_cast<size_t>(i)];
              if (!maximum)
                value += x;
              else if (x > value || x != x)
                value = x;
              if (maximum && value != value) break;
            }
            result[ow] = maximum ? value : value / static_cast<T>(d.size() * h.size() * w.size());
          }
        }
      });
}

// Threads own slabs of input planes and add only to these, in the order of the windows: the same
// sums however many slabs.
template <class T>
void max_backward_last(const PoolProblem& p, const PoolingKernels<T>& kernels, const T* input,
                       const T* output, const T* grad_output, T* grad_input, ThreadPool& pool,
                       int threads) {
  const int64_t c = p.channels, plane = p.input[1] * p.input[2] * c;
  const int64_t slabs =
      std::min<int64_t>(p.input[0], std::max<int64_t>(1, ceil_div(2 * int64_t{threads}, p.mb)));
  pool.parallel_for(
      p.mb * slabs, grain(plane * p.input[0] / slabs), threads,
      [&](int64_t begin, int64_t end, int) {
        for (int64_t index = begin; index < end; ++index) {
          const int64_t n = index / slabs, slab = index % slabs;
          const Range own{p.input[0] * slab / slabs, p.input[0] * (slab + 1) / slabs};
          T* const sample = grad_input + n * p.input[0] * plane;
          std::fill(sample + own.begin * plane, sample + own.end * plane, T(0));
          for (int64_t od = 0; od < p.output[0]; ++od) {
            const Range d = cells_of(p, 0, od);
            if (d.end <= own.begin || d.begin >= own.end) continue;
            for (int64_t oh = 0; oh < p.output[1]; ++oh) {
              const Range h = cells_of(p, 1, oh);
              for (int64_t ow = 0; ow < p.output[2]; ++ow) {
                const Range w = cells_of(p, 2, ow);
                const int64_t first = d.begin * plane + (h.begin * p.input[2] + w.begin) * c;
                const int64_t at =
                    (((n * p.output[0] + od) * p.output[1] + oh) * p.output[2] + ow) * c;
                const MaxGradientArgs<T> args = {{input + n * p.input[0] * plane + first,
                                                  {d.size(), h.size(), w.size()},
                                                  {plane, p.input[2] * c, c},
                                                  c},
                                                 output + at,
                                                 grad_output + at,
                                                 sample + first,
                                                 std::max<int64_t>(0, own.begin - d.begin),
                                                 std::min(d.end, own.end) - d.begin};
                kernels.max_gradient(&args);
              }
            }
          }
        }
      });
}

template <class T>
void max_backward_first(const PoolProblem& p, const T* input, const T* output, const T* grad_output,
                        T* grad_input, ThreadPool& pool, int threads) {
  const int64_t voxels = p.input_voxels(), results = p.output_voxels();
  pool.parallel_for(
      p.mb * p.channels, grain(voxels), threads, [&](int64_t begin, int64_t end, int) {
        for (int64_t image = begin; image < end; ++image) {
          const T* const x = input + image * voxels;
          T* const to = grad_input + image * voxels;
          std::fill(to, to + voxels, T(0));
          int64_t at = image * results;
          for (int64_t od = 0; od < p.output[0]; ++od)
            for (int64_t oh = 0; oh < p.output[1]; ++oh)
              for (int64_t ow = 0; ow < p.output[2]; ++ow, ++at) {
                const Range d = cells_of(p, 0, od), h = cells_of(p, 1, oh), w = cells_of(p, 2, ow);
                const auto give = [&] {
                  for (int64_t id = d.begin; id < d.end; ++id)
                    for (int64_t ih = h.begin; ih < h.end; ++ih) {
                      const int64_t row = (id * p.input[1] + ih) * p.input[2];
                      for (int64_t i = row + w.begin; i < row + w.end; ++i) {
                        if (x[i] != output[at] && x[i] == x[i]) continue;
                        to[i] += grad_output[at];
                        return;
                      }
                    }
                };
                give();
              }
        }
      });
}

// grad_input[i] = sum over the windows that hold i of grad_output / (cells of the window): each
// cell collects.
template <class T>
void avg_backward(const PoolProblem& p, const KernelTable& table, const T* grad_output,
                  T* grad_input, ThreadPool& pool, int threads) {
  const PoolingKernels<T>& kernels = kernels_of<T>(table.pooling);
  std::vector<int64_t> counts[3];
  for (size_t a = 0; a < 3; ++a)
    for (int64_t o = 0; o < p.output[a]; ++o) counts[a].push_back(cells_of(p, a, o).size());
  const int64_t rows = p.input[0] * p.input[1], c = p.channels;
  if (p.layout == Layout::kChannelsLast) {
    pool.parallel_for(
        p.mb * rows, grain(p.input[2] * c), threads, [&](int64_t begin, int64_t end, int) {
          for (int64_t row = begin; row < end; ++row) {
            const int64_t n = row / rows;
            const Range d = windows_of(p, 0, row % rows / p.input[1]),
                        h = windows_of(p, 1, row % p.input[1]);
            for (int64_t iw = 0; iw < p.input[2]; ++iw) {
              const Range w = windows_of(p, 2, iw);
              const PoolBox<T> box = {
                  grad_output +
                      (((n * p.output[0] + d.begin) * p.output[1] + h.begin) * p.output[2] +
                       w.begin) *
                          c,
                  {d.size(), h.size(), w.size()},
                  {p.output[1] * p.output[2] * c, p.output[2] * c, c},
                  c};
              const int64_t* const of_box[] = {counts[0].data() + d.begin,
                                               counts[1].data() + h.begin,
                                               counts[2].data() + w.begin};
              kernels.average(&box, of_box, T(1), grad_input + (row * p.input[2] + iw) * c);
            }
          }
        });
    return;
  }
  pool.parallel_for(
      p.mb * c * rows, grain(p.input[2]), threads, [&](int64_t begin, int64_t end, int) {
        std::vector<T> reduced(static_cast<size_t>(p.output[2]));
        for (int64_t row = begin; row < end; ++row) {
          const int64_t image = row / rows;
          const Range d = windows_of(p, 0, row % rows / p.input[1]),
                      h = windows_of(p, 1, row % p.input[1]);
          std::fill(reduced.begin(), reduced.end(), T(0));
          for (int64_t od = d.begin; od < d.end; ++od)
            for (int64_t oh = h.begin; oh < h.end; ++oh) {
              const T* const from =
                  grad_output + ((image * p.output[0] + od) * p.output[1] + oh) * p.output[2];
              const int64_t cells =
                  counts[0][static_cast<size_t>(od)] * counts[1][static_cast<size_t>(oh)];
              for (size_t ow = 0; ow < reduced.size(); ++ow)
                reduced[ow] += from[ow] / static_cast<T>(cells * counts[2][ow]);
            }
          for (int64_t iw = 0; iw < p.input[2]; ++iw) {
            const Range w = windows_of(p, 2, iw);
            T sum = 0;
            for (int64_t ow = w.begin; ow < w.end; ++ow) sum += reduced[static_cast<size_t>(ow)];
            grad_input[row * p.input[2] + iw] = sum;
          }
        }
      });
}

template <class F>
void with_type(DType dtype, const F& f) {
  if (dtype == DType::kFloat64) {
    f(double{});
  } else {
    f(float{});
  }
}

}  // namespace

void max_pool_forward(const PoolProblem& p, const KernelTable& kernels, const void* input,
                      void* output, ThreadPool& pool, int threads) {
  with_type(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    forward<T>(p, kernels, true, static_cast<const T*>(input), static_cast<T*>(output), pool,
               threads);
  });
}

void avg_pool_forward(const PoolProblem& p, const KernelTable& kernels, const void* input,
                      void* output, ThreadPool& pool, int threads) {
  with_type(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    forward<T>(p, kernels, false, static_cast<const T*>(input), static_cast<T*>(output), pool,
               threads);
  });
}

void max_pool_backward(const PoolProblem& p, const KernelTable& kernels, const void* input,
                       const void* output, const void* grad_output, void* grad_input,
                       ThreadPool& pool, int threads) {
  if (p.mb * p.input_voxels() * p.channels == 0) return;
  with_type(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const x = static_cast<const T*>(input);
    const T* const y = static_cast<const T*>(output);
    const T* const dy = static_cast<const T*>(grad_output);
    T* const dx = static_cast<T*>(grad_input);
    if (p.layout == Layout::kChannelsLast) {
      max_backward_last<T>(p, kernels_of<T>(kernels.pooling), x, y, dy, dx, pool, threads);
    } else {
      max_backward_first<T>(p, x, y, dy, dx, pool, threads);
    }
  });
}

void avg_pool_backward(const PoolProblem& p, const KernelTable& kernels, const void* grad_output,
                       void* grad_input, ThreadPool& pool, int threads) {
  if (p.mb * p.input_voxels() * p.channels == 0) return;
  with_type(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    avg_backward<T>(p, kernels, static_cast<const T*>(grad_output), static_cast<T*>(grad_input),
                    pool, threads);
  });
}

}  // namespace conv3d
