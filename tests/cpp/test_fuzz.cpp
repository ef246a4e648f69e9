// Random problems between guard pages: every algorithm that serves a problem against the reference,
// plans in all dtypes, the adjoint identity of the three directions, pooling against its
// definition.
//
// The seed is fixed. CONV3D_FUZZ_PROBLEMS multiplies the number of problems and CONV3D_FUZZ_SEED
// shifts the seed: for hours of search. A failure prints the problem; a touched guard page ends the
// process with the problem as its last line.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "algorithms/elementwise/elementwise.h"
#include "algorithms/reference/reference.h"
#include "base/half.h"
#include "emulation/tables.h"
#include "guarded.h"
#include "kernels/dispatch.h"
#include "plan/plan.h"
#include "plan/pool.h"
#include "runtime/cpu_info.h"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace conv3d {
namespace {

using testing::Guarded;
using testing::Wall;

constexpr Direction kDirections[] = {Direction::kForward, Direction::kBackwardInput,
                                     Direction::kBackwardFilter};

long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != 0 ? std::atol(text) : otherwise;
}

int problems(int few) {
  return few * static_cast<int>(from_environment("CONV3D_FUZZ_PROBLEMS", 1));
}

struct Random {
  explicit Random(unsigned seed)
      : engine(seed + static_cast<unsigned>(from_environment("CONV3D_FUZZ_SEED", 0))) {}
  int64_t pick(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(engine);
  }
  bool chance(int one_in) { return pick(1, one_in) == 1; }
  Wall wall() { return chance(3) ? Wall::kBefore : Wall::kAfter; }
  std::mt19937 engine;
};

// What is being computed, for the last line of a process that dies.
char g_running[512];
void running(const std::string& text) {
  const size_t n = std::min(text.size(), sizeof g_running - 2);
  std::memcpy(g_running, text.data(), n);
  g_running[n] = '\n';
  g_running[n + 1] = 0;
}

#if defined(__unix__) || defined(__APPLE__)
void on_fault(int signal) {
  static_cast<void>(!write(2, g_running, std::strlen(g_running)));
  std::signal(signal, SIG_DFL);
  raise(signal);
}
// doctest sets its own handler while a test runs; this one stands in for the duration of a scope.
struct FaultLine {
  FaultLine() {
    for (size_t i = 0; i < 2; ++i) before[i] = std::signal(kSignals[i], on_fault);
  }
  ~FaultLine() {
    for (size_t i = 0; i < 2; ++i) std::signal(kSignals[i], before[i]);
  }
  static constexpr int kSignals[2] = {SIGSEGV, SIGBUS};
  void (*before[2])(int);
};
#else
struct FaultLine {
  FaultLine() {}
};
#endif

