// A plan: a problem with everything decided - algorithm, ISA, packing format, scratch.
// Immutable, shared by threads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "plan/select.h"
#include "problem/problem.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace conv3d {

// A filter in an algorithm's own order. Usable by every plan whose filter_key() is equal.
class PackedFilter {
 public:
  PackedFilter(std::string key, size_t bytes)
      : key_(std::move(key)), bytes_(bytes), block_(bytes, "the packed filter") {}
  const std::string& key() const { return key_; }
  size_t bytes() const { return bytes_; }
  void* data() const { return block_.data(); }

 private:
  std::string key_;
  size_t bytes_;
  Workspace block_;
};

struct PlanBuffers {
  const void* input = nullptr;
  const void* filter =
      nullptr;  // [kd][kh][kw][ic / groups][oc]; packed for this call if `packed` is null
  const PackedFilter* packed = nullptr;
  const void* grad_output = nullptr;
  const void* bias = nullptr;
  void* result = nullptr;
  int64_t batch = 0;
};

// For explain().
struct PlanFacts {
  std::string algorithm, family, detail, why, isa;
  bool direct = true;  // every result is a plain sum of products
  double error_bound;
  std::vector<Candidate> candidates;
};

class Plan {
 public:
  // Throws as select_algorithm does, and Error{kOutOfMemory}.
  Plan(const Problem& problem, const std::string& algorithm);

  const Problem& problem() const { return problem_; }
  const PlanFacts& facts() const { return facts_; }
  // Most threads that pay for `batch` samples, at most `threads`.
  int useful_threads(int64_t batch, int threads) const;
  // Scratch of one call, apart from the packed filter.
  size_t workspace_bytes(int64_t batch, int threads) const;
  size_t packed_filter_bytes() const;
  const std::string& filter_key() const { return filter_key_; }

  std::unique_ptr<PackedFilter> pack(const void* filter, ThreadPool& pool, int threads) const;
  // Throws Error{kInvalidArgument} if a tensor is missing or the packed filter is another plan's.
  void execute(const PlanBuffers& buffers, ThreadPool& pool, int threads) const;

 private:
  struct Conversion;
  void pack_into(const void* filter, void* packed, ThreadPool& pool, int threads) const;
  Conversion conversion(int64_t batch) const;
  void run(const PlanBuffers& buffers, const void* packed, ThreadPool& pool, int threads) const;
  // Copies the live taps out of a filter, or their gradient into one. They have the inner problem's
  // dtype, the filter that of the problem.
  enum class TapCopy { kFromFilter, kToFilter };
  void copy_taps(TapCopy direction, const void* from, void* to, ThreadPool& pool,
                 int threads) const;
  void clear_dead_taps(void* filter, ThreadPool& pool, int threads) const;
  // Bytes from the start of a filter to where the live taps begin.
  size_t live_offset() const;
  // The live taps are what the algorithm takes, where they lie.
  bool filter_as_it_is() const { return inner_.dtype == problem_.dtype && live_.contiguous(); }

  Problem problem_, inner_;
  LiveTaps live_;
  std::unique_ptr<Prepared> prepared_;
  PlanFacts facts_;
  std::string filter_key_;
};

}  // namespace conv3d
