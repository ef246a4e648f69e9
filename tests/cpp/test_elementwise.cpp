// The element-wise family against its definitions in long double: table x layout x dtype x shape x
// number of threads.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "algorithms/elementwise/elementwise.h"
#include "algorithms/elementwise/rows.h"
#include "base/status.h"
#include "emulation/tables.h"
#include "kernels/dispatch.h"
#include "runtime/cpu_info.h"

using namespace conv3d;

namespace {

template <class T>
constexpr DType dtype_of() {
  return sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
}
template <class T>
constexpr double unit() {
  return std::numeric_limits<T>::epsilon();
}

template <class T>
std::vector<T> random_values(size_t n, unsigned seed, double mean = 0) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(mean, 1);
  std::vector<T> values(n);
  for (T& v : values) v = static_cast<T>(normal(random));
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Channels that are fewer than, as many as and more than lanes, prime ones, remainders of every
// kind; more than one chunk.
const ChannelView kViews[] = {
    {DType::kFloat32, 7, 3, 1},     {DType::kFloat32, 1, 1, 1},    {DType::kFloat32, 5000, 8, 1},
    {DType::kFloat32, 6001, 3, 1},  {DType::kFloat32, 333, 67, 1}, {DType::kFloat32, 40, 1031, 1},
    {DType::kFloat32, 1, 5, 1},     {DType::kFloat32, 2, 3, 17},   {DType::kFloat32, 3, 2, 64},
    {DType::kFloat32, 2, 2, 40001}, {DType::kFloat32, 1, 4, 5},    {DType::kFloat32, 20001, 1, 1},
};

template <class T>
void check_view_of(ChannelView view, const KernelTable& table) {
  view.dtype = dtype_of<T>();
  const size_t n = static_cast<size_t>(view.outer * view.channels * view.inner),
               c = static_cast<size_t>(view.channels);
  const auto channel = [&](size_t i) { return i / static_cast<size_t>(view.inner) % c; };
  const std::vector<T> x = random_values<T>(n, 1, 100), y = random_values<T>(n, 2),
                       center = random_values<T>(c, 3);
  const std::vector<T> a = random_values<T>(c, 4), b = random_values<T>(c, 5),
                       shift = random_values<T>(c, 6);
  const long double count = static_cast<long double>(n / c);
  std::vector<long double> sum(c), squares(c), total(c), product(c), magnitude(c);
  for (size_t i = 0; i < n; ++i) sum[channel(i)] += x[i];
  for (size_t i = 0; i < n; ++i) {
    const long double d = x[i] - sum[channel(i)] / count;
    squares[channel(i)] += d * d;
    total[channel(i)] += y[i];
    product[channel(i)] +=
        static_cast<long double>(y[i]) * (static_cast<long double>(x[i]) - center[channel(i)]);
    magnitude[channel(i)] += std::fabs(static_cast<long double>(y[i]) *
                                       (static_cast<long double>(x[i]) - center[channel(i)]));
  }
  ThreadPool& pool = default_thread_pool();
  std::vector<T> first_mean, first_variance, first_sum, first_product;
  for (int threads : {1, 2, 5}) {
    std::vector<T> mean(c), variance(c), s(c), p(c), alone(c), out(n);
    channel_moments(view, table, x.data(), mean.data(), variance.data(), pool, threads);
    channel_sums(view, table, y.data(), x.data(), center.data(), s.data(), p.data(), pool, threads);
    channel_sums(view, table, y.data(), nullptr, nullptr, alone.data(), nullptr, pool, threads);
    for (size_t k = 0; k < c; ++k) {
      // The mean of 100 must cost the variance of 1 nothing: sums of x^2 alone would lose 13 bits.
      CHECK(std::fabs(mean[k] - sum[k] / count) <= 4 * unit<T>() * 100);
      CHECK(std::fabs(variance[k] - squares[k] / count) <=
            64 * unit<T>() * (squares[k] / count) + 1e-300);
      CHECK(std::fabs(s[k] - total[k]) <=
            64 * unit<T>() * std::sqrt(static_cast<double>(count)) + unit<T>());
      CHECK(std::fabs(p[k] - product[k]) <= 16 * unit<T>() * magnitude[k]);
    }
    CHECK(same_bits(alone, s));
    if (threads == 1) {
      first_mean = mean, first_variance = variance, first_sum = s, first_product = p;
    }
    CHECK(same_bits(mean, first_mean));
    CHECK(same_bits(variance, first_variance));
    CHECK(same_bits(s, first_sum));
    CHECK(same_bits(p, first_product));

    const auto compare = [&](const T* scale, const T* other, const T* other_scale, const T* add,
                             bool relu) {
      channel_affine(view, table, x.data(), scale, other, other_scale, add, relu, out.data(), pool,
                     threads);
      size_t wrong = 0;
      for (size_t i = 0; i < n; ++i) {
        T v = x[i];
        if (scale != nullptr) v = v * scale[channel(i)];
        if (other != nullptr) {
          const T term = other[i] * other_scale[channel(i)];
          v = v + term;
        }
        if (add != nullptr) v = v + add[channel(i)];
        if (relu) v = v > 0 ? v : T(0);
        wrong += !(out[i] == v);
      }
      CHECK(wrong == 0);
    };
    for (bool relu : {false, true}) {
      compare(a.data(), nullptr, nullptr, shift.data(), relu);
      compare(a.data(), nullptr, nullptr, nullptr, relu);
      compare(nullptr, nullptr, nullptr, shift.data(), relu);
      compare(a.data(), y.data(), b.data(), shift.data(), relu);
      compare(a.data(), y.data(), b.data(), nullptr, relu);
    }
  }
}

template <class T>
void check_rows(int64_t rows, int64_t classes, const KernelTable& table) {
  const size_t n = static_cast<size_t>(rows * classes);
  std::vector<T> x = random_values<T>(n, 7), g = random_values<T>(n, 8), y(n), gx(n),
                 loss(static_cast<size_t>(rows)), grad(n);
  for (T& v : x) v *= 20;
  if (classes > 1) x[0] = -std::numeric_limits<T>::infinity();
  std::vector<int64_t> labels(static_cast<size_t>(rows));
  for (size_t r = 0; r < labels.size(); ++r)
    labels[r] = static_cast<int64_t>((r * 7 + 1) % static_cast<size_t>(classes));
  ThreadPool& pool = default_thread_pool();
  softmax(dtype_of<T>(), rows, classes, table, x.data(), y.data(), pool, 2);
  softmax_grad(dtype_of<T>(), rows, classes, y.data(), g.data(), gx.data(), pool, 2);
  sparse_cross_entropy(dtype_of<T>(), rows, classes, table, x.data(), labels.data(), loss.data(),
                       grad.data(), pool, 2);
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const size_t first = r * static_cast<size_t>(classes),
                 end = first + static_cast<size_t>(classes);
    long double top = x[first], sum = 0, inner = 0;
    for (size_t i = first; i < end; ++i) top = x[i] > top ? x[i] : top;
    for (size_t i = first; i < end; ++i) sum += std::exp(x[i] - top);
    for (size_t i = first; i < end; ++i) inner += static_cast<long double>(g[i]) * y[i];
    const size_t label = first + static_cast<size_t>(labels[r]);
    const long double wanted = std::log(sum) + top - x[label];
    if (std::isfinite(static_cast<double>(wanted)))
      CHECK(std::fabs(loss[r] - wanted) <= 8 * unit<T>() * (1 + std::fabs(wanted)));
    for (size_t i = first; i < end; ++i) {
      const long double p = std::exp(x[i] - top) / sum;
      // x - top is rounded: half a unit of it in the exponent.
      const long double units = std::isfinite(x[i]) ? 8 + (top - x[i]) : 0;
      CHECK(std::fabs(y[i] - p) <= units * unit<T>() * p + 1e-37);
      CHECK(std::fabs(grad[i] - (p - (i == label ? 1 : 0))) <= 8 * unit<T>());
      CHECK(std::fabs(gx[i] - (g[i] - inner) * y[i]) <=
            8 * unit<T>() * (std::fabs(g[i]) + std::fabs(inner)));
    }
  }
}

