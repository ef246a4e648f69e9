#include "algorithms/winograd/geometry.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/math.h"
#include "kernels/cook_toom.h"

namespace conv3d::winograd {
namespace {

template <int M, int R>
struct FilterMatrix {
  double g[M + R - 1][R];
};

template <int M, int R>
consteval FilterMatrix<M, R> make_filter_matrix() {
  FilterMatrix<M, R> x{};
  const cook_toom::Matrices<M, R> exact = cook_toom::make<M, R>();
  for (int j = 0; j < M + R - 1; ++j)
    for (int k = 0; k < R; ++k) x.g[j][k] = cook_toom::to_double(exact.g[j][k]);
  return x;
}

template <int M, int R>
const double* matrix() {
  static constexpr FilterMatrix<M, R> kMatrix = make_filter_matrix<M, R>();
  return &kMatrix.g[0][0];
}

}  // namespace

const double* filter_matrix(int m, int r) {
  switch (r * 8 + m) {
    case 1 * 8 + 1: return matrix<1, 1>();
    case 3 * 8 + 2: return matrix<2, 3>();
    case 3 * 8 + 3: return matrix<3, 3>();
    case 3 * 8 + 4: return matrix<4, 3>();
    case 5 * 8 + 2: return matrix<2, 5>();
    case 5 * 8 + 3: return matrix<3, 5>();
    default: return nullptr;
  }
}

std::string why_not_geometry(const Problem& problem, TileShape shape) {
  if (problem.direction == Direction::kBackwardFilter)
    return "computes forward and backward_input only";
  if (problem.dtype != DType::kFloat32) return "computes float32 only";
  if (problem.groups != 1) return "computes ungrouped convolutions only";
  if (problem.sd != 1 || problem.sh != 1 || problem.sw != 1) return "needs stride 1";
  // A dilation means nothing along an axis of one tap.
  if ((problem.kd > 1 && problem.dd != 1) || (problem.kh > 1 && problem.dh != 1) ||
      (problem.kw > 1 && problem.dw != 1))
    return "needs dilation 1";
  const int64_t kernel[3] = {problem.kd, problem.kh, problem.kw};
  bool transforms = false;
  for (int a = 0; a < 3; ++a) {
    const bool small = kernel[a] == 1 || kernel[a] == 3 || kernel[a] == 5;
    if (!small || filter_matrix(shape.m[a], static_cast<int>(kernel[a])) == nullptr) {
      char text[64];
      std::snprintf(text, sizeof text, "has no F(%d, %lld)", shape.m[a],
                    static_cast<long long>(kernel[a]));
      return text;
    }
    transforms = transforms || kernel[a] > 1;
  }
  if (!transforms) return "a kernel of one tap has nothing to transform";
  return {};
}

Geometry make_geometry(const Problem& problem, TileShape shape) {
  const bool backward = problem.direction == Direction::kBackwardInput;
  const int64_t input[3] = {problem.id, problem.ih, problem.iw},
                output[3] = {problem.od, problem.oh, problem.ow};
  const int64_t kernel[3] = {problem.kd, problem.kh, problem.kw},
                pad[3] = {problem.pd, problem.ph, problem.pw};
  Geometry g{};
  g.ci = backward ? problem.oc : problem.ic;
  g.co = backward ? problem.ic : problem.oc;
  g.flipped = backward;
  g.channels_first = problem.layout == Layout::kChannelsFirst;
  for (int a = 0; a < 3; ++a) {
    g.source[a] = backward ? output[a] : input[a];
    g.result[a] = backward ? input[a] : output[a];
    g.pad[a] = backward ? kernel[a] - 1 - pad[a] : pad[a];
    g.r[a] = static_cast<int>(kernel[a]);
    g.m[a] = shape.m[a];
    g.n[a] = g.m[a] + g.r[a] - 1;
    g.tiles[a] = ceil_div(g.result[a], g.m[a]);
  }
  return g;
}

double error_bound(const Geometry& g) {
  // Rounding grows like the square root of the channels in one chain of additions, times
  // what the transforms amplify per axis. The factors hold every measurement of README.md
  // with a margin of 1.2 to 1.6.
  double bound = 2e-7 * std::sqrt(1.0 + static_cast<double>(std::min(g.ci, kSumChunk)) / 16.0);
  for (int n : g.n) bound *= n == 1 ? 1.0 : n == 4 ? 1.15 : n == 5 ? 1.75 : n == 6 ? 2.5 : 3.4;
  return bound;
}

}  // namespace conv3d::winograd