// Small, awkward, at most about `limit` multiply-adds.
ProblemSpec random_spec(Random& r, double limit) {
  ProblemSpec s;
  s.batch = r.chance(20) ? 0 : r.pick(1, 3);
  s.layout = r.chance(3) ? Layout::kChannelsFirst : Layout::kChannelsLast;
  s.groups = r.chance(5) ? r.pick(2, 5) : 1;
  const auto channels = [&] {
    static constexpr int64_t kEdges[] = {1,  2,  3,  7,  8,  15, 16, 17, 31, 32,
                                         33, 47, 48, 49, 61, 63, 64, 65, 67};
    return r.chance(2) ? kEdges[r.pick(0, 18)] : r.pick(1, 70);
  };
  s.input_channels = std::max<int64_t>(1, channels() / s.groups) * s.groups;
  s.output_channels = std::max<int64_t>(1, channels() / s.groups) * s.groups;
  if (r.chance(8)) s.groups = s.output_channels = s.input_channels;  // depthwise
  static constexpr Padding kPaddings[] = {Padding::kValid, Padding::kSame, Padding::kExplicit,
                                          Padding::kExplicit};
  s.padding = kPaddings[r.pick(0, 3)];
  const int64_t kind = r.pick(0, 3);  // strides and dilations exclude each other
  const int64_t common = r.chance(2) ? 0 : r.pick(0, 2) * 2 + 1;
  for (size_t a = 0; a < 3; ++a) {
    s.kernel[a] = common != 0 ? (r.chance(4) ? 1 : common) : r.pick(1, 7);
    s.stride[a] = kind == 0 ? r.pick(1, 4) : 1;
    s.dilation[a] = kind == 1 ? r.pick(1, 4) : 1;
    const int64_t covers = (s.kernel[a] - 1) * s.dilation[a] + 1;
    s.pad_before[a] =
        s.padding != Padding::kExplicit ? 0 : r.pick(0, r.chance(4) ? covers + 2 : s.kernel[a] / 2);
    s.pad_after[a] =
        s.padding != Padding::kExplicit ? 0 : r.pick(0, r.chance(4) ? covers + 2 : s.kernel[a] / 2);
    s.input[a] = r.pick(1, 20);
    if (s.padding != Padding::kSame)
      s.input[a] = std::max(s.input[a], covers - s.pad_before[a] - s.pad_after[a]);
    if (s.padding == Padding::kExplicit && r.chance(60) &&
        s.pad_before[a] + s.pad_after[a] >= covers)
      s.input[a] = 0;
  }
  while (make_problem(s).flops() > 2 * limit) {
    // The largest of the factors shrinks: batch first, then an extent or a number of channels.
    const size_t a = static_cast<size_t>(r.pick(0, 2));
    const int64_t covers = (s.kernel[a] - 1) * s.dilation[a] + 1;
    const int64_t least = s.padding == Padding::kSame
                              ? 1
                              : std::max<int64_t>(1, covers - s.pad_before[a] - s.pad_after[a]);
    switch (r.pick(0, 3)) {
      case 0: s.batch = std::min<int64_t>(s.batch, 1); break;
      case 1: s.input[a] = std::max(least, s.input[a] / 2); break;
      case 2:
        s.input_channels = std::max<int64_t>(1, s.input_channels / s.groups / 2) * s.groups;
        break;
      default:
        if (s.input_channels / s.groups <= 4) {
          s.output_channels = std::max<int64_t>(1, s.output_channels / s.groups / 2) * s.groups;
        } else if (s.kernel[a] > 1 && s.padding != Padding::kExplicit) {
          --s.kernel[a];
        }
    }
  }
  s.activation = static_cast<Activation>(r.chance(2) ? 0 : r.pick(0, 4));
  s.leaky_relu_alpha = 0.25;
  s.with_bias = r.chance(2);
  return s;
}

ProblemSpec in_direction(ProblemSpec s, Direction direction) {
  s.direction = direction;
  if (direction == Direction::kBackwardFilter) {
    s.with_bias = false;
    s.activation = Activation::kNone;
  }
  return s;
}

void store(double value, DType dtype, void* to, int64_t i) {
  switch (dtype) {
    case DType::kFloat32: static_cast<float*>(to)[i] = static_cast<float>(value); break;
    case DType::kFloat64: static_cast<double*>(to)[i] = value; break;
    case DType::kFloat16: static_cast<Half*>(to)[i] = to_half(static_cast<float>(value)); break;
    case DType::kBFloat16:
      static_cast<BFloat16*>(to)[i] = to_bfloat16(static_cast<float>(value));
      break;
  }
}

double load(DType dtype, const void* from, int64_t i) {
  switch (dtype) {
    case DType::kFloat32: return static_cast<double>(static_cast<const float*>(from)[i]);
    case DType::kFloat64: return static_cast<const double*>(from)[i];
    case DType::kFloat16: return static_cast<double>(to_float(static_cast<const Half*>(from)[i]));
    default: return static_cast<double>(to_float(static_cast<const BFloat16*>(from)[i]));
  }
}

