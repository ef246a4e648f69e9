// algorithms/winograd and kernels/winograd_*: matrices, transforms, the algorithm against float64,
// its stated accuracy, and the same bits whatever the threads, blocks, layout, batch and alignment.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "algorithms/reference/reference.h"
#include "algorithms/winograd/blocking.h"
#include "algorithms/winograd/filter.h"
#include "algorithms/winograd/geometry.h"
#include "algorithms/winograd/winograd.h"
#include "emulation/tables.h"
#include "kernels/cook_toom.h"
#include "kernels/dispatch.h"
#include "problem_sets.h"
#include "run_algorithm.h"

namespace conv3d {
namespace {

using testing::Block;
using testing::runnable_tables;
using testing::Tensors;

PlanContext context_of(const KernelTable& table) { return {&table, &cpu_info(), 1}; }

// --- matrices ------------------------------------------------------------------------------------

struct MatrixSet {
  int m, r, n;
  std::vector<double> a, g, b;  // A^T, G, B^T
  int stride = 1;
  int merge = kSplitNone;  // kSplitMerge, kSplitMergePlain or kSplitPair
  int outputs() const { return merge != kSplitNone && merge != kSplitPair ? 2 * m : m; }
  int window() const { return merge == kSplitPair ? 2 : merge != kSplitNone ? m + 1 : n; }
};

template <int M, int R>
consteval auto as_doubles() {
  constexpr int kN = M + R - 1;
  struct {
    double a[M][kN], g[kN][R], b[kN][kN];
  } d{};
  constexpr cook_toom::Matrices<M, R> x = cook_toom::make<M, R>();
  for (int i = 0; i < M; ++i)
    for (int j = 0; j < kN; ++j) d.a[i][j] = cook_toom::to_double(x.a[i][j]);
  for (int j = 0; j < kN; ++j)
    for (int k = 0; k < R; ++k) d.g[j][k] = cook_toom::to_double(x.g[j][k]);
  for (int i = 0; i < kN; ++i)
    for (int j = 0; j < kN; ++j) d.b[i][j] = cook_toom::to_double(x.b[i][j]);
  return d;
}

template <int M, int R>
MatrixSet matrix_set() {
  constexpr int kN = M + R - 1;
  static constexpr auto d = as_doubles<M, R>();
  return {M,
          R,
          kN,
          {&d.a[0][0], &d.a[0][0] + M * kN},
          {&d.g[0][0], &d.g[0][0] + kN * R},
          {&d.b[0][0], &d.b[0][0] + kN * kN}};
}

// m outputs two pixels apart: even pixels meet even taps in `even`, odd pixels odd taps in `odd`.
MatrixSet interleaved(const MatrixSet& even, const MatrixSet& odd) {
  MatrixSet s{even.m, even.r + odd.r, even.n + odd.n, {}, {}, {}, 2};
  s.a.resize(s.m * s.n);
  s.g.resize(s.n * s.r);
  s.b.resize(s.n * s.n);
  const MatrixSet* const halves[] = {&even, &odd};
  for (int half = 0; half < 2; ++half) {
    const MatrixSet& h = *halves[half];
    const int first = half == 0 ? 0 : even.n;
    for (int j = 0; j < h.n; ++j) {
      for (int i = 0; i < h.m; ++i) s.a[i * s.n + first + j] = h.a[i * h.n + j];
      for (int k = 0; k < h.r; ++k) s.g[(first + j) * s.r + 2 * k + half] = h.g[j * h.r + k];
      for (int k = 0; k < h.n; ++k) s.b[(first + j) * s.n + 2 * k + half] = h.b[j * h.n + k];
    }
  }
  return s;
}

// m products with one tap.
MatrixSet plain(int m) {
  MatrixSet s{
      m, 1, m, std::vector<double>(m * m), std::vector<double>(m, 1.0), std::vector<double>(m * m)};
  for (int i = 0; i < m; ++i) s.a[i * m + i] = s.b[i * m + i] = 1;
  return s;
}

// The results of two taps and those of the tap between them, in turns, from one window.
MatrixSet merged(const MatrixSet& two, int merge) {
  const int m = two.m, late = merge == kSplitMerge ? 1 : 0;
  MatrixSet s{m, 3, 2 * m + 1, {}, {}, {}, 2, merge};
  s.a.resize(s.outputs() * s.n);
  s.g.resize(s.n * s.r);
  s.b.resize(s.n * s.window());
  for (int j = 0; j < two.n; ++j) {
    for (int i = 0; i < m; ++i) s.a[(2 * i + 1 - late) * s.n + j] = two.a[i * two.n + j];
    for (int k = 0; k < 2; ++k) s.g[j * 3 + 2 * k] = two.g[j * 2 + k];
    for (int k = 0; k < two.n; ++k) s.b[j * s.window() + k] = two.b[j * two.n + k];
  }
  for (int i = 0; i < m; ++i) {
    s.a[(2 * i + late) * s.n + two.n + i] = 1;
    s.g[(two.n + i) * 3 + 1] = 1;
    s.b[(two.n + i) * s.window() + i + late] = 1;
  }
  return s;
}

// Two pixels and two results between zeros.
MatrixSet pair() {
  return {2, 3,         3, {0, 1, 1, 1, 1, 0}, {1, -1, 0, 0, 1, 0, 0, -1, 1}, {1, 0, 1, 1, 0, 1},
          1, kSplitPair};
}

const std::vector<MatrixSet>& matrix_sets() {
  static const std::vector<MatrixSet> sets = {matrix_set<1, 1>(),
                                              matrix_set<2, 2>(),
                                              matrix_set<3, 2>(),
                                              matrix_set<4, 2>(),
                                              matrix_set<2, 3>(),
                                              matrix_set<3, 3>(),
                                              matrix_set<4, 3>(),
                                              matrix_set<2, 4>(),
                                              matrix_set<3, 4>(),
                                              matrix_set<2, 5>(),
                                              matrix_set<3, 5>(),
                                              interleaved(matrix_set<2, 2>(), plain(2)),
                                              interleaved(matrix_set<3, 2>(), plain(3)),
                                              interleaved(matrix_set<2, 2>(), matrix_set<2, 2>()),
                                              interleaved(matrix_set<2, 3>(), matrix_set<2, 2>()),
                                              pair(),
                                              merged(matrix_set<2, 2>(), kSplitMerge),
                                              merged(matrix_set<3, 2>(), kSplitMerge),
                                              merged(matrix_set<2, 2>(), kSplitMergePlain),
                                              merged(matrix_set<3, 2>(), kSplitMergePlain)};
  return sets;
}

const MatrixSet& matrices(int m, int r, int stride, int merge) {
  for (const MatrixSet& s : matrix_sets())
    if (s.m == m && s.r == r && (s.stride == stride || r == 1) && s.merge == merge) return s;
  throw std::logic_error("no such F(m, r)");
}

TEST_CASE(
    "winograd: y = A^T [(G g) . (B^T d)] is the correlation, and the library packs with this G") {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  for (const MatrixSet& s : matrix_sets()) {
    CAPTURE(s.m);
    CAPTURE(s.r);
    std::vector<double> d(s.window()), g(s.r);
    for (double& x : d) x = normal(random);
    for (double& x : g) x = normal(random);
    CAPTURE(s.stride);
    const double* packed_with = winograd::filter_matrix(
        s.m, s.r, s.stride, s.merge == kSplitPair ? kSplitPair : kSplitNone);
    REQUIRE(packed_with != nullptr);
    for (int i = 0; i < s.n * s.r; ++i) CHECK(packed_with[i] == s.g[i]);
    for (int i = 0; i < s.outputs(); ++i) {
      double y = 0, direct = 0;
      for (int j = 0; j < s.n; ++j) {
        double u = 0, v = 0;
        for (int k = 0; k < s.window(); ++k) u += s.b[j * s.window() + k] * d[k];
        for (int k = 0; k < s.r; ++k) v += s.g[j * s.r + k] * g[k];
        y += s.a[i * s.n + j] * u * v;
      }
      if (s.merge == kSplitNone) {
        for (int k = 0; k < s.r; ++k) direct += d[s.stride * i + k] * g[k];
      } else if (s.merge == kSplitPair) {
        direct = i == 0 ? d[0] * g[1] + d[1] * g[2] : d[0] * g[0] + d[1] * g[1];
      } else if ((i % 2 == 0) == (s.merge == kSplitMerge)) {
        direct = d[i / 2] * g[0] + d[i / 2 + 1] * g[2];
      } else {
        direct = d[i / 2 + (s.merge == kSplitMerge ? 1 : 0)] * g[1];
      }
      CHECK(y == doctest::Approx(direct).epsilon(1e-12));
    }
  }
  CHECK(winograd::filter_matrix(5, 3, 1) == nullptr);
  CHECK(winograd::filter_matrix(4, 1, 1) == nullptr);
  CHECK(winograd::filter_matrix(4, 3, 2) == nullptr);
  CHECK(winograd::filter_matrix(2, 3, 3) == nullptr);
  CHECK(winograd::filter_matrix(1, 1, 7) != nullptr);
}

// --- transforms ----------------------------------------------------------------------------------

// x[d][h][w] -> (M0 x M1 x M2) x, matrices [rows][columns].
std::vector<double> apply3(const std::vector<double>& x, const int in[3], const int out[3],
                           const std::vector<double>* const m[3]) {
  std::vector<double> y(static_cast<size_t>(out[0]) * out[1] * out[2]);
  for (int a = 0; a < out[0]; ++a)
    for (int b = 0; b < out[1]; ++b)
      for (int c = 0; c < out[2]; ++c) {
        double sum = 0;
        for (int i = 0; i < in[0]; ++i)
          for (int j = 0; j < in[1]; ++j)
            for (int k = 0; k < in[2]; ++k)
              sum += (*m[0])[a * in[0] + i] * (*m[1])[b * in[1] + j] * (*m[2])[c * in[2] + k] *
                     x[(i * in[1] + j) * in[2] + k];
        y[(a * out[1] + b) * out[2] + c] = sum;
      }
  return y;
}

TEST_CASE("winograd: every number of the packed filter, any channel counts, both directions") {
  std::mt19937 random(17);
  std::normal_distribution<float> normal;
  struct Channels {
    int64_t ic, oc;
  };
  for (const KernelTable* table : runnable_tables())
    for (const auto& [extents, shape] : {std::pair{"id6ih8iw8", winograd::TileShape{{2, 2, 2}}},
                                         {"id6ih8iw8", {{2, 4, 4}}},
                                         {"id2ih8iw8", {{2, 4, 4}}},
                                         {"id2ih2iw2", {{2, 2, 2}}}})
      for (const Channels channels :
           {Channels{1, 3}, {17, 5}, {33, 40}, {7, 49}, {64, 16}, {200, 350}})
        for (const Direction direction : {Direction::kForward, Direction::kBackwardInput}) {
          ProblemSpec spec = testing::parse_problem(std::string("mb1_ic1") + extents +
                                                    "_oc1_kd3kh3kw3_sd1sh1sw1_same");
          spec.input_channels = channels.ic;
          spec.output_channels = channels.oc;
          spec.direction = direction;
          const winograd::Geometry g = winograd::make_geometry(make_problem(spec), shape);
          std::vector<float> filter(static_cast<size_t>(27 * channels.ic * channels.oc));
          for (float& x : filter) x = normal(random);
          Block block(winograd::packed_filter_floats(g, *table) * sizeof(float));
          const float* const packed = block.as<float>();
          winograd::pack_filter(g, *table, filter.data(), block.as<float>(), default_thread_pool(),
                                2);
          CAPTURE(table->name);
          CAPTURE(channels.ic);
          CAPTURE(channels.oc);
          CHECK(block.intact());
          const int64_t columns = winograd::panel_columns(g.co, *table), nr = table->winograd.nr;
          const std::vector<double>* const matrix[] = {&matrices(g.m[0], 3, 1, g.split[0]).g,
                                                       &matrices(g.m[1], 3, 1, g.split[1]).g,
                                                       &matrices(g.m[2], 3, 1, g.split[2]).g};
          // Every source and result channel of a small filter, some of a large one.
          const int64_t step = channels.ic * channels.oc > 10000 ? 13 : 1;
          size_t wrong = 0;
          for (int64_t ci = 0; ci < g.ci; ci += step)
            for (int64_t co = 0; co < columns; co += step) {
              std::vector<double> taps(27);
              for (int t = 0; t < 27 && co < g.co; ++t)
                taps[t] = g.flipped ? filter[((26 - t) * g.co + co) * g.ci + ci]
                                    : filter[(t * g.ci + ci) * g.co + co];
              const std::vector<double> want = apply3(taps, g.r, g.n, matrix);
              const int64_t panel = co / nr * nr, width = std::min(nr, columns - panel);
              for (int p = 0; p < g.points(); ++p) {
                const double got = packed[p * columns * g.ci + panel * g.ci + ci * width + co % nr];
                if (!(std::abs(got - want[p]) <= 0x1p-24 * std::abs(want[p]) + 1e-13)) ++wrong;
              }
            }
          CHECK(wrong == 0);

          // Unpacked, some source channels at a time: the same numbers, but for float32's rounding.
          const ptrdiff_t position = 48 * nr + 16;
          Block some(g.points() * position * sizeof(float)),
              lines(winograd::PanelFilter::lines_floats() * sizeof(float));
          double worst = 0;
          for (int64_t panel = 0; panel * nr < columns; ++panel) {
            winograd::PanelFilter part(g, *table, filter.data(), panel, lines.as<float>());
            const int64_t width = std::min(nr, columns - panel * nr);
            CHECK(part.width() == width);
            for (int64_t first = 0; first < g.ci; first += 48) {
              const int64_t sources = std::min<int64_t>(48, g.ci - first);
              part.transform(first, sources, some.as<float>(), position);
              for (int p = 0; p < g.points(); ++p)
                for (int64_t i = 0; i < sources * width; ++i) {
                  const float want =
                      packed[p * columns * g.ci + panel * nr * g.ci + first * width + i];
                  const float got = some.as<float>()[p * position + i];
                  worst = std::max<double>(worst, got == got ? std::abs(got - want) : 1e30);
                }
            }
          }
          CHECK(some.intact());
          CHECK(lines.intact());
          CHECK(worst < 1e-6);
          CHECK(worst > 0);  // in float32 indeed

          // Lanes along the pixels: the same numbers.
          winograd::Geometry along = g;
          along.pixel_lanes = true;
          Block pixel_block(winograd::packed_filter_floats(along, *table) * sizeof(float));
          winograd::pack_filter(along, *table, filter.data(), pixel_block.as<float>(),
                                default_thread_pool(), 2);
          CHECK(pixel_block.intact());
          const int64_t line = kWinogradGroup, groups = (g.ci + line - 1) / line;
          for (int p = 0; p < g.points(); ++p)
            for (int64_t ci = 0; ci < groups * line; ++ci)
              for (int64_t co = 0; co < g.co; ++co) {
                const int64_t panel = co / nr * nr, width = std::min(nr, columns - panel);
                const float expected =
                    ci < g.ci ? packed[p * columns * g.ci + panel * g.ci + ci * width + co % nr]
                              : 0.0f;
                const int64_t at = ((p * groups + ci / line) * g.co + co) * line + ci % line;
                if (pixel_block.as<float>()[at] != expected) ++wrong;
              }
          CHECK(wrong == 0);
        }
}

TEST_CASE("winograd: a pair is two pixels and two results between zeros, and nothing else") {
  using winograd::is_pair;
  CHECK(is_pair({2, 2, 1, 1, 1, 3, 2}));
  CHECK(is_pair({4, 4, 2, 2, 1, 3, 2}));
  CHECK(is_pair({3, 3, 2, 2, 1, 3, 2}));   // the second phase has one pixel
  CHECK(!is_pair({3, 3, 1, 1, 1, 3, 2}));  // three pixels
  CHECK(!is_pair({2, 2, 2, 2, 1, 3, 2}));  // one pixel a phase
  CHECK(!is_pair({2, 2, 0, 1, 1, 3, 2}));  // a window that begins at the first pixel
  CHECK(!is_pair({2, 2, 2, 1, 1, 3, 2}));  // or two before it
  CHECK(!is_pair({2, 3, 1, 1, 1, 3, 2}));  // three results
  CHECK(!is_pair({2, 2, 1, 1, 2, 3, 2}));  // a stride
  CHECK(!is_pair({2, 2, 1, 1, 1, 3, 4}));  // tiles of four
  CHECK(!is_pair({2, 2, 1, 1, 1, 2, 2}));  // two taps
}

struct Axis3 {
  int m[3], r[3], s[3] = {1, 1, 1};
  int merge[3] = {kSplitNone, kSplitNone, kSplitNone};
  int points(int axis) const { return matrix(axis).n; }
  int window(int axis) const { return matrix(axis).window(); }
  int outputs(int axis) const { return matrix(axis).outputs(); }
  int split(int axis) const {
    return merge[axis] != kSplitNone ? merge[axis] : winograd::split_of(r[axis], s[axis]);
  }
  int step(int axis) const { return merge[axis] != kSplitNone ? m[axis] : s[axis] * m[axis]; }
  const MatrixSet& matrix(int axis) const {
    return matrices(m[axis], r[axis], s[axis], merge[axis]);
  }
};
const Axis3 kTransformShapes[] = {{{4, 4, 4}, {3, 3, 3}},
                                  {{2, 3, 4}, {3, 3, 3}},
                                  {{1, 4, 2}, {1, 3, 3}},
                                  {{4, 1, 1}, {3, 1, 1}},
                                  {{2, 2, 2}, {5, 5, 5}},
                                  {{3, 2, 3}, {5, 5, 5}},
                                  {{1, 1, 3}, {1, 1, 3}},
                                  {{2, 3, 4}, {2, 2, 2}},
                                  {{3, 4, 2}, {4, 2, 4}},
                                  {{2, 2, 3}, {3, 3, 3}, {2, 2, 2}},
                                  {{3, 3, 2}, {3, 3, 3}, {2, 2, 2}},
                                  {{4, 2, 3}, {3, 3, 3}, {1, 2, 2}},
                                  {{2, 2, 2}, {5, 4, 5}, {2, 2, 2}},
                                  {{2, 2, 2}, {4, 5, 4}, {2, 2, 2}},
                                  {{3, 1, 1}, {3, 1, 1}, {2, 1, 3}},
                                  {{2, 3, 2}, {3, 3, 3}, {2, 2, 2}, {3, 4, 4}},
                                  {{3, 2, 3}, {3, 3, 3}, {2, 2, 2}, {4, 3, 3}},
                                  {{3, 4, 2}, {3, 3, 3}, {2, 1, 2}, {3, 0, 3}},
                                  {{1, 3, 3}, {1, 3, 3}, {1, 2, 2}, {0, 3, 4}},
                                  {{2, 4, 3}, {3, 3, 3}, {1, 1, 1}, {kSplitPair, 0, 0}},
                                  {{2, 2, 2}, {3, 3, 3}, {1, 1, 1}, {0, kSplitPair, kSplitPair}},
                                  {{2, 1, 1}, {3, 1, 1}, {1, 1, 1}, {kSplitPair, 0, 0}}};

TEST_CASE(
    "winograd: input transform against float64, borders as zeros, neighbours sharing columns") {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (const KernelTable* table : runnable_tables())
    for (const Axis3& shape : kTransformShapes)
      for (int channels : {16, 8, 5})
        for (int origin : {0, -1, 3}) {
          const int gap = channels == 8 ? 2 : 0;  // tiles of other runs in between
          CAPTURE(table->name);
          CAPTURE(channels);
          CAPTURE(origin);
          const int extent[3] = {6, 7, 11}, tiles = 3;
          int n[3], in[3];
          const std::vector<double>* b[3];
          for (int a = 0; a < 3; ++a) {
            n[a] = shape.points(a);
            in[a] = shape.window(a);
            b[a] = &shape.matrix(a).b;
          }
          const int points = n[0] * n[1] * n[2], pixels = in[0] * in[1] * in[2];
          // Beyond the group's channels lies NaN: a lane that is read shows.
          std::vector<float> image(static_cast<size_t>(extent[0]) * extent[1] * extent[2] * 16,
                                   std::numeric_limits<float>::quiet_NaN());
          for (size_t i = 0; i < image.size(); ++i)
            if (static_cast<int>(i % 16) < channels) image[i] = normal(random);
          const ptrdiff_t position = (tiles * (1 + gap) + 1) * 16;
          Block block(points * position * sizeof(float));
          std::fill_n(block.as<float>(), points * position, -77.0f);
          WinogradInputArgs args{};
          args.split_d = shape.split(0);
          args.split_h = shape.split(1);
          args.split_w = shape.split(2);
          args.gap = gap;
          args.source = image.data();
          args.stride_w = 16;
          args.stride_h = extent[2] * 16;
          args.stride_d = extent[1] * extent[2] * 16;
          args.extent_d = extent[0];
          args.extent_h = extent[1];
          args.extent_w = extent[2];
          args.origin_d = args.origin_h = args.origin_w = origin;
          args.points_d = n[0];
          args.points_h = n[1];
          args.points_w = n[2];
          args.step_w = shape.step(2);
          args.tiles = tiles;
          args.channels = channels;
          args.u = block.as<float>();
          args.position_stride = position;
          table->winograd.input_transform(&args);
          REQUIRE(block.intact());
          for (int p = 0; p < points; ++p)
            for (int line = 0; line * 16 < position; ++line)
              if (line % (1 + gap) != 0 || line >= tiles * (1 + gap))
                CHECK(block.as<float>()[p * position + line * 16] == -77.0f);
          double worst = 0;
          for (int tile = 0; tile < tiles; ++tile)
            for (int c = 0; c < channels; ++c) {
              std::vector<double> window(pixels);
              for (int i = 0; i < pixels; ++i) {
                const int d = origin + i / (in[1] * in[2]), h = origin + i / in[2] % in[1],
                          w = origin + tile * args.step_w + i % in[2];
                const bool inside =
                    d >= 0 && d < extent[0] && h >= 0 && h < extent[1] && w >= 0 && w < extent[2];
                window[i] = inside ? image[((d * extent[1] + h) * extent[2] + w) * 16 + c] : 0.0;
              }
              const std::vector<double> u = apply3(window, in, n, b);
              for (int p = 0; p < points; ++p) {
                const double difference =
                    std::abs(u[p] - block.as<float>()[p * position + tile * (1 + gap) * 16 + c]);
                worst = std::max(worst, std::isnan(difference) ? 1e30 : difference);
              }
            }
          CHECK(worst < 2e-4);  // values reach 200 with the 7-point shapes
        }
}

TEST_CASE("winograd: output transform against float64, clipped, with bias and every activation") {
  std::mt19937 random(6);
  std::normal_distribution<float> normal;
  for (const KernelTable* table : runnable_tables())
    for (const Axis3& shape : kTransformShapes)
      for (int channels : {16, 11, 8})
        for (int activation = 0; activation <= 4; ++activation)
          for (int stream : {0, 1}) {
            CAPTURE(table->name);
            CAPTURE(channels);
            CAPTURE(activation);
            int n[3], out[3];
            const std::vector<double>* a[3];
            for (int i = 0; i < 3; ++i) {
              n[i] = shape.points(i);
              out[i] = shape.outputs(i);
              a[i] = &shape.matrix(i).a;
            }
            const int points = n[0] * n[1] * n[2], tiles = 2, gap = channels == 8 ? 1 : 0;
            // Eight channels lie close, so that rows of them may be streamed.
            const int line = channels == 8 ? 8 : 16;
            const int extent[3] = {out[0], std::max(1, out[1] - 1),
                                   2 * out[2] - (out[2] > 1) * (channels == 8 ? 2 : 1)};
            const ptrdiff_t position = (tiles * (1 + gap) + 1) * 16;
            Block block(points * position * sizeof(float)),
                result(extent[0] * extent[1] * extent[2] * line * sizeof(float));
            for (int i = 0; i < points * position; ++i)
              block.as<float>()[i] = 0.1f * normal(random);
            std::fill_n(result.as<float>(), extent[0] * extent[1] * extent[2] * line, -77.0f);
            alignas(64) float bias[16];
            for (float& x : bias) x = normal(random);
            WinogradOutputArgs args{};
            args.m = block.as<float>();
            args.position_stride = position;
            args.points_d = n[0];
            args.points_h = n[1];
            args.points_w = n[2];
            args.split_d = shape.split(0);
            args.split_h = shape.split(1);
            args.split_w = shape.split(2);
            args.gap = gap;
            args.outputs_d = out[0];
            args.outputs_h = out[1];
            args.outputs_w = out[2];
            args.extent_d = extent[0];
            args.extent_h = extent[1];
            args.extent_w = extent[2];
            args.tiles = tiles;
            args.channels = channels;
            args.result = result.as<float>();
            args.stride_w = line;
            args.stride_h = extent[2] * line;
            args.stride_d = extent[1] * extent[2] * line;
            args.bias = bias;
            args.activation = activation;
            args.alpha = 0.3f;
            args.stream = stream;
            table->winograd.output_transform(&args);
            REQUIRE(result.intact());
            double worst = 0;
            for (int tile = 0; tile < tiles; ++tile)
              for (int c = 0; c < line; ++c) {
                std::vector<double> m(points);
                for (int p = 0; p < points; ++p)
                  m[p] = block.as<float>()[p * position + tile * (1 + gap) * 16 + c];
                const std::vector<double> y = apply3(m, n, out, a);
                for (int i = 0; i < out[0] * out[1] * out[2]; ++i) {
                  const int d = i / (out[1] * out[2]), h = i / out[2] % out[1],
                            w = tile * out[2] + i % out[2];
                  if (d >= extent[0] || h >= extent[1] || w >= extent[2]) continue;
                  const double got =
                      result.as<float>()[((d * extent[1] + h) * extent[2] + w) * line + c];
                  if (c >= channels) {
                    CHECK(got == -77.0);  // not written
                    continue;
                  }
                  double want = y[i] + bias[c];
                  if (activation == 1) want = std::max(want, 0.0);
                  if (activation == 2) want = want > 0 ? want : want * static_cast<double>(0.3f);
                  if (activation == 3) want = 1 / (1 + std::exp(-want));
                  if (activation == 4) want = std::tanh(want);
                  worst = std::max(worst, std::isnan(got) ? 1e30 : std::abs(got - want));
                }
              }
            CHECK(worst < 2e-5);
          }
}

// --- the algorithm -------------------------------------------------------------------------------

std::vector<double> exact_result(const Problem& p, const Tensors<float>& tensors) {
  Problem wide = p;
  wide.dtype = DType::kFloat64;
  Tensors<double> t(wide);
  t.input.assign(tensors.input.begin(), tensors.input.end());
  t.grad_output.assign(tensors.grad_output.begin(), tensors.grad_output.end());
  t.filter.assign(tensors.filter.begin(), tensors.filter.end());
  t.bias.assign(tensors.bias.begin(), tensors.bias.end());
  return testing::run_algorithm(reference_algorithm(), wide, context_of(kernel_table()), t, 2);
}

// max|error| / max|result|. A handful of results may all be small by chance; then their spread
// stands in for the maximum.
double relative_error(const std::vector<float>& got, const std::vector<double>& want,
                      double spread) {
  double worst = 0, largest = 2 * spread;
  for (size_t i = 0; i < want.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - want[i]);
    worst = std::max(worst, std::isnan(error) ? 1e30 : error);
    largest = std::max(largest, std::abs(want[i]));
  }
  return worst / largest;
}

double spread_of(const Problem& p) {
  const double channels =
      static_cast<double>(p.direction == Direction::kBackwardInput ? p.oc : p.ic);
  return std::sqrt(channels * static_cast<double>(p.kd * p.kh * p.kw));
}

// Problems whose blocks are cut at every kind of edge.
const char* const kProblems[] = {"mb2_ic16id8ih8iw8_oc32_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic3id6ih9iw10_oc5_kd3kh3kw3_sd1sh1sw1_valid",
                                 "mb1_ic17id6ih6iw13_oc19_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic33id5ih7iw6_oc16_kd3kh3kw3_sd1sh1sw1_pd2ph1pw0_qd0qh1qw2",
                                 "mb1_ic4id1ih1iw1_oc3_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb3_ic9id2ih3iw21_oc48_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic20id6ih9iw11_oc7_kd1kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic20id9ih4iw5_oc18_kd3kh1kw1_sd1sh1sw1_same",
                                 "mb2_ic16id9ih5iw33_oc16_kd3kh1kw1_sd1sh1sw1_same",
                                 // one row, which the result's is longer than, or lies before
                                 "mb1_ic8id16ih1iw32_oc8_kd3kh1kw1_sd1sh1sw1_pd1ph0pw0_qd1qh0qw16",
                                 "mb1_ic8id16ih1iw32_oc8_kd3kh1kw1_sd1sh2sw1_pd1ph1pw0_qd1qh0qw0",
                                 // pairs, of one axis or more
                                 "mb2_ic20id2ih5iw6_oc33_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb3_ic17id2ih2iw2_oc18_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic9id6ih2iw7_oc16_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic9id5ih4iw2_oc16_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb2_ic20id2ih4iw5_oc18_kd3kh1kw1_sd1sh1sw1_same",
                                 "mb1_ic7id4ih6iw3_oc5_kd3kh3kw3_sd1sh1sw1_dd2dh3dw2_same",
                                 "mb1_ic7id2ih2iw3_oc5_kd3kh3kw3_sd1sh1sw1_pd1ph0pw1_qd1qh2qw1",
                                 "mb1_ic8id7ih8iw9_oc8_kd5kh5kw5_sd1sh1sw1_same",
                                 "mb1_ic6id5ih6iw12_oc10_kd1kh5kw3_sd1sh1sw1_valid",
                                 "mb1_ic300id4ih5iw5_oc40_kd3kh3kw3_sd1sh1sw1_same",
                                 "mb1_ic5id4ih4iw4_oc4_kd3kh3kw3_sd1sh1sw1_pd5ph0pw3_qd4qh4qw6",
                                 "mb1_ic6id6ih9iw13_oc9_kd2kh2kw2_sd1sh1sw1_same",
                                 "mb2_ic18id5ih8iw10_oc9_kd4kh2kw4_sd1sh1sw1_valid",
                                 // one tap along other axes than the depth
                                 "mb2_ic17id7ih9iw6_oc18_kd3kh3kw1_sd1sh1sw1_same",
                                 "mb1_ic40id5ih4iw31_oc20_kd3kh3kw1_sd1sh1sw1_pd0ph2pw3_qd1qh0qw2",
                                 "mb1_ic6id9ih5iw7_oc33_kd3kh1kw3_sd1sh1sw1_same",
                                 "mb2_ic18id3ih9iw8_oc5_kd1kh3kw1_sd1sh1sw1_valid",
                                 "mb1_ic9id4ih6iw13_oc17_kd1kh1kw3_sd1sh1sw1_same",
                                 "mb1_ic5id7ih8iw9_oc6_kd5kh5kw1_sd1sh1sw1_same",
                                 "mb1_ic8id9ih12iw7_oc9_kd3kh3kw1_sd2sh2sw1_same",
                                 // strides
                                 "mb2_ic16id8ih9iw10_oc24_kd3kh3kw3_sd2sh2sw2_same",
                                 "mb1_ic5id9ih12iw27_oc17_kd3kh3kw3_sd2sh2sw2_valid",
                                 "mb1_ic7id6ih9iw11_oc8_kd3kh3kw3_sd1sh2sw2_same",
                                 "mb1_ic19id7ih6iw13_oc5_kd3kh3kw3_sd2sh1sw1_same",
                                 "mb1_ic9id5ih8iw17_oc33_kd1kh3kw3_sd1sh2sw2_same",
                                 "mb1_ic9id7ih8iw17_oc3_kd3kh1kw1_sd2sh3sw2_same",
                                 "mb1_ic6id9ih8iw11_oc4_kd4kh5kw4_sd2sh2sw2_same",
                                 "mb1_ic4id8ih9iw14_oc6_kd5kh4kw3_sd2sh2sw1_pd0ph3pw2_qd3qh0qw2",
                                 "mb1_ic2id1ih1iw1_oc3_kd3kh3kw3_sd2sh2sw2_same",
                                 "mb2_ic18id8ih9iw14_oc20_kd4kh4kw4_sd2sh2sw2_same",
                                 "mb1_ic5id10ih11iw25_oc17_kd4kh4kw4_sd2sh2sw2_valid",
                                 "mb1_ic7id9ih7iw12_oc5_kd4kh3kw4_sd2sh2sw2_pd2ph1pw3_qd1qh1qw0",
                                 "mb2_ic6id5ih8iw9_oc9_kd1kh4kw4_sd1sh2sw2_pd0ph1pw2_qd0qh2qw3",
                                 "mb1_ic4id2ih1iw3_oc3_kd4kh4kw4_sd2sh2sw2_pd3ph3pw3_qd3qh3qw3",
                                 "mb1_ic9id12ih5iw19_oc33_kd4kh3kw1_sd2sh1sw1_same",
                                 "mb2_ic18id8ih9iw14_oc20_kd5kh5kw5_sd2sh2sw2_same",
                                 "mb1_ic5id11ih12iw25_oc17_kd5kh5kw5_sd2sh2sw2_valid",
                                 "mb1_ic7id9ih7iw12_oc5_kd5kh3kw4_sd2sh2sw2_pd3ph1pw3_qd1qh1qw0",
                                 "mb1_ic4id2ih1iw3_oc3_kd5kh5kw5_sd2sh2sw2_pd4ph3pw3_qd3qh3qw3",
                                 "mb1_ic24id11ih12iw29_oc40_kd3kh3kw3_sd2sh2sw2_same",
                                 "mb1_ic3id5ih7iw9_oc2_kd3kh3kw3_sd2sh2sw2_pd4ph5pw0_qd0qh1qw6",
                                 "mb1_ic7id9ih8iw13_oc6_kd3kh3kw3_sd2sh2sw2_pd2ph1pw0_qd1qh0qw3",
                                 "mb2_ic18id8ih7iw22_oc20_kd3kh3kw3_sd2sh1sw2_pd1ph2pw2_qd1qh1qw1",
                                 // dilations
                                 "mb2_ic8id9ih10iw21_oc18_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2_same",
                                 "mb1_ic17id10ih9iw14_oc5_kd3kh3kw3_sd1sh1sw1_dd4dh4dw4_same",
                                 "mb1_ic6id9ih12iw13_oc7_kd3kh3kw3_sd1sh1sw1_dd1dh2dw3_valid",
                                 "mb1_ic4id6ih7iw5_oc3_kd3kh3kw3_sd1sh1sw1_dd5dh6dw7_same",
                                 "mb1_ic4id8ih4iw30_oc3_kd2kh1kw4_sd1sh1sw1_dd3dh9dw2_same",
                                 "mb1_ic3id9ih6iw40_oc4_kd3kh3kw3_sd1sh1sw1_dd1dh3dw9_same",
                                 "mb1_ic3id3ih6iw90_oc4_kd3kh3kw3_sd1sh1sw1_dd2dh3dw31_same",
                                 "mb1_ic5id6ih8iw9_oc4_kd3kh3kw3_sd1sh1sw1_dd3dh2dw4"
                                 "_pd7ph1pw0_qd2qh9qw5"};

std::vector<Problem> problems_in_all_forms(const char* text) {
  std::vector<Problem> problems;
  for (Direction direction : {Direction::kForward, Direction::kBackwardInput})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      ProblemSpec spec = testing::parse_problem(text);
      spec.direction = direction;
      spec.layout = layout;
      spec.with_bias = true;
      spec.activation = layout == Layout::kChannelsLast ? Activation::kRelu : Activation::kNone;
      problems.push_back(make_problem(spec));
    }
  return problems;
}

