// The kernel tables: dispatch by name, and every GEMM kernel of every table against plain loops,
// over tiles, lengths of k and edges. Whole numbers, so that results are exact.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "emulation/tables.h"
#include "guarded.h"
#include "kernels/dispatch.h"
#include "runtime/cpu_info.h"

using namespace conv3d;
using conv3d::testing::Guarded;
using conv3d::testing::runnable_tables;
using conv3d::testing::Wall;

namespace {

template <class T>
const GemmKernels<T>& gemm_of(const KernelTable& table) {
  if constexpr (std::is_same_v<T, float>) {
    return table.gemm.f32;
  } else {
    return table.gemm.f64;
  }
}

template <class T>
std::vector<T> numbers(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> integer(-4, 4);
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(integer(random));
  return v;
}

constexpr int64_t kGuard = 40;  // elements around C that must stay as they are

// One call of `taps` (or its strided form) with `rows` rows and `columns` of `vectors` vectors,
// against loops.
template <class T>
void check_taps(const KernelTable& table, bool strided, int64_t rows, int vectors, int columns,
                int groups, int taps, int64_t k, bool load_c, int activation) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  const int64_t nr = int64_t{vectors} * kernels.lanes, step = k + 3, tap_step = 5, group_step = 7,
                c_step = nr + 2;
  const std::vector<T> a = numbers<T>(
      static_cast<size_t>(rows * step + groups * group_step + taps * tap_step + k + 8), 1);
  std::vector<T> b = numbers<T>(static_cast<size_t>(groups * taps * k * nr + nr), 2);
  for (int64_t i = 0; i < groups * taps * k; ++i)
    for (int64_t n = columns; n < nr; ++n) b[static_cast<size_t>(i * nr + n)] = 0;
  const std::vector<T> bias = numbers<T>(static_cast<size_t>(nr), 3);
  std::vector<T> c = numbers<T>(static_cast<size_t>(rows * c_step + 2 * kGuard), 4), expected = c;
  // Groups of B in reversed order: offsets are the caller's.
  std::vector<ptrdiff_t> b_groups;
  for (int g = 0; g < groups; ++g) b_groups.push_back((groups - 1 - g) * taps * k * nr);

  std::vector<const T*> pointers;
  std::vector<T*> c_pointers;
  for (int g = 0; g < groups; ++g) {
    if (strided) {
      pointers.push_back(a.data() + g * group_step);
    } else {
      for (int64_t r = 0; r < rows; ++r) pointers.push_back(a.data() + r * step + g * group_step);
    }
  }
  for (int64_t r = 0; r < rows; ++r) c_pointers.push_back(c.data() + kGuard + r * c_step);
  for (int64_t r = 0; r < rows; ++r) {
    for (int n = 0; n < columns; ++n) {
      T& to = expected[static_cast<size_t>(kGuard + r * c_step + 1 + n)];
      T sum = load_c ? to : T(0);
      for (int g = 0; g < groups; ++g)
        for (int t = 0; t < taps; ++t)
          for (int64_t i = 0; i < k; ++i)
            sum += a[static_cast<size_t>(r * step + g * group_step + 2 + t * tap_step + i)] *
                   b[static_cast<size_t>(b_groups[static_cast<size_t>(g)] + (t * k + i) * nr + n)];
      if (activation >= 0) sum += bias[static_cast<size_t>(n)];
      if (activation == 1 && sum < 0) sum = 0;
      if (activation == 2 && sum < 0) sum *= T(0.25);
      to = sum;
    }
  }
  GemmTapArgs<T> args{};
  args.rows = rows;
  args.columns = columns;
  args.vectors = vectors;
  args.groups = groups;
  args.taps = taps;
  args.k = k;
  args.a = pointers.data();
  args.a_group = rows;
  args.a_row = step;
  args.a_offset = 2;
  args.a_tap = tap_step;
  args.b = b.data();
  args.b_group = b_groups.data();
  args.b_tap = k * nr;
  args.c = c_pointers.data();
  args.c_offset = 1;
  args.c0 = c.data() + kGuard;
  args.c_row = c_step;
  args.finish = {load_c,     activation >= 0, activation >= 0 ? bias.data() : nullptr,
                 activation, T(0.25),         0};
  (strided ? kernels.taps_strided : kernels.taps)(&args);
  INFO(table.name, " strided ", strided, " rows ", rows, " vectors ", vectors, " columns ", columns,
       " groups ", groups, " taps ", taps, " k ", k);
  CHECK(c == expected);
}

