// What stands between convolutions: sums, moments and affine maps by channel, activations'
// gradients, softmax, optimizers.
#include <pybind11/stl.h>

#include <array>
#include <numeric>
#include <vector>

#include "bindings.h"

namespace bindings {
namespace {

conv3d_channel_view view_of(int dtype, std::int64_t outer, std::int64_t channels,
                            std::int64_t inner) {
  conv3d_channel_view view;
  CONV3D_INIT(view);
  view.dtype = static_cast<conv3d_dtype>(dtype);
  view.outer = outer;
  view.channels = channels;
  view.inner = inner;
  return view;
}

void moments(int dtype, std::int64_t outer, std::int64_t channels, std::int64_t inner,
             const py::object& x, const py::object& mean, const py::object& variance,
             int num_threads) {
  const conv3d_channel_view view = view_of(dtype, outer, channels, inner);
  const void* px = data_of(x, "x", outer * channels * inner, dtype, false);
  void* pm = data_of(mean, "mean", channels, dtype, true);
  void* pv = data_of(variance, "variance", channels, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_channel_moments(&view, px, pm, pv, num_threads, nullptr));
}

void sums(int dtype, std::int64_t outer, std::int64_t channels, std::int64_t inner,
          const py::object& x, const py::object& y, const py::object& center, const py::object& sum,
          const py::object& product, int num_threads) {
  const conv3d_channel_view view = view_of(dtype, outer, channels, inner);
  const std::int64_t n = outer * channels * inner;
  const void* px = data_of(x, "x", n, dtype, false);
  const void* py_ = data_of(y, "y", n, dtype, false);
  const void* pc = data_of(center, "center", channels, dtype, false);
  void* ps = data_of(sum, "sum", channels, dtype, true);
  void* pp = data_of(product, "product", channels, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_channel_sums(&view, px, py_, pc, ps, pp, num_threads, nullptr));
}

void affine(int dtype, std::int64_t outer, std::int64_t channels, std::int64_t inner,
            const py::object& x, const py::object& scale, const py::object& y,
            const py::object& scale_y, const py::object& shift, bool relu, const py::object& result,
            int num_threads) {
  const conv3d_channel_view view = view_of(dtype, outer, channels, inner);
  const std::int64_t n = outer * channels * inner;
  const void* px = data_of(x, "x", n, dtype, false);
  const void* ps = data_of(scale, "scale", channels, dtype, false);
  const void* py_ = data_of(y, "y", n, dtype, false);
  const void* psy = data_of(scale_y, "scale_y", channels, dtype, false);
  const void* pt = data_of(shift, "shift", channels, dtype, false);
  void* out = data_of(result, "out", n, dtype, true);
  const ReleaseGil released;
  conv3d::check(
      conv3d_channel_affine(&view, px, ps, py_, psy, pt, relu, out, num_threads, nullptr));
}

void pointwise(int op, int dtype, std::int64_t n, const py::object& a, const py::object& b,
               double parameter, const py::object& result, int num_threads) {
  const void* pa = data_of(a, "a", n, dtype, false);
  const void* pb = data_of(b, "b", n, dtype, false);
  void* out = data_of(result, "out", n, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_pointwise(static_cast<conv3d_pointwise_op>(op),
                                 static_cast<conv3d_dtype>(dtype), n, pa, pb, parameter, out,
                                 num_threads, nullptr));
}

void softmax(int dtype, std::int64_t rows, std::int64_t classes, const py::object& x,
             const py::object& y, const py::object& result, int num_threads) {
  const void* px = data_of(x, "x", rows * classes, dtype, false);
  const void* py_ = data_of(y, "y", rows * classes, dtype, false);
  void* out = data_of(result, "out", rows * classes, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_softmax(static_cast<conv3d_dtype>(dtype), rows, classes, px, py_, out,
                               num_threads, nullptr));
}

void sparse_cross_entropy(int dtype, std::int64_t rows, std::int64_t classes, const py::object& x,
                          const py::object& labels, const py::object& loss, const py::object& grad,
                          int num_threads) {
  const void* px = data_of(x, "x", rows * classes, dtype, false);
  // Labels are int64: eight bytes each, as float64.
  const void* pl = data_of(labels, "labels", rows, CONV3D_FLOAT64, false);
  void* ploss = data_of(loss, "loss", rows, dtype, true);
  void* pgrad = data_of(grad, "grad", rows * classes, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_sparse_cross_entropy(static_cast<conv3d_dtype>(dtype), rows, classes, px,
                                            static_cast<const std::int64_t*>(pl), ploss, pgrad,
                                            num_threads, nullptr));
}

void optimizer_step(int rule, int dtype, std::int64_t n, const std::array<double, 4>& numbers,
                    const py::object& grad, const py::object& var, const py::object& slot0,
                    const py::object& slot1, const py::object& new_var, const py::object& new_slot0,
                    const py::object& new_slot1, int num_threads) {
  conv3d_optimizer_arrays a;
  CONV3D_INIT(a);
  a.grad = data_of(grad, "grad", n, dtype, false);
  a.var = data_of(var, "var", n, dtype, false);
  a.slot0 = data_of(slot0, "slot0", n, dtype, false);
  a.slot1 = data_of(slot1, "slot1", n, dtype, false);
  a.new_var = data_of(new_var, "new_var", n, dtype, true);
  a.new_slot0 = data_of(new_slot0, "new_slot0", n, dtype, true);
  a.new_slot1 = data_of(new_slot1, "new_slot1", n, dtype, true);
  const ReleaseGil released;
  conv3d::check(conv3d_optimizer_step(static_cast<conv3d_optimizer_rule>(rule),
                                      static_cast<conv3d_dtype>(dtype), n, numbers.data(), &a,
                                      num_threads, nullptr));
}

// Arrays of any type, of which only the bytes count.
char* bytes_of(const py::handle& object, const char* name, std::int64_t bytes, bool write) {
  if (!py::isinstance<py::array>(object))
    throw py::type_error(std::string(name) + " is not a numpy.ndarray");
  const py::array array = py::reinterpret_borrow<py::array>(object);
  if (array.nbytes() != bytes || (array.flags() & py::array::c_style) == 0 ||
      (write && !array.writeable())) {
    throw py::value_error(std::string(name) + " is not a C-contiguous array of " +
                          std::to_string(bytes) + " bytes that can be used here");
  }
  return static_cast<char*>(const_cast<void*>(array.data()));
}

std::int64_t total_of(std::int64_t rows, const std::vector<std::int64_t>& bytes) {
  return rows * std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0});
}

