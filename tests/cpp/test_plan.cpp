// plan/ and algorithms/: every algorithm of the registry, on every instruction set that runs here,
// in every direction, against the reference; and what a plan adds: selection, conversions of layout
// and dtype, packed filters, degenerate batches.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/reference/reference.h"
#include "base/half.h"
#include "base/status.h"
#include "kernels/dispatch.h"
#include "plan/convert.h"
#include "plan/fold.h"
#include "plan/live_taps.h"
#include "plan/plan.h"
#include "plan/select.h"
#include "problem/problem.h"
#include "problem_sets.h"
#include "runtime/cpu_info.h"
#include "runtime/thread_pool.h"

namespace conv3d {
namespace {

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                     Direction::kBackwardFilter};

// The tensors of one problem, as T, filled with small integers: sums of products are then
// exact in float and double.
template <class T>
struct Tensors {
  explicit Tensors(const Problem& p, unsigned seed = 1)
      : input(static_cast<size_t>(p.input_elements())),
        filter(static_cast<size_t>(p.filter_elements())),
        grad_output(static_cast<size_t>(p.output_elements())),
        bias(static_cast<size_t>(std::max(p.ic, p.oc))) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> number(-4, 4);
    for (auto* tensor : {&input, &filter, &grad_output, &bias}) {
      for (T& x : *tensor) x = static_cast<T>(number(random));
    }
  }
  std::vector<T> input, filter, grad_output, bias;
};

size_t result_elements(const Problem& p) {
  switch (p.direction) {
    case Direction::kForward: return static_cast<size_t>(p.output_elements());
    case Direction::kBackwardInput: return static_cast<size_t>(p.input_elements());
    case Direction::kBackwardFilter: return static_cast<size_t>(p.filter_elements());
  }
  return 0;
}

// What an algorithm computes, given scratch and a result full of NaN.
template <class T>
std::vector<T> compute(const Algorithm& algorithm, const Problem& p, const PlanContext& context,
                       const Tensors<T>& t, int threads, double* bound = nullptr,
                       ThreadPool* given = nullptr) {
  Problem sample = p;
  sample.mb = 1;
  const auto prepared = algorithm.prepare(sample, context);
  if (bound != nullptr) *bound = prepared->error_bound();
  ThreadPool& pool = given != nullptr ? *given : default_thread_pool();
  Workspace packed(prepared->packed_filter_bytes());
  if (packed.data() != nullptr) std::memset(packed.data(), 0xff, prepared->packed_filter_bytes());
  if (p.direction != Direction::kBackwardFilter)
    prepared->pack_filter(t.filter.data(), packed.data(), pool, threads);
  const size_t bytes = prepared->ledger().total_bytes(threads);
  Workspace scratch(bytes);
  if (scratch.data() != nullptr) std::memset(scratch.data(), 0xff, bytes);
  std::vector<T> result(result_elements(p), std::numeric_limits<T>::quiet_NaN());
  Buffers b;
  b.input = t.input.data();
  b.grad_output = t.grad_output.data();
  b.packed_filter = packed.data();
  b.bias = p.with_bias ? t.bias.data() : nullptr;
  b.result = result.data();
  b.batch = p.mb;
  prepared->execute(b, Scratch(prepared->ledger(), scratch.data()), pool, threads);
  return result;
}

template <class T>
double largest(const std::vector<T>& values) {
  double result = 1e-30;
  for (T value : values) result = std::max(result, std::abs(static_cast<double>(value)));
  return result;
}

template <class T>
double relative_error(const std::vector<T>& got, const std::vector<T>& wanted) {
  double error = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference =
        std::abs(static_cast<double>(got[i]) - static_cast<double>(wanted[i]));
    if (std::isnan(difference)) return difference;
    error = std::max(error, difference);
  }
  return error / largest(wanted);
}

template <class T>
void check_algorithms(const ProblemSpec& spec, const std::string& line) {
  const Problem p = make_problem(spec);
  const Tensors<T> t(p);
  const KernelTableList tables = kernel_tables();
  const PlanContext any{tables.items[tables.size - 1], &cpu_info(), 1};
  const std::vector<T> wanted = compute<T>(reference_algorithm(), p, any, t, 2);
  Problem linear = p;
  linear.activation = Activation::kNone;
  const double largest_sum = largest(compute<T>(reference_algorithm(), linear, any, t, 2));
  const AlgorithmList list = algorithm_list();
  for (int i = 0; i < tables.size; ++i) {
    if ((tables.items[i]->required_features & ~cpu_info().features) != 0) continue;
    const PlanContext context{tables.items[i], &cpu_info(), 1};
    for (int a = 0; a < list.size; ++a) {
      const Algorithm& algorithm = *list.items[a];
      Problem sample = p;
      sample.mb = 1;
      if (!algorithm.why_not(sample, context).empty()) continue;
      const std::string name = std::string(algorithm.name()) + " on " + tables.items[i]->name +
                               ": " + p.to_string() + " of " + line;
      INFO(name);
      CHECK(algorithm.cost(sample, context) > 0);
      double bound = 0;
      const std::vector<T> one = compute<T>(algorithm, p, context, t, 1, &bound);
      const double error = relative_error(one, wanted);
      if (!algorithm.direct()) {
        // The bound is on the sum; no activation is steeper than 1, but it may make the largest
        // output smaller. Among very few outputs all may be small, while errors go with the size of
        // the tile's terms: only sanity is asked there.
        CHECK(error * largest(wanted) <= bound * largest_sum * (wanted.size() < 100 ? 100 : 1));
      } else if (spec.activation == Activation::kSigmoid || spec.activation == Activation::kTanh) {
        CHECK(error <= 2e-6);
      } else {
        CHECK(error == 0);
      }
      const std::vector<T> three = compute<T>(algorithm, p, context, t, 3);
      CHECK(std::memcmp(one.data(), three.data(), one.size() * sizeof(T)) == 0);
    }
  }
}

template <class F>
void for_each_problem(const std::vector<std::string>& sets, F fn) {
  for (const std::string& set : sets) {
    for (const std::string& line : testing::problem_set(set))
      fn(testing::parse_problem(line), line);
  }
}

