// The Python module conv3d._core: the C++ face of the library for conv3d/engine.py, its only
// importer. Sub-interpreters are not declared, because NumPy does not load in them.
#include "bindings.h"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  namespace py = pybind11;
  module.doc() = "Compiled core of conv3d. Private: use conv3d.engine.";
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const conv3d::Error& error) {
      PyObject* type = PyExc_RuntimeError;
      switch (error.status()) {
        case CONV3D_INVALID_ARGUMENT:
        case CONV3D_UNSUPPORTED: type = PyExc_ValueError; break;
        case CONV3D_OUT_OF_MEMORY: type = PyExc_MemoryError; break;
        default: break;
      }
      py::set_error(type, error.what());
    }
  });
  bindings::bind_conv(module);
  bindings::bind_elementwise(module);
  bindings::bind_pool(module);
  bindings::bind_runtime(module);
}
