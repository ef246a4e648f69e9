// 3-D convolution on CPUs: the C++17 face. Header-only, over the C interface of conv3d/conv3d.h.
//
//   conv3d::ProblemDesc desc;                       // shapes, strides, padding
//   conv3d::Plan plan{conv3d::Problem{desc}};
//   conv3d::PackedFilter filter = plan.pack(weights);
//   conv3d::Buffers buffers;
//   buffers.batch = 1; buffers.input = x; buffers.packed_filter = filter.get(); buffers.result = y;
//   plan.execute(buffers);
//
// Every failure is a conv3d::Error, which carries the status and a message that names the argument.
#pragma once

#include <array>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "conv3d/conv3d.h"

namespace conv3d {
// The library's own sources have types of the same names inside `conv3d`; the inline
// namespace keeps the two apart.
inline namespace api {

class Error : public std::runtime_error {
 public:
  Error(conv3d_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  conv3d_status status() const noexcept { return status_; }

 private:
  conv3d_status status_;
};

// Throws Error unless the status is CONV3D_OK.
inline void check(conv3d_status status) {
  if (status != CONV3D_OK) throw Error(status, conv3d_last_error());
}

using Extent3 = std::array<std::int64_t, 3>;  // depth, height, width

// conv3d_problem_desc with sensible defaults: stride and dilation 1, one group, batch 1.
struct ProblemDesc : conv3d_problem_desc {
  ProblemDesc() : conv3d_problem_desc() {
    size = sizeof(conv3d_problem_desc);
    batch = groups = 1;
    for (int a = 0; a < 3; ++a) stride[a] = dilation[a] = 1;
    leaky_relu_alpha = 0.2;
  }
};

// conv3d_buffers, empty.
struct Buffers : conv3d_buffers {
  Buffers() : conv3d_buffers() { size = sizeof(conv3d_buffers); }
};

struct PoolDesc : conv3d_pool_desc {
  PoolDesc() : conv3d_pool_desc() { size = sizeof(conv3d_pool_desc); }
};

// A checked problem. Copies share one handle.
class Problem {
 public:
  explicit Problem(const conv3d_problem_desc& desc) {
    conv3d_problem* handle = nullptr;
    check(conv3d_problem_create(&desc, &handle));
    handle_.reset(handle, conv3d_problem_destroy);
  }
  conv3d_problem_info info() const {
    conv3d_problem_info result;
    CONV3D_INIT(result);
    check(conv3d_problem_get_info(get(), &result));
    return result;
  }
  Extent3 output() const {
    const conv3d_problem_info i = info();
    return {i.output[0], i.output[1], i.output[2]};
  }
  std::string text() const { return conv3d_problem_text(get()); }
  const conv3d_problem* get() const noexcept { return handle_.get(); }

 private:
  std::shared_ptr<conv3d_problem> handle_;
};

class PackedFilter {
 public:
  explicit PackedFilter(conv3d_packed_filter* handle)
      : handle_(handle, conv3d_packed_filter_destroy) {}
  std::size_t bytes() const { return conv3d_packed_filter_bytes(get()); }
  const conv3d_packed_filter* get() const noexcept { return handle_.get(); }

 private:
  std::shared_ptr<conv3d_packed_filter> handle_;
};

// The caller's own threads, for Buffers::pool.
class ThreadPool {
 public:
  // parallel_for(tasks, task) calls task(i) once for every i in [0, tasks) and returns
  // when all have returned.
  using ParallelFor = std::function<void(int tasks, const std::function<void(int)>& task)>;
  ThreadPool(int max_threads, ParallelFor parallel_for)
      : call_(std::make_unique<ParallelFor>(std::move(parallel_for))) {
    conv3d_thread_pool_desc desc;
    CONV3D_INIT(desc);
    desc.max_threads = max_threads;
    desc.context = call_.get();
    desc.parallel_for = [](void* context, int tasks, conv3d_task task, void* task_context) {
      (*static_cast<ParallelFor*>(context))(tasks,
                                            [task, task_context](int i) { task(task_context, i); });
    };
    conv3d_thread_pool* handle = nullptr;
    check(conv3d_thread_pool_create(&desc, &handle));
    handle_.reset(handle);
  }
  conv3d_thread_pool* get() const noexcept { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(conv3d_thread_pool* pool) const { conv3d_thread_pool_destroy(pool); }
  };
  std::unique_ptr<ParallelFor> call_;
  std::unique_ptr<conv3d_thread_pool, Destroy> handle_;
};

struct Candidate {
  std::string algorithm;
  double seconds;  // negative: cannot serve
  std::string reason;
};

// A plan: immutable, copies share one handle, execute() is safe from many threads at once.
class Plan {
 public:
  explicit Plan(const Problem& problem, const std::string& algorithm = "auto") {
    conv3d_plan* handle = nullptr;
    check(conv3d_plan_create(problem.get(), algorithm.c_str(), &handle));
    handle_.reset(handle, conv3d_plan_destroy);
  }
  // The strings of the result live as long as the plan.
  conv3d_plan_info info(std::int64_t batch = 1, int threads = 0) const {
    conv3d_plan_info result;
    CONV3D_INIT(result);
    check(conv3d_plan_get_info(get(), batch, threads, &result));
    return result;
  }
  std::vector<Candidate> candidates() const {
    std::vector<Candidate> list;
    for (int i = 0, n = info().candidates; i < n; ++i) {
      conv3d_candidate c;
      CONV3D_INIT(c);
      check(conv3d_plan_get_candidate(get(), i, &c));
      list.push_back({c.algorithm, c.seconds, c.reason});
    }
    return list;
  }
  PackedFilter pack(const void* filter) const {
    conv3d_packed_filter* handle = nullptr;
    check(conv3d_plan_pack_filter(get(), filter, &handle));
    return PackedFilter(handle);
  }
  bool accepts(const PackedFilter& filter) const {
    return conv3d_packed_filter_fits(filter.get(), get()) != 0;
  }
  void execute(const conv3d_buffers& buffers) const { check(conv3d_plan_execute(get(), &buffers)); }
  const conv3d_plan* get() const noexcept { return handle_.get(); }

 private:
  std::shared_ptr<conv3d_plan> handle_;
};

inline conv3d_machine_info machine_info() {
  conv3d_machine_info info;
  CONV3D_INIT(info);
  check(conv3d_get_machine_info(&info));
  return info;
}

}  // namespace api
}  // namespace conv3d