TEST_CASE("every algorithm agrees with the reference in float32, all directions") {
  for_each_problem({"smoke", "edges", "strided", "dilated"},
                   [](ProblemSpec spec, const std::string& line) {
                     for (Direction direction : kDirections) {
                       spec.direction = direction;
                       check_algorithms<float>(spec, line);
                     }
                   });
}

TEST_CASE("channels first and float64") {
  for_each_problem({"smoke"}, [](ProblemSpec spec, const std::string& line) {
    for (Direction direction : kDirections) {
      spec.direction = direction;
      spec.layout = Layout::kChannelsFirst;
      spec.dtype = DType::kFloat32;
      check_algorithms<float>(spec, line);
      spec.dtype = DType::kFloat64;
      check_algorithms<double>(spec, line);
      spec.layout = Layout::kChannelsLast;
      check_algorithms<double>(spec, line);
    }
  });
}

TEST_CASE("bias and activations") {
  for_each_problem({"smoke"}, [](ProblemSpec spec, const std::string& line) {
    for (Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
      for (int activation = 0; activation < 5; ++activation) {
        spec.direction = direction;
        spec.with_bias = true;
        spec.leaky_relu_alpha = 0.25;  // exact
        spec.activation = static_cast<Activation>(activation);
        check_algorithms<float>(spec, line);
      }
    }
  });
}