// A tensor between guard pages.
struct Tensor {
  Tensor(Random& r, DType type, int64_t count)
      : dtype(type),
        elements(count),
        memory(static_cast<size_t>(count) * static_cast<size_t>(Problem::element_size(type)),
               static_cast<size_t>(Problem::element_size(type)), r.wall()) {}
  // Multiples of `unit` up to 3: sums of products are exact in float32.
  Tensor(Random& r, DType type, int64_t count, double unit) : Tensor(r, type, count) {
    for (int64_t i = 0; i < count; ++i)
      store(static_cast<double>(r.pick(-3, 3)) * unit, dtype, memory.data(), i);
  }
  double at(int64_t i) const { return load(dtype, memory.data(), i); }
  bool same_bits(const Tensor& other) const {
    return std::memcmp(memory.data(), other.memory.data(), memory.bytes()) == 0;
  }
  DType dtype;
  int64_t elements;
  Guarded memory;
};

int64_t result_elements(const Problem& p) {
  switch (p.direction) {
    case Direction::kForward: return p.output_elements();
    case Direction::kBackwardInput: return p.input_elements();
    default: return p.filter_elements();
  }
}

struct Arguments {
  Arguments(Random& r, const Problem& p)
      : input(r, p.dtype, p.input_elements(), 1),
        grad_output(r, p.dtype, p.output_elements(), 1),
        filter(r, p.dtype, p.filter_elements(), 0.125),
        bias(r, p.dtype, p.direction == Direction::kBackwardInput ? p.ic : p.oc, 0.5) {}
  Tensor input, grad_output, filter, bias;
};

// As a plan does it: prepared for one sample, run on the batch. False if bytes beyond a block were
// written.
bool run(const Algorithm& algorithm, const Problem& p, const PlanContext& context,
         const Arguments& a, Random& r, int threads, Tensor* result) {
  ThreadPool& pool = default_thread_pool();
  Problem sample = p;
  sample.mb = 1;
  const std::unique_ptr<Prepared> prepared = algorithm.prepare(sample, context);
  const Guarded packed(prepared->packed_filter_bytes(), kScratchAlignment, r.wall());
  if (p.direction != Direction::kBackwardFilter) {
    prepared->pack_filter(a.filter.memory.data(), packed.data(), pool, threads);
  }
  const Guarded scratch(prepared->ledger().total_bytes(threads), kScratchAlignment, r.wall());
  Buffers b;
  b.input = p.direction == Direction::kBackwardInput ? nullptr : a.input.memory.data();
  b.grad_output = p.direction == Direction::kForward ? nullptr : a.grad_output.memory.data();
  b.packed_filter = packed.data();
  b.bias = p.with_bias ? a.bias.memory.data() : nullptr;
  b.result = result->memory.data();
  b.batch = p.mb;
  prepared->execute(b, Scratch(prepared->ledger(), scratch.data()), pool, threads);
  return packed.intact() && scratch.intact() && result->memory.intact();
}

bool empty(const Problem& p) {
  return p.mb == 0 || p.input_voxels() == 0 || p.output_voxels() == 0;
}

// Elements of `got` further from `wanted` than `bound` times the size that sums of this problem
// have.
int64_t wrong(const Problem& p, const Tensor& got, const Tensor& wanted, double bound) {
  double scale = 1;
  for (int64_t i = 0; i < wanted.elements; ++i) scale = std::max(scale, std::abs(wanted.at(i)));
  // The bound is one of sums, before an activation; and few outputs may all be small by chance.
  // Products have variance 1/4.
  const double terms = static_cast<double>(p.kd * p.kh * p.kw * std::max(p.ic, p.oc));
  if (bound > 0) scale = std::max(scale, 4 * 0.5 * std::sqrt(terms));
  double tolerance = bound * scale;
  if (p.activation == Activation::kSigmoid || p.activation == Activation::kTanh) {
    // Another last bit in float32 may round to another number of a narrower dtype.
    const double last = p.dtype == DType::kFloat16    ? 0x1p-11
                        : p.dtype == DType::kBFloat16 ? 0x1p-8
                                                      : 0;
    tolerance = std::max(tolerance, last + 2e-6);
  }
  int64_t count = 0;
  for (int64_t i = 0; i < wanted.elements; ++i)
    count += !(std::abs(got.at(i) - wanted.at(i)) <= tolerance);
  return count;
}