TEST_CASE(
    "winograd: every tile shape against float64, both directions and layouts, every instruction "
    "set") {
  const AlgorithmList algorithms = winograd_algorithms();
  std::vector<int> served(algorithms.size);
  for (const char* text : kProblems)
    for (const Problem& p : problems_in_all_forms(text)) {
      const Tensors<float> tensors(p, 11, false);
      const std::vector<double> want = exact_result(p, tensors);
      for (const KernelTable* table : runnable_tables())
        for (int i = 0; i < algorithms.size; ++i) {
          const Algorithm& algorithm = *algorithms.items[i];
          const PlanContext context = context_of(*table);
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(p.to_string());
          CAPTURE(table->name);
          CAPTURE(algorithm.name());
          ++served[i];
          const double bound = algorithm.prepare(p, context)->error_bound();
          const std::vector<float> got = testing::run_algorithm(algorithm, p, context, tensors, 2);
          CHECK(relative_error(got, want, spread_of(p)) <= bound);
        }
    }
  for (int i = 0; i < algorithms.size; ++i) {
    CAPTURE(algorithms.items[i]->name());
    CHECK(served[i] > 0);
  }
}

TEST_CASE(
    "winograd: the stated error bound holds for Gaussian and for post-ReLU data of 1 to 512 "
    "channels") {
  const AlgorithmList algorithms = winograd_algorithms();
  for (const char* kernel :
       {"id8ih9iw9_oc8_kd3kh3kw3_sd1sh1sw1", "id8ih9iw9_oc8_kd1kh3kw3_sd1sh1sw1",
        "id8ih9iw9_oc8_kd3kh1kw1_sd1sh1sw1", "id8ih9iw9_oc8_kd5kh5kw5_sd1sh1sw1",
        "id8ih9iw9_oc8_kd2kh2kw2_sd1sh1sw1", "id8ih9iw9_oc8_kd4kh4kw4_sd1sh1sw1",
        "id13ih16iw15_oc8_kd3kh3kw3_sd2sh2sw2", "id9ih16iw15_oc8_kd3kh3kw3_sd1sh2sw2",
        "id5ih24iw25_oc8_kd1kh3kw3_sd1sh2sw2", "id25ih9iw9_oc8_kd3kh1kw1_sd2sh1sw1",
        "id13ih16iw15_oc8_kd4kh4kw4_sd2sh2sw2", "id13ih16iw15_oc8_kd5kh5kw5_sd2sh2sw2",
        "id9ih11iw12_oc8_kd3kh3kw3_sd1sh1sw1_dd2dh2dw2", "id2ih12iw12_oc8_kd3kh3kw3_sd1sh1sw1",
        "id2ih2iw2_oc32_kd3kh3kw3_sd1sh1sw1",
        // these two as backward_input
        "id15ih12iw15_oc8_kd3kh3kw3_sd2sh2sw2", "id9ih14iw17_oc8_kd3kh3kw3_sd1sh2sw2"})
    for (int channels : {1, 4, 16, 64, 256, 512})
      for (bool relu : {false, true}) {
        const std::string text = kernel;
        const bool backward = text.starts_with("id15ih12iw15") || text.starts_with("id9ih14iw17");
        ProblemSpec spec =
            testing::parse_problem("mb1_ic" + std::to_string(channels) + kernel + "_same");
        if (backward) {
          spec.direction = Direction::kBackwardInput;
          std::swap(spec.input_channels, spec.output_channels);
        }
        const Problem p = make_problem(spec);
        Tensors<float> tensors(p, 21u + channels, false);
        if (relu)
          for (float& x : backward ? tensors.grad_output : tensors.input) x = std::max(x, 0.0f);
        const std::vector<double> want = exact_result(p, tensors);
        for (int i = 0; i < algorithms.size; ++i) {
          const Algorithm& algorithm = *algorithms.items[i];
          const PlanContext context = context_of(kernel_table());
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(p.to_string());
          CAPTURE(relu);
          CAPTURE(algorithm.name());
          const double bound = algorithm.prepare(p, context)->error_bound();
          const double error =
              relative_error(testing::run_algorithm(algorithm, p, context, tensors, 2), want, 0);
          CHECK(error <= bound);
          CHECK(error >= bound / 60);  // a bound that nothing comes near states nothing
        }
      }
}

