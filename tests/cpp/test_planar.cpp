// The planar family against the reference: table x direction x layout x dtype x problem, exactly on
// whole numbers; and what may not change a result: threads and batch.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "accuracy.h"
#include "algorithms/planar/planar.h"
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

// Caches so small that every loop over chunks and blocks turns more than once.
CpuInfo tiny_caches() {
  CpuInfo cpu = cpu_info();
  cpu.l1d_bytes = 4096;
  cpu.l2_bytes = 24576;
  cpu.l3_bytes = 65536;
  return cpu;
}

std::vector<const Algorithm*> planar_family() {
  std::vector<const Algorithm*> algorithms;
  const AlgorithmList list = algorithm_list();
  for (int i = 0; i < list.size; ++i)
    if (std::string(list.items[i]->family()) == "planar") algorithms.push_back(list.items[i]);
  return algorithms;
}

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput};

constexpr Direction kAllDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                        Direction::kBackwardFilter};

// What the planar path leaves to others.
bool refusable(const Problem& p) {
  if (p.direction == Direction::kBackwardFilter)
    return p.layout == Layout::kChannelsLast || p.kw > 1;
  if (p.direction == Direction::kBackwardInput && p.sd * p.sh * p.sw > 27) return true;
  return p.layout == Layout::kChannelsLast ? p.groups > 1
                                           : p.direction == Direction::kBackwardInput && p.sw > 1;
}

template <class T>
void compare(const std::string& text, ProblemSpec spec, const PlanContext& context) {
  spec.dtype = sizeof(T) == 8 ? DType::kFloat64 : DType::kFloat32;
  for (Direction direction : kAllDirections) {
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      spec.direction = direction;
      spec.layout = layout;
      spec.with_bias = direction != Direction::kBackwardFilter;
      const Problem p = make_problem(spec);
      const Tensors<T> tensors(p);
      const std::vector<T> expected = run_algorithm(reference_algorithm(), p, context, tensors);
      int served = 0;
      for (const Algorithm* algorithm : planar_family()) {
        if (!algorithm->why_not(p, context).empty()) continue;
        ++served;
        const std::vector<T> got = run_algorithm(*algorithm, p, context, tensors, 2);
        INFO(text, " ", algorithm->name(), " ", context.kernels->name, " direction ",
             static_cast<int>(direction), " layout ", static_cast<int>(layout), " bytes ",
             sizeof(T));
        size_t wrong = 0, first = 0;
        for (size_t i = 0; i < got.size(); ++i)
          if (!(got[i] == expected[i]) && wrong++ == 0) first = i;
        if (wrong > 0) INFO("first at ", first, ": ", got[first], " instead of ", expected[first]);
        CHECK(wrong == 0);
      }
      CHECK((served > 0 || refusable(p)));
    }
  }
}

void compare_set(const std::string& set, bool both_dtypes) {
  const CpuInfo tiny = tiny_caches();
  for (const KernelTable* table : runnable_tables()) {
    for (const CpuInfo* cpu : {&cpu_info(), &tiny}) {
      const PlanContext context{table, cpu, 1};
      for (const std::string& text : problem_set(set)) {
        compare<float>(text, parse_problem(text), context);
        if (both_dtypes) compare<double>(text, parse_problem(text), context);
      }
    }
  }
}

}  // namespace

TEST_CASE("smoke problems equal the reference") { compare_set("smoke", true); }
TEST_CASE("edge problems equal the reference") { compare_set("edges", true); }
TEST_CASE("strided problems equal the reference") { compare_set("strided", true); }
TEST_CASE("dilated problems equal the reference") { compare_set("dilated", true); }

// AVX2 holds 12 sums: 6 channels of 2 vectors, 4 of 3 or 3 of 4.
TEST_CASE("tiles of channels first fit the length of rows") {
  struct Row {
    const char *problem, *panels;
  };
  constexpr Row kRows[] = {
      {"mb1_ic1id8ih8iw128_oc32_kd3kh3kw3_sd1sh1sw1_same", " 11 panels"},
      {"mb1_ic1id8ih8iw120_oc32_kd3kh3kw3_sd1sh1sw1_same", " 8 panels"},
      {"mb1_ic1id8ih8iw96_oc32_kd3kh3kw3_sd1sh1sw1_same", " 11 panels"},  // 4 x 3: half lines
      {"mb1_ic1id8ih8iw80_oc30_kd3kh3kw3_sd1sh1sw1_same", " 5 panels"},
      {"mb1_ic1id8ih8iw24_oc12_kd3kh3kw3_sd1sh1sw1_same",
       " 2 panels"},  // rows in place where they can
  };
  for (const KernelTable* table : runnable_tables()) {
    if (std::string(table->name) != "avx2") continue;
    for (const Row& row : kRows) {
      ProblemSpec spec = parse_problem(row.problem);
      spec.layout = Layout::kChannelsFirst;
      const PlanContext context{table, &cpu_info(), 1};
      const std::string how = planar_family()[0]->prepare(make_problem(spec), context)->detail();
      INFO(std::string(row.problem), " ", how);
      CHECK(how.find(row.panels) != std::string::npos);
    }
  }
}

