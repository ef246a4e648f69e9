// The depthwise family against the reference: table x direction x dtype x problem, exactly on whole
// numbers; activations; what may not change a bit: threads, batch; and when it is chosen.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <string>

#include "algorithms/depthwise/depthwise.h"
#include "algorithms/reference/reference.h"
#include "emulation/tables.h"
#include "kernels/dispatch.h"
#include "plan/select.h"
#include "problem_sets.h"
#include "run_algorithm.h"
#include "runtime/cpu_info.h"

using namespace conv3d;
using namespace conv3d::testing;

namespace {

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                     Direction::kBackwardFilter};

const Algorithm& algorithm_of(Direction direction) {
  return direction == Direction::kBackwardFilter ? depthwise_filter_gradient_algorithm()
                                                 : depthwise_algorithm();
}

ProblemSpec depthwise_spec(int64_t channels, Extent3 input, Extent3 kernel) {
  ProblemSpec spec;
  spec.groups = spec.input_channels = spec.output_channels = channels;
  spec.input = input;
  spec.kernel = kernel;
  spec.padding = Padding::kSame;
  return spec;
}

ProblemSpec in_direction(ProblemSpec spec, Direction direction) {
  spec.direction = direction;
  spec.with_bias = direction != Direction::kBackwardFilter;
  return spec;
}

template <class T>
void compare(ProblemSpec spec, const KernelTable* table) {
  spec.dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
  const PlanContext context{table, &cpu_info(), 1};
  for (Direction direction : kDirections) {
    const Problem p = make_problem(in_direction(spec, direction));
    INFO(p.to_string(), " ", table->name, " bytes ", sizeof(T));
    REQUIRE(algorithm_of(direction).why_not(p, context) == "");
    const Tensors<T> tensors(p);
    const std::vector<T> expected = run_algorithm(reference_algorithm(), p, context, tensors);
    const std::vector<T> got = run_algorithm(algorithm_of(direction), p, context, tensors, 2);
    CHECK(got == expected);
  }
}

}  // namespace

TEST_CASE("depthwise problems equal the reference") {
  for (const KernelTable* table : runnable_tables()) {
    for (int64_t channels : {1, 3, 8, 17, 33, 130}) {
      for (const Extent3& kernel : {Extent3{3, 3, 3}, Extent3{1, 1, 1}, Extent3{2, 1, 5},
                                    Extent3{3, 1, 1}, Extent3{1, 1, 3}, Extent3{1, 5, 7}}) {
        const ProblemSpec spec = depthwise_spec(channels, {4, 5, 23}, kernel);
        compare<float>(spec, table);
        if (channels == 17) compare<double>(spec, table);
      }
    }
  }
}

TEST_CASE("random depthwise problems equal the reference: strides, dilations, paddings") {
  std::mt19937 random(11);
  const auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const std::vector<const KernelTable*> tables = runnable_tables();
  for (int i = 0; i < 300; ++i) {
    ProblemSpec spec = depthwise_spec(pick(1, 40), {1, 1, 1}, {1, 1, 1});
    spec.batch = pick(1, 3);
    spec.padding = Padding::kExplicit;
    const int64_t kind = pick(0, 2);  // strides and dilations exclude each other
    for (size_t a = 0; a < 3; ++a) {
      spec.kernel[a] = pick(1, 4);
      spec.stride[a] = kind == 0 ? pick(1, 5) : 1;
      spec.dilation[a] = kind == 1 ? pick(1, 4) : 1;
      spec.pad_before[a] = pick(0, 4);
      spec.pad_after[a] = pick(0, 4);
      const int64_t reach =
          (spec.kernel[a] - 1) * spec.dilation[a] + 1 - spec.pad_before[a] - spec.pad_after[a];
      spec.input[a] = std::max<int64_t>(1, reach) + pick(0, a == 2 ? 70 : 5);
    }
    const KernelTable* const table = tables[static_cast<size_t>(i) % tables.size()];
    compare<float>(spec, table);
    if (i % 4 == 0) compare<double>(spec, table);
  }
}

