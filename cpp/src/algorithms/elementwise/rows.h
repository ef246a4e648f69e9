// Rows joined from parts and cut into parts: concatenation along an axis and its gradient. What
// lies before the axis is rows, what lies behind it is a run of bytes of each part.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"
#include "runtime/thread_pool.h"

namespace conv3d {

struct RowParts {
  int64_t rows;
  int parts;
  const int64_t* bytes;  // of a row, by part
  int64_t row_bytes;     // their sum
};

// Throws Error{kInvalidArgument} for negative sizes or sizes whose product is no int64.
RowParts make_row_parts(int64_t rows, int parts, const int64_t* bytes);

// result[row] = sources[0][row] sources[1][row] ... Source: tf.concat.
void join_rows(const RowParts& parts, const KernelTable& kernels, const void* const* sources,
               void* result, ThreadPool& pool, int threads);
// results[i][row] = the i-th part of source[row]. Source: tf.split.
void cut_rows(const RowParts& parts, const void* source, void* const* results, ThreadPool& pool,
              int threads);

}  // namespace conv3d