TEST_CASE("winograd: the stated error bound holds where the filter is not packed") {
  // One algorithm entry that reads the filter as it is.
  struct Unpacked final : Algorithm {
    winograd::TileShape shape;
    const char* name() const override { return "unpacked"; }
    const char* family() const override { return "winograd"; }
    std::string why_not(const Problem&, const PlanContext&) const override { return {}; }
    double cost(const Problem&, const PlanContext&) const override { return 0; }
    std::unique_ptr<Prepared> prepare(const Problem& problem,
                                      const PlanContext& context) const override {
      const winograd::Geometry g = winograd::make_geometry(problem, shape);
      return winograd::prepare(problem, context, g,
                               winograd::make_blocking(g, winograd::Way::kUnpacked, 12, context));
    }
  };
  const struct {
    const char* kernel;
    winograd::TileShape shape;
  } cases[] = {{"id8ih9iw9_kd3kh3kw3_sd1sh1sw1", {{4, 4, 4}}},
               {"id8ih9iw9_kd3kh3kw3_sd1sh1sw1", {{2, 2, 2}}},
               {"id8ih9iw9_kd3kh3kw3_sd1sh1sw1", {{4, 3, 2}}},
               {"id8ih9iw9_kd1kh3kw3_sd1sh1sw1", {{1, 4, 4}}},
               {"id2ih9iw9_kd3kh3kw3_sd1sh1sw1", {{2, 4, 4}}},
               {"id8ih9iw9_kd3kh1kw1_sd1sh1sw1", {{4, 1, 1}}},
               {"id9ih11iw12_kd5kh5kw5_sd1sh1sw1", {{2, 3, 2}}},
               {"id15ih12iw15_kd3kh3kw3_sd2sh2sw2", {{2, 3, 3}}}};
  for (const auto& at : cases)
    for (int channels : {1, 16, 64, 256, 500})
      for (bool relu : {false, true}) {
        ProblemSpec spec = testing::parse_problem(std::string("mb1_ic8") + at.kernel + "_oc" +
                                                  std::to_string(channels) + "_same");
        spec.direction = Direction::kBackwardInput;
        const Problem p = make_problem(spec);
        Tensors<float> tensors(p, 71u + channels, false);
        if (relu)
          for (float& x : tensors.grad_output) x = std::max(x, 0.0f);
        const std::vector<double> want = exact_result(p, tensors);
        Unpacked unpacked;
        unpacked.shape = at.shape;
        for (const KernelTable* table : runnable_tables()) {
          CAPTURE(p.to_string());
          CAPTURE(relu);
          CAPTURE(table->name);
          const PlanContext context = context_of(*table);
          const double bound = unpacked.prepare(p, context)->error_bound();
          const double error =
              relative_error(testing::run_algorithm(unpacked, p, context, tensors, 2), want, 0);
          CHECK(error <= bound);
          CHECK(error >= bound / 60);
        }
      }
}

