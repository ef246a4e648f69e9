// float16 (IEEE binary16) and bfloat16 as stored bits, converted to and from float, rounding to
// nearest even. Integer arithmetic on normal numbers only, so that the result does not depend on
// the denormal mode; written without branches so that compilers vectorise the loops over it.
#pragma once

#include <bit>
#include <cstdint>

namespace conv3d {

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(Half h) {
  const uint32_t sign = (h.bits & 0x8000u) << 16, exponent = (h.bits >> 10) & 31u,
                 mantissa = h.bits & 0x3ffu;
  const uint32_t normal = ((exponent + 112) << 23) | (mantissa << 13);
  const uint32_t infinite = 0x7f800000u | (mantissa << 13);
  // A subnormal half is mantissa * 2^-24, a normal float.
  const uint32_t small =
      std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(mantissa)) * 0x1p-24f);
  const uint32_t magnitude = exponent == 0 ? small : exponent == 31 ? infinite : normal;
  return std::bit_cast<float>(sign | magnitude);
}

inline Half to_half(float f) {
  const uint32_t word = std::bit_cast<uint32_t>(f), magnitude = word & 0x7fffffffu;
  const uint32_t sign = (word >> 16) & 0x8000u;
  // Normal range: rebias the exponent, round the 13 dropped bits to nearest even. A
  // carry into infinity is right.
  const uint32_t normal = (magnitude - (112u << 23) + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
  // Below 2^-14: adding 0.5 leaves mantissa * 2^-24 in the low bits, rounded to nearest
  // even by the addition itself.
  const uint32_t small =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  const uint32_t result = magnitude > 0x7f800000u    ? nan
                          : magnitude >= 0x47800000u ? 0x7c00u  // 2^16 and above
                          : magnitude < 0x38800000u  ? small
                                                     : normal;
  return {static_cast<uint16_t>(sign | result)};
}

inline float to_float(BFloat16 b) {
  return std::bit_cast<float>(static_cast<uint32_t>(b.bits) << 16);
}

inline BFloat16 to_bfloat16(float f) {
  const uint32_t word = std::bit_cast<uint32_t>(f);
  const uint32_t rounded = (word + 0x7fffu + ((word >> 16) & 1u)) >> 16;
  const uint32_t nan = (word >> 16) | 0x40u;
  return {static_cast<uint16_t>((word & 0x7fffffffu) > 0x7f800000u ? nan : rounded)};
}

}  // namespace conv3d
