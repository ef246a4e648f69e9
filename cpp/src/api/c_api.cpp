// The only extern "C" file: checks arguments, catches everything, returns a status and
// keeps this thread's message.
#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include "algorithms/algorithm.h"
#include "algorithms/elementwise/elementwise.h"
#include "algorithms/elementwise/rows.h"
#include "algorithms/fma_peak/fma_peak.h"
#include "base/status.h"
#include "conv3d/conv3d.h"
#include "kernels/dispatch.h"
#include "plan/plan.h"
#include "plan/pool.h"
#include "problem/problem.h"
#include "runtime/caller_pool.h"
#include "runtime/cpu_info.h"
#include "runtime/float_environment.h"
#include "runtime/fork.h"
#include "runtime/phases.h"
#include "runtime/thread_pool.h"
#include "runtime/verbose.h"
#include "runtime/workspace.h"

using conv3d::Error;
using conv3d::Status;

struct conv3d_problem {
  conv3d::Problem value;
  std::string text;
};
struct conv3d_plan {
  conv3d::Plan value;
};
struct conv3d_packed_filter {
  std::unique_ptr<conv3d::PackedFilter> value;
};
struct conv3d_thread_pool {
  conv3d::CallerPool value;
};
struct conv3d_buffer {
  conv3d::Workspace value;
};