// A plain triple loop, to check the reference itself by something that shares no code with it.
std::vector<double> naive_forward(const Problem& p, const Tensors<double>& t) {
  std::vector<double> y(static_cast<size_t>(p.output_elements()), 0.0);
  const int64_t icg = p.ic / p.groups, ocg = p.oc / p.groups;
  size_t at = 0;
  for (int64_t n = 0; n < p.mb; ++n)
    for (int64_t od = 0; od < p.od; ++od)
      for (int64_t oh = 0; oh < p.oh; ++oh)
        for (int64_t ow = 0; ow < p.ow; ++ow)
          for (int64_t c = 0; c < p.oc; ++c, ++at)
            for (int64_t kd = 0; kd < p.kd; ++kd)
              for (int64_t kh = 0; kh < p.kh; ++kh)
                for (int64_t kw = 0; kw < p.kw; ++kw) {
                  const int64_t d = od * p.sd - p.pd + kd * p.dd, h = oh * p.sh - p.ph + kh * p.dh,
                                w = ow * p.sw - p.pw + kw * p.dw;
                  if (d < 0 || d >= p.id || h < 0 || h >= p.ih || w < 0 || w >= p.iw) continue;
                  for (int64_t i = 0; i < icg; ++i) {
                    const int64_t x =
                        ((((n * p.id + d) * p.ih + h) * p.iw + w) * p.ic) + c / ocg * icg + i;
                    const int64_t f = (((kd * p.kh + kh) * p.kw + kw) * icg + i) * p.oc + c;
                    y[at] += t.input[static_cast<size_t>(x)] * t.filter[static_cast<size_t>(f)];
                  }
                }
  return y;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

TEST_CASE("the reference equals a plain loop, and its gradients are adjoint") {
  const KernelTableList tables = kernel_tables();
  const PlanContext context{tables.items[tables.size - 1], &cpu_info(), 1};
  for_each_problem(
      {"smoke", "edges", "strided", "dilated"}, [&](ProblemSpec spec, const std::string& line) {
        CAPTURE(line);
        spec.dtype = DType::kFloat64;
        Problem p = make_problem(spec);
        const Tensors<double> t(p);
        const std::vector<double> y = compute<double>(reference_algorithm(), p, context, t, 2);
        CHECK(y == naive_forward(p, t));
        // <dy, conv(x, w)> = <dx, x> = <dw, w>; all are integers, so equal to the last bit.
        p.direction = Direction::kBackwardInput;
        const double forward = dot(t.grad_output, y);
        CHECK(dot(compute<double>(reference_algorithm(), p, context, t, 2), t.input) == forward);
        p.direction = Direction::kBackwardFilter;
        CHECK(dot(compute<double>(reference_algorithm(), p, context, t, 2), t.filter) == forward);
      });
}

template <class T>
PlanBuffers buffers_of(const Problem& p, const Tensors<T>& t, std::vector<T>* result) {
  PlanBuffers b;
  b.input = t.input.data();
  b.filter = t.filter.data();
  b.grad_output = t.grad_output.data();
  b.bias = p.with_bias ? t.bias.data() : nullptr;
  b.result = result->data();
  b.batch = p.mb;
  return b;
}

Status status_of(const Problem& p, const std::string& algorithm) {
  try {
    Plan plan(p, algorithm);
    return Status::kOk;
  } catch (const Error& error) {
    return error.status();
  }
}

TEST_CASE("a forced algorithm is used or refused, never replaced") {
  const Problem p =
      make_problem(testing::parse_problem("mb1_ic3id9ih10iw11_oc4_kd5kh5kw5_sd3sh3sw3_same"));
  CHECK(Plan(p, "reference").facts().algorithm == "reference");
  CHECK(status_of(p, "no_such_algorithm") == Status::kInvalidArgument);
  const AlgorithmList list = algorithm_list();
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  for (int i = 0; i < list.size; ++i) {
    const Algorithm& algorithm = *list.items[i];
    const bool able = algorithm.why_not(p, context).empty();
    CAPTURE(algorithm.name());
    const Status status = status_of(p, algorithm.name());
    CHECK(status == (able ? Status::kOk : Status::kUnsupported));
    if (able) CHECK(Plan(p, algorithm.name()).facts().algorithm == algorithm.name());
  }
  CHECK(Plan(p, "auto").facts().candidates.size() == static_cast<size_t>(list.size));
}

TEST_CASE("the choice does not depend on the batch") {
  for_each_problem({"smoke", "strided", "networks"}, [](ProblemSpec spec, const std::string& line) {
    CAPTURE(line);
    spec.batch = 1;
    const Plan one(make_problem(spec), "auto");
    spec.batch = 64;
    const Plan many(make_problem(spec), "auto");
    CHECK(one.facts().detail == many.facts().detail);
    CHECK(one.filter_key() == many.filter_key());
    CHECK(one.facts().error_bound <= kDefaultErrorBound);
  });
}

TEST_CASE("no cost depends on how many threads the process may use, so neither does the choice") {
  CpuInfo one = cpu_info(), eight = cpu_info();
  one.usable_threads = 1;
  eight.usable_threads = 8;
  const PlanContext few{&kernel_table(), &one, 1}, more{&kernel_table(), &eight, 1};
  const AlgorithmList list = algorithm_list();
  int compared = 0;
  for (const char* text : {"mb1_ic64id7ih10iw11_oc96_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic320id4ih4iw4_oc320_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic256id4ih28iw28_oc128_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic96id8ih14iw14_oc64_kd3kh1kw1_sd1sh1sw1_same",
                           "mb1_ic64id8ih14iw14_oc64_kd1kh1kw1_sd1sh1sw1_same"})
    for (const Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
      ProblemSpec spec = testing::parse_problem(text);
      spec.direction = direction;
      const Problem p = make_problem(spec);
      CAPTURE(p.to_string());
      for (int i = 0; i < list.size; ++i) {
        if (!list.items[i]->why_not(p, few).empty()) continue;
        CAPTURE(list.items[i]->name());
        CHECK(list.items[i]->cost(p, few) == list.items[i]->cost(p, more));
        ++compared;
      }
    }
  CHECK(compared >= 20);
}

TEST_CASE("backward_input counts the packing of its filter, which changes with every call") {
  const PlanContext context{kernel_tables().items[kernel_tables().size - 1], &cpu_info(), 1};
  const AlgorithmList list = algorithm_list();
  int compared = 0;
  for (const char* text : {"mb1_ic64id2ih7iw7_oc64_kd3kh3kw3_sd1sh1sw1_same",
                           "mb1_ic320id4ih4iw4_oc320_kd3kh3kw3_sd1sh1sw1_same"}) {
    // As many channels in as out and odd kernels: both directions compute the same otherwise.
    ProblemSpec spec = testing::parse_problem(text);
    const Problem forward = make_problem(spec);
    spec.direction = Direction::kBackwardInput;
    const Problem backward = make_problem(spec);
    for (int i = 0; i < list.size; ++i) {
      const std::string family = list.items[i]->family();
      if (family == "reference" || !list.items[i]->why_not(backward, context).empty()) continue;
      CAPTURE(list.items[i]->name());
      const double more =
          list.items[i]->cost(backward, context) - list.items[i]->cost(forward, context);
      const double bytes = static_cast<double>(forward.filter_elements()) * 4;
      CHECK(more > bytes / 40e9);
      CHECK(more < bytes / 0.1e9);
      ++compared;
    }
  }
  CHECK(compared >= 10);
}

TEST_CASE("wide vectors are taken where they are full and computed at once") {
  const KernelTableList tables = kernel_tables();
  CpuInfo cpu = cpu_info();
  cpu.features = ~0u;  // only estimates are asked for: nothing runs
  cpu.vector_unit_bytes = 64;
  PlanContext context{tables.items[0], &cpu, 1};
  REQUIRE(std::string(context.kernels->name) == "avx512");
  const auto chosen = [&](const std::string& channels) {
    const Problem p = make_problem(testing::parse_problem("mb1_ic" + channels + "id32ih32iw32_oc" +
                                                          channels + "_kd3kh3kw3_sd1sh1sw1_same"));
    return std::string(select_algorithm(p, context, "auto").kernels->name);
  };
  CHECK(chosen("64") == "avx512");
  CHECK(chosen("8") == "avx2");
  cpu.vector_unit_bytes = 32;
  CHECK(chosen("64") == "avx2");
  context.kernels = tables.items[tables.size - 1];  // a cap holds
  CHECK(chosen("8") == context.kernels->name);
}

TEST_CASE("the reference is the last resort and not a habit") {
  for_each_problem({"smoke", "edges", "strided", "dilated", "networks"},
                   [](ProblemSpec spec, const std::string& line) {
                     CAPTURE(line);
                     for (Direction direction : kDirections) {
                       spec.direction = direction;
                       for (DType dtype : {DType::kFloat32, DType::kFloat64}) {
                         spec.dtype = dtype;
                         const Problem p = make_problem(spec);
                         if (p.flops() < 1e6) continue;
                         CHECK(Plan(p, "auto").facts().family != "reference");
                       }
                     }
                   });
}

TEST_CASE("strict accuracy takes only direct sums") {
  for_each_problem({"smoke", "networks"}, [](ProblemSpec spec, const std::string& line) {
    CAPTURE(line);
    spec.accuracy = Accuracy::kStrict;
    CHECK(Plan(make_problem(spec), "auto").facts().direct);
    for (const char* family : {"winograd", "winograd_rows", "strassen"})
      CHECK(status_of(make_problem(spec), family) != Status::kOk);
  });
}

TEST_CASE("a batch split and a packed filter change no bit") {
  for_each_problem({"smoke"}, [](ProblemSpec spec, const std::string& line) {
    CAPTURE(line);
    spec.batch = 3;
    const Problem p = make_problem(spec);
    const Tensors<float> t(p);
    std::vector<float> whole(result_elements(p)), parts(result_elements(p));
    const Plan plan(p, "auto");
    ThreadPool& pool = default_thread_pool();
    plan.execute(buffers_of(p, t, &whole), pool, 2);
    const auto packed = plan.pack(t.filter.data(), pool, 2);
    CHECK(packed->bytes() == plan.packed_filter_bytes());
    for (int64_t n = 0; n < 3; ++n) {
      PlanBuffers b = buffers_of(p, t, &parts);
      b.input = t.input.data() + n * p.input_voxels() * p.ic;
      b.result = parts.data() + n * p.output_voxels() * p.oc;
      b.filter = nullptr;
      b.packed = packed.get();
      b.batch = 1;
      plan.execute(b, pool, 1);
    }
    CHECK(whole == parts);
  });
}

TEST_CASE("a plan that reads the filter as it is needs no packed one, and takes a copy as well") {
  if (kernel_table().winograd.multiply == nullptr) return;  // an instruction set without
  ProblemSpec spec = testing::parse_problem("mb1_ic320id6ih6iw6_oc320_kd3kh3kw3_sd1sh1sw1_same");
  spec.direction = Direction::kBackwardInput;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    spec.dtype = dtype;
    const Problem p = make_problem(spec);
    const Plan plan(p, "winograd_f2x2x2");
    REQUIRE(plan.facts().detail.find("unpacked") != std::string::npos);
    const size_t size = static_cast<size_t>(Problem::element_size(dtype));
    CHECK(plan.packed_filter_bytes() == static_cast<size_t>(p.filter_elements()) * 4);
    // Small whole numbers, whose bits in bfloat16 are the upper half of those in float32.
    const Tensors<float> whole(p);
    const auto stored = [&](const std::vector<float>& from, size_t shift) {
      std::vector<char> to(from.size() * size + shift);
      for (size_t i = 0; i < from.size(); ++i)
        std::memcpy(to.data() + shift + i * size,
                    reinterpret_cast<const char*>(&from[i]) + (4 - size), size);
      return to;
    };
    const std::vector<char> grad_output = stored(whole.grad_output, 0);
    std::vector<char> want;
    for (const size_t shift : {size_t{0}, size_t{4}, size_t{20}}) {  // off the alignment
      const std::vector<char> filter = stored(whole.filter, shift);
      const auto packed = plan.pack(filter.data() + shift, default_thread_pool(), 2);
      for (const bool copy : {false, true})
        for (const int threads : {1, 2}) {
          std::vector<char> got(static_cast<size_t>(p.input_elements()) * size, char{0x55});
          PlanBuffers b;
          b.grad_output = grad_output.data();
          b.filter = copy ? nullptr : filter.data() + shift;
          b.packed = copy ? packed.get() : nullptr;
          b.result = got.data();
          b.batch = 1;
          plan.execute(b, default_thread_pool(), threads);
          if (want.empty()) want = got;
          CHECK(got == want);
        }
    }
  }
}

