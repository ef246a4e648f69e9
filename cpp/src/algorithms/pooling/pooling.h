// Max and average pooling and their gradients, float32 and float64, both layouts.
//
// TensorFlow's rules: cells of the padding never win a maximum and are not counted in an average;
// the gradient of a maximum goes to the first largest cell of its window in the order depth,
// height, width. A NaN is larger than any number. Results do not depend on the number of threads
// nor on the layout.
// Source: tf.nn.max_pool3d, tf.nn.avg_pool3d and their gradients.
#pragma once

#include "kernels/kernel_table.h"
#include "problem/pool_problem.h"
#include "runtime/thread_pool.h"

namespace conv3d {

// Tensors are dense in the problem's layout: input and grad_input [mb, input, channels], output and
// grad_output [mb, output, channels]; none may overlap the result.
void max_pool_forward(const PoolProblem& problem, const KernelTable& kernels, const void* input,
                      void* output, ThreadPool& pool, int threads);
void avg_pool_forward(const PoolProblem& problem, const KernelTable& kernels, const void* input,
                      void* output, ThreadPool& pool, int threads);
// `output` is what max_pool_forward gave for `input`.
void max_pool_backward(const PoolProblem& problem, const KernelTable& kernels, const void* input,
                       const void* output, const void* grad_output, void* grad_input,
                       ThreadPool& pool, int threads);
void avg_pool_backward(const PoolProblem& problem, const KernelTable& kernels,
                       const void* grad_output, void* grad_input, ThreadPool& pool, int threads);

}  // namespace conv3d
