// api/: the C interface and its C++ face, as a user sees them: no header of the inside
// is included here.
#include <doctest/doctest.h>

#include <conv3d/conv3d.hpp>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

conv3d::ProblemDesc small_desc() {
  conv3d::ProblemDesc d;
  d.input_channels = 2;
  d.output_channels = 3;
  for (int a = 0; a < 3; ++a) {
    d.input[a] = 4;
    d.kernel[a] = 3;
  }
  d.padding = CONV3D_SAME;
  return d;
}

TEST_CASE("a convolution through the C++ face") {
  const conv3d::Problem problem(small_desc());
  CHECK(problem.output() == conv3d::Extent3{4, 4, 4});
  CHECK(problem.text().find("ic2") != std::string::npos);
  const conv3d::Plan plan(problem, "reference");
  const std::vector<float> input(4 * 4 * 4 * 2, 1.0f), filter(27 * 2 * 3, 1.0f);
  std::vector<float> output(4 * 4 * 4 * 3, -1.0f), packed_output(output.size());
  conv3d::Buffers b;
  b.batch = 1;
  b.input = input.data();
  b.filter = filter.data();
  b.result = output.data();
  plan.execute(b);
  CHECK(output[0] == 2 * 8);                           // a corner sees eight voxels
  CHECK(output[((1 * 4 + 1) * 4 + 1) * 3] == 2 * 27);  // the inside all of them
  const conv3d::PackedFilter packed = plan.pack(filter.data());
  CHECK(packed.bytes() > 0);
  CHECK(plan.accepts(packed));
  b.filter = nullptr;
  b.packed_filter = packed.get();
  b.result = packed_output.data();
  plan.execute(b);
  CHECK(output == packed_output);
  const conv3d_plan_info info = plan.info();
  CHECK(info.algorithm == std::string("reference"));
  CHECK(info.effective_flops > 0);
  CHECK(plan.candidates().size() == static_cast<std::size_t>(info.candidates));
}

TEST_CASE("the caller's own threads") {
  int calls = 0;
  conv3d::ThreadPool pool(2, [&calls](int tasks, const std::function<void(int)>& task) {
    ++calls;
    std::vector<std::thread> team;
    for (int i = 0; i < tasks; ++i) team.emplace_back(task, i);
    for (std::thread& member : team) member.join();
  });
  conv3d::ProblemDesc d = small_desc();
  d.input[0] = 64;
  const conv3d::Plan plan{conv3d::Problem(d), "reference"};
  const std::vector<float> input(64 * 4 * 4 * 2, 1.0f), filter(27 * 2 * 3, 1.0f);
  std::vector<float> own(64 * 4 * 4 * 3), callers(own.size());
  conv3d::Buffers b;
  b.batch = 1;
  b.input = input.data();
  b.filter = filter.data();
  b.result = own.data();
  plan.execute(b);
  CHECK(calls == 0);
  b.result = callers.data();
  b.pool = pool.get();
  plan.execute(b);
  CHECK(calls > 0);
  CHECK(own == callers);
}

template <class F>
conv3d_status status_of(F body) {
  try {
    body();
    return CONV3D_OK;
  } catch (const conv3d::Error& error) {
    CHECK(std::string(error.what()).size() > 5);
    return error.status();
  }
}

