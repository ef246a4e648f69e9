// algorithms/winograd_rows and kernels/winograd_rows.inl: against float64, the stated accuracy, the
// same bits whatever the threads, blocks, lanes, layout and batch, memory, and what is refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "accuracy.h"
#include "algorithms/winograd_rows/winograd_rows.h"
#include "emulation/tables.h"
#include "guarded.h"
#include "kernels/dispatch.h"
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
using winograd_rows::Geometry;

PlanContext context_of(const KernelTable& table) { return {&table, &cpu_info(), 1}; }

// Every form of tile, border, dilation and block edge.
const char* const kProblems[] = {
    "mb2_ic3id5ih9iw19_oc20_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic1id4ih6iw37_oc8_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic3id9ih21iw45_oc64_kd7kh7kw7_sd2sh2sw2_same",
    "mb1_ic3id6ih18iw50_oc8_kd5kh7kw7_sd1sh2sw2_same",
    "mb1_ic17id6ih6iw13_oc19_kd3kh3kw3_sd2sh2sw2_same",
    "mb1_ic2id3ih11iw140_oc5_kd1kh2kw5_sd1sh3sw1_valid",
    "mb1_ic20id3ih7iw33_oc33_kd2kh1kw3_sd1sh1sw1_pd2ph1pw0_qd0qh1qw2",
    "mb1_ic4id1ih1iw1_oc3_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic5id4ih4iw4_oc4_kd3kh3kw3_sd1sh1sw1_pd5ph0pw3_qd4qh4qw6",
    "mb1_ic6id9ih10iw41_oc10_kd3kh3kw3_sd1sh1sw1_dd2dh3dw2_same",
    "mb1_ic6id7ih10iw61_oc17_kd2kh3kw3_sd1sh1sw1_dd2dh1dw4_same",
    "mb1_ic3id5ih12iw70_oc9_kd3kh2kw4_sd2sh3sw3_same",
    "mb1_ic2id3ih5iw60_oc6_kd1kh3kw7_sd1sh1sw3_same",
    "mb1_ic2id3ih5iw60_oc6_kd1kh1kw11_sd1sh1sw1_same",
    "mb1_ic3id2ih3iw33_oc7_kd1kh1kw9_sd1sh1sw2_valid",
    "mb1_ic4id2ih3iw50_oc12_kd2kh2kw2_sd1sh1sw1_valid",
    "mb1_ic300id3ih3iw9_oc40_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic530id2ih2iw5_oc3_kd1kh2kw3_sd1sh1sw1_same",
    "mb1_ic100id3ih5iw9_oc16_kd3kh5kw3_sd1sh2sw2_same",
    "mb1_ic40id4ih3iw30_oc16_kd3kh7kw3_sd1sh1sw1_same",
};

std::vector<Problem> problems_in_all_forms(const char* text) {
  std::vector<Problem> problems;
  for (Direction direction : {Direction::kForward, Direction::kBackwardInput})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      ProblemSpec spec = testing::parse_problem(text);
      spec.direction = direction;
      spec.layout = layout;
      spec.with_bias = true;
      spec.activation =
          layout == Layout::kChannelsLast ? Activation::kLeakyRelu : Activation::kNone;
      problems.push_back(make_problem(spec));
    }
  return problems;
}

TEST_CASE(
    "winograd_rows: every tile against float64, both directions and layouts, every instruction "
    "set") {
  const AlgorithmList algorithms = winograd_rows_algorithms();
  std::vector<int> served(algorithms.size);
  for (const char* text : kProblems)
    for (const Problem& p : problems_in_all_forms(text)) {
      const Tensors<float> tensors(p, 11, false);
      const std::vector<double> want = exact_result(p, tensors);
      for (const KernelTable* table : runnable_tables())
        for (int i = 0; i < algorithms.size; ++i) {
          const Algorithm& algorithm = *algorithms.items[i];
          const PlanContext context = context_of(*table);
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(p.to_string());
          CAPTURE(table->name);
          CAPTURE(algorithm.name());
          CAPTURE(algorithm.prepare(p, context)->detail());
          ++served[i];
          const double bound = algorithm.prepare(p, context)->error_bound();
          const std::vector<float> got = testing::run_algorithm(algorithm, p, context, tensors, 2);
          CHECK(relative_error(got, want, spread_of(p)) <= bound);
        }
    }
  for (int i = 0; i < algorithms.size; ++i) {
    CAPTURE(algorithms.items[i]->name());
    CHECK(served[i] > 10);
  }
}