CpuInfo tiny_caches() {
  CpuInfo cpu = cpu_info();
  cpu.l1d_bytes = 4096;
  cpu.l2_bytes = 24576;
  cpu.l3_bytes = 65536;
  return cpu;
}

TEST_CASE(
    "every algorithm that serves a random problem equals the reference, between guard pages") {
  const FaultLine fault_line;
  const CpuInfo tiny = tiny_caches();
  const std::vector<const KernelTable*> tables = testing::runnable_tables();
  Random r(20261);
  int served = 0;
  for (int i = 0; i < problems(1200); ++i) {
    ProblemSpec spec = in_direction(random_spec(r, 1.5e6), kDirections[i % 3]);
    spec.dtype = r.chance(4) ? DType::kFloat64 : DType::kFloat32;
    const Problem p = make_problem(spec);
    if (empty(p)) continue;  // a plan answers those itself
    // The best table half of the time, the others in turn.
    const KernelTable& table =
        *tables[r.chance(2)
                    ? 0
                    : static_cast<size_t>(r.pick(0, static_cast<int64_t>(tables.size()) - 1))];
    const PlanContext context{&table, r.chance(2) ? &tiny : &cpu_info(), 1};
    const Arguments arguments(r, p);
    const std::string text =
        p.to_string() + " " + table.name + (context.cpu == &tiny ? " tiny" : "");
    Tensor wanted(r, p.dtype, result_elements(p));
    running(text + " reference");
    REQUIRE(run(reference_algorithm(), p, context, arguments, r, 2, &wanted));
    const AlgorithmList list = algorithm_list();
    for (int k = 0; k < list.size; ++k) {
      const Algorithm& algorithm = *list.items[k];
      Problem sample = p;
      sample.mb = 1;
      if (&algorithm == &reference_algorithm() || !algorithm.why_not(sample, context).empty())
        continue;
      ++served;
      const double bound =
          algorithm.direct() ? 0 : algorithm.prepare(sample, context)->error_bound();
      const int threads = static_cast<int>(r.pick(2, 3));
      Tensor one(r, p.dtype, result_elements(p)), many(r, p.dtype, result_elements(p));
      INFO(text, " ", std::string(algorithm.name()), " problem ", i, " threads ", threads);
      running(text + " " + algorithm.name());
      CHECK(run(algorithm, p, context, arguments, r, 1, &one));
      CHECK(wrong(p, one, wanted, bound) == 0);
      CHECK(run(algorithm, p, context, arguments, r, threads, &many));
      CHECK(many.same_bits(one));
    }
  }
  CHECK(served > problems(1200));
}

PlanBuffers buffers_of(const Problem& p, const Arguments& a, const Tensor& result) {
  PlanBuffers b;
  if (p.direction != Direction::kBackwardInput) b.input = a.input.memory.data();
  if (p.direction != Direction::kBackwardFilter) b.filter = a.filter.memory.data();
  if (p.direction != Direction::kForward) b.grad_output = a.grad_output.memory.data();
  if (p.with_bias) b.bias = a.bias.memory.data();
  b.result = result.memory.data();
  b.batch = p.mb;
  return b;
}

TEST_CASE("plans of random problems in every dtype equal the reference, between guard pages") {
  const FaultLine fault_line;
  ThreadPool& pool = default_thread_pool();
  Random r(20262);
  for (int i = 0; i < problems(600); ++i) {
    ProblemSpec spec = in_direction(random_spec(r, 1e6), kDirections[i % 3]);
    spec.dtype = static_cast<DType>(r.pick(0, 3));
    const Problem p = make_problem(spec);
    const Arguments arguments(r, p);
    Tensor wanted(r, p.dtype, result_elements(p)), got(r, p.dtype, result_elements(p));
    running(p.to_string() + " plan of the reference");
    Plan(p, "reference").execute(buffers_of(p, arguments, wanted), pool, 2);
    const Plan plan(p, "auto");
    INFO(p.to_string(), " ", plan.facts().algorithm, " problem ", i);
    running(p.to_string() + " plan of " + plan.facts().algorithm);
    PlanBuffers b = buffers_of(p, arguments, got);
    std::unique_ptr<PackedFilter> packed;
    if (p.direction != Direction::kBackwardFilter && r.chance(2)) {
      packed = plan.pack(b.filter, pool, 2);
      b.packed = packed.get();
      b.filter = nullptr;
    }
    plan.execute(b, pool, static_cast<int>(r.pick(1, 3)));
    CHECK(got.memory.intact());
    CHECK(wrong(p, got, wanted, plan.facts().direct ? 0 : plan.facts().error_bound) == 0);
  }
}

