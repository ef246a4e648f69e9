// problem/: output extents, padding, validation, the grammar of tests/problems.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "base/half.h"
#include "base/math.h"
#include "base/status.h"
#include "problem/pool_problem.h"
#include "problem/problem.h"
#include "problem/shape.h"
#include "problem_sets.h"

namespace conv3d {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

ProblemSpec simple() {
  return testing::parse_problem("mb1_ic4id8ih8iw8_oc6_kd3kh3kw3_sd1sh1sw1_valid");
}

// The status and message with which a spec is refused; kOk if it is accepted.
Status refusal(const ProblemSpec& spec, std::string* message = nullptr) {
  try {
    make_problem(spec);
    return Status::kOk;
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.status();
  }
}

template <class F>
Status refusal_after(F change, std::string* message = nullptr) {
  ProblemSpec spec = simple();
  change(spec);
  return refusal(spec, message);
}

TEST_CASE("SAME and VALID are TensorFlow's") {
  for (int64_t n = 1; n <= 12; ++n) {
    for (int64_t k = 1; k <= 5; ++k) {
      for (int64_t s = 1; s <= 4; ++s) {
        for (int64_t d = 1; d <= 3; ++d) {
          const int64_t e = (k - 1) * d + 1;
          const Axis same = resolve_axis("filter", "depth", n, k, s, d, Padding::kSame, 0, 0);
          const int64_t out = (n + s - 1) / s, total = std::max<int64_t>((out - 1) * s + e - n, 0);
          CHECK(same.output == out);
          CHECK(same.pad_before == total / 2);
          CHECK(same.pad_after == total - total / 2);
          if (e > n) {
            CHECK_THROWS_AS(resolve_axis("filter", "depth", n, k, s, d, Padding::kValid, 0, 0),
                            Error);
          } else {
            CHECK(resolve_axis("filter", "depth", n, k, s, d, Padding::kValid, 9, 9).output ==
                  (n - e + 1 + s - 1) / s);
          }
          const Axis padded = resolve_axis("filter", "depth", n, k, s, d, Padding::kExplicit, e, 1);
          CHECK(padded.output == (n + e + 1 - e) / s + 1);
          CHECK(padded.pad_before == e);
        }
      }
    }
  }
}

TEST_CASE("bad values are refused by name") {
  std::string message;
  const auto invalid = [&](auto change, const char* word) {
    CAPTURE(word);
    CHECK(refusal_after(change, &message) == Status::kInvalidArgument);
    CHECK_MESSAGE(message.find(word) != std::string::npos, message);
  };
  invalid([](ProblemSpec& s) { s.batch = -1; }, "batch");
  invalid([](ProblemSpec& s) { s.input_channels = 0; }, "channels");
  invalid([](ProblemSpec& s) { s.output_channels = 0; }, "output channels");
  invalid([](ProblemSpec& s) { s.kernel[1] = 0; }, "height");
  invalid([](ProblemSpec& s) { s.kernel[1] = -1; }, "filter");
  invalid([](ProblemSpec& s) { s.kernel[2] = 9; }, "width");
  invalid([](ProblemSpec& s) { s.input[0] = 0; }, "depth");
  invalid([](ProblemSpec& s) { s.input[0] = -3; }, "input");
  invalid([](ProblemSpec& s) { s.stride[0] = 0; }, "strides");
  invalid([](ProblemSpec& s) { s.stride[0] = -2; }, "strides");
  invalid([](ProblemSpec& s) { s.dilation[0] = 0; }, "dilations");
  invalid([](ProblemSpec& s) { s.dilation = {4, 4, 4}; }, "covers 9 cells");
  invalid([](ProblemSpec& s) { s.dilation[0] = (int64_t{1} << 31) - 1; }, "covers");
  invalid([](ProblemSpec& s) { s.dilation[0] = int64_t{1} << 62; }, "2^63");
  invalid([](ProblemSpec& s) { s.stride[0] = 2, s.dilation[1] = 2; }, "only one of the two");
  invalid([](ProblemSpec& s) { s.groups = 0; }, "groups");
  invalid([](ProblemSpec& s) { s.groups = -1; }, "groups");
  invalid([](ProblemSpec& s) { s.groups = std::numeric_limits<int64_t>::min(); }, "groups");
  invalid([](ProblemSpec& s) { s.groups = 3; }, "groups");
  invalid([](ProblemSpec& s) { s.groups = 4; }, "output channels");
  invalid([](ProblemSpec& s) { s.padding = Padding::kExplicit, s.pad_before[2] = -1; }, "padding");
  invalid([](ProblemSpec& s) { s.padding = Padding::kExplicit, s.pad_before[2] = kMax - 4; },
          "padding");
  invalid([](ProblemSpec& s) { s.padding = static_cast<Padding>(7); }, "padding");
  invalid([](ProblemSpec& s) { s.dtype = static_cast<DType>(-1); }, "dtype");
  invalid([](ProblemSpec& s) { s.direction = Direction::kBackwardFilter, s.with_bias = true; },
          "bias");
  invalid(
      [](ProblemSpec& s) { s.padding = Padding::kSame, s.kernel[0] = 3, s.dilation[0] = kMax / 2; },
      "'same'");
}

TEST_CASE("sizes beyond int64 are refused before they are multiplied") {
  const auto huge = [](ProblemSpec& s) {
    s.input = {int64_t{1} << 31, int64_t{1} << 31, int64_t{1} << 31};
  };
  CHECK(refusal_after(huge) == Status::kOutOfMemory);
  CHECK(refusal_after([](ProblemSpec& s) { s.batch = kMax; }) == Status::kOutOfMemory);
  CHECK(refusal_after([](ProblemSpec& s) { s.input_channels = kMax; }) == Status::kOutOfMemory);
  const auto pad = [](ProblemSpec& s) {
    s.padding = Padding::kExplicit;
    s.pad_before = s.pad_after = {int64_t{1} << 62, 0, 0};
  };
  CHECK(refusal_after(pad) == Status::kInvalidArgument);
  const auto half = [](ProblemSpec& s) {
    s.padding = Padding::kExplicit;
    s.pad_before = {int64_t{1} << 62, 0, 0};
  };
  CHECK(refusal_after(half) == Status::kInvalidArgument);
  // An empty batch of impossible volumes holds nothing, but its extents are refused all the same.
  const auto empty = [](ProblemSpec& s) {
    s.batch = 0, s.input = {int64_t{1} << 31, int64_t{1} << 31, 4};
  };
  CHECK(refusal_after(empty) == Status::kInvalidArgument);
}

TEST_CASE("degenerate problems that are right") {
  CHECK(refusal_after([](ProblemSpec& s) { s.batch = 0; }) == Status::kOk);
  ProblemSpec spec = simple();
  spec.stride = {int64_t{1} << 55, 1, 1};
  CHECK(make_problem(spec).od == 1);
  spec = simple();
  spec.padding = Padding::kSame;
  spec.dilation = {3046875451, 1, 1};
  CHECK(make_problem(spec).pd == 3046875451);
  spec = simple();
  spec.padding = Padding::kSame;
  spec.input[1] = 0;
  const Problem empty = make_problem(spec);
  CHECK(empty.oh == 0);
  CHECK(empty.od == 8);
  CHECK(empty.output_elements() == 0);
}

TEST_CASE("a problem's text is read back as the same problem") {
  for (const char* set : {"smoke", "edges", "strided", "dilated", "networks"}) {
    for (const std::string& line : testing::problem_set(set)) {
      CAPTURE(line);
      const Problem p = make_problem(testing::parse_problem(line));
      const Problem again = make_problem(testing::parse_problem(p.to_string()));
      CHECK(p.to_string() == again.to_string());
      CHECK(p.od == again.od);
      CHECK(p.flops() > 0);
    }
  }
  CHECK_THROWS(testing::parse_problem("mb1_ic1id3ih3iw3_oc1_kd1kh1kw1_sd1sh1sw1"));
  CHECK_THROWS(testing::parse_problem("mb1_ic1id3ih3iw3_oc1_kd1kh1kw1_sd1sh1sw1_valid_zz9"));
  CHECK_THROWS(testing::parse_problem("mb1_mb2_ic1id3ih3iw3_oc1_kd1kh1kw1_sd1sh1sw1_valid"));
}

TEST_CASE("checked arithmetic") {
  int64_t result = 0;
  CHECK(multiply_fits(int64_t{1} << 31, int64_t{1} << 31, &result));
  CHECK(result == int64_t{1} << 62);
  CHECK_FALSE(multiply_fits(int64_t{1} << 32, int64_t{1} << 31, &result));
  CHECK(multiply_fits(0, kMax, &result));
  CHECK(result == 0);
  CHECK(add_fits(kMax, 0, &result));
  CHECK_FALSE(add_fits(kMax, 1, &result));
  CHECK_FALSE(add_fits(std::numeric_limits<int64_t>::min(), -1, &result));
  CHECK(checked_product({0, kMax, kMax}, "x") == 0);
  CHECK_THROWS_AS(checked_product({2, kMax}, "x"), Error);
  CHECK(round_up(65, 64) == 128);
  CHECK(round_up(64, 64) == 64);
  CHECK_THROWS_AS(round_up(std::numeric_limits<size_t>::max(), 64), Error);
  CHECK_THROWS_AS(checked_add(std::numeric_limits<size_t>::max(), 1), Error);
}

TEST_CASE("float16 and bfloat16 are converted exactly and rounded to nearest even") {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half h{static_cast<uint16_t>(bits)};
    const float f = to_float(h);
    if ((bits & 0x7c00u) == 0x7c00u && (bits & 0x3ffu) != 0) {
      CHECK(f != f);
      CHECK(to_float(to_half(f)) != to_float(to_half(f)));
      continue;
    }
    if (to_half(f).bits != bits) FAIL_CHECK("float16 ", bits, " came back as ", to_half(f).bits);
    const BFloat16 b{static_cast<uint16_t>(bits)};
    const float g = to_float(b);
    if (g == g && to_bfloat16(g).bits != bits)
      FAIL_CHECK("bfloat16 ", bits, " came back as ", to_bfloat16(g).bits);
  }
  CHECK(to_float(Half{0x3c00}) == 1.0f);
  CHECK(to_float(Half{0x0001}) == 0x1p-24f);
  CHECK(to_half(65504.0f).bits == 0x7bff);
  CHECK(to_half(65519.0f).bits == 0x7bff);
  CHECK(to_half(65520.0f).bits == 0x7c00);
  CHECK(to_half(1.0f + 0x1p-11f).bits == 0x3c00);  // a tie goes to even
  CHECK(to_half(1.0f + 3 * 0x1p-11f).bits == 0x3c02);
  CHECK(to_half(0x1p-25f).bits == 0);  // half of the least: to even
  CHECK(to_half(0x1.8p-25f).bits == 1);
  CHECK(to_half(-0.0f).bits == 0x8000);
  CHECK(to_bfloat16(1.0f + 0x1p-8f).bits == 0x3f80);
  CHECK(to_bfloat16(std::numeric_limits<float>::max()).bits == 0x7f80);
}

