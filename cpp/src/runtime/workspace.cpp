#include "runtime/workspace.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#include "base/assert.h"
#include "base/math.h"
#include "base/status.h"
#include "runtime/cpu_info.h"
#include "runtime/fork.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_MSC_VER)
#include <malloc.h>
#endif

namespace conv3d {
namespace {

// Big blocks are aligned for, and offered to, transparent huge pages: fewer misses of
// the translation buffer.
constexpr size_t kHugePage = size_t{2} << 20;
// Released blocks are kept for the next call up to this total, and up to an eighth of what the
// process may use: a fresh block costs a page fault per 4 KiB.
constexpr size_t kKeepBytes = size_t{512} << 20;
constexpr int kKeepBlocks = 64;

struct Kept {
  void* memory;
  size_t bytes;
};

struct Cache {
  std::mutex mutex;
  Kept blocks[kKeepBlocks];  // in the order of their release
  int count = 0;
  size_t bytes = 0;

  Kept take(int index) {
    const Kept block = blocks[index];
    std::copy(blocks + index + 1, blocks + count, blocks + index);
    --count;
    bytes -= block.bytes;
    return block;
  }
};

FirstUse<Cache> g_cache;
Cache& cache() {
  return g_cache.get([] { return Cache(); });
}

void before_fork() {
  if (g_cache.if_built() != nullptr) g_cache.if_built()->mutex.lock();
}
void after_fork() {
  if (g_cache.if_built() != nullptr) g_cache.if_built()->mutex.unlock();
}

size_t keep_bytes() {
  const size_t limit = cpu_info().memory_bytes;
  return limit != 0 ? std::min(kKeepBytes, limit / 8) : kKeepBytes;
}

std::atomic<long> g_fail_after{-1};  // allocations until all fail, for tests; negative: never

void* system_allocate(size_t bytes) {
  if (g_fail_after == 0) return nullptr;
  if (g_fail_after > 0) --g_fail_after;
  const size_t alignment = bytes >= kHugePage ? kHugePage : kScratchAlignment;
#if defined(_MSC_VER)
  return _aligned_malloc(bytes, alignment);
#else
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) return nullptr;
#if defined(__linux__)
  if (bytes >= kHugePage) madvise(memory, bytes - bytes % kHugePage, MADV_HUGEPAGE);
#endif
  return memory;
#endif
}

void system_free(void* memory) {
#if defined(_MSC_VER)
  _aligned_free(memory);
#else
  std::free(memory);
#endif
}

}  // namespace

const ForkHandlers kWorkspaceForkHandlers = {before_fork, after_fork, after_fork};

int ScratchLedger::book(const char* name, size_t bytes, bool per_thread) {
  size_t& total = per_thread ? per_thread_ : shared_;
  entries_.push_back({name, bytes, total, per_thread});
  total = checked_add(total, round_up(bytes, kScratchAlignment));
  return static_cast<int>(entries_.size()) - 1;
}

size_t ScratchLedger::bytes_per_thread() const { return per_thread_; }
size_t ScratchLedger::shared_bytes() const { return shared_; }

size_t ScratchLedger::total_bytes(int threads) const {
  return checked_add(shared_,
                     checked_bytes({static_cast<int64_t>(per_thread_), threads}, "the workspace"));
}

char* Scratch::address(int entry, int thread) const {
  CONV3D_ASSERT(entry >= 0 && static_cast<size_t>(entry) < ledger_->entries().size());
  const ScratchLedger::Entry& booked = ledger_->entries()[static_cast<size_t>(entry)];
  if (!booked.per_thread) return block_ + booked.offset;
  return block_ + ledger_->shared_bytes() +
         static_cast<size_t>(thread) * ledger_->bytes_per_thread() + booked.offset;
}

void check_memory(size_t bytes, const char* what) {
  const size_t limit = cpu_info().memory_bytes;
  if (limit != 0 && bytes > limit) {
    throw Error(Status::kOutOfMemory, std::string(what) + " needs " + std::to_string(bytes) +
                                          " bytes and this process may use " +
                                          std::to_string(limit));
  }
}

Workspace::Workspace(size_t bytes, const char* what, Fit fit) : bytes_(bytes) {
  if (bytes == 0) return;
  check_memory(bytes, what);
  // A block much too big would be held away from a call that needs it.
  const size_t most = fit == Fit::kLoose ? checked_add(bytes, checked_add(bytes, bytes))
                                         : checked_add(bytes, bytes / 8 + kHugePage);
  {
    Cache& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    int best = -1;
    for (int i = 0; i < c.count; ++i) {
      // Of equal blocks the one released last: more of it is still in the caches.
      if (c.blocks[i].bytes >= bytes && c.blocks[i].bytes <= most &&
          (best < 0 || c.blocks[i].bytes <= c.blocks[best].bytes)) {
        best = i;
      }
    }
    if (best >= 0) {
      const Kept block = c.take(best);
      memory_ = block.memory;
      bytes_ = block.bytes;
      return;
    }
  }
  bytes_ = round_up(bytes, bytes >= kHugePage ? kHugePage : kScratchAlignment);
  memory_ = system_allocate(bytes_);
  if (memory_ == nullptr) {
    clear_workspace_cache();  // what is kept for later is better used now
    memory_ = system_allocate(bytes_);
  }
  if (memory_ == nullptr) {
    throw Error(Status::kOutOfMemory, std::string(what) + " needs " + std::to_string(bytes_) +
                                          " bytes, which cannot be had");
  }
}

Workspace::~Workspace() {
  if (memory_ == nullptr) return;
  Kept dropped[kKeepBlocks + 1];
  int drops = 0;
  const size_t keep = keep_bytes();
  {
    Cache& c = cache();
    std::lock_guard<std::mutex> lock(c.mutex);
    if (bytes_ > keep) {
      dropped[drops++] = {memory_, bytes_};
    } else {
      // What nobody has asked for the longest makes room.
      while (c.count == kKeepBlocks || c.bytes > keep - bytes_) dropped[drops++] = c.take(0);
      c.blocks[c.count++] = {memory_, bytes_};
      c.bytes += bytes_;
    }
  }
  for (int i = 0; i < drops; ++i) system_free(dropped[i].memory);
}

void clear_workspace_cache() {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  for (int i = 0; i < c.count; ++i) system_free(c.blocks[i].memory);
  c.count = 0;
  c.bytes = 0;
}

size_t workspace_cache_bytes() {
  Cache& c = cache();
  std::lock_guard<std::mutex> lock(c.mutex);
  return c.bytes;
}

void fail_allocation_for_testing(long after) { g_fail_after = after; }

}  // namespace conv3d
