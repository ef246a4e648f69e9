// runtime/: threads, processors, scratch memory, the floating-point environment.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu_feature.h"
#include "base/status.h"
#include "runtime/caller_pool.h"
#include "runtime/chunks.h"
#include "runtime/cpu_info.h"
#include "runtime/float_environment.h"
#include "runtime/thread_pool.h"
#include "runtime/verbose.h"
#include "runtime/workspace.h"

#if defined(__unix__)
#include <sys/wait.h>
#include <unistd.h>
#endif

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#else
#define UNDER_TSAN 0
#endif

namespace conv3d {
namespace {

// Every index once, thread ids in range and never shared by two chunks at a time.
void check_coverage(ThreadPool& pool, int64_t n, int64_t grain, int threads) {
  CAPTURE(n);
  CAPTURE(grain);
  CAPTURE(threads);
  std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
  std::vector<std::atomic<int>> inside(static_cast<size_t>(threads));
  std::atomic<bool> fine{true};
  pool.parallel_for(n, grain, threads, [&](int64_t begin, int64_t end, int thread) {
    if (thread < 0 || thread >= threads || begin >= end || end > n) {
      fine = false;
      return;
    }
    if (inside[static_cast<size_t>(thread)].fetch_add(1) != 0) fine = false;
    if (end - begin < grain && end != n) fine = false;
    for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
    inside[static_cast<size_t>(thread)].fetch_sub(1);
  });
  CHECK(fine.load());
  for (const std::atomic<int>& count : seen) {
    if (count.load() != 1) FAIL_CHECK("an index was visited ", count.load(), " times");
  }
}

TEST_CASE("chunks: each index once, long ones first, none below the grain but the last") {
  for (int64_t n : {1, 2, 7, 98, 1000})
    for (int64_t grain : {1, 3, 50})
      for (int threads : {1, 2, 5}) {
        Chunks chunks(n, grain, threads);
        int64_t at = 0, longest = n, begin = 0, end = 0;
        while (chunks.take(&begin, &end)) {
          CHECK(begin == at);
          CHECK((end - begin >= grain || end == n));
          CHECK((end - begin > 0 && end - begin <= longest));
          longest = end - begin;
          at = end;
        }
        CHECK(at == n);
      }
  Chunks dropped(10, 1, 2);
  int64_t begin = 0, end = 0;
  CHECK(dropped.take(&begin, &end));
  dropped.drop();
  CHECK_FALSE(dropped.take(&begin, &end));
}

TEST_CASE("parallel_for visits every index once") {
  for (int64_t n : {0, 1, 2, 7, 100, 10000}) {
    for (int64_t grain : {1, 3, 64}) {
      for (int threads : {1, 2, 3, 8}) check_coverage(default_thread_pool(), n, grain, threads);
    }
  }
}

TEST_CASE("parallel_for serves many callers at once") {
  std::vector<std::thread> callers;
  std::atomic<int64_t> total{0};
  for (int c = 0; c < 16; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<int64_t> sum{0};
        default_thread_pool().parallel_for(100, 1, 4, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; ++i) sum += i;
        });
        total += sum.load();
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(total.load() == int64_t{16} * 200 * 4950);
}

TEST_CASE("nested calls run inline and exceptions come back") {
  std::atomic<int64_t> sum{0};
  default_thread_pool().parallel_for(8, 1, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      default_thread_pool().parallel_for(10, 1, 4, [&](int64_t b, int64_t e, int thread) {
        CHECK(thread == 0);
        sum += e - b;
      });
    }
  });
  CHECK(sum.load() == 80);
  for (int threads : {1, 4}) {
    CHECK_THROWS_AS(default_thread_pool().parallel_for(
                        1000, 1, threads,
                        [](int64_t, int64_t, int) { throw std::runtime_error("from a chunk"); }),
                    std::runtime_error);
  }
  check_coverage(default_thread_pool(), 1000, 1, 4);
}

TEST_CASE("workers take the caller's floating-point environment") {
#if CONV3D_HAS_MXCSR
  const unsigned before = FloatEnvironment::current();
  {
    FloatEnvironment environment(Denormals::kFlush);
    const unsigned wanted = FloatEnvironment::current();
    CHECK((wanted & 0x8040u) == 0x8040u);
    std::atomic<int> wrong{0};
    default_thread_pool().parallel_for(64, 1, 4, [&](int64_t, int64_t, int) {
      if ((FloatEnvironment::current() & ~0x3fu) != (wanted & ~0x3fu)) ++wrong;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    });
    CHECK(wrong.load() == 0);
  }
  CHECK(FloatEnvironment::current() == before);
#endif
}

