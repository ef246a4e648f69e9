// Windows that do not overlap, channels first, against the reference: table x direction x dtype x
// problem, exactly on whole numbers; what may not change a result; and what lies outside windows.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "accuracy.h"
#include "algorithms/patches/patches.h"
#include "algorithms/reference/reference.h"
#include "emulation/tables.h"
#include "guarded.h"
#include "kernels/dispatch.h"
#include "problem_sets.h"
#include "run_algorithm.h"
#include "runtime/cpu_info.h"

using namespace conv3d;
using namespace conv3d::testing;

namespace {

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                     Direction::kBackwardFilter};

// Windows as large as their cells and smaller, in one axis or all; cells that end before, with and
// behind the volume, by more than a cell too; rows shorter and longer than a tile, and of whole
// vectors; channels that fill panels and groups and that do not; several samples.
constexpr const char* kProblems[] = {
    "mb1_ic3id4ih6iw8_oc5_kd2kh2kw2_sd2sh2sw2_valid",
    "mb2_ic7id5ih9iw35_oc9_kd2kh2kw2_sd2sh2sw2_valid",
    "mb1_ic2id5ih7iw300_oc13_kd2kh2kw2_sd2sh2sw2_valid",
    "mb2_ic20id3ih14iw14_oc33_kd1kh1kw1_sd2sh2sw2_valid",
    "mb1_ic9id1ih5iw131_oc8_kd1kh1kw1_sd1sh1sw2_valid",
    "mb3_ic5id8ih8iw64_oc40_kd1kh2kw2_sd3sh3sw2_valid",
    "mb1_ic4id7ih11iw19_oc6_kd2kh3kw1_sd3sh4sw3_valid",
    "mb1_ic3id9ih10iw50_oc7_kd2kh3kw5_sd2sh3sw5_valid",
    "mb1_ic2id2ih32iw97_oc20_kd2kh16kw16_sd2sh16sw16_valid",
    "mb1_ic3id4ih28iw43_oc12_kd2kh14kw14_sd2sh14sw14_valid",
    "mb1_ic3id1ih8iw150_oc9_kd1kh8kw8_sd1sh8sw8_valid",
    "mb1_ic2id1ih17iw145_oc5_kd1kh16kw16_sd1sh16sw16_valid",
    "mb1_ic2id1ih17iw330_oc3_kd1kh8kw17_sd1sh8sw17_valid",
    "mb2_ic1id6ih8iw96_oc48_kd2kh2kw2_sd2sh2sw2_valid",
    "mb1_ic40id4ih4iw4_oc1_kd2kh2kw2_sd2sh2sw2_valid",
    "mb1_ic2id3ih3iw7_oc3_kd1kh1kw1_sd3sh3sw4_valid",
    // Tiles inside a plane: of whole rows, that begin in a row, the last shorter than a vector.
    "mb2_ic3id4ih32iw32_oc20_kd2kh2kw2_sd2sh2sw2_valid",
    "mb1_ic3id3ih23iw46_oc13_kd1kh2kw2_sd1sh2sw2_valid",
    "mb1_ic5id2ih14iw15_oc40_kd1kh1kw2_sd1sh2sw2_valid",
    "mb1_ic2id2ih27iw27_oc19_kd1kh1kw1_sd2sh2sw2_valid",
    "mb1_ic4id2ih2iw134_oc14_kd2kh2kw2_sd2sh2sw2_valid",
};

const Algorithm& algorithm_of(Direction direction) {
  return direction == Direction::kBackwardFilter ? patches_filter_gradient_algorithm()
                                                 : patches_algorithm();
}

ProblemSpec spec_of(const std::string& text, Direction direction, bool with_bias) {
  ProblemSpec spec = parse_problem(text);
  spec.layout = Layout::kChannelsFirst;
  spec.direction = direction;
  spec.with_bias = with_bias && direction != Direction::kBackwardFilter;
  return spec;
}

template <class T>
void compare(ProblemSpec spec, const PlanContext& context) {
  spec.dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
  const Problem p = make_problem(spec);
  CAPTURE(p.to_string());
  CAPTURE(context.kernels->name);
  const Algorithm& algorithm = algorithm_of(p.direction);
  REQUIRE(algorithm.why_not(p, context) == "");
  const Tensors<T> tensors(p);
  CHECK(run_algorithm(algorithm, p, context, tensors, 2) ==
        run_algorithm(reference_algorithm(), p, context, tensors));
}

}  // namespace

