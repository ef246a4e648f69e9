// What the files of the Python module share.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#include <unistd.h>
#endif

#include "conv3d/conv3d.hpp"

namespace bindings {

namespace py = pybind11;

// The engine has checked its arguments with better words; this is the last wall before raw
// memory: a C-contiguous array of exactly `elements` elements of the dtype's size, aligned, and
// writeable if it is the result.
inline void* data_of(const py::object& object, const char* name, std::int64_t elements, int dtype,
                     bool write) {
  if (object.is_none()) return nullptr;
  if (!py::isinstance<py::array>(object))
    throw py::type_error(std::string(name) + " is not a numpy.ndarray");
  const py::array array = py::reinterpret_borrow<py::array>(object);
  static constexpr int kSizes[4] = {4, 8, 2, 2};
  constexpr int kAligned = py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if (array.size() != elements || array.itemsize() != kSizes[dtype]) {
    throw py::value_error(std::string(name) + " has " + std::to_string(array.size()) +
                          " elements of " + std::to_string(array.itemsize()) + " bytes; " +
                          std::to_string(elements) + " of " + std::to_string(kSizes[dtype]) +
                          " are needed");
  }
  if ((array.flags() & py::array::c_style) == 0 || (array.flags() & kAligned) == 0) {
    throw py::value_error(std::string(name) + " is not an aligned C-contiguous array");
  }
  if (write && !array.writeable()) throw py::value_error(std::string(name) + " is read-only");
  return const_cast<void*>(array.data());
}

// The GIL, given up for the life of this object. Up to 3.13 an interpreter that is shutting down
// ends a daemon thread that asks for the GIL by pthread_exit, whose unwinding must not pass a
// destructor: the thread sleeps instead, as it does from 3.14 on.
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() noexcept(false) {
#if defined(__GLIBCXX__)
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      while (true) pause();
    }
#else
    PyEval_RestoreThread(state_);
#endif
  }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};

void bind_conv(py::module_& module);
void bind_elementwise(py::module_& module);
void bind_pool(py::module_& module);
void bind_runtime(py::module_& module);

}  // namespace bindings
