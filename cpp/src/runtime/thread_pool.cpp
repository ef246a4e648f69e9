#include "runtime/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/chunks.h"
#include "runtime/cpu_info.h"
#include "runtime/float_environment.h"
#include "runtime/fork.h"
#include "runtime/verbose.h"

#if defined(__unix__) || defined(__APPLE__)
#define CONV3D_POSIX 1
#include <pthread.h>
#include <signal.h>
#else
#define CONV3D_POSIX 0
#endif

namespace conv3d {
namespace {

// True while this thread runs chunks of a parallel_for: a nested one then runs inline.
thread_local bool t_inside = false;

std::atomic<bool> g_fail_creation{false};

inline void pause_briefly() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Long enough to bridge the gap between the calls of a network's layers (waking a thread takes 30
// to 50 microseconds on a virtual machine: 3 to 6 % of a training step of small layers), short
// against a scheduler's time slice and a container's quota.
constexpr std::chrono::microseconds kSpinTime{200};

using Clock = std::chrono::steady_clock;
// Until done(), or until `end`.
template <class Done>
void spin_until(Clock::time_point end, const Done& done) {
  constexpr int kPauses = 64;  // between looks at the clock
  do {
    for (int i = 0; i < kPauses; ++i) {
      if (done()) return;
      pause_briefly();
    }
  } while (Clock::now() < end);
}

// One parallel_for in flight; lives on its caller's stack.
struct Job {
  Job(RangeFn f, int64_t count, int64_t grain, int limit)
      : fn(f), chunks(count, grain, limit), threads(limit), mode(FloatEnvironment::current()) {}

  // Takes chunks until none are left.
  void work(int thread) {
    for (int64_t begin = 0, end = 0; chunks.take(&begin, &end);) {
      try {
        fn(begin, end, thread);
      } catch (...) {
        if (!failed.exchange(true)) error = std::current_exception();
        chunks.drop();
      }
    }
  }

