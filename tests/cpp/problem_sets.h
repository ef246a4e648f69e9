// Reads tests/problems/*.txt; the grammar is in tests/problems/README.md.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "problem/problem.h"

namespace conv3d::testing {

// "mb2_ic16id8...": the forward problem in float32, channels last. Throws std::invalid_argument.
inline ProblemSpec parse_problem(const std::string& text) {
  std::map<std::string, int64_t> numbers;
  std::string padding;
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] == '_') {
      ++at;
      continue;
    }
    const size_t name_start = at;
    while (at < text.size() && text[at] >= 'a' && text[at] <= 'z') ++at;
    const std::string name = text.substr(name_start, at - name_start);
    if (name == "same" || name == "valid") {
      padding = name;
      continue;
    }
    const size_t digits_start = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    if (name.empty() || digits_start == at ||
        !numbers.emplace(name, std::stoll(text.substr(digits_start, at - digits_start))).second) {
      throw std::invalid_argument("malformed problem: " + text);
    }
  }
  const auto take = [&](const std::string& name, int64_t missing) {
    const auto found = numbers.find(name);
    if (found == numbers.end()) {
      if (missing < 0) throw std::invalid_argument("problem without " + name + ": " + text);
      return missing;
    }
    const int64_t value = found->second;
    numbers.erase(found);
    return value;
  };
  const auto take3 = [&](const std::string& prefix, int64_t missing) {
    return Extent3{take(prefix + "d", missing), take(prefix + "h", missing),
                   take(prefix + "w", missing)};
  };
  ProblemSpec spec;
  spec.batch = take("mb", -1);
  spec.groups = take("g", 1);
  spec.input_channels = take("ic", -1);
  spec.output_channels = take("oc", -1);
  spec.input = take3("i", -1);
  spec.kernel = take3("k", -1);
  spec.stride = take3("s", -1);
  spec.dilation = take3("d", 1);
  if (padding.empty()) {
    spec.padding = Padding::kExplicit;
    spec.pad_before = take3("p", -1);
    spec.pad_after = take3("q", -1);
  } else {
    spec.padding = padding == "same" ? Padding::kSame : Padding::kValid;
  }
  if (!numbers.empty())
    throw std::invalid_argument("unknown part " + numbers.begin()->first + " in " + text);
  return spec;
}

// The lines of tests/problems/<set>.txt without comments.
inline std::vector<std::string> problem_set(const std::string& set) {
  const std::string path = std::string(CONV3D_TEST_PROBLEMS) + "/" + set + ".txt";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::vector<std::string> lines;
  std::string line;
  while (std::getline(file, line)) {
    line = line.substr(0, line.find('#'));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.pop_back();
    if (!line.empty()) lines.push_back(line);
  }
  if (lines.empty()) throw std::runtime_error(path + " holds no problems");
  return lines;
}

}  // namespace conv3d::testing