TEST_CASE("errors carry a status and a message") {
  conv3d::ProblemDesc d = small_desc();
  d.stride[1] = 0;
  CHECK(status_of([&] { conv3d::Problem{d}; }) == CONV3D_INVALID_ARGUMENT);
  CHECK(std::string(conv3d_last_error()).find("strides") != std::string::npos);
  d = small_desc();
  d.batch = INT64_MAX;
  CHECK(status_of([&] { conv3d::Problem{d}; }) == CONV3D_OUT_OF_MEMORY);
  CHECK(status_of([&] { conv3d::Plan(conv3d::Problem(small_desc()), "nothing"); }) ==
        CONV3D_INVALID_ARGUMENT);
  CHECK(conv3d_problem_create(nullptr, nullptr) == CONV3D_INVALID_ARGUMENT);
  CHECK(conv3d_plan_create(nullptr, nullptr, nullptr) == CONV3D_INVALID_ARGUMENT);
  CHECK(conv3d_plan_execute(nullptr, nullptr) == CONV3D_INVALID_ARGUMENT);
  conv3d_problem_destroy(nullptr);
  conv3d_plan_destroy(nullptr);
  conv3d_packed_filter_destroy(nullptr);
  conv3d_thread_pool_destroy(nullptr);
  const conv3d::Plan plan{conv3d::Problem(small_desc())};
  conv3d::Buffers b;
  b.batch = 1;
  CHECK(status_of([&] { plan.execute(b); }) == CONV3D_INVALID_ARGUMENT);
  b.num_threads = -1;
  CHECK(status_of([&] { plan.execute(b); }) == CONV3D_INVALID_ARGUMENT);
  conv3d_candidate candidate;
  CONV3D_INIT(candidate);
  CHECK(conv3d_plan_get_candidate(plan.get(), 10000, &candidate) == CONV3D_INVALID_ARGUMENT);
  CHECK(conv3d_plan_get_candidate(plan.get(), -1, &candidate) == CONV3D_INVALID_ARGUMENT);
  conv3d_thread_pool_desc pool_desc;
  CONV3D_INIT(pool_desc);
  conv3d_thread_pool* pool = nullptr;
  CHECK(conv3d_thread_pool_create(&pool_desc, &pool) == CONV3D_INVALID_ARGUMENT);
  CHECK(conv3d_check_memory(SIZE_MAX, "a tensor") == CONV3D_OUT_OF_MEMORY);
  CHECK(std::string(conv3d_last_error()).find("a tensor") != std::string::npos);
}

TEST_CASE("messages belong to threads") {
  CHECK(conv3d_plan_create(nullptr, nullptr, nullptr) != CONV3D_OK);
  const std::string mine = conv3d_last_error();
  std::thread([] { CHECK(std::string(conv3d_last_error()).empty()); }).join();
  CHECK(mine == conv3d_last_error());
}

TEST_CASE("structs of other versions") {
  // Without a size nothing is believed.
  conv3d_problem_desc d{};
  conv3d_problem* problem = nullptr;
  CHECK(conv3d_problem_create(&d, &problem) == CONV3D_INVALID_ARGUMENT);
  // An older, shorter info struct is filled as far as it goes.
  const conv3d::Problem p(small_desc());
  conv3d_problem_info info;
  std::memset(&info, 0x55, sizeof info);
  info.size = offsetof(conv3d_problem_info, flops);
  conv3d_problem_info before = info;
  CHECK(conv3d_problem_get_info(p.get(), &info) == CONV3D_OK);
  CHECK(info.output[2] == 4);
  CHECK(std::memcmp(&info.flops, &before.flops, sizeof info.flops) == 0);
  // A newer, longer description: what we do not know is ignored.
  struct Longer {
    conv3d_problem_desc known;
    char more[64];
  } longer{};
  longer.known = small_desc();
  longer.known.size = sizeof longer;
  CHECK(conv3d_problem_create(&longer.known, &problem) == CONV3D_OK);
  conv3d_problem_destroy(problem);
}

TEST_CASE("threads, machine and version") {
  const int before = conv3d_get_num_threads();
  CHECK(before >= 1);
  conv3d_set_num_threads(3);
  CHECK(conv3d_get_num_threads() == 3);
  conv3d_set_num_threads(-5);
  CHECK(conv3d_get_num_threads() == 1);
  conv3d_set_num_threads(1 << 30);
  CHECK(conv3d_get_num_threads() == 1024);
  conv3d_set_num_threads(before);
  CHECK(std::string(conv3d_version()) == CONV3D_VERSION_STRING);
  const conv3d_machine_info info = conv3d::machine_info();
  CHECK(std::string(info.available_isas).find(info.isa) != std::string::npos);
  CHECK(std::string(info.algorithms).find("reference") != std::string::npos);
}

TEST_CASE("a line per call, through the sink") {
  static std::vector<std::string> lines;
  conv3d_set_verbose_sink([](const char* line, void*) { lines.push_back(line); }, nullptr);
  conv3d_set_verbose(1);
  const conv3d::Plan plan{conv3d::Problem(small_desc())};
  const std::vector<float> input(4 * 4 * 4 * 2, 1.0f), filter(27 * 2 * 3, 1.0f);
  std::vector<float> output(4 * 4 * 4 * 3);
  conv3d::Buffers b;
  b.batch = 1;
  b.input = input.data();
  b.filter = filter.data();
  b.result = output.data();
  plan.execute(b);
  conv3d_set_verbose(0);
  plan.execute(b);
  conv3d_set_verbose_sink(nullptr, nullptr);
  CHECK(lines.size() == 1);
  CHECK(lines[0].find("exec,") == 0);
  CHECK(lines[0].find("ic2") != std::string::npos);
}

}  // namespace