namespace {

// Fixed storage: saying that memory ran out must not need memory.
struct Message {
  char text[2048];
};
Message& message() {
  static thread_local Message instance{};
  return instance;
}

void set_message(const char* text) noexcept {
  Message& m = message();
  std::strncpy(m.text, text, sizeof m.text - 1);
  m.text[sizeof m.text - 1] = 0;
}

template <class F>
conv3d_status guarded(F body) noexcept {
  try {
    body();
    return CONV3D_OK;
  } catch (const Error& error) {
    set_message(error.what());
    return static_cast<conv3d_status>(error.status());
  } catch (const std::bad_alloc&) {
    set_message("memory for the library's own records cannot be had");
    return CONV3D_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    set_message(error.what());
    return CONV3D_INTERNAL;
  } catch (...) {
    set_message("an exception of unknown type");
    return CONV3D_INTERNAL;
  }
}

template <class T>
T* required(T* pointer, const char* name) {
  if (pointer == nullptr) throw Error(Status::kInvalidArgument, std::string(name) + " is NULL");
  return pointer;
}

// A caller's struct of this or an earlier or later version: what it does not have is zero, what
// we do not know is ignored.
template <class T>
T read_struct(const T* from, const char* name) {
  required(from, name);
  if (from->size < sizeof(size_t)) {
    throw Error(Status::kInvalidArgument,
                std::string(name) + " has no size; set it with CONV3D_INIT");
  }
  T copy{};
  std::memcpy(static_cast<void*>(&copy), from, std::min(from->size, sizeof(T)));
  copy.size = sizeof(T);
  return copy;
}

template <class T>
void write_struct(T* to, T value, const char* name) {
  required(to, name);
  const size_t size = to->size;
  if (size < sizeof(size_t)) {
    throw Error(Status::kInvalidArgument,
                std::string(name) + " has no size; set it with CONV3D_INIT");
  }
  value.size = size;
  std::memcpy(static_cast<void*>(to), &value, std::min(size, sizeof(T)));
}

conv3d::Extent3 extent(const int64_t (&values)[3]) { return {values[0], values[1], values[2]}; }

conv3d::ProblemSpec spec_of(const conv3d_problem_desc& d) {
  conv3d::ProblemSpec spec;
  spec.direction = static_cast<conv3d::Direction>(d.direction);
  spec.dtype = static_cast<conv3d::DType>(d.dtype);
  spec.layout = static_cast<conv3d::Layout>(d.layout);
  spec.padding = static_cast<conv3d::Padding>(d.padding);
  spec.activation = static_cast<conv3d::Activation>(d.activation);
  spec.accuracy = static_cast<conv3d::Accuracy>(d.accuracy);
  spec.with_bias = d.with_bias != 0;
  spec.batch = d.batch;
  spec.groups = d.groups;
  spec.input_channels = d.input_channels;
  spec.output_channels = d.output_channels;
  spec.input = extent(d.input);
  spec.kernel = extent(d.kernel);
  spec.stride = extent(d.stride);
  spec.dilation = extent(d.dilation);
  spec.pad_before = extent(d.pad_before);
  spec.pad_after = extent(d.pad_after);
  spec.leaky_relu_alpha = d.leaky_relu_alpha;
  return spec;
}

conv3d::PoolPlan pool_plan_of(const conv3d_pool_desc* desc) {
  const conv3d_pool_desc d = read_struct(desc, "desc");
  conv3d::PoolSpec spec;
  spec.dtype = static_cast<conv3d::DType>(d.dtype);
  spec.layout = static_cast<conv3d::Layout>(d.layout);
  spec.padding = static_cast<conv3d::Padding>(d.padding);
  spec.batch = d.batch;
  spec.channels = d.channels;
  spec.input = extent(d.input);
  spec.window = extent(d.window);
  spec.stride = extent(d.stride);
  spec.pad_before = extent(d.pad_before);
  spec.pad_after = extent(d.pad_after);
  return conv3d::PoolPlan(static_cast<conv3d::Pooling>(d.kind), spec);
}

// The pool and number of threads of one call.
struct Team {
  Team(conv3d_thread_pool* own, int num_threads)
      : pool(own != nullptr ? static_cast<conv3d::ThreadPool&>(own->value)
                            : conv3d::default_thread_pool()) {
    if (num_threads < 0) {
      throw Error(Status::kInvalidArgument,
                  "num_threads is " + std::to_string(num_threads) +
                      "; 0 (the default) or a positive number is accepted");
    }
    const int wanted = num_threads > 0  ? num_threads
                       : own != nullptr ? pool.max_threads()
                                        : conv3d::get_num_threads();
    threads = std::min(wanted, pool.max_threads());
  }
  conv3d::ThreadPool& pool;
  int threads;
};

conv3d::ChannelView view_of(const conv3d_channel_view* view) {
  const conv3d_channel_view d = read_struct(view, "view");
  const conv3d::ChannelView result = {static_cast<conv3d::DType>(d.dtype), d.outer, d.channels,
                                      d.inner};
  conv3d::check_view(result);
  return result;
}

// Runs body(kernels, pool, threads) with no more threads than `elements` are worth.
template <class F>
void element_wise(conv3d_thread_pool* pool, int num_threads, int64_t elements, const F& body) {
  constexpr int64_t kElementsPerThread = int64_t{1} << 15;
  const Team team(pool, num_threads);
  const int threads =
      static_cast<int>(std::clamp<int64_t>(elements / kElementsPerThread, 1, team.threads));
  const conv3d::FloatEnvironment environment(conv3d::Denormals::kKeep);
  body(conv3d::kernel_table(), team.pool, threads);
}

// Elements of a matrix, checked.
int64_t elements_of(int64_t rows, int64_t columns) {
  conv3d::check_view({conv3d::DType::kFloat32, rows, columns, 1});
  return rows * columns;
}

template <class F>
const char* joined(F names) {
  static conv3d::FirstUse<const std::string> text;
  const auto join = [&] {
    std::string list;
    names([&list](const char* name) { list += (list.empty() ? "" : " ") + std::string(name); });
    return list;
  };
  return text.get(join).c_str();
}

}  // namespace

