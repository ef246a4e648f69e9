// algorithms/winograd/filter_gradient, algorithms/winograd_rows/filter_gradient and their kernels:
// the algorithms against float64 in all forms, its stated accuracy over few and many tiles, and the
// same bits whatever the threads, layout and alignment.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "algorithms/machine_rates.h"
#include "algorithms/reference/reference.h"
#include "algorithms/winograd/filter_gradient.h"
#include "algorithms/winograd_rows/filter_gradient.h"
#include "emulation/tables.h"
#include "guarded.h"
#include "kernels/dispatch.h"
#include "problem_sets.h"
#include "run_algorithm.h"

namespace conv3d {
namespace {

using testing::Block;
using testing::runnable_tables;
using testing::Tensors;

PlanContext context_of(const KernelTable& table) { return {&table, &cpu_info(), 1}; }

std::vector<double> exact_result(const Problem& p, const Tensors<float>& tensors) {
  Problem wide = p;
  wide.dtype = DType::kFloat64;
  Tensors<double> t(wide);
  t.input.assign(tensors.input.begin(), tensors.input.end());
  t.grad_output.assign(tensors.grad_output.begin(), tensors.grad_output.end());
  return testing::run_algorithm(reference_algorithm(), wide, context_of(kernel_table()), t, 2);
}

// max|error| / max|result|. A handful of results may all be small by chance; then their spread
// stands in for the maximum.
double relative_error(const std::vector<float>& got, const std::vector<double>& want,
                      double spread) {
  double worst = 0, largest = 2 * spread;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    worst = std::max(worst, std::isnan(error) ? 1e30 : error);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

double spread_of(const Problem& p) {
  return std::sqrt(static_cast<double>(p.mb * p.output_voxels()));
}

Problem gradient_problem(const std::string& text, Layout layout = Layout::kChannelsLast) {
  ProblemSpec spec = testing::parse_problem(text);
  spec.direction = Direction::kBackwardFilter;
  spec.layout = layout;
  return make_problem(spec);
}

std::vector<const Algorithm*> entries(const AlgorithmList& list) {
  return {list.items, list.items + list.size};
}
// In three dimensions and along the width.
std::vector<const Algorithm*> all_gradients() {
  std::vector<const Algorithm*> all = entries(winograd_gradient_algorithms());
  for (const Algorithm* algorithm : entries(winograd_rows_gradient_algorithms()))
    all.push_back(algorithm);
  return all;
}

std::vector<float> run_prepared(const Prepared& prepared, const Problem& p,
                                const Tensors<float>& tensors, int threads) {
  // NaN: what is read before it is written shows.
  Block scratch(prepared.ledger().total_bytes(threads));
  std::fill_n(scratch.as<float>(), prepared.ledger().total_bytes(threads) / sizeof(float),
              std::numeric_limits<float>::quiet_NaN());
  Block result(static_cast<size_t>(p.filter_elements()) * sizeof(float));
  Buffers buffers;
  buffers.input = tensors.input.data();
  buffers.grad_output = tensors.grad_output.data();
  buffers.result = result.data();
  buffers.batch = p.mb;
  prepared.execute(buffers, Scratch(prepared.ledger(), scratch.data()), default_thread_pool(),
                   threads);
  CHECK(scratch.intact());
  CHECK(result.intact());
  return std::vector<float>(result.as<float>(), result.as<float>() + p.filter_elements());
}

Tensors<float> channels_first(const Problem& p, const Tensors<float>& last) {
  Tensors<float> first = last;
  const auto turn = [&](const std::vector<float>& from, std::vector<float>* to, int64_t voxels,
                        int64_t channels) {
    for (int64_t n = 0; n < p.mb; ++n)
      for (int64_t v = 0; v < voxels; ++v)
        for (int64_t c = 0; c < channels; ++c)
          (*to)[static_cast<size_t>((n * channels + c) * voxels + v)] =
              from[static_cast<size_t>((n * voxels + v) * channels + c)];
  };
  turn(last.input, &first.input, p.input_voxels(), p.ic);
  turn(last.grad_output, &first.grad_output, p.output_voxels(), p.oc);
  return first;
}

// Problems whose runs and blocks are cut at every kind of edge.
const char* const kProblems[] = {
    "mb2_ic16id8ih8iw8_oc32_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic3id6ih9iw10_oc5_kd3kh3kw3_sd1sh1sw1_valid",
    "mb1_ic17id6ih6iw13_oc19_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic33id5ih7iw6_oc16_kd3kh3kw3_sd1sh1sw1_pd2ph1pw0_qd0qh1qw2",
    "mb1_ic4id1ih1iw1_oc3_kd3kh3kw3_sd1sh1sw1_same",
    "mb3_ic9id2ih3iw21_oc48_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic20id6ih9iw11_oc7_kd1kh3kw3_sd1sh1sw1_same",
    "mb1_ic20id9ih4iw5_oc18_kd3kh1kw1_sd1sh1sw1_same",
    "mb1_ic18id5ih2iw71_oc17_kd3kh1kw1_sd1sh1sw1_same",
    "mb2_ic18id7ih4iw5_oc17_kd3kh1kw1_sd1sh1sw1_pd1ph1pw2_qd1qh2qw3",
    "mb1_ic18id3ih9iw70_oc20_kd3kh3kw1_sd1sh1sw1_same",
    "mb1_ic33id5ih6iw9_oc18_kd3kh1kw3_sd1sh1sw1_same",
    "mb2_ic18id3ih9iw20_oc17_kd1kh3kw1_sd1sh1sw1_valid",
    "mb1_ic17id4ih6iw13_oc20_kd1kh1kw3_sd1sh1sw1_same",
    // pairs, of one axis or more
    "mb2_ic20id2ih5iw6_oc33_kd3kh3kw3_sd1sh1sw1_same",
    "mb3_ic17id2ih2iw2_oc18_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic9id6ih2iw7_oc16_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic9id5ih4iw2_oc16_kd3kh3kw3_sd1sh1sw1_same",
    "mb2_ic20id2ih4iw5_oc18_kd3kh1kw1_sd1sh1sw1_same",
    "mb1_ic7id4ih6iw3_oc5_kd3kh3kw3_sd1sh1sw1_dd2dh3dw2_same",
    "mb1_ic8id7ih8iw9_oc8_kd5kh5kw5_sd1sh1sw1_same",
    "mb1_ic6id5ih6iw12_oc10_kd1kh5kw3_sd1sh1sw1_valid",
    "mb1_ic80id4ih5iw5_oc100_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic5id4ih4iw4_oc4_kd3kh3kw3_sd1sh1sw1_pd5ph0pw3_qd4qh4qw6",
    "mb2_ic16id9ih10iw23_oc20_kd3kh3kw3_sd2sh2sw2_same",
    "mb1_ic19id8ih7iw9_oc5_kd3kh3kw3_sd2sh2sw2_valid",
    "mb1_ic3id6ih9iw20_oc33_kd3kh3kw3_sd1sh2sw2_pd2ph1pw0_qd0qh2qw1",
    "mb2_ic8id5ih12iw13_oc8_kd1kh3kw3_sd2sh2sw2_same",
    "mb1_ic9id13ih4iw6_oc17_kd3kh1kw1_sd2sh1sw1_same",
    "mb1_ic4id9ih11iw30_oc6_kd5kh5kw5_sd2sh2sw2_same",
    "mb2_ic18id8ih9iw14_oc20_kd4kh4kw4_sd2sh2sw2_same",
    "mb1_ic5id11ih7iw26_oc17_kd4kh3kw4_sd2sh1sw2_pd2ph1pw0_qd1qh1qw3",
    "mb1_ic20id7ih12iw9_oc10_kd3kh3kw5_sd2sh1sw2_pd0ph1pw4_qd1qh1qw2",
    "mb1_ic5id3ih16iw10_oc4_kd3kh3kw1_sd1sh2sw1_same",
    "mb2_ic7id9ih10iw11_oc12_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2_same",
    "mb1_ic7id5ih10iw19_oc17_kd3kh3kw3_sd1sh1sw1_dd1dh3dw4_valid",
    "mb1_ic2id3ih8iw9_oc3_kd3kh1kw3_sd1sh1sw1_dd4dh2dw5_same",
    "mb1_ic2id12ih8iw9_oc3_kd3kh3kw1_sd1sh1sw1_dd3dh2dw3_pd1ph5pw0_qd4qh0qw0"};

TEST_CASE("winograd gradient: every tile shape against float64, in both layouts, on every ISA") {
  const AlgorithmList list = winograd_gradient_algorithms();
  std::vector<int> served(static_cast<size_t>(list.size));
  for (const char* text : kProblems)
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      const Problem p = gradient_problem(text, layout);
      const Problem last = gradient_problem(text);
      const Tensors<float> made(p, 17, false);
      const Tensors<float> tensors =
          layout == Layout::kChannelsFirst ? channels_first(p, made) : made;
      const std::vector<double> want = exact_result(last, made);
      for (const KernelTable* table : runnable_tables()) {
        const PlanContext context = context_of(*table);
        for (int i = 0; i < list.size; ++i) {
          const Algorithm& algorithm = *list.items[i];
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(text);
          CAPTURE(table->name);
          CAPTURE(algorithm.name());
          CAPTURE(static_cast<int>(layout));
          ++served[static_cast<size_t>(i)];
          CHECK(algorithm.cost(p, context) > 0);
          const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
          const std::vector<float> got = run_prepared(*prepared, p, tensors, 1);
          CHECK(relative_error(got, want, spread_of(p)) < prepared->error_bound());
        }
      }
    }
  for (int i = 0; i < list.size; ++i) {
    CAPTURE(list.items[i]->name());
    CHECK(served[static_cast<size_t>(i)] > 0);
  }
}

TEST_CASE("winograd gradient: both ways to share the work, blocks of any size, sums in turn") {
  const PlanContext context = context_of(kernel_table());
  struct Form {
    const char* text;
    winograd::TileShape shape;
  };
  const Form forms[] = {{"mb2_ic40id9ih10iw11_oc50_kd3kh3kw3_sd1sh1sw1_same", {{4, 4, 4}}},
                        {"mb1_ic24id6ih10iw23_oc8_kd1kh3kw3_sd1sh1sw1_valid", {{1, 4, 4}}},
                        {"mb3_ic8id12ih10iw11_oc17_kd3kh3kw3_sd1sh1sw1_same", {{2, 4, 4}}},
                        {"mb5_ic40id2ih10iw11_oc17_kd3kh3kw3_sd1sh1sw1_same", {{2, 4, 4}}},
                        {"mb2_ic40id9ih10iw31_oc24_kd3kh3kw3_sd2sh2sw2_same", {{2, 3, 3}}}};
  for (const Form& form : forms) {
    const Problem p = gradient_problem(form.text);
    const Tensors<float> tensors(p, 5, false);
    const std::vector<double> want = exact_result(p, tensors);
    const winograd::GradientGeometry g = winograd::make_gradient_geometry(p, form.shape);
    for (bool shared : {true, false})
      for (int64_t tiles : {1, 3, 8, 40, 128})
        for (int64_t sums : {1, 2, 100}) {
          winograd::GradientBlocking b =
              winograd::make_gradient_blocking(g, shared, tiles, context);
          if (sums < 100 && !shared) continue;
          b.ci_sums = std::min(b.ci_sums, sums);
          b.co_sums = std::min(b.co_sums, sums);
          b.ci_part = std::min(b.ci_part, b.ci_sums);
          b.co_part = std::min(b.co_part, b.co_sums);
          CAPTURE(form.text);
          CAPTURE(shared);
          CAPTURE(tiles);
          CAPTURE(sums);
          const std::unique_ptr<Prepared> prepared =
              winograd::prepare_gradient(p, context, form.shape, b);
          const std::vector<float> got = run_prepared(*prepared, p, tensors, 2);
          CHECK(relative_error(got, want, spread_of(p)) < prepared->error_bound());
          CHECK(run_prepared(*prepared, p, tensors, 1) == got);
        }
  }
}

TEST_CASE("winograd gradient: the same bits for any threads, layout and alignment") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : {"mb2_ic20id9ih10iw45_oc24_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic130id7ih6iw9_oc50_kd3kh3kw3_sd1sh1sw1_valid",
                           "mb2_ic20id9ih10iw45_oc24_kd3kh3kw3_sd2sh2sw2_same",
                           "mb5_ic8id8ih9iw10_oc8_kd3kh3kw3_sd1sh1sw1_dd2dh1dw1_same",
                           "mb1_ic20id5ih9iw33_oc24_kd3kh3kw3_sd1sh1sw1_dd1dh2dw3_same",
                           "mb2_ic3id9ih31iw45_oc40_kd3kh7kw7_sd1sh2sw2_same"}) {
    const Problem p = gradient_problem(text),
                  first = gradient_problem(text, Layout::kChannelsFirst);
    const Tensors<float> tensors(p, 9, false), turned = channels_first(p, tensors);
    for (const Algorithm* entry : all_gradients()) {
      const Algorithm& algorithm = *entry;
      if (!algorithm.why_not(p, context).empty()) continue;
      CAPTURE(text);
      CAPTURE(algorithm.name());
      const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context),
                                      other = algorithm.prepare(first, context);
      const std::vector<float> want = run_prepared(*prepared, p, tensors, 1);
      for (int threads : {2, 3, 4, 7}) CHECK(run_prepared(*prepared, p, tensors, threads) == want);
      CHECK(run_prepared(*other, first, turned, 2) == want);
      Block input((tensors.input.size() + 1) * sizeof(float)),
          gradient((tensors.grad_output.size() + 3) * sizeof(float)),
          scratch(prepared->ledger().total_bytes(2)), result((want.size() + 1) * sizeof(float));
      std::copy(tensors.input.begin(), tensors.input.end(), input.as<float>() + 1);
      std::copy(tensors.grad_output.begin(), tensors.grad_output.end(), gradient.as<float>() + 3);
      Buffers buffers;
      buffers.input = input.as<float>() + 1;
      buffers.grad_output = gradient.as<float>() + 3;
      buffers.result = result.as<float>() + 1;
      buffers.batch = p.mb;
      prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                        2);
      CHECK(result.intact());
      CHECK(std::equal(want.begin(), want.end(), result.as<float>() + 1));
      buffers.batch = 0;
      prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                        2);
      CHECK(std::all_of(result.as<float>() + 1, result.as<float>() + 1 + want.size(),
                        [](float x) { return x == 0; }));
    }
  }
}