TEST_CASE("patches: all directions equal the reference on every ISA, in both dtypes") {
  for (const KernelTable* table : runnable_tables())
    for (const char* text : kProblems)
      for (Direction direction : kDirections)
        for (bool with_bias : {false, true}) {
          const PlanContext context{table, &cpu_info(), 1};
          compare<float>(spec_of(text, direction, with_bias), context);
          compare<double>(spec_of(text, direction, with_bias), context);
        }
}

TEST_CASE("patches: the first panel cuts windows of two where tiles are wide and of one plane") {
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu_info(), 1};
    const auto cuts = [&](const char* text) {
      const Problem p = make_problem(spec_of(text, Direction::kForward, false));
      return algorithm_of(Direction::kForward).prepare(p, context)->detail().find("first panel") !=
             std::string::npos;
    };
    const PlanarKernels<float>& kernels = table->planar.f32;
    const bool wide = kernels.vectors[kernels.max_rows] * table->gemm.f32.lanes >= 32;
    CHECK(cuts("mb1_ic8id32ih32iw32_oc48_kd2kh2kw2_sd2sh2sw2_valid") == wide);
    CHECK_FALSE(cuts("mb1_ic8id32ih30iw30_oc48_kd3kh3kw3_sd3sh3sw3_valid"));
  }
}

TEST_CASE("patches: backward tiles take as many rows as fill the vectors, of large windows few") {
  const Problem rows = make_problem(spec_of("mb1_ic64id16ih56iw56_oc128_kd1kh1kw1_sd2sh2sw2_valid",
                                            Direction::kBackwardInput, false)),
                large =
                    make_problem(spec_of("mb1_ic1id32ih96iw96_oc4_kd8kh16kw16_sd8sh16sw16_valid",
                                         Direction::kBackwardInput, false));
  CpuInfo cpu = cpu_info();
  cpu.l2_bytes = size_t{1} << 20;
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu, 1};
    CAPTURE(table->name);
    const std::string tiles = table->gemm.f32.lanes == 16 ? "tiles of 112 " : "tiles of 56 ";
    CHECK(patches_algorithm().prepare(rows, context)->detail().find(tiles) != std::string::npos);
    CHECK(patches_algorithm().why_not(large, context) == "");
  }
}

TEST_CASE(
    "patches: forward tiles fill the vectors, but neither leave their plane for it nor the L2") {
  CpuInfo cpu = cpu_info();
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu, 1};
    CAPTURE(table->name);
    const auto tiles = [&](const char* text, size_t l2) {
      cpu.l2_bytes = l2;
      const Problem p = make_problem(spec_of(text, Direction::kForward, false));
      CHECK(algorithm_of(Direction::kForward).why_not(p, context) == "");
      const std::string detail = algorithm_of(Direction::kForward).prepare(p, context)->detail();
      return std::stoi(detail.substr(detail.find("tiles of ") + 9));
    };
    // Three rows of 20 are whole vectors of four lanes, but not of more.
    CHECK(tiles("mb1_ic32id20ih40iw40_oc32_kd1kh2kw2_sd1sh2sw2_valid", size_t{1} << 20) ==
          (table->gemm.f32.lanes == 4 ? 60 : 80));
    CHECK(tiles("mb1_ic16id52ih10iw24_oc64_kd2kh2kw2_sd2sh2sw2_valid", size_t{1} << 20) == 60);
    CHECK(tiles("mb1_ic40id32ih30iw30_oc64_kd2kh2kw2_sd2sh2sw2_valid", size_t{1} << 18) == 60);
  }
}

TEST_CASE("patches: random problems equal the reference") {
  std::mt19937 random(23);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const std::vector<const KernelTable*> tables = runnable_tables();
  for (size_t i = 0; i < 200; ++i) {
    ProblemSpec spec;
    spec.layout = Layout::kChannelsFirst;
    spec.batch = pick(1, 2);
    spec.input_channels = pick(1, i % 5 == 0 ? 60 : 12);
    spec.output_channels = pick(1, i % 7 == 0 ? 70 : 12);
    spec.padding = Padding::kValid;
    for (size_t a = 0; a < 3; ++a) {
      spec.kernel[a] = pick(1, 4);
      spec.stride[a] = spec.kernel[a] + pick(0, 2);
      if (a == 2 && spec.stride[a] == 1) spec.stride[a] = 2;
      spec.input[a] = spec.stride[a] + pick(0, a == 2 ? 160 : 8);
    }
    spec.direction = kDirections[i % 3];
    spec.with_bias = i % 2 == 0 && spec.direction != Direction::kBackwardFilter;
    const PlanContext context{tables[i % tables.size()], &cpu_info(), 1};
    compare<float>(spec, context);
  }
}

