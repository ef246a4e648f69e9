// The three convolutions as plain loops, accumulated in double, one output voxel (or
// filter row) at a time.
//
//   forward:          output[n, o, c] =
//                       act(bias[c] + sum_{k, i} input[n, o s - p + k d, i] filter[k, i, c])
//   backward_input:   grad_input[n, j, i] =
//                       act(bias[i] + sum_{k, c: j + p - k d = o s} grad_output[n, o, c]
//                                                                   filter[k, i, c])
//   backward_filter:  grad_filter[k, i, c] =
//                       sum_{n, o} input[n, o s - p + k d, i] grad_output[n, o, c]
//
// Any layout and dtype. The packed filter is double: [tap][ic / groups][oc] forward, [tap][oc][ic /
// groups] backward, so that every inner loop runs over contiguous memory. Sums run over taps, then
// channels (filter gradient: batch, then voxels), whatever the number of threads.
#include "algorithms/reference/reference.h"

#include <algorithm>
#include <cmath>

#include "algorithms/machine_rates.h"
#include "base/half.h"
#include "base/math.h"
#include "runtime/phases.h"

namespace conv3d {
namespace {

double load(float value) { return value; }
double load(double value) { return value; }
double load(Half value) { return to_float(value); }
double load(BFloat16 value) { return to_float(value); }
void store(double value, float* to) { *to = static_cast<float>(value); }
void store(double value, double* to) { *to = value; }
void store(double value, Half* to) { *to = to_half(static_cast<float>(value)); }
void store(double value, BFloat16* to) { *to = to_bfloat16(static_cast<float>(value)); }

// Calls fn with a null pointer of the dtype's element type.
template <class F>
void with_type(DType dtype, F fn) {
  switch (dtype) {
    case DType::kFloat32: return fn(static_cast<float*>(nullptr));
    case DType::kFloat64: return fn(static_cast<double*>(nullptr));
    case DType::kFloat16: return fn(static_cast<Half*>(nullptr));
    case DType::kBFloat16: return fn(static_cast<BFloat16*>(nullptr));
  }
}

double activate(Activation activation, double alpha, double y) {
  switch (activation) {
    case Activation::kNone: return y;
    case Activation::kRelu: return y < 0 ? 0 : y;
    case Activation::kLeakyRelu: return y < 0 ? alpha * y : y;
    case Activation::kSigmoid: return 1 / (1 + std::exp(-y));
    case Activation::kTanh: return std::tanh(y);
  }
  return y;
}

// Element strides of a [mb, voxels, channels] tensor in either layout.
struct View {
  View(Layout layout, int64_t voxels, int64_t channels)
      : sample(voxels * channels),
        voxel(layout == Layout::kChannelsLast ? channels : 1),
        channel(layout == Layout::kChannelsLast ? 1 : voxels) {}
  int64_t sample, voxel, channel;
};

// One spatial axis: which positions a tap reads.
struct AxisMap {
  int64_t in, out, stride, dilation, pad;
  // Input position of output o at tap k, or -1 outside.
  int64_t input(int64_t o, int64_t k) const {
    const int64_t at = o * stride - pad + k * dilation;
    return at >= 0 && at < in ? at : -1;
  }
  // Output position that reads input j at tap k, or -1.
  int64_t output(int64_t j, int64_t k) const {
    const int64_t at = j + pad - k * dilation;
    if (at < 0 || at % stride != 0) return -1;
    const int64_t o = at / stride;
    return o < out ? o : -1;
  }
};

class PreparedReference final : public Prepared {
 public:
  explicit PreparedReference(const Problem& problem) : p_(problem) {
    const int64_t row = std::max(p_.ic, p_.oc);
    row_ = ledger_.book("reference_row", checked_bytes({row, 2, 8}, "the workspace"), true);
  }