template <class T>
void check_all_taps(const KernelTable& table) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  for (bool strided : {false, true}) {
    for (int vectors = 1; vectors <= kernels.max_vectors; ++vectors) {
      const int tile = (strided ? kernels.strided_rows : kernels.tap_rows)[vectors];
      for (int64_t rows = 1; rows <= 2 * tile + 1; ++rows) {
        const int columns = vectors * kernels.lanes - static_cast<int>(rows) % kernels.lanes;
        check_taps<T>(table, strided, rows, vectors, columns, 1 + static_cast<int>(rows % 3),
                      1 + static_cast<int>(rows % 2), 1 + rows % 5, rows % 2 == 0,
                      static_cast<int>(rows % 4) - 1);
      }
      for (int tail = 1; tail <= kernels.lanes; ++tail)
        check_taps<T>(table, strided, tile, vectors, (vectors - 1) * kernels.lanes + tail, 2, 3, 17,
                      tail % 2 == 0, 1);
      check_taps<T>(table, strided, tile + 1, vectors, vectors * kernels.lanes, 0, 1, 4, false,
                    0);  // no taps: bias alone
    }
  }
}

template <class T>
void check_dot(const KernelTable& table) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  for (int columns = 1; columns <= kMaxDotColumns; ++columns) {
    for (int64_t rows : {1, 2, 5, 8, 19}) {
      for (int64_t k : {1, 3, 4, 8, 15, 16, 17, 40}) {
        for (int taps : {1, 3}) {
          const int groups = 2;
          const int64_t padded = (k + kernels.lanes - 1) / kernels.lanes * kernels.lanes;
          const std::vector<T> a =
              numbers<T>(static_cast<size_t>(rows * k + groups * 3 + taps * k), 5);
          std::vector<T> b(static_cast<size_t>(groups * taps * columns * padded), T(0));
          const std::vector<T> values = numbers<T>(b.size(), 6);
          const std::vector<T> bias = numbers<T>(kMaxDotColumns, 7);
          for (size_t i = 0; i < b.size(); ++i)
            if (static_cast<int64_t>(i) % padded < k) b[i] = values[i];
          std::vector<T> c = numbers<T>(static_cast<size_t>(rows * (columns + 1)), 8), expected = c;
          std::vector<const T*> pointers;
          std::vector<T*> c_pointers;
          const std::vector<ptrdiff_t> b_groups = {0, taps * columns * padded};
          for (int g = 0; g < groups; ++g)
            for (int64_t r = 0; r < rows; ++r) pointers.push_back(a.data() + r * k + g * 3);
          for (int64_t r = 0; r < rows; ++r) c_pointers.push_back(c.data() + r * (columns + 1));
          for (int64_t r = 0; r < rows; ++r) {
            for (int n = 0; n < columns; ++n) {
              T& to = expected[static_cast<size_t>(r * (columns + 1) + n)];
              T sum = to + bias[static_cast<size_t>(n)];
              for (int g = 0; g < groups; ++g)
                for (int t = 0; t < taps; ++t)
                  for (int64_t i = 0; i < k; ++i)
                    sum += a[static_cast<size_t>(r * k + g * 3 + t * k + i)] *
                           b[static_cast<size_t>(((g * taps + t) * columns + n) * padded + i)];
              to = sum < 0 ? T(0) : sum;
            }
          }
          GemmDotArgs<T> args{};
          args.rows = rows;
          args.columns = columns;
          args.groups = groups;
          args.taps = taps;
          args.k = k;
          args.a = pointers.data();
          args.a_group = rows;
          args.a_tap = k;
          args.b = b.data();
          args.b_group = b_groups.data();
          args.b_tap = columns * padded;
          args.b_column = padded;
          args.c = c_pointers.data();
          args.finish = {1, 1, bias.data(), 1, T(0), 0};
          kernels.dot(&args);
          INFO(table.name, " columns ", columns, " rows ", rows, " k ", k, " taps ", taps);
          CHECK(c == expected);
        }
      }
    }
  }
}

