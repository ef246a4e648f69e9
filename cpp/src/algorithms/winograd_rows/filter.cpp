#include "algorithms/winograd_rows/filter.h"

#include <algorithm>

#include "base/math.h"

namespace conv3d::winograd_rows {

size_t packed_filter_floats(const Geometry& g, const Blocking& b) {
  return checked_bytes({g.points, b.panels * b.width, g.k()}, "the packed filter");
}

void pack_filter(const Geometry& g, const Blocking& b, const Problem& problem, const float* filter,
                 float* packed, ThreadPool& pool, int threads) {
  const implicit_gemm::AxisTaps &d = g.c.d, &h = g.c.h, &w = g.c.w;
  const int64_t plane = g.ci * g.co, k = g.k();
  const int64_t of_ci = g.backward ? 1 : g.co, of_co = g.backward ? g.ci : 1;
  pool.parallel_for(d.taps * h.taps * g.ci, 4, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t ci = row % g.ci, th = row / g.ci % h.taps, td = row / g.ci / h.taps;
      const float* first =
          filter +
          (((d.tap_first + td * d.tap_step) * problem.kh + h.tap_first + th * h.tap_step) *
               problem.kw +
           w.tap_first) *
              plane +
          ci * of_ci;
      for (const RowsSegment& s : g.segments) {
        const double* matrix = s.taps == 1 ? nullptr : filter_matrix(g.m, s.taps);
        const int64_t tap = w.tap_step * plane;
        for (int64_t co = 0; co < b.panels * b.width; ++co) {
          float* to = packed + s.point * b.panels * b.width * k +
                      (co / b.width * k + row) * b.width + co % b.width;
          const float* taps = first + s.first * tap + co * of_co;
          for (int p = 0; p < s.points; ++p, to += b.panels * b.width * k) {
            double sum = 0;
            if (co < g.co) {
              if (matrix == nullptr) {
                sum = taps[0];
              } else {
                for (int t = 0; t < s.taps; ++t)
                  sum += matrix[p * s.taps + t] * static_cast<double>(taps[t * g.step * tap]);
              }
            }
            *to = static_cast<float>(sum);
          }
        }
      }
    }
  });
}

}  // namespace conv3d::winograd_rows