TEST_CASE("winograd gradient: a filter written past the caches has the same bits") {
  for (const KernelTable* table : runnable_tables()) {
    if (table->winograd_gradient.outer == nullptr) continue;
    CAPTURE(table->name);
    const PlanContext context = context_of(*table);
    CpuInfo small = *context.cpu;
    small.l3_bytes = 64;  // filters beyond a third of the L3 pass the caches
    const PlanContext streaming{context.kernels, &small, context.threads};
    for (const char* text : {"mb1_ic21id6ih7iw8_oc32_kd3kh3kw3_sd1sh1sw1_same",
                             "mb1_ic21id6ih7iw8_oc40_kd3kh3kw3_sd1sh1sw1_same",
                             "mb1_ic5id6ih7iw8_oc16_kd5kh5kw5_sd1sh1sw1_same"}) {
      CAPTURE(text);
      const Problem p = gradient_problem(text);
      const Tensors<float> tensors(p, 15, false);
      const winograd::TileShape shape =
          p.kd == 5 ? winograd::TileShape{{2, 2, 2}} : winograd::TileShape{{4, 4, 4}};
      const winograd::GradientBlocking b = winograd::make_gradient_blocking(
          winograd::make_gradient_geometry(p, shape), true, 8, context);
      const std::vector<float> want =
          run_prepared(*winograd::prepare_gradient(p, context, shape, b), p, tensors, 1);
      const std::unique_ptr<Prepared> prepared = winograd::prepare_gradient(p, streaming, shape, b);
      for (const size_t shift : {0, 4}) {  // floats off the alignment
        Block scratch(prepared->ledger().total_bytes(2)),
            result((want.size() + shift) * sizeof(float));
        Buffers buffers;
        buffers.input = tensors.input.data();
        buffers.grad_output = tensors.grad_output.data();
        buffers.result = result.as<float>() + shift;
        buffers.batch = p.mb;
        prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()),
                          default_thread_pool(), 2);
        CHECK(result.intact());
        CHECK(std::equal(want.begin(), want.end(), result.as<float>() + shift));
      }
    }
  }
}