template <class T>
void check_plane(const KernelTable& table) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  for (int rows = 1; rows <= kernels.tall_rows[1]; ++rows) {
    const int64_t widest =
        int64_t{kernels.plane_vectors[std::min(rows, kernels.plane_rows)]} * kernels.lanes;
    for (int64_t columns = 1; columns <= 2 * widest + 1; columns += columns < 20 ? 1 : 5) {
      const int groups = 2;
      const int64_t k = 5, a_k = rows + 1, b_k = columns + 2, c_row = columns + 1;
      const std::vector<T> a = numbers<T>(static_cast<size_t>(groups * k * a_k + 3), 9);
      const std::vector<T> b = numbers<T>(static_cast<size_t>(groups * k * b_k), 10);
      std::vector<T> c = numbers<T>(static_cast<size_t>(rows * c_row), 11), expected = c;
      const T* const a_groups[] = {a.data(), a.data() + k * a_k};
      const T* const b_groups[] = {b.data() - 1, b.data() + k * b_k - 1};
      for (int m = 0; m < rows; ++m)
        for (int64_t n = 0; n < columns; ++n)
          for (int g = 0; g < groups; ++g)
            for (int64_t i = 0; i < k; ++i)
              expected[static_cast<size_t>(m * c_row + n)] +=
                  a[static_cast<size_t>((g * k + i) * a_k + 1 + m)] *
                  b[static_cast<size_t>((g * k + i) * b_k + n)];
      GemmPlaneArgs<T> args{};
      args.rows = rows;
      args.columns = columns;
      args.groups = groups;
      args.k = k;
      args.a = a_groups;
      args.a_k = a_k;
      args.a_offset = 1;
      args.b = b_groups;
      args.b_k = b_k;
      args.b_offset = 1;
      args.c = c.data();
      args.c_row = c_row;
      args.load_c = 1;
      std::vector<T> asked = c;
      kernels.plane(&args);
      INFO(table.name, " rows ", rows, " columns ", columns);
      CHECK(c == expected);
      // The same while it asks for what is ahead.
      const void* const ahead_rows[] = {a.data(), b.data()};
      GemmAhead ahead{};
      ahead.regions[0] = {ahead_rows, 2, 1, 0, 1};
      ahead.regions[1] = {ahead_rows, 1, 3, static_cast<ptrdiff_t>(sizeof(T)), 2};
      ahead.count = 2;
      ahead.lines = 8;
      ahead.parts = groups;
      args.c = asked.data();
      args.ahead = &ahead;
      kernels.plane(&args);
      CHECK(asked == expected);
      CHECK(ahead.region == ahead.count);
    }
  }
}

