// A convolution problem in normal form: the one description that every caller's arguments become.
//
//   output[n, o, c] = act(bias[c] + sum_{k, i} input[n, o * s - p + k * d, i] * filter[k, i, c])
//
// The sizes always describe the *forward* problem; `direction` says which of its three
// tensors is computed. Layouts: input and output NDHWC or NCDHW (dense), filter always
// [kd][kh][kw][ic / groups][oc].
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace conv3d {

enum class Direction : int { kForward = 0, kBackwardInput = 1, kBackwardFilter = 2 };
enum class DType : int { kFloat32 = 0, kFloat64 = 1, kFloat16 = 2, kBFloat16 = 3 };
enum class Layout : int { kChannelsLast = 0, kChannelsFirst = 1 };
enum class Padding : int { kValid = 0, kSame = 1, kExplicit = 2 };
enum class Activation : int { kNone = 0, kRelu = 1, kLeakyRelu = 2, kSigmoid = 3, kTanh = 4 };
enum class Accuracy : int { kDefault = 0, kStrict = 1, kFast = 2 };

using Extent3 = std::array<int64_t, 3>;  // depth, height, width

// What a caller says. Nothing in it is trusted; make_problem turns it into a Problem or throws.
struct ProblemSpec {
  Direction direction = Direction::kForward;
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kChannelsLast;
  Padding padding = Padding::kValid;
  Activation activation = Activation::kNone;  // of the computed tensor; refused for kBackwardFilter
  Accuracy accuracy = Accuracy::kDefault;
  bool with_bias = false;  // added to the computed tensor's channels; refused for kBackwardFilter
  int64_t batch = 1, groups = 1;
  int64_t input_channels = 0, output_channels = 0;  // totals over all groups
  Extent3 input{}, kernel{}, stride{1, 1, 1}, dilation{1, 1, 1};
  Extent3 pad_before{}, pad_after{};  // read only when padding is kExplicit
  double leaky_relu_alpha = 0.2;      // TensorFlow's default
};

// A checked problem: every size is non-negative, every product of sizes used for memory fits
// int64_t, strides and dilations are positive, groups divide the channels. Kernels and
// algorithms see nothing else.
struct Problem {
  Direction direction;
  DType dtype;
  Layout layout;
  Activation activation;
  Accuracy accuracy;
  bool with_bias;
  double leaky_relu_alpha;
  int64_t mb, groups;
  int64_t ic, oc;         // totals; per group: ic / groups, oc / groups
  int64_t id, ih, iw;     // input extent
  int64_t od, oh, ow;     // output extent
  int64_t kd, kh, kw;     // filter extent
  int64_t sd, sh, sw;     // strides
  int64_t dd, dh, dw;     // dilations
  int64_t pd, ph, pw;     // zeros before
  int64_t pd1, ph1, pw1;  // zeros after (may exceed what the last window reads)

  int64_t input_elements() const { return mb * id * ih * iw * ic; }
  int64_t output_elements() const { return mb * od * oh * ow * oc; }
  int64_t filter_elements() const { return kd * kh * kw * (ic / groups) * oc; }
  int64_t input_voxels() const { return id * ih * iw; }   // of one sample
  int64_t output_voxels() const { return od * oh * ow; }  // of one sample
  double flops() const;           // 2 * multiply-adds of the direct algorithm, whole batch
  std::string to_string() const;  // grammar of tests/problems/*.txt
  static int element_size(DType dtype);
};

// Checks everything and computes output extents and padding. Throws
// Error{kInvalidArgument | kOutOfMemory}.
Problem make_problem(const ProblemSpec& spec);

}  // namespace conv3d