extern "C" {

const char* conv3d_last_error(void) { return message().text; }
const char* conv3d_version(void) { return CONV3D_VERSION_STRING; }

int conv3d_get_num_threads(void) {
  int threads = 1;
  guarded([&] { threads = conv3d::get_num_threads(); });
  return threads;
}
void conv3d_set_num_threads(int threads) {
  guarded([&] { conv3d::set_num_threads(threads); });
}

conv3d_status conv3d_thread_pool_create(const conv3d_thread_pool_desc* desc,
                                        conv3d_thread_pool** pool) {
  return guarded([&] {
    const conv3d_thread_pool_desc d = read_struct(desc, "desc");
    required(pool, "pool");
    required(d.parallel_for, "desc.parallel_for");
    if (d.max_threads < 1 || d.max_threads > conv3d::kMaxThreads) {
      throw Error(Status::kInvalidArgument, "max_threads is " + std::to_string(d.max_threads) +
                                                "; 1 to " + std::to_string(conv3d::kMaxThreads) +
                                                " is accepted");
    }
    *pool = new conv3d_thread_pool{conv3d::CallerPool(d.max_threads, d.parallel_for, d.context)};
  });
}
void conv3d_thread_pool_destroy(conv3d_thread_pool* pool) { delete pool; }

conv3d_status conv3d_problem_create(const conv3d_problem_desc* desc, conv3d_problem** problem) {
  return guarded([&] {
    required(problem, "problem");
    const conv3d::Problem value = conv3d::make_problem(spec_of(read_struct(desc, "desc")));
    *problem = new conv3d_problem{value, value.to_string()};
  });
}
void conv3d_problem_destroy(conv3d_problem* problem) { delete problem; }

conv3d_status conv3d_problem_get_info(const conv3d_problem* problem, conv3d_problem_info* info) {
  return guarded([&] {
    const conv3d::Problem& p = required(problem, "problem")->value;
    conv3d_problem_info result{};
    const int64_t output[3] = {p.od, p.oh, p.ow}, before[3] = {p.pd, p.ph, p.pw},
                  after[3] = {p.pd1, p.ph1, p.pw1};
    std::copy_n(output, 3, result.output);
    std::copy_n(before, 3, result.pad_before);
    std::copy_n(after, 3, result.pad_after);
    result.flops = p.flops();
    write_struct(info, result, "info");
  });
}
const char* conv3d_problem_text(const conv3d_problem* problem) {
  return problem != nullptr ? problem->text.c_str() : "";
}

conv3d_status conv3d_plan_create(const conv3d_problem* problem, const char* algorithm,
                                 conv3d_plan** plan) {
  return guarded([&] {
    required(plan, "plan");
    const conv3d::Problem& p = required(problem, "problem")->value;
    *plan = new conv3d_plan{conv3d::Plan(p, algorithm != nullptr ? algorithm : "auto")};
  });
}
void conv3d_plan_destroy(conv3d_plan* plan) { delete plan; }

conv3d_status conv3d_plan_get_info(const conv3d_plan* plan, int64_t batch, int threads,
                                   conv3d_plan_info* info) {
  return guarded([&] {
    const conv3d::Plan& p = required(plan, "plan")->value;
    if (batch < 0) {
      throw Error(Status::kInvalidArgument,
                  "batch is " + std::to_string(batch) + "; batches are not negative");
    }
    const conv3d::PlanFacts& facts = p.facts();
    conv3d_plan_info result{};
    result.algorithm = facts.algorithm.c_str();
    result.family = facts.family.c_str();
    result.detail = facts.detail.c_str();
    result.why = facts.why.c_str();
    result.isa = facts.isa.c_str();
    result.error_bound = facts.error_bound;
    conv3d::Problem all = p.problem();
    all.mb = batch;
    result.effective_flops = all.flops();
    result.threads = p.useful_threads(batch, Team(nullptr, threads).threads);
    result.workspace_bytes = p.workspace_bytes(batch, result.threads);
    result.packed_filter_bytes = p.packed_filter_bytes();
    result.candidates = static_cast<int>(facts.candidates.size());
    write_struct(info, result, "info");
  });
}

conv3d_status conv3d_plan_get_candidate(const conv3d_plan* plan, int index,
                                        conv3d_candidate* candidate) {
  return guarded([&] {
    const auto& list = required(plan, "plan")->value.facts().candidates;
    if (index < 0 || static_cast<size_t>(index) >= list.size()) {
      throw Error(Status::kInvalidArgument, "index is " + std::to_string(index) +
                                                "; the plan has " + std::to_string(list.size()) +
                                                " candidates");
    }
    const conv3d::Candidate& c = list[static_cast<size_t>(index)];
    conv3d_candidate result{};
    result.algorithm = c.name.c_str();
    result.seconds = c.seconds;
    result.reason = c.reason.c_str();
    write_struct(candidate, result, "candidate");
  });
}

conv3d_status conv3d_plan_pack_filter(const conv3d_plan* plan, const void* filter,
                                      conv3d_packed_filter** packed) {
  return guarded([&] {
    required(packed, "packed");
    const Team team(nullptr, 0);
    *packed = new conv3d_packed_filter{
        required(plan, "plan")->value.pack(filter, team.pool, team.threads)};
  });
}
void conv3d_packed_filter_destroy(conv3d_packed_filter* packed) { delete packed; }
size_t conv3d_packed_filter_bytes(const conv3d_packed_filter* packed) {
  return packed != nullptr ? packed->value->bytes() : 0;
}
int conv3d_packed_filter_fits(const conv3d_packed_filter* packed, const conv3d_plan* plan) {
  return packed != nullptr && plan != nullptr && packed->value->key() == plan->value.filter_key();
}

conv3d_status conv3d_plan_execute(const conv3d_plan* plan, const conv3d_buffers* buffers) {
  return guarded([&] {
    const conv3d_buffers b = read_struct(buffers, "buffers");
    const Team team(b.pool, b.num_threads);
    conv3d::PlanBuffers inner;
    inner.input = b.input;
    inner.filter = b.filter;
    inner.packed = b.packed_filter != nullptr ? b.packed_filter->value.get() : nullptr;
    inner.grad_output = b.grad_output;
    inner.bias = b.bias;
    inner.result = b.result;
    inner.batch = b.batch;
    required(plan, "plan")->value.execute(inner, team.pool, team.threads);
  });
}

conv3d_status conv3d_pool_output(const conv3d_pool_desc* desc, int64_t output[3]) {
  return guarded([&] {
    required(output, "output");
    const conv3d::PoolPlan plan = pool_plan_of(desc);
    std::copy(plan.output().begin(), plan.output().end(), output);
  });
}

conv3d_status conv3d_pool_forward(const conv3d_pool_desc* desc, const void* input, void* output,
                                  int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    const Team team(pool, num_threads);
    pool_plan_of(desc).forward(input, output, team.pool, team.threads);
  });
}

