// Pooling against its definition, written out naively: table x kind x layout x dtype x random
// problem.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "algorithms/pooling/pooling.h"
#include "base/status.h"
#include "emulation/tables.h"
#include "kernels/dispatch.h"
#include "problem/pool_problem.h"
#include "runtime/cpu_info.h"

using namespace conv3d;

namespace {

struct Place {
  int64_t n, c, d, h, w;
};

size_t index_of(Layout layout, const Extent3& e, int64_t channels, Place p) {
  const int64_t i = layout == Layout::kChannelsLast
                        ? (((p.n * e[0] + p.d) * e[1] + p.h) * e[2] + p.w) * channels + p.c
                        : (((p.n * channels + p.c) * e[0] + p.d) * e[1] + p.h) * e[2] + p.w;
  return static_cast<size_t>(i);
}

// f(output's place, cells of its window in order).
template <class F>
void for_windows(const PoolProblem& p, const F& f) {
  for (int64_t n = 0; n < p.mb; ++n)
    for (int64_t c = 0; c < p.channels; ++c)
      for (int64_t d = 0; d < p.output[0]; ++d)
        for (int64_t h = 0; h < p.output[1]; ++h)
          for (int64_t w = 0; w < p.output[2]; ++w) {
            std::vector<size_t> cells;
            for (int64_t kd = 0; kd < p.window[0]; ++kd)
              for (int64_t kh = 0; kh < p.window[1]; ++kh)
                for (int64_t kw = 0; kw < p.window[2]; ++kw) {
                  const Place at{n, c, d * p.stride[0] - p.pad[0] + kd,
                                 h * p.stride[1] - p.pad[1] + kh, w * p.stride[2] - p.pad[2] + kw};
                  if (at.d < 0 || at.d >= p.input[0] || at.h < 0 || at.h >= p.input[1] ||
                      at.w < 0 || at.w >= p.input[2])
                    continue;
                  cells.push_back(index_of(p.layout, p.input, p.channels, at));
                }
            f(index_of(p.layout, p.output, p.channels, {n, c, d, h, w}), cells);
          }
}

template <class T>
void check_problem(const PoolSpec& base, const KernelTable& table, unsigned seed, bool with_nan) {
  PoolSpec spec = base;
  spec.dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
  const PoolProblem p = make_pool_problem(spec);
  const size_t ins = static_cast<size_t>(p.mb * p.channels * p.input_voxels());
  const size_t outs = static_cast<size_t>(p.mb * p.channels * p.output_voxels());
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> few(-3, 3);  // ties are common
  std::vector<T> x(ins), dy(outs), y(outs), dx(ins), expected_y(outs), expected_dx(ins);
  for (T& v : x) v = static_cast<T>(few(random));
  for (T& v : dy) v = static_cast<T>(few(random));
  if (with_nan && ins > 3) x[ins / 3] = std::numeric_limits<T>::quiet_NaN();
  ThreadPool& pool = default_thread_pool();
  const double tolerance = sizeof(T) == 8 ? 1e-14 : 1e-6;
  const auto same = [](T a, T b) { return a == b || (a != a && b != b); };

  for_windows(p, [&](size_t out, const std::vector<size_t>& cells) {
    REQUIRE(!cells.empty());
    size_t best = cells[0];
    for (size_t cell : cells)
      if (x[best] == x[best] && (x[cell] > x[best] || x[cell] != x[cell])) best = cell;
    expected_y[out] = x[best];
    expected_dx[best] += dy[out];
  });
  for (int threads : {1, 2, 5}) {
    max_pool_forward(p, table, x.data(), y.data(), pool, threads);
    size_t wrong = 0;
    for (size_t i = 0; i < outs; ++i) wrong += !same(y[i], expected_y[i]);
    CHECK(wrong == 0);
    max_pool_backward(p, table, x.data(), y.data(), dy.data(), dx.data(), pool, threads);
    for (size_t i = 0; i < ins; ++i) wrong += !same(dx[i], expected_dx[i]);
    CHECK(wrong == 0);
  }
  if (with_nan) return;

  expected_dx.assign(ins, T(0));
  for_windows(p, [&](size_t out, const std::vector<size_t>& cells) {
    double sum = 0;
    for (size_t cell : cells) {
      sum += static_cast<double>(x[cell]);
      expected_dx[cell] += dy[out] / static_cast<T>(cells.size());
    }
    expected_y[out] = static_cast<T>(sum / static_cast<double>(cells.size()));
  });
  for (int threads : {1, 3}) {
    avg_pool_forward(p, table, x.data(), y.data(), pool, threads);
    size_t wrong = 0;
    for (size_t i = 0; i < outs; ++i)
      wrong += y[i] != expected_y[i];  // whole numbers: one rounding, that of the division
    CHECK(wrong == 0);
    avg_pool_backward(p, table, dy.data(), dx.data(), pool, threads);
    for (size_t i = 0; i < ins; ++i)
      wrong += std::abs(static_cast<double>(dx[i] - expected_dx[i])) > tolerance * 30;
    CHECK(wrong == 0);
  }
}

}  // namespace

