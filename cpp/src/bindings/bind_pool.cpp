// Max and average pooling and their gradients.
#include <pybind11/stl.h>

#include "bindings.h"

namespace bindings {
namespace {

using conv3d::Extent3;

struct PyPool {
  conv3d::PoolDesc desc;
  std::int64_t output[3];

  std::int64_t inputs(std::int64_t batch) const {
    return batch * desc.input[0] * desc.input[1] * desc.input[2] * desc.channels;
  }
  std::int64_t outputs(std::int64_t batch) const {
    return batch * output[0] * output[1] * output[2] * desc.channels;
  }

  void forward(const py::object& input, const py::object& result, int num_threads) const {
    const void* x = data_of(input, "input", inputs(desc.batch), desc.dtype, false);
    void* y = data_of(result, "out", outputs(desc.batch), desc.dtype, true);
    const ReleaseGil released;
    conv3d::check(conv3d_pool_forward(&desc, x, y, num_threads, nullptr));
  }

  void backward(const py::object& input, const py::object& output_array,
                const py::object& grad_output, const py::object& result, int num_threads) const {
    const void* x = data_of(input, "input", inputs(desc.batch), desc.dtype, false);
    const void* y = data_of(output_array, "output", outputs(desc.batch), desc.dtype, false);
    const void* dy = data_of(grad_output, "grad_output", outputs(desc.batch), desc.dtype, false);
    void* dx = data_of(result, "out", inputs(desc.batch), desc.dtype, true);
    const ReleaseGil released;
    conv3d::check(conv3d_pool_backward(&desc, x, y, dy, dx, num_threads, nullptr));
  }
};

PyPool make_pool(int kind, int dtype, int layout, int padding, std::int64_t batch,
                 std::int64_t channels, const Extent3& input, const Extent3& window,
                 const Extent3& stride, const Extent3& pad_before, const Extent3& pad_after) {
  PyPool pool{};
  conv3d::PoolDesc& d = pool.desc;
  d.kind = static_cast<conv3d_pooling>(kind);
  d.dtype = static_cast<conv3d_dtype>(dtype);
  d.layout = static_cast<conv3d_layout>(layout);
  d.padding = static_cast<conv3d_padding>(padding);
  d.batch = batch;
  d.channels = channels;
  for (std::size_t a = 0; a < 3; ++a) {
    d.input[a] = input[a];
    d.window[a] = window[a];
    d.stride[a] = stride[a];
    d.pad_before[a] = pad_before[a];
    d.pad_after[a] = pad_after[a];
  }
  conv3d::check(conv3d_pool_output(&d, pool.output));
  return pool;
}

}  // namespace

void bind_pool(py::module_& module) {
  using namespace py::literals;
  py::class_<PyPool>(module, "Pool")
      .def(py::init(&make_pool), py::kw_only(), "kind"_a, "dtype"_a, "layout"_a, "padding"_a,
           "batch"_a, "channels"_a, "input"_a, "window"_a, "stride"_a, "pad_before"_a,
           "pad_after"_a)
      .def_property_readonly(
          "output",
          [](const PyPool& p) { return py::make_tuple(p.output[0], p.output[1], p.output[2]); })
      .def("forward", &PyPool::forward, "input"_a, "result"_a, "num_threads"_a)
      .def("backward", &PyPool::backward, "input"_a, "output"_a, "grad_output"_a, "result"_a,
           "num_threads"_a);
}

}  // namespace bindings