TEST_CASE(
    "winograd gradient: the stated accuracy over few and over many tiles, two kinds of data") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : {"mb1_ic16id8ih8iw8_oc16_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic24id20ih20iw20_oc24_kd3kh3kw3_sd1sh1sw1_same",
                           "mb2_ic24id2ih20iw20_oc24_kd3kh3kw3_sd1sh1sw1_same",
                           "mb40_ic24id2ih2iw2_oc24_kd3kh3kw3_sd1sh1sw1_same",
                           "mb2_ic4id64ih64iw64_oc4_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic24id40ih40iw40_oc24_kd3kh3kw3_sd2sh2sw2_same",
                           "mb1_ic4id40ih40iw40_oc4_kd5kh5kw5_sd1sh1sw1_same"})
    for (bool relu : {false, true}) {
      const Problem p = gradient_problem(text);
      Tensors<float> tensors(p, 23, false);
      double square = 1;
      if (relu) {
        for (float& x : tensors.input) x = std::max(x, 0.0f);
        square = 0.5;
      }
      const std::vector<double> want = exact_result(p, tensors);
      const AlgorithmList list = winograd_gradient_algorithms();
      for (int i = 0; i < list.size; ++i) {
        const Algorithm& algorithm = *list.items[i];
        if (!algorithm.why_not(p, context).empty()) continue;
        const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
        const double error = relative_error(run_prepared(*prepared, p, tensors, 2), want,
                                            spread_of(p) * std::sqrt(square));
        CAPTURE(text);
        CAPTURE(relu);
        CAPTURE(algorithm.name());
        CHECK(error < prepared->error_bound());
      }
    }
}

