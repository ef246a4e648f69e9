// Channels last: the tensor is one strip of rows of the pattern; channels first: one strip for each
// sample and channel, whose pattern is a constant. Strips are cut into chunks of whole rows that
// fit L2; what is left is done element by element.
#include "algorithms/elementwise/elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "algorithms/kernels_of.h"
#include "base/math.h"
#include "base/status.h"

namespace conv3d {
namespace {

// Elements of a chunk: 64 KiB of floats, several chunks a thread for tensors that are worth
// threads.
constexpr int64_t kChunkElements = int64_t{1} << 14;
// A pattern has at least this many elements: loops over it are long enough for their own overhead.
constexpr int64_t kPatternElements = 64;
constexpr int64_t kRowsAtOnce = 256;  // of softmax: a block stays in L1

template <class F>
void with_type(DType dtype, const F& f) {
  if (dtype == DType::kFloat64) {
    f(double{});
  } else if (dtype == DType::kFloat32) {
    f(float{});
  } else {
    throw Error(Status::kInvalidArgument, "dtype is code " +
                                              std::to_string(static_cast<int>(dtype)) +
                                              "; float32 and float64 are accepted");
  }
}

// How a view is cut: strips x chunks, each chunk `rows` rows of `period` elements.
struct Cut {
  explicit Cut(const ChannelView& v) : view(v), last(v.inner == 1) {
    strips = last ? 1 : v.outer * v.channels;
    elements = last ? v.outer * v.channels : v.inner;
    period = kPatternElements;
    if (last) {
      const int64_t whole = v.channels / std::gcd(v.channels, kPatternUnit) *
                            kPatternUnit;  // their least common multiple
      period = whole * ceil_div(kPatternElements, whole);
    }
    rows = std::max<int64_t>(1, kChunkElements / period);
    chunks = ceil_div(elements, rows * period);
  }
  int64_t channel_of(int64_t strip, int64_t element) const {
    return last ? element % view.channels : strip % view.channels;
  }

  ChannelView view;
  bool last;
  int64_t strips, elements, period, rows, chunks;

  // f(strip, first element, whole rows, elements) for each chunk, in any order on any thread.
  template <class F>
  void parallel(ThreadPool& pool, int threads, const F& f) const {
    const int64_t chunk = rows * period;
    const int64_t grain = ceil_div(kChunkElements, std::max<int64_t>(1, std::min(chunk, elements)));
    pool.parallel_for(strips * chunks, grain, threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t strip = i / chunks, first = i % chunks * chunk;
        const int64_t n = std::min(chunk, elements - first);
        f(i, strip, first, n / period, n);
      }
    });
  }
};

// A vector by channel as a pattern. Channels first: `fill` sets it for each strip.
template <class T>
std::vector<T> pattern(const Cut& cut, const T* vector) {
  std::vector<T> out;
  if (vector == nullptr) return out;
  if (!cut.last) return std::vector<T>(vector, vector + cut.view.channels);
  out.resize(static_cast<size_t>(cut.period));
  for (int64_t i = 0; i < cut.period; ++i)
    out[static_cast<size_t>(i)] = vector[i % cut.view.channels];
  return out;
}

// The pattern of one strip: the shared one, or `room` filled with the channel's value.
template <class T>
const T* of_strip(const Cut& cut, const std::vector<T>& whole, int64_t strip, T* room) {
  if (whole.empty()) return nullptr;
  if (cut.last) return whole.data();
  std::fill(room, room + kPatternElements, whole[static_cast<size_t>(strip % cut.view.channels)]);
  return room;
}

// sums[chunk][channel]: the sums by column of a chunk, added by channel in double.
template <class T>
void add_columns(const Cut& cut, const T* columns, double* sums) {
  const int64_t channels = cut.last ? cut.view.channels : 1;
  for (int64_t i = 0; i < cut.period; ++i) sums[i % channels] += static_cast<double>(columns[i]);
}

// Pairwise sum of n values, `stride` apart.
double pairwise(const double* values, int64_t n, int64_t stride) {
  if (n <= 8) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += values[i * stride];
    return sum;
  }
  return pairwise(values, n / 2, stride) + pairwise(values + n / 2 * stride, n - n / 2, stride);
}

// Values of channel c, one for each chunk that holds it, in the order of the tensor.
void gather(const Cut& cut, const std::vector<double>& partial, int64_t c,
            std::vector<double>* values) {
  values->clear();
  if (cut.last) {
    for (int64_t k = 0; k < cut.chunks; ++k)
      values->push_back(partial[static_cast<size_t>(k * cut.view.channels + c)]);
    return;
  }
  for (int64_t n = 0; n < cut.view.outer; ++n)
    for (int64_t k = 0; k < cut.chunks; ++k)
      values->push_back(partial[static_cast<size_t>((n * cut.view.channels + c) * cut.chunks + k)]);
}

