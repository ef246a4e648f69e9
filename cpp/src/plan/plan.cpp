#include "plan/plan.h"

#include <algorithm>
#include <cstring>

#include "base/math.h"
#include "base/status.h"
#include "kernels/dispatch.h"
#include "plan/convert.h"
#include "runtime/cpu_info.h"
#include "runtime/float_environment.h"
#include "runtime/phases.h"
#include "runtime/verbose.h"

namespace conv3d {
namespace {

// Converted tensors are made a few samples at a time, up to about this many bytes, so
// that the workspace does not grow with the batch. (The filter gradient sums over the
// batch and needs all of it.)
constexpr int64_t kConversionBytes = int64_t{32} << 20;

Denormals denormals_of(const std::string& family) {
  return family == "reference" ? Denormals::kKeep : Denormals::kFlush;
}

// Of the tensor that forward or backward_input computes.
int64_t result_channels(const Problem& p) {
  return p.direction == Direction::kForward ? p.oc : p.ic;
}

std::string box(const int64_t (&extent)[3]) {
  return std::to_string(extent[0]) + "x" + std::to_string(extent[1]) + "x" +
         std::to_string(extent[2]);
}

void fill_zero(char* to, int64_t bytes, ThreadPool& pool, int threads) {
  constexpr int64_t kBlock = int64_t{1} << 18;
  pool.parallel_for(ceil_div(bytes, kBlock), 1, threads, [&](int64_t begin, int64_t end, int) {
    std::memset(to + begin * kBlock, 0,
                static_cast<size_t>(std::min(bytes, end * kBlock) - begin * kBlock));
  });
}

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Status::kInvalidArgument, message);
}

}  // namespace

// What is converted for the inner algorithm, and the scratch that this takes for one
// piece of the batch.
struct Plan::Conversion {
  bool input = false, grad_output = false, result = false, bias = false;
  int64_t samples = 0;  // per piece
  size_t input_bytes = 0, grad_output_bytes = 0, result_bytes = 0, bias_bytes = 0;
  size_t total() const {
    return checked_add(checked_add(input_bytes, grad_output_bytes),
                       checked_add(result_bytes, bias_bytes));
  }
};

Plan::Plan(const Problem& problem, const std::string& algorithm) : problem_(problem) {
  const PlanContext context{&kernel_table(), &cpu_info(), 1};
  Selection selection = select_algorithm(problem, context, algorithm);
  inner_ = selection.inner;
  live_ = selection.taps;
  prepared_ = std::move(selection.prepared);
  facts_.algorithm = selection.algorithm->name();
  facts_.family = selection.algorithm->family();
  facts_.detail = prepared_->detail();
  if (!live_.all()) facts_.detail += ", " + box(live_.count) + " taps of " + box(live_.kernel);
  facts_.why = std::move(selection.why);
  facts_.isa = facts_.family == "reference" ? "generic" : selection.kernels->name;
  facts_.direct = selection.algorithm->direct();
  facts_.error_bound = prepared_->error_bound();
  if (problem_.dtype == DType::kFloat16) facts_.error_bound = std::max(facts_.error_bound, 0x1p-11);
  if (problem_.dtype == DType::kBFloat16) facts_.error_bound = std::max(facts_.error_bound, 0x1p-8);
  facts_.candidates = std::move(selection.candidates);
  filter_key_ = prepared_->packed_filter_format() + "/" + facts_.isa + "/" +
                std::to_string(inner_.kd) + "x" + std::to_string(inner_.kh) + "x" +
                std::to_string(inner_.kw) + "x" + std::to_string(inner_.ic) + "x" +
                std::to_string(problem.oc) + "g" + std::to_string(problem.groups) + "t" +
                std::to_string(static_cast<int>(problem.dtype));
  if (!live_.all())
    filter_key_ +=
        "/" + box(live_.count) + " from " + box(live_.first) + " of " + box(live_.kernel);
  // The plan is only worth having if its scratch can be stated.
  workspace_bytes(1, 1);
}