TEST_CASE("winograd gradients: the workspace does not grow with the volume or the batch") {
  const PlanContext context = context_of(kernel_table());
  const int64_t l2 = static_cast<int64_t>(l2_bytes(cpu_info())),
                l3 = static_cast<int64_t>(l3_bytes(cpu_info()));
  int served = 0;
  for (const char* channels : {"ic3", "ic8", "ic16", "ic64", "ic256", "ic1024"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (const Algorithm* algorithm : {winograd_gradient_algorithms().items[0],
                                         winograd_rows_gradient_algorithms().items[0]}) {
        size_t shared[2] = {}, thread[2] = {};
        int i = 0;
        for (const char* volume : {"id256ih256iw256", "id512ih512iw512"}) {
          const Problem p = gradient_problem(std::string("mb1_") + channels + volume + "_oc" +
                                                 (channels + 2) + "_kd3kh3kw3_sd1sh1sw1_same",
                                             layout);
          if (!algorithm->why_not(p, context).empty()) continue;
          const std::unique_ptr<Prepared> prepared = algorithm->prepare(p, context);
          shared[i] = prepared->ledger().shared_bytes();
          thread[i++] = prepared->ledger().bytes_per_thread();
        }
        CHECK(i != 1);
        if (i == 0) continue;
        ++served;
        CAPTURE(channels);
        CAPTURE(algorithm->name());
        CHECK(thread[1] <= static_cast<size_t>(3 * l2));
        CHECK(shared[1] <= static_cast<size_t>(3 * l3));
        // Rows are cut into runs of slightly different lengths.
        CHECK(static_cast<double>(shared[1]) <= 1.3 * static_cast<double>(shared[0]));
        CHECK(static_cast<double>(thread[1]) <= 1.3 * static_cast<double>(thread[0]));
      }
  CHECK(served >= 16);
}

// Every form of tile, border, dilation and block edge.
const char* const kRowsProblems[] = {
    "mb2_ic3id5ih9iw19_oc20_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic1id4ih6iw37_oc8_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic3id9ih21iw45_oc64_kd7kh7kw7_sd2sh2sw2_same",
    "mb3_ic3id6ih18iw50_oc8_kd5kh7kw7_sd1sh2sw2_same",
    "mb1_ic17id6ih6iw13_oc19_kd3kh3kw3_sd2sh2sw2_same",
    "mb1_ic2id3ih11iw140_oc5_kd1kh2kw5_sd1sh3sw1_valid",
    "mb1_ic20id3ih7iw33_oc33_kd2kh1kw3_sd1sh1sw1_pd2ph1pw0_qd0qh1qw2",
    "mb1_ic4id1ih1iw1_oc3_kd3kh3kw3_sd1sh1sw1_same",
    "mb1_ic5id4ih4iw4_oc4_kd3kh3kw3_sd1sh1sw1_pd5ph0pw3_qd4qh4qw6",
    "mb1_ic6id9ih10iw41_oc10_kd3kh3kw3_sd1sh1sw1_dd2dh3dw2_same",
    "mb1_ic6id7ih10iw61_oc17_kd2kh3kw3_sd1sh1sw1_dd2dh1dw4_same",
    "mb1_ic3id5ih12iw70_oc9_kd3kh2kw4_sd2sh3sw3_same",
    "mb1_ic2id3ih5iw60_oc6_kd1kh1kw11_sd1sh1sw1_same",
    "mb1_ic4id2ih3iw50_oc120_kd2kh2kw2_sd1sh1sw1_valid",
    "mb1_ic40id4ih3iw30_oc16_kd3kh7kw3_sd1sh1sw1_same",
};

TEST_CASE("winograd_rows gradient: every tile against float64, in both layouts, on every ISA") {
  int served = 0;
  for (const char* text : kRowsProblems)
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      const Problem p = gradient_problem(text, layout);
      const Tensors<float> tensors(p, 11, false);
      const std::vector<double> want = exact_result(p, tensors);
      for (const KernelTable* table : runnable_tables())
        for (const Algorithm* algorithm : entries(winograd_rows_gradient_algorithms())) {
          const PlanContext context = context_of(*table);
          if (!algorithm->why_not(p, context).empty()) continue;
          ++served;
          CAPTURE(p.to_string());
          CAPTURE(table->name);
          const std::unique_ptr<Prepared> prepared = algorithm->prepare(p, context);
          CAPTURE(prepared->detail());
          const std::vector<float> got = run_prepared(*prepared, p, tensors, 2);
          CHECK(relative_error(got, want, spread_of(p)) <= prepared->error_bound());
        }
    }
  CHECK(served > 60);
}

TEST_CASE("winograd_rows gradient: the stated error bound, over few and many tiles") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : {"mb1_ic1id2ih3iw40_oc8_kd1kh1kw5_sd1sh1sw1_same",
                           "mb1_ic3id16ih56iw56_oc16_kd3kh7kw7_sd1sh2sw2_same",
                           "mb4_ic2id24ih40iw64_oc8_kd3kh3kw3_sd1sh1sw1_same",
                           "mb2_ic3id32ih64iw96_oc8_kd1kh5kw4_sd1sh1sw1_same",
                           "mb1_ic3id20ih48iw64_oc8_kd3kh3kw3_sd2sh2sw2_same"})
    for (bool relu : {false, true}) {
      const Problem p = gradient_problem(text);
      Tensors<float> tensors(p, 21, false);
      if (relu)
        for (float& x : tensors.input) x = std::max(x, 0.0f);
      const std::vector<double> want = exact_result(p, tensors);
      for (const Algorithm* algorithm : entries(winograd_rows_gradient_algorithms())) {
        const std::unique_ptr<Prepared> prepared = algorithm->prepare(p, context);
        CAPTURE(p.to_string());
        CAPTURE(relu);
        CAPTURE(prepared->detail());
        const double bound = prepared->error_bound(),
                     error = relative_error(run_prepared(*prepared, p, tensors, 2), want, 0);
        CHECK(error <= bound);
        CHECK(error >= bound / 60);  // a bound that nothing comes near states nothing
      }
    }
}

