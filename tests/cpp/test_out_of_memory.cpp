// Every allocation of the library fails in turn, C++'s own (operator new is replaced here) and
// those of scratch: the status says so, nothing leaks, the process is left as it was, and the next
// call works. Also from a process's very first call on.
#include <conv3d/conv3d.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "runtime/workspace.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#define CONV3D_TEST_POSIX 1
#else
#define CONV3D_TEST_POSIX 0
#endif

namespace {

std::atomic<long> g_live{0}, g_until_failure{-1};
std::atomic<bool> g_fail_all_later{false};

void* allocate(std::size_t bytes) {
  if (g_until_failure.load() >= 0) {
    const long left = g_until_failure.fetch_sub(1);
    if (left == 0 && g_fail_all_later.load()) g_until_failure.store(0);
    if (left == 0) throw std::bad_alloc();
  }
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  ++g_live;
  return memory;
}

void release(void* memory) {
  if (memory == nullptr) return;
  --g_live;
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
// A sanitizer's own forms of these would not be ours.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return allocate(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t bytes, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, tag);
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }

namespace {

struct Case {
  conv3d_direction direction;
  conv3d_dtype dtype;
  conv3d_layout layout;
  int64_t channels;
};

// Problem, plan, packed filter, execution, pooling: everything that is made is destroyed. Returns
// the first bad status.
conv3d_status whole_life(const Case& c, const void* ones, void* result) {
  conv3d_problem_desc d;
  CONV3D_INIT(d);
  d.direction = c.direction;
  d.dtype = c.dtype;
  d.layout = c.layout;
  d.padding = CONV3D_SAME;
  d.batch = 2;
  d.groups = 1;
  d.input_channels = d.output_channels = c.channels;
  for (int a = 0; a < 3; ++a) {
    d.input[a] = 7;
    d.kernel[a] = 3;
    d.stride[a] = d.dilation[a] = 1;
  }
  conv3d_problem* problem = nullptr;
  conv3d_plan* plan = nullptr;
  conv3d_packed_filter* packed = nullptr;
  conv3d_status status = conv3d_problem_create(&d, &problem);
  if (status == CONV3D_OK) status = conv3d_plan_create(problem, "auto", &plan);
  if (status == CONV3D_OK && c.direction != CONV3D_BACKWARD_FILTER) {
    status = conv3d_plan_pack_filter(plan, ones, &packed);
  }
  for (int turn = 0; status == CONV3D_OK && turn < 2; ++turn) {
    conv3d_buffers b;
    CONV3D_INIT(b);
    b.batch = 2;
    if (c.direction != CONV3D_BACKWARD_INPUT) b.input = ones;
    if (c.direction != CONV3D_FORWARD) b.grad_output = ones;
    b.packed_filter = turn == 0 ? packed : nullptr;
    b.filter = turn == 0 && packed != nullptr ? nullptr : ones;
    b.result = result;
    b.num_threads = 3;
    status = conv3d_plan_execute(plan, &b);
  }
  if (status == CONV3D_OK) {
    conv3d_pool_desc p;
    CONV3D_INIT(p);
    p.kind = CONV3D_MAX_POOLING;
    p.dtype = c.dtype;
    p.layout = c.layout;
    p.batch = 2;
    p.channels = c.channels;
    for (int a = 0; a < 3; ++a) {
      p.input[a] = 7;
      p.window[a] = 2;
      p.stride[a] = 2;
    }
    std::vector<char>* pooled = nullptr;  // the test's own memory must not fail
    const long until = g_until_failure.exchange(-1);
    pooled = new std::vector<char>(static_cast<std::size_t>(2 * 343 * c.channels) * 8);
    g_until_failure.store(until);
    status = conv3d_pool_forward(&p, ones, pooled->data(), 3, nullptr);
    delete pooled;
  }
  conv3d_packed_filter_destroy(packed);
  conv3d_plan_destroy(plan);
  conv3d_problem_destroy(problem);
  return status;
}

// Enough bytes for any tensor of a Case: zeros, so that every result is zero in any dtype.
constexpr std::size_t kBytes = std::size_t{8} * 27 * 48 * 48;

#if CONV3D_TEST_POSIX
sigset_t blocked_signals() {
  sigset_t set;
  sigemptyset(&set);
  pthread_sigmask(SIG_BLOCK, nullptr, &set);
  return set;
}
#endif

#if CONV3D_TEST_POSIX
// Of a new process whose n-th allocation and all later ones fail: 0 if all was well, an exit status
// of 100 if there were not so many. A hang ends by SIGALRM.
int status_of_child(long n, const void* zeros, void* result) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    const Case c{CONV3D_FORWARD, CONV3D_FLOAT32, CONV3D_CHANNELS_LAST, 8};
    const sigset_t mask = blocked_signals();
    g_fail_all_later = true;
    g_until_failure = n;
    const conv3d_status status = whole_life(c, zeros, result);
    const bool failed = g_until_failure.exchange(-1) <= 0;
    const sigset_t after = blocked_signals();
    if (status != CONV3D_OK && status != CONV3D_OUT_OF_MEMORY) _exit(1);
    if (sigismember(&after, SIGTERM) != sigismember(&mask, SIGTERM)) _exit(2);
    if (whole_life(c, zeros, result) != CONV3D_OK) _exit(3);
    const pid_t inner = fork();
    if (inner == 0) {
      alarm(60);
      _exit(whole_life(c, zeros, result) == CONV3D_OK ? 0 : 1);
    }
    int code = 0;
    if (waitpid(inner, &code, 0) != inner || code != 0) _exit(4);
    _exit(failed ? 0 : 100);
  }
  int code = 0;
  waitpid(pid, &code, 0);
  return code;
}

