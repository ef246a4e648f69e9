#include "algorithms/elementwise/rows.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "base/math.h"
#include "base/status.h"
#include "runtime/cpu_info.h"

namespace conv3d {
namespace {

constexpr int64_t kLine = 64;
// Rows up to this many bytes are put together in L1 and written as whole lines past the caches
// where the result is larger than those.
constexpr int64_t kAssembled = int64_t{8} << 10;
constexpr int64_t kPiece = int64_t{64} << 10;  // of a longer run, for one thread at a time

template <int64_t kBytes>
void copy_fixed(int64_t rows, const char* from, int64_t from_step, char* to, int64_t to_step) {
  for (int64_t i = 0; i < rows; ++i, from += from_step, to += to_step)
    std::memcpy(to, from, kBytes);
}

// `rows` runs of `bytes`. Sizes of few vectors are moved in registers.
void copy_runs(int64_t rows, int64_t bytes, const char* from, int64_t from_step, char* to,
               int64_t to_step) {
  switch (bytes) {
    case 4: return copy_fixed<4>(rows, from, from_step, to, to_step);
    case 8: return copy_fixed<8>(rows, from, from_step, to, to_step);
    case 16: return copy_fixed<16>(rows, from, from_step, to, to_step);
    case 32: return copy_fixed<32>(rows, from, from_step, to, to_step);
    case 64: return copy_fixed<64>(rows, from, from_step, to, to_step);
    case 128: return copy_fixed<128>(rows, from, from_step, to, to_step);
    default:
      for (int64_t i = 0; i < rows; ++i, from += from_step, to += to_step)
        std::memcpy(to, from, static_cast<size_t>(bytes));
  }
}

// f(row, rows) for blocks of short rows; long(row, part, offset in the part, offset in the row,
// bytes) for pieces of long ones.
template <class Short, class Long>
void for_blocks(const RowParts& p, ThreadPool& pool, int threads, const Short& short_rows,
                const Long& long_run) {
  if (p.rows == 0 || p.row_bytes == 0) return;
  if (p.row_bytes <= kAssembled) {
    const int64_t rows = std::max<int64_t>(1, kAssembled / p.row_bytes);
    pool.parallel_for(ceil_div(p.rows, rows), 8, threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) short_rows(i * rows, std::min(rows, p.rows - i * rows));
    });
    return;
  }
  int64_t offset = 0;
  for (int part = 0; part < p.parts; ++part) {
    const int64_t pieces = ceil_div(p.bytes[part], kPiece);
    pool.parallel_for(p.rows * pieces, 1, threads, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % pieces * kPiece;
        long_run(i / pieces, part, first, offset + first, std::min(kPiece, p.bytes[part] - first));
      }
    });
    offset += p.bytes[part];
  }
}

}  // namespace

RowParts make_row_parts(int64_t rows, int parts, const int64_t* bytes) {
  RowParts p{rows, parts, bytes, 0};
  if (rows < 0 || parts < 0)
    throw Error(Status::kInvalidArgument, "rows is " + std::to_string(rows) + " and parts is " +
                                              std::to_string(parts) + "; 0 or more are accepted");
  for (int i = 0; i < parts; ++i) {
    if (bytes[i] < 0)
      throw Error(Status::kInvalidArgument, "bytes[" + std::to_string(i) + "] is " +
                                                std::to_string(bytes[i]) +
                                                "; 0 or more are accepted");
    if (bytes[i] > std::numeric_limits<int64_t>::max() - p.row_bytes)
      throw Error(Status::kInvalidArgument, "the sum of bytes is no int64");
    p.row_bytes += bytes[i];
  }
  checked_product({rows, p.row_bytes}, "the rows");
  return p;
}

void join_rows(const RowParts& p, const KernelTable& kernels, const void* const* sources,
               void* result, ThreadPool& pool, int threads) {
  char* const to = static_cast<char*>(result);
  const bool stream = p.rows * p.row_bytes > static_cast<int64_t>(cpu_info().l3_bytes) / 2;
  const auto source = [&](int part) { return static_cast<const char*>(sources[part]); };
  const auto assemble = [&](int64_t row, int64_t rows, char* block) {
    for (int part = 0; part < p.parts; block += p.bytes[part++])
      copy_runs(rows, p.bytes[part], source(part) + row * p.bytes[part], p.bytes[part], block,
                p.row_bytes);
  };
  for_blocks(
      p, pool, threads,
      [&](int64_t row, int64_t rows) {
        char* const at = to + row * p.row_bytes;
        if (!stream) return assemble(row, rows, at);
        alignas(kLine) char room[kAssembled + kLine];
        // Lines of the room are lines of the result.
        const int64_t before = static_cast<int64_t>(reinterpret_cast<uintptr_t>(at) % kLine);
        const int64_t bytes = rows * p.row_bytes;
        const int64_t head = std::min(bytes, (kLine - before) % kLine),
                      lines = (bytes - head) / kLine;
        char* const block = room + before;
        assemble(row, rows, block);
        std::memcpy(at, block, static_cast<size_t>(head));
        kernels.elementwise.stream(at + head, block + head, lines);
        const int64_t done = head + lines * kLine;
        std::memcpy(at + done, block + done, static_cast<size_t>(bytes - done));
      },
      [&](int64_t row, int part, int64_t offset, int64_t row_offset, int64_t bytes) {
        std::memcpy(to + row * p.row_bytes + row_offset,
                    source(part) + row * p.bytes[part] + offset, static_cast<size_t>(bytes));
      });
}

void cut_rows(const RowParts& p, const void* source, void* const* results, ThreadPool& pool,
              int threads) {
  const char* const from = static_cast<const char*>(source);
  const auto target = [&](int part) { return static_cast<char*>(results[part]); };
  for_blocks(
      p, pool, threads,
      [&](int64_t row, int64_t rows) {
        const char* at = from + row * p.row_bytes;
        for (int part = 0; part < p.parts; at += p.bytes[part++])
          copy_runs(rows, p.bytes[part], at, p.row_bytes, target(part) + row * p.bytes[part],
                    p.bytes[part]);
      },
      [&](int64_t row, int part, int64_t offset, int64_t row_offset, int64_t bytes) {
        std::memcpy(target(part) + row * p.bytes[part] + offset,
                    from + row * p.row_bytes + row_offset, static_cast<size_t>(bytes));
      });
}

}  // namespace conv3d
