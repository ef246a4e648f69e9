#include "algorithms/winograd/filter.h"

#include "base/math.h"
#include "kernels/winograd_table.h"

namespace conv3d::winograd {
namespace {

constexpr int kLane = 8;  // result channels transformed side by side; a divisor of every nr
constexpr int kMaxTaps = 5;

// out[i0][j][i1] = sum_k g[j][k] in[i0][k][i1]: one axis of the transform, i1 counting groups of kLane numbers.
void along_axis(const double* g, int n, int r, int before, int after, const double* in, double* out) {
  for (int i0 = 0; i0 < before; ++i0)
    for (int j = 0; j < n; ++j)
      for (int i1 = 0; i1 < after; ++i1) {
        double sum[kLane] = {};
        for (int k = 0; k < r; ++k) {
          const double* x = in + ((static_cast<ptrdiff_t>(i0) * r + k) * after + i1) * kLane;
          for (int c = 0; c < kLane; ++c) sum[c] += g[j * r + k] * x[c];
        }
        double* y = out + ((static_cast<ptrdiff_t>(i0) * n + j) * after + i1) * kLane;
        for (int c = 0; c < kLane; ++c) y[c] = sum[c];
      }
}

}  // namespace

size_t packed_filter_floats(const Geometry& g, int nr) {
  return checked_bytes({g.points(), ceil_div(g.co, nr) * nr, g.ci}, "the packed filter");
}

void pack_filter(const Geometry& g, int nr, const float* filter, float* packed, ThreadPool& pool, int threads) {
  const int r0 = g.r[0], r1 = g.r[1], r2 = g.r[2], n0 = g.n[0], n1 = g.n[1], n2 = g.n[2];
  const double* matrix[3] = {filter_matrix(g.m[0], r0), filter_matrix(g.m[1], r1), filter_matrix(g.m[2], r2)};
  const int taps = r0 * r1 * r2, points = g.points();
  const int64_t panels = ceil_div(g.co, nr), blocks = panels * (nr / kLane);
  // Of the filter as it lies, [tap][ic][oc]: the distance between two source and two result channels.
  const int64_t ci_stride = g.flipped ? 1 : g.co, co_stride = g.flipped ? g.ci : 1;
  pool.parallel_for(g.ci * blocks, 8, threads, [&](int64_t begin, int64_t end, int) {
    constexpr int kMax = kWinogradMaxPoints;
    double a[kMax * kMax * kMax * kLane], b[kMax * kMax * kMaxTaps * kLane];
    for (int64_t index = begin; index < end; ++index) {
      const int64_t block = index % blocks, ci = index / blocks, co = block * kLane;
      const int lanes = static_cast<int>(co >= g.co ? 0 : g.co - co < kLane ? g.co - co : kLane);
      for (int t = 0; t < taps; ++t) {
        const float* tap = filter + (g.flipped ? taps - 1 - t : t) * g.ci * g.co + ci * ci_stride + co * co_stride;
        for (int c = 0; c < kLane; ++c) b[t * kLane + c] = c < lanes ? static_cast<double>(tap[c * co_stride]) : 0.0;
      }
      along_axis(matrix[2], n2, r2, r0 * r1, 1, b, a);
      along_axis(matrix[1], n1, r1, r0, n2, a, b);
      along_axis(matrix[0], n0, r0, 1, n1 * n2, b, a);
      float* target = packed + ((co / nr) * g.ci + ci) * nr + co % nr;
      for (int p = 0; p < points; ++p, target += panels * g.ci * nr)
        for (int c = 0; c < kLane; ++c) target[c] = static_cast<float>(a[p * kLane + c]);
    }
  });
}

}  // namespace conv3d::winograd