TEST_CASE("winograd_rows: the stated error bound holds for Gaussian and for post-ReLU data") {
  const AlgorithmList algorithms = winograd_rows_algorithms();
  const PlanContext context = context_of(kernel_table());
  for (const char* kernel : {"kd3kh3kw3_sd1sh1sw1", "kd1kh1kw5_sd1sh1sw1", "kd3kh7kw7_sd1sh2sw2",
                             "kd1kh3kw3_sd1sh2sw2", "kd2kh2kw2_sd1sh1sw1"})
    for (int channels : {1, 3, 16, 64, 300})
      for (bool relu : {false, true}) {
        const Problem p = make_problem(testing::parse_problem(
            "mb1_ic" + std::to_string(channels) + "id3ih7iw40_oc8_" + kernel + "_same"));
        Tensors<float> tensors(p, 21u + channels, false);
        if (relu)
          for (float& x : tensors.input) x = std::max(x, 0.0f);
        const std::vector<double> want = exact_result(p, tensors);
        for (int i = 0; i < algorithms.size; ++i) {
          const Algorithm& algorithm = *algorithms.items[i];
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(p.to_string());
          CAPTURE(relu);
          CAPTURE(algorithm.name());
          const double bound = algorithm.prepare(p, context)->error_bound();
          const double error =
              relative_error(testing::run_algorithm(algorithm, p, context, tensors, 2), want, 0);
          CHECK(error <= bound);
          CHECK(error >= bound / 60);  // a bound that nothing comes near states nothing
        }
      }
}

// One entry whose blocking is given.
struct Fixed final : Algorithm {
  int m;
  bool lanes_along_tiles;
  int64_t tiles, rows, group, c_rows;
  const char* name() const override { return "fixed"; }
  const char* family() const override { return "winograd_rows"; }
  std::string why_not(const Problem&, const PlanContext&) const override { return {}; }
  double cost(const Problem&, const PlanContext&) const override { return 0; }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return winograd_rows::prepare(
        problem, context, m,
        winograd_rows::make_blocking(winograd_rows::make_geometry(problem, m), lanes_along_tiles,
                                     tiles, rows, group, c_rows, context));
  }
};

TEST_CASE("winograd_rows: same bits for any threads, blocks, lanes and layout") {
  for (const char* text : {"mb2_ic35id3ih5iw31_oc21_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic3id4ih9iw33_oc18_kd3kh3kw7_sd1sh2sw2_same",
                           "mb1_ic3id4ih5iw40_oc9_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2_same"})
    for (Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
      ProblemSpec spec = testing::parse_problem(text);
      spec.direction = direction;
      spec.with_bias = true;
      spec.activation = Activation::kTanh;
      const Problem p = make_problem(spec);
      spec.layout = Layout::kChannelsFirst;
      const Problem first = make_problem(spec);
      if (!winograd_rows::why_not_geometry(p, 4).empty()) continue;
      const Tensors<float> tensors(p, 31, false);
      Tensors<float> transposed = tensors;
      transposed.input = testing::channels_first(tensors.input, p.ic, p.input_voxels());
      transposed.grad_output =
          testing::channels_first(tensors.grad_output, p.oc, p.output_voxels());
      for (const KernelTable* table : runnable_tables()) {
        CAPTURE(table->name);
        std::vector<float> want;
        for (bool lanes_along_tiles : {false, true})
          for (int64_t tiles : {1, 4, 9})
            for (int64_t rows : {1, 4})
              for (int64_t group : {1, 3})
                for (int threads : {1, 3})
                  for (const Problem* form : {&p, &first}) {
                    CAPTURE(form->to_string());
                    CAPTURE(lanes_along_tiles);
                    CAPTURE(tiles);
                    CAPTURE(rows);
                    CAPTURE(threads);
                    Fixed fixed;
                    fixed.m = 4;
                    fixed.lanes_along_tiles = lanes_along_tiles;
                    fixed.tiles = tiles;
                    fixed.rows = rows;
                    fixed.group = group;
                    fixed.c_rows = group == 1 ? rows : 2;
                    const std::vector<float> got = testing::channels_last(
                        *form, testing::run_algorithm(fixed, *form, context_of(*table),
                                                      form == &p ? tensors : transposed, threads));
                    if (want.empty()) want = got;
                    CHECK(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0);
                  }
      }
    }
}

const Algorithm& entry(const std::string& name) {
  const AlgorithmList algorithms = winograd_rows_algorithms();
  for (int i = 0; i < algorithms.size; ++i)
    if (name == algorithms.items[i]->name()) return *algorithms.items[i];
  throw std::logic_error("no " + name);
}

