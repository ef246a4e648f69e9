// Which kernels this process uses: an ordered list of tables, best first, one per instruction set.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace conv3d {

struct KernelTableList {
  const KernelTable* const* items;
  int size;
};
// All that were compiled in, best first; the processor may lack some. The last one runs everywhere.
KernelTableList kernel_tables();

// The best table of `features` (bits of CpuFeature) that is not better than the one called
// `max_isa` (all if empty). Throws Error{kInvalidArgument} for an unknown name and
// Error{kUnsupported} for one that the processor cannot run.
const KernelTable& select_kernel_table(unsigned features, const std::string& max_isa);

// `best` and those of `features` that come after it, best first: what a plan may choose from.
std::vector<const KernelTable*> tables_up_to(const KernelTable& best, unsigned features);

// The table of this process: the best that the processor has, capped by the environment variable
// CONV3D_MAX_ISA. Decided at the first call; throws as select_kernel_table does.
const KernelTable& kernel_table();

}  // namespace conv3d