TEST_CASE("windows that tile the rows: plans fold the width, and their filters fit no other plan") {
  const auto problem = [](const char* text, Direction direction, Layout layout, DType dtype) {
    ProblemSpec spec = testing::parse_problem(text);
    spec.direction = direction;
    spec.layout = layout;
    spec.dtype = dtype;
    spec.with_bias = direction != Direction::kBackwardFilter;
    spec.activation = spec.with_bias ? Activation::kRelu : Activation::kNone;
    return make_problem(spec);
  };
  ThreadPool& pool = default_thread_pool();
  constexpr const char* kTiled[] = {"mb2_ic3id4ih6iw8_oc5_kd2kh3kw4_sd2sh3sw4_valid",
                                    "mb1_ic1id3ih4iw21_oc2_kd1kh2kw7_sd1sh1sw7_valid",
                                    "mb2_ic6id2ih2iw6_oc16_kd1kh1kw2_sd1sh1sw2_valid"};
  for (const char* text : kTiled)
    for (Direction direction : kDirections)
      for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
        CAPTURE(text);
        const Problem p = problem(text, direction, layout, DType::kFloat32);
        const Problem folded = fold(p);
        CHECK((folded.kw == 1 && folded.ic == p.ic * p.kw) == (layout == Layout::kChannelsLast));
        CHECK(folded.input_elements() == p.input_elements());
        CHECK(folded.filter_elements() == p.filter_elements());
        const Tensors<float> t(p);
        const PlanContext context{&kernel_table(), &cpu_info(), 1};
        const std::vector<float> wanted = compute<float>(reference_algorithm(), p, context, t, 1);
        for (const char* algorithm : {"auto", "gemm", "reference"}) {
          std::vector<float> result(wanted.size(), std::numeric_limits<float>::quiet_NaN());
          Plan(p, algorithm).execute(buffers_of(p, t, &result), pool, 2);
          CHECK(result == wanted);
        }
      }
  // Float16 converts the bias too, which a folded gradient repeats.
  const char* const text = kTiled[0];
  const Problem exact =
      problem(text, Direction::kBackwardInput, Layout::kChannelsLast, DType::kFloat32);
  const Problem half =
      problem(text, Direction::kBackwardInput, Layout::kChannelsLast, DType::kFloat16);
  const Tensors<float> t(exact);
  std::vector<float> wanted(result_elements(exact));
  Plan(exact, "reference").execute(buffers_of(exact, t, &wanted), pool, 1);
  const auto narrow = [](const std::vector<float>& from) {
    std::vector<uint16_t> to(from.size());
    for (size_t i = 0; i < from.size(); ++i) to[i] = to_half(from[i]).bits;
    return to;
  };
  const std::vector<uint16_t> filter = narrow(t.filter), grad = narrow(t.grad_output),
                              bias = narrow(t.bias);
  std::vector<uint16_t> result(wanted.size());
  PlanBuffers b;
  b.filter = filter.data();
  b.grad_output = grad.data();
  b.bias = bias.data();
  b.result = result.data();
  b.batch = half.mb;
  Plan(half, "auto").execute(b, pool, 2);
  CHECK(result == narrow(wanted));
  // The same filter of a problem that is not folded has another order.
  const Plan tiled(problem(text, Direction::kForward, Layout::kChannelsLast, DType::kFloat32),
                   "gemm");
  const Plan apart(problem("mb2_ic3id4ih6iw9_oc5_kd2kh3kw4_sd2sh3sw4_valid", Direction::kForward,
                           Layout::kChannelsLast, DType::kFloat32),
                   "gemm");
  CHECK(tiled.filter_key() != apart.filter_key());
}

