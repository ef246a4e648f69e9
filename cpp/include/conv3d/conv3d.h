/* 3-D convolution and pooling on CPUs: the C interface.
 *
 *   problem  shapes, strides, padding, direction     conv3d_problem_create
 *   plan     the problem with everything decided     conv3d_plan_create: immutable, for all threads
 *   execute  a plan, tensors, a number of threads    conv3d_plan_execute: by many threads at once
 *
 * Tensors are dense. Activations are [batch][depth][height][width][channels] (channels last) or
 * [batch][channels][depth][height][width] (channels first); filters are always
 * [kd][kh][kw][in_channels / groups][out_channels]. Sums are those of TensorFlow's Conv3D:
 * cross-correlation, the filter is not flipped.
 *
 * Every struct starts with its size in bytes, set by the caller (CONV3D_INIT), so that later
 * versions can grow it. Every function that can fail returns a status; conv3d_last_error() then
 * tells this thread what was wrong. Handles may be destroyed in any order; NULL may be destroyed.
 * No function prints, aborts or throws.
 */
#ifndef CONV3D_CONV3D_H
#define CONV3D_CONV3D_H

#include <stddef.h>
#include <stdint.h>

#include "conv3d/export.h"
#include "conv3d/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sets a struct to zeros and its size: conv3d_problem_desc d; CONV3D_INIT(d); */
#define CONV3D_INIT(object)                                        \
  do {                                                             \
    size_t conv3d_i_;                                              \
    unsigned char* conv3d_p_ = (unsigned char*)&(object);          \
    for (conv3d_i_ = 0; conv3d_i_ < sizeof(object); ++conv3d_i_) { \
      conv3d_p_[conv3d_i_] = 0;                                    \
    }                                                              \
    (object).size = sizeof(object);                                \
  } while (0)

typedef enum conv3d_status {
  CONV3D_OK = 0,
  CONV3D_INVALID_ARGUMENT = 1, /* a value the caller gave is not accepted */
  CONV3D_OUT_OF_MEMORY = 2,    /* a size that cannot be had */
  CONV3D_UNSUPPORTED = 3,      /* a forced ISA or algorithm cannot serve this problem */
  CONV3D_INTERNAL = 4          /* a defect of this library */
} conv3d_status;

/* The message of this thread's last failed call: names the argument, what was given and what is
 * accepted. */
CONV3D_API const char* conv3d_last_error(void);
CONV3D_API const char* conv3d_version(void);

typedef enum conv3d_direction {
  CONV3D_FORWARD = 0,
  CONV3D_BACKWARD_INPUT = 1,
  CONV3D_BACKWARD_FILTER = 2
} conv3d_direction;
typedef enum conv3d_dtype {
  CONV3D_FLOAT32 = 0,
  CONV3D_FLOAT64 = 1,
  CONV3D_FLOAT16 = 2,
  CONV3D_BFLOAT16 = 3
} conv3d_dtype;
typedef enum conv3d_layout { CONV3D_CHANNELS_LAST = 0, CONV3D_CHANNELS_FIRST = 1 } conv3d_layout;
typedef enum conv3d_padding {
  CONV3D_VALID = 0,
  CONV3D_SAME = 1,
  CONV3D_EXPLICIT = 2
} conv3d_padding;
typedef enum conv3d_activation {
  CONV3D_NO_ACTIVATION = 0,
  CONV3D_RELU = 1,
  CONV3D_LEAKY_RELU = 2,
  CONV3D_SIGMOID = 3,
  CONV3D_TANH = 4
} conv3d_activation;
typedef enum conv3d_accuracy {
  CONV3D_ACCURACY_DEFAULT = 0, /* float32: max|error| <= 1e-5 max|output|, activation aside */
  CONV3D_ACCURACY_STRICT = 1,  /* direct summation only */
  CONV3D_ACCURACY_FAST = 2     /* as default, until there is hardware bfloat16 support */
} conv3d_accuracy;