TEST_CASE("patches: activations are applied to sums and to what no window reaches") {
  for (Activation activation :
       {Activation::kRelu, Activation::kLeakyRelu, Activation::kSigmoid, Activation::kTanh})
    for (Direction direction : {Direction::kForward, Direction::kBackwardInput})
      for (const KernelTable* table : runnable_tables()) {
        ProblemSpec spec =
            spec_of("mb2_ic7id5ih9iw35_oc9_kd2kh2kw2_sd2sh3sw3_valid", direction, true);
        spec.activation = activation;
        spec.leaky_relu_alpha = 0.25;
        const Problem p = make_problem(spec);
        Tensors<float> tensors(p);
        for (float& x : tensors.filter) x /= 16;
        const PlanContext context{table, &cpu_info(), 1};
        const std::vector<float> got = run_algorithm(patches_algorithm(), p, context, tensors, 2);
        CAPTURE(p.to_string());
        CHECK(relative_error(got, exact_result(p, tensors), 0.1) <= 1e-6);
      }
}

TEST_CASE("patches: the same bits for any threads and for a sample alone; an empty batch") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (const char* text : kProblems)
    for (Direction direction : kDirections) {
      const Problem p = make_problem(spec_of(text, direction, true));
      CAPTURE(p.to_string());
      const Tensors<float> tensors(p, 3, false);
      const Algorithm& algorithm = algorithm_of(direction);
      const std::vector<float> one = run_algorithm(algorithm, p, context, tensors, 1);
      for (int threads : {2, 3, 7})
        CHECK(run_algorithm(algorithm, p, context, tensors, threads) == one);
      // A plan made for no samples serves any number of them.
      ProblemSpec none = spec_of(text, direction, true);
      none.batch = 0;
      const std::unique_ptr<Prepared> prepared = algorithm.prepare(make_problem(none), context);
      Block packed(prepared->packed_filter_bytes()), scratch(prepared->ledger().total_bytes(2)),
          result(one.size() * sizeof(float));
      Buffers buffers;
      buffers.packed_filter = packed.data();
      buffers.result = result.data();
      if (direction == Direction::kBackwardFilter) {
        prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()),
                          default_thread_pool(), 2);
        CHECK(std::all_of(result.as<float>(), result.as<float>() + one.size(),
                          [](float x) { return x == 0; }));
        continue;
      }
      prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 2);
      const auto samples = static_cast<size_t>(p.mb), last = samples - 1;
      buffers.batch = 1;
      buffers.bias = tensors.bias.data();
      buffers.input = tensors.input.data() + last * (tensors.input.size() / samples);
      buffers.grad_output =
          tensors.grad_output.data() + last * (tensors.grad_output.size() / samples);
      prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                        2);
      const size_t each = one.size() / samples;
      CHECK(std::memcmp(result.data(), one.data() + last * each, each * sizeof(float)) == 0);
    }
}

TEST_CASE("patches: reads and writes nothing beyond its buffers") {
  for (const KernelTable* table : runnable_tables()) {
    const PlanContext context{table, &cpu_info(), 1};
    for (const char* text : kProblems)
      for (Direction direction : kDirections)
        for (Wall wall : {Wall::kBefore, Wall::kAfter}) {
          const Problem p = make_problem(spec_of(text, direction, true));
          CAPTURE(p.to_string());
          const Tensors<float> tensors(p, 19, false);
          const Algorithm& algorithm = algorithm_of(direction);
          CHECK(run_guarded(*algorithm.prepare(p, context), p, tensors, 2, wall) ==
                run_algorithm(algorithm, p, context, tensors, 1));
        }
  }
}

