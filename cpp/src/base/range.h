// Half-open ranges of indices, and their even pieces.
#pragma once

#include <cstdint>

namespace conv3d {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// Piece `index` of `count` nearly equal pieces of [0, n).
inline Range piece(int64_t n, int64_t index, int64_t count) {
  return {n * index / count, n * (index + 1) / count};
}

}  // namespace conv3d
