// A convolution through the installed headers and library, in C++17.
#include <conv3d/conv3d.hpp>

#include <iostream>
#include <vector>

extern "C" int version_from_c(void);

int main() {
  conv3d::ProblemDesc desc;
  desc.input_channels = desc.output_channels = 1;
  desc.padding = CONV3D_SAME;
  for (int a = 0; a < 3; ++a) {
    desc.input[a] = 3;
    desc.kernel[a] = 3;
  }
  const std::vector<float> input(27, 1.0f), filter(27, 1.0f);
  std::vector<float> output(27);
  conv3d::Buffers buffers;
  buffers.batch = 1;
  buffers.input = input.data();
  buffers.filter = filter.data();
  buffers.result = output.data();
  conv3d::Plan(conv3d::Problem(desc)).execute(buffers);
  std::cout << conv3d_version() << ": " << output[13] << "\n";
  try {
    desc.stride[0] = 0;
    conv3d::Problem{desc};
  } catch (const conv3d::Error& error) {
    return output[13] == 27 && error.status() == CONV3D_INVALID_ARGUMENT && version_from_c() ? 0
                                                                                             : 1;
  }
  return 1;
}