TEST_CASE("live taps are those that meet a pixel") {
  std::mt19937 random(23);
  const auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  int fewer = 0;
  for (int i = 0; i < 3000; ++i) {
    ProblemSpec spec;
    spec.padding = Padding::kExplicit;
    spec.input_channels = spec.output_channels = 1;
    for (int a = 0; a < 3; ++a) {
      spec.input[a] = pick(1, 5);
      spec.kernel[a] = pick(1, 7);
      (i % 2 == 0 ? spec.stride : spec.dilation)[a] = pick(1, 3);
      spec.pad_before[a] = pick(0, 7);
      spec.pad_after[a] = std::max<int64_t>(pick(0, 7), (spec.kernel[a] - 1) * spec.dilation[a] +
                                                            1 - spec.input[a] - spec.pad_before[a]);
    }
    const Problem p = make_problem(spec);
    CAPTURE(p.to_string());
    const LiveTaps taps = live_taps(p);
    const Problem live = of_live_taps(p, taps);
    const int64_t in[3] = {p.id, p.ih, p.iw}, out[3] = {p.od, p.oh, p.ow},
                  kernel[3] = {live.kd, live.kh, live.kw}, pad[3] = {live.pd, live.ph, live.pw};
    for (int a = 0; a < 3; ++a) {
      const auto meets = [&](int64_t tap) {
        for (int64_t o = 0; o < out[a]; ++o) {
          const int64_t at = o * spec.stride[a] + tap * spec.dilation[a] - spec.pad_before[a];
          if (at >= 0 && at < in[a]) return true;
        }
        return false;
      };
      const int64_t first = taps.first[a], end = first + taps.count[a];
      REQUIRE(taps.count[a] >= 1);
      REQUIRE(end <= spec.kernel[a]);
      CHECK(kernel[a] == taps.count[a]);
      CHECK(pad[a] >= 0);
      CHECK(pad[a] == spec.pad_before[a] - first * spec.dilation[a]);
      for (int64_t tap = 0; tap < spec.kernel[a]; ++tap)
        if (tap < first || tap >= end) CHECK(!meets(tap));
      // With a stride windows may jump over the image. Else none is kept at an end, but for one
      // that padding cannot do without, or the last of all.
      if (taps.count[a] > 1 && spec.stride[a] == 1) {
        CHECK(meets(end - 1));
        CHECK((meets(first) || pad[a] < spec.dilation[a]));
      }
      fewer += taps.count[a] < spec.kernel[a];
    }
    // Pieces follow each other in the live taps, and in the filter where it says so.
    int64_t pieces = 0, live_end = 0, end = -1;
    bool adjoin = true;
    taps.for_each_piece([&](int64_t at, int64_t live_at, int64_t elements) {
      CHECK(live_at == live_end);
      adjoin = adjoin && (end < 0 || at == end);
      live_end = live_at + elements;
      end = at + elements;
      ++pieces;
    });
    CHECK(live_end == taps.elements());
    CHECK(taps.contiguous() == adjoin);
    CHECK(taps.contiguous() == (pieces == 1));
  }
  CHECK(fewer > 1000);
}

TEST_CASE("taps that meet no pixel: every dtype and direction equals the reference on all taps") {
  struct Case {
    const char *text, *taps;
  };
  const Case cases[] = {
      {"mb2_ic20id1ih6iw7_oc24_kd3kh3kw3_sd1sh1sw1_same", "1x3x3 taps of 3x3x3"},
      {"mb1_ic20id1ih1iw7_oc24_kd3kh3kw3_sd1sh1sw1_same", "1x1x3 taps of 3x3x3"},
      {"mb3_ic40id1ih1iw1_oc24_kd3kh3kw3_sd1sh1sw1_same", "1x1x1 taps of 3x3x3"},
      {"mb1_ic16id6ih7iw1_oc16_kd3kh3kw5_sd1sh1sw1_same", "3x3x1 taps of 3x3x5"},
      {"mb2_g2ic8id2ih3iw4_oc4_kd7kh7kw5_sd1sh1sw1_same", "3x5x5 taps of 7x7x5"},
      {"mb1_ic64id2ih4iw4_oc64_kd5kh3kw3_sd1sh1sw1_same", "3x3x3 taps of 5x3x3"},
      {"mb1_ic8id3ih4iw5_oc8_kd3kh3kw3_sd1sh1sw1_dd4dh1dw1_same", "1x3x3 taps of 3x3x3"},
      {"mb1_ic8id3ih4iw5_oc8_kd3kh3kw3_sd2sh1sw1_pd3ph1pw1_qd0qh1qw1", "2x3x3 taps of 3x3x3"}};
  for (const Case& c : cases)
    for (const Direction direction : kDirections)
      for (const DType dtype :
           {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16})
        for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
          ProblemSpec spec = testing::parse_problem(c.text);
          spec.direction = direction;
          spec.dtype = dtype;
          spec.layout = layout;
          const Problem p = make_problem(spec);
          const Plan plan(p, "auto"), reference(p, "reference");
          INFO(p.to_string(), " ", plan.facts().detail);
          const std::string& detail = plan.facts().detail;
          CHECK(detail.ends_with(std::string(", ") + c.taps));
          CHECK(reference.facts().detail.find("taps of") == std::string::npos);
          // Whole numbers up to 2, which every dtype holds; sums stay exact in float16 too.
          const size_t size = static_cast<size_t>(Problem::element_size(dtype));
          std::mt19937 random(3);
          const auto stored = [&](int64_t count) {
            std::vector<float> numbers(static_cast<size_t>(count));
            for (float& x : numbers)
              x = static_cast<float>(std::uniform_int_distribution<int>(-2, 2)(random));
            std::vector<char> to(numbers.size() * 8);
            if (dtype == DType::kFloat64) {
              for (size_t i = 0; i < numbers.size(); ++i) {
                const double wide = numbers[i];
                std::memcpy(to.data() + 8 * i, &wide, 8);
              }
            } else {
              convert_tensor(numbers.data(), {DType::kFloat32, layout}, to.data(), {dtype, layout},
                             1, count, 1, default_thread_pool(), 1);
            }
            return to;
          };
          const std::vector<char> input = stored(p.input_elements()),
                                  filter = stored(p.filter_elements()),
                                  grad_output = stored(p.output_elements());
          PlanBuffers b;
          b.input = input.data();
          b.grad_output = grad_output.data();
          b.batch = p.mb;
          const bool takes_filter = direction != Direction::kBackwardFilter;
          std::vector<char> want(result_elements(p) * size, char{0x55});
          b.filter = takes_filter ? filter.data() : nullptr;
          b.result = want.data();
          reference.execute(b, default_thread_pool(), 2);
          std::unique_ptr<PackedFilter> packed;
          if (takes_filter) {
            packed = plan.pack(filter.data(), default_thread_pool(), 2);
            CHECK(plan.filter_key() != reference.filter_key());
          }
          for (const bool packs : {false, true}) {
            if (packs && !takes_filter) continue;
            std::vector<char> got(want.size(), char{0x55});
            b.filter = takes_filter && !packs ? filter.data() : nullptr;
            b.packed = packs ? packed.get() : nullptr;
            b.result = got.data();
            plan.execute(b, default_thread_pool(), 2);
            b.packed = nullptr;
            if (plan.facts().direct) {
              CHECK(got == want);
              continue;
            }
            REQUIRE(dtype != DType::kFloat64);
            std::vector<float> a(result_elements(p)), w(result_elements(p));
            const TensorForm narrow{dtype, layout}, wide{DType::kFloat32, layout};
            const auto count = static_cast<int64_t>(a.size());
            convert_tensor(got.data(), narrow, a.data(), wide, 1, count, 1, default_thread_pool(),
                           1);
            convert_tensor(want.data(), narrow, w.data(), wide, 1, count, 1, default_thread_pool(),
                           1);
            CHECK(relative_error(a, w) <= 2 * plan.facts().error_bound);
          }
        }
}

