#include "problem/shape.h"

#include "base/math.h"
#include "base/status.h"

namespace conv3d {
namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw Error(Status::kInvalidArgument, message);
}

std::string number(int64_t value) { return std::to_string(value); }

}  // namespace

std::string to_string(const Extent3& extent) {
  return "(" + number(extent[0]) + ", " + number(extent[1]) + ", " + number(extent[2]) + ")";
}

Axis resolve_axis(const char* kernel_name, const char* axis, int64_t n, int64_t kernel,
                  int64_t stride, int64_t dilation, Padding padding, int64_t pad_before,
                  int64_t pad_after) {
  const std::string where = std::string(" along the ") + axis;
  if (n < 0) refuse("input has extent " + number(n) + where + "; extents are not negative");
  if (kernel < 1)
    refuse(std::string(kernel_name) + " has extent " + number(kernel) + where +
           "; at least 1 is accepted");
  if (stride < 1) refuse("strides is " + number(stride) + where + "; at least 1 is accepted");
  if (dilation < 1) refuse("dilations is " + number(dilation) + where + "; at least 1 is accepted");
  int64_t effective = 0;
  if (!multiply_fits(kernel - 1, dilation, &effective) || !add_fits(effective, 1, &effective)) {
    refuse("dilations is " + number(dilation) + " and " + kernel_name + " has extent " +
           number(kernel) + where + ": the dilated kernel must not exceed 2^63 - 1 cells");
  }
  if (padding == Padding::kSame) {
    const int64_t output = ceil_div(n, stride);
    if (output == 0) return {0, 0, 0};
    // (output - 1) * stride < n, so this product fits; the sum with a huge dilated kernel may not.
    int64_t needed = 0;
    if (!add_fits((output - 1) * stride, effective, &needed)) {
      refuse("dilations is " + number(dilation) + where +
             ": 'same' padding would exceed 2^63 - 1 cells");
    }
    const int64_t total = needed > n ? needed - n : 0;
    return {output, total / 2, total - total / 2};
  }
  if (padding == Padding::kValid) pad_before = pad_after = 0;
  if (pad_before < 0 || pad_after < 0) {
    refuse("padding is (" + number(pad_before) + ", " + number(pad_after) + ")" + where +
           "; negative padding is not accepted");
  }
  int64_t padded = 0;
  if (!add_fits(n, pad_before, &padded) || !add_fits(padded, pad_after, &padded)) {
    refuse("padding is (" + number(pad_before) + ", " + number(pad_after) + ")" + where +
           ": the padded input must not exceed 2^63 - 1 cells");
  }
  if (effective > padded) {
    refuse(std::string(kernel_name) + " covers " + number(effective) + " cells" + where +
           " and the padded input has " + number(padded) +
           "; the kernel must fit (or use padding='same')");
  }
  return {(padded - effective) / stride + 1, pad_before, pad_after};
}

}  // namespace conv3d