TEST_CASE("long rows and many rows are cut into several items and chunks") {
  for (const KernelTable* table : runnable_tables()) {
    compare<float>(depthwise_spec(9, {2, 3, 4100}, {3, 3, 3}), table);
    compare<float>(depthwise_spec(9, {3, 70, 61}, {3, 1, 1}), table);  // joined axes
    compare<float>(depthwise_spec(2, {2, 150, 5}, {1, 3, 3}), table);
  }
}

TEST_CASE("depthwise activations are applied to complete sums") {
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu_info(), 1};
    for (int activation = 0; activation <= 4; ++activation) {
      for (Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
        for (int64_t stride : {1, 5}) {  // 5: results that no tap reaches
          ProblemSpec spec = in_direction(depthwise_spec(19, {3, 9, 14}, {3, 3, 3}), direction);
          spec.stride = {1, stride, stride};
          spec.activation = static_cast<Activation>(activation);
          spec.leaky_relu_alpha = 0.25;
          const Problem p = make_problem(spec);
          Tensors<float> tensors(p);
          for (float& x : tensors.filter) x /= 16;
          const std::vector<float> expected =
              run_algorithm(reference_algorithm(), p, context, tensors);
          const std::vector<float> got =
              run_algorithm(depthwise_algorithm(), p, context, tensors, 2);
          INFO(p.to_string(), " ", table->name, " activation ", activation);
          for (size_t i = 0; i < got.size(); ++i) {
            if (activation <= 2) {
              REQUIRE(got[i] == expected[i]);
            } else {
              REQUIRE(got[i] == doctest::Approx(expected[i]).epsilon(2e-6));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("threads and batch do not change a bit of a depthwise convolution") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (Direction direction : kDirections) {
    ProblemSpec spec = depthwise_spec(70, {6, 17, 40}, {3, 3, 3});
    spec.direction = direction;
    spec.batch = 3;
    const Problem p = make_problem(spec);
    const Tensors<float> tensors(p, 3, false);
    const Algorithm& algorithm = algorithm_of(direction);
    const std::vector<float> one = run_algorithm(algorithm, p, context, tensors, 1);
    for (int threads : {2, 3, 7})
      CHECK(run_algorithm(algorithm, p, context, tensors, threads) == one);
    if (direction == Direction::kBackwardFilter) continue;
    spec.batch = 1;
    const Problem s = make_problem(spec);
    Tensors<float> sample = tensors;
    const auto cut = [](std::vector<float>* v, int64_t n) {
      *v = std::vector<float>(v->begin() + n, v->begin() + 2 * n);
    };
    cut(&sample.input, s.input_elements());
    cut(&sample.grad_output, s.output_elements());
    const std::vector<float> alone = run_algorithm(algorithm, s, context, sample, 2);
    CHECK(std::memcmp(alone.data(), one.data() + alone.size(), alone.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("a missing tap is not multiplied: infinite filters meet no padding") {
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu_info(), 1};
    ProblemSpec spec = depthwise_spec(11, {1, 1, 25}, {1, 1, 3});
    const Problem p = make_problem(spec);
    Tensors<float> tensors(p);
    for (float& x : tensors.input) x = 1;
    for (size_t i = 0; i < tensors.filter.size(); ++i)
      tensors.filter[i] = i < 11 ? std::numeric_limits<float>::infinity() : 1;
    const std::vector<float> got = run_algorithm(depthwise_algorithm(), p, context, tensors);
    for (size_t i = 0; i < got.size(); ++i)
      REQUIRE(got[i] == (i < 11 ? 2.0f : std::numeric_limits<float>::infinity()));
  }
}

TEST_CASE("depthwise is chosen for as many groups as channels, in either layout, and not else") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (Direction direction : kDirections) {
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      ProblemSpec spec = in_direction(depthwise_spec(32, {16, 16, 16}, {3, 3, 3}), direction);
      spec.layout = layout;
      const Selection chosen = select_algorithm(make_problem(spec), context, "auto");
      CHECK(std::string(chosen.algorithm->family()) == "depthwise");
      spec.groups = 16;
      const Selection other = select_algorithm(make_problem(spec), context, "auto");
      CHECK(std::string(other.algorithm->family()) != "depthwise");
    }
  }
}
