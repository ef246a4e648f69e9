#include "algorithms/implicit_gemm/implicit_gemm.h"

#include "algorithms/implicit_gemm/correlation_plan.h"
#include "algorithms/implicit_gemm/filter_gradient.h"
#include "algorithms/implicit_gemm/whole_sample.h"

namespace conv3d {
namespace {

class GemmDirect final : public Algorithm {
 public:
  const char* name() const override { return "gemm_direct"; }
  const char* family() const override { return "gemm"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction == Direction::kBackwardFilter)
      return "computes forward and backward_input";
    if (!is_direct_dtype(problem.dtype)) return "computes in float32 and float64";
    return "";
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return implicit_gemm::correlation_cost(
        implicit_gemm::is_whole_sample(problem) ? implicit_gemm::as_one_pixel(problem) : problem,
        context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    if (implicit_gemm::is_whole_sample(problem))
      return implicit_gemm::prepare_whole_sample(problem, context);
    return implicit_gemm::prepare_correlation(problem, context);
  }
};

class GemmFilterGradient final : public Algorithm {
 public:
  const char* name() const override { return "gemm_filter_gradient"; }
  const char* family() const override { return "gemm"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter";
    if (!is_direct_dtype(problem.dtype)) return "computes in float32 and float64";
    return "";
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return implicit_gemm::filter_gradient_cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return implicit_gemm::prepare_filter_gradient(problem, context);
  }
};

}  // namespace

const Algorithm& gemm_filter_gradient_algorithm() {
  static const GemmFilterGradient algorithm;
  return algorithm;
}

const Algorithm& gemm_direct_algorithm() {
  static const GemmDirect algorithm;
  return algorithm;
}

}  // namespace conv3d