TEST_CASE("winograd: F(2, 3) of even whole numbers is exact") {
  // Its constants are 1 and 1/2, the latter three times: filters in multiples of eight leave
  // whole numbers everywhere.
  const Problem p =
      make_problem(testing::parse_problem("mb1_ic24id6ih7iw9_oc17_kd3kh3kw3_sd1sh1sw1_same"));
  Tensors<float> tensors(p);
  for (float& x : tensors.filter) x *= 8;
  const std::vector<double> want = exact_result(p, tensors);
  const AlgorithmList algorithms = winograd_algorithms();
  for (int i = 0; i < algorithms.size; ++i) {
    if (std::string(algorithms.items[i]->name()) != "winograd_f2x2x2") continue;
    for (const KernelTable* table : runnable_tables()) {
      const std::vector<float> got =
          testing::run_algorithm(*algorithms.items[i], p, context_of(*table), tensors, 2);
      CHECK(std::equal(got.begin(), got.end(), want.begin(),
                       [](float a, double b) { return static_cast<double>(a) == b; }));
    }
  }
}

// Results in channels-last order, whatever the layout.
std::vector<float> channels_last(const Problem& p, const std::vector<float>& x) {
  if (p.layout == Layout::kChannelsLast) return x;
  const bool backward = p.direction == Direction::kBackwardInput;
  const size_t channels = backward ? p.ic : p.oc,
               voxels = backward ? p.input_voxels() : p.output_voxels();
  std::vector<float> y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[(i / channels / voxels * voxels + i % voxels) * channels + i / voxels % channels] = x[i];
  return y;
}

