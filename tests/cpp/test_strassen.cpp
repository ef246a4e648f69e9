// algorithms/strassen and kernels/strassen: all three directions against float64, exact on whole
// numbers, the stated accuracy, the same bits whatever the threads, layout, batch and alignment,
// and where a NaN goes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "accuracy.h"
#include "algorithms/machine_rates.h"
#include "algorithms/strassen/filter_gradient.h"
#include "algorithms/strassen/strassen.h"
#include "emulation/tables.h"
#include "kernels/dispatch.h"
#include "plan/plan.h"
#include "problem_sets.h"
#include "run_algorithm.h"

namespace conv3d {
namespace {

using testing::Block;
using testing::exact_result;
using testing::relative_error;
using testing::runnable_tables;
using testing::spread_of;
using testing::Tensors;
using testing::Wall;

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                     Direction::kBackwardFilter};

PlanContext context_of(const KernelTable& table) { return {&table, &cpu_info(), 1}; }

const Algorithm& algorithm_of(Direction direction) {
  return direction == Direction::kBackwardFilter ? strassen_gradient_algorithm()
                                                 : strassen_algorithm();
}

Problem problem_of(const std::string& text, Direction direction,
                   Layout layout = Layout::kChannelsLast) {
  ProblemSpec spec = testing::parse_problem(text);
  spec.direction = direction;
  spec.layout = layout;
  return make_problem(spec);
}

Tensors<float> turned(const Problem& p, const Tensors<float>& tensors) {
  Tensors<float> t = tensors;
  t.input = testing::channels_first(tensors.input, p.ic, p.input_voxels());
  t.grad_output = testing::channels_first(tensors.grad_output, p.oc, p.output_voxels());
  return t;
}

// Blocks and chunks that are full, ragged, odd and single; channels that fill vectors and tiles and
// that do not; several chunks of channels and of pixels; more output channels and more input ones.
// The last four, patches as large as their strides, are computed forward alone.
constexpr const char* kProblems[] = {"mb1_ic64id1ih8iw16_oc64_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb2_ic34id3ih5iw7_oc66_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb1_ic100id1ih1iw35_oc38_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb2_ic40id1ih1iw1_oc38_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb3_ic48id1ih1iw33_oc96_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb1_ic1090id1ih3iw43_oc36_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb1_ic36id1ih1iw63_oc1038_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb2_ic32id9ih11iw13_oc34_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb1_ic90id2ih31iw3_oc90_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb1_ic1030id1ih5iw43_oc200_kd1kh1kw1_sd1sh1sw1_same",
                                     "mb2_ic3id4ih56iw73_oc36_kd2kh14kw14_sd2sh14sw14_valid",
                                     "mb1_ic3id4ih56iw56_oc200_kd2kh14kw14_sd2sh14sw14_valid",
                                     "mb1_ic5id5ih17iw40_oc70_kd1kh4kw2_sd1sh4sw2_valid",
                                     "mb2_ic40id9ih7iw11_oc32_kd1kh1kw3_sd1sh1sw3_valid"};

bool skips(const Problem& p) {
  const bool served = algorithm_of(p.direction).why_not(p, context_of(kernel_table())).empty(),
             few = p.output_voxels() < 32 && p.direction != Direction::kBackwardFilter;
  const bool patches = p.direction == Direction::kForward;
  CHECK(served == (!few && (patches || p.kh * p.kw == 1)));
  return !served;
}

TEST_CASE(
    "strassen: all directions against float64 in both layouts on every ISA, exact on whole "
    "numbers") {
  for (const char* text : kProblems)
    for (Direction direction : kDirections) {
      const Problem p = problem_of(text, direction),
                    first = problem_of(text, direction, Layout::kChannelsFirst);
      if (skips(p)) continue;
      for (bool whole : {true, false}) {
        const Tensors<float> tensors(p, 5, whole), other = turned(p, tensors);
        const std::vector<double> want = exact_result(p, tensors);
        for (const KernelTable* table : runnable_tables()) {
          CAPTURE(p.to_string());
          CAPTURE(table->name);
          const Algorithm& algorithm = algorithm_of(direction);
          const PlanContext context = context_of(*table);
          const std::vector<float> got = testing::run_algorithm(algorithm, p, context, tensors, 2);
          if (whole) {
            CHECK(std::equal(got.begin(), got.end(), want.begin(),
                             [](float a, double b) { return static_cast<double>(a) == b; }));
          } else {
            CHECK(relative_error(got, want, spread_of(p)) <=
                  algorithm.prepare(p, context)->error_bound());
          }
          if (skips(first)) continue;
          const std::vector<float> same =
              testing::run_algorithm(algorithm, first, context, other, 2);
          CHECK((direction == Direction::kBackwardFilter
                     ? same
                     : testing::channels_last(first, same)) == got);
        }
      }
    }
}

TEST_CASE("strassen: bias and activations come after the last chunk of channels") {
  for (Activation activation : {Activation::kNone, Activation::kRelu, Activation::kLeakyRelu,
                                Activation::kSigmoid, Activation::kTanh})
    for (const char* text : {"mb2_ic34id3ih5iw7_oc66_kd1kh1kw1_sd1sh1sw1_same",
                             "mb1_ic1090id1ih3iw43_oc36_kd1kh1kw1_sd1sh1sw1_same"})
      for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
        for (Direction direction : {Direction::kForward, Direction::kBackwardInput})
          for (const KernelTable* table : runnable_tables()) {
            ProblemSpec spec = testing::parse_problem(text);
            spec.direction = direction;
            spec.layout = layout;
            spec.activation = activation;
            spec.with_bias = true;
            const Problem p = make_problem(spec);
            CAPTURE(p.to_string());
            CAPTURE(table->name);
            Tensors<float> tensors(p, 7, false);
            for (float& x : tensors.filter) x /= 64;
            const std::vector<float> got =
                testing::run_algorithm(strassen_algorithm(), p, context_of(*table), tensors, 2);
            CHECK(relative_error(got, exact_result(p, tensors), 0.1) <= 1e-5);
          }
}

TEST_CASE("strassen: the stated error bound, Gaussian and post-ReLU data of 32 to 2048 channels") {
  const PlanContext context = context_of(kernel_table());
  for (const char* pixels : {"id2ih8iw8", "id9ih16iw16"})
    for (int channels : {32, 128, 512, 2048})
      for (Direction direction : kDirections)
        for (bool relu : {false, true}) {
          const bool backward = direction == Direction::kBackwardInput;
          const std::string many = std::to_string(channels),
                            text = "mb1_ic" + (backward ? "48" : many) + pixels + "_oc" +
                                   (backward ? many : "48") + "_kd1kh1kw1_sd1sh1sw1_same";
          const Problem p = problem_of(text, direction);
          Tensors<float> tensors(p, 11u + static_cast<unsigned>(channels), false);
          if (relu)
            for (float& x : backward ? tensors.grad_output : tensors.input) x = std::max(x, 0.0f);
          const Algorithm& algorithm = algorithm_of(direction);
          const double bound = algorithm.prepare(p, context)->error_bound();
          const double error =
              relative_error(testing::run_algorithm(algorithm, p, context, tensors, 2),
                             exact_result(p, tensors), 0);
          CAPTURE(p.to_string());
          CAPTURE(relu);
          CHECK(error <= bound);
          CHECK(error >= bound / 60);  // a bound that nothing comes near states nothing
          CHECK(bound <= 1e-5);
        }
}

TEST_CASE("strassen: the same bits for any threads, batch split and alignment; an empty batch") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : kProblems)
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (Direction direction : kDirections) {
        const Problem p = problem_of(text, direction, layout);
        if (skips(p)) continue;
        CAPTURE(p.to_string());
        const Tensors<float> tensors(p, 13, false);
        const Algorithm& algorithm = algorithm_of(direction);
        const std::vector<float> want = testing::run_algorithm(algorithm, p, context, tensors, 1);
        for (int threads : {2, 3, 7})
          CHECK(testing::run_algorithm(algorithm, p, context, tensors, threads) == want);
        const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
        Block packed(prepared->packed_filter_bytes()), scratch(prepared->ledger().total_bytes(2));
        if (direction != Direction::kBackwardFilter)
          prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 2);
        const bool gradient = direction == Direction::kBackwardFilter;
        Block input((tensors.input.size() + 1) * sizeof(float)),
            output((tensors.grad_output.size() + 3) * sizeof(float)),
            result((want.size() + 1) * sizeof(float));
        std::copy(tensors.input.begin(), tensors.input.end(), input.as<float>() + 1);
        std::copy(tensors.grad_output.begin(), tensors.grad_output.end(), output.as<float>() + 3);
        const size_t samples = gradient ? 1 : static_cast<size_t>(p.mb);
        for (size_t n = 0; n < samples; ++n) {
          Buffers buffers;
          buffers.input = input.as<float>() + 1 + n * (tensors.input.size() / samples);
          buffers.grad_output = output.as<float>() + 3 + n * (tensors.grad_output.size() / samples);
          buffers.packed_filter = packed.data();
          buffers.result = result.as<float>() + 1 + n * (want.size() / samples);
          buffers.batch = gradient ? p.mb : 1;
          prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()),
                            default_thread_pool(), 2);
        }
        CHECK(result.intact());
        CHECK(std::equal(want.begin(), want.end(), result.as<float>() + 1));
        Buffers none;
        none.packed_filter = packed.data();
        none.result = result.as<float>() + 1;
        prepared->execute(none, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                          1);
        if (gradient)
          CHECK(std::all_of(result.as<float>() + 1, result.as<float>() + 1 + want.size(),
                            [](float x) { return x == 0; }));
      }
}