  const RangeFn fn;
  Chunks chunks;
  const int threads;
  const FloatEnvironment::Word mode;
  std::atomic<bool> failed{false};
  std::exception_ptr error;  // written by the one that set `failed`, read after all have left
  // Guarded by State::mutex:
  int joined = 1;               // thread ids handed out; 0 is the caller's
  std::atomic<int> working{0};  // workers inside; written under the mutex
  Job* previous = nullptr;
  Job* following = nullptr;
};

// Everything that fork leaves unusable in the child. Never freed: workers may be inside at exit.
struct State {
  std::mutex mutex;
  std::condition_variable work_available, job_done;
  Job* jobs = nullptr;  // a list of those with thread ids left
  int workers = 0, sleeping = 0;
  bool creation_failed = false;
  std::atomic<unsigned> epoch{0};  // counts published jobs: what spinning workers look at
};

std::atomic<State*> g_state{nullptr};

void unlink(State* state, Job* job) {
  if (job->previous != nullptr) {
    job->previous->following = job->following;
  } else if (state->jobs == job) {
    state->jobs = job->following;
  } else {
    return;  // not listed
  }
  if (job->following != nullptr) job->following->previous = job->previous;
  job->previous = job->following = nullptr;
}

void worker_main(State* state) {
  t_inside = true;
  unsigned seen = 0;
  Clock::time_point awake{};  // until when it looks for work
  std::unique_lock<std::mutex> lock(state->mutex);
  while (true) {
    Job* job = state->jobs;
    if (job != nullptr) {
      const int thread = job->joined++;
      if (job->joined >= job->threads) unlink(state, job);
      job->working.fetch_add(1, std::memory_order_relaxed);
      lock.unlock();
      {
        FloatEnvironment environment(job->mode);
        job->work(thread);
      }
      awake = Clock::now() + kSpinTime;
      lock.lock();
      // The last touch of *job: its owner may return as soon as it sees zero under the mutex.
      if (job->joined < job->threads) unlink(state, job);  // out of chunks: nobody else need look
      job->joined = job->threads;
      if (job->working.fetch_sub(1, std::memory_order_release) == 1) state->job_done.notify_all();
      continue;
    }
    seen = state->epoch.load(std::memory_order_relaxed);
    lock.unlock();
    spin_until(awake, [&] { return state->epoch.load(std::memory_order_relaxed) != seen; });
    lock.lock();
    if (state->jobs != nullptr) continue;
    // A job that others have finished already does not send a worker to sleep.
    if (state->epoch.load(std::memory_order_relaxed) != seen && Clock::now() < awake) continue;
    ++state->sleeping;
    state->work_available.wait(lock, [state] { return state->jobs != nullptr; });
    --state->sleeping;
  }
}

// The forking thread holds the mutex across fork, so the list is whole; the child starts with a
// fresh state, because its threads are gone and condition variables remember waiters that do not
// exist there. The old one is leaked on purpose.
State* g_forking = nullptr;
void before_fork() {
  State* state = g_state.load();
  if (state != nullptr) state->mutex.lock();
  g_forking = state;
}
void after_fork_in_parent() {
  if (g_forking != nullptr) g_forking->mutex.unlock();
}
void after_fork_in_child() { g_state.store(nullptr); }

State* state_of_process() {
  State* state = g_state.load(std::memory_order_acquire);
  if (state != nullptr) return state;
  State* fresh = new State;
  if (g_state.compare_exchange_strong(state, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return state;
}

// Blocks all signals of this thread, whose new threads inherit that, until its end.
class SignalsBlocked {
 public:
#if CONV3D_POSIX
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
#else
  SignalsBlocked() {}
#endif
};

// Adds workers up to `wanted`; called with the mutex held. Workers block all signals: those
// belong to the application. Returns what there is to say once the mutex is free, if anything.
std::string add_workers(State* state, int wanted) {
  if (state->workers >= wanted || state->creation_failed) return {};
  const SignalsBlocked signals;
  while (state->workers < wanted) {
    try {
      if (g_fail_creation.load())
        throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
      std::thread(worker_main, state).detach();
      ++state->workers;
    } catch (const std::exception& error) {
      state->creation_failed = true;
      try {
        return "no more than " + std::to_string(state->workers + 1) + " thread(s) can be had (" +
               error.what() + "); working with those";
      } catch (const std::bad_alloc&) {  // no memory for words either: work goes on without them
        return {};
      }
    }
  }
  return {};
}

// A notice that nothing depends on: the job at hand goes on in any case.
void say(const std::string& complaint) {
  try {
    notice(complaint);
  } catch (...) {  // the sink is the application's
  }
}

class OwnPool final : public ThreadPool {
 public:
  int max_threads() const override { return kMaxThreads; }

  void parallel_for(int64_t n, int64_t grain, int threads, RangeFn fn) override {
    if (n <= 0) return;
    grain = std::max<int64_t>(grain, 1);
    threads = static_cast<int>(
        std::min<int64_t>(std::clamp(threads, 1, kMaxThreads), (n - 1) / grain + 1));
    if (threads == 1 || t_inside) {
      run_inline(n, fn);
      return;
    }
    Job job(fn, n, grain, threads);
    State* state = state_of_process();
    std::string complaint;
    {
      std::lock_guard<std::mutex> lock(state->mutex);
      complaint = add_workers(state, threads - 1);
      if (state->workers > 0) {
        job.following = state->jobs;
        if (state->jobs != nullptr) state->jobs->previous = &job;
        state->jobs = &job;
        state->epoch.fetch_add(1, std::memory_order_relaxed);
        const int wake = std::min(threads - 1, state->sleeping);
        if (wake == state->sleeping && wake > 0) {
          state->work_available.notify_all();
        } else {
          for (int i = 0; i < wake; ++i) state->work_available.notify_one();
        }
      }
    }
    if (!complaint.empty()) say(complaint);
    t_inside = true;
    job.work(0);
    t_inside = false;
    {
      std::lock_guard<std::mutex> lock(state->mutex);
      unlink(state, &job);
      job.joined = job.threads;
    }
    spin_until(Clock::now() + kSpinTime,
               [&] { return job.working.load(std::memory_order_relaxed) == 0; });
    {
      std::unique_lock<std::mutex> lock(state->mutex);
      state->job_done.wait(lock,
                           [&job] { return job.working.load(std::memory_order_acquire) == 0; });
    }
    if (job.failed.load()) std::rethrow_exception(job.error);
  }

 private:
  static void run_inline(int64_t n, const RangeFn& fn) {
    const bool before = t_inside;
    t_inside = true;
    try {
      fn(0, n, 0);
    } catch (...) {
      t_inside = before;
      throw;
    }
    t_inside = before;
  }
};

// A variable's thread count, or 0 with a line of complaint if it is set to something else.
int threads_from_environment(const char* name, bool first_of_list,
                             std::vector<std::string>* complaints) {
  const char* text = std::getenv(name);
  if (text == nullptr) return 0;
  std::string value(text);
  // OMP_NUM_THREADS may be a list, one number per nesting level.
  if (first_of_list) value = value.substr(0, value.find(','));
  const int threads = parse_threads(value.c_str());
  if (threads == 0 && !(first_of_list && value.empty())) {
    complaints->push_back(std::string(name) + " is '" + text + "'; a number from 1 to " +
                          std::to_string(kMaxThreads) + " is accepted, so the default is used");
  }
  return threads;
}

struct Defaults {
  int threads;
  std::vector<std::string> complaints;
};

FirstUse<OwnPool> g_pool;
FirstUse<const Defaults> g_defaults;
FirstUse<std::atomic<int>> g_chosen_threads;
std::atomic<bool> g_complained{false};

std::atomic<int>& chosen_threads() {
  const int threads = default_num_threads();
  return g_chosen_threads.get([threads] { return std::atomic<int>(threads); });
}

}  // namespace

void publish_streamed_stores() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_sfence();
#endif
}

const ForkHandlers kThreadPoolForkHandlers = {before_fork, after_fork_in_parent,
                                              after_fork_in_child};

ThreadPool& default_thread_pool() {
  return g_pool.get([] { return OwnPool(); });
}

int default_num_threads() {
  const Defaults& defaults = g_defaults.get([] {
    Defaults d{};
    d.threads = threads_from_environment("CONV3D_NUM_THREADS", false, &d.complaints);
    if (d.threads == 0)
      d.threads = threads_from_environment("OMP_NUM_THREADS", true, &d.complaints);
    if (d.threads == 0)
      d.threads = std::max(1, std::min(cpu_info().usable_threads, cpu_info().physical_cores));
    d.threads = std::min(d.threads, kMaxThreads);
    return d;
  });
  if (!defaults.complaints.empty() && !g_complained.exchange(true))
    for (const std::string& line : defaults.complaints) notice(line);
  return defaults.threads;
}

int get_num_threads() { return chosen_threads().load(std::memory_order_relaxed); }

void set_num_threads(int threads) {
  chosen_threads().store(std::clamp(threads, 1, kMaxThreads), std::memory_order_relaxed);
  // A new wish is a reason to try again where threads could not be had before.
  if (State* state = g_state.load()) {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->creation_failed = false;
  }
}

void fail_thread_creation_for_testing(bool fail) { g_fail_creation.store(fail); }

}  // namespace conv3d
