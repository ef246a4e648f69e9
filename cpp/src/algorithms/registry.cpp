// THE ordered list: one line per algorithm. Ties in cost go to the earlier entry; the reference is last and serves all.
#include "algorithms/algorithm.h"
#include "algorithms/reference/reference.h"

namespace conv3d {

AlgorithmList algorithm_list() {
  static const Algorithm* const items[] = {
      &reference_algorithm(),
  };
  return {items, static_cast<int>(sizeof items / sizeof items[0])};
}

}  // namespace conv3d
