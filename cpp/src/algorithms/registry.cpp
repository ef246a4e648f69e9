// THE ordered list: one line per algorithm or family. Ties in cost go to the earlier entry; the
// reference is last and serves all.
#include <vector>

#include "algorithms/algorithm.h"
#include "algorithms/depthwise/depthwise.h"
#include "algorithms/implicit_gemm/implicit_gemm.h"
#include "algorithms/patches/patches.h"
#include "algorithms/planar/planar.h"
#include "algorithms/reference/reference.h"
#include "algorithms/strassen/filter_gradient.h"
#include "algorithms/strassen/strassen.h"
#include "algorithms/winograd/filter_gradient.h"
#include "algorithms/winograd/winograd.h"
#include "algorithms/winograd_rows/filter_gradient.h"
#include "algorithms/winograd_rows/winograd_rows.h"
#include "runtime/fork.h"

namespace conv3d {

AlgorithmList algorithm_list() {
  static FirstUse<const std::vector<const Algorithm*>> algorithms;
  const std::vector<const Algorithm*>& items = algorithms.get([] {
    std::vector<const Algorithm*> list;
    list.push_back(&depthwise_algorithm());
    list.push_back(&depthwise_filter_gradient_algorithm());
    list.push_back(&gemm_direct_algorithm());
    list.push_back(&gemm_filter_gradient_algorithm());
    list.push_back(&patches_algorithm());
    list.push_back(&patches_filter_gradient_algorithm());
    list.push_back(&planar_algorithm());
    list.push_back(&planar_filter_gradient_algorithm());
    list.push_back(&strassen_algorithm());
    list.push_back(&strassen_gradient_algorithm());
    const AlgorithmList winograd = winograd_algorithms();
    list.insert(list.end(), winograd.items, winograd.items + winograd.size);
    const AlgorithmList gradients = winograd_gradient_algorithms();
    list.insert(list.end(), gradients.items, gradients.items + gradients.size);
    const AlgorithmList rows = winograd_rows_algorithms();
    list.insert(list.end(), rows.items, rows.items + rows.size);
    const AlgorithmList rows_gradients = winograd_rows_gradient_algorithms();
    list.insert(list.end(), rows_gradients.items, rows_gradients.items + rows_gradients.size);
    list.push_back(&reference_algorithm());
    return list;
  });
  return {items.data(), static_cast<int>(items.size())};
}

}  // namespace conv3d