template <class T>
void check_rest(const KernelTable& table) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  // Squares of vectors, and what is left beside them, below a square of columns too; rows further
  // apart than columns and the other way round. Both sides end at pages that nobody may touch.
  for (int64_t rows : {1, 3, 4, 7, 8, 9, 16, 19, 33})
    for (int64_t columns : {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 28, 40})
      for (int64_t gap : {3, 60})
        for (const Wall wall : {Wall::kAfter, Wall::kBefore}) {
          const int64_t src_stride = columns + gap, dst_stride = rows + 2;
          std::vector<T> numbers_from(static_cast<size_t>((rows - 1) * src_stride + columns));
          for (size_t i = 0; i < numbers_from.size(); ++i) numbers_from[i] = static_cast<T>(i);
          std::vector<T> expected(static_cast<size_t>((columns - 1) * dst_stride + rows), T(77));
          const Guarded from(numbers_from.size() * sizeof(T), sizeof(T), wall),
              to(expected.size() * sizeof(T), sizeof(T), wall);
          std::memcpy(from.data(), numbers_from.data(), from.bytes());
          std::memcpy(to.data(), expected.data(), to.bytes());
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j)
              expected[static_cast<size_t>(j * dst_stride + i)] =
                  numbers_from[static_cast<size_t>(i * src_stride + j)];
          const TransposeArgs<T> args = {static_cast<const T*>(from.data()),
                                         src_stride,
                                         static_cast<T*>(to.data()),
                                         dst_stride,
                                         rows,
                                         columns};
          kernels.transpose(&args);
          INFO(table.name, " ", rows, " x ", columns, ", ", gap, " between rows");
          CHECK(std::memcmp(to.data(), expected.data(), to.bytes()) == 0);
          CHECK(to.intact());
        }
  // Past the caches: whole lines of dst where its rows begin alike, at any place of a line.
  for (int64_t rows : {5, 16, 40, 100})
    for (int64_t columns : {1, 9, 16, 37})
      for (int64_t stride : {112, 113})
        for (int64_t shift : {0, 3}) {
          const std::vector<T> from = numbers<T>(static_cast<size_t>(rows * (columns + 3)), 12);
          std::vector<T> to(static_cast<size_t>(columns * stride + shift + 16), T(77)),
              expected = to;
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < columns; ++j)
              expected[static_cast<size_t>(j * stride + i + shift)] =
                  from[static_cast<size_t>(i * (columns + 3) + j)];
          const TransposeArgs<T> args = {
              from.data(), columns + 3, to.data() + shift, stride, rows, columns, 1};
          kernels.transpose(&args);
          INFO(table.name, " ", rows, " x ", columns, " to ", stride, " + ", shift);
          CHECK(to == expected);
        }
  std::vector<T> sum = numbers<T>(37, 13), expected = sum;
  const std::vector<T> term = numbers<T>(37, 14);
  for (size_t i = 0; i < 35; ++i) expected[i] += term[i];
  kernels.add(sum.data(), term.data(), 35);
  CHECK(sum == expected);
}

// The error of the vectorised functions in units of the last place of the right result.
template <class T>
void check_activations(const KernelTable& table) {
  const GemmKernels<T>& kernels = gemm_of<T>(table);
  const double limit = sizeof(T) == 4 ? 80 : 700;
  std::vector<T> x;
  for (int i = -20000; i <= 20000; ++i) x.push_back(static_cast<T>(limit * i / 20000));
  for (int i = -20000; i <= 20000; ++i)
    x.push_back(static_cast<T>(std::ldexp(i / 20000.0, -(i & 31))));
  for (int activation : {3, 4}) {
    std::vector<T> y = x;
    kernels.activate(y.data(), static_cast<int64_t>(y.size()), activation, T(0));
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const long double at = static_cast<long double>(x[i]);
      const long double right = activation == 3 ? 1 / (1 + std::exp(-at)) : std::tanh(at);
      const T rounded = static_cast<T>(right);
      if (rounded == 0) {
        REQUIRE(y[i] == 0);
        continue;
      }
      const T unit =
          std::nextafter(std::abs(rounded), std::numeric_limits<T>::infinity()) - std::abs(rounded);
      worst = std::max(
          worst, static_cast<double>(std::abs(static_cast<long double>(y[i]) - right) / unit));
    }
    INFO(table.name, " activation ", activation, " bytes ", sizeof(T), " worst ", worst);
    CHECK(worst <= 4);
    T special[] = {std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity(),
                   std::numeric_limits<T>::quiet_NaN(), T(0), -T(0)};
    kernels.activate(special, 5, activation, T(0));
    CHECK(special[0] == T(1));
    CHECK(std::abs(special[1] - (activation == 3 ? T(0) : T(-1))) <=
          std::numeric_limits<T>::min() * 2);
    CHECK(special[2] != special[2]);
    CHECK(special[3] == (activation == 3 ? T(0.5) : T(0)));
  }
  for (int activation : {0, 1, 2}) {
    T nan[] = {std::numeric_limits<T>::quiet_NaN(), T(-2), T(3)};
    kernels.activate(nan, 3, activation, T(0.5));
    CHECK(nan[0] != nan[0]);
    CHECK(nan[1] == (activation == 0 ? T(-2) : activation == 1 ? T(0) : T(-1)));
    CHECK(nan[2] == T(3));
  }
}

}  // namespace