size_t partial_size(const Cut& cut) {
  return static_cast<size_t>(cut.strips * cut.chunks * (cut.last ? cut.view.channels : 1));
}
size_t partial_at(const Cut& cut, int64_t chunk) {
  return static_cast<size_t>(chunk * (cut.last ? cut.view.channels : 1));
}

template <class T>
void moments_of(const Cut& cut, const KernelTable& table, const T* x, T* mean, T* variance,
                ThreadPool& pool, int threads) {
  const ElementwiseKernels<T>& kernels = kernels_of<T>(table.elementwise);
  const int64_t channels = cut.last ? cut.view.channels : 1;
  // Of each chunk and channel: the sum, a value near the mean, the sum of squares about it.
  std::vector<double> sums(partial_size(cut)), centers(partial_size(cut)),
      squares(partial_size(cut));
  cut.parallel(
      pool, threads, [&](int64_t chunk, int64_t strip, int64_t first, int64_t rows, int64_t n) {
        std::vector<T> columns(static_cast<size_t>(cut.period)),
            near(static_cast<size_t>(cut.period));
        const T* const p = x + strip * cut.elements + first;
        double* const sum = sums.data() + partial_at(cut, chunk);
        double* const center = centers.data() + partial_at(cut, chunk);
        double* const square = squares.data() + partial_at(cut, chunk);
        kernels.sums(p, rows, cut.period, columns.data());
        add_columns(cut, columns.data(), sum);
        for (int64_t i = rows * cut.period; i < n; ++i)
          sum[i % channels] += static_cast<double>(p[i]);
        if (variance == nullptr) return;
        for (int64_t c = 0; c < channels; ++c)
          center[c] =
              static_cast<double>(static_cast<T>(sum[c] / static_cast<double>(n / channels)));
        for (int64_t i = 0; i < cut.period; ++i)
          near[static_cast<size_t>(i)] = static_cast<T>(center[i % channels]);
        kernels.squares(p, near.data(), rows, cut.period, columns.data());
        add_columns(cut, columns.data(), square);
        for (int64_t i = rows * cut.period; i < n; ++i) {
          const double d = static_cast<double>(p[i]) - center[i % channels];
          square[i % channels] += d * d;
        }
      });
  const double count = static_cast<double>(cut.view.outer) * static_cast<double>(cut.view.inner);
  std::vector<double> of_sum, of_center, of_square;
  for (int64_t c = 0; c < cut.view.channels; ++c) {
    gather(cut, sums, c, &of_sum);
    const double mu = pairwise(of_sum.data(), static_cast<int64_t>(of_sum.size()), 1) / count;
    mean[c] = static_cast<T>(mu);
    if (variance == nullptr) continue;
    gather(cut, centers, c, &of_center);
    gather(cut, squares, c, &of_square);
    // Chan, Golub, LeVeque 1983: squares about a center k of a chunk of n elements with mean m are
    // sum (x - m)^2 + n (m - k)^2; about the mean of all they are sum (x - m)^2 + n (m - mu)^2.
    for (size_t i = 0; i < of_sum.size(); ++i) {
      const int64_t chunk = static_cast<int64_t>(i) % cut.chunks,
                    first = chunk * cut.rows * cut.period;
      const double n =
          static_cast<double>(std::min(cut.rows * cut.period, cut.elements - first) / channels);
      const double m = of_sum[i] / n;
      of_square[i] += n * ((m - mu) * (m - mu) - (m - of_center[i]) * (m - of_center[i]));
    }
    variance[c] = static_cast<T>(
        pairwise(of_square.data(), static_cast<int64_t>(of_square.size()), 1) / count);
  }
}