/* --- threads ---------------------------------------------------------------------------------- */

/* What calls use that name no number of threads. Starts as CONV3D_NUM_THREADS, else
 * OMP_NUM_THREADS, else min(affinity, cgroup quota rounded down, physical cores). */
CONV3D_API int conv3d_get_num_threads(void);
CONV3D_API void conv3d_set_num_threads(int threads); /* clamped to 1 .. 1024 */
/* Floating-point operations a second that `threads` threads reach with float32 FMAs and nothing
 * else, for about `seconds` (at most 10): what a share of the machine's peak is a share of. */
CONV3D_API conv3d_status conv3d_measure_fma_peak(int threads, double seconds,
                                                 double* operations_per_second);

/* The caller's own threads. `parallel_for` must call task(task_context, i) once for every i in [0,
 * tasks), on any threads, and return when all have returned. `tasks` is at most max_threads. It may
 * run them one after the other. */
typedef void (*conv3d_task)(void* task_context, int i);
typedef struct conv3d_thread_pool_desc {
  size_t size;
  int max_threads;
  void (*parallel_for)(void* context, int tasks, conv3d_task task, void* task_context);
  void* context;
} conv3d_thread_pool_desc;
typedef struct conv3d_thread_pool conv3d_thread_pool;
CONV3D_API conv3d_status conv3d_thread_pool_create(const conv3d_thread_pool_desc* desc,
                                                   conv3d_thread_pool** pool);
CONV3D_API void conv3d_thread_pool_destroy(conv3d_thread_pool* pool); /* no call may be using it */

/* --- problems --------------------------------------------------------------------------------- */

/* The sizes describe the forward convolution, whatever the direction. Triples are depth, height,
 * width. */
typedef struct conv3d_problem_desc {
  size_t size;
  conv3d_direction direction;
  conv3d_dtype dtype;
  conv3d_layout layout;
  conv3d_padding padding;
  conv3d_activation activation; /* of the computed tensor; not for CONV3D_BACKWARD_FILTER */
  conv3d_accuracy accuracy;
  int with_bias; /* one number per channel of the computed tensor is added; not for
                    CONV3D_BACKWARD_FILTER */
  int64_t batch;
  int64_t groups;
  int64_t input_channels;
  int64_t output_channels;
  int64_t input[3];
  int64_t kernel[3];
  int64_t stride[3];
  int64_t dilation[3];
  int64_t pad_before[3]; /* read for CONV3D_EXPLICIT only */
  int64_t pad_after[3];
  double leaky_relu_alpha;
} conv3d_problem_desc;

typedef struct conv3d_problem_info {
  size_t size;
  int64_t output[3];
  int64_t pad_before[3];
  int64_t pad_after[3];
  double flops; /* 2 * multiply-adds of the direct algorithm */
} conv3d_problem_info;

typedef struct conv3d_problem conv3d_problem;
CONV3D_API conv3d_status conv3d_problem_create(const conv3d_problem_desc* desc,
                                               conv3d_problem** problem);
CONV3D_API void conv3d_problem_destroy(conv3d_problem* problem);
CONV3D_API conv3d_status conv3d_problem_get_info(const conv3d_problem* problem,
                                                 conv3d_problem_info* info);
CONV3D_API const char* conv3d_problem_text(
    const conv3d_problem* problem); /* lives as long as the problem */

/* --- plans ------------------------------------------------------------------------------------ */

/* `algorithm`: NULL or "auto", "reference", "gemm", "patches", "planar", "depthwise", "winograd",
 * "winograd_rows", "strassen", or a name that conv3d_plan_get_info reports. */
typedef struct conv3d_plan conv3d_plan;
CONV3D_API conv3d_status conv3d_plan_create(const conv3d_problem* problem, const char* algorithm,
                                            conv3d_plan** plan);
CONV3D_API void conv3d_plan_destroy(conv3d_plan* plan);

