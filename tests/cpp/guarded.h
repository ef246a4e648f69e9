// Memory between two pages that nobody may touch: hand-written SIMD that reads or writes one byte
// too far ends the process, where a sanitizer, which instruments neither intrinsics' masks nor
// neighbouring live objects, may stay silent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#else
#include <vector>
#endif

namespace conv3d::testing {

enum class Wall { kAfter, kBefore };  // which forbidden page the memory touches

class Guarded {
 public:
  // Every byte starts as 0xff: a NaN in each dtype, so that what is read before it is written shows
  // in the result. With the wall after it, the memory ends within `alignment` - 1 bytes of the
  // page; those must stay as they are.
  Guarded(size_t bytes, size_t alignment, Wall wall) : bytes_(bytes) {
#if defined(__unix__) || defined(__APPLE__)
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (bytes + alignment + page - 1) / page * page;
    mapped_ = inside + 2 * page;
    void* const base =
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::bad_alloc();
    base_ = static_cast<char*>(base);
    begin_ = base_ + page;
    end_ = begin_ + inside;
    mprotect(base_, page, PROT_NONE);
    mprotect(end_, page, PROT_NONE);
#else
    memory_.resize(bytes + 2 * alignment + 64);
    begin_ = memory_.data() +
             (alignment - reinterpret_cast<uintptr_t>(memory_.data()) % alignment) % alignment;
    end_ = begin_ + bytes + 63;
#endif
    std::memset(begin_, 0xff, static_cast<size_t>(end_ - begin_));
    data_ = wall == Wall::kBefore
                ? begin_
                : begin_ + (static_cast<size_t>(end_ - begin_) - bytes) / alignment * alignment;
  }
#if defined(__unix__) || defined(__APPLE__)
  ~Guarded() { munmap(base_, mapped_); }
#endif
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  // Nothing between the pages was written but the memory itself.
  bool intact() const {
    for (const char* at = begin_; at < end_; ++at) {
      if ((at < data_ || at >= data_ + bytes_) && *at != static_cast<char>(0xff)) return false;
    }
    return true;
  }

 private:
  size_t bytes_, mapped_ = 0;
  char *base_ = nullptr, *begin_ = nullptr, *end_ = nullptr, *data_ = nullptr;
#if !(defined(__unix__) || defined(__APPLE__))
  std::vector<char> memory_;
#endif
};

}  // namespace conv3d::testing