  size_t packed_filter_bytes() const override {
    return p_.direction == Direction::kBackwardFilter
               ? 0
               : checked_bytes({p_.filter_elements(), 8}, "the packed filter");
  }
  std::string packed_filter_format() const override {
    return p_.direction == Direction::kBackwardInput ? "reference_transposed" : "reference";
  }

  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override {
    const int64_t rows = p_.ic / p_.groups, columns = p_.oc, taps = p_.kd * p_.kh * p_.kw;
    const bool transposed = p_.direction == Direction::kBackwardInput;
    double* to = static_cast<double*>(packed);
    with_type(p_.dtype, [&](auto* type) {
      const auto* from = static_cast<decltype(type)>(const_cast<void*>(filter));
      pool.parallel_for(taps * rows, 64, threads, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r) {
          const int64_t tap = r / rows, i = r % rows;
          for (int64_t c = 0; c < columns; ++c) {
            const int64_t at = transposed ? (tap * columns + c) * rows + i : r * columns + c;
            to[at] = load(from[r * columns + c]);
          }
        }
      });
    });
  }

  const ScratchLedger& ledger() const override { return ledger_; }
  std::string detail() const override { return "reference: loops in double"; }
  double error_bound() const override {
    // Half a unit in the last place of the stored type; sums of doubles add nothing that shows.
    switch (p_.dtype) {
      case DType::kFloat64: return 1e-13;
      case DType::kFloat32: return 6e-8;
      case DType::kFloat16: return 4.9e-4;
      case DType::kBFloat16: return 3.9e-3;
    }
    return 1;
  }
  int useful_threads() const override {
    return static_cast<int>(std::clamp(p_.flops() / 50e3, 1.0, static_cast<double>(kMaxUseful)));
  }

  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override {
    const PhaseTimer timer(Phase::kMultiply);  // of the caller's thread
    with_type(p_.dtype, [&](auto* type) {
      switch (p_.direction) {
        case Direction::kForward: return forward(type, buffers, scratch, pool, threads);
        case Direction::kBackwardInput:
          return backward_input(type, buffers, scratch, pool, threads);
        case Direction::kBackwardFilter:
          return backward_filter(type, buffers, scratch, pool, threads);
      }
    });
  }

 private:
  static constexpr int kMaxUseful = 1 << 16;

  AxisMap axis(int a) const {
    switch (a) {
      case 0: return {p_.id, p_.od, p_.sd, p_.dd, p_.pd};
      case 1: return {p_.ih, p_.oh, p_.sh, p_.dh, p_.ph};
      default: return {p_.iw, p_.ow, p_.sw, p_.dw, p_.pw};
    }
  }

  template <class T>
  void finish(const double* sums, const void* bias, int64_t channels, int64_t stride, T* to) const {
    const T* b = static_cast<const T*>(bias);
    for (int64_t c = 0; c < channels; ++c) {
      const double y = sums[c] + (b != nullptr ? load(b[c]) : 0.0);
      store(activate(p_.activation, p_.leaky_relu_alpha, y), to + c * stride);
    }
  }

  // sums[g * columns + j] += sum_i row[g * rows + i] * matrix(g, i, j); matrix is one
  // tap of the packed filter.
  void multiply_groups(const double* row, const double* matrix, int64_t rows, int64_t columns,
                       int64_t row_stride, bool groups_in_rows, double* sums) const {
    for (int64_t g = 0; g < p_.groups; ++g) {
      for (int64_t i = 0; i < rows; ++i) {
        const double x = row[g * rows + i];
        const double* w = groups_in_rows ? matrix + (g * rows + i) * row_stride
                                         : matrix + i * row_stride + g * columns;
        double* y = sums + g * columns;
        for (int64_t j = 0; j < columns; ++j) y[j] += x * w[j];
      }
    }
  }