TEST_CASE("winograd: reads and writes nothing beyond its buffers") {
  const AlgorithmList algorithms = winograd_algorithms();
  for (const char* text : {"mb1_ic18id4ih5iw9_oc20_kd3kh3kw3_sd1sh1sw1_same",
                           "mb2_ic5id5ih6iw19_oc7_kd3kh1kw1_sd1sh1sw1_same",
                           "mb2_ic17id6ih5iw21_oc9_kd3kh3kw1_sd1sh1sw1_same",
                           "mb1_ic9id3ih6iw35_oc18_kd1kh3kw1_sd1sh1sw1_valid",
                           "mb1_ic5id6ih7iw11_oc6_kd3kh3kw1_sd2sh2sw1_same"})
    for (const Problem& p : problems_in_all_forms(text)) {
      const Tensors<float> tensors(p, 13, false);
      for (const KernelTable* table : runnable_tables())
        for (int i = 0; i < algorithms.size; ++i) {
          const Algorithm& algorithm = *algorithms.items[i];
          const PlanContext context = context_of(*table);
          if (!algorithm.why_not(p, context).empty()) continue;
          CAPTURE(p.to_string());
          CAPTURE(table->name);
          CAPTURE(algorithm.name());
          const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
          const std::vector<float> want = testing::run_algorithm(algorithm, p, context, tensors, 2);
          for (const testing::Wall wall : {testing::Wall::kBefore, testing::Wall::kAfter})
            CHECK(testing::run_guarded(*prepared, p, tensors, 2, wall) == want);
        }
    }
}

