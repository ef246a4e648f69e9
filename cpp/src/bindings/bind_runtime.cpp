// Threads, memory and what the machine is.
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "bindings.h"

namespace bindings {

namespace {

// Memory for an array, which holds this object for as long as it lives.
struct PyBuffer {
  explicit PyBuffer(std::size_t size) : bytes(size) {
    conv3d::check(conv3d_buffer_create(bytes, &handle));
  }
  ~PyBuffer() { conv3d_buffer_destroy(handle); }
  PyBuffer(const PyBuffer&) = delete;
  PyBuffer& operator=(const PyBuffer&) = delete;

  std::size_t bytes;
  conv3d_buffer* handle = nullptr;
};

}  // namespace

void bind_runtime(py::module_& module) {
  using namespace py::literals;
  py::class_<PyBuffer>(module, "Buffer", py::buffer_protocol())
      .def(py::init<std::size_t>(), "bytes"_a)
      .def_buffer([](PyBuffer& b) {
        return py::buffer_info(conv3d_buffer_data(b.handle), 1, "B", 1,
                               {static_cast<py::ssize_t>(b.bytes)}, {py::ssize_t{1}});
      });
  module.attr("__version__") = conv3d_version();
  module.def("get_num_threads", &conv3d_get_num_threads);
  module.def("set_num_threads", &conv3d_set_num_threads, "threads"_a);
  module.def("set_verbose", [](bool on) { conv3d_set_verbose(on); }, "on"_a);
  module.def(
      "time_phases",
      [](bool on) {
        double seconds[4];
        conv3d_time_phases(on, seconds);
        return std::array<double, 4>{seconds[0], seconds[1], seconds[2], seconds[3]};
      },
      "on"_a);
  module.def("workspace_cache_bytes", &conv3d_workspace_cache_bytes);
  module.def("clear_workspace_cache", &conv3d_clear_workspace_cache);
  module.def(
      "check_memory",
      [](std::size_t bytes, const std::string& what) {
        conv3d::check(conv3d_check_memory(bytes, what.c_str()));
      },
      "bytes"_a, "what"_a);
  module.def(
      "measure_fma_peak",
      [](int threads, double seconds) {
        double rate = 0;
        {
          const ReleaseGil released;
          conv3d::check(conv3d_measure_fma_peak(threads, seconds, &rate));
        }
        return rate;
      },
      "threads"_a, "seconds"_a);
  module.def("machine_info", [] {
    const conv3d_machine_info i = conv3d::machine_info();
    return py::dict("isa"_a = i.isa, "available_isas"_a = i.available_isas,
                    "compiled_isas"_a = i.compiled_isas, "algorithms"_a = i.algorithms,
                    "vendor"_a = i.vendor, "model"_a = i.model, "compiler"_a = i.compiler,
                    "l1d_bytes"_a = i.l1d_bytes, "l2_bytes"_a = i.l2_bytes,
                    "l3_bytes"_a = i.l3_bytes, "memory_bytes"_a = i.memory_bytes,
                    "physical_cores"_a = i.physical_cores, "usable_threads"_a = i.usable_threads,
                    "assertions"_a = i.assertions != 0);
  });
}

}  // namespace bindings
