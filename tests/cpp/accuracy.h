// Results against float64, for algorithms that round more than a direct sum.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "algorithms/reference/reference.h"
#include "kernels/dispatch.h"
#include "run_algorithm.h"

namespace conv3d::testing {

inline std::vector<double> exact_result(const Problem& p, const Tensors<float>& tensors) {
  Problem wide = p;
  wide.dtype = DType::kFloat64;
  Tensors<double> t(wide);
  t.input.assign(tensors.input.begin(), tensors.input.end());
  t.grad_output.assign(tensors.grad_output.begin(), tensors.grad_output.end());
  t.filter.assign(tensors.filter.begin(), tensors.filter.end());
  t.bias.assign(tensors.bias.begin(), tensors.bias.end());
  return run_algorithm(reference_algorithm(), wide, {&kernel_table(), &cpu_info(), 1}, t, 2);
}

// max|error| / max|result|. A handful of results may all be small by chance; then their spread
// stands in for the maximum.
inline double relative_error(const std::vector<float>& got, const std::vector<double>& want,
                             double spread) {
  double worst = 0, largest = 2 * spread;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    worst = std::max(worst, std::isnan(error) ? 1e30 : error);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

// Standard deviation of a result of Gaussian data.
inline double spread_of(const Problem& p) {
  const double channels =
      static_cast<double>(p.direction == Direction::kBackwardInput ? p.oc : p.ic);
  return std::sqrt(channels * static_cast<double>(p.kd * p.kh * p.kw));
}

// Results in channels-last order, whatever the layout.
inline std::vector<float> channels_last(const Problem& p, const std::vector<float>& x) {
  if (p.layout == Layout::kChannelsLast) return x;
  const bool backward = p.direction == Direction::kBackwardInput;
  const size_t channels = backward ? p.ic : p.oc,
               voxels = backward ? p.input_voxels() : p.output_voxels();
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[(i / channels / voxels * voxels + i % voxels) * channels + i / voxels % channels] = x[i];
  return y;
}

inline std::vector<float> channels_first(const std::vector<float>& x, size_t channels,
                                         size_t voxels) {
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[(i / channels / voxels * channels + i % channels) * voxels + i / channels % voxels] = x[i];
  return y;
}

}  // namespace conv3d::testing
