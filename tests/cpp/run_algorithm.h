// Runs one algorithm on one problem with data made from small integers, for comparison with the
// reference.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "algorithms/algorithm.h"
#include "guarded.h"
#include "problem/problem.h"
#include "runtime/thread_pool.h"

namespace conv3d::testing {

// Memory aligned to kScratchAlignment that ends in bytes no algorithm may touch.
class Block {
 public:
  explicit Block(size_t bytes)
      : bytes_(bytes), memory_(bytes + 2 * kScratchAlignment, static_cast<char>(0xa5)) {}
  void* data() {
    const auto at = reinterpret_cast<uintptr_t>(memory_.data());
    return reinterpret_cast<void*>((at + kScratchAlignment - 1) / kScratchAlignment *
                                   kScratchAlignment);
  }
  template <class T>
  T* as() {
    return static_cast<T*>(data());
  }
  bool intact() {
    const char* end = static_cast<char*>(data()) + bytes_;
    for (; end < memory_.data() + memory_.size(); ++end)
      if (*end != static_cast<char>(0xa5)) return false;
    return true;
  }

 private:
  size_t bytes_;
  std::vector<char> memory_;
};

inline int64_t result_elements(const Problem& p) {
  switch (p.direction) {
    case Direction::kForward: return p.output_elements();
    case Direction::kBackwardInput: return p.input_elements();
    default: return p.filter_elements();
  }
}

template <class T>
struct Tensors {
  std::vector<T> input, grad_output, filter, bias;

  // Whole numbers of magnitude at most 3: sums of thousands of products are exact in float32.
  explicit Tensors(const Problem& p, unsigned seed = 1, bool whole = true) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> integer(-3, 3);
    std::normal_distribution<double> normal;
    const auto fill = [&](std::vector<T>* v, int64_t n) {
      v->resize(static_cast<size_t>(n));
      for (T& x : *v) x = static_cast<T>(whole ? integer(random) : normal(random));
    };
    fill(&input, p.input_elements());
    fill(&grad_output, p.output_elements());
    fill(&filter, p.filter_elements());
    fill(&bias, p.direction == Direction::kBackwardInput ? p.ic : p.oc);
  }
};

// The computed tensor, of batch p.mb. Throws std::runtime_error if memory beyond a buffer was
// written.
template <class T>
std::vector<T> run_algorithm(const Algorithm& algorithm, const Problem& p,
                             const PlanContext& context, const Tensors<T>& tensors,
                             int threads = 1) {
  ThreadPool& pool = default_thread_pool();
  const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
  Block packed(prepared->packed_filter_bytes());
  if (p.direction != Direction::kBackwardFilter)
    prepared->pack_filter(tensors.filter.data(), packed.data(), pool, threads);
  Block scratch(prepared->ledger().total_bytes(threads));
  Block result(static_cast<size_t>(result_elements(p)) * sizeof(T));
  Buffers buffers;
  buffers.input = tensors.input.data();
  buffers.grad_output = tensors.grad_output.data();
  buffers.packed_filter = packed.data();
  buffers.bias = p.with_bias ? tensors.bias.data() : nullptr;
  buffers.result = result.data();
  buffers.batch = p.mb;
  prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), pool, threads);
  if (!packed.intact() || !scratch.intact() || !result.intact())
    throw std::runtime_error("written beyond a buffer");
  return std::vector<T>(result.as<T>(), result.as<T>() + result_elements(p));
}

// run_algorithm between pages that nobody may touch. Throws std::runtime_error if what lies between
// a buffer and its page was written.
inline std::vector<float> run_guarded(const Prepared& prepared, const Problem& p,
                                      const Tensors<float>& tensors, int threads, Wall wall) {
  const Guarded input(tensors.input.size() * sizeof(float), sizeof(float), wall);
  const Guarded gradient(tensors.grad_output.size() * sizeof(float), sizeof(float), wall);
  const Guarded result(static_cast<size_t>(result_elements(p)) * sizeof(float), sizeof(float),
                       wall);
  const Guarded packed(prepared.packed_filter_bytes(), kScratchAlignment, wall);
  const Guarded scratch(prepared.ledger().total_bytes(threads), kScratchAlignment, wall);
  std::memcpy(input.data(), tensors.input.data(), input.bytes());
  std::memcpy(gradient.data(), tensors.grad_output.data(), gradient.bytes());
  if (p.direction != Direction::kBackwardFilter)
    prepared.pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), threads);
  Buffers buffers;
  buffers.input = input.data();
  buffers.grad_output = gradient.data();
  buffers.packed_filter = packed.data();
  buffers.bias = p.with_bias ? tensors.bias.data() : nullptr;
  buffers.result = result.data();
  buffers.batch = p.mb;
  prepared.execute(buffers, Scratch(prepared.ledger(), scratch.data()), default_thread_pool(),
                   threads);
  if (!result.intact() || !packed.intact() || !scratch.intact())
    throw std::runtime_error("wrote beyond a buffer");
  std::vector<float> out(static_cast<size_t>(result_elements(p)));
  std::memcpy(out.data(), result.data(), result.bytes());
  return out;
}

}  // namespace conv3d::testing
