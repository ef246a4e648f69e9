// The interface between a plan and the ways to compute a convolution.
//
// An Algorithm is a stateless entry of the ordered list in registry.cpp. Asked about a problem it
// says whether it can serve it (and why not) and what it would cost. Chosen, it prepares a
// Prepared: block sizes, packing format and booked scratch, all fixed. Prepared objects are
// immutable and shared by threads; execute decides nothing and allocates nothing.
//
// Determinism: nothing that changes a sum's order may depend on batch, thread count,
// layout or alignment.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "problem/problem.h"
#include "runtime/cpu_info.h"
#include "runtime/thread_pool.h"
#include "runtime/workspace.h"

namespace conv3d {

struct KernelTable;

// What the machine offers and the caller asked for; fixed when a plan is built.
struct PlanContext {
  const KernelTable* kernels;  // of the chosen ISA
  const CpuInfo* cpu;          // caches, cores
  int threads;  // for the cost model and for work splitting hints only, never for the order of sums
};

struct Buffers {
  const void* input =
      nullptr;  // forward, backward_filter: [mb, id, ih, iw, ic] (or channels first)
  const void* grad_output = nullptr;    // backward_*: [mb, od, oh, ow, oc]
  const void* packed_filter = nullptr;  // forward, backward_input: what pack_filter wrote, or the
                                        // filter itself (reads_filter), of any alignment
  const void* bias = nullptr;           // [channels of the computed tensor], or null
  void* result = nullptr;               // the computed tensor
  int64_t batch = 0;                    // samples in this call; Prepared is made for any batch
};

class Prepared {
 public:
  virtual ~Prepared() = default;
  // Bytes and identity of the packed filter. Two Prepared with equal formats may share
  // one packed filter.
  virtual size_t packed_filter_bytes() const = 0;
  virtual std::string packed_filter_format() const = 0;
  // `filter` is [kd][kh][kw][ic / groups][oc] of the problem's dtype. `packed` is
  // aligned to kScratchAlignment.
  virtual void pack_filter(const void* filter, void* packed, ThreadPool& pool,
                           int threads) const = 0;
  // The packed filter is the filter as it is, so that a call can do without a copy.
  virtual bool reads_filter() const { return false; }
  virtual const ScratchLedger& ledger() const = 0;
  virtual void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
                       int threads) const = 0;
  // For explain(): finer name such as "winograd_f4x4x4" or "gemm_rows", block sizes in words, and
  // the stated bound on max|error| / max|output| against float64.
  virtual std::string detail() const = 0;
  virtual double error_bound() const = 0;
  // Most threads that pay for this problem (small problems: 1).
  virtual int useful_threads() const = 0;
};

// What the algorithms without a transform compute in; others are converted before they see them.
inline bool is_direct_dtype(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64;
}

// What needs no filter: backward_filter, which computes it.
class FilterlessPrepared : public Prepared {
 public:
  size_t packed_filter_bytes() const final { return 0; }
  std::string packed_filter_format() const final { return "none"; }
  void pack_filter(const void*, void*, ThreadPool&, int) const final {}
};

class Algorithm {
 public:
  virtual ~Algorithm() = default;
  virtual const char* name()
      const = 0;  // "winograd_f4x4x4"; what CONV3D_ALGORITHM and explain() use
  virtual const char* family()
      const = 0;  // "gemm", "planar", "winograd", ...: what callers may also force
  // Every result is a plain sum of products. Others round more, are held to the promised bound and
  // left out by accuracy "strict".
  virtual bool direct() const { return true; }
  // Empty string if this algorithm can run the problem, else the reason, for explain()
  // and for errors.
  virtual std::string why_not(const Problem& problem, const PlanContext& context) const = 0;
  // Estimated seconds for the problem with context.threads threads; smaller wins.
  virtual double cost(const Problem& problem, const PlanContext& context) const = 0;
  virtual std::unique_ptr<Prepared> prepare(const Problem& problem,
                                            const PlanContext& context) const = 0;
};

struct AlgorithmList {
  const Algorithm* const* items;
  int size;
};
// The ordered list; ties in cost go to the earlier entry. `reference` is last and
// serves everything.
AlgorithmList algorithm_list();

}  // namespace conv3d
