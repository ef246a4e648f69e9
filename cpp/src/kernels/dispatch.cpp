#include "kernels/dispatch.h"

#include <cstdlib>

#include "base/status.h"
#include "runtime/cpu_info.h"
#include "runtime/fork.h"

namespace conv3d {

#define CONV3D_ISA_TABLE(isa)            \
  namespace isa {                        \
  extern const KernelTable kKernelTable; \
  }
#include "isa_list.inc"
#undef CONV3D_ISA_TABLE

namespace {

const KernelTable* const kTables[] = {
#define CONV3D_ISA_TABLE(isa) &isa::kKernelTable,
#include "isa_list.inc"
#undef CONV3D_ISA_TABLE
};
constexpr int kTableCount = static_cast<int>(sizeof kTables / sizeof kTables[0]);

bool runs_on(const KernelTable& table, unsigned features) {
  return (table.required_features & features) == table.required_features;
}

}  // namespace

KernelTableList kernel_tables() { return {kTables, kTableCount}; }

const KernelTable& select_kernel_table(unsigned features, const std::string& max_isa) {
  int first = 0;
  if (!max_isa.empty()) {
    std::string names;
    for (first = 0; first < kTableCount && max_isa != kTables[first]->name; ++first) {
      names += std::string(first == 0 ? "" : ", ") + kTables[first]->name;
    }
    if (first == kTableCount) {
      throw Error(Status::kInvalidArgument,
                  "CONV3D_MAX_ISA is '" + max_isa + "'; accepted are " + names);
    }
    if (!runs_on(*kTables[first], features)) {
      throw Error(Status::kUnsupported,
                  "CONV3D_MAX_ISA is '" + max_isa + "', which this processor cannot run");
    }
  }
  for (int i = first; i < kTableCount; ++i) {
    if (runs_on(*kTables[i], features)) return *kTables[i];
  }
  throw Error(Status::kUnsupported, "no kernels were built that this processor can run");
}

std::vector<const KernelTable*> tables_up_to(const KernelTable& best, unsigned features) {
  std::vector<const KernelTable*> tables{&best};
  for (int i = 0, after = 0; i < kTableCount; ++i) {
    if (after != 0 && runs_on(*kTables[i], features)) tables.push_back(kTables[i]);
    if (kTables[i] == &best) after = 1;
  }
  return tables;
}

const KernelTable& kernel_table() {
  static FirstUse<const KernelTable* const> table;
  return *table.get([] {
    const char* name = std::getenv("CONV3D_MAX_ISA");
    return &select_kernel_table(cpu_info().features, name != nullptr ? name : "");
  });
}

}  // namespace conv3d