void join_rows(std::int64_t rows, const std::vector<std::int64_t>& bytes, const py::tuple& parts,
               const py::object& result, int num_threads) {
  std::vector<const void*> sources;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    sources.push_back(bytes_of(parts[i], "arrays", rows * bytes[i], false));
  void* out = bytes_of(result, "out", total_of(rows, bytes), true);
  const ReleaseGil released;
  conv3d::check(conv3d_join_rows(rows, static_cast<int>(bytes.size()), bytes.data(), sources.data(),
                                 out, num_threads, nullptr));
}

void cut_rows(std::int64_t rows, const std::vector<std::int64_t>& bytes, const py::object& whole,
              const py::tuple& parts, int num_threads) {
  std::vector<void*> results;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    results.push_back(bytes_of(parts[i], "out", rows * bytes[i], true));
  const void* source = bytes_of(whole, "array", total_of(rows, bytes), false);
  const ReleaseGil released;
  conv3d::check(conv3d_cut_rows(rows, static_cast<int>(bytes.size()), bytes.data(), source,
                                results.data(), num_threads, nullptr));
}

}  // namespace

void bind_elementwise(py::module_& module) {
  module.def("channel_moments", &moments);
  module.def("channel_sums", &sums);
  module.def("channel_affine", &affine);
  module.def("pointwise", &pointwise);
  module.def("softmax", &softmax);
  module.def("sparse_cross_entropy", &sparse_cross_entropy);
  module.def("optimizer_step", &optimizer_step);
  module.def("join_rows", &join_rows);
  module.def("cut_rows", &cut_rows);
}

}  // namespace bindings
