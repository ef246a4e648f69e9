// The one place where sizes are multiplied and added before memory is asked for: int64,
// overflow is an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>

#include "base/status.h"

namespace conv3d {

// a * b of non-negative numbers; false if it does not fit.
inline bool multiply_fits(int64_t a, int64_t b, int64_t* product) {
  if (a != 0 && b > std::numeric_limits<int64_t>::max() / a) return false;
  *product = a * b;
  return true;
}

// a + b of any numbers; false if it does not fit.
inline bool add_fits(int64_t a, int64_t b, int64_t* sum) {
  if (b > 0 ? a > std::numeric_limits<int64_t>::max() - b
            : a < std::numeric_limits<int64_t>::min() - b) {
    return false;
  }
  *sum = a + b;
  return true;
}

// Product of non-negative sizes. Zero if any is zero, else Error{kOutOfMemory}: a size
// that no memory can have.
inline int64_t checked_product(std::initializer_list<int64_t> sizes, const char* what) {
  for (int64_t size : sizes) {
    if (size == 0) return 0;
  }
  int64_t product = 1;
  for (int64_t size : sizes) {
    if (!multiply_fits(product, size, &product)) {
      throw Error(Status::kOutOfMemory,
                  std::string(what) + " needs more than 2^63 - 1 bytes or elements");
    }
  }
  return product;
}

inline size_t checked_bytes(std::initializer_list<int64_t> sizes, const char* what) {
  return static_cast<size_t>(checked_product(sizes, what));
}

inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

inline size_t round_up(size_t value, size_t multiple) {
  const size_t rest = value % multiple;
  if (rest == 0) return value;
  if (value > std::numeric_limits<size_t>::max() - (multiple - rest)) {
    throw Error(Status::kOutOfMemory, "a scratch size does not fit the address space");
  }
  return value + (multiple - rest);
}

inline size_t checked_add(size_t a, size_t b) {
  if (a > std::numeric_limits<size_t>::max() - b) {
    throw Error(Status::kOutOfMemory, "a scratch size does not fit the address space");
  }
  return a + b;
}

}  // namespace conv3d