double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.elements; ++i) sum += a.at(i) * b.at(i);
  return sum;
}

TEST_CASE("the three directions are adjoint") {
  const FaultLine fault_line;
  ThreadPool& pool = default_thread_pool();
  Random r(20263);
  for (int i = 0; i < problems(200); ++i) {
    ProblemSpec spec = random_spec(r, 1e6);
    spec.dtype = DType::kFloat64;
    spec.with_bias = false;
    spec.activation = Activation::kNone;
    const Problem p = make_problem(spec);
    const Arguments a(r, p);
    const Tensor y(r, p.dtype, p.output_elements()), dx(r, p.dtype, p.input_elements()),
        dw(r, p.dtype, p.filter_elements());
    const Tensor* results[] = {&y, &dx, &dw};
    for (size_t d = 0; d < 3; ++d) {
      const Problem q = make_problem(in_direction(spec, kDirections[d]));
      running(q.to_string());
      Plan(q, "auto").execute(buffers_of(q, a, *results[d]), pool, 2);
    }
    INFO(p.to_string(), " problem ", i);
    const double value = dot(a.grad_output, y);  // a sum of small multiples of 1/8: exact
    CHECK(dot(dx, a.input) == value);
    CHECK(dot(dw, a.filter) == value);
  }
}

// --- pooling -------------------------------------------------------------------------------------

// Calls f(index of an output, indices of its window's cells in order).
template <class F>
void for_windows(const PoolSpec& s, const Extent3& pad, const Extent3& output, const F& f) {
  const auto index = [&](const Extent3& e, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w) {
    return s.layout == Layout::kChannelsLast
               ? (((n * e[0] + d) * e[1] + h) * e[2] + w) * s.channels + c
               : (((n * s.channels + c) * e[0] + d) * e[1] + h) * e[2] + w;
  };
  std::vector<int64_t> cells;
  for (int64_t at = 0, all = s.batch * s.channels * output[0] * output[1] * output[2]; at < all;
       ++at) {
    const int64_t w = at % output[2], h = at / output[2] % output[1],
                  d = at / output[2] / output[1] % output[0];
    const int64_t nc = at / output[2] / output[1] / output[0], c = nc % s.channels,
                  n = nc / s.channels;
    cells.clear();
    for (int64_t k = 0; k < s.window[0] * s.window[1] * s.window[2]; ++k) {
      const Extent3 x = {d * s.stride[0] - pad[0] + k / (s.window[1] * s.window[2]),
                         h * s.stride[1] - pad[1] + k / s.window[2] % s.window[1],
                         w * s.stride[2] - pad[2] + k % s.window[2]};
      bool inside = true;
      for (size_t a = 0; a < 3; ++a) inside = inside && x[a] >= 0 && x[a] < s.input[a];
      if (inside) cells.push_back(index(s.input, n, c, x[0], x[1], x[2]));
    }
    f(index(output, n, c, d, h, w), cells);
  }
}