TEST_CASE("strassen: the same bits however many chunks of channels the L2 holds at once") {
  for (const char* text : {"mb1_ic2090id1ih5iw43_oc140_kd1kh1kw1_sd1sh1sw1_same",
                           "mb1_ic11id4ih56iw56_oc140_kd2kh14kw14_sd2sh14sw14_valid"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      const Problem p = problem_of(text, Direction::kForward, layout);
      CAPTURE(p.to_string());
      const Tensors<float> tensors(p, 19, false);
      std::vector<float> want;
      for (size_t l2 : {size_t{256} << 10, size_t{1} << 20, size_t{2} << 20, size_t{16} << 20}) {
        CpuInfo cpu = cpu_info();
        cpu.l2_bytes = l2;
        const PlanContext context{&kernel_table(), &cpu, 1};
        const std::vector<float> got =
            testing::run_algorithm(strassen_algorithm(), p, context, tensors, 2);
        if (want.empty()) want = got;
        CHECK(got == want);
      }
    }
}

TEST_CASE("strassen: many chunks of a filter gradient are summed in two levels") {
  const PlanContext context = context_of(kernel_table());
  // 160 chunks or more in each segment.
  const Problem p =
      problem_of("mb5_ic32id40ih41iw40_oc34_kd1kh1kw1_sd1sh1sw1_same", Direction::kBackwardFilter);
  const Tensors<float> tensors(p, 17, false);
  const std::vector<float> got =
      testing::run_algorithm(strassen_gradient_algorithm(), p, context, tensors, 2);
  CHECK(relative_error(got, exact_result(p, tensors), 0) <= 1e-6);
}

TEST_CASE("strassen: reads and writes nothing beyond its buffers") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : kProblems)
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (Direction direction : kDirections)
        for (Wall wall : {Wall::kBefore, Wall::kAfter}) {
          const Problem p = problem_of(text, direction, layout);
          if (skips(p)) continue;
          CAPTURE(p.to_string());
          const Tensors<float> tensors(p, 19, false);
          const Algorithm& algorithm = algorithm_of(direction);
          const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
          CHECK(testing::run_guarded(*prepared, p, tensors, 2, wall) ==
                testing::run_algorithm(algorithm, p, context, tensors, 1));
        }
}