TEST_CASE("without new threads the caller works alone, or with those there are") {
  fail_thread_creation_for_testing(true);
  static std::vector<std::string> lines;
  set_verbose_sink([](const char* line, void*) { lines.push_back(line); }, nullptr);
  std::thread([] {
    check_coverage(default_thread_pool(), 1000, 1, 200);
    check_coverage(default_thread_pool(), 1000, 1, 200);
  }).join();
  CHECK(lines.size() == 1);  // said once
  set_verbose_sink(nullptr, nullptr);
  fail_thread_creation_for_testing(false);
  set_num_threads(get_num_threads());  // a new wish: try again
  check_coverage(default_thread_pool(), 1000, 1, 8);
}

TEST_CASE("a caller's own pool") {
  const auto serial = [](void* context, int tasks, void (*task)(void*, int), void* task_context) {
    ++*static_cast<int*>(context);
    for (int i = tasks - 1; i >= 0; --i) task(task_context, i);
  };
  int calls = 0;
  CallerPool pool(3, serial, &calls);
  check_coverage(pool, 1000, 1, 3);
  CHECK(calls == 1);
  CHECK(pool.max_threads() == 3);
  const auto threads = [](void*, int tasks, void (*task)(void*, int), void* task_context) {
    std::vector<std::thread> team;
    for (int i = 0; i < tasks; ++i) team.emplace_back(task, task_context, i);
    for (std::thread& member : team) member.join();
  };
  CallerPool real(4, threads, nullptr);
  check_coverage(real, 1000, 7, 4);
  CHECK_THROWS_AS(
      real.parallel_for(100, 1, 4, [](int64_t, int64_t, int) { throw std::runtime_error("x"); }),
      std::runtime_error);
}

#if defined(__unix__) && !UNDER_TSAN
TEST_CASE("fork between calls and during another thread's call") {
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) {
      default_thread_pool().parallel_for(64, 1, 4, [](int64_t, int64_t, int) {
        volatile int sink = 0;
        for (int i = 0; i < 1000; ++i) sink = sink + i;
      });
      Workspace scratch(1 << 16);
      std::memset(scratch.data(), 1, 1 << 16);
    }
  });
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      alarm(20);  // a deadlock shows as a signal
      std::atomic<int64_t> sum{0};
      default_thread_pool().parallel_for(
          1000, 1, 4, [&](int64_t begin, int64_t end, int) { sum += end - begin; });
      Workspace scratch(1 << 16);
      _exit(sum.load() == 1000 ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
  stop = true;
  busy.join();
}
#endif

TEST_CASE("thread counts from the environment") {
  CHECK(parse_threads("4") == 4);
  CHECK(parse_threads(" 4 ") == 4);
  CHECK(parse_threads("1024") == 1024);
  for (const char* bad :
       {"", "abc", "0", "-1", "1e9", "4x", "99999999999999999999", "1025", "3.5"}) {
    CAPTURE(bad);
    CHECK(parse_threads(bad) == 0);
  }
  CHECK(parse_threads(nullptr) == 0);
}

TEST_CASE("cgroup quotas are rounded down, and at least one") {
  CHECK(cgroup_v2_cpus("max 100000") == 0);
  CHECK(cgroup_v2_cpus("200000 100000") == 2);
  CHECK(cgroup_v2_cpus("250000 100000") == 2);
  CHECK(cgroup_v2_cpus("50000 100000") == 1);
  CHECK(cgroup_v2_cpus("") == 0);
  CHECK(cgroup_v2_cpus("nonsense") == 0);
  CHECK(cgroup_v2_cpus("100 0") == 0);
  CHECK(cgroup_v1_cpus("-1", "100000") == 0);
  CHECK(cgroup_v1_cpus("350000", "100000") == 3);
  CHECK(cgroup_v1_cpus("", "") == 0);
}

