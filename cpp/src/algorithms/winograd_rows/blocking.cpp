#include "algorithms/winograd_rows/blocking.h"

#include <algorithm>
#include <cmath>

#include "algorithms/machine_rates.h"
#include "base/math.h"
#include "kernels/kernel_table.h"

namespace conv3d::winograd_rows {
namespace {

constexpr int64_t kTiles = 32;  // per item: rows of the products, 4 vectors with 8 lanes
constexpr int64_t kRows = 16;   // per item

int64_t round_to(int64_t n, int64_t multiple) { return ceil_div(n, multiple) * multiple; }

// Cycles of one k of a product of rows x vectors: multiply-adds, loads, or the latency of its
// chains.
double product_cycles(double rows, double vectors) {
  return std::max({rows * vectors / 2, (rows + vectors) / 2, 4.0});
}

// Cycles of one k over all tiles of a row and all result channels.
double row_cycles(const Geometry& g, bool lanes_along_tiles, int64_t tiles,
                  const KernelTable& kernels) {
  const int lanes = kernels.gemm.f32.lanes;
  const auto split = [](int64_t n, int64_t most, const auto& cost) {
    double sum = 0;
    const int64_t parts = ceil_div(n, most);
    for (int64_t i = 0; i < parts; ++i) sum += cost(n * (i + 1) / parts - n * i / parts);
    return sum;
  };
  if (lanes_along_tiles) {
    const int64_t vectors = ceil_div(tiles, lanes);
    return split(g.co, kernels.gemm.f32.plane_rows, [&](int64_t rows) {
      return split(vectors, kernels.gemm.f32.plane_vectors[rows], [&](int64_t v) {
        return product_cycles(static_cast<double>(rows), static_cast<double>(v));
      });
    });
  }
  const int most = kernels.winograd_rows.vectors;
  const int64_t vectors = ceil_div(g.co, lanes);
  double sum = 0;
  for (int64_t v = 0; v < vectors; v += most) {
    const int64_t nv = std::min<int64_t>(most, vectors - v);
    sum += split(tiles, kernels.winograd_rows.panel_rows[nv], [&](int64_t rows) {
      return product_cycles(static_cast<double>(rows), static_cast<double>(nv));
    });
  }
  return sum;
}

int64_t source_rows(const Geometry& g, int64_t rows) {
  const implicit_gemm::AxisTaps& h = g.c.h;
  return round_to((rows - 1) * h.stride + (h.taps - 1) * h.dilation + 1, h.dilation);
}

}  // namespace

Blocking make_blocking(const Geometry& g, bool lanes_along_tiles, int64_t tiles, int64_t rows,
                       int64_t group, int64_t c_rows, const PlanContext& context) {
  const char* what = "the Winograd workspace";
  const GemmKernels<float>& gemm = context.kernels->gemm.f32;
  const int64_t lanes = gemm.lanes;
  Blocking b{};
  b.lanes_along_tiles = lanes_along_tiles;
  b.tiles = tiles;
  b.rows = rows;
  if (lanes_along_tiles) {
    b.panels = std::max<int64_t>(1, ceil_div(g.co, gemm.plane_rows));
    b.width = std::max<int64_t>(1, ceil_div(g.co, b.panels));
    b.panels = std::max<int64_t>(1, ceil_div(g.co, b.width));
  } else {
    b.width = std::min<int64_t>(context.kernels->winograd_rows.vectors,
                                std::max<int64_t>(1, ceil_div(g.co, lanes))) *
              lanes;
    b.panels = std::max<int64_t>(1, ceil_div(g.co, b.width));
  }
  b.group = std::clamp<int64_t>(group, 1, b.panels);
  b.c_rows = std::clamp<int64_t>(c_rows, 1, rows);
  const int64_t all = tiles * g.lattices;
  b.padded_tiles = round_to((g.lattices - 1) * tiles + round_to(tiles, lanes), lanes);
  b.source_rows = source_rows(g, rows);
  // One line more than whole: points a power of two apart would evict each other.
  b.point_stride = checked_product({b.source_rows, g.ci, b.padded_tiles}, what) + 16;
  b.plane_stride = checked_product({b.point_stride, g.points}, what);
  b.ring_floats = checked_bytes({b.plane_stride, g.c.d.taps}, what);
  b.c_point = (lanes_along_tiles ? b.padded_tiles : all) * b.width + 16;
  b.c_row_block = b.c_point * g.points;
  b.c_floats = checked_bytes({b.c_row_block, b.c_rows, b.group}, what);
  const int64_t channels = std::min<int64_t>(g.ci, kRowsChannels);
  const int64_t columns = round_to(round_to(tiles, lanes) + g.reach, lanes);
  b.scratch_floats = static_cast<size_t>(round_to(columns * g.period * channels + lanes, lanes) +
                                         columns * (g.period * channels + lanes));
  b.stage_pixels = round_to(tiles, lanes) * g.m * g.lattices;
  if (lanes_along_tiles) {
    b.stage_floats = static_cast<size_t>(b.stage_pixels * b.group * b.width);
  } else if (g.channels_first) {
    b.stage_floats = static_cast<size_t>(b.stage_pixels * b.width);
  }
  return b;
}

Blocking choose_blocking(const Geometry& g, const PlanContext& context) {
  const int64_t all = g.tiles();
  int64_t tiles = std::max<int64_t>(1, ceil_div(kTiles, g.lattices));
  tiles = ceil_div(all, ceil_div(all, tiles));
  const bool along_tiles = row_cycles(g, true, tiles * g.lattices, *context.kernels) <
                           row_cycles(g, false, tiles * g.lattices, *context.kernels);
  const size_t l2 = l2_bytes(*context.cpu);
  int64_t rows = std::min<int64_t>(kRows, g.c.h.outputs);
  const auto make = [&](int64_t group, int64_t c_rows) {
    return make_blocking(g, along_tiles, tiles, rows, group, c_rows, context);
  };
  while (rows > 1 && make(1, 1).ring_floats * sizeof(float) > l2) --rows;
  rows = ceil_div(g.c.h.outputs, ceil_div(g.c.h.outputs, rows));
  // The products of a group of panels and some rows stay in a quarter of the L2. Each group reads
  // the ring, each lot of rows the filter: as few bytes as that allows. Groups are parts of a whole
  // that are about equal.
  const Blocking one = make(1, 1);
  const int64_t room =
      std::max<int64_t>(1, static_cast<int64_t>(l2 / 4 / sizeof(float)) / one.c_row_block);
  const int64_t filter = g.points * g.k() * one.panels * one.width,
                ring = static_cast<int64_t>(one.ring_floats);
  int64_t best_group = 1, best_rows = 1, least = -1;
  for (int64_t groups = one.panels; groups >= 1; --groups) {
    const int64_t group = ceil_div(one.panels, groups),
                  c_rows = std::min(rows, std::max<int64_t>(1, room / group));
    if (group > 1 && group > room) break;
    const int64_t floats = filter * ceil_div(rows, c_rows) + ring * ceil_div(one.panels, group);
    if (least >= 0 && floats > least) continue;
    least = floats;
    best_group = group;
    best_rows = ceil_div(rows, ceil_div(rows, c_rows));
  }
  return make(best_group, best_rows);
}

double estimate_seconds(const Geometry& g, const Blocking& b, const PlanContext& context) {
  const double lanes = context.kernels->gemm.f32.lanes;
  const double clock = hertz(context);
  const double row_blocks = static_cast<double>(ceil_div(g.tiles(), b.tiles));
  const double planes = static_cast<double>(g.c.d.outputs),
               rows = planes * static_cast<double>(g.c.h.outputs);
  const double all = static_cast<double>(b.tiles * g.lattices);

  // Products: 0.94 of what the pipes allow (0.9 with 16 registers), and beside each what 2.5 steps
  // of k take, along tiles, where they are smaller, 15.
  const bool many_registers = !b.lanes_along_tiles && context.kernels->gemm.f32.max_vectors >= 4;
  const double k = static_cast<double>(g.k());
  const double per_k = row_cycles(g, b.lanes_along_tiles, b.tiles * g.lattices, *context.kernels);
  const double chunks = static_cast<double>(g.chunks.size());
  const double products =
      per_k * chunks * (b.lanes_along_tiles ? 15 : 2.5) + per_k * k / (many_registers ? 0.94 : 0.9);

  // Transforms: about 3 cycles per vector of inputs and points, 2.5 per vector of products, 2 to
  // store one of outputs, and more where rows are transposed. Six outputs do not fit 16 registers,
  // four hardly.
  const double vectors = b.lanes_along_tiles ? std::ceil(all / lanes) * static_cast<double>(g.co)
                                             : all * std::ceil(static_cast<double>(g.co) / lanes);
  const double stored = b.lanes_along_tiles ? 8.0 : g.channels_first ? 4.0 : 2.0;
  const double spills = (many_registers ? 1.0 : 1.1) * (g.m <= 4         ? 1.0
                                                        : many_registers ? 1.3
                                                                         : 1.5);
  const double inverse = vectors * spills * (2.5 * g.points + stored * g.m);
  const double shared = static_cast<double>(b.source_rows) / static_cast<double>(b.rows);
  const double planes_new =
      std::min(static_cast<double>(g.c.d.taps),
               static_cast<double>(g.c.d.stride) +
                   static_cast<double>(g.c.d.taps * g.c.d.dilation) / std::max(planes, 1.0));
  // A row of a channel; with strides its pixels are taken apart, of which short rows make the most
  // (measured: 160 to 390 cycles).
  const double row_of_channel =
      std::ceil(all / lanes) * (3.0 * g.points + 4.0 * static_cast<double>(g.period) / g.lattices);
  // Rows that one row of results reads wait for memory (measured: 200 to 350 cycles more).
  const double waits = g.c.d.taps * g.c.h.taps > 1 ? 0 : g.channels_first ? 300 : 200;
  const double input = shared * planes_new * static_cast<double>(g.ci) *
                       (g.c.w.stride > 1 ? 80 + 2.5 * row_of_channel : row_of_channel + waits);
  // With 16 registers and few channels all of it takes a fifth longer (measured: 8 and 16 channels
  // in the caches), and a quarter where channels come first. With 32, without strides, a tenth for
  // one vector of channels and a twentieth for two, and more again where channels come first or six
  // outputs are made (measured: 2 and 4 to 16, 32 and 64 channels).
  double few = 1;
  if (context.kernels->gemm.f32.max_vectors < 4) {
    if (static_cast<double>(g.co) <= 2 * lanes) few = g.channels_first ? 1.25 : 1.2;
  } else if (static_cast<double>(g.co) <= 2 * lanes && g.c.w.stride == 1) {
    const bool one = static_cast<double>(g.co) <= lanes;
    few = (one ? 1.1 : 1.05) *
          (!g.channels_first ? 1.0
           : one             ? 1.2
                             : 1.1) *
          (g.m <= 4 ? 1.0
           : one    ? 1.2
                    : 1.07);
  }
  // Rows of products are as short as transforms are: the same holds for them.
  const double cycles =
      rows * row_blocks * (g.points * products + inverse + input) * few * transform_share(context);

  const double source = static_cast<double>(g.source_voxels * g.ci) * 4,
               result = static_cast<double>(g.result_voxels * g.co) * 4;
  const double filter =
      static_cast<double>(g.points) * k * static_cast<double>(b.panels * b.width) * 4;
  const double items = rows * row_blocks / static_cast<double>(b.rows);
  // A new filter with every call; see packing_seconds. In float64, one number at a time.
  const double packing = g.backward ? 2 * filter / kScalarTransformBytes : 0.0;
  return cycles / clock + stream_seconds(source * shared, source, *context.cpu) +
         stream_seconds(result, result, *context.cpu) +
         stream_seconds(filter * items, filter, *context.cpu) + packing + 3 * kCallSeconds;
}

}  // namespace conv3d::winograd_rows
