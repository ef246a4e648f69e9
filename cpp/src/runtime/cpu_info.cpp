#include "runtime/cpu_info.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "runtime/fork.h"

#if defined(__x86_64__) || defined(_M_X64)
#define CONV3D_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#else
#define CONV3D_X86 0
#endif

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace conv3d {
namespace {

#if CONV3D_X86
struct Registers {
  unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r{};
#if defined(_MSC_VER)
  int words[4];
  __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
  r = {static_cast<unsigned>(words[0]), static_cast<unsigned>(words[1]),
       static_cast<unsigned>(words[2]), static_cast<unsigned>(words[3])};
#else
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
#endif
  return r;
}

unsigned long long read_xcr0() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<unsigned long long>(high) << 32) | low;
#endif
}

unsigned read_features() {
  const unsigned highest = cpuid(0).a;
  if (highest < 7) return 0;
  const Registers leaf1 = cpuid(1);
  const bool osxsave = (leaf1.c >> 27) & 1u;
  return features_from_cpuid(leaf1.c, cpuid(7).b, osxsave ? read_xcr0() : 0);
}

bool is_amd(const CpuInfo& info) {
  return std::strcmp(info.vendor, "AuthenticAMD") == 0 ||
         std::strcmp(info.vendor, "HygonGenuine") == 0;
}

size_t read_vector_unit_bytes(const CpuInfo& info) {
  const unsigned leaf = cpuid(0x80000000u).a >= 0x8000001au ? cpuid(0x8000001au).a : 0;
  return vector_unit_bytes_from_cpuid(info.features, is_amd(info), leaf);
}

// Deterministic cache parameters: leaf 4 (Intel), 0x8000001d (AMD); both have the same format.
void read_caches(CpuInfo* info) {
  const unsigned extended = cpuid(0x80000000u).a;
  const unsigned leaf = is_amd(*info) && extended >= 0x8000001du ? 0x8000001du : 4u;
  for (unsigned i = 0; i < 16; ++i) {
    const Registers r = cpuid(leaf, i);
    const unsigned type = r.a & 31u;
    if (type == 0) break;
    if (type == 2) continue;  // instructions
    const size_t ways = ((r.b >> 22) & 0x3ffu) + 1, partitions = ((r.b >> 12) & 0x3ffu) + 1;
    const size_t line = (r.b & 0xfffu) + 1, sets = static_cast<size_t>(r.c) + 1;
    const size_t bytes = ways * partitions * line * sets;
    switch ((r.a >> 5) & 7u) {
      case 1: info->l1d_bytes = bytes; break;
      case 2: info->l2_bytes = bytes; break;
      case 3: info->l3_bytes = bytes; break;
      default: break;
    }
  }
}

void read_names(CpuInfo* info) {
  static char vendor[13];
  const Registers r = cpuid(0);
  std::memcpy(vendor, &r.b, 4);
  std::memcpy(vendor + 4, &r.d, 4);
  std::memcpy(vendor + 8, &r.c, 4);
  vendor[12] = 0;
  info->vendor = vendor;
  if (cpuid(0x80000000u).a >= 0x80000004u) {
    for (unsigned i = 0; i < 3; ++i) {
      const Registers part = cpuid(0x80000002u + i);
      std::memcpy(info->model + 16 * i, &part, 16);
    }
    info->model[48] = 0;
  }
}
#endif  // CONV3D_X86

#if defined(__linux__)
// First line of a file without its newline; empty if it cannot be read.
std::string read_line(const std::string& path) {
  std::string text;
  if (FILE* file = std::fopen(path.c_str(), "re")) {
    char buffer[4096];
    if (std::fgets(buffer, sizeof buffer, file) != nullptr) text = buffer;
    std::fclose(file);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

// Path of this process within a cgroup hierarchy: "" selects v2's line ("0::/path"),
// else the v1 controller's.
std::string cgroup_path(const std::string& controller) {
  std::string path;
  FILE* file = std::fopen("/proc/self/cgroup", "re");
  if (file == nullptr) return path;
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, file) != nullptr) {
    const std::string line(buffer);
    const size_t first = line.find(':'),
                 second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool match = controller.empty() ? names == ",,"
                                          : names.find("," + controller + ",") != std::string::npos;
    if (!match) continue;
    path = line.substr(second + 1);
    while (!path.empty() && std::isspace(static_cast<unsigned char>(path.back()))) path.pop_back();
    break;
  }
  std::fclose(file);
  return path;
}

