#include "algorithms/implicit_gemm/correlation.h"

#include <algorithm>
#include <numeric>

namespace conv3d::implicit_gemm {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

AxisTaps forward_axis(int64_t in, int64_t out, int64_t k, int64_t s, int64_t d, int64_t p) {
  return {out, 0, 1, in, s, -p, d, k, 0, 1};
}

// Results i = r + s j take the taps k with (i + p - k d) divisible by s, from source index (i + p -
// k d) / s. With g = gcd(d, s) these are k0, k0 + s / g, ...; counted backwards the source index
// grows by d / g from tap to tap.
std::vector<AxisTaps> backward_phases(int64_t in, int64_t out, int64_t k, int64_t s, int64_t d,
                                      int64_t p) {
  std::vector<AxisTaps> phases;
  const int64_t g = std::gcd(d, s), step = s / g;
  for (int64_t r = 0; r < std::min(s, in); ++r) {
    AxisTaps axis{(in - r + s - 1) / s, r, s, out, 1, 0, d / g, 0, 0, 1};
    const int64_t q = r + p;
    if (q % g == 0) {
      // d / g and s / g have no common factor, so one of the first s / g taps fits.
      int64_t k0 = 0;
      while (k0 < step && floor_div(q - k0 * d, s) * s != q - k0 * d) ++k0;
      if (k0 < k) {
        axis.taps = (k - 1 - k0) / step + 1;
        axis.tap_first = k0 + (axis.taps - 1) * step;
        axis.tap_step = -step;
        axis.origin = floor_div(q - k0 * d, s) - (axis.taps - 1) * (d / g);
      }
    }
    phases.push_back(axis);
  }
  return phases;
}

// Two neighbouring axes without a filter are one long axis: whole rows of pixels, no borders.
void join_identities(Correlation* c) {
  const auto join = [](AxisTaps* outer, AxisTaps* inner) {
    inner->outputs *= outer->outputs;
    inner->inputs *= outer->inputs;
    outer->outputs = outer->inputs = 1;
  };
  if (!c->w.is_identity() || !c->h.is_identity()) return;
  join(&c->h, &c->w);
  if (c->d.is_identity()) join(&c->d, &c->w);
}

}  // namespace

int64_t AxisTaps::tap_begin(int64_t o) const {
  const int64_t at = o * stride + origin;
  return at >= 0 ? 0 : std::min(taps, (-at + dilation - 1) / dilation);
}

int64_t AxisTaps::tap_end(int64_t o) const {
  const int64_t left = inputs - 1 - (o * stride + origin);
  return left < 0 ? 0 : std::min(taps, left / dilation + 1);
}

bool AxisTaps::is_identity() const {
  return taps == 1 && stride == 1 && origin == 0 && outputs == inputs && first == 0 && step == 1;
}

std::vector<TapClass> tap_classes(const AxisTaps& axis, int64_t begin, int64_t end) {
  std::vector<TapClass> classes;
  for (int64_t o = begin; o < end;) {
    TapClass c{o, o + 1, axis.tap_begin(o), axis.tap_end(o)};
    // The range of taps moves one way only: if it is the same at a later output, it is the same
    // between. Double, then halve.
    const auto same = [&](int64_t x) {
      return axis.tap_begin(x) == c.tap_begin && axis.tap_end(x) == c.tap_end;
    };
    int64_t low = o, high = end;  // same(low), !same(high) or high == end
    for (int64_t width = 1; low + width < end; width *= 2) {
      if (!same(low + width)) {
        high = low + width;
        break;
      }
      low += width;
    }
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      (same(middle) ? low : high) = middle;
    }
    c.end = low + 1;
    classes.push_back(c);
    o = c.end;
  }
  return classes;
}

CorrelationProblem make_correlations(const Problem& p) {
  CorrelationProblem result;
  result.backward = p.direction == Direction::kBackwardInput;
  result.groups = p.groups;
  result.source_channels = result.backward ? p.oc : p.ic;
  result.result_channels = result.backward ? p.ic : p.oc;
  const int64_t in[] = {p.iw, p.ih * p.iw, p.input_voxels()},
                out[] = {p.ow, p.oh * p.ow, p.output_voxels()};
  const int64_t* const source = result.backward ? out : in;
  const int64_t* const target = result.backward ? in : out;
  result.source_row = source[0], result.source_plane = source[1], result.source_voxels = source[2];
  result.result_row = target[0], result.result_plane = target[1], result.result_voxels = target[2];
  const auto phases = [&](int64_t n_in, int64_t n_out, int64_t k, int64_t s, int64_t d,
                          int64_t pad) {
    return result.backward ? backward_phases(n_in, n_out, k, s, d, pad)
                           : std::vector<AxisTaps>{forward_axis(n_in, n_out, k, s, d, pad)};
  };
  const std::vector<AxisTaps> w_phases = phases(p.iw, p.ow, p.kw, p.sw, p.dw, p.pw);
  const std::vector<AxisTaps> h_phases = phases(p.ih, p.oh, p.kh, p.sh, p.dh, p.ph);
  int64_t covered = 0;
  for (const AxisTaps& d : phases(p.id, p.od, p.kd, p.sd, p.dd, p.pd)) {
    if (d.taps == 0) continue;
    for (const AxisTaps& h : h_phases) {
      if (h.taps == 0) continue;
      for (const AxisTaps& w : w_phases) {
        if (w.taps == 0) continue;
        covered += d.outputs * h.outputs * w.outputs;
        result.parts.push_back({d, h, w});
        join_identities(&result.parts.back());
      }
    }
  }
  result.complete = covered == result.result_voxels;
  return result;
}

}  // namespace conv3d::implicit_gemm
