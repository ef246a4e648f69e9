// Execution allocates nothing: operator new is counted while each algorithm runs on problems that
// take its different ways.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "emulation/tables.h"
#include "kernels/dispatch.h"
#include "problem_sets.h"
#include "run_algorithm.h"
#include "runtime/cpu_info.h"

namespace {

std::atomic<bool> g_counting{false};
std::atomic<long> g_allocations{0};

void* allocate(std::size_t bytes) {
  if (g_counting.load()) ++g_allocations;
  void* memory = std::malloc(bytes != 0 ? bytes : 1);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

using namespace conv3d;
using namespace conv3d::testing;

TEST_CASE("no algorithm allocates while it executes") {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  ThreadPool& pool = default_thread_pool();
  const AlgorithmList list = algorithm_list();
  // Channels of a whole vector and of a part, few results, strides with phases and without taps,
  // dilation, one tap, groups, as many groups as channels; long rows.
  const char* const problems[] = {"mb2_ic32id6ih9iw13_oc48_kd3kh3kw3_sd1sh1sw1_same",
                                  "mb1_ic5id5ih6iw40_oc19_kd3kh3kw3_sd1sh1sw1_same",
                                  "mb1_ic40id5ih6iw7_oc2_kd3kh3kw3_sd1sh1sw1_same",
                                  "mb1_ic3id9ih9iw30_oc16_kd3kh3kw3_sd2sh2sw2_same",
                                  "mb1_ic3id9ih9iw9_oc16_kd2kh2kw2_sd3sh3sw3_same",
                                  "mb1_ic24id9ih9iw9_oc24_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2_same",
                                  "mb2_ic130id5ih6iw7_oc48_kd1kh1kw1_sd1sh1sw1_same",
                                  "mb2_g2ic16id5ih6iw7_oc32_kd3kh3kw3_sd1sh1sw1_same",
                                  "mb2_g20ic20id5ih6iw7_oc20_kd3kh3kw3_sd1sh1sw1_same",
                                  "mb1_ic16id2ih3iw2000_oc16_kd1kh1kw3_sd1sh1sw1_same"};
  int served = 0;
  for (const char* text : problems) {
    for (Direction direction :
         {Direction::kForward, Direction::kBackwardInput, Direction::kBackwardFilter}) {
      for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
        ProblemSpec spec = parse_problem(text);
        spec.direction = direction;
        spec.layout = layout;
        spec.with_bias = direction != Direction::kBackwardFilter;
        const Problem p = make_problem(spec);
        const Tensors<float> tensors(p);
        for (int i = 0; i < list.size; ++i) {
          const Algorithm& algorithm = *list.items[i];
          if (!algorithm.why_not(p, context).empty()) continue;
          ++served;
          const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
          for (int threads : {1, 3}) {
            Block packed(prepared->packed_filter_bytes());
            if (direction != Direction::kBackwardFilter)
              prepared->pack_filter(tensors.filter.data(), packed.data(), pool, threads);
            Block scratch(prepared->ledger().total_bytes(threads));
            Block result(static_cast<size_t>(result_elements(p)) * sizeof(float));
            Buffers buffers;
            buffers.input = tensors.input.data();
            buffers.grad_output = tensors.grad_output.data();
            buffers.packed_filter = packed.data();
            buffers.bias = p.with_bias ? tensors.bias.data() : nullptr;
            buffers.result = result.data();
            buffers.batch = p.mb;
            const Scratch view(prepared->ledger(), scratch.data());
            // Once before, for what the pool and the processor's record make at first use.
            prepared->execute(buffers, view, pool, threads);
            g_allocations = 0;
            g_counting = true;
            prepared->execute(buffers, view, pool, threads);
            g_counting = false;
            INFO(p.to_string(), " ", std::string(algorithm.name()), " threads ", threads);
            CHECK(g_allocations.load() == 0);
          }
        }
      }
    }
  }
  CHECK(served > 100);
}