template <class T>
void sums_of(const Cut& cut, const KernelTable& table, const T* x, const T* y, const T* center,
             T* sum, T* product, ThreadPool& pool, int threads) {
  const ElementwiseKernels<T>& kernels = kernels_of<T>(table.elementwise);
  const int64_t channels = cut.last ? cut.view.channels : 1;
  std::vector<double> sums(partial_size(cut)), products(y != nullptr ? partial_size(cut) : 0);
  const std::vector<T> centers = pattern(cut, center);
  cut.parallel(
      pool, threads, [&](int64_t chunk, int64_t strip, int64_t first, int64_t rows, int64_t n) {
        std::vector<T> columns(static_cast<size_t>(2 * cut.period));
        T room[kPatternElements];
        const T* const p = x + strip * cut.elements + first;
        double* const s = sums.data() + partial_at(cut, chunk);
        if (y == nullptr) {
          kernels.sums(p, rows, cut.period, columns.data());
        } else {
          const T* const q = y + strip * cut.elements + first;
          const T* const near = of_strip(cut, centers, strip, room);
          double* const xy = products.data() + partial_at(cut, chunk);
          kernels.products(p, q, near, rows, cut.period, columns.data(),
                           columns.data() + cut.period);
          add_columns(cut, columns.data() + cut.period, xy);
          for (int64_t i = rows * cut.period; i < n; ++i)
            xy[i % channels] +=
                static_cast<double>(p[i]) * static_cast<double>(q[i] - near[i % cut.period]);
        }
        add_columns(cut, columns.data(), s);
        for (int64_t i = rows * cut.period; i < n; ++i)
          s[i % channels] += static_cast<double>(p[i]);
      });
  std::vector<double> values;
  for (int64_t c = 0; c < cut.view.channels; ++c) {
    gather(cut, sums, c, &values);
    sum[c] = static_cast<T>(pairwise(values.data(), static_cast<int64_t>(values.size()), 1));
    if (y == nullptr) continue;
    gather(cut, products, c, &values);
    product[c] = static_cast<T>(pairwise(values.data(), static_cast<int64_t>(values.size()), 1));
  }
}

template <class T>
void affine_of(const Cut& cut, const KernelTable& table, const T* x, const T* scale, const T* y,
               const T* scale_y, const T* shift, bool relu, T* out, ThreadPool& pool, int threads) {
  const ElementwiseKernels<T>& kernels = kernels_of<T>(table.elementwise);
  const std::vector<T> a = pattern(cut, scale), b = pattern(cut, scale_y), c = pattern(cut, shift);
  cut.parallel(pool, threads, [&](int64_t, int64_t strip, int64_t first, int64_t rows, int64_t n) {
    T room_a[kPatternElements], room_b[kPatternElements], room_c[kPatternElements];
    const int64_t at = strip * cut.elements + first;
    const AffineArgs<T> args = {x + at,
                                of_strip(cut, a, strip, room_a),
                                y == nullptr ? nullptr : y + at,
                                of_strip(cut, b, strip, room_b),
                                of_strip(cut, c, strip, room_c),
                                out + at,
                                relu};
    kernels.affine(&args, rows, cut.period);
    for (int64_t i = rows * cut.period; i < n; ++i) {
      const int64_t j = i % cut.period;
      T v = args.x[i];
      if (args.scale != nullptr) v *= args.scale[j];
      if (args.y != nullptr) v += args.y[i] * args.scale_y[j];
      if (args.shift != nullptr) v += args.shift[j];
      if (relu && v < 0) v = 0;
      args.out[i] = v;
    }
  });
}

// f(first row, rows) on blocks of rows that stay in L1.
template <class F>
void by_rows(int64_t rows, int64_t classes, ThreadPool& pool, int threads, const F& f) {
  const int64_t block =
      std::clamp<int64_t>(kRowsAtOnce * 8 / std::max<int64_t>(1, classes), 1, kRowsAtOnce);
  const int64_t grain = ceil_div(kChunkElements / 4, block * std::max<int64_t>(1, classes));
  pool.parallel_for(ceil_div(rows, block), grain, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) f(i * block, std::min(block, rows - i * block));
  });
}

[[noreturn]] void refuse_label(int64_t row, int64_t label, int64_t classes) {
  throw Error(Status::kInvalidArgument, "labels[" + std::to_string(row) + "] is " +
                                            std::to_string(label) + "; 0 to " +
                                            std::to_string(classes - 1) + " are accepted");
}

// Few classes: rows are turned into columns, so that loops run over many rows instead of few
// classes.
constexpr int64_t kFewClasses = 16;

