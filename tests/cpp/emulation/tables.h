// The kernel tables that a test can run here: those of this processor and, where SIMDe
// was found, AVX-512 emulated.
#pragma once

#include <vector>

#include "kernels/dispatch.h"
#include "runtime/cpu_info.h"

#ifdef CONV3D_TEST_EMULATED_AVX512
namespace conv3d::avx512_emulated {
extern const KernelTable kKernelTable;
}
#endif

namespace conv3d::testing {

inline std::vector<const KernelTable*> runnable_tables() {
  std::vector<const KernelTable*> tables;
  bool native_avx512 = false;
  const KernelTableList all = kernel_tables();
  for (int i = 0; i < all.size; ++i) {
    if ((all.items[i]->required_features & ~cpu_info().features) != 0) continue;
    tables.push_back(all.items[i]);
    native_avx512 = native_avx512 || (all.items[i]->required_features & kCpuAvx512f) != 0;
  }
#ifdef CONV3D_TEST_EMULATED_AVX512
  if (!native_avx512) tables.push_back(&avx512_emulated::kKernelTable);
#endif
  static_cast<void>(native_avx512);
  return tables;
}

}  // namespace conv3d::testing