template <class T>
void check_pointwise(int64_t n, const KernelTable& table) {
  std::vector<T> g = random_values<T>(static_cast<size_t>(n), 9),
                 y = random_values<T>(static_cast<size_t>(n), 10), out(g.size());
  const T infinity = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  if (n > 2) {
    g[0] = infinity, y[0] = -1;  // an infinite gradient behind a closed gate is 0
    y[1] = 0;
    y[2] = nan;
  }
  const T alpha = T(0.25), one = 1;
  for (int op = 0; op <= 4; ++op) {
    pointwise(static_cast<Pointwise>(op), dtype_of<T>(), n, table, g.data(), y.data(), 0.25,
              out.data(), default_thread_pool(), 2);
    size_t wrong = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      T v = 0;
      switch (op) {
        case 0: v = y[i] > 0 ? g[i] : T(0); break;
        case 1: v = y[i] > 0 ? g[i] : g[i] * alpha; break;
        case 2: v = g[i] * (y[i] * (one - y[i])); break;
        case 3: v = g[i] * (one - y[i] * y[i]); break;
        default: v = g[i] + y[i];
      }
      wrong += !(out[i] == v || (out[i] != out[i] && v != v));
    }
    CAPTURE(op);
    CHECK(wrong == 0);
  }
}

template <class T>
void check_optimizers(int64_t n, const KernelTable& table) {
  const size_t size = static_cast<size_t>(n);
  const std::vector<T> g = random_values<T>(size, 11), var = random_values<T>(size, 12),
                       s0 = random_values<T>(size, 13, 8), s1 = random_values<T>(size, 14, 8);
  const T a = T(0.1), b = T(0.9), c = T(1e-3), d = T(0.99), one = 1;
  for (int rule = 0; rule <= 5; ++rule) {
    std::vector<T> nv(size), n0(size), n1(size);
    const OptimizerStep step = {static_cast<OptimizerRule>(rule),
                                {a, b, c, d},
                                g.data(),
                                var.data(),
                                s0.data(),
                                s1.data(),
                                nv.data(),
                                n0.data(),
                                n1.data()};
    optimizer_step(step, dtype_of<T>(), n, table, default_thread_pool(), 2);
    size_t wrong = 0;
    for (size_t i = 0; i < size; ++i) {
      T v = 0, x = 0, y = 0;
      if (rule == 0) {
        v = var[i] - a * g[i];
      } else if (rule <= 2) {
        x = s0[i] * b + g[i];
        v = rule == 1 ? var[i] - x * a : var[i] - (g[i] * a + x * b * a);
      } else if (rule == 3) {
        x = s0[i] + (g[i] * g[i] - s0[i]) * (one - d);
        y = s1[i] * b + g[i] * a / std::sqrt(x + c);
        v = var[i] - y;
      } else {
        x = (g[i] - s0[i]) * (one - b) + s0[i];
        y = (g[i] * g[i] - s1[i]) * (one - d) + s1[i];
        const T m = rule == 4 ? x : g[i] * (one - b) + b * x;
        v = var[i] - m * a / (std::sqrt(y) + c);
      }
      wrong += !(nv[i] == v && (rule < 1 || n0[i] == x) && (rule < 3 || n1[i] == y));
    }
    CAPTURE(rule);
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST_CASE("moments, sums and affine maps by channel") {
  for (const KernelTable* table : conv3d::testing::runnable_tables()) {
    CAPTURE(table->name);
    for (const ChannelView& view : kViews) {
      CAPTURE(view.outer);
      CAPTURE(view.channels);
      CAPTURE(view.inner);
      check_view_of<float>(view, *table);
      check_view_of<double>(view, *table);
    }
  }
}

TEST_CASE("softmax and cross entropy") {
  for (const KernelTable* table : conv3d::testing::runnable_tables()) {
    CAPTURE(table->name);
    for (auto [rows, classes] :
         {std::pair<int64_t, int64_t>{1, 1}, {1000, 3}, {300, 2}, {77, 17}, {5, 1000}, {513, 8}}) {
      CAPTURE(rows);
      CAPTURE(classes);
      check_rows<float>(rows, classes, *table);
      check_rows<double>(rows, classes, *table);
    }
  }
}

TEST_CASE("gradients of activations, sums and steps of optimizers round as their formulas") {
  for (const KernelTable* table : conv3d::testing::runnable_tables()) {
    CAPTURE(table->name);
    for (int64_t n : {1, 3, 8, 37, 40000}) {
      CAPTURE(n);
      check_pointwise<float>(n, *table);
      check_pointwise<double>(n, *table);
      check_optimizers<float>(n, *table);
      check_optimizers<double>(n, *table);
    }
  }
}

// Threads of a caller who writes to the labels when they have been looked at.
class MeddlingPool final : public ThreadPool {
 public:
  MeddlingPool(int64_t* label, int64_t value) : label_(label), value_(value) {}
  int max_threads() const override { return 1; }
  void parallel_for(int64_t n, int64_t, int, RangeFn fn) override {
    *label_ = value_;
    fn(0, n, 0);
  }

 private:
  int64_t* label_;
  int64_t value_;
};

TEST_CASE("labels that change during the call are refused and not followed") {
  constexpr int64_t kRows = 7, kClasses = 3;
  const std::vector<float> x(kRows * kClasses, 1.0f);
  std::vector<float> loss(kRows), grad(kRows * kClasses);
  for (int64_t value : {int64_t{-1}, kClasses, int64_t{1} << 60}) {
    std::vector<int64_t> labels(kRows, 1);
    MeddlingPool pool(&labels[5], value);
    CHECK_THROWS_AS(sparse_cross_entropy(DType::kFloat32, kRows, kClasses, kernel_table(), x.data(),
                                         labels.data(), loss.data(), grad.data(), pool, 1),
                    Error);
  }
}

TEST_CASE("rows are joined from parts and cut into them again") {
  std::mt19937 random(7);
  const std::vector<std::pair<int64_t, std::vector<int64_t>>> cases = {
      {1, {4}},           {5, {32, 32}},         {1000, {12, 4, 36}},  {3, {0, 7, 1}},
      {0, {8, 8}},        {2, {100000, 3}},      {700, {64, 128, 16}}, {40, {5000, 3000}},
      {1, {1, 2, 3}},     {2, {9000, 70001, 1}}, {4096, {8, 4}},       {3, {}},
      {400000, {32, 16}},  // larger than what is written through the caches
  };
  for (const KernelTable* table : conv3d::testing::runnable_tables()) {
    for (const auto& [rows, bytes] : cases) {
      const int parts = static_cast<int>(bytes.size());
      const RowParts shape = make_row_parts(rows, parts, bytes.data());
      // Not aligned to lines, and something behind the end.
      std::vector<char> whole(static_cast<size_t>(rows * shape.row_bytes) + 20, 'x');
      char* const result = whole.data() + 4;
      std::vector<std::vector<char>> sources, cut;
      std::vector<const void*> from;
      std::vector<void*> to;
      for (int64_t b : bytes) {
        sources.emplace_back(static_cast<size_t>(rows * b));
        for (char& c : sources.back()) c = static_cast<char>(random());
        cut.emplace_back(sources.back().size());
      }
      for (int i = 0; i < parts; ++i) {
        from.push_back(sources[static_cast<size_t>(i)].data());
        to.push_back(cut[static_cast<size_t>(i)].data());
      }
      for (int threads : {1, 3}) {
        CAPTURE(rows);
        CAPTURE(shape.row_bytes);
        join_rows(shape, *table, from.data(), result, default_thread_pool(), threads);
        bool right = true;
        int64_t offset = 0;
        for (int i = 0; i < parts; offset += bytes[static_cast<size_t>(i++)]) {
          const int64_t b = bytes[static_cast<size_t>(i)];
          for (int64_t r = 0; b > 0 && r < rows; ++r)
            right = right && std::memcmp(result + r * shape.row_bytes + offset,
                                         sources[static_cast<size_t>(i)].data() + r * b,
                                         static_cast<size_t>(b)) == 0;
        }
        CHECK(right);
        CHECK(std::string(whole.end() - 16, whole.end()) == std::string(16, 'x'));
        CHECK(std::string(whole.begin(), whole.begin() + 4) == "xxxx");
        cut_rows(shape, result, to.data(), default_thread_pool(), threads);
        CHECK(cut == sources);
        for (std::vector<char>& part : cut) std::fill(part.begin(), part.end(), 0);
      }
    }
  }
  const int64_t negative[] = {8, -1}, huge[] = {int64_t{1} << 62, int64_t{1} << 62};
  CHECK_THROWS_AS(make_row_parts(3, 2, negative), Error);
  CHECK_THROWS_AS(make_row_parts(-1, 0, nullptr), Error);
  CHECK_THROWS_AS(make_row_parts(9, 2, huge), Error);
}

TEST_CASE("empty channels and bad views") {
  const KernelTable& table = kernel_table();
  float mean[2] = {0, 0}, variance[2] = {0, 0}, sum[2] = {1, 1};
  const ChannelView none = {DType::kFloat32, 0, 2, 1};
  channel_moments(none, table, nullptr, mean, variance, default_thread_pool(), 1);
  CHECK((mean[0] != mean[0] && variance[1] != variance[1]));
  channel_sums(none, table, nullptr, nullptr, nullptr, sum, nullptr, default_thread_pool(), 1);
  CHECK((sum[0] == 0 && sum[1] == 0));
  CHECK_THROWS_AS(check_view({DType::kFloat16, 1, 1, 1}), Error);
  CHECK_THROWS_AS(check_view({DType::kFloat32, -1, 1, 1}), Error);
  CHECK_THROWS_AS(check_view({DType::kFloat32, int64_t{1} << 40, int64_t{1} << 40, 1}), Error);
  const float logits[2] = {0, 1};
  float loss = 0, grad[2];
  for (int64_t label : {int64_t{-1}, int64_t{2}})
    CHECK_THROWS_AS(sparse_cross_entropy(DType::kFloat32, 1, 2, table, logits, &label, &loss, grad,
                                         default_thread_pool(), 1),
                    Error);
}