TEST_CASE("tables are found by name, and only by theirs") {
  const KernelTableList tables = kernel_tables();
  REQUIRE(tables.size >= 2);
  CHECK(tables.items[tables.size - 1]->required_features == 0);
  for (int i = 0; i < tables.size; ++i) {
    CHECK(&select_kernel_table(~0u, tables.items[i]->name) == tables.items[i]);
    CHECK(&select_kernel_table(tables.items[i]->required_features, "") == tables.items[i]);
  }
  CHECK(&select_kernel_table(~0u, "") == tables.items[0]);
  CHECK_THROWS_WITH_AS(select_kernel_table(~0u, "avx9000"), doctest::Contains("avx9000"), Error);
  CHECK_THROWS_AS(select_kernel_table(0, tables.items[0]->name), Error);
}

TEST_CASE("taps") {
  for (const KernelTable* table : runnable_tables()) {
    check_all_taps<float>(*table);
    check_all_taps<double>(*table);
  }
}
TEST_CASE("dot") {
  for (const KernelTable* table : runnable_tables()) {
    check_dot<float>(*table);
    check_dot<double>(*table);
  }
}
TEST_CASE("plane") {
  for (const KernelTable* table : runnable_tables()) {
    check_plane<float>(*table);
    check_plane<double>(*table);
  }
}
TEST_CASE("transpose and add") {
  for (const KernelTable* table : runnable_tables()) {
    check_rest<float>(*table);
    check_rest<double>(*table);
  }
}
TEST_CASE("activations") {
  for (const KernelTable* table : runnable_tables()) {
    check_activations<float>(*table);
    check_activations<double>(*table);
  }
}
TEST_CASE("stores past the caches write the same") {
  for (const KernelTable* table : runnable_tables()) {
    const GemmKernels<float>& kernels = table->gemm.f32;
    const int vectors = kernels.max_vectors;
    const int64_t nr = int64_t{vectors} * kernels.lanes, rows = 13, k = 6;
    const std::vector<float> a = numbers<float>(static_cast<size_t>(rows * k), 1),
                             b = numbers<float>(static_cast<size_t>(k * nr), 2);
    std::vector<float> memory(static_cast<size_t>(rows * nr + 16));
    float* const c =
        reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
    const float* const a0 = a.data();
    const ptrdiff_t zero = 0;
    GemmTapArgs<float> args{};
    args.rows = rows;
    args.columns = static_cast<int>(nr);
    args.vectors = vectors;
    args.groups = args.taps = 1;
    args.k = k;
    args.a = &a0;
    args.a_row = k;
    args.b = b.data();
    args.b_group = &zero;
    args.c0 = c;
    args.c_row = nr;
    args.finish = {0, 1, nullptr, 0, 0, 1};
    kernels.taps_strided(&args);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t n = 0; n < nr; ++n) {
        float sum = 0;
        for (int64_t i = 0; i < k; ++i)
          sum += a[static_cast<size_t>(r * k + i)] * b[static_cast<size_t>(i * nr + n)];
        REQUIRE(c[r * nr + n] == sum);
      }
  }
}
