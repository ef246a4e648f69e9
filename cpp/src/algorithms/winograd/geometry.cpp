#include "algorithms/winograd/geometry.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/math.h"
#include "kernels/cook_toom.h"
#include "kernels/winograd_table.h"

namespace conv3d::winograd {
namespace {

template <int M, int R, int S>
struct FilterMatrix {
  double g[S * (M - 1) + R][R];
};

template <int M, int R, int S>
consteval FilterMatrix<M, R, S> make_filter_matrix() {
  FilterMatrix<M, R, S> x{};
  if constexpr (S == 1) {
    const cook_toom::Matrices<M, R> exact = cook_toom::make<M, R>();
    for (int j = 0; j < M + R - 1; ++j)
      for (int k = 0; k < R; ++k) x.g[j][k] = cook_toom::to_double(exact.g[j][k]);
  } else {
    constexpr int kEven = (R + 1) / 2, kOdd = R / 2, kFirst = M + kEven - 1;
    const FilterMatrix<M, kEven, 1> even = make_filter_matrix<M, kEven, 1>();
    for (int j = 0; j < kFirst; ++j)
      for (int k = 0; k < kEven; ++k) x.g[j][2 * k] = even.g[j][k];
    if constexpr (kOdd == 1) {
      for (int j = 0; j < M; ++j) x.g[kFirst + j][1] = 1;  // plain products
    } else {
      const FilterMatrix<M, kOdd, 1> odd = make_filter_matrix<M, kOdd, 1>();
      for (int j = 0; j < M + kOdd - 1; ++j)
        for (int k = 0; k < kOdd; ++k) x.g[kFirst + j][2 * k + 1] = odd.g[j][k];
    }
  }
  return x;
}

template <int M, int R, int S = 1>
const double* matrix() {
  static constexpr FilterMatrix<M, R, S> kMatrix = make_filter_matrix<M, R, S>();
  return &kMatrix.g[0][0];
}

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

}  // namespace

WinogradFilterAxes filter_axes(const int (&m)[3], const int (&r)[3], const int (&n)[3],
                               const int (&stride)[3], const int (&split)[3]) {
  return {r[0],
          r[1],
          r[2],
          n[0],
          n[1],
          n[2],
          filter_matrix(m[0], r[0], stride[0], split[0]),
          filter_matrix(m[1], r[1], stride[1], split[1]),
          filter_matrix(m[2], r[2], stride[2], split[2])};
}

bool rounds_more(const int (&r)[3]) { return std::max({r[0], r[1], r[2]}) > 3; }

int split_of(int r, int stride) {
  return stride == 1 || r == 1 ? kSplitNone : r == 3 ? kSplitPlain : kSplitBoth;
}

bool has_halves(const int (&split)[3]) {
  return std::any_of(split, split + 3, [](int s) { return s != kSplitNone && s != kSplitPair; });
}

bool is_pair(const AxisForm& a) {
  return a.r == 3 && a.m == 2 && a.stride == 1 && a.source == a.result && a.pad == a.dilation &&
         ceil_div(a.source, a.dilation) == 2;
}

const double* filter_matrix(int m, int r, int stride, int split) {
  static constexpr double kPair[3][3] = {{1, -1, 0}, {0, 1, 0}, {0, -1, 1}};
  if (split == kSplitPair) return &kPair[0][0];
  if (r == 1) return m == 1 ? matrix<1, 1>() : nullptr;  // with any stride
  if (stride == 2) {
    switch (r * 8 + m) {
      case 3 * 8 + 2: return matrix<2, 3, 2>();
      case 3 * 8 + 3: return matrix<3, 3, 2>();
      case 4 * 8 + 2: return matrix<2, 4, 2>();
      case 5 * 8 + 2: return matrix<2, 5, 2>();
      default: return nullptr;
    }
  }
  if (stride != 1) return nullptr;
  switch (r * 8 + m) {
    case 2 * 8 + 2: return matrix<2, 2>();
    case 2 * 8 + 3: return matrix<3, 2>();
    case 2 * 8 + 4: return matrix<4, 2>();
    case 3 * 8 + 2: return matrix<2, 3>();
    case 3 * 8 + 3: return matrix<3, 3>();
    case 3 * 8 + 4: return matrix<4, 3>();
    case 4 * 8 + 2: return matrix<2, 4>();
    case 4 * 8 + 3: return matrix<3, 4>();
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
  const int64_t kernel[3] = {problem.kd, problem.kh, problem.kw},
                stride[3] = {problem.sd, problem.sh, problem.sw};
  bool transforms = false;
  for (int a = 0; a < 3; ++a) {
    if (problem.direction == Direction::kBackwardInput && stride[a] != 1 &&
        (stride[a] != 2 || kernel[a] < 3 || kernel[a] > 5))
      return "computes backward_input with stride 1, or 2 along axes of three to five taps, only";
    const bool small = kernel[a] <= kWinogradMaxTaps && stride[a] <= INT32_MAX;
    if (!small || filter_matrix(shape.m[a], static_cast<int>(kernel[a]),
                                static_cast<int>(stride[a])) == nullptr) {
      char text[96];
      std::snprintf(text, sizeof text, "has no F(%d, %lld) with stride %lld", shape.m[a],
                    static_cast<long long>(kernel[a]), static_cast<long long>(stride[a]));
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
                pad[3] = {problem.pd, problem.ph, problem.pw},
                stride[3] = {problem.sd, problem.sh, problem.sw},
                dilation[3] = {problem.dd, problem.dh, problem.dw};
  Geometry g{};
  g.ci = backward ? problem.oc : problem.ic;
  g.co = backward ? problem.ic : problem.oc;
  g.flipped = backward;
  g.channels_first = problem.layout == Layout::kChannelsFirst;
  for (int a = 0; a < 3; ++a) {
    g.source[a] = backward ? output[a] : input[a];
    g.result[a] = backward ? input[a] : output[a];
    g.r[a] = static_cast<int>(kernel[a]);
    g.stride[a] = static_cast<int>(stride[a]);
    g.dilation[a] = kernel[a] > 1 ? dilation[a] : 1;
    g.pad[a] = backward ? (kernel[a] - 1) * g.dilation[a] - pad[a] : pad[a];
    g.m[a] = shape.m[a];
    g.n[a] = g.stride[a] * (g.m[a] - 1) + g.r[a];
    g.split[a] = split_of(g.r[a], g.stride[a]);
    g.window[a] = g.n[a];
    g.step[a] = g.stride[a] * g.m[a];
    g.outputs[a] = g.m[a];
    if (backward && g.stride[a] == 2) {
      // The first result is u = p: of even taps if that is even, else of odd ones.
      const bool even = pad[a] % 2 == 0;
      struct Merge {
        int split, before, window;  // pixels before that of u / 2, and of the window beside m
      };
      const Merge merge =
          g.r[a] == 3   ? even ? Merge{kSplitMerge, 1, 1} : Merge{kSplitMergePlain, 0, 1}
          : g.r[a] == 4 ? even ? Merge{kSplitMergeSame, 1, 1} : Merge{kSplitMergeShifted, 1, 2}
          : even        ? Merge{kSplitMergeLast, 2, 2}
                        : Merge{kSplitMergeFirst, 1, 2};
      g.split[a] = merge.split;
      g.pad[a] = merge.before - pad[a] / 2;
      g.window[a] = g.m[a] + merge.window;
      g.step[a] = g.m[a];
      g.outputs[a] = 2 * g.m[a];
    }
    if (is_pair({g.source[a], g.result[a], g.pad[a], g.dilation[a], stride[a], g.r[a], g.m[a]})) {
      g.split[a] = kSplitPair;
      g.n[a] = 3;
      g.window[a] = 2;
      g.pad[a] = 0;
    }
    g.phases[a] = std::min(g.dilation[a], g.result[a]);
    g.tiles[a] = ceil_div(ceil_div(g.result[a], g.dilation[a]), g.outputs[a]);
  }
  const auto untouched = [&g](int a) {
    return g.r[a] == 1 && g.stride[a] == 1 && g.pad[a] == 0 && g.source[a] == g.result[a];
  };
  if (untouched(1) && untouched(2)) {
    // Depth alone: a plane is one long row, which runs of tiles need not be broken at.
    g.source[2] *= g.source[1];
    g.result[2] = g.tiles[2] = g.source[2];
    g.source[1] = g.result[1] = g.tiles[1] = 1;
  }
  return g;
}

Geometry along_pixels(const Geometry& channels) {
  Geometry g = channels;
  g.pixel_lanes = true;
  g.tiles[2] = ceil_div(g.result[2], kWinogradGroup);
  return g;
}

Lattice source_lattice(const Geometry& g, int axis, int64_t phase) {
  const int64_t d = g.dilation[axis], offset = phase - g.pad[axis], origin = floor_div(offset, d),
                first = offset - origin * d;
  return {first, first < g.source[axis] ? ceil_div(g.source[axis] - first, d) : 0, origin};
}

Lattice result_lattice(const Geometry& g, int axis, int64_t phase) {
  return {phase, ceil_div(g.result[axis] - phase, g.dilation[axis]), 0};
}

double error_bound(const Geometry& g) {
  // Rounding grows like the square root of the channels in one chain of additions, times
  // what the transforms amplify per axis. The factors hold every measurement of README.md
  // with a margin of 1.2 to 1.6. Kernels of two taps have fewer terms for the largest result to
  // stand out by.
  double bound = 2e-7 * std::sqrt(1.0 + static_cast<double>(std::min(g.ci, kSumChunk)) / 16.0);
  const auto amplified = [](int n) {
    return n == 1 ? 1.0 : n <= 4 ? 1.2 : n == 5 ? 1.75 : n == 6 ? 2.5 : 3.4;
  };
  // With a stride the larger half decides. A pair's results have two terms of three.
  for (int a = 0; a < 3; ++a) {
    bound *= g.split[a] == kSplitPair   ? kPairAmplifies
             : g.split[a] == kSplitNone ? amplified(g.n[a])
                                        : amplified((g.n[a] + 1) / 2);
    if (g.r[a] == 2) bound *= 1.1;
  }
  return bound;
}

}  // namespace conv3d::winograd
