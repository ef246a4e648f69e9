// runtime/: the first call of a process, which builds what is built once: fork while another thread
// makes it, and complaints that it has. Apart from the other tests, because this process itself
// must use nothing of the library: each child of it is a process that has not begun.
#include <doctest/doctest.h>

#include <conv3d/conv3d.hpp>

// The thread sanitizer refuses new threads after a fork from a process with threads.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_THREAD__)
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

// All that a process does with the library, two threads included.
bool convolve() {
  conv3d::ProblemDesc d;
  d.input_channels = d.output_channels = 16;
  for (int a = 0; a < 3; ++a) {
    d.input[a] = 12;
    d.kernel[a] = 3;
  }
  d.padding = CONV3D_SAME;
  const conv3d::Plan plan{conv3d::Problem(d)};
  const std::vector<float> input(12 * 12 * 12 * 16, 1.0f), filter(27 * 16 * 16, 1.0f);
  std::vector<float> output(input.size());
  conv3d::Buffers b;
  b.batch = 1;
  b.input = input.data();
  b.filter = filter.data();
  b.result = output.data();
  b.num_threads = 2;
  plan.execute(b);
  return output[0] > 127.9f && output[0] < 128.1f;  // a corner sees eight voxels of 16 channels
}

// What became of the grandchild that a child forked `delay` after another of its threads began:
// 0 if all was well. A deadlock ends by SIGALRM.
int status_of_grandchild(std::chrono::microseconds delay) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    bool well = false;
    std::thread first([&] { well = convolve(); });
    const auto end = std::chrono::steady_clock::now() + delay;
    while (std::chrono::steady_clock::now() < end) {
    }
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      alarm(10);
      _exit(convolve() ? 0 : 1);
    }
    first.join();
    int status = 0;
    const bool seen = waitpid(grandchild, &status, 0) == grandchild;
    _exit(well && seen && status == 0 ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}

int g_lines = 0;

}  // namespace

TEST_CASE("what is wrong with the environment is said once, to a sink that uses the library") {
  const pid_t child = fork();
  if (child == 0) {
    alarm(30);
    setenv("CONV3D_NUM_THREADS", "abc", 1);
    setenv("OMP_NUM_THREADS", "2", 1);
    conv3d_set_verbose_sink(
        [](const char*, void*) {
          ++g_lines;
          if (conv3d_get_num_threads() != 2 || !convolve()) _exit(2);
        },
        nullptr);
    const bool well = conv3d_get_num_threads() == 2 && convolve() && g_lines == 1;
    _exit(well ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("fork during the first call of a process") {
  for (int round = 0; round < 600; ++round) {
    CAPTURE(round);
    REQUIRE(status_of_grandchild(std::chrono::microseconds(round * 7 % 1500)) == 0);
  }
}
#endif
