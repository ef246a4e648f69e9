#include "algorithms/planar/planar.h"

#include "algorithms/planar/filter_gradient.h"
#include "algorithms/planar/planar_plan.h"

namespace conv3d {
namespace {

class Planar final : public Algorithm {
 public:
  const char* name() const override { return "planar"; }
  const char* family() const override { return "planar"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction == Direction::kBackwardFilter)
      return "computes forward and backward_input";
    if (!is_direct_dtype(problem.dtype)) return "computes in float32 and float64";
    return planar::why_not_planar(problem);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return planar::planar_cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return planar::prepare_planar(problem, context);
  }
};

class PlanarFilterGradient final : public Algorithm {
 public:
  const char* name() const override { return "planar_filter_gradient"; }
  const char* family() const override { return "planar"; }
  std::string why_not(const Problem& problem, const PlanContext&) const override {
    if (problem.direction != Direction::kBackwardFilter) return "computes backward_filter";
    if (!is_direct_dtype(problem.dtype)) return "computes in float32 and float64";
    return planar::why_not_filter_gradient(problem);
  }
  double cost(const Problem& problem, const PlanContext& context) const override {
    return planar::filter_gradient_cost(problem, context);
  }
  std::unique_ptr<Prepared> prepare(const Problem& problem,
                                    const PlanContext& context) const override {
    return planar::prepare_filter_gradient(problem, context);
  }
};

}  // namespace

const Algorithm& planar_algorithm() {
  static const Planar algorithm;
  return algorithm;
}

const Algorithm& planar_filter_gradient_algorithm() {
  static const PlanarFilterGradient algorithm;
  return algorithm;
}

}  // namespace conv3d