int Plan::useful_threads(int64_t batch, int threads) const {
  const double useful = static_cast<double>(prepared_->useful_threads()) *
                        static_cast<double>(std::max<int64_t>(batch, 1));
  return static_cast<int>(std::min<double>(useful, std::max(threads, 1)));
}

Plan::Conversion Plan::conversion(int64_t batch) const {
  Conversion c;
  const bool dtype = inner_.dtype != problem_.dtype, layout = inner_.layout != problem_.layout;
  const bool filter_gradient = problem_.direction == Direction::kBackwardFilter;
  // A folded problem's pixels are several of the problem's, each with the same bias.
  const int64_t biases = problem_.direction == Direction::kForward ? inner_.oc : inner_.ic;
  c.bias = problem_.with_bias && (dtype || biases != result_channels(problem_));
  if (c.bias) {
    c.bias_bytes =
        round_up(checked_bytes({biases, Problem::element_size(inner_.dtype)}, "a converted tensor"),
                 kScratchAlignment);
  }
  c.samples = batch;
  const auto bytes = [](int64_t samples, int64_t each) {
    return round_up(checked_bytes({samples, each}, "a converted tensor"), kScratchAlignment);
  };
  const int64_t size = Problem::element_size(inner_.dtype);
  if (filter_gradient && (dtype || !live_.contiguous())) {
    c.result = true;
    c.result_bytes = bytes(live_.elements(), size);
  }
  if (!dtype && !layout) return c;
  c.input = problem_.direction != Direction::kBackwardInput;
  c.grad_output = problem_.direction != Direction::kForward;
  const int64_t in =
      checked_product({problem_.input_voxels(), problem_.ic, size}, "a converted tensor");
  const int64_t out =
      checked_product({problem_.output_voxels(), problem_.oc, size}, "a converted tensor");
  if (!filter_gradient) {
    const int64_t sample = std::max<int64_t>(1, std::max(in, out));
    c.samples = std::clamp<int64_t>(kConversionBytes / sample, 1, std::max<int64_t>(batch, 1));
  }
  if (c.input) c.input_bytes = bytes(c.samples, in);
  if (c.grad_output) c.grad_output_bytes = bytes(c.samples, out);
  if (!filter_gradient) {
    c.result = true;
    c.result_bytes = bytes(c.samples, problem_.direction == Direction::kForward ? out : in);
  }
  return c;
}

size_t Plan::live_offset() const {
  return static_cast<size_t>(live_.offset() * Problem::element_size(problem_.dtype));
}

void Plan::copy_taps(TapCopy direction, const void* from, void* to, ThreadPool& pool,
                     int threads) const {
  const bool reads = direction == TapCopy::kFromFilter;
  const TensorForm filter{problem_.dtype, Layout::kChannelsLast},
      live{inner_.dtype, Layout::kChannelsLast};
  const TensorForm source = reads ? filter : live, target = reads ? live : filter;
  live_.for_each_piece([&](int64_t filter_at, int64_t live_at, int64_t elements) {
    const int64_t from_at = reads ? filter_at : live_at, to_at = reads ? live_at : filter_at;
    convert_tensor(static_cast<const char*>(from) + from_at * Problem::element_size(source.dtype),
                   source, static_cast<char*>(to) + to_at * Problem::element_size(target.dtype),
                   target, 1, elements, 1, pool, threads);
  });
}

void Plan::clear_dead_taps(void* filter, ThreadPool& pool, int threads) const {
  const int64_t size = Problem::element_size(problem_.dtype);
  int64_t done = 0;  // what lies before each piece, and behind the last
  const auto clear_up_to = [&](int64_t end) {
    if (end > done)
      fill_zero(static_cast<char*>(filter) + done * size, (end - done) * size, pool, threads);
  };
  live_.for_each_piece([&](int64_t at, int64_t, int64_t elements) {
    clear_up_to(at);
    done = at + elements;
  });
  clear_up_to(problem_.filter_elements());
}