conv3d_status conv3d_pool_backward(const conv3d_pool_desc* desc, const void* input,
                                   const void* output, const void* grad_output, void* grad_input,
                                   int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    const Team team(pool, num_threads);
    pool_plan_of(desc).backward(input, output, grad_output, grad_input, team.pool, team.threads);
  });
}

conv3d_status conv3d_channel_moments(const conv3d_channel_view* view, const void* x, void* mean,
                                     void* variance, int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    const conv3d::ChannelView v = view_of(view);
    const int64_t n = v.outer * v.channels * v.inner;
    if (n > 0) required(x, "x");
    if (v.channels > 0) required(mean, "mean");
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::channel_moments(v, kernels, x, mean, variance, team, threads);
                 });
  });
}

conv3d_status conv3d_channel_sums(const conv3d_channel_view* view, const void* x, const void* y,
                                  const void* center, void* sum, void* product, int num_threads,
                                  conv3d_thread_pool* pool) {
  return guarded([&] {
    const conv3d::ChannelView v = view_of(view);
    const int64_t n = v.outer * v.channels * v.inner;
    if (n > 0) required(x, "x");
    if (v.channels > 0) required(sum, "sum");
    if (y != nullptr) {
      required(center, "center");
      required(product, "product");
    }
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::channel_sums(v, kernels, x, y, center, sum, product, team, threads);
                 });
  });
}

conv3d_status conv3d_channel_affine(const conv3d_channel_view* view, const void* x,
                                    const void* scale, const void* y, const void* scale_y,
                                    const void* shift, int relu, void* out, int num_threads,
                                    conv3d_thread_pool* pool) {
  return guarded([&] {
    const conv3d::ChannelView v = view_of(view);
    const int64_t n = v.outer * v.channels * v.inner;
    if (n == 0) return;
    required(x, "x");
    required(out, "out");
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::channel_affine(v, kernels, x, scale, y, scale_y, shift, relu != 0, out,
                                          team, threads);
                 });
  });
}