TEST_CASE("features need the processor and the system") {
  constexpr unsigned kLeaf1 = (1u << 12) | (1u << 28) | (1u << 29);
  constexpr unsigned kLeaf7 = (1u << 5) | (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  constexpr unsigned kAll =
      kCpuAvx2 | kCpuFma | kCpuF16c | kCpuAvx512f | kCpuAvx512bw | kCpuAvx512dq | kCpuAvx512vl;
  CHECK(features_from_cpuid(kLeaf1, kLeaf7, 0xe7) == kAll);
  CHECK(features_from_cpuid(kLeaf1, kLeaf7, 0x07) ==
        (kCpuAvx2 | kCpuFma | kCpuF16c));  // zmm not saved
  CHECK(features_from_cpuid(kLeaf1, kLeaf7, 0x67) == (kCpuAvx2 | kCpuFma | kCpuF16c));
  CHECK(features_from_cpuid(kLeaf1, kLeaf7, 0x01) == 0);  // ymm not saved
  CHECK(features_from_cpuid(kLeaf1, 1u << 5, 0xe7) ==
        (kCpuAvx2 | kCpuFma | kCpuF16c));  // masked by a hypervisor
  CHECK(features_from_cpuid(0, kLeaf7, 0xe7) == 0);
  CHECK(vector_unit_bytes_from_cpuid(kAll, false, 0) == 64);
  CHECK(vector_unit_bytes_from_cpuid(kAll, true, 0x6) == 32);  // Zen 4
  CHECK(vector_unit_bytes_from_cpuid(kAll, true, 0xe) == 64);  // Zen 5's servers
  CHECK(vector_unit_bytes_from_cpuid(kCpuAvx2 | kCpuFma, true, 0x6) == 32);
  CHECK(vector_unit_bytes_from_cpuid(0, false, 0) == 16);
  const CpuInfo& cpu = cpu_info();
  CHECK(cpu.usable_threads >= 1);
  CHECK(cpu.physical_cores >= 1);
  CHECK(cpu.l1d_bytes >= 4096);
  CHECK(cpu.l2_bytes >= cpu.l1d_bytes);
}

TEST_CASE("the scratch ledger keeps entries apart and aligned") {
  ScratchLedger ledger;
  const int a = ledger.book("a", 100, true), b = ledger.book("b", 10, false),
            c = ledger.book("c", 1, true);
  CHECK(ledger.shared_bytes() == 64);
  CHECK(ledger.bytes_per_thread() == 192);
  CHECK(ledger.total_bytes(3) == 64 + 3 * 192);
  Workspace block(ledger.total_bytes(3));
  const Scratch scratch(ledger, block.data());
  std::set<char*> addresses;
  for (int thread = 0; thread < 3; ++thread) {
    for (int entry : {a, c}) {
      char* address = scratch.get<char>(entry, thread);
      CHECK(reinterpret_cast<uintptr_t>(address) % kScratchAlignment == 0);
      CHECK(addresses.insert(address).second);
    }
  }
  CHECK(scratch.get<char>(b, 0) == scratch.get<char>(b, 2));
  CHECK(addresses.insert(scratch.get<char>(b)).second);
  CHECK_THROWS_AS(ledger.book("huge", ~size_t{0} - 10, false), Error);
}

TEST_CASE("workspace blocks are reused within a budget and failures are errors") {
  clear_workspace_cache();
  void* first = nullptr;
  {
    Workspace block(5 << 20);
    first = block.data();
  }
  CHECK(workspace_cache_bytes() >= size_t{5} << 20);
  {
    Workspace block(5 << 20);
    CHECK(block.data() == first);
    CHECK(workspace_cache_bytes() == 0);
  }
  std::vector<std::thread> many;
  for (int i = 0; i < 32; ++i) {
    many.emplace_back([] {
      Workspace block(20 << 20);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
  }
  for (std::thread& one : many) one.join();
  CHECK(workspace_cache_bytes() <= size_t{512} << 20);
  clear_workspace_cache();
  CHECK(workspace_cache_bytes() == 0);

  {
    Workspace big(64 << 20);
  }
  {
    // Memory of a result may be kept for long: not in a block several times its size.
    Workspace result(17 << 20, "the result", Workspace::Fit::kTight);
    CHECK(workspace_cache_bytes() >= size_t{64} << 20);
    Workspace scratch(17 << 20);
    CHECK(workspace_cache_bytes() >= size_t{64} << 20);  // nor is scratch, from 3 times on
    Workspace third(22 << 20);
    CHECK(workspace_cache_bytes() == 0);
  }
  clear_workspace_cache();
  // Full, the cache drops what was released first.
  for (int i = 1; i <= 70; ++i) Workspace block(static_cast<size_t>(i) * 1000);
  const size_t full = workspace_cache_bytes();
  {
    Workspace newest(70 * 1000);
    CHECK(workspace_cache_bytes() < full);
  }
  {
    Workspace oldest(1000);
    CHECK(workspace_cache_bytes() == full);
  }
  clear_workspace_cache();

  const auto status_of = [](size_t bytes) {
    try {
      Workspace block(bytes);
      return Status::kOk;
    } catch (const Error& error) {
      return error.status();
    }
  };
  CHECK(status_of(size_t{1} << 62) == Status::kOutOfMemory);
  CHECK(status_of(~size_t{0}) == Status::kOutOfMemory);
  CHECK(Workspace(0).data() == nullptr);
}

}  // namespace
}  // namespace conv3d