size_t Plan::workspace_bytes(int64_t batch, int threads) const {
  return checked_add(
      round_up(prepared_->ledger().total_bytes(useful_threads(batch, threads)), kScratchAlignment),
      conversion(batch).total());
}

size_t Plan::packed_filter_bytes() const { return prepared_->packed_filter_bytes(); }

void Plan::pack_into(const void* filter, void* packed, ThreadPool& pool, int threads) const {
  const PhaseTimer timer(Phase::kPack);
  if (filter_as_it_is()) {
    prepared_->pack_filter(static_cast<const char*>(filter) + live_offset(), packed, pool, threads);
    return;
  }
  if (prepared_->reads_filter()) {
    copy_taps(TapCopy::kFromFilter, filter, packed, pool, threads);
    return;
  }
  Workspace live(checked_bytes({live_.elements(), Problem::element_size(inner_.dtype)},
                               "the converted filter"),
                 "the converted filter");
  copy_taps(TapCopy::kFromFilter, filter, live.data(), pool, threads);
  prepared_->pack_filter(live.data(), packed, pool, threads);
}

std::unique_ptr<PackedFilter> Plan::pack(const void* filter, ThreadPool& pool, int threads) const {
  if (filter == nullptr) refuse("filter is missing");
  if (problem_.direction == Direction::kBackwardFilter)
    refuse("backward_filter takes no filter, so none can be packed");
  auto packed = std::make_unique<PackedFilter>(filter_key_, packed_filter_bytes());
  FloatEnvironment environment(denormals_of(facts_.family));
  pack_into(filter, packed->data(), pool, threads);
  return packed;
}

void Plan::execute(const PlanBuffers& b, ThreadPool& pool, int threads) const {
  const Problem& p = problem_;
  if (b.batch < 0) refuse("batch is " + std::to_string(b.batch) + "; batches are not negative");
  // Only problems of this very batch were checked; another one is multiplied out here.
  checked_product({b.batch, std::max<int64_t>(1, p.input_voxels()), p.ic, 8}, "input");
  checked_product({b.batch, std::max<int64_t>(1, p.output_voxels()), p.oc, 8}, "output");
  const bool empty_input = b.batch == 0 || p.input_voxels() == 0,
             empty_output = b.batch == 0 || p.output_voxels() == 0;
  const bool filter_gradient = p.direction == Direction::kBackwardFilter;
  const bool empty_result = filter_gradient                      ? false
                            : p.direction == Direction::kForward ? empty_output
                                                                 : empty_input;
  if (empty_result) return;
  if (b.result == nullptr) refuse("the result's buffer is missing");
  if (filter_gradient && (empty_input || empty_output)) {
    fill_zero(static_cast<char*>(b.result),
              static_cast<int64_t>(checked_bytes(
                  {p.filter_elements(), Problem::element_size(p.dtype)}, "the filter gradient")),
              pool, threads);
    return;
  }
  if (p.direction != Direction::kBackwardInput && b.input == nullptr) refuse("input is missing");
  if (p.direction != Direction::kForward && b.grad_output == nullptr)
    refuse("grad_output is missing");
  if (p.with_bias && b.bias == nullptr)
    refuse("bias is missing: the problem was declared with one");
  if (!p.with_bias && b.bias != nullptr)
    refuse("bias is given and the problem was declared without one");
  if (!filter_gradient && b.filter == nullptr && b.packed == nullptr) refuse("filter is missing");
  if (b.packed != nullptr && b.packed->key() != filter_key_) {
    refuse("the packed filter has the form " + b.packed->key() + " and this plan needs " +
           filter_key_);
  }

  const double start = verbose() ? now_seconds() : 0;
  threads = useful_threads(b.batch, threads);
  {
    FloatEnvironment environment(denormals_of(facts_.family));
    if (b.packed != nullptr || filter_gradient) {
      run(b, b.packed != nullptr ? b.packed->data() : nullptr, pool, threads);
    } else if (prepared_->reads_filter() && filter_as_it_is()) {
      run(b, static_cast<const char*>(b.filter) + live_offset(), pool, threads);
    } else {
      Workspace packed(packed_filter_bytes(), "the packed filter");
      pack_into(b.filter, packed.data(), pool, threads);
      run(b, packed.data(), pool, threads);
    }
  }
  if (verbose()) {
    Problem shown = p;
    shown.mb = b.batch;
    verbose_line("exec," + facts_.algorithm + "," + facts_.isa + "," + shown.to_string() + "," +
                 std::to_string(threads) + "," + std::to_string((now_seconds() - start) * 1e3) +
                 "ms");
  }
}

