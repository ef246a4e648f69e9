#include "algorithms/planar/planar.h"

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
    if (problem.dtype != DType::kFloat32 && problem.dtype != DType::kFloat64)
      return "computes in float32 and float64";
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

}  // namespace

const Algorithm& planar_algorithm() {
  static const Planar algorithm;
  return algorithm;
}

}  // namespace conv3d