TEST_CASE("strides far beyond the input cost nothing") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (const char* text : {"mb1_ic3id1ih1iw4_oc2_kd1kh1kw1_sd1sh1sw1099511627776_valid",
                           "mb1_ic3id1ih1iw4_oc2_kd1kh1kw2_sd1sh1sw1099511627776_valid",
                           "mb1_ic3id4ih4iw4_oc2_kd2kh2kw2_sd1099511627776sh16777216sw3_valid"})
    compare<float>(text, parse_problem(text), context);
}

TEST_CASE("random problems equal the reference") {
  std::mt19937 random(7);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const CpuInfo tiny = tiny_caches();
  for (int i = 0; i < 150; ++i) {
    ProblemSpec spec;
    spec.batch = pick(1, 2);
    spec.groups = pick(0, 4) == 0 ? pick(1, 3) : 1;
    spec.input_channels = spec.groups * pick(1, i % 5 == 0 ? 90 : 20);
    spec.output_channels = spec.groups * pick(1, i % 7 == 0 ? 70 : 20);
    spec.padding = Padding::kExplicit;
    const int64_t kind = pick(0, 2);  // strides and dilations exclude each other
    for (size_t a = 0; a < 3; ++a) {
      spec.kernel[a] = pick(1, 4);
      spec.stride[a] = kind == 0 ? pick(1, 4) : 1;
      spec.dilation[a] = kind == 1 ? pick(1, 4) : 1;
      spec.pad_before[a] = pick(0, 3);
      spec.pad_after[a] = pick(0, 3);
      const int64_t reach =
          (spec.kernel[a] - 1) * spec.dilation[a] + 1 - spec.pad_before[a] - spec.pad_after[a];
      spec.input[a] = std::max<int64_t>(1, reach) + pick(0, a == 2 ? 20 : 5);
    }
    const std::vector<const KernelTable*> tables = runnable_tables();
    const PlanContext context{tables[static_cast<size_t>(i) % tables.size()],
                              i % 2 ? &tiny : &cpu_info(), 1};
    compare<float>("random " + std::to_string(i) + " " + make_problem(spec).to_string(), spec,
                   context);
  }
}