TEST_CASE("winograd_rows: same bits for any batch split, and an empty batch") {
  const PlanContext context = context_of(kernel_table());
  const Problem p =
      make_problem(testing::parse_problem("mb3_ic3id6ih9iw30_oc32_kd3kh3kw3_sd1sh1sw1_same"));
  const Tensors<float> tensors(p, 41, false);
  const Algorithm& algorithm = entry("winograd_rows_m4");
  const std::vector<float> want = testing::run_algorithm(algorithm, p, context, tensors, 2);
  const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
  Block packed(prepared->packed_filter_bytes()), scratch(prepared->ledger().total_bytes(1));
  prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 2);
  const size_t in = p.input_voxels() * p.ic, out = p.output_voxels() * p.oc;
  Block result(out * sizeof(float));
  Buffers buffers;
  buffers.packed_filter = packed.data();
  buffers.result = result.data();
  for (int64_t sample = 0; sample < p.mb; ++sample) {
    buffers.input = tensors.input.data() + sample * in;
    buffers.batch = 1;
    prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                      1);
    CHECK(std::memcmp(want.data() + sample * out, result.data(), out * sizeof(float)) == 0);
  }
  buffers.batch = 0;
  prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(), 1);
}

TEST_CASE("winograd_rows: reads and writes nothing beyond its buffers, at any alignment") {
  const AlgorithmList algorithms = winograd_rows_algorithms();
  for (const char* text : {"mb1_ic3id3ih5iw21_oc8_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic5id2ih5iw18_oc19_kd2kh3kw7_sd1sh2sw2_same",
                           "mb1_ic33id2ih3iw14_oc16_kd1kh1kw3_sd1sh1sw1_dd1dh1dw2_same"})
    for (const Problem& p : problems_in_all_forms(text))
      for (const KernelTable* table : runnable_tables())
        for (int i = 0; i < algorithms.size; ++i)
          for (testing::Wall wall : {testing::Wall::kAfter, testing::Wall::kBefore}) {
            const PlanContext context = context_of(*table);
            if (!algorithms.items[i]->why_not(p, context).empty()) continue;
            const Tensors<float> tensors(p, 5, false);
            const bool backward = p.direction == Direction::kBackwardInput;
            const std::vector<float>& from = backward ? tensors.grad_output : tensors.input;
            const std::vector<float> want =
                testing::run_algorithm(*algorithms.items[i], p, context, tensors, 1);
            const std::unique_ptr<Prepared> prepared = algorithms.items[i]->prepare(p, context);
            testing::Guarded source(from.size() * sizeof(float), sizeof(float), wall),
                packed(prepared->packed_filter_bytes(), kScratchAlignment, wall),
                scratch(prepared->ledger().total_bytes(1), kScratchAlignment, wall),
                bias(tensors.bias.size() * sizeof(float), sizeof(float), wall),
                result(want.size() * sizeof(float), sizeof(float), wall);
            std::memcpy(source.data(), from.data(), source.bytes());
            std::memcpy(bias.data(), tensors.bias.data(), bias.bytes());
            prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 1);
            Buffers buffers;
            (backward ? buffers.grad_output : buffers.input) = source.data();
            buffers.packed_filter = packed.data();
            buffers.bias = bias.data();
            buffers.result = result.data();
            buffers.batch = 1;
            prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()),
                              default_thread_pool(), 1);
            CAPTURE(p.to_string());
            CAPTURE(table->name);
            CHECK(result.intact());
            CHECK(scratch.intact());
            CHECK(packed.intact());
            CHECK(std::memcmp(want.data(), result.data(), result.bytes()) == 0);
          }
}

