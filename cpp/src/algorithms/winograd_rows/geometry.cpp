#include "algorithms/winograd_rows/geometry.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/math.h"
#include "kernels/cook_toom.h"

namespace conv3d::winograd_rows {
namespace {

// Terms of one chain of additions: bounds the rounding error and
// keeps a panel of the filter in L1.
constexpr int64_t kChain = 256;

// Most pixels of a tile's period: what the scratch of the transform and 32-bit arithmetic allow.
constexpr int64_t kMaxPeriod = 256;

// Chunks of a sum are listed one by one.
constexpr int64_t kMaxChannels = int64_t{1} << 20;

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

int most_taps(int m) { return std::min(kRowsMaxTaps, kRowsMaxPoints - m + 1); }

// The taps of a row by phase (tap modulo step), phases of many taps in pieces.
std::vector<RowsSegment> make_segments(int64_t taps, int64_t step, int m) {
  std::vector<RowsSegment> segments;
  int point = 0;
  for (int64_t phase = 0; phase < std::min(step, taps); ++phase) {
    const int64_t of_phase = ceil_div(taps - phase, step),
                  pieces = ceil_div(of_phase, most_taps(m));
    for (int64_t i = 0, tap = 0; i < pieces; ++i) {
      const int count = static_cast<int>(ceil_div(of_phase - tap, pieces - i));
      const int points = m + count - 1;
      segments.push_back({static_cast<int>(phase + tap * step), count, point, points});
      point += points;
      tap += count;
    }
  }
  return segments;
}

std::vector<Chunk> make_chunks(int64_t depth, int64_t height, int64_t ci) {
  std::vector<Chunk> chunks;
  const auto parts = [](int64_t n, int64_t terms) {
    return terms >= kChain
               ? n
               : std::max<int64_t>(1, ceil_div(n, kChain / std::max<int64_t>(1, terms)));
  };
  const int64_t in_depth = parts(depth, height * ci),
                in_height = height * ci <= kChain ? 1 : parts(height, ci),
                in_ci = ci <= kChain ? 1 : ceil_div(ci, kChain);
  for (int64_t d = 0; d < in_depth; ++d)
    for (int64_t h = 0; h < in_height; ++h)
      for (int64_t c = 0; c < in_ci; ++c)
        chunks.push_back({depth * d / in_depth, depth * (d + 1) / in_depth, height * h / in_height,
                          height * (h + 1) / in_height, ci * c / in_ci, ci * (c + 1) / in_ci});
  return chunks;
}

}  // namespace

const double* filter_matrix(int m, int r) {
  switch (r * 8 + m) {
    case 2 * 8 + 2: return matrix<2, 2>();
    case 3 * 8 + 2: return matrix<2, 3>();
    case 4 * 8 + 2: return matrix<2, 4>();
    case 5 * 8 + 2: return matrix<2, 5>();
    case 2 * 8 + 4: return matrix<4, 2>();
    case 3 * 8 + 4: return matrix<4, 3>();
    case 4 * 8 + 4: return matrix<4, 4>();
    case 5 * 8 + 4: return matrix<4, 5>();
    case 2 * 8 + 6: return matrix<6, 2>();
    case 3 * 8 + 6: return matrix<6, 3>();
    default: return nullptr;
  }
}

int64_t Geometry::tiles() const { return ceil_div(c.w.outputs, int64_t{m} * lattices); }

std::string Geometry::tile_names() const {
  std::string text;
  for (const RowsSegment& s : segments)
    text += (&s == segments.data() ? " F(" : " + F(") + std::to_string(m) + ", " +
            std::to_string(s.taps) + ")";
  return text;
}

std::string why_not_geometry(const Problem& problem, int m) {
  if (problem.direction == Direction::kBackwardFilter)
    return "computes forward and backward_input only";
  if (problem.dtype != DType::kFloat32) return "computes float32 only";
  if (problem.groups != 1) return "computes ungrouped convolutions only";
  const implicit_gemm::CorrelationProblem whole = implicit_gemm::make_correlations(problem);
  if (whole.parts.size() != 1 || !whole.complete)
    return "computes gradients of the input with stride 1 only";
  if (whole.source_channels > kMaxChannels) return "has more channels than a sum is cut for";
  const implicit_gemm::AxisTaps& w = whole.parts[0].w;
  if (w.taps < 2) return "a kernel of one tap along the width has nothing to transform";
  const int64_t common = std::gcd(w.stride, w.dilation), step = w.stride / common,
                lattices = w.dilation / common;
  if (step > 8 || lattices > 16 || w.taps > 64 || m * lattices * w.stride > kMaxPeriod)
    return "the stride, dilation or kernel is too large along the width";
  const std::vector<RowsSegment> segments = make_segments(w.taps, step, m);
  if (segments.back().point + segments.back().points >= m * w.taps)
    return "saves no products along the width";
  return {};
}

Geometry make_geometry(const Problem& problem, int m) {
  const implicit_gemm::CorrelationProblem whole = implicit_gemm::make_correlations(problem);
  Geometry g{};
  g.c = whole.parts[0];
  g.ci = whole.source_channels;
  g.co = whole.result_channels;
  g.source_row = whole.source_row;
  g.source_plane = whole.source_plane;
  g.source_voxels = whole.source_voxels;
  g.result_row = whole.result_row;
  g.result_plane = whole.result_plane;
  g.result_voxels = whole.result_voxels;
  g.backward = whole.backward;
  g.channels_first = problem.layout == Layout::kChannelsFirst;
  g.m = m;
  const int64_t common = std::gcd(g.c.w.stride, g.c.w.dilation);
  g.lattices = static_cast<int>(g.c.w.dilation / common);
  g.step = static_cast<int>(g.c.w.stride / common);
  g.segments = make_segments(g.c.w.taps, g.step, m);
  g.points = g.segments.back().point + g.segments.back().points;
  g.period = int64_t{m} * g.lattices * g.c.w.stride;
  int64_t last = 0;  // furthest pixel of a window
  for (const RowsSegment& s : g.segments)
    last = std::max(last, (g.lattices - 1) * g.c.w.stride +
                              (s.first + int64_t{s.points - 1} * g.step) * g.c.w.dilation);
  g.reach = static_cast<int>(last / g.period);
  g.chunks = make_chunks(g.c.d.taps, g.c.h.taps, g.ci);
  for (const Chunk& chunk : g.chunks)
    g.chain = std::max(g.chain,
                       (chunk.depth_end - chunk.depth) * (chunk.height_end - chunk.height) * g.ci);
  return g;
}

double error_bound(const Geometry& g) {
  // As for Winograd in three dimensions: the square root of the terms of a chain, times what the
  // transforms amplify.
  double factor = 1;
  for (const RowsSegment& s : g.segments) {
    const int n = s.taps == 1 ? 1 : s.points;
    factor = std::max(factor, n <= 4 ? 1.3 : n == 5 ? 1.75 : n == 6 ? 2.5 : n == 7 ? 4.0 : 7.0);
  }
  return 2e-7 * std::sqrt(1.0 + static_cast<double>(g.chain) / 16.0) * factor;
}

}  // namespace conv3d::winograd_rows
