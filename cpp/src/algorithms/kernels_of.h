// The kernels of a family's table for elements of one type: kernels_of<float>(table.planar).
#pragma once

#include <type_traits>

namespace conv3d {

template <class T, class Family>
const auto& kernels_of(const Family& family) {
  if constexpr (std::is_same_v<T, float>) {
    return family.f32;
  } else {
    return family.f64;
  }
}

}  // namespace conv3d