TEST_CASE("pooling problems whose codes or sizes mean nothing are refused") {
  PoolSpec good;
  good.channels = 2;
  good.input = {4, 4, 4};
  good.window = {2, 2, 2};
  CHECK(make_pool_problem(good).output == Extent3{3, 3, 3});
  const auto status = [&](auto change) {
    PoolSpec spec = good;
    change(spec);
    try {
      make_pool_problem(spec);
    } catch (const Error& error) {
      return error.status();
    }
    return Status::kOk;
  };
  CHECK(status([](PoolSpec& s) { s.layout = static_cast<Layout>(2); }) == Status::kInvalidArgument);
  CHECK(status([](PoolSpec& s) {
          s.padding =
              static_cast<Padding>(3);  // not to be taken for explicit, whose pads are bounded
          s.pad_before[1] = 1000;
        }) == Status::kInvalidArgument);
  // Products without their zero factors must fit too.
  CHECK(status([](PoolSpec& s) {
          s.batch = 0;
          s.input = {int64_t{1} << 40, int64_t{1} << 40, 4};
        }) == Status::kOutOfMemory);
  CHECK(status([](PoolSpec& s) {
          s.channels = 0;
          s.input = {int64_t{1} << 40, int64_t{1} << 40, 4};
        }) == Status::kOutOfMemory);
}

}  // namespace
}  // namespace conv3d
