#include "plan/select.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/status.h"
#include "kernels/dispatch.h"
#include "plan/fold.h"
#include "plan/live_taps.h"
#include "runtime/fork.h"

namespace conv3d {
namespace {

const std::string& environment_algorithm() {
  static FirstUse<const std::string> name;
  return name.get([] {
    const char* text = std::getenv("CONV3D_ALGORITHM");
    return std::string(text != nullptr && *text != 0 ? text : "auto");
  });
}

bool matches(const Algorithm& algorithm, const std::string& wanted) {
  return wanted == algorithm.name() || wanted == algorithm.family();
}

std::string known_names() {
  const AlgorithmList list = algorithm_list();
  std::string names = "'auto'";
  std::vector<std::string> seen;
  const auto add = [&](const std::string& name) {
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) return;
    seen.push_back(name);
    names += ", '" + name + "'";
  };
  for (int i = 0; i < list.size; ++i) {
    add(list.items[i]->family());
    add(list.items[i]->name());
  }
  return names;
}

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

// What it costs to bring the arrays of one sample into another layout or dtype: read
// and write once, from memory.
double conversion_seconds(const Problem& p) {
  const double elements = static_cast<double>(p.input_voxels()) * static_cast<double>(p.ic) +
                          static_cast<double>(p.output_voxels()) * static_cast<double>(p.oc);
  return elements * 1e-9;
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  return text;
}

// The tables worth asking, those first that tie in their favour: no vector is wider than the units
// that compute it, where there is a choice. Narrower than AVX2's they are only a last resort.
std::vector<const KernelTable*> tables_to_ask(const PlanContext& context) {
  std::vector<const KernelTable*> tables = tables_up_to(*context.kernels, context.cpu->features);
  const auto bytes = [](const KernelTable* t) { return sizeof(float) * t->gemm.f32.lanes; };
  while (tables.size() > 1 && bytes(tables.back()) < 32) tables.pop_back();
  std::stable_partition(tables.begin(), tables.end(), [&](const KernelTable* t) {
    return bytes(t) <= context.cpu->vector_unit_bytes;
  });
  return tables;
}

// A problem as an algorithm may be offered it: of which taps, and whether it is folded.
struct Form {
  Problem problem;
  const LiveTaps* taps;
  bool folded;
};

// The problem of some taps in its forms, cheapest first. A folded one may be worth a conversion
// that the problem as it is would not need.
std::vector<Form> forms_of(const Problem& problem, const LiveTaps& taps) {
  const Problem live = of_live_taps(problem, taps);
  std::vector<Form> forms;
  const auto add = [&](const Problem& p) {
    const Problem folded = fold(p);
    forms.push_back({folded, &taps, folded.kw != p.kw});
  };
  add(live);
  if (problem.layout == Layout::kChannelsFirst) {
    Problem last = live;
    last.layout = Layout::kChannelsLast;
    add(last);
  }
  if (is_half(problem.dtype)) {
    for (size_t i = 0, n = forms.size(); i < n; ++i) {
      forms.push_back(forms[i]);
      forms.back().problem.dtype = DType::kFloat32;
    }
  }
  return forms;
}

struct Option {
  const Algorithm* algorithm;
  const KernelTable* kernels;
  Form form;
  double seconds;
  size_t candidate;
};

}  // namespace