TEST_CASE("taps of which none meets a pixel give the bias, and no gradient") {
  for (const Direction direction : kDirections)
    for (const Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      ProblemSpec spec =
          testing::parse_problem("mb2_ic4id1ih3iw4_oc8_kd2kh1kw1_sd4sh1sw1_pd2ph0pw0_qd2qh0qw0");
      spec.direction = direction;
      spec.layout = layout;
      spec.with_bias = direction != Direction::kBackwardFilter;
      const Problem p = make_problem(spec);
      const Tensors<float> t(p);
      std::vector<float> got(result_elements(p), 77), want(result_elements(p), 78);
      Plan(p, "auto").execute(buffers_of(p, t, &got), default_thread_pool(), 2);
      Plan(p, "reference").execute(buffers_of(p, t, &want), default_thread_pool(), 2);
      CAPTURE(p.to_string());
      CHECK(got == want);
    }
}

TEST_CASE("a named algorithm that does not compute the live taps alone computes all") {
  if (kernel_table().winograd.multiply == nullptr) return;  // an instruction set without
  const Problem p =
      make_problem(testing::parse_problem("mb1_ic16id1ih1iw1_oc16_kd3kh3kw3_sd1sh1sw1_same"));
  const Tensors<float> t(p);
  std::vector<float> got(result_elements(p)), want(result_elements(p));
  Plan(p, "reference").execute(buffers_of(p, t, &want), default_thread_pool(), 1);
  for (const char* name : {"winograd", "winograd_f4x4x4"}) {
    const Plan plan(p, name);
    CHECK(plan.facts().family == "winograd");
    CHECK(plan.facts().detail.find("taps of") == std::string::npos);
    plan.execute(buffers_of(p, t, &got), default_thread_pool(), 1);
    CHECK(relative_error(got, want) <= 100 * plan.facts().error_bound);  // very few outputs
  }
  CHECK(Plan(p, "auto").facts().detail.ends_with("1x1x1 taps of 3x3x3"));
}

TEST_CASE("filters of different live taps are not one another's") {
  const auto plan = [](const char* text) {
    return Plan(make_problem(testing::parse_problem(text)), "gemm");
  };
  // Of three taps along the depth the middle one, and the first.
  const Plan middle = plan("mb1_ic16id1ih4iw4_oc16_kd3kh3kw3_sd1sh1sw1_pd1ph1pw1_qd1qh1qw1"),
             first = plan("mb1_ic16id1ih4iw4_oc16_kd3kh3kw3_sd1sh1sw1_pd0ph1pw1_qd2qh1qw1");
  CHECK(middle.filter_key() != first.filter_key());
  // Folded: two taps of four channels, and one of eight.
  const Plan two = plan("mb1_ic4id4ih4iw2_oc16_kd1kh1kw3_sd1sh1sw2_pd0ph0pw0_qd0qh0qw1"),
             one = plan("mb1_ic8id4ih4iw1_oc16_kd1kh1kw3_sd1sh1sw1_pd0ph0pw0_qd0qh0qw2");
  CHECK(two.filter_key() != one.filter_key());
}

TEST_CASE("planes and volumes along which nothing moves are one row") {
  struct Form {
    const char* text;
    int64_t depth, height, width;
  };
  for (const Form& form :
       {Form{"mb1_ic3id4ih5iw6_oc2_kd1kh1kw1_sd1sh1sw1_valid", 1, 1, 120},
        Form{"mb1_ic3id4ih5iw6_oc2_kd3kh1kw1_sd1sh1sw1_same", 4, 1, 30},
        Form{"mb1_ic3id4ih5iw6_oc2_kd1kh1kw1_sd2sh1sw1_valid", 4, 1, 30},
        Form{"mb1_ic3id4ih5iw6_oc2_kd1kh1kw1_sd1sh1sw2_valid", 4, 5, 6},
        Form{"mb1_ic3id4ih5iw6_oc2_kd1kh1kw3_sd1sh1sw1_same", 4, 5, 6},
        Form{"mb1_ic3id4ih5iw6_oc2_kd1kh1kw1_sd1sh1sw1_pd0ph0pw1_qd0qh0qw0", 4, 5, 6}}) {
    CAPTURE(form.text);
    const Problem p = fold(make_problem(testing::parse_problem(form.text)));
    CHECK(p.id == form.depth);
    CHECK(p.ih == form.height);
    CHECK(p.iw == form.width);
  }
}