TEST_CASE("winograd_rows: large results are streamed past the caches with the same bits") {
  ProblemSpec spec = testing::parse_problem("mb1_ic1id3ih40iw250_oc32_kd1kh2kw3_sd1sh1sw1_same");
  CpuInfo small = cpu_info();
  small.l3_bytes = 1 << 20;
  for (int channels : {8, 16, 24, 32})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      spec.layout = layout;
      spec.output_channels = channels;
      const Problem p = make_problem(spec);
      const Tensors<float> tensors(p, 3, false);
      for (const KernelTable* table : runnable_tables()) {
        const std::vector<float> want =
            testing::run_algorithm(entry("winograd_rows_m4"), p, context_of(*table), tensors, 1);
        const std::vector<float> got =
            testing::run_algorithm(entry("winograd_rows_m4"), p, {table, &small, 1}, tensors, 1);
        CHECK(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("winograd_rows: a NaN or Inf spoils exactly the tiles whose windows hold it") {
  const PlanContext context = context_of(kernel_table());
  const Problem p =
      make_problem(testing::parse_problem("mb1_ic20id6ih11iw27_oc18_kd3kh3kw3_sd1sh1sw1_same"));
  const Tensors<float> tensors(p, 51, false);
  const Algorithm& algorithm = entry("winograd_rows_m4");
  const std::vector<float> clean = testing::run_algorithm(algorithm, p, context, tensors, 2);
  const int64_t at[3] = {3, 4, 13};
  for (float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Tensors<float> bad = tensors;
    bad.input[((at[0] * p.ih + at[1]) * p.iw + at[2]) * p.ic + 7] = value;
    const std::vector<float> got = testing::run_algorithm(algorithm, p, context, bad, 2);
    int64_t spoiled = 0;
    for (int64_t d = 0; d < p.od; ++d)
      for (int64_t h = 0; h < p.oh; ++h)
        for (int64_t w = 0; w < p.ow; ++w) {
          const bool in_plane = std::abs(d - at[0]) <= 1 && std::abs(h - at[1]) <= 1;
          const bool in_window = in_plane && at[2] >= w / 4 * 4 - 1 && at[2] < w / 4 * 4 + 5;
          const bool in_reach = in_plane && std::abs(w - at[2]) <= 1;
          for (int64_t c = 0; c < p.oc; ++c) {
            const size_t i = static_cast<size_t>(((d * p.oh + h) * p.ow + w) * p.oc + c);
            if (!in_window) {
              if (std::memcmp(&got[i], &clean[i], sizeof(float)) != 0)
                FAIL("changed outside the tiles");
            } else {
              spoiled += !std::isfinite(got[i]);
              if (in_reach && std::isfinite(got[i])) FAIL("finite where the direct sum is not");
            }
          }
        }
    CHECK(spoiled > 0);
  }
}

TEST_CASE("winograd_rows: the workspace does not grow with the volume or the batch") {
  const PlanContext context = context_of(kernel_table());
  for (const char* channels : {"ic1", "ic16", "ic64", "ic512"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      size_t bytes[2];
      int i = 0;
      for (const char* volume : {"id64ih64iw128", "id512ih512iw1024"}) {
        ProblemSpec spec = testing::parse_problem(std::string("mb1_") + channels + volume + "_oc" +
                                                  (channels + 2) + "_kd3kh3kw3_sd1sh1sw1_same");
        spec.layout = layout;
        const std::unique_ptr<Prepared> prepared =
            entry("winograd_rows_m4").prepare(make_problem(spec), context);
        bytes[i++] = prepared->ledger().bytes_per_thread();
        CAPTURE(channels);
        CHECK(prepared->ledger().bytes_per_thread() <= (size_t{4} << 20));
        CHECK(prepared->ledger().shared_bytes() == 0);
      }
      CHECK(bytes[1] <= bytes[0] + bytes[0] / 8);  // blocks are cut evenly: not quite equal
    }
}

TEST_CASE("winograd_rows: says what it does not compute") {
  const PlanContext context = context_of(kernel_table());
  const auto reason = [&](const char* text, auto&& change) {
    ProblemSpec spec = testing::parse_problem(text);
    change(spec);
    return entry("winograd_rows_m4").why_not(make_problem(spec), context);
  };
  const auto same = [](ProblemSpec&) {};
  const auto says = [&](const std::string& text, const char* word) {
    return text.find(word) != std::string::npos;
  };
  const char* plain = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same";
  CHECK(reason(plain, same).empty());
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd7kh7kw7_sd2sh2sw2_same", same).empty());
  CHECK(says(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw1_sd1sh1sw1_same", same), "one tap"));
  CHECK(says(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw3_same", same), "saves no"));
  CHECK(says(reason("mb1_g2ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same", same), "ungrouped"));
  CHECK(says(reason("mb1_ic8id8ih8iw99_oc8_kd3kh3kw3_sd1sh1sw1_dd1dh1dw40_same", same), "large"));
  CHECK(says(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh2sw1_same",
                    [](ProblemSpec& s) { s.direction = Direction::kBackwardInput; }),
             "stride 1"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.accuracy = Accuracy::kStrict; }), "strict"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.dtype = DType::kFloat64; }), "float32"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.direction = Direction::kBackwardFilter; }),
             "forward"));
}

}  // namespace
}  // namespace conv3d