/* Strings live as long as the plan. */
typedef struct conv3d_plan_info {
  size_t size;
  const char* algorithm;
  const char* family;
  const char* detail; /* block sizes in words */
  const char* why;    /* the reason of the choice */
  const char* isa;
  double error_bound;     /* on max|error| / max|output| against float64, before the activation */
  double effective_flops; /* of the direct algorithm, for the batch asked about */
  int threads;            /* that such a call would use */
  size_t workspace_bytes; /* of such a call, apart from the packed filter */
  size_t packed_filter_bytes;
  int candidates;
} conv3d_plan_info;
/* For a call with `batch` samples on at most `threads` threads (0: the default). */
CONV3D_API conv3d_status conv3d_plan_get_info(const conv3d_plan* plan, int64_t batch, int threads,
                                              conv3d_plan_info* info);

typedef struct conv3d_candidate {
  size_t size;
  const char* algorithm;
  double seconds;     /* estimated, for one sample on one thread; negative: cannot serve */
  const char* reason; /* why not, or a remark; may be empty */
} conv3d_candidate;
CONV3D_API conv3d_status conv3d_plan_get_candidate(const conv3d_plan* plan, int index,
                                                   conv3d_candidate* candidate);

/* A filter packed once for many calls. Serves every plan of the same filter shape that chose the
 * same packing. */
typedef struct conv3d_packed_filter conv3d_packed_filter;
CONV3D_API conv3d_status conv3d_plan_pack_filter(const conv3d_plan* plan, const void* filter,
                                                 conv3d_packed_filter** packed);
CONV3D_API void conv3d_packed_filter_destroy(conv3d_packed_filter* packed);
CONV3D_API size_t conv3d_packed_filter_bytes(const conv3d_packed_filter* packed);
CONV3D_API int conv3d_packed_filter_fits(const conv3d_packed_filter* packed,
                                         const conv3d_plan* plan);

typedef struct conv3d_buffers {
  size_t size;
  int64_t batch;           /* any; a plan serves every batch */
  const void* input;       /* forward and backward_filter */
  const void* filter;      /* forward and backward_input, or packed_filter */
  const void* grad_output; /* backward_input and backward_filter */
  const void* bias;        /* if the problem has one */
  void* result;            /* output, grad_input or grad_filter; overlaps nothing */
  const conv3d_packed_filter* packed_filter;
  int num_threads;          /* 0: the default */
  conv3d_thread_pool* pool; /* NULL: the library's own */
} conv3d_buffers;
CONV3D_API conv3d_status conv3d_plan_execute(const conv3d_plan* plan,
                                             const conv3d_buffers* buffers);

/* --- pooling ---------------------------------------------------------------------------------- */

/* Padding cells never win a maximum and are never counted in an average. Max pooling's gradient
 * goes to the first maximum of its window. */
typedef enum conv3d_pooling { CONV3D_MAX_POOLING = 0, CONV3D_AVG_POOLING = 1 } conv3d_pooling;
typedef struct conv3d_pool_desc {
  size_t size;
  conv3d_pooling kind;
  conv3d_dtype dtype;
  conv3d_layout layout;
  conv3d_padding padding;
  int64_t batch;
  int64_t channels;
  int64_t input[3];
  int64_t window[3];
  int64_t stride[3];
  int64_t pad_before[3];
  int64_t pad_after[3];
} conv3d_pool_desc;
/* The checked output extents, without computing anything. */
CONV3D_API conv3d_status conv3d_pool_output(const conv3d_pool_desc* desc, int64_t output[3]);
/* num_threads 0: the default; pool NULL: the library's own. */
CONV3D_API conv3d_status conv3d_pool_forward(const conv3d_pool_desc* desc, const void* input,
                                             void* output, int num_threads,
                                             conv3d_thread_pool* pool);
/* `input` and `output` are read by max pooling only and may be NULL for average pooling. */
CONV3D_API conv3d_status conv3d_pool_backward(const conv3d_pool_desc* desc, const void* input,
                                              const void* output, const void* grad_output,
                                              void* grad_input, int num_threads,
                                              conv3d_thread_pool* pool);