TEST_CASE("pooling equals its definition") {
  std::mt19937 random(11);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  for (int i = 0; i < 160; ++i) {
    PoolSpec spec;
    spec.padding = static_cast<Padding>(pick(0, 2));
    spec.layout = static_cast<Layout>(pick(0, 1));
    spec.batch = pick(1, 2);
    spec.channels = pick(1, 19);
    for (size_t a = 0; a < 3; ++a) {
      spec.window[a] = pick(1, 4);
      spec.stride[a] = pick(1, 5);
      spec.input[a] = spec.window[a] + pick(0, 7);
      spec.pad_before[a] = pick(0, static_cast<int>(spec.window[a]) - 1);
      spec.pad_after[a] = pick(0, static_cast<int>(spec.window[a]) - 1);
    }
    for (const KernelTable* of_isa : conv3d::testing::runnable_tables()) {
      const KernelTable& table = *of_isa;
      INFO("problem ", i, " on ", table.name);
      check_problem<float>(spec, table, static_cast<unsigned>(i), i % 4 == 0);
      check_problem<double>(spec, table, static_cast<unsigned>(i), i % 4 == 1);
    }
  }
}

TEST_CASE("pooling of nothing") {
  PoolSpec spec;
  spec.padding = Padding::kSame;
  spec.batch = 0;
  spec.channels = 3;
  spec.input = {4, 4, 4};
  spec.window = {2, 2, 2};
  const PoolProblem p = make_pool_problem(spec);
  CHECK(p.output == Extent3{4, 4, 4});
  max_pool_forward(p, kernel_table(), nullptr, nullptr, default_thread_pool(), 2);
  avg_pool_backward(p, kernel_table(), nullptr, nullptr, default_thread_pool(), 2);
}

TEST_CASE("pooling refuses what it cannot do") {
  PoolSpec good;
  good.channels = 2;
  good.input = {5, 5, 5};
  good.window = {2, 3, 2};
  CHECK(make_pool_problem(good).output == Extent3{4, 3, 4});
  const auto status = [&](auto change) {
    PoolSpec spec = good;
    change(spec);
    try {
      make_pool_problem(spec);
    } catch (const Error& error) {
      return error.status();
    }
    return Status::kOk;
  };
  CHECK(status([](PoolSpec& s) { s.window[1] = 0; }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) { s.stride[2] = 0; }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) { s.window[1] = 6; }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) { s.batch = -1; }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) { s.dtype = DType::kFloat16; }) == Status::kUnsupported);
  CHECK(status([](PoolSpec& s) {
          s.padding = Padding::kExplicit;
          s.pad_before[0] = 2;
        }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) { s.batch = int64_t{1} << 60; }) == Status::kOutOfMemory);
}