// Softmax of a block of at most kRowsAtOnce rows. If not null, `maximum` and `sums` get each row's
// maximum and sum exp(x - maximum).
template <class T>
void softmax_block(const ElementwiseKernels<T>& kernels, int64_t rows, int64_t classes, const T* x,
                   T* out, T* maximum, T* sums) {
  if (classes <= kFewClasses) {
    T e[kFewClasses * kRowsAtOnce], top[kRowsAtOnce], sum[kRowsAtOnce];
    for (int64_t c = 0; c < classes; ++c)
      for (int64_t r = 0; r < rows; ++r) e[c * rows + r] = x[r * classes + c];
    std::copy(e, e + rows, top);
    for (int64_t c = 1; c < classes; ++c)
      for (int64_t r = 0; r < rows; ++r)
        top[r] = e[c * rows + r] < top[r] ? top[r] : e[c * rows + r];
    for (int64_t c = 0; c < classes; ++c)
      for (int64_t r = 0; r < rows; ++r) e[c * rows + r] -= top[r];
    kernels.exponential(e, rows * classes);
    std::copy(e, e + rows, sum);
    for (int64_t c = 1; c < classes; ++c)
      for (int64_t r = 0; r < rows; ++r) sum[r] += e[c * rows + r];
    for (int64_t c = 0; c < classes; ++c)
      for (int64_t r = 0; r < rows; ++r) e[c * rows + r] /= sum[r];
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < classes; ++c) out[r * classes + c] = e[c * rows + r];
    if (maximum != nullptr) std::copy(top, top + rows, maximum);
    if (sums != nullptr) std::copy(sum, sum + rows, sums);
    return;
  }
  for (int64_t r = 0; r < rows; ++r) {
    const T* const row = x + r * classes;
    T* const to = out + r * classes;
    const T top = *std::max_element(row, row + classes);
    for (int64_t c = 0; c < classes; ++c) to[c] = row[c] - top;
    kernels.exponential(to, classes);
    double sum = 0;  // not to lose small terms beside many
    for (int64_t c = 0; c < classes; ++c) sum += static_cast<double>(to[c]);
    for (int64_t c = 0; c < classes; ++c) to[c] /= static_cast<T>(sum);
    if (maximum != nullptr) maximum[r] = top;
    if (sums != nullptr) sums[r] = static_cast<T>(sum);
  }
}

}  // namespace

void check_view(const ChannelView& v) {
  if (v.dtype != DType::kFloat32 && v.dtype != DType::kFloat64) {
    throw Error(Status::kInvalidArgument, "dtype is code " +
                                              std::to_string(static_cast<int>(v.dtype)) +
                                              "; float32 and float64 are accepted");
  }
  for (const auto& [name, size] : {std::pair<const char*, int64_t>{"outer", v.outer},
                                   {"channels", v.channels},
                                   {"inner", v.inner}}) {
    if (size < 0) {
      throw Error(Status::kInvalidArgument, std::string(name) + " is " + std::to_string(size) +
                                                "; a size of 0 or more is accepted");
    }
  }
  checked_product({v.outer, v.channels, v.inner, 8}, "the tensor");
}

void channel_moments(const ChannelView& view, const KernelTable& kernels, const void* x, void* mean,
                     void* variance, ThreadPool& pool, int threads) {
  check_view(view);
  if (view.channels == 0) return;
  with_type(view.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const m = static_cast<T*>(mean);
    T* const v = static_cast<T*>(variance);
    if (view.outer * view.inner == 0) {
      std::fill(m, m + view.channels, std::numeric_limits<T>::quiet_NaN());
      if (v != nullptr) std::fill(v, v + view.channels, std::numeric_limits<T>::quiet_NaN());
      return;
    }
    moments_of<T>(Cut(view), kernels, static_cast<const T*>(x), m, v, pool, threads);
  });
}

void channel_sums(const ChannelView& view, const KernelTable& kernels, const void* x, const void* y,
                  const void* center, void* sum, void* product, ThreadPool& pool, int threads) {
  check_view(view);
  if (view.channels == 0) return;
  with_type(view.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* const s = static_cast<T*>(sum);
    T* const p = static_cast<T*>(product);
    if (view.outer * view.inner == 0) {
      std::fill(s, s + view.channels, T(0));
      if (p != nullptr) std::fill(p, p + view.channels, T(0));
      return;
    }
    sums_of<T>(Cut(view), kernels, static_cast<const T*>(x), static_cast<const T*>(y),
               static_cast<const T*>(center), s, p, pool, threads);
  });
}

void channel_affine(const ChannelView& view, const KernelTable& kernels, const void* x,
                    const void* scale, const void* y, const void* scale_y, const void* shift,
                    bool relu, void* out, ThreadPool& pool, int threads) {
  check_view(view);
  if (view.outer * view.channels * view.inner == 0) return;
  if (y != nullptr && (scale == nullptr || scale_y == nullptr)) {
    throw Error(Status::kInvalidArgument,
                "y is given without scale or scale_y; both are needed with it");
  }
  with_type(view.dtype, [&](auto zero) {
    using T = decltype(zero);
    affine_of<T>(Cut(view), kernels, static_cast<const T*>(x), static_cast<const T*>(scale),
                 static_cast<const T*>(y), static_cast<const T*>(scale_y),
                 static_cast<const T*>(shift), relu, static_cast<T*>(out), pool, threads);
  });
}

