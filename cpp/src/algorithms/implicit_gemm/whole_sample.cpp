#include "algorithms/implicit_gemm/whole_sample.h"

#include <cstring>

#include "algorithms/implicit_gemm/correlation_plan.h"

namespace conv3d::implicit_gemm {
namespace {

class WholeSample final : public Prepared {
 public:
  WholeSample(const Problem& problem, const PlanContext& context)
      : problem_(problem), inner_(prepare_correlation(as_one_pixel(problem), context)) {}

  size_t packed_filter_bytes() const override { return inner_->packed_filter_bytes(); }
  std::string packed_filter_format() const override {
    return "sample_" + inner_->packed_filter_format();
  }
  // From [tap][channel] to the order of a sample in memory, [channel][tap].
  void pack_filter(const void* filter, void* packed, ThreadPool& pool, int threads) const override {
    const int64_t taps = problem_.kd * problem_.kh * problem_.kw, channels = problem_.ic;
    const size_t row = static_cast<size_t>(problem_.oc) *
                       static_cast<size_t>(Problem::element_size(problem_.dtype));
    const Workspace moved(row * static_cast<size_t>(taps * channels), "the reordered filter");
    const char* const from = static_cast<const char*>(filter);
    char* const to = static_cast<char*>(moved.data());
    for (int64_t t = 0; t < taps; ++t)
      for (int64_t c = 0; c < channels; ++c)
        std::memcpy(to + static_cast<size_t>(c * taps + t) * row,
                    from + static_cast<size_t>(t * channels + c) * row, row);
    inner_->pack_filter(moved.data(), packed, pool, threads);
  }
  const ScratchLedger& ledger() const override { return inner_->ledger(); }
  void execute(const Buffers& buffers, const Scratch& scratch, ThreadPool& pool,
               int threads) const override {
    inner_->execute(buffers, scratch, pool, threads);
  }
  std::string detail() const override { return "samples as rows of a " + inner_->detail(); }
  double error_bound() const override { return inner_->error_bound(); }
  int useful_threads() const override { return inner_->useful_threads(); }

 private:
  Problem problem_;
  std::unique_ptr<Prepared> inner_;
};

}  // namespace

bool is_whole_sample(const Problem& p) {
  const auto covers = [](int64_t in, int64_t out, int64_t k, int64_t d, int64_t pad) {
    return out == 1 && k == in && pad == 0 && (k == 1 || d == 1);
  };
  // A bias of the input's channels would be one of channels and voxels there.
  if (p.direction == Direction::kBackwardInput && p.with_bias) return false;
  return p.layout == Layout::kChannelsFirst && p.groups == 1 && p.input_voxels() > 1 &&
         covers(p.id, p.od, p.kd, p.dd, p.pd) && covers(p.ih, p.oh, p.kh, p.dh, p.ph) &&
         covers(p.iw, p.ow, p.kw, p.dw, p.pw);
}

Problem as_one_pixel(const Problem& problem) {
  Problem p = problem;
  p.layout = Layout::kChannelsLast;
  p.ic = problem.ic * problem.input_voxels();
  p.id = p.ih = p.iw = p.od = p.oh = p.ow = p.kd = p.kh = p.kw = 1;
  p.sd = p.sh = p.sw = p.dd = p.dh = p.dw = 1;
  p.pd = p.ph = p.pw = p.pd1 = p.ph1 = p.pw1 = 0;
  return p;
}

std::unique_ptr<Prepared> prepare_whole_sample(const Problem& problem, const PlanContext& context) {
  return std::make_unique<WholeSample>(problem, context);
}

}  // namespace conv3d::implicit_gemm
