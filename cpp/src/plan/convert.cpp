#include "plan/convert.h"

#include <algorithm>

#include "base/assert.h"
#include "base/half.h"

namespace conv3d {
namespace {

template <class T>
T cast(T value, T*) {
  return value;
}
float cast(Half value, float*) { return to_float(value); }
float cast(BFloat16 value, float*) { return to_float(value); }
Half cast(float value, Half*) { return to_half(value); }
BFloat16 cast(float value, BFloat16*) { return to_bfloat16(value); }

// Tiles of 32 x 32 keep both sides of a transposition in the first-level cache.
constexpr int64_t kTile = 32;

template <class From, class To>
void convert(const From* from, To* to, bool transpose, int64_t batch, int64_t rows, int64_t columns,
             ThreadPool& pool, int threads) {
  To* const type = nullptr;
  if (!transpose) {
    const int64_t n = batch * rows * columns;
    pool.parallel_for(n, 1 << 16, threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) to[i] = cast(from[i], type);
    });
    return;
  }
  // from [batch][rows][columns], to [batch][columns][rows]
  const int64_t strips = (rows + kTile - 1) / kTile;
  pool.parallel_for(batch * strips, 4, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t s = begin; s < end; ++s) {
      const int64_t n = s / strips, r0 = s % strips * kTile, r1 = std::min(r0 + kTile, rows);
      const From* source = from + n * rows * columns;
      To* target = to + n * rows * columns;
      for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
        const int64_t c1 = std::min(c0 + kTile, columns);
        for (int64_t c = c0; c < c1; ++c) {
          for (int64_t r = r0; r < r1; ++r)
            target[c * rows + r] = cast(source[r * columns + c], type);
        }
      }
    }
  });
}

}  // namespace

void convert_tensor(const void* from, TensorForm from_form, void* to, TensorForm to_form,
                    int64_t batch, int64_t voxels, int64_t channels, ThreadPool& pool,
                    int threads) {
  const bool last = from_form.layout == Layout::kChannelsLast;
  const bool transpose = from_form.layout != to_form.layout;
  const int64_t rows = last ? voxels : channels, columns = last ? channels : voxels;
  const auto go = [&](auto* source, auto* target) {
    convert(static_cast<decltype(source)>(from), static_cast<decltype(target)>(to), transpose,
            batch, rows, columns, pool, threads);
  };
  const auto same = [&](auto* type) {
    go(const_cast<const std::remove_pointer_t<decltype(type)>*>(type), type);
  };
  if (from_form.dtype == to_form.dtype) {
    switch (from_form.dtype) {
      case DType::kFloat32: return same(static_cast<float*>(nullptr));
      case DType::kFloat64: return same(static_cast<double*>(nullptr));
      case DType::kFloat16: return same(static_cast<Half*>(nullptr));
      case DType::kBFloat16: return same(static_cast<BFloat16*>(nullptr));
    }
  }
  if (from_form.dtype == DType::kFloat16)
    return go(static_cast<const Half*>(nullptr), static_cast<float*>(nullptr));
  if (from_form.dtype == DType::kBFloat16)
    return go(static_cast<const BFloat16*>(nullptr), static_cast<float*>(nullptr));
  CONV3D_ASSERT(from_form.dtype == DType::kFloat32);
  if (to_form.dtype == DType::kFloat16)
    return go(static_cast<const float*>(nullptr), static_cast<Half*>(nullptr));
  CONV3D_ASSERT(to_form.dtype == DType::kBFloat16);
  go(static_cast<const float*>(nullptr), static_cast<BFloat16*>(nullptr));
}

}  // namespace conv3d