// Calls visit(directory) for the process's group and each of its ancestors: a limit of
// any of them holds.
template <class F>
void for_each_group(const std::string& root, std::string path, F visit) {
  while (true) {
    visit(root + (path == "/" ? "" : path));
    const size_t slash = path.rfind('/');
    if (path.empty() || path == "/" || slash == std::string::npos) break;
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
}

int cgroup_cpus() {
  int best = 0;
  const auto take = [&best](int cpus) {
    if (cpus > 0 && (best == 0 || cpus < best)) best = cpus;
  };
  for_each_group("/sys/fs/cgroup", cgroup_path(""), [&](const std::string& directory) {
    take(cgroup_v2_cpus(read_line(directory + "/cpu.max").c_str()));
  });
  for (const char* root : {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"}) {
    for_each_group(root, cgroup_path("cpu"), [&](const std::string& directory) {
      take(cgroup_v1_cpus(read_line(directory + "/cpu.cfs_quota_us").c_str(),
                          read_line(directory + "/cpu.cfs_period_us").c_str()));
    });
  }
  return best;
}

size_t cgroup_memory() {
  size_t best = 0;
  const auto take = [&best](const std::string& text) {
    if (text.empty() || !std::isdigit(static_cast<unsigned char>(text[0]))) return;
    const unsigned long long bytes = std::strtoull(text.c_str(), nullptr, 10);
    if (bytes > 0 && (best == 0 || bytes < best)) best = static_cast<size_t>(bytes);
  };
  for_each_group("/sys/fs/cgroup", cgroup_path(""),
                 [&](const std::string& directory) { take(read_line(directory + "/memory.max")); });
  for_each_group("/sys/fs/cgroup/memory", cgroup_path("memory"), [&](const std::string& directory) {
    take(read_line(directory + "/memory.limit_in_bytes"));
  });
  return best;
}

int count_physical_cores() {
  std::set<std::pair<std::string, std::string>> cores;
  const unsigned logical = std::max(1u, std::thread::hardware_concurrency());
  // Processors of a masked set need not be numbered from 0, so a few gaps are walked over.
  for (unsigned cpu = 0, seen = 0; cpu < 4096 && seen < logical; ++cpu) {
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string core = read_line(topology + "core_id");
    if (core.empty()) {
      if (cpu > 4 * logical) break;
      continue;
    }
    ++seen;
    cores.insert({read_line(topology + "physical_package_id"), core});
  }
  return static_cast<int>(cores.size());
}
#endif  // __linux__

size_t physical_memory() {
#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
  const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages > 0 && size > 0) return static_cast<size_t>(pages) * static_cast<size_t>(size);
#endif
  return 0;
}

CpuInfo read_cpu_info() {
  CpuInfo info{};
  info.vendor = "unknown";
  info.vector_unit_bytes = vector_unit_bytes_from_cpuid(0, false, 0);
  std::strcpy(info.model, "unknown");
#if CONV3D_X86
  read_names(&info);
  info.features = read_features();
  read_caches(&info);
  info.vector_unit_bytes = read_vector_unit_bytes(info);
#endif
  // A hypervisor may hide the caches; small but real values keep blocking sane.
  if (info.l1d_bytes == 0) info.l1d_bytes = size_t{32} << 10;
  if (info.l2_bytes == 0) info.l2_bytes = size_t{512} << 10;
  if (info.l3_bytes == 0) info.l3_bytes = info.l2_bytes;

  const int logical = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  int usable = logical;
  info.physical_cores = logical;
  info.memory_bytes = physical_memory();
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) usable = std::max(1, CPU_COUNT(&set));
  const int quota = cgroup_cpus();
  if (quota > 0) usable = std::min(usable, quota);
  const int cores = count_physical_cores();
  if (cores > 0) info.physical_cores = cores;
  const size_t limit = cgroup_memory();
  if (limit > 0 && (info.memory_bytes == 0 || limit < info.memory_bytes)) info.memory_bytes = limit;
#endif
  info.usable_threads = std::max(1, usable);
  return info;
}

bool parse_long(const char* text, long long* value) {
  if (text == nullptr) return false;
  char* end = nullptr;
  *value = std::strtoll(text, &end, 10);
  return end != text;
}

}  // namespace

unsigned features_from_cpuid(unsigned leaf1_ecx, unsigned leaf7_ebx, unsigned long long xcr0) {
  const auto bit = [](unsigned word, int n) { return ((word >> n) & 1u) != 0; };
  const bool ymm = (xcr0 & 0x6u) == 0x6u;           // the system saves xmm and ymm
  const bool zmm = ymm && (xcr0 & 0xe0u) == 0xe0u;  // and masks and zmm
  unsigned features = 0;
  if (!ymm || !bit(leaf1_ecx, 28)) return features;  // AVX itself
  if (bit(leaf7_ebx, 5)) features |= kCpuAvx2;
  if (bit(leaf1_ecx, 12)) features |= kCpuFma;
  if (bit(leaf1_ecx, 29)) features |= kCpuF16c;
  if (zmm && bit(leaf7_ebx, 16)) {
    features |= kCpuAvx512f;
    if (bit(leaf7_ebx, 30)) features |= kCpuAvx512bw;
    if (bit(leaf7_ebx, 17)) features |= kCpuAvx512dq;
    if (bit(leaf7_ebx, 31)) features |= kCpuAvx512vl;
  }
  return features;
}

size_t vector_unit_bytes_from_cpuid(unsigned features, bool amd, unsigned performance_leaf_eax) {
  if ((features & kCpuAvx512f) != 0)
    return amd && ((performance_leaf_eax >> 3) & 1u) == 0 ? 32 : 64;
  return (features & kCpuAvx2) != 0 ? 32 : 16;
}

int cgroup_v1_cpus(const char* quota_us, const char* period_us) {
  long long quota = 0, period = 0;
  if (!parse_long(quota_us, &quota) || !parse_long(period_us, &period) || quota <= 0 || period <= 0)
    return 0;
  return static_cast<int>(std::clamp<long long>(quota / period, 1, kMaxThreads));
}

int cgroup_v2_cpus(const char* cpu_max) {
  if (cpu_max == nullptr) return 0;
  const char* blank = std::strchr(cpu_max, ' ');
  return cgroup_v1_cpus(cpu_max, blank != nullptr ? blank + 1 : "100000");
}

int parse_threads(const char* text) {
  long long value = 0;
  if (!parse_long(text, &value) || value < 1 || value > kMaxThreads) return 0;
  char* end = nullptr;
  std::strtoll(text, &end, 10);
  while (std::isspace(static_cast<unsigned char>(*end))) ++end;
  return *end == 0 ? static_cast<int>(value) : 0;
}

const CpuInfo& cpu_info() {
  static FirstUse<const CpuInfo> info;
  return info.get(read_cpu_info);
}

}  // namespace conv3d
