// The input as cells of a stride's size, each with the window of one output voxel at its beginning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/range.h"
#include "kernels/kernel_table.h"
#include "problem/problem.h"

namespace conv3d::patches {

// Empty if `problem` has such cells, more than one voxel wide, in rows of its layout.
std::string why_not_cells(const Problem& problem);

// Measured: to cut or join a voxel of a window; more where its neighbours belong to none.
inline double cycles_to_move(const Problem& p) { return p.sw != 2 ? 1.0 : p.kw == 2 ? 0.35 : 1.1; }

inline int64_t taps_of(const Problem& p) { return p.kd * p.kh * p.kw; }

// Output voxels [pixels) of a sample as pieces of rows: visit(d, h, rows, w, n, at) for voxels
// [w, w + n) of `rows` rows from h of plane d, the first of them `at` voxels behind pixels.begin.
template <class Visit>
void each_piece(const Problem& p, Range pixels, const Visit& visit) {
  for (int64_t at = pixels.begin; at < pixels.end;) {
    const int64_t row = at / p.ow, w = at % p.ow, d = row / p.oh, h = row % p.oh,
                  left = pixels.end - at;
    const int64_t rows = w > 0 || left < p.ow ? 1 : std::min(left / p.ow, p.oh - h),
                  n = std::min(p.ow - w, left);
    visit(d, h, rows, w, n, at - pixels.begin);
    at += rows * n;
  }
}

// The windows of output voxels [pixels) in `channels` channels from `input` on:
// to[(channel * taps + tap) * pitch + voxel].
template <class T>
void cut_windows(const Problem& p, const PlanarKernels<T>& kernels, const T* input,
                 int64_t channels, Range pixels, T* to, int64_t pitch) {
  each_piece(p, pixels, [&](int64_t d, int64_t h, int64_t rows, int64_t w, int64_t n, int64_t at) {
    CutArgs<T> cut{};
    cut.row = p.sh * p.iw;
    cut.count = rows;
    cut.n = n;
    cut.step = p.sw;
    cut.taps = p.kw;
    cut.cut = to + at;
    cut.tap = pitch;
    for (int64_t c = 0; c < channels; ++c) {
      // Channels are too far apart for the hardware to guess the next one.
      cut.ahead = c + 2 < channels ? 2 * p.input_voxels() : 0;
      for (int64_t td = 0; td < p.kd; ++td)
        for (int64_t th = 0; th < p.kh; ++th) {
          cut.rows = input + c * p.input_voxels() +
                     ((d * p.sd + td) * p.ih + h * p.sh + th) * p.iw + w * p.sw;
          kernels.cut(&cut);
          cut.cut += p.kw * pitch;
        }
    }
  });
}

// The reverse: every voxel of the cells of output voxels [pixels), those at the end of the volume
// up to its end; rest(channel) is what voxels outside the windows become. With `lines`, scratch of
// lines_of(p, pixels) numbers, whole rows are put together there and pass the caches.
template <class T, class Rest>
void join_windows(const Problem& p, const PlanarKernels<T>& kernels, const T* from, int64_t pitch,
                  int64_t channels, Range pixels, T* lines, const Rest& rest, T* input) {
  const auto cell = [](int64_t at, int64_t last, int64_t stride, int64_t extent) {
    return at == last ? extent - at * stride : stride;
  };
  each_piece(p, pixels, [&](int64_t d, int64_t h, int64_t rows, int64_t w, int64_t n, int64_t at) {
    JoinArgs<T> join{};
    join.tap = pitch;
    join.step = p.sw;
    join.row = p.sh * p.iw;
    join.n = n;
    const int64_t elements = w + n == p.ow ? p.iw - w * p.sw : n * p.sw;
    const int64_t planes = cell(d, p.od - 1, p.sd, p.id),
                  last_rows = cell(h + rows - 1, p.oh - 1, p.sh, p.ih);
    const bool whole = n == p.ow;  // rows: what they cover of a plane is contiguous
    const int64_t covered = ((rows - 1) * p.sh + last_rows) * p.iw;
    for (int64_t c = 0; c < channels; ++c) {
      join.rest = rest(c);
      for (int64_t td = 0; td < planes; ++td) {
        T* const place =
            input + c * p.input_voxels() + ((d * p.sd + td) * p.ih + h * p.sh) * p.iw + w * p.sw;
        T* const first = lines != nullptr && whole ? lines : place;
        // Row th of the cells, of which the last may be lower than the others, or higher.
        const auto join_rows = [&](int64_t th) {
          const int64_t begin = th < p.sh ? 0 : rows - 1, end = th < last_rows ? rows : rows - 1;
          join.count = end - begin;
          join.elements = elements;
          join.rows = first + (begin * p.sh + th) * p.iw;
          if (join.count > 0) kernels.join(&join);
        };
        join.taps = 0;
        if (td < p.kd) {
          join.taps = p.kw;
          join.cut = from + (c * p.kd + td) * p.kh * p.kw * pitch + at;
          for (int64_t th = 0; th < p.kh; ++th, join.cut += p.kw * pitch) join_rows(th);
          join.taps = 0;
          for (int64_t th = p.kh; th < std::max(p.sh, last_rows); ++th) join_rows(th);
        } else if (whole) {
          join.count = 1;
          join.elements = covered;
          join.rows = first;
          kernels.join(&join);
        } else {
          for (int64_t th = 0; th < std::max(p.sh, last_rows); ++th) join_rows(th);
        }
        if (first == lines) kernels.stream(lines, covered, place);
      }
    }
  });
}

inline int64_t lines_of(const Problem& p, int64_t pixels) {
  return (std::min(pixels / p.ow, p.oh) * p.sh + p.ih - (p.oh - 1) * p.sh) * p.iw;
}

}  // namespace conv3d::patches