Selection select_algorithm(const Problem& problem, const PlanContext& context,
                           const std::string& forced) {
  const std::string wanted = forced == "auto" || forced.empty() ? environment_algorithm() : forced;
  const bool automatic = wanted == "auto";
  Problem sample = problem;
  sample.mb = 1;
  const auto single = [&](const KernelTable* kernels) {
    return PlanContext{kernels, context.cpu, 1};
  };
  const std::vector<const KernelTable*> tables = tables_to_ask(context);

  const LiveTaps taps = live_taps(sample), every = all_taps(sample);
  const std::vector<Form> live_forms = forms_of(sample, taps),
                          whole_forms = forms_of(sample, every);
  // What is asked for by name and does not compute the live taps alone (Winograd of a single one)
  // may compute all of them.
  std::vector<Form> named_forms = live_forms;
  if (!taps.all()) named_forms.insert(named_forms.end(), whole_forms.begin(), whole_forms.end());

  Selection selection{};
  std::vector<Option> options;
  const AlgorithmList list = algorithm_list();
  // Nothing is multiplied in an empty tensor: no algorithm has to cut one into blocks, and the
  // reference, the last of the list, writes what there is to write.
  const bool empty =
      sample.input_voxels() == 0 || sample.output_voxels() == 0 || sample.ic == 0 || sample.oc == 0;
  bool known = automatic;
  std::string refusals;
  for (int i = 0; i < list.size; ++i) {
    const Algorithm& algorithm = *list.items[i];
    // The reference is what others are held to: it sees the problem as it is.
    const bool asked = automatic || matches(algorithm, wanted);
    const std::vector<Form>& forms = i + 1 == list.size    ? whole_forms
                                     : automatic || !asked ? live_forms
                                                           : named_forms;
    known = known || asked;
    Candidate candidate{algorithm.name(), algorithm.family(), -1, ""};
    for (const KernelTable* kernels : tables) {
      bool served = false;
      for (const Form& offered : forms) {
        if (served && (!offered.folded || offered.taps != forms.front().taps)) continue;
        const Problem& form = offered.problem;
        const std::string reason = algorithm.why_not(form, single(kernels));
        if (!reason.empty()) {
          if (candidate.seconds < 0 && candidate.reason.empty()) candidate.reason = reason;
          continue;
        }
        const bool converted = form.layout != sample.layout || form.dtype != sample.dtype;
        const double seconds = empty ? 0
                                     : algorithm.cost(form, single(kernels)) +
                                           (converted ? conversion_seconds(sample) : 0);
        if (candidate.seconds < 0 || seconds < candidate.seconds) {
          candidate.seconds = seconds;
          candidate.reason = converted ? "arrays are converted" : "";
        }
        if (asked)
          options.push_back({&algorithm, kernels, offered, seconds, selection.candidates.size()});
        served = true;
      }
    }
    if (asked && candidate.seconds < 0)
      refusals += std::string("; ") + algorithm.name() + ": " + candidate.reason;
    selection.candidates.push_back(candidate);
  }
  if (!known) {
    throw Error(Status::kInvalidArgument,
                "algorithm is '" + wanted + "'; accepted are " + known_names());
  }
  // Ties go to the earlier entry of the registry.
  std::stable_sort(options.begin(), options.end(),
                   [](const Option& a, const Option& b) { return a.seconds < b.seconds; });
  if (empty && !options.empty()) {
    selection.algorithm = list.items[list.size - 1];
    selection.kernels = context.kernels;
    selection.inner = sample;
    selection.taps = every;
    selection.prepared = selection.algorithm->prepare(sample, single(context.kernels));
    selection.why = "a tensor is empty, so nothing is multiplied";
    return selection;
  }
  for (const Option& option : options) {
    std::unique_ptr<Prepared> prepared =
        option.algorithm->prepare(option.form.problem, single(option.kernels));
    // Direct summation is what accuracy "strict" is, so nothing better could take its place.
    const bool bounded =
        option.form.problem.dtype == DType::kFloat32 && !option.algorithm->direct();
    if (bounded && prepared->error_bound() > kDefaultErrorBound) {
      char text[96];
      std::snprintf(text, sizeof text, "its error bound %.2g is above the promised %.2g",
                    prepared->error_bound(), kDefaultErrorBound);
      selection.candidates[option.candidate].seconds = -1;
      selection.candidates[option.candidate].reason = text;
      refusals += std::string("; ") + option.algorithm->name() + ": " + text;
      continue;
    }
    selection.algorithm = option.algorithm;
    selection.kernels = option.kernels;
    selection.inner = option.form.problem;
    selection.taps = *option.form.taps;
    selection.prepared = std::move(prepared);
    const std::string estimate =
        "estimated " + seconds_text(option.seconds) + " a sample and thread";
    selection.why =
        automatic ? "least " + estimate : "forced by the name '" + wanted + "', " + estimate;
    return selection;
  }
  throw Error(Status::kUnsupported,
              "algorithm '" + wanted + "' cannot serve " + problem.to_string() + refusals);
}

}  // namespace conv3d