// Results of more than a third of the shared cache are written past it, in whole lines where rows
// have them and where they have not.
TEST_CASE("patches: results that pass the caches have the same bits") {
  CpuInfo small = cpu_info(), large = cpu_info();
  small.l3_bytes = size_t{8} << 20;
  large.l3_bytes = size_t{32} << 20;
  for (const char* text : {"mb1_ic16id17ih57iw50_oc24_kd2kh2kw2_sd2sh2sw2_valid",
                           "mb2_ic16id8ih64iw64_oc9_kd1kh1kw1_sd2sh2sw2_valid",
                           "mb1_ic4id16ih64iw224_oc48_kd2kh2kw2_sd2sh2sw2_valid"})
    for (Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
      const Problem p = make_problem(spec_of(text, direction, true));
      CAPTURE(p.to_string());
      const Tensors<float> tensors(p, 37, false);
      const PlanContext past{&kernel_table(), &small, 1}, within{&kernel_table(), &large, 1};
      const std::vector<float> want = run_algorithm(patches_algorithm(), p, within, tensors, 2);
      CHECK(run_algorithm(patches_algorithm(), p, past, tensors, 2) == want);
      CHECK(run_guarded(*patches_algorithm().prepare(p, past), p, tensors, 2, Wall::kAfter) ==
            want);
    }
}

TEST_CASE("patches: filter gradients of many voxels stay below the stated bound") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (const char* text : {"mb1_ic16id64ih64iw64_oc8_kd2kh2kw2_sd2sh2sw2_valid",
                           "mb2_ic1id48ih96iw96_oc20_kd2kh2kw2_sd2sh2sw2_valid"}) {
    const Problem p = make_problem(spec_of(text, Direction::kBackwardFilter, false));
    CAPTURE(p.to_string());
    const Tensors<float> tensors(p, 41, false);
    const Algorithm& algorithm = patches_filter_gradient_algorithm();
    const double error = relative_error(run_algorithm(algorithm, p, context, tensors, 2),
                                        exact_result(p, tensors), 0);
    CHECK(error <= algorithm.prepare(p, context)->error_bound());
    CHECK(error > 0);
  }
}

TEST_CASE("patches: what it would cost is soon known, whatever the sizes") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  const Problem p = make_problem(spec_of("mb1_ic68719476736id2ih2iw2_oc1_kd2kh2kw2_sd2sh2sw2_valid",
                                         Direction::kBackwardInput, false));
  REQUIRE(patches_algorithm().why_not(p, context) == "");
  const double seconds = patches_algorithm().cost(p, context);
  CHECK(seconds > 1);
  CHECK(seconds < 1e9);
  // A window of so many taps that its results leave the L2.
  CHECK(patches_algorithm().why_not(
            make_problem(spec_of("mb1_ic1id128ih128iw128_oc1_kd128kh128kw128_sd128sh128sw128_valid",
                                 Direction::kBackwardInput, false)),
            context) != "");
}

TEST_CASE("patches: leaves to others what it does not serve, and says why") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  const auto why = [&](const char* text, Layout layout = Layout::kChannelsFirst) {
    ProblemSpec spec = parse_problem(text);
    spec.layout = layout;
    return patches_algorithm().why_not(make_problem(spec), context);
  };
  CHECK(why("mb1_ic4id8ih8iw8_oc4_kd2kh2kw2_sd2sh2sw2_valid") == "");
  CHECK(why("mb1_ic4id8ih8iw8_oc4_kd2kh2kw2_sd2sh2sw2_valid", Layout::kChannelsLast) != "");
  for (const char* text : {"mb1_ic4id8ih8iw8_oc4_kd3kh3kw3_sd2sh2sw2_same",
                           "mb1_ic4id8ih8iw8_oc4_kd2kh2kw2_sd2sh2sw1_valid",
                           "mb1_ic1id1ih4iw4_oc1_kd1kh2kw2_sd1sh16777216sw2_valid",
                           "mb1_ic3id1ih1iw4_oc1_kd1kh1kw2_sd1sh1sw1099511627776_valid",
                           "mb1_ic4id8ih8iw8_oc4_kd2kh2kw1_sd2sh2sw1_valid",
                           "mb1_ic4id8ih8iw7_oc4_kd2kh2kw2_sd2sh2sw2_same",
                           "mb1_g2ic4id8ih8iw8_oc4_kd2kh2kw2_sd2sh2sw2_valid"}) {
    CAPTURE(text);
    CHECK(why(text) != "");
  }
}