TEST_CASE("random pooling equals its definition in every dtype, between guard pages") {
  const FaultLine fault_line;
  ThreadPool& pool = default_thread_pool();
  Random r(20264);
  for (int i = 0; i < problems(400); ++i) {
    PoolSpec s;
    s.dtype = static_cast<DType>(r.pick(0, 3));
    s.layout = r.chance(3) ? Layout::kChannelsFirst : Layout::kChannelsLast;
    s.batch = r.chance(20) ? 0 : r.pick(1, 3);
    s.channels = r.chance(3) ? r.pick(1, 70) : r.pick(1, 9);
    s.padding = static_cast<Padding>(r.pick(0, 2));
    for (size_t a = 0; a < 3; ++a) {
      s.window[a] = r.pick(1, 5);
      s.stride[a] = r.pick(1, 5);
      s.pad_before[a] = r.pick(0, s.window[a] - 1);
      s.pad_after[a] = r.pick(0, s.window[a] - 1);
      s.input[a] = r.pick(1, a == 2 ? 20 : 8);
      if (s.padding != Padding::kSame) s.input[a] = std::max(s.input[a], s.window[a]);
    }
    PoolSpec plain = s;
    plain.dtype = DType::kFloat32;
    const PoolProblem p = make_pool_problem(plain);
    const int64_t ins = s.batch * s.channels * p.input_voxels(),
                  outs = s.batch * s.channels * p.output_voxels();
    const Tensor x(r, s.dtype, ins, 1), dy(r, s.dtype, outs, 1);
    std::vector<double> top(static_cast<size_t>(outs)), mean(top), dx_top(static_cast<size_t>(ins)),
        dx_mean(dx_top);
    for_windows(s, p.pad, p.output, [&](int64_t out, const std::vector<int64_t>& cells) {
      REQUIRE(!cells.empty());
      int64_t best = cells[0];
      double sum = 0;
      for (int64_t cell : cells) {
        if (x.at(cell) > x.at(best)) best = cell;
        sum += x.at(cell);
      }
      const double n = static_cast<double>(cells.size());
      top[static_cast<size_t>(out)] = x.at(best);
      mean[static_cast<size_t>(out)] = sum / n;
      dx_top[static_cast<size_t>(best)] += dy.at(out);
      for (int64_t cell : cells) dx_mean[static_cast<size_t>(cell)] += dy.at(out) / n;
    });
    const double eps[] = {1e-6, 1e-14, 1e-3, 8e-3};
    const int threads = static_cast<int>(r.pick(1, 3));
    for (Pooling kind : {Pooling::kMax, Pooling::kAverage}) {
      const bool max = kind == Pooling::kMax;
      const PoolPlan plan(kind, s);
      const Tensor y(r, s.dtype, outs), dx(r, s.dtype, ins);
      const std::string text =
          std::string(max ? "max" : "avg") + " pooling, problem " + std::to_string(i);
      INFO(text, " dtype ", static_cast<int>(s.dtype), " layout ", static_cast<int>(s.layout));
      running(text);
      plan.forward(x.memory.data(), y.memory.data(), pool, threads);
      plan.backward(max ? x.memory.data() : nullptr, max ? y.memory.data() : nullptr,
                    dy.memory.data(), dx.memory.data(), pool, threads);
      CHECK(y.memory.intact());
      CHECK(dx.memory.intact());
      const double tolerance = max ? 0 : eps[static_cast<int>(s.dtype)];
      // A gradient is a sum of up to a window's worth of values, kept in float32 or wider and
      // rounded once.
      const double gradient_tolerance = s.dtype == DType::kBFloat16 ? eps[3] : tolerance;
      int64_t bad = 0;
      for (int64_t j = 0; j < outs; ++j) {
        const double want = (max ? top : mean)[static_cast<size_t>(j)];
        bad += !(std::abs(y.at(j) - want) <= tolerance * std::max(1.0, std::abs(want)));
      }
      CHECK(bad == 0);
      for (int64_t j = 0; j < ins; ++j) {
        const double want = (max ? dx_top : dx_mean)[static_cast<size_t>(j)];
        bad +=
            !(std::abs(dx.at(j) - want) <= gradient_tolerance * 4 * std::max(1.0, std::abs(want)));
      }
      CHECK(bad == 0);
    }
  }
}

// --- between convolutions ---------------------------------------------------------------------