TEST_CASE("winograd: same bits for any threads, blocks, stages and layout") {
  const struct {
    const char* problem;
    Direction direction;
    winograd::TileShape shape;
  } cases[] = {
      {"mb2_ic150id9ih10iw11_oc34_kd3kh3kw3_sd1sh1sw1_same", Direction::kForward, {{4, 4, 4}}},
      {"mb2_ic150id9ih10iw11_oc34_kd3kh3kw3_sd1sh1sw1_same",
       Direction::kBackwardInput,
       {{4, 4, 4}}},
      {"mb2_ic34id9ih10iw23_oc150_kd3kh3kw3_sd2sh2sw2_same",
       Direction::kBackwardInput,
       {{2, 3, 3}}},
      {"mb2_ic34id9ih10iw23_oc150_kd4kh4kw4_sd2sh2sw2_same",
       Direction::kBackwardInput,
       {{2, 2, 2}}},
      {"mb1_ic34id9ih10iw23_oc20_kd5kh5kw5_sd2sh2sw2_same", Direction::kBackwardInput, {{2, 2, 2}}},
      {"mb2_ic150id9ih10iw11_oc34_kd3kh1kw1_sd1sh1sw1_same", Direction::kForward, {{4, 1, 1}}},
      {"mb2_ic150id9ih10iw11_oc34_kd3kh1kw1_sd1sh1sw1_same",
       Direction::kBackwardInput,
       {{4, 1, 1}}},
      {"mb2_ic19id11ih4iw16_oc7_kd3kh1kw1_sd1sh1sw1_dd3dh1dw1_same",
       Direction::kForward,
       {{3, 1, 1}}},
      {"mb2_ic19id10ih5iw9_oc7_kd3kh1kw1_sd2sh1sw1_same", Direction::kForward, {{2, 1, 1}}},
      // rows kept, another axis than the depth transformed
      {"mb2_ic150id9ih10iw40_oc34_kd3kh3kw1_sd1sh1sw1_same", Direction::kForward, {{4, 4, 1}}},
      {"mb2_ic20id7ih9iw24_oc150_kd3kh3kw1_sd1sh1sw1_same", Direction::kBackwardInput, {{2, 4, 1}}},
      {"mb2_ic19id11ih8iw21_oc7_kd3kh3kw1_sd1sh1sw1_dd2dh3dw1_same",
       Direction::kForward,
       {{4, 4, 1}}},
      {"mb1_ic18id9ih10iw19_oc7_kd3kh3kw1_sd2sh2sw1_same", Direction::kBackwardInput, {{2, 2, 1}}},
      {"mb2_ic19id9ih8iw37_oc20_kd3kh1kw1_sd1sh2sw1_pd1ph1pw0_qd1qh1qw0",
       Direction::kForward,
       {{4, 1, 1}}},
      {"mb2_ic19id9ih8iw37_oc20_kd3kh1kw1_sd1sh1sw1_pd1ph1pw0_qd1qh1qw0",
       Direction::kBackwardInput,
       {{4, 1, 1}}},
      {"mb2_ic19id5ih2iw37_oc20_kd1kh3kw1_sd1sh1sw1_same", Direction::kForward, {{1, 2, 1}}},
      {"mb2_ic19id5ih12iw37_oc20_kd1kh3kw1_sd1sh2sw1_valid",
       Direction::kBackwardInput,
       {{1, 2, 1}}},
      {"mb2_ic19id5ih12iw37_oc20_kd1kh3kw1_sd1sh2sw1_pd0ph1pw0_qd0qh1qw0",
       Direction::kBackwardInput,
       {{1, 2, 1}}},
      {"mb2_ic19id5ih11iw37_oc20_kd1kh3kw1_sd1sh1sw1_same", Direction::kForward, {{1, 4, 1}}},
      {"mb2_ic19id7ih11iw17_oc20_kd1kh3kw1_sd2sh2sw1_pd1ph1pw0_qd2qh0qw0",
       Direction::kForward,
       {{1, 2, 1}}},
      {"mb2_ic19id5ih11iw17_oc20_kd1kh3kw1_sd1sh1sw1_dd1dh2dw1_pd2ph1pw0_qd0qh3qw0",
       Direction::kBackwardInput,
       {{1, 4, 1}}},
      {"mb3_ic150id2ih9iw2_oc34_kd3kh3kw3_sd1sh1sw1_same", Direction::kForward, {{2, 3, 2}}},
      {"mb2_ic19id2ih5iw9_oc7_kd3kh1kw1_sd1sh1sw1_same", Direction::kBackwardInput, {{2, 1, 1}}},
      {"mb2_ic19id10ih5iw9_oc7_kd3kh1kw1_sd2sh1sw1_same", Direction::kBackwardInput, {{2, 1, 1}}}};
  for (const auto& at : cases) {
    CAPTURE(at.problem);
    ProblemSpec spec = testing::parse_problem(at.problem);
    spec.direction = at.direction;
    const Problem p = make_problem(spec);
    spec.layout = Layout::kChannelsFirst;
    const Problem first = make_problem(spec);
    const Tensors<float> tensors(p, 31, false);
    Tensors<float> transposed = tensors;
    const auto transpose = [](const std::vector<float>& x, size_t channels, size_t voxels) {
      std::vector<float> y(x.size());
      for (size_t i = 0; i < x.size(); ++i)
        y[(i / channels / voxels * channels + i % channels) * voxels + i / channels % voxels] =
            x[i];
      return y;
    };
    transposed.input = transpose(tensors.input, p.ic, p.input_voxels());
    transposed.grad_output = transpose(tensors.grad_output, p.oc, p.output_voxels());

    // One algorithm entry whose blocking is given.
    struct Fixed final : Algorithm {
      winograd::TileShape shape;
      winograd::Way way;
      bool pixel_lanes, streams;
      int64_t tiles;
      const char* name() const override { return "fixed"; }
      const char* family() const override { return "winograd"; }
      std::string why_not(const Problem&, const PlanContext&) const override { return {}; }
      double cost(const Problem&, const PlanContext&) const override { return 0; }
      std::unique_ptr<Prepared> prepare(const Problem& problem,
                                        const PlanContext& context) const override {
        winograd::Geometry g = winograd::make_geometry(problem, shape);
        if (pixel_lanes) g = winograd::along_pixels(g);
        // Results beyond a third of the L3 pass the caches.
        CpuInfo small = *context.cpu;
        small.l3_bytes = 64;
        const PlanContext other{context.kernels, streams ? &small : context.cpu, context.threads};
        return winograd::prepare(problem, other, g,
                                 winograd::make_blocking(g, way, tiles, context));
      }
    };
    for (const KernelTable* table : runnable_tables()) {
      CAPTURE(table->name);
      // Unpacked, the filter is rounded otherwise and the chains of additions are shorter.
      std::vector<float> packed_want, unpacked_want;
      struct Form {
        const Problem* problem;
        winograd::Way way;
        bool pixel_lanes, streams;
      };
      using winograd::Way;
      std::vector<Form> forms = {
          {&p, Way::kFused, false, false},    {&first, Way::kFused, false, false},
          {&p, Way::kStaged, false, false},   {&first, Way::kStaged, false, false},
          {&p, Way::kUnpacked, false, false}, {&first, Way::kUnpacked, false, false}};
      if (winograd::make_geometry(p, at.shape).keeps_rows()) {
        forms.push_back({&first, Way::kFused, true, false});
        forms.push_back({&first, Way::kFused, true, true});
      }
      for (const auto& [form, way, pixel_lanes, streams] : forms)
        for (int64_t tiles : {1, 5, 13, 100})
          for (int threads : {1, 2, 3}) {
            CAPTURE(form->layout);
            CAPTURE(pixel_lanes);
            CAPTURE(streams);
            CAPTURE(static_cast<int>(way));
            CAPTURE(tiles);
            CAPTURE(threads);
            Fixed fixed;
            fixed.shape = at.shape;
            fixed.way = way;
            fixed.pixel_lanes = pixel_lanes;
            fixed.streams = streams;
            fixed.tiles = tiles;
            const std::vector<float> got = channels_last(
                *form, testing::run_algorithm(fixed, *form, context_of(*table),
                                              form == &p ? tensors : transposed, threads));
            std::vector<float>& want = way == Way::kUnpacked ? unpacked_want : packed_want;
            if (want.empty()) want = got;
            CHECK(std::memcmp(want.data(), got.data(), want.size() * sizeof(float)) == 0);
          }
    }
  }
}

