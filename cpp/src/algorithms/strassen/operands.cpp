#include "algorithms/strassen/operands.h"

#include <algorithm>

#include "base/assert.h"
#include "base/math.h"
#include "base/range.h"

namespace conv3d::strassen {

std::string why_not_halves(const Problem& p, bool patches) {
  constexpr int64_t kFewest = 32;              // channels that are worth halving
  constexpr int64_t kMost = int64_t{1} << 20;  // a plan lists the tiles of its channels
  if (p.accuracy == Accuracy::kStrict)
    return "accuracy is 'strict': Strassen's scheme rounds more than the direct sum";
  if (p.dtype != DType::kFloat32) return "computes in float32";
  const int64_t taps = p.kd * p.kh * p.kw;  // make_problem has checked the filter's size
  if (taps != 1 && !patches) return "the filter must be 1x1x1";
  const auto apart = [](int64_t k, int64_t s, int64_t d) { return k == s && (k == 1 || d == 1); };
  if (!apart(p.kd, p.sd, p.dd) || !apart(p.kh, p.sh, p.dh) || !apart(p.kw, p.sw, p.dw))
    return patches ? "windows must lie side by side: strides equal to the kernel"
                   : "strides must be 1";
  if (p.od * p.sd > p.id || p.oh * p.sh > p.ih || p.ow * p.sw > p.iw || p.pd != 0 || p.ph != 0 ||
      p.pw != 0)
    return "knows no padding";
  if (p.groups != 1) return "knows no groups";
  const int64_t sources = taps * p.ic;
  if (sources % 2 != 0 || p.oc % 2 != 0 || sources < kFewest || p.oc < kFewest)
    return "halves the channels: both must be even, and at least 32";
  if (sources > kMost || p.oc > kMost) return "knows at most 2^20 channels";
  return "";
}

int cut_into_tiles(int64_t rows, const StrassenTable& kernels, int* tiles) {
  const int64_t pairs = ceil_div(rows, 2), count = ceil_div(pairs, kernels.tile_rows / 2);
  for (int64_t i = 0; i < count; ++i)
    tiles[i] = static_cast<int>(2 * piece(pairs, i, count).size());
  return static_cast<int>(count);
}

std::vector<int> tiles_of(int64_t rows, const StrassenTable& kernels) {
  std::vector<int> tiles(static_cast<size_t>(ceil_div(rows, 2)));
  tiles.resize(static_cast<size_t>(cut_into_tiles(rows, kernels, tiles.data())));
  return tiles;
}

void sum_turned(const StrassenTable& kernels, const GemmKernels<float>& gemm, StrassenSumsArgs args,
                ptrdiff_t step) {
  constexpr int64_t kRows = 32, kMostWidth = 64;
  const int64_t width = args.to_columns, rows = args.to_rows;
  CONV3D_ASSERT(width <= kMostWidth);
  alignas(64) float turned[kStrassenQuarters][kRows * kMostWidth];
  const StrassenSumsArgs all = args;
  args.from_row = width;
  for (int64_t first = 0; first < rows; first += kRows) {
    args.to_rows = std::min(kRows, rows - first);
    for (int i = 0; i < kStrassenQuarters; ++i) {
      args.rows[i] = std::clamp<int64_t>(all.rows[i] - first, 0, args.to_rows);
      const TransposeArgs<float> move = {all.from[i] + first, step,        turned[i], width,
                                         all.columns[i],      args.rows[i]};
      gemm.transpose(&move);
      args.from[i] = turned[i];
    }
    kernels.sums(&args);
    args.to += args.to_rows * args.to_row;
  }
}

StrassenAhead ahead_of(const StrassenTable& kernels, const StrassenSumsArgs* sums, int makes,
                       int asks, int64_t parts) {
  constexpr int64_t kLead = 8;  // a part is some hundred cycles
  StrassenAhead ahead{};
  ahead.sums = sums;
  ahead.makes = makes;
  ahead.asks = asks;
  for (int i = 0; i < asks; ++i) {
    const int64_t vectors = sums[i].to_rows * ceil_div(sums[i].to_columns, kernels.lanes);
    ahead.ask_vectors += vectors;
    if (i < makes) ahead.make_vectors += vectors;
  }
  ahead.lead = std::min(kLead, parts / 4);
  ahead.parts = parts - ahead.lead;
  return ahead;
}

}  // namespace conv3d::strassen