TEST_CASE("functions between convolutions stay within their arrays and define every element") {
  const FaultLine fault_line;
  ThreadPool& pool = default_thread_pool();
  const std::vector<const KernelTable*> tables = testing::runnable_tables();
  Random r(20265);
  for (int i = 0; i < problems(300); ++i) {
    const KernelTable& table = *tables[static_cast<size_t>(i) % tables.size()];
    const DType dtype = r.chance(2) ? DType::kFloat64 : DType::kFloat32;
    ChannelView v{dtype, r.pick(1, r.chance(4) ? 400 : 9), r.pick(1, 70), 1};
    if (r.chance(2)) v.inner = r.pick(1, r.chance(4) ? 3000 : 70);
    const int64_t n = v.outer * v.channels * v.inner, rows = v.outer * v.inner;
    const int threads = static_cast<int>(r.pick(1, 3));
    const std::string text = "view " + std::to_string(v.outer) + " " + std::to_string(v.channels) +
                             " " + std::to_string(v.inner) + " " + table.name;
    INFO(text);
    running(text);
    const Tensor x(r, dtype, n, 1), y(r, dtype, n, 1);
    const Tensor a(r, dtype, v.channels, 1), b(r, dtype, v.channels, 1), c(r, dtype, v.channels, 1);
    const Tensor sum(r, dtype, v.channels), product(r, dtype, v.channels), out(r, dtype, n);
    const Tensor loss(r, dtype, rows), slot(r, dtype, n), other(r, dtype, n);
    const auto whole = [&](std::initializer_list<const Tensor*> results) {
      for (const Tensor* t : results) {
        CHECK(t->memory.intact());
        int64_t undefined = 0;
        for (int64_t k = 0; k < t->elements; ++k) undefined += !std::isfinite(t->at(k));
        CHECK(undefined == 0);
        std::memset(t->memory.data(), 0xff, t->memory.bytes());
      }
    };
    const auto at = [](const Tensor& t) { return t.memory.data(); };
    channel_moments(v, table, at(x), at(sum), at(product), pool, threads);
    whole({&sum, &product});
    channel_sums(v, table, at(x), at(y), at(a), at(sum), at(product), pool, threads);
    whole({&sum, &product});
    channel_affine(v, table, at(x), at(a), at(y), at(b), at(c), r.chance(2), at(out), pool,
                   threads);
    whole({&out});
    channel_affine(v, table, at(x), nullptr, nullptr, nullptr, at(c), true, at(out), pool, threads);
    whole({&out});
    for (int op = 0; op <= static_cast<int>(Pointwise::kAdd); ++op) {
      pointwise(static_cast<Pointwise>(op), dtype, n, table, at(x), at(y), 0.25, at(out), pool,
                threads);
      whole({&out});
    }
    softmax(dtype, rows, v.channels, table, at(x), at(out), pool, threads);
    softmax_grad(dtype, rows, v.channels, at(out), at(y), at(slot), pool, threads);
    whole({&out, &slot});
    const Guarded labels(static_cast<size_t>(rows) * sizeof(int64_t), sizeof(int64_t), r.wall());
    for (int64_t k = 0; k < rows; ++k) {
      static_cast<int64_t*>(labels.data())[k] = r.pick(0, v.channels - 1);
    }
    sparse_cross_entropy(dtype, rows, v.channels, table, at(x),
                         static_cast<const int64_t*>(labels.data()), at(loss), at(out), pool,
                         threads);
    whole({&loss, &out});
    for (int rule = 0; rule <= static_cast<int>(OptimizerRule::kNesterovAdam); ++rule) {
      const Tensor squares(r, dtype, n);
      for (int64_t k = 0; k < n; ++k) store(1 + y.at(k) * y.at(k), dtype, at(squares), k);
      const bool rms = static_cast<OptimizerRule>(rule) == OptimizerRule::kRmsProp;
      const OptimizerStep step = {static_cast<OptimizerRule>(rule),
                                  {0.5, 0.25, 1e-3, 0.5},
                                  at(x),
                                  at(y),
                                  rms ? at(squares) : at(x),
                                  rms ? at(x) : at(squares),
                                  at(out),
                                  at(slot),
                                  at(other)};
      optimizer_step(step, dtype, n, table, pool, threads);
      whole({&out});
      CHECK(slot.memory.intact());
      CHECK(other.memory.intact());
    }
  }
}

}  // namespace
}  // namespace conv3d