const Algorithm& entry(const std::string& name) {
  const AlgorithmList algorithms = winograd_algorithms();
  for (int i = 0; i < algorithms.size; ++i)
    if (name == algorithms.items[i]->name()) return *algorithms.items[i];
  throw std::logic_error("no " + name);
}

TEST_CASE("winograd: same bits for any batch split and alignment, and an empty batch") {
  const PlanContext context = context_of(kernel_table());
  const Problem p =
      make_problem(testing::parse_problem("mb3_ic32id6ih9iw10_oc32_kd3kh3kw3_sd1sh1sw1_same"));
  const Tensors<float> tensors(p, 41, false);
  const Algorithm& algorithm = entry("winograd_f4x4x4");
  const std::vector<float> want = testing::run_algorithm(algorithm, p, context, tensors, 2);
  const std::unique_ptr<Prepared> prepared = algorithm.prepare(p, context);
  Block packed(prepared->packed_filter_bytes());
  prepared->pack_filter(tensors.filter.data(), packed.data(), default_thread_pool(), 2);
  Block scratch(prepared->ledger().total_bytes(1));
  const size_t in = p.input_voxels() * p.ic, out = p.output_voxels() * p.oc;
  for (size_t shift : {0, 1, 3}) {  // floats off the alignment
    Block input((in + shift) * sizeof(float)), result((out + shift) * sizeof(float));
    for (int64_t sample = 0; sample < p.mb; ++sample) {
      std::copy_n(tensors.input.data() + sample * in, in, input.as<float>() + shift);
      Buffers buffers;
      buffers.input = input.as<float>() + shift;
      buffers.packed_filter = packed.data();
      buffers.result = result.as<float>() + shift;
      buffers.batch = 1;
      prepared->execute(buffers, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(),
                        1);
      CHECK(result.intact());
      CHECK(std::memcmp(want.data() + sample * out, result.as<float>() + shift,
                        out * sizeof(float)) == 0);
    }
  }
  Buffers none;
  none.packed_filter = packed.data();
  none.batch = 0;
  prepared->execute(none, Scratch(prepared->ledger(), scratch.data()), default_thread_pool(), 1);
}

