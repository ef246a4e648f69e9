// Problem, Plan and PackedFilter. Pointers and shapes are read under the GIL; it is
// released around the call alone.
#include <pybind11/stl.h>

#include <utility>

#include "bindings.h"

namespace bindings {
namespace {

using conv3d::Extent3;

void copy(const Extent3& from, std::int64_t (&to)[3]) {
  for (int a = 0; a < 3; ++a) to[a] = from[static_cast<std::size_t>(a)];
}

py::tuple triple(const std::int64_t (&values)[3]) {
  return py::make_tuple(values[0], values[1], values[2]);
}

// The sizes that a call's arrays must have, kept beside the handle.
struct PyProblem {
  conv3d::ProblemDesc desc;
  conv3d::Problem problem;
  conv3d_problem_info info;
  explicit PyProblem(const conv3d::ProblemDesc& d) : desc(d), problem(d), info(problem.info()) {}

  std::int64_t input_voxels() const { return desc.input[0] * desc.input[1] * desc.input[2]; }
  std::int64_t output_voxels() const { return info.output[0] * info.output[1] * info.output[2]; }
  std::int64_t filter_elements() const {
    return desc.kernel[0] * desc.kernel[1] * desc.kernel[2] * (desc.input_channels / desc.groups) *
           desc.output_channels;
  }
};

struct PyPlan {
  PyProblem problem;
  conv3d::Plan plan;
  PyPlan(const PyProblem& p, const std::string& algorithm)
      : problem(p), plan(p.problem, algorithm) {}

  conv3d::PackedFilter pack(const py::object& filter) const {
    const void* data =
        data_of(filter, "filter", problem.filter_elements(), problem.desc.dtype, false);
    const ReleaseGil released;
    return plan.pack(data);
  }

  void execute(std::int64_t batch, const py::object& input, const py::object& filter,
               const conv3d::PackedFilter* packed, const py::object& grad_output,
               const py::object& bias, const py::object& result, int num_threads) const {
    const conv3d::ProblemDesc& d = problem.desc;
    const std::int64_t inputs = batch * problem.input_voxels() * d.input_channels;
    const std::int64_t outputs = batch * problem.output_voxels() * d.output_channels;
    const bool forward = d.direction == CONV3D_FORWARD;
    conv3d::Buffers b;
    b.batch = batch;
    b.num_threads = num_threads;
    b.input = data_of(input, "input", inputs, d.dtype, false);
    b.filter = data_of(filter, "filter", problem.filter_elements(), d.dtype, false);
    b.grad_output = data_of(grad_output, "grad_output", outputs, d.dtype, false);
    b.bias = data_of(bias, "bias", forward ? d.output_channels : d.input_channels, d.dtype, false);
    b.result = data_of(result, "out",
                       forward                                ? outputs
                       : d.direction == CONV3D_BACKWARD_INPUT ? inputs
                                                              : problem.filter_elements(),
                       d.dtype, true);
    b.packed_filter = packed != nullptr ? packed->get() : nullptr;
    const ReleaseGil released;
    plan.execute(b);
  }

  py::dict info(std::int64_t batch, int threads) const {
    const conv3d_plan_info i = plan.info(batch, threads);
    py::list candidates;
    for (const conv3d::Candidate& c : plan.candidates()) {
      candidates.append(py::make_tuple(
          c.algorithm, c.seconds < 0 ? py::object(py::none()) : py::object(py::float_(c.seconds)),
          c.reason));
    }
    using namespace py::literals;
    return py::dict(
        "algorithm"_a = i.algorithm, "family"_a = i.family, "detail"_a = i.detail, "why"_a = i.why,
        "isa"_a = i.isa, "threads"_a = i.threads, "workspace_bytes"_a = i.workspace_bytes,
        "packed_filter_bytes"_a = i.packed_filter_bytes, "error_bound"_a = i.error_bound,
        "effective_flops"_a = i.effective_flops, "candidates"_a = candidates);
  }
};

PyProblem make_problem(int direction, int dtype, int layout, int padding, int activation,
                       int accuracy, bool with_bias, std::int64_t batch, std::int64_t groups,
                       std::int64_t input_channels, std::int64_t output_channels,
                       const Extent3& input, const Extent3& kernel, const Extent3& stride,
                       const Extent3& dilation, const Extent3& pad_before,
                       const Extent3& pad_after) {
  conv3d::ProblemDesc d;
  d.direction = static_cast<conv3d_direction>(direction);
  d.dtype = static_cast<conv3d_dtype>(dtype);
  d.layout = static_cast<conv3d_layout>(layout);
  d.padding = static_cast<conv3d_padding>(padding);
  d.activation = static_cast<conv3d_activation>(activation);
  d.accuracy = static_cast<conv3d_accuracy>(accuracy);
  d.with_bias = with_bias;
  d.batch = batch;
  d.groups = groups;
  d.input_channels = input_channels;
  d.output_channels = output_channels;
  copy(input, d.input);
  copy(kernel, d.kernel);
  copy(stride, d.stride);
  copy(dilation, d.dilation);
  copy(pad_before, d.pad_before);
  copy(pad_after, d.pad_after);
  return PyProblem(d);
}

}  // namespace

void bind_conv(py::module_& module) {
  using namespace py::literals;
  py::class_<PyProblem>(module, "Problem")
      .def(py::init(&make_problem), py::kw_only(), "direction"_a, "dtype"_a, "layout"_a,
           "padding"_a, "activation"_a, "accuracy"_a, "with_bias"_a, "batch"_a, "groups"_a,
           "input_channels"_a, "output_channels"_a, "input"_a, "kernel"_a, "stride"_a, "dilation"_a,
           "pad_before"_a, "pad_after"_a)
      .def_property_readonly("output", [](const PyProblem& p) { return triple(p.info.output); })
      .def_property_readonly("pad_before",
                             [](const PyProblem& p) { return triple(p.info.pad_before); })
      .def_property_readonly("pad_after",
                             [](const PyProblem& p) { return triple(p.info.pad_after); })
      .def_property_readonly("flops", [](const PyProblem& p) { return p.info.flops; })
      .def("__str__", [](const PyProblem& p) { return p.problem.text(); });

  py::class_<conv3d::PackedFilter>(module, "PackedFilter")
      .def_property_readonly("bytes", &conv3d::PackedFilter::bytes);

  py::class_<PyPlan>(module, "Plan")
      .def(py::init<const PyProblem&, const std::string&>(), "problem"_a, "algorithm"_a)
      .def("pack", &PyPlan::pack, "filter"_a)
      .def(
          "accepts",
          [](const PyPlan& p, const conv3d::PackedFilter& f) { return p.plan.accepts(f); },
          "packed"_a)
      .def("execute", &PyPlan::execute, "batch"_a, "input"_a, "filter"_a, "packed"_a,
           "grad_output"_a, "bias"_a, "result"_a, "num_threads"_a)
      .def("info", &PyPlan::info, "batch"_a, "num_threads"_a);
}

}  // namespace bindings