TEST_CASE("float16 and bfloat16 equal float32 rounded at the end") {
  for_each_problem({"smoke"}, [](ProblemSpec spec, const std::string& line) {
    for (Direction direction : kDirections) {
      for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
        for (DType dtype : {DType::kFloat16, DType::kBFloat16}) {
          CAPTURE(line);
          spec.direction = direction;
          spec.layout = layout;
          spec.batch = 2;
          spec.accuracy = Accuracy::kStrict;
          spec.dtype = DType::kFloat32;
          const Problem exact = make_problem(spec);
          spec.dtype = dtype;
          const Problem p = make_problem(spec);
          const Tensors<float> t(exact);
          std::vector<float> wanted(result_elements(p));
          ThreadPool& pool = default_thread_pool();
          Plan(exact, "reference").execute(buffers_of(exact, t, &wanted), pool, 2);
          const auto narrow = [&](const std::vector<float>& from) {
            std::vector<uint16_t> to(from.size());
            for (size_t i = 0; i < from.size(); ++i) {
              to[i] = dtype == DType::kFloat16 ? to_half(from[i]).bits : to_bfloat16(from[i]).bits;
            }
            return to;
          };
          const std::vector<uint16_t> input = narrow(t.input), filter = narrow(t.filter),
                                      grad = narrow(t.grad_output);
          std::vector<uint16_t> result(wanted.size());
          PlanBuffers b;
          b.input = input.data();
          b.filter = filter.data();
          b.grad_output = grad.data();
          b.result = result.data();
          b.batch = p.mb;
          for (const char* algorithm : {"auto", "reference"}) {
            const Plan plan(p, algorithm);
            plan.execute(b, pool, 2);
            CHECK(result == narrow(wanted));
          }
        }
      }
    }
  });
}

TEST_CASE("empty batches, empty volumes and missing tensors") {
  ProblemSpec spec = testing::parse_problem("mb0_ic3id4ih4iw4_oc2_kd3kh3kw3_sd1sh1sw1_same");
  ThreadPool& pool = default_thread_pool();
  const Plan forward(make_problem(spec), "auto");
  forward.execute(PlanBuffers{}, pool, 2);  // nothing to read, nothing to write
  spec.direction = Direction::kBackwardFilter;
  const Problem p = make_problem(spec);
  std::vector<float> grad(static_cast<size_t>(p.filter_elements()), 7.0f);
  PlanBuffers b;
  b.result = grad.data();
  Plan(p, "auto").execute(b, pool, 2);
  CHECK(std::all_of(grad.begin(), grad.end(), [](float x) { return x == 0; }));
  spec.batch = 1;
  spec.input[1] = 0;
  grad.assign(grad.size(), 7.0f);
  b.batch = 1;
  Plan(make_problem(spec), "auto").execute(b, pool, 2);
  CHECK(std::all_of(grad.begin(), grad.end(), [](float x) { return x == 0; }));

  spec = testing::parse_problem("mb1_ic3id4ih4iw4_oc2_kd3kh3kw3_sd1sh1sw1_same");
  const Problem full = make_problem(spec);
  const Plan plan(full, "auto");
  const Tensors<float> t(full);
  std::vector<float> result(result_elements(full));
  const PlanBuffers good = buffers_of(full, t, &result);
  plan.execute(good, pool, 1);
  const auto refused = [&](auto change) {
    PlanBuffers bad = good;
    change(bad);
    try {
      plan.execute(bad, pool, 1);
      return false;
    } catch (const Error& error) {
      return error.status() == Status::kInvalidArgument || error.status() == Status::kOutOfMemory;
    }
  };
  CHECK(refused([](PlanBuffers& x) { x.input = nullptr; }));
  CHECK(refused([](PlanBuffers& x) { x.filter = nullptr; }));
  CHECK(refused([](PlanBuffers& x) { x.result = nullptr; }));
  CHECK(refused([&](PlanBuffers& x) { x.bias = t.bias.data(); }));
  CHECK(refused([](PlanBuffers& x) { x.batch = -1; }));
  CHECK(refused([](PlanBuffers& x) { x.batch = std::numeric_limits<int64_t>::max(); }));
  const PackedFilter other("another form", 64);
  CHECK(refused([&](PlanBuffers& x) { x.packed = &other; }));
  Problem wider = full;
  wider.oc = 4;
  CHECK(Plan(wider, "auto").filter_key() != plan.filter_key());
}

TEST_CASE("every failing allocation is an error, leaks nothing, and the next call works") {
  const Problem p =
      make_problem(testing::parse_problem("mb2_ic4id7ih8iw9_oc8_kd3kh3kw3_sd1sh1sw1_same"));
  const Tensors<float> t(p);
  std::vector<float> wanted(result_elements(p)), result(result_elements(p));
  ThreadPool& pool = default_thread_pool();
  const Plan plan(p, "auto");
  plan.execute(buffers_of(p, t, &wanted), pool, 2);
  int failures = 0;
  for (long n = 0; n < 100; ++n) {
    clear_workspace_cache();
    fail_allocation_for_testing(n);
    bool failed = false;
    try {
      plan.execute(buffers_of(p, t, &result), pool, 2);
    } catch (const Error& error) {
      failed = true;
      CHECK(error.status() == Status::kOutOfMemory);
    }
    fail_allocation_for_testing(-1);
    if (!failed) break;
    ++failures;
    plan.execute(buffers_of(p, t, &result), pool, 2);
    CHECK(result == wanted);
  }
  CHECK(failures >= 1);
}

// Runs everything on the caller and remembers how many threads the first region could have had:
// the one that a filter gradient's work begins with, where later ones only add sums.
class CountingPool final : public ThreadPool {
 public:
  int max_threads() const override { return 64; }
  void parallel_for(int64_t n, int64_t grain, int, RangeFn fn) override {
    if (first_ < 0) first_ = n / std::max<int64_t>(1, grain);
    if (n > 0) fn(0, n, 0);
  }
  int64_t first() const { return first_; }

 private:
  int64_t first_ = -1;
};

// f(algorithm, problem) for each algorithm that computes the filter gradient of one of the
// problems, in both layouts.
template <class F>
void for_filter_gradients(const std::vector<const char*>& texts, const F& f) {
  const PlanContext any{&kernel_table(), &cpu_info(), 1};
  for (const char* text : texts)
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      ProblemSpec spec = testing::parse_problem(text);
      spec.direction = Direction::kBackwardFilter;
      spec.layout = layout;
      const Problem p = make_problem(spec);
      const AlgorithmList list = algorithm_list();
      for (int a = 0; a < list.size; ++a) {
        if (!list.items[a]->why_not(p, any).empty()) continue;
        const std::string name = p.to_string() + " by " + list.items[a]->name();
        INFO(name);
        f(*list.items[a], p);
      }
    }
}