/* --- between convolutions: float32 and float64, any number of threads gives the same bits ----- */

/* A dense tensor [outer][channels][inner]: inner is 1 for channels last, outer the batch for
 * channels first. */
typedef struct conv3d_channel_view {
  size_t size;
  conv3d_dtype dtype;
  int64_t outer;
  int64_t channels;
  int64_t inner;
} conv3d_channel_view;
/* mean and (biased) variance by channel; variance may be NULL. */
CONV3D_API conv3d_status conv3d_channel_moments(const conv3d_channel_view* view, const void* x,
                                                void* mean, void* variance, int num_threads,
                                                conv3d_thread_pool* pool);
/* sum[c] = sum x; and if y is not NULL: product[c] = sum x (y - center[c]). */
CONV3D_API conv3d_status conv3d_channel_sums(const conv3d_channel_view* view, const void* x,
                                             const void* y, const void* center, void* sum,
                                             void* product, int num_threads,
                                             conv3d_thread_pool* pool);
/* out = x scale[c] + y scale_y[c] + shift[c], then max(0, .) if relu. NULL terms and factors are
 * left out; y needs both factors. out may be x or y. */
CONV3D_API conv3d_status conv3d_channel_affine(const conv3d_channel_view* view, const void* x,
                                               const void* scale, const void* y,
                                               const void* scale_y, const void* shift, int relu,
                                               void* out, int num_threads,
                                               conv3d_thread_pool* pool);

/* Rows joined from parts: result[row] = sources[0][row] sources[1][row] ..., bytes[i] the bytes of
 * a row of part i; and cut into them again. Parts do not overlap the whole. */
CONV3D_API conv3d_status conv3d_join_rows(int64_t rows, int parts, const int64_t* bytes,
                                          const void* const* sources, void* result, int num_threads,
                                          conv3d_thread_pool* pool);
CONV3D_API conv3d_status conv3d_cut_rows(int64_t rows, int parts, const int64_t* bytes,
                                         const void* source, void* const* results, int num_threads,
                                         conv3d_thread_pool* pool);

typedef enum conv3d_pointwise_op {
  CONV3D_RELU_GRAD = 0,       /* a where b > 0, else 0 */
  CONV3D_LEAKY_RELU_GRAD = 1, /* a where b > 0, else parameter a */
  CONV3D_SIGMOID_GRAD = 2,    /* a b (1 - b) */
  CONV3D_TANH_GRAD = 3,       /* a (1 - b^2) */
  CONV3D_ADD = 4              /* a + b */
} conv3d_pointwise_op;
/* out[i] = op(a[i], b[i]), i < n; out may be a or b. */
CONV3D_API conv3d_status conv3d_pointwise(conv3d_pointwise_op op, conv3d_dtype dtype, int64_t n,
                                          const void* a, const void* b, double parameter, void* out,
                                          int num_threads, conv3d_thread_pool* pool);

/* Rows of `classes` elements. With y NULL: out = softmax(x); else the gradient (x - sum x y) y, x
 * the gradient of y. */
CONV3D_API conv3d_status conv3d_softmax(conv3d_dtype dtype, int64_t rows, int64_t classes,
                                        const void* x, const void* y, void* out, int num_threads,
                                        conv3d_thread_pool* pool);
/* loss[r] = log sum exp x[r] - x[r][labels[r]]; grad = softmax(x) - one_hot(labels). */
CONV3D_API conv3d_status conv3d_sparse_cross_entropy(conv3d_dtype dtype, int64_t rows,
                                                     int64_t classes, const void* x,
                                                     const int64_t* labels, void* loss, void* grad,
                                                     int num_threads, conv3d_thread_pool* pool);