TEST_CASE("strassen: results that go past the caches have the same bits") {
  CpuInfo small = cpu_info();
  small.l3_bytes = size_t{8} << 20;  // a third of it is less than the result's 3 MB
  const PlanContext context{&kernel_table(), &small, 1};
  for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
    for (Activation activation : {Activation::kNone, Activation::kRelu, Activation::kTanh}) {
      ProblemSpec spec =
          testing::parse_problem("mb1_ic64id8ih32iw48_oc64_kd1kh1kw1_sd1sh1sw1_same");
      spec.layout = layout;
      spec.activation = activation;
      const Problem p = make_problem(spec);
      CAPTURE(p.to_string());
      const Tensors<float> tensors(p, 37, false);
      const std::unique_ptr<Prepared> prepared = strassen_algorithm().prepare(p, context);
      // Aligned to lines, and behind a wall four bytes off.
      CHECK(testing::run_algorithm(strassen_algorithm(), p, context, tensors, 2) ==
            testing::run_guarded(*prepared, p, tensors, 2, Wall::kAfter));
      CHECK(
          testing::run_algorithm(strassen_algorithm(), p, context, tensors, 2) ==
          testing::run_algorithm(strassen_algorithm(), p, context_of(kernel_table()), tensors, 2));
    }
}

TEST_CASE("strassen: samples of few pixels are left to others") {
  for (const char* text : {"mb64_ic1024id1ih1iw1_oc1024_kd1kh1kw1_sd1sh1sw1_same",
                           "mb8_ic512id2ih2iw2_oc512_kd1kh1kw1_sd1sh1sw1_same"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (Direction direction : {Direction::kForward, Direction::kBackwardInput})
        CHECK(Plan(problem_of(text, direction, layout), "auto").facts().family != "strassen");
}

TEST_CASE("strassen: a NaN or Inf spoils its pixel and the one that its block pairs it with") {
  const PlanContext context = context_of(kernel_table());
  // Blocks of 64 pixels pair those 32 apart.
  const Problem p =
      problem_of("mb1_ic40id2ih8iw16_oc36_kd1kh1kw1_sd1sh1sw1_same", Direction::kForward);
  const Tensors<float> tensors(p, 23, false);
  const std::vector<float> clean =
      testing::run_algorithm(strassen_algorithm(), p, context, tensors, 2);
  for (float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (int64_t pixel : {70, 100}) {
      const int64_t partner = pixel == 70 ? 102 : 68;
      Tensors<float> bad = tensors;
      bad.input[static_cast<size_t>(pixel * p.ic + 7)] = value;
      const std::vector<float> got =
          testing::run_algorithm(strassen_algorithm(), p, context, bad, 2);
      for (size_t i = 0; i < got.size(); ++i) {
        const int64_t at = static_cast<int64_t>(i) / p.oc;
        if (at == pixel) {
          CHECK(!std::isfinite(got[i]));
        } else if (at != partner) {
          CHECK(got[i] == clean[i]);
        }
      }
    }
}

TEST_CASE("strassen: a NaN spoils rows of the filter gradient: its channel's and its partner's") {
  const PlanContext context = context_of(kernel_table());
  const Problem p =
      problem_of("mb1_ic40id2ih8iw16_oc36_kd1kh1kw1_sd1sh1sw1_same", Direction::kBackwardFilter);
  Tensors<float> tensors(p, 29, false);
  const std::vector<float> clean =
      testing::run_algorithm(strassen_gradient_algorithm(), p, context, tensors, 2);
  tensors.input[static_cast<size_t>(33 * p.ic + 7)] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> got =
      testing::run_algorithm(strassen_gradient_algorithm(), p, context, tensors, 2);
  for (size_t i = 0; i < got.size(); ++i) {
    const int64_t channel = static_cast<int64_t>(i) / p.oc;
    if (channel == 7) {
      CHECK(std::isnan(got[i]));
    } else if (channel != 27) {
      CHECK(got[i] == clean[i]);
    }
  }
}

TEST_CASE("strassen: the workspace does not grow with the volume or the batch, and is bounded") {
  const PlanContext context = context_of(kernel_table());
  const size_t l2 = l2_bytes(cpu_info());
  for (const char* channels : {"64", "256", "1024"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (Direction direction : kDirections) {
        size_t bytes[2];
        int i = 0;
        for (const char* volume : {"id64ih64iw64", "id512ih512iw512"}) {
          const Problem p = problem_of(std::string("mb1_ic") + channels + volume + "_oc" +
                                           channels + "_kd1kh1kw1_sd1sh1sw1_same",
                                       direction, layout);
          CAPTURE(p.to_string());
          const std::unique_ptr<Prepared> prepared = algorithm_of(direction).prepare(p, context);
          bytes[i++] = prepared->ledger().bytes_per_thread();
          CHECK(prepared->ledger().shared_bytes() <= (size_t{32} << 20));
          if (direction != Direction::kBackwardFilter)
            CHECK(prepared->ledger().bytes_per_thread() <= std::max(l2 / 2, size_t{512} << 10));
        }
        CHECK(bytes[0] == bytes[1]);
      }
}

TEST_CASE("strassen: says what it does not compute") {
  const PlanContext context = context_of(kernel_table());
  const auto reason = [&](const char* text, Direction direction, auto&& change) {
    ProblemSpec spec = testing::parse_problem(text);
    spec.direction = direction;
    change(spec);
    return algorithm_of(direction).why_not(make_problem(spec), context);
  };
  const auto same = [](ProblemSpec&) {};
  const char* plain = "mb1_ic64id8ih8iw8_oc64_kd1kh1kw1_sd1sh1sw1_same";
  for (Direction direction : kDirections) {
    CHECK(reason(plain, direction, same).empty());
    CHECK(!reason(plain, direction, [](ProblemSpec& s) { s.dtype = DType::kFloat64; }).empty());
    CHECK(!reason(plain, direction, [](ProblemSpec& s) { s.groups = 2; }).empty());
    CHECK(
        !reason(plain, direction, [](ProblemSpec& s) { s.accuracy = Accuracy::kStrict; }).empty());
    for (const char* text : {"mb1_ic64id8ih8iw8_oc64_kd3kh1kw1_sd1sh1sw1_same",
                             "mb1_ic64id8ih8iw8_oc64_kd1kh1kw1_sd2sh1sw1_same",
                             "mb1_ic64id8ih8iw8_oc64_kd1kh1kw1_sd1sh1sw1_pd0ph0pw1_qd0qh0qw0",
                             "mb1_ic30id8ih8iw8_oc64_kd1kh1kw1_sd1sh1sw1_same",
                             "mb1_ic64id8ih8iw8_oc65_kd1kh1kw1_sd1sh1sw1_same"}) {
      CAPTURE(text);
      CHECK(!reason(text, direction, same).empty());
    }
  }
  CHECK(!strassen_algorithm()
             .why_not(problem_of(plain, Direction::kBackwardFilter), context)
             .empty());
  CHECK(!strassen_gradient_algorithm()
             .why_not(problem_of(plain, Direction::kForward), context)
             .empty());
}

}  // namespace
}  // namespace conv3d