  template <class T>
  void forward(T*, const Buffers& b, const Scratch& scratch, ThreadPool& pool, int threads) const {
    const View in(p_.layout, p_.input_voxels(), p_.ic), out(p_.layout, p_.output_voxels(), p_.oc);
    const AxisMap ad = axis(0), ah = axis(1), aw = axis(2);
    const int64_t voxels = p_.output_voxels(), icg = p_.ic / p_.groups, ocg = p_.oc / p_.groups;
    const double* filter = static_cast<const double*>(b.packed_filter);
    pool.parallel_for(b.batch * voxels, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      double* sums = scratch.get<double>(row_, thread);
      double* row = sums + std::max(p_.ic, p_.oc);
      for (int64_t at = begin; at < end; ++at) {
        const int64_t n = at / voxels, v = at % voxels;
        const int64_t od = v / (p_.oh * p_.ow), oh = v / p_.ow % p_.oh, ow = v % p_.ow;
        std::fill_n(sums, p_.oc, 0.0);
        for (int64_t kd = 0; kd < p_.kd; ++kd) {
          const int64_t d = ad.input(od, kd);
          if (d < 0) continue;
          for (int64_t kh = 0; kh < p_.kh; ++kh) {
            const int64_t h = ah.input(oh, kh);
            if (h < 0) continue;
            for (int64_t kw = 0; kw < p_.kw; ++kw) {
              const int64_t w = aw.input(ow, kw);
              if (w < 0) continue;
              const T* x = static_cast<const T*>(b.input) + n * in.sample +
                           ((d * p_.ih + h) * p_.iw + w) * in.voxel;
              for (int64_t i = 0; i < p_.ic; ++i) row[i] = load(x[i * in.channel]);
              const double* tap = filter + ((kd * p_.kh + kh) * p_.kw + kw) * icg * p_.oc;
              multiply_groups(row, tap, icg, ocg, p_.oc, false, sums);
            }
          }
        }
        finish(sums, b.bias, p_.oc, out.channel,
               static_cast<T*>(b.result) + n * out.sample + v * out.voxel);
      }
    });
  }

  template <class T>
  void backward_input(T*, const Buffers& b, const Scratch& scratch, ThreadPool& pool,
                      int threads) const {
    const View in(p_.layout, p_.input_voxels(), p_.ic), out(p_.layout, p_.output_voxels(), p_.oc);
    const AxisMap ad = axis(0), ah = axis(1), aw = axis(2);
    const int64_t voxels = p_.input_voxels(), icg = p_.ic / p_.groups, ocg = p_.oc / p_.groups;
    const double* filter = static_cast<const double*>(b.packed_filter);
    pool.parallel_for(b.batch * voxels, 1, threads, [&](int64_t begin, int64_t end, int thread) {
      double* sums = scratch.get<double>(row_, thread);
      double* row = sums + std::max(p_.ic, p_.oc);
      for (int64_t at = begin; at < end; ++at) {
        const int64_t n = at / voxels, v = at % voxels;
        const int64_t jd = v / (p_.ih * p_.iw), jh = v / p_.iw % p_.ih, jw = v % p_.iw;
        std::fill_n(sums, p_.ic, 0.0);
        for (int64_t kd = 0; kd < p_.kd; ++kd) {
          const int64_t d = ad.output(jd, kd);
          if (d < 0) continue;
          for (int64_t kh = 0; kh < p_.kh; ++kh) {
            const int64_t h = ah.output(jh, kh);
            if (h < 0) continue;
            for (int64_t kw = 0; kw < p_.kw; ++kw) {
              const int64_t w = aw.output(jw, kw);
              if (w < 0) continue;
              const T* dy = static_cast<const T*>(b.grad_output) + n * out.sample +
                            ((d * p_.oh + h) * p_.ow + w) * out.voxel;
              for (int64_t c = 0; c < p_.oc; ++c) row[c] = load(dy[c * out.channel]);
              const double* tap = filter + ((kd * p_.kh + kh) * p_.kw + kw) * icg * p_.oc;
              multiply_groups(row, tap, ocg, icg, icg, true, sums);
            }
          }
        }
        finish(sums, b.bias, p_.ic, in.channel,
               static_cast<T*>(b.result) + n * in.sample + v * in.voxel);
      }
    });
  }

  template <class T>
  void backward_filter(T*, const Buffers& b, const Scratch& scratch, ThreadPool& pool,
                       int threads) const {
    const View in(p_.layout, p_.input_voxels(), p_.ic), out(p_.layout, p_.output_voxels(), p_.oc);
    const AxisMap ad = axis(0), ah = axis(1), aw = axis(2);
    const int64_t icg = p_.ic / p_.groups, ocg = p_.oc / p_.groups;
    // One task is one row grad_filter[k, i, all of a group's c]; groups are apart because they
    // read other input channels.
    pool.parallel_for(
        p_.kd * p_.kh * p_.kw * icg * p_.groups, 1, threads,
        [&](int64_t begin, int64_t end, int thread) {
          double* sums = scratch.get<double>(row_, thread);
          for (int64_t at = begin; at < end; ++at) {
            const int64_t g = at % p_.groups, i = at / p_.groups % icg, tap = at / p_.groups / icg;
            const int64_t kd = tap / (p_.kh * p_.kw), kh = tap / p_.kw % p_.kh, kw = tap % p_.kw;
            std::fill_n(sums, ocg, 0.0);
            for (int64_t n = 0; n < b.batch; ++n) {
              const T* x =
                  static_cast<const T*>(b.input) + n * in.sample + (g * icg + i) * in.channel;
              const T* dy =
                  static_cast<const T*>(b.grad_output) + n * out.sample + g * ocg * out.channel;
              for (int64_t od = 0; od < p_.od; ++od) {
                const int64_t d = ad.input(od, kd);
                if (d < 0) continue;
                for (int64_t oh = 0; oh < p_.oh; ++oh) {
                  const int64_t h = ah.input(oh, kh);
                  if (h < 0) continue;
                  for (int64_t ow = 0; ow < p_.ow; ++ow) {
                    const int64_t w = aw.input(ow, kw);
                    if (w < 0) continue;
                    const double xv = load(x[((d * p_.ih + h) * p_.iw + w) * in.voxel]);
                    const T* y = dy + ((od * p_.oh + oh) * p_.ow + ow) * out.voxel;
                    for (int64_t c = 0; c < ocg; ++c) sums[c] += xv * load(y[c * out.channel]);
                  }
                }
              }
            }
            T* to = static_cast<T*>(b.result) + (tap * icg + i) * p_.oc + g * ocg;
            for (int64_t c = 0; c < ocg; ++c) store(sums[c], to + c);
          }
        });
  }

  const Problem p_;
  ScratchLedger ledger_;
  int row_ = 0;
};

class Reference final : public Algorithm {
 public:
  const char* name() const override { return "reference"; }
  const char* family() const override { return "reference"; }
  std::string why_not(const Problem&, const PlanContext&) const override { return ""; }
  double cost(const Problem& problem, const PlanContext& context) const override {
    // About one multiply-add per nanosecond, and at least a microsecond so that it
    // never wins by rounding.
    const double seconds = kCallSeconds + problem.flops() * 0.5e-9 / std::max(1, context.threads);
    if (problem.direction != Direction::kBackwardInput) return seconds;
    // It packs nothing, but must not win by that: the others pack once for all samples of a batch.
    const double filter =
        static_cast<double>(problem.filter_elements() * Problem::element_size(problem.dtype));
    return seconds + 2 * packing_seconds(filter, filter, *context.cpu);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem, const PlanContext&) const override {
    return std::make_unique<PreparedReference>(problem);
  }
};

}  // namespace

const Algorithm& reference_algorithm() {
  static const Reference algorithm;
  return algorithm;
}

}  // namespace conv3d