TEST_CASE("winograd_rows gradient: reads and writes nothing beyond its buffers") {
  for (const char* text : {"mb1_ic3id3ih5iw21_oc8_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic5id2ih5iw18_oc19_kd2kh3kw7_sd1sh2sw2_same",
                           "mb1_ic33id2ih3iw14_oc16_kd1kh1kw3_sd1sh1sw1_dd1dh1dw2_same"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (const KernelTable* table : runnable_tables())
        for (const Algorithm* algorithm : entries(winograd_rows_gradient_algorithms()))
          for (testing::Wall wall : {testing::Wall::kAfter, testing::Wall::kBefore}) {
            const Problem p = gradient_problem(text, layout);
            const PlanContext context = context_of(*table);
            if (!algorithm->why_not(p, context).empty()) continue;
            const Tensors<float> tensors(p, 5, false);
            const std::unique_ptr<Prepared> prepared = algorithm->prepare(p, context);
            const std::vector<float> want = run_prepared(*prepared, p, tensors, 1);
            CAPTURE(p.to_string());
            CAPTURE(table->name);
            CHECK(testing::run_guarded(*prepared, p, tensors, 1, wall) == want);
          }
}

TEST_CASE("winograd_rows gradient: says what it does not compute") {
  const PlanContext context = context_of(kernel_table());
  const auto reason = [&](const char* text, auto&& change) {
    ProblemSpec spec = testing::parse_problem(text);
    spec.direction = Direction::kBackwardFilter;
    change(spec);
    return winograd_rows_gradient_algorithms().items[0]->why_not(make_problem(spec), context);
  };
  const auto same = [](ProblemSpec&) {};
  const auto says = [&](const std::string& text, const char* word) {
    return text.find(word) != std::string::npos;
  };
  const char* plain = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same";
  CHECK(reason(plain, same).empty());
  CHECK(says(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw1_sd1sh1sw1_same", same), "one tap"));
  CHECK(says(reason("mb1_g2ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same", same), "ungrouped"));
  CHECK(says(reason("mb1_ic4096id8ih8iw64_oc8_kd3kh3kw3_sd1sh1sw1_same", same), "channels"));
  // Sizes that memory cannot hold are refused, not computed with.
  CHECK(says(reason("mb1_ic144115188075855872id1ih1iw4_oc1_kd1kh1kw3_sd1sh1sw1_same", same),
             "channels"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.direction = Direction::kForward; }),
             "backward_filter"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.accuracy = Accuracy::kStrict; }), "strict"));
  CHECK(says(reason(plain, [](ProblemSpec& s) { s.dtype = DType::kFloat64; }), "float32"));
}

