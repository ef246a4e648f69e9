#include "algorithms/winograd/blocking.h"

#include <algorithm>
#include <cstdlib>

#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd {
namespace {
constexpr int kGroup = kWinogradGroup;
int64_t group_round(int64_t channels) { return ceil_div(channels, kGroup) * kGroup; }
}  // namespace

Blocking make_blocking(const Geometry& g, bool staged, int64_t tiles, const PlanContext& context) {
  Blocking b{};
  b.staged = staged;
  b.tiles = tiles;
  const int64_t u = group_round(g.ci), m = group_round(g.co), points = g.points();
  const char* what = "the Winograd workspace";
  if (staged) {
    b.u_position = checked_product({tiles, u}, what) + kGroup;
    b.m_position = checked_product({tiles, m}, what) + kGroup;
    b.block_floats = checked_bytes({points, b.u_position + b.m_position}, what);
  } else {
    b.u_position = b.m_position = checked_product({tiles, std::max(u, m)}, what) + kGroup;
    b.block_floats = checked_bytes({points + 1, b.u_position}, what);
  }
  if (g.channels_first) {
    // The window of a run of tiles, one group of channels, in a quarter of the L2.
    const int64_t budget = static_cast<int64_t>(context.cpu->l2_bytes) / 4 / (4 * kGroup), rows = g.n[0] * g.n[1];
    b.run = static_cast<int>(std::clamp<int64_t>((budget / rows - g.n[2] + g.m[2]) / g.m[2], 1, 64));
    const int64_t source_lines = rows * (g.m[2] * (b.run - 1) + g.n[2]), result_lines = int64_t{g.m[0]} * g.m[1] * g.m[2] * b.run;
    b.staging_floats = static_cast<size_t>(std::max(source_lines, result_lines) * kGroup);
  } else {
    b.run = getenv("RUN") ? atoi(getenv("RUN")) : 1 << 20;
  }
  return b;
}

}  // namespace conv3d::winograd