void pointwise(Pointwise op, DType dtype, int64_t n, const KernelTable& kernels, const void* a,
               const void* b, double parameter, void* out, ThreadPool& pool, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    pool.parallel_for(
        ceil_div(n, kChunkElements), 1, threads, [&](int64_t begin, int64_t end, int) {
          const int64_t first = begin * kChunkElements,
                        count = std::min(n, end * kChunkElements) - first;
          kernels_of<T>(kernels.elementwise)
              .pointwise(op, static_cast<const T*>(a) + first, static_cast<const T*>(b) + first,
                         static_cast<T>(parameter), static_cast<T*>(out) + first, count);
        });
  });
}

void softmax(DType dtype, int64_t rows, int64_t classes, const KernelTable& kernels, const void* x,
             void* out, ThreadPool& pool, int threads) {
  if (rows * classes == 0) return;
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    by_rows(rows, classes, pool, threads, [&](int64_t first, int64_t n) {
      softmax_block<T>(kernels_of<T>(kernels.elementwise), n, classes,
                       static_cast<const T*>(x) + first * classes,
                       static_cast<T*>(out) + first * classes, nullptr, nullptr);
    });
  });
}

void softmax_grad(DType dtype, int64_t rows, int64_t classes, const void* y, const void* g,
                  void* grad_x, ThreadPool& pool, int threads) {
  if (rows * classes == 0) return;
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    by_rows(rows, classes, pool, threads, [&](int64_t first, int64_t n) {
      for (int64_t r = first; r < first + n; ++r) {
        const T* const p = static_cast<const T*>(y) + r * classes;
        const T* const q = static_cast<const T*>(g) + r * classes;
        T* const to = static_cast<T*>(grad_x) + r * classes;
        double inner = 0;
        for (int64_t c = 0; c < classes; ++c)
          inner += static_cast<double>(p[c]) * static_cast<double>(q[c]);
        for (int64_t c = 0; c < classes; ++c) to[c] = (q[c] - static_cast<T>(inner)) * p[c];
      }
    });
  });
}

void sparse_cross_entropy(DType dtype, int64_t rows, int64_t classes, const KernelTable& kernels,
                          const void* x, const int64_t* labels, void* loss, void* grad,
                          ThreadPool& pool, int threads) {
  if (rows * classes == 0) return;
  for (int64_t r = 0; r < rows; ++r) {
    if (labels[r] < 0 || labels[r] >= classes) refuse_label(r, labels[r], classes);
  }
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    by_rows(rows, classes, pool, threads, [&](int64_t first, int64_t n) {
      T maximum[kRowsAtOnce], sums[kRowsAtOnce];
      const T* const from = static_cast<const T*>(x) + first * classes;
      T* const e = static_cast<T*>(grad) + first * classes;
      softmax_block<T>(kernels_of<T>(kernels.elementwise), n, classes, from, e, maximum, sums);
      for (int64_t r = 0; r < n; ++r) {
        // Again: another thread of the caller may have written to the labels since.
        const int64_t label = labels[first + r];
        if (label < 0 || label >= classes) refuse_label(first + r, label, classes);
        const int64_t at = r * classes + label;
        static_cast<T*>(loss)[first + r] = std::log(sums[r]) - (from[at] - maximum[r]);
        e[at] -= T(1);
      }
    });
  });
}

void optimizer_step(const OptimizerStep& s, DType dtype, int64_t n, const KernelTable& kernels,
                    ThreadPool& pool, int threads) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto at = [](const void* p, int64_t i) {
      return p == nullptr ? nullptr : static_cast<const T*>(p) + i;
    };
    const auto to = [](void* p, int64_t i) {
      return p == nullptr ? nullptr : static_cast<T*>(p) + i;
    };
    pool.parallel_for(
        ceil_div(n, kChunkElements), 1, threads, [&](int64_t begin, int64_t end, int) {
          const int64_t i = begin * kChunkElements, count = std::min(n, end * kChunkElements) - i;
          const OptimizerArgs<T> args = {s.rule,
                                         at(s.grad, i),
                                         at(s.var, i),
                                         at(s.slot0, i),
                                         at(s.slot1, i),
                                         to(s.new_var, i),
                                         to(s.new_slot0, i),
                                         to(s.new_slot1, i),
                                         static_cast<T>(s.numbers[0]),
                                         static_cast<T>(s.numbers[1]),
                                         static_cast<T>(s.numbers[2]),
                                         static_cast<T>(s.numbers[3])};
          kernels_of<T>(kernels.elementwise).optimizer(&args, count);
        });
  });
}

}  // namespace conv3d