TEST_CASE("a filter gradient has work for three quarters of many threads at least") {
  CpuInfo many = cpu_info();
  many.usable_threads = 16;
  for_filter_gradients({"mb1_ic3id8ih56iw56_oc64_kd3kh7kw7_sd1sh2sw2_same",
                        "mb1_ic8id32ih32iw32_oc16_kd3kh3kw3_sd1sh1sw1_same",
                        "mb1_ic64id8ih28iw28_oc64_kd3kh1kw1_sd1sh1sw1_same",
                        "mb1_ic96id8ih28iw28_oc64_kd1kh1kw1_sd1sh1sw1_same",
                        "mb1_ic32id16ih28iw28_oc32_kd3kh3kw3_sd1sh1sw1_same",
                        "mb2_ic24id32ih32iw32_oc48_kd2kh2kw2_sd2sh2sw2_valid"},
                       [&](const Algorithm& algorithm, const Problem& p) {
                         if (&algorithm == &reference_algorithm()) return;
                         CountingPool pool;
                         compute<float>(algorithm, p, {&kernel_table(), &many, 16},
                                        Tensors<float>(p), 16, nullptr, &pool);
                         CHECK(pool.first() >= 12);
                       });
}

TEST_CASE("a filter gradient of few voxels has work for two threads") {
  CpuInfo two = cpu_info();
  two.usable_threads = 2;
  for_filter_gradients(
      {"mb1_ic256id8ih8iw8_oc256_kd1kh1kw1_sd1sh1sw1_same",
       "mb1_ic128id4ih8iw16_oc96_kd1kh1kw1_sd1sh1sw1_same",
       "mb1_ic64id8ih8iw8_oc256_kd1kh1kw1_sd1sh1sw1_same",
       "mb1_ic16id16ih16iw16_oc16_kd3kh3kw3_sd1sh1sw1_same"},
      [&](const Algorithm& algorithm, const Problem& p) {
        if (&algorithm == &reference_algorithm()) return;
        CAPTURE(algorithm.name());
        CAPTURE(p.to_string());
        CountingPool pool;
        const Tensors<float> t(p);
        const PlanContext context{&kernel_table(), &two, 2};
        double bound = 0;
        const std::vector<float> got = compute<float>(algorithm, p, context, t, 2, &bound, &pool);
        CHECK(pool.first() >= 2);
        CHECK(relative_error(got, compute<float>(reference_algorithm(), p, context, t, 2)) <=
              bound);
      });
}

TEST_CASE("results that no tap reaches are bias and activation alone") {
  const PlanContext context{&kernel_table(), &cpu_info(), 2};
  for (const char* text : {"mb2_ic5id9ih7iw8_oc6_kd1kh2kw1_sd3sh3sw2_valid",
                           "mb3_ic70id9ih17iw40_oc4_kd2kh1kw1_sd5sh1sw1_valid",
                           "mb1_g6ic6id9ih17iw40_oc6_kd2kh1kw1_sd5sh1sw1_valid"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst})
      for (bool with_bias : {false, true})
        for (Activation activation : {Activation::kNone, Activation::kSigmoid}) {
          ProblemSpec spec = testing::parse_problem(text);
          spec.direction = Direction::kBackwardInput;
          spec.layout = layout;
          spec.with_bias = with_bias;
          spec.activation = activation;
          const Problem p = make_problem(spec);
          const Tensors<float> t(p);
          const std::vector<float> want = compute<float>(reference_algorithm(), p, context, t, 1);
          const AlgorithmList list = algorithm_list();
          int served = 0;
          for (int a = 0; a < list.size; ++a) {
            if (!list.items[a]->why_not(p, context).empty()) continue;
            CAPTURE(list.items[a]->name());
            CAPTURE(p.to_string());
            ++served;
            CHECK(relative_error(compute<float>(*list.items[a], p, context, t, 2), want) < 1e-5);
          }
          CHECK(served >= 3);
        }
}

TEST_CASE("a filter gradient has the same bits on one core and on eight") {
  CpuInfo one = cpu_info(), eight = cpu_info();
  one.usable_threads = 1;
  eight.usable_threads = 8;
  for_filter_gradients(
      {"mb1_ic3id8ih28iw28_oc24_kd3kh7kw7_sd1sh2sw2_same",
       "mb2_ic20id9ih16iw16_oc24_kd3kh3kw3_sd1sh1sw1_same",
       "mb1_ic40id8ih14iw14_oc33_kd1kh1kw1_sd1sh1sw1_same",
       "mb1_g12ic12id8ih14iw14_oc12_kd3kh3kw3_sd1sh1sw1_same"},
      [&](const Algorithm& algorithm, const Problem& p) {
        Tensors<float> t(p);
        for (float& x : t.input) x *= 0.37f;  // sums that round
        const PlanContext few{&kernel_table(), &one, 1}, more{&kernel_table(), &eight, 1};
        CHECK(algorithm.cost(p, few) == algorithm.cost(p, more));
        CHECK(compute<float>(algorithm, p, few, t, 1) == compute<float>(algorithm, p, more, t, 3));
      });
}

TEST_CASE("tensors are converted between layouts and dtypes") {
  const int64_t batch = 2, voxels = 37, channels = 70;
  std::vector<float> from(static_cast<size_t>(batch * voxels * channels));
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i % 1000);
  std::vector<uint16_t> middle(from.size());
  std::vector<float> back(from.size());
  ThreadPool& pool = default_thread_pool();
  const TensorForm last{DType::kFloat32, Layout::kChannelsLast},
      first{DType::kFloat16, Layout::kChannelsFirst};
  convert_tensor(from.data(), last, middle.data(), first, batch, voxels, channels, pool, 2);
  CHECK(to_float(Half{middle[static_cast<size_t>(3 * voxels + 5)]}) ==
        from[static_cast<size_t>(5 * channels + 3)]);
  convert_tensor(middle.data(), first, back.data(), last, batch, voxels, channels, pool, 2);
  CHECK(from == back);
}

}  // namespace
}  // namespace conv3d