void Plan::run(const PlanBuffers& b, const void* packed, ThreadPool& pool, int threads) const {
  const Problem& p = problem_;
  const Conversion c = conversion(b.batch);
  const size_t own = round_up(prepared_->ledger().total_bytes(threads), kScratchAlignment);
  Workspace workspace(checked_add(own, c.total()));
  char* const block = static_cast<char*>(workspace.data());
  const Scratch scratch(prepared_->ledger(), block);
  Buffers inner;
  inner.packed_filter = packed;
  inner.bias = b.bias;
  const TensorForm outside{p.dtype, p.layout}, inside{inner_.dtype, inner_.layout};
  char* const input = block + own;
  char* const grad_output = input + c.input_bytes;
  char* const result = grad_output + c.grad_output_bytes;
  char* const bias = result + c.result_bytes;
  const int64_t computed = std::max<int64_t>(1, result_channels(p));
  if (c.bias) {
    const int64_t step = computed * Problem::element_size(inner_.dtype);
    for (int64_t i = 0; i < result_channels(inner_) / computed; ++i)
      convert_tensor(b.bias, {p.dtype, Layout::kChannelsLast}, bias + i * step,
                     {inner_.dtype, Layout::kChannelsLast}, 1, 1, computed, pool, 1);
    inner.bias = bias;
  }
  const bool filter_gradient = p.direction == Direction::kBackwardFilter;
  if (filter_gradient) clear_dead_taps(b.result, pool, threads);
  inner.input = b.input;
  inner.grad_output = b.grad_output;
  inner.result = static_cast<char*>(b.result) + (filter_gradient ? live_offset() : 0);
  if (!c.input && !c.grad_output && !c.result) {
    inner.batch = b.batch;
    prepared_->execute(inner, scratch, pool, threads);
    return;
  }

  const size_t size = static_cast<size_t>(Problem::element_size(p.dtype));
  const int64_t result_voxels =
      p.direction == Direction::kForward ? p.output_voxels() : p.input_voxels();
  for (int64_t n = 0; n < b.batch; n += c.samples) {
    inner.batch = std::min(c.samples, b.batch - n);
    const auto at = [&](const void* base, int64_t voxels, int64_t channels) {
      return static_cast<const char*>(base) + static_cast<size_t>(n * voxels * channels) * size;
    };
    if (c.input) {
      convert_tensor(at(b.input, p.input_voxels(), p.ic), outside, input, inside, inner.batch,
                     p.input_voxels(), p.ic, pool, threads);
      inner.input = input;
    }
    if (c.grad_output) {
      convert_tensor(at(b.grad_output, p.output_voxels(), p.oc), outside, grad_output, inside,
                     inner.batch, p.output_voxels(), p.oc, pool, threads);
      inner.grad_output = grad_output;
    }
    if (c.result) inner.result = result;
    prepared_->execute(inner, scratch, pool, threads);
    if (!c.result) continue;
    if (filter_gradient) {
      copy_taps(TapCopy::kToFilter, result, b.result, pool, threads);
    } else {
      convert_tensor(result, inside, const_cast<char*>(at(b.result, result_voxels, computed)),
                     outside, inner.batch, result_voxels, computed, pool, threads);
    }
  }
}

}  // namespace conv3d