conv3d_status conv3d_join_rows(int64_t rows, int parts, const int64_t* bytes,
                               const void* const* sources, void* result, int num_threads,
                               conv3d_thread_pool* pool) {
  return guarded([&] {
    if (parts > 0) required(bytes, "bytes");
    const conv3d::RowParts p = conv3d::make_row_parts(rows, parts, bytes);
    if (p.rows * p.row_bytes == 0) return;
    required(sources, "sources");
    required(result, "result");
    element_wise(pool, num_threads, p.rows * p.row_bytes / 4,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::join_rows(p, kernels, sources, result, team, threads);
                 });
  });
}

conv3d_status conv3d_cut_rows(int64_t rows, int parts, const int64_t* bytes, const void* source,
                              void* const* results, int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    if (parts > 0) required(bytes, "bytes");
    const conv3d::RowParts p = conv3d::make_row_parts(rows, parts, bytes);
    if (p.rows * p.row_bytes == 0) return;
    required(source, "source");
    required(results, "results");
    element_wise(pool, num_threads, p.rows * p.row_bytes / 4,
                 [&](const conv3d::KernelTable&, conv3d::ThreadPool& team, int threads) {
                   conv3d::cut_rows(p, source, results, team, threads);
                 });
  });
}

conv3d_status conv3d_pointwise(conv3d_pointwise_op op, conv3d_dtype dtype, int64_t n, const void* a,
                               const void* b, double parameter, void* out, int num_threads,
                               conv3d_thread_pool* pool) {
  return guarded([&] {
    if (op < CONV3D_RELU_GRAD || op > CONV3D_ADD) {
      throw Error(Status::kInvalidArgument,
                  "op is " + std::to_string(static_cast<int>(op)) + "; 0 to 4 are accepted");
    }
    if (elements_of(n, 1) == 0) return;
    required(a, "a");
    required(b, "b");
    required(out, "out");
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::pointwise(static_cast<conv3d::Pointwise>(op),
                                     static_cast<conv3d::DType>(dtype), n, kernels, a, b, parameter,
                                     out, team, threads);
                 });
  });
}

conv3d_status conv3d_softmax(conv3d_dtype dtype, int64_t rows, int64_t classes, const void* x,
                             const void* y, void* out, int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    const int64_t n = elements_of(rows, classes);
    if (n == 0) return;
    required(x, "x");
    required(out, "out");
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   const auto type = static_cast<conv3d::DType>(dtype);
                   if (y == nullptr) {
                     conv3d::softmax(type, rows, classes, kernels, x, out, team, threads);
                   } else {
                     conv3d::softmax_grad(type, rows, classes, y, x, out, team, threads);
                   }
                 });
  });
}

conv3d_status conv3d_sparse_cross_entropy(conv3d_dtype dtype, int64_t rows, int64_t classes,
                                          const void* x, const int64_t* labels, void* loss,
                                          void* grad, int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    const int64_t n = elements_of(rows, classes);
    if (n == 0) return;
    required(x, "x");
    required(labels, "labels");
    required(loss, "loss");
    required(grad, "grad");
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::sparse_cross_entropy(static_cast<conv3d::DType>(dtype), rows, classes,
                                                kernels, x, labels, loss, grad, team, threads);
                 });
  });
}