TEST_CASE("activations are applied to complete sums") {
  for (const KernelTable* table : runnable_tables()) {
    const CpuInfo tiny = tiny_caches();
    const PlanContext context{table, &tiny, 1};
    for (const char* text : {"mb1_ic40id5ih5iw9_oc21_kd3kh3kw3_sd1sh1sw1_same",
                             "mb1_ic24id4ih4iw9_oc2_kd3kh3kw3_sd1sh1sw1_same",
                             "mb1_ic2id4ih5iw6_oc3_kd3kh3kw3_sd5sh7sw9_same"}) {
      for (int activation = 0; activation <= 4; ++activation) {
        for (Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
          ProblemSpec spec = parse_problem(text);
          spec.direction = direction;
          spec.activation = static_cast<Activation>(activation);
          spec.leaky_relu_alpha = 0.25;
          spec.with_bias = true;
          const Problem p = make_problem(spec);
          Tensors<float> tensors(p);
          for (float& x : tensors.filter) x /= 16;  // exact, and sigmoid and tanh not saturated
          const std::vector<float> expected =
              run_algorithm(reference_algorithm(), p, context, tensors);
          for (const Algorithm* algorithm : planar_family()) {
            if (!algorithm->why_not(p, context).empty()) continue;
            const std::vector<float> got = run_algorithm(*algorithm, p, context, tensors, 2);
            INFO(text, " ", algorithm->name(), " ", table->name, " activation ", activation);
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
}

TEST_CASE("threads and batch do not change a bit") {
  const CpuInfo tiny = tiny_caches();
  const PlanContext context{&kernel_table(), &tiny, 1};
  for (const char* text : {"mb3_ic40id6ih7iw9_oc21_kd3kh3kw3_sd1sh1sw1_same",
                           "mb3_ic3id8ih9iw30_oc16_kd3kh3kw3_sd2sh2sw2_same",
                           "mb3_ic32id6ih7iw9_oc2_kd3kh3kw3_sd1sh1sw1_same",
                           "mb3_ic130id5ih6iw7_oc48_kd1kh1kw1_sd1sh1sw1_same",
                           "mb3_ic1id9ih9iw40_oc16_kd3kh3kw3_sd1sh1sw1_same"}) {
    for (int form = 0; form < 4; ++form) {
      ProblemSpec spec = parse_problem(text);
      const Direction direction = kDirections[form % 2];
      spec.direction = direction;
      spec.layout = form < 2 ? Layout::kChannelsFirst : Layout::kChannelsLast;
      const Problem p = make_problem(spec);
      const Tensors<float> tensors(p, 3, false);
      for (const Algorithm* algorithm : planar_family()) {
        if (!algorithm->why_not(p, context).empty()) continue;
        INFO(text, " ", algorithm->name(), " direction ", static_cast<int>(direction));
        const std::vector<float> one = run_algorithm(*algorithm, p, context, tensors, 1);
        for (int threads : {2, 3, 7}) {
          const std::vector<float> many = run_algorithm(*algorithm, p, context, tensors, threads);
          CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
        }
        // The second sample alone.
        ProblemSpec single = spec;
        single.batch = 1;
        const Problem s = make_problem(single);
        Tensors<float> sample = tensors;
        const auto cut = [](std::vector<float>* v, int64_t n) {
          *v = std::vector<float>(v->begin() + n, v->begin() + 2 * n);
        };
        cut(&sample.input, s.input_elements());
        cut(&sample.grad_output, s.output_elements());
        const std::vector<float> alone = run_algorithm(*algorithm, s, context, sample, 2);
        CHECK(std::memcmp(alone.data(), one.data() + alone.size(), alone.size() * sizeof(float)) ==
              0);
      }
    }
  }
}

TEST_CASE("problems of real networks equal the reference") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (const std::string& text : problem_set("networks")) {
    ProblemSpec spec = parse_problem(text);
    spec.layout = Layout::kChannelsFirst;
    const Problem p = make_problem(spec);
    if (p.flops() > 1.5e9) continue;  // the reference takes seconds a GFLOP
    const Tensors<float> tensors(p);
    const std::vector<float> expected =
        run_algorithm(reference_algorithm(), p, context, tensors, 2);
    for (const Algorithm* algorithm : planar_family()) {
      if (!algorithm->why_not(p, context).empty()) continue;
      const std::vector<float> got = run_algorithm(*algorithm, p, context, tensors, 2);
      INFO(text, " ", algorithm->name());
      CHECK(std::memcmp(expected.data(), got.data(), got.size() * sizeof(float)) == 0);
    }
  }
}

// One tap in height and width, channels first: few panels, few channels, and many of both; rows
// that end within a vector, whose last one must not be read beyond the tensor. With stride 2 tiles
// that are whole, that begin and end within rows, shorter than a vector, and rows that are too
// short or too near to each other to be gathered by the vector.
TEST_CASE("rows are read in place up to the source's end and no further") {
  struct Row {
    const char* problem;
    const char* how;  // with this machine's caches; empty: depends on the vectors
  };
  constexpr Row kRows[] = {
      {"mb2_ic11id2ih3iw5_oc4_kd1kh1kw1_sd1sh1sw1_valid", "in place"},
      {"mb2_ic5id3ih3iw7_oc40_kd1kh1kw1_sd1sh1sw1_valid", "in place"},
      {"mb2_ic70id3ih7iw9_oc45_kd1kh1kw1_sd1sh1sw1_valid", "kept"},
      {"mb1_ic70id1ih8iw48_oc70_kd1kh1kw1_sd1sh1sw1_valid", "kept"},
      {"mb2_ic8id5ih3iw9_oc8_kd3kh1kw1_sd1sh1sw1_same", "in place"},
      {"mb1_ic7id6ih2iw7_oc6_kd3kh1kw1_sd1sh1sw1_dd2dh1dw1_same", "in place"},
      {"mb2_g2ic12id2ih5iw7_oc6_kd1kh1kw1_sd1sh1sw1_valid", "in place"},
      {"mb2_ic5id3ih56iw56_oc20_kd1kh1kw1_sd2sh2sw2_valid", "gathered"},
      {"mb2_ic5id2ih13iw13_oc20_kd1kh1kw1_sd1sh2sw2_valid", "gathered"},
      {"mb1_ic3id2ih3iw34_oc33_kd1kh1kw1_sd1sh2sw2_valid", "gathered"},
      {"mb2_ic3id3ih5iw22_oc13_kd1kh1kw1_sd2sh1sw2_valid", "gathered"},
      {"mb2_g2ic6id1ih9iw130_oc34_kd1kh1kw1_sd1sh3sw2_valid", "gathered"},
      {"mb1_ic90id1ih17iw34_oc29_kd1kh1kw1_sd1sh2sw2_valid", "gathered"},
      {"mb2_ic3id3ih5iw23_oc13_kd1kh1kw1_sd2sh1sw2_valid", "blocks of"},
      {"mb2_ic5id2ih3iw2_oc20_kd1kh1kw1_sd1sh2sw2_valid", "blocks of"},
      {"mb2_ic5id2ih5iw7_oc20_kd1kh1kw1_sd1sh2sw2_valid", ""},
      {"mb2_ic5id2ih9iw30_oc20_kd1kh1kw1_sd1sh2sw2_pd0ph1pw1_qd0qh0qw0", "blocks of"},
  };
  const CpuInfo tiny = tiny_caches();
  for (const KernelTable* table : runnable_tables()) {
    for (const CpuInfo* cpu : {&cpu_info(), &tiny}) {
      for (const Row& row : kRows) {
        for (Direction direction : kDirections) {
          ProblemSpec spec = parse_problem(row.problem);
          spec.layout = Layout::kChannelsFirst;
          spec.direction = direction;
          spec.with_bias = true;
          const Problem p = make_problem(spec);
          const PlanContext context{table, cpu, 1};
          if (!planar_family()[0]->why_not(p, context).empty()) {
            CHECK(refusable(p));
            continue;
          }
          const Tensors<float> tensors(p);
          const std::vector<float> expected =
              run_algorithm(reference_algorithm(), p, context, tensors);
          const auto prepared = planar_family()[0]->prepare(p, context);
          INFO(std::string(row.problem), " ", std::string(table->name), " ", prepared->detail());
          if (cpu == &cpu_info()) {  // tiny caches stage what would meet in them
            const std::string how = prepared->detail();
            CHECK(how.find(row.how) != std::string::npos);
            for (const char* more : {"kept", "gathered"})
              CHECK((how.find(more) == std::string::npos || row.how == std::string(more) ||
                     row.how[0] == 0));
          }
          Block packed(prepared->packed_filter_bytes());
          prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 1);
          Block scratch(prepared->ledger().total_bytes(2)), result(expected.size() * sizeof(float));
          const std::vector<float>& from =
              direction == Direction::kForward ? tensors.input : tensors.grad_output;
          for (Wall wall : {Wall::kAfter, Wall::kBefore}) {
            const Guarded source(from.size() * sizeof(float), sizeof(float), wall);
            std::memcpy(source.data(), from.data(), source.bytes());
            Buffers buffers;
            buffers.input = buffers.grad_output = source.data();
            buffers.packed_filter = packed.data();
            buffers.bias = tensors.bias.data();
            buffers.result = result.data();
            buffers.batch = p.mb;
            prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()),
                              default_thread_pool(), 2);
            CHECK(result.intact());
            CHECK(std::memcmp(result.data(), expected.data(), expected.size() * sizeof(float)) ==
                  0);
          }
        }
      }
    }
  }
}

TEST_CASE("rows that meet in one set of the L1 are no more than its ways") {
  CHECK(product_tile_rows(6, 4, 4096, 8192) == 4);
  CHECK(product_tile_rows(3, 4, 4096, 8192) == 3);
  CHECK(product_tile_rows(6, 4, 4096, 8256) == 6);
  CHECK(product_tile_rows(6, 4, 0, 8192) == 6);
}

// The filter gradient of filters of width 1: runs that rows make, joined or not, strides and
// borders, more channels than a tile has, in pieces or not, and nothing read beyond the tensors.
TEST_CASE("filter gradients from rows in place are exact and end where the tensors do") {
  const CpuInfo tiny = tiny_caches();
  for (const char* text : {"mb2_ic13id3ih5iw7_oc9_kd1kh1kw1_sd1sh1sw1_valid",
                           "mb1_ic40id2ih9iw33_oc31_kd1kh1kw1_sd1sh1sw1_valid",
                           "mb3_ic7id6ih3iw5_oc5_kd3kh1kw1_sd1sh1sw1_same",
                           "mb2_ic6id5ih9iw4_oc8_kd2kh3kw1_sd2sh1sw1_same",
                           "mb2_ic9id5ih7iw41_oc6_kd1kh1kw1_sd2sh2sw2_valid",
                           "mb2_ic5id3ih14iw14_oc7_kd1kh1kw1_sd1sh2sw2_valid",
                           "mb1_ic3id9ih4iw4_oc3_kd1kh1kw1_sd1sh2sw2_valid",
                           "mb2_ic3id5ih33iw33_oc4_kd1kh1kw1_sd2sh1sw2_valid",
                           "mb2_ic5id3ih14iw15_oc7_kd1kh2kw1_sd2sh1sw2_same",
                           "mb1_ic4id4ih6iw19_oc3_kd1kh2kw1_sd1sh1sw3_same",
                           "mb1_ic3id2ih3iw6_oc2_kd1kh1kw1_sd1sh1sw1_pd0ph0pw2_qd0qh0qw1",
                           "mb1_ic3id2ih3iw6_oc2_kd1kh1kw1_sd1sh1sw2_pd1ph0pw3_qd0qh0qw9",
                           "mb2_g3ic15id2ih4iw6_oc12_kd1kh1kw1_sd1sh1sw1_valid",
                           "mb1_ic13id1ih32iw32_oc9_kd1kh1kw1_sd1sh1sw1_valid",  // meet in L1
                           "mb2_g2ic100id3ih14iw31_oc6_kd2kh1kw1_sd1sh1sw2_valid",
                           "mb1_ic49id2ih6iw70_oc13_kd1kh1kw1_sd1sh2sw2_same",
                           "mb1_ic2id1ih1iw3000_oc3_kd1kh1kw1_sd1sh1sw1_valid"}) {
    ProblemSpec spec = parse_problem(text);
    spec.direction = Direction::kBackwardFilter;
    spec.layout = Layout::kChannelsFirst;
    const Problem p = make_problem(spec);
    const Tensors<float> tensors(p);
    for (const KernelTable* table : runnable_tables()) {
      for (const CpuInfo* cpu : {&cpu_info(), &tiny}) {
        const PlanContext context{table, cpu, 1};
        const std::vector<float> expected =
            run_algorithm(reference_algorithm(), p, context, tensors);
        const auto prepared = planar_filter_gradient_algorithm().prepare(p, context);
        INFO(text, " ", std::string(table->name), " ", prepared->detail());
        for (Wall wall : {Wall::kAfter, Wall::kBefore}) {
          CHECK(testing::run_guarded(*prepared, p, tensors, 3, wall) == expected);
        }
      }
    }
  }
}

TEST_CASE(
    "filter gradients from rows in place: threads change no bit, errors stay below the bound") {
  ProblemSpec spec = parse_problem("mb2_ic50id4ih30iw31_oc11_kd3kh1kw1_sd1sh1sw1_same");
  spec.direction = Direction::kBackwardFilter;
  spec.layout = Layout::kChannelsFirst;
  const Problem p = make_problem(spec);
  const Tensors<float> tensors(p, 3, false);
  const std::vector<double> expected = exact_result(p, tensors);
  const CpuInfo tiny = tiny_caches();
  for (const KernelTable* table : runnable_tables()) {
    for (const CpuInfo* cpu : {&cpu_info(), &tiny}) {
      const PlanContext context{table, cpu, 1};
      const Algorithm& algorithm = planar_filter_gradient_algorithm();
      const std::vector<float> one = run_algorithm(algorithm, p, context, tensors, 1);
      for (int threads : {2, 5}) {
        const std::vector<float> many = run_algorithm(algorithm, p, context, tensors, threads);
        CHECK(std::memcmp(one.data(), many.data(), one.size() * sizeof(float)) == 0);
      }
      CHECK(relative_error(one, expected, 0) < algorithm.prepare(p, context)->error_bound());
    }
  }
}