/* One step over n elements, g the gradient and p the four numbers of the rule:
 *   gradient descent  var - p0 g
 *   momentum          m = p1 m + g;  var - p0 m;   Nesterov: var - (p0 g + p0 p1 m)
 *   RMSProp           s += (1 - p3)(g^2 - s);  m = p1 m + p0 g / sqrt(s + p2);  var - m
 *   Adam              m += (1 - p1)(g - m);  s += (1 - p3)(g^2 - s);  var - p0 m / (sqrt(s) + p2)
 *                     Nesterov: (1 - p1) g + p1 m in the place of the last m
 * slot0 is m of momentum and Adam and s of RMSProp; slot1 the other. New arrays may be the old
 * ones. */
typedef enum conv3d_optimizer_rule {
  CONV3D_GRADIENT_DESCENT = 0,
  CONV3D_MOMENTUM = 1,
  CONV3D_NESTEROV_MOMENTUM = 2,
  CONV3D_RMS_PROP = 3,
  CONV3D_ADAM = 4,
  CONV3D_NESTEROV_ADAM = 5
} conv3d_optimizer_rule;
typedef struct conv3d_optimizer_arrays {
  size_t size;
  const void* grad;
  const void* var;
  const void* slot0;
  const void* slot1;
  void* new_var;
  void* new_slot0;
  void* new_slot1;
} conv3d_optimizer_arrays;
CONV3D_API conv3d_status conv3d_optimizer_step(conv3d_optimizer_rule rule, conv3d_dtype dtype,
                                               int64_t n, const double numbers[4],
                                               const conv3d_optimizer_arrays* arrays,
                                               int num_threads, conv3d_thread_pool* pool);

/* --- the machine and the process -------------------------------------------------------------- */

typedef struct conv3d_machine_info {
  size_t size;
  const char* isa;            /* chosen; NULL if CONV3D_MAX_ISA names none */
  const char* available_isas; /* those that run here, best first, separated by blanks */
  const char* compiled_isas;
  const char* vendor;
  const char* model;
  const char* compiler;
  const char* algorithms; /* names, in order, separated by blanks */
  size_t l1d_bytes;
  size_t l2_bytes;
  size_t l3_bytes;
  size_t memory_bytes; /* that this process may use; 0: unknown */
  int physical_cores;
  int usable_threads;
  int assertions; /* 1 in a build that checks its invariants */
} conv3d_machine_info;
CONV3D_API conv3d_status conv3d_get_machine_info(conv3d_machine_info* info);

/* Where convolutions spend their time: seconds of all threads together since the last call of this
   function, by phase: packing the filter, transforming or staging what is read, multiplying,
   transforming or transposing the result. Timing goes on if `on` is not 0. `seconds` may be NULL.
 */
CONV3D_API void conv3d_time_phases(int on, double seconds[4]);

/* CONV3D_OUT_OF_MEMORY if `bytes` is more than this process may use. */
CONV3D_API conv3d_status conv3d_check_memory(size_t bytes, const char* what);
/* Memory for a result, aligned to 64 bytes, from the cache that scratch comes from: a fresh large
   block costs a page fault per 4 KiB. Its content is undefined. Release it with
   conv3d_buffer_destroy, from any thread. */
typedef struct conv3d_buffer conv3d_buffer;
CONV3D_API conv3d_status conv3d_buffer_create(size_t bytes, conv3d_buffer** buffer);
CONV3D_API void* conv3d_buffer_data(const conv3d_buffer* buffer);
CONV3D_API void conv3d_buffer_destroy(conv3d_buffer* buffer);
CONV3D_API size_t conv3d_workspace_cache_bytes(void); /* kept for the next call */
CONV3D_API void conv3d_clear_workspace_cache(void);

/* One line per call if CONV3D_VERBOSE is set or conv3d_set_verbose(1) was called; sink NULL:
 * stderr. The sink is called from the threads that call this library. */
CONV3D_API void conv3d_set_verbose(int on);
CONV3D_API void conv3d_set_verbose_sink(void (*sink)(const char* line, void* context),
                                        void* context);

#ifdef __cplusplus
}
#endif

#endif
