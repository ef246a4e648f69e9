#include "runtime/verbose.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime/fork.h"

namespace conv3d {
namespace {

struct Sink {
  VerboseSink call;
  void* context;
  const Sink* earlier;
};

std::atomic<const Sink*> g_sink{nullptr};
// All that were ever set: a former sink may be in use by another thread, so none is freed, and one
// that is set again is found here.
std::atomic<const Sink*> g_known{nullptr};

const Sink* known_sink(VerboseSink call, void* context) {
  const Sink* newest = g_known.load(std::memory_order_acquire);
  for (const Sink* sink = newest; sink != nullptr; sink = sink->earlier) {
    if (sink->call == call && sink->context == context) return sink;
  }
  Sink* const fresh = new Sink{call, context, newest};
  while (!g_known.compare_exchange_weak(fresh->earlier, fresh, std::memory_order_acq_rel)) {
  }
  return fresh;
}

bool wanted_by_environment() {
  const char* text = std::getenv("CONV3D_VERBOSE");
  return text != nullptr && *text != 0 && std::strcmp(text, "0") != 0;
}

FirstUse<std::atomic<bool>> g_flag;
std::atomic<bool>& flag() {
  return g_flag.get([] { return std::atomic<bool>(wanted_by_environment()); });
}

void write(const std::string& line) {
  const Sink* sink = g_sink.load(std::memory_order_acquire);
  if (sink != nullptr) {
    sink->call(line.c_str(), sink->context);
  } else {
    std::fprintf(stderr, "conv3d: %s\n", line.c_str());
  }
}

}  // namespace

void set_verbose_sink(VerboseSink sink, void* context) {
  g_sink.store(sink != nullptr ? known_sink(sink, context) : nullptr, std::memory_order_release);
}

void set_verbose(bool on) { flag().store(on, std::memory_order_relaxed); }
bool verbose() { return flag().load(std::memory_order_relaxed); }

void verbose_line(const std::string& line) {
  if (verbose()) write(line);
}

void notice(const std::string& line) { write(line); }

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace conv3d
