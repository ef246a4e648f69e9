// What a network does between its convolutions, in one or two passes over memory: moments and sums
// by channel, scale and shift, gradients of activations, softmax, cross entropy, steps of
// optimizers. float32 and float64.
//
// Results do not depend on the number of threads: sums are taken over chunks whose size depends on
// the shape alone, in the element type within a chunk and in double across chunks. Source: the
// TensorFlow ops named at each function.
#pragma once

#include <cstdint>

#include "kernels/kernel_table.h"
#include "problem/problem.h"
#include "runtime/thread_pool.h"

namespace conv3d {

// A dense tensor [outer][channels][inner]: inner is 1 for channels last, outer the batch for
// channels first.
struct ChannelView {
  DType dtype;  // kFloat32 or kFloat64
  int64_t outer, channels, inner;
};

// Throws Error{kInvalidArgument} for other dtypes, negative sizes or sizes whose product is no
// int64.
void check_view(const ChannelView& view);

// mean[c] = sum x / count; variance[c] = sum (x - mean[c])^2 / count, unless null. NaN where count
// is 0. Source: tf.nn.moments.
void channel_moments(const ChannelView& view, const KernelTable& kernels, const void* x, void* mean,
                     void* variance, ThreadPool& pool, int threads);

// sum[c] = sum x; and if y is given, product[c] = sum x (y - center[c]).
// Source: tf.reduce_sum, BiasAddGrad; the sums of the gradient of batch normalization.
void channel_sums(const ChannelView& view, const KernelTable& kernels, const void* x, const void* y,
                  const void* center, void* sum, void* product, ThreadPool& pool, int threads);

// out = x scale[c] + y scale_y[c] + shift[c], then max(0, .) if `relu`. `scale`, `shift` or (y,
// scale_y) may be null; y needs scale. `out` may be x or y.
void channel_affine(const ChannelView& view, const KernelTable& kernels, const void* x,
                    const void* scale, const void* y, const void* scale_y, const void* shift,
                    bool relu, void* out, ThreadPool& pool, int threads);

// out[i] = op(a[i], b[i]). For the gradients a is the gradient and b what the activation gave
// (leaky ReLU: was given).
void pointwise(Pointwise op, DType dtype, int64_t n, const KernelTable& kernels, const void* a,
               const void* b, double parameter, void* out, ThreadPool& pool, int threads);

// Rows of probabilities: out = exp(x - max) / sum exp(x - max). Source: tf.nn.softmax.
void softmax(DType dtype, int64_t rows, int64_t classes, const KernelTable& kernels, const void* x,
             void* out, ThreadPool& pool, int threads);
// grad_x = (g - sum(g y)) y by rows, y the probabilities.
void softmax_grad(DType dtype, int64_t rows, int64_t classes, const void* y, const void* g,
                  void* grad_x, ThreadPool& pool, int threads);
// loss[r] = log sum exp(x[r]) - x[r][label[r]] and its gradient softmax(x) - one_hot(label). Labels
// are in range. Source: SparseSoftmaxCrossEntropyWithLogits.
void sparse_cross_entropy(DType dtype, int64_t rows, int64_t classes, const KernelTable& kernels,
                          const void* x, const int64_t* labels, void* loss, void* grad,
                          ThreadPool& pool, int threads);

// One step; see OptimizerRule in kernels/elementwise.inl for the formulas and what the four numbers
// are. Pointers that the rule does not use may be null; new arrays may be the old ones.
struct OptimizerStep {
  OptimizerRule rule;
  double numbers[4];
  const void *grad, *var, *slot0, *slot1;
  void *new_var, *new_slot0, *new_slot1;
};
void optimizer_step(const OptimizerStep& step, DType dtype, int64_t n, const KernelTable& kernels,
                    ThreadPool& pool, int threads);

}  // namespace conv3d