TEST_CASE("winograd: a NaN or Inf spoils exactly the tiles whose windows hold it") {
  const PlanContext context = context_of(kernel_table());
  const Problem p =
      make_problem(testing::parse_problem("mb1_ic20id10ih11iw13_oc18_kd3kh3kw3_sd1sh1sw1_same"));
  Tensors<float> tensors(p, 51, false);
  const Algorithm& algorithm = entry("winograd_f4x4x4");
  const std::vector<float> clean = testing::run_algorithm(algorithm, p, context, tensors, 2);
  const int64_t at[3] = {5, 3, 8};
  for (float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Tensors<float> bad = tensors;
    bad.input[((at[0] * p.ih + at[1]) * p.iw + at[2]) * p.ic + 7] = value;
    const std::vector<float> got = testing::run_algorithm(algorithm, p, context, bad, 2);
    int64_t spoiled = 0;
    for (int64_t d = 0; d < p.od; ++d)
      for (int64_t h = 0; h < p.oh; ++h)
        for (int64_t w = 0; w < p.ow; ++w) {
          const int64_t x[3] = {d, h, w};
          bool in_window = true, in_reach = true;
          for (int a = 0; a < 3; ++a) {
            const int64_t begin = x[a] / 4 * 4 - 1;
            in_window = in_window && at[a] >= begin && at[a] < begin + 6;
            in_reach = in_reach && at[a] >= x[a] - 1 && at[a] <= x[a] + 1;
          }
          for (int64_t c = 0; c < p.oc; ++c) {
            const size_t i = static_cast<size_t>(((d * p.oh + h) * p.ow + w) * p.oc + c);
            if (!in_window) {
              if (std::memcmp(&got[i], &clean[i], sizeof(float)) != 0)
                FAIL("changed outside the tiles");
            } else {
              spoiled += !std::isfinite(got[i]);
              if (in_reach && std::isfinite(got[i])) FAIL("finite where the direct sum is not");
            }
          }
        }
    CHECK(spoiled > 0);
  }
}

TEST_CASE("winograd: backward_input with stride 2 keeps a NaN within the tiles that read it") {
  const PlanContext context = context_of(kernel_table());
  for (const char* text : {"mb1_ic18id12ih13iw14_oc20_kd3kh3kw3_sd2sh2sw2_pd0ph0pw0_qd1qh0qw1",
                           "mb1_ic18id12ih13iw14_oc20_kd3kh3kw3_sd2sh2sw2_pd1ph1pw1_qd1qh1qw1"}) {
    ProblemSpec spec = testing::parse_problem(text);
    spec.direction = Direction::kBackwardInput;
    const Problem p = make_problem(spec);
    Tensors<float> tensors(p, 52, false);
    const Algorithm& algorithm = entry("winograd_f2x2x2");
    const std::vector<float> clean = testing::run_algorithm(algorithm, p, context, tensors, 2);
    const int64_t at[3] = {3, 2, 4};
    tensors.grad_output[((at[0] * p.oh + at[1]) * p.ow + at[2]) * p.oc + 7] =
        std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> got = testing::run_algorithm(algorithm, p, context, tensors, 2);
    for (size_t i = 0; i < got.size(); ++i) {
      const int64_t voxel = static_cast<int64_t>(i) / p.ic;
      const int64_t x[3] = {voxel / p.iw / p.ih, voxel / p.iw % p.ih, voxel % p.iw};
      bool in_window = true, in_reach = true;
      for (int a = 0; a < 3; ++a) {
        const int64_t tap = x[a] + p.pd - 2 * at[a];  // the padding is the same along all axes
        // Four results from two pixels and one more, before (pad 0) or behind them (pad 1).
        const int64_t begin = x[a] / 4 * 2 - (p.pd == 0 ? 1 : 0);
        in_window = in_window && at[a] >= begin && at[a] < begin + 3;
        in_reach = in_reach && tap >= 0 && tap < 3;
      }
      if (!in_window && std::memcmp(&got[i], &clean[i], sizeof(float)) != 0)
        FAIL("changed outside the tiles");
      if (in_reach && std::isfinite(got[i])) FAIL("finite where the direct sum is not");
    }
  }
}

TEST_CASE("winograd: the workspace does not grow with the volume or the batch, and is bounded") {
  const PlanContext context = context_of(kernel_table());
  for (const char* channels : {"ic16", "ic64", "ic256", "ic1024"})
    for (Layout layout : {Layout::kChannelsLast, Layout::kChannelsFirst}) {
      size_t bytes[2];
      int i = 0;
      for (const char* volume : {"id64ih64iw64", "id512ih512iw512"}) {
        ProblemSpec spec = testing::parse_problem(std::string("mb1_") + channels + volume + "_oc" +
                                                  (channels + 2) + "_kd3kh3kw3_sd1sh1sw1_same");
        spec.layout = layout;
        const std::unique_ptr<Prepared> prepared =
            entry("winograd_f4x4x4").prepare(make_problem(spec), context);
        bytes[i++] = prepared->ledger().bytes_per_thread();
        CAPTURE(channels);
        const size_t l2 = std::max<size_t>(cpu_info().l2_bytes, size_t{256} << 10);
        CHECK(prepared->ledger().bytes_per_thread() <= 2 * l2 + l2 / 2);
        CHECK(prepared->ledger().shared_bytes() <= (size_t{32} << 20));
      }
      CHECK(bytes[0] == bytes[1]);
    }
}

TEST_CASE("winograd: says what it does not compute") {
  const PlanContext context = context_of(kernel_table());
  const auto reason = [&](const char* text, auto&& change) {
    ProblemSpec spec = testing::parse_problem(text);
    change(spec);
    return entry("winograd_f4x4x4").why_not(make_problem(spec), context);
  };
  const auto same = [](ProblemSpec&) {};
  const char* plain = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same";
  CHECK(reason(plain, same).empty());
  CHECK(
      reason("mb1_ic8id8ih8iw8_oc8_kd5kh3kw3_sd2sh1sw1_same", same).find("F(4, 5) with stride 2") !=
      std::string::npos);
  CHECK(
      reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd3sh1sw1_same", same).find("F(4, 3) with stride 3") !=
      std::string::npos);
  const char* halves = "mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd2sh2sw2_same";
  CHECK(entry("winograd_f3x3x3")
            .why_not(make_problem(testing::parse_problem(halves)), context)
            .empty());
  const auto backward = [](ProblemSpec& s) { s.direction = Direction::kBackwardInput; };
  ProblemSpec merged = testing::parse_problem(halves);
  backward(merged);
  CHECK(entry("winograd_f3x3x3").why_not(make_problem(merged), context).empty());
  CHECK(reason(halves, backward).find("F(4, 3) with stride 2") != std::string::npos);
  for (const char* text : {"mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw3_same",
                           "mb1_ic8id8ih8iw8_oc8_kd3kh3kw2_sd1sh1sw2_same",
                           "mb1_ic8id8ih8iw8_oc8_kd3kh3kw1_sd1sh1sw2_same"})
    CHECK(reason(text, backward).find("2 along axes of three to five taps, only") !=
          std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_dd1dh2dw1_same", same).empty());
  CHECK(reason("mb1_g2ic8id8ih8iw8_oc8_kd3kh3kw3_sd1sh1sw1_same", same).find("ungrouped") !=
        std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd1kh3kw3_sd1sh1sw1_same", same).find("F(4, 1)") !=
        std::string::npos);
  CHECK(reason("mb1_ic8id8ih8iw8_oc8_kd7kh7kw7_sd1sh1sw1_same", same).find("F(4, 7)") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) { s.accuracy = Accuracy::kStrict; }).find("strict") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) { s.dtype = DType::kFloat64; }).find("float32") !=
        std::string::npos);
  CHECK(reason(plain, [](ProblemSpec& s) {
          s.direction = Direction::kBackwardFilter;
        }).find("forward") != std::string::npos);
}

}  // namespace
}  // namespace conv3d