// The first test of this file: until it ends, this process has used nothing of the library.
TEST_CASE("allocations fail from the first call of a process on") {
  const std::vector<char> zeros(kBytes);
  std::vector<char> result(kBytes);
  int failures = 0;
  for (long n = 0; n < 2000; ++n) {
    const int code = status_of_child(n, zeros.data(), result.data());
    if (WIFEXITED(code) && WEXITSTATUS(code) == 100) break;  // so many allocations are not made
    CAPTURE(n);
    CHECK(code == 0);
    ++failures;
  }
  CHECK(failures > 0);
  CHECK(failures < 2000);
}
#endif

TEST_CASE("every allocation fails in turn") {
  const std::vector<char> zeros(kBytes);
  std::vector<char> result(kBytes);
  for (const Case& c : {Case{CONV3D_FORWARD, CONV3D_FLOAT32, CONV3D_CHANNELS_LAST, 32},
                        Case{CONV3D_FORWARD, CONV3D_FLOAT16, CONV3D_CHANNELS_FIRST, 5},
                        Case{CONV3D_BACKWARD_INPUT, CONV3D_FLOAT32, CONV3D_CHANNELS_FIRST, 20},
                        Case{CONV3D_BACKWARD_FILTER, CONV3D_FLOAT64, CONV3D_CHANNELS_LAST, 9},
                        Case{CONV3D_BACKWARD_FILTER, CONV3D_BFLOAT16, CONV3D_CHANNELS_LAST, 17}}) {
    CAPTURE(static_cast<int>(c.direction));
    CAPTURE(static_cast<int>(c.dtype));
    REQUIRE(whole_life(c, zeros.data(), result.data()) == CONV3D_OK);
    for (bool scratch : {false, true}) {
      for (bool all_later : {false, true}) {
        int failures = 0;
        for (long n = 0; n < 5000; ++n) {
          conv3d_clear_workspace_cache();
          const long live = g_live;
#if CONV3D_TEST_POSIX
          const sigset_t mask = blocked_signals();
#endif
          g_fail_all_later = all_later;
          if (scratch) {
            conv3d::fail_allocation_for_testing(n);
          } else {
            g_until_failure = n;
          }
          const conv3d_status status = whole_life(c, zeros.data(), result.data());
          conv3d::fail_allocation_for_testing(-1);
          g_until_failure = -1;
          const long left = g_live - live;
          CAPTURE(n);
          CHECK(left == 0);
#if CONV3D_TEST_POSIX
          const sigset_t after = blocked_signals();
          CHECK(sigismember(&after, SIGTERM) == sigismember(&mask, SIGTERM));
#endif
          if (status == CONV3D_OK) break;
          ++failures;
          REQUIRE(status == CONV3D_OUT_OF_MEMORY);
          CHECK(std::strlen(conv3d_last_error()) > 5);
          REQUIRE(whole_life(c, zeros.data(), result.data()) == CONV3D_OK);
        }
        CHECK(failures > 0);
        CHECK(failures < 5000);
      }
    }
  }
}

}  // namespace