conv3d_status conv3d_optimizer_step(conv3d_optimizer_rule rule, conv3d_dtype dtype, int64_t n,
                                    const double numbers[4], const conv3d_optimizer_arrays* arrays,
                                    int num_threads, conv3d_thread_pool* pool) {
  return guarded([&] {
    if (rule < CONV3D_GRADIENT_DESCENT || rule > CONV3D_NESTEROV_ADAM) {
      throw Error(Status::kInvalidArgument,
                  "rule is " + std::to_string(static_cast<int>(rule)) + "; 0 to 5 are accepted");
    }
    const conv3d_optimizer_arrays a = read_struct(arrays, "arrays");
    required(numbers, "numbers");
    if (elements_of(n, 1) == 0) return;
    required(a.grad, "arrays.grad");
    required(a.var, "arrays.var");
    required(a.new_var, "arrays.new_var");
    if (rule >= CONV3D_MOMENTUM) {
      required(a.slot0, "arrays.slot0");
      required(a.new_slot0, "arrays.new_slot0");
    }
    if (rule >= CONV3D_RMS_PROP) {
      required(a.slot1, "arrays.slot1");
      required(a.new_slot1, "arrays.new_slot1");
    }
    const conv3d::OptimizerStep step = {static_cast<conv3d::OptimizerRule>(rule),
                                        {numbers[0], numbers[1], numbers[2], numbers[3]},
                                        a.grad,
                                        a.var,
                                        a.slot0,
                                        a.slot1,
                                        a.new_var,
                                        a.new_slot0,
                                        a.new_slot1};
    element_wise(pool, num_threads, n,
                 [&](const conv3d::KernelTable& kernels, conv3d::ThreadPool& team, int threads) {
                   conv3d::optimizer_step(step, static_cast<conv3d::DType>(dtype), n, kernels, team,
                                          threads);
                 });
  });
}

conv3d_status conv3d_get_machine_info(conv3d_machine_info* info) {
  return guarded([&] {
    const conv3d::CpuInfo& cpu = conv3d::cpu_info();
    const conv3d::KernelTableList tables = conv3d::kernel_tables();
    conv3d_machine_info result{};
    result.isa = conv3d::kernel_table().name;
    result.available_isas = joined([&](auto add) {
      for (int i = 0; i < tables.size; ++i) {
        if ((tables.items[i]->required_features & ~cpu.features) == 0) add(tables.items[i]->name);
      }
    });
    result.compiled_isas = joined([&](auto add) {
      for (int i = 0; i < tables.size; ++i) add(tables.items[i]->name);
    });
    const conv3d::AlgorithmList algorithms = conv3d::algorithm_list();
    result.algorithms = joined([&](auto add) {
      for (int i = 0; i < algorithms.size; ++i) add(algorithms.items[i]->name());
    });
    result.vendor = cpu.vendor;
    result.model = cpu.model;
#if defined(__VERSION__)
    result.compiler = __VERSION__;
#else
    result.compiler = "unknown";
#endif
    result.l1d_bytes = cpu.l1d_bytes;
    result.l2_bytes = cpu.l2_bytes;
    result.l3_bytes = cpu.l3_bytes;
    result.memory_bytes = cpu.memory_bytes;
    result.physical_cores = cpu.physical_cores;
    result.usable_threads = cpu.usable_threads;
#ifdef NDEBUG
    result.assertions = 0;
#else
    result.assertions = 1;
#endif
    write_struct(info, result, "info");
  });
}

conv3d_status conv3d_check_memory(size_t bytes, const char* what) {
  return guarded([&] { conv3d::check_memory(bytes, what != nullptr ? what : "the array"); });
}
conv3d_status conv3d_buffer_create(size_t bytes, conv3d_buffer** buffer) {
  return guarded([&] {
    *required(buffer, "buffer") =
        new conv3d_buffer{conv3d::Workspace(bytes, "the buffer", conv3d::Workspace::Fit::kTight)};
  });
}
void* conv3d_buffer_data(const conv3d_buffer* buffer) {
  return buffer != nullptr ? buffer->value.data() : nullptr;
}
void conv3d_buffer_destroy(conv3d_buffer* buffer) { delete buffer; }
size_t conv3d_workspace_cache_bytes(void) { return conv3d::workspace_cache_bytes(); }
void conv3d_clear_workspace_cache(void) {
  guarded([] { conv3d::clear_workspace_cache(); });
}
conv3d_status conv3d_measure_fma_peak(int threads, double seconds, double* operations_per_second) {
  return guarded([&] {
    *required(operations_per_second, "operations_per_second") =
        conv3d::measure_fma_peak(threads, seconds);
  });
}
void conv3d_time_phases(int on, double seconds[4]) { conv3d::time_phases(on != 0, seconds); }
void conv3d_set_verbose(int on) { conv3d::set_verbose(on != 0); }
void conv3d_set_verbose_sink(void (*sink)(const char* line, void* context), void* context) {
  guarded([&] { conv3d::set_verbose_sink(sink, context); });
}

}  // extern "C"
