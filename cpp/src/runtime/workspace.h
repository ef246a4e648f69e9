// The scratch ledger: algorithms book scratch by name while a plan is built, and are granted it by
// name while executing. Execution allocates once (or reuses the thread's cached block), so the size
// can be stated before the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace conv3d {

inline constexpr size_t kScratchAlignment = 64;  // one cache line, one AVX-512 vector

class ScratchLedger {
 public:
  // Books `bytes` once per thread (per_thread) or once for the call. Returns the entry's index.
  // Sizes are multiplied by the caller through base/math.h's checked helpers.
  int book(const char* name, size_t bytes, bool per_thread);
  size_t total_bytes(int threads) const;
  size_t bytes_per_thread() const;
  size_t shared_bytes() const;

  struct Entry {
    std::string name;
    size_t bytes, offset;
    bool per_thread;
  };
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
  size_t shared_ = 0, per_thread_ = 0;
};

// A view of one block of memory of ledger.total_bytes(threads), aligned to kScratchAlignment.
class Scratch {
 public:
  Scratch(const ScratchLedger& ledger, void* block)
      : ledger_(&ledger), block_(static_cast<char*>(block)) {}
  template <class T>
  T* get(int entry, int thread = 0) const {
    return reinterpret_cast<T*>(address(entry, thread));
  }

 private:
  char* address(int entry, int thread) const;
  const ScratchLedger* ledger_;
  char* block_;
};

// Throws Error{kOutOfMemory} if `bytes` exceeds what the process may use: said before
// any page is touched.
void check_memory(size_t bytes, const char* what);

// One aligned block: the scratch of a call, or the memory of a result for as long as its owner
// wants it. Blocks return to a process-wide cache with a byte budget, so many callers share what
// few need at a time, and a large result does not pay a page fault per 4 KiB at every call. Throws
// Error{kOutOfMemory}; `what` opens the message.
class Workspace {
 public:
  // kTight wastes at most an eighth (or a huge page): for blocks that are kept for long.
  enum class Fit { kLoose, kTight };
  explicit Workspace(size_t bytes, const char* what = "the workspace", Fit fit = Fit::kLoose);
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return memory_; }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

void clear_workspace_cache();
size_t workspace_cache_bytes();

// For tests: after `after` further allocations all fail; negative: none does.
void fail_allocation_for_testing(long after);

}  // namespace conv3d