TEST_CASE("winograd gradient: says what it does not compute") {
  const PlanContext context = context_of(kernel_table());
  const Algorithm& f4x4x4 = *winograd_gradient_algorithms().items[0];
  const auto reason = [&](const char* text, auto&& change) {
    ProblemSpec spec = testing::parse_problem(text);
    spec.direction = Direction::kBackwardFilter;
    change(spec);
    return f4x4x4.why_not(make_problem(spec), context);
  };
  const auto same = [](ProblemSpec&) {};
  const char* plain = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same";
  const char* dilated = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2_same";
  CHECK(reason(plain, same).empty());
  CHECK(reason(dilated, same).empty());
  CHECK(reason(dilated, [](ProblemSpec& s) { s.layout = Layout::kChannelsFirst; }).empty());
  CHECK(reason("mb1_ic8id8ih8iw16_oc8_kd3kh3kw3_sd1sh1sw1_dd2dh2dw5_same", [](ProblemSpec& s) {
          s.layout = Layout::kChannelsFirst;
        }).find("dilation") != std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd2sh1sw1_same", same).find("stride") !=
        std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw1_sd1sh1sw2_same", same).find("F(4, 1)") !=
        std::string::npos);
  CHECK(reason("mb1_g2ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same", same).find("ungrouped") !=
        std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd1kh3kw3_sd1sh1sw1_same", same).find("F(4, 1)") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) { s.accuracy = Accuracy::kStrict; }).find("strict") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) { s.dtype = DType::kFloat64; }).find("float32") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) {
          s.direction = Direction::kForward;
        }).find("backward_filter") != std::string::npos);
}

}  // namespace
}  // namespace conv3d
