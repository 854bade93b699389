// The gates of a recurrence from their logits (sm_80 and later).
// Shapes     logits: n_heads or 2 n_heads bf16 columns of a wider tensor;  log_decay, beta [rows, n_heads] f32
// Bytes      6 or 12 a row and head: under 1% of a layer's, so that the launch is what it costs
// Plan       a thread a (row, head)
#include <cuda_bf16.h>

#include "costmodels/kernels/cuda/elementwise.h"
#include "costmodels/kernels/cuda/elementwise_checks.h"
#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

constexpr int n_threads = 256;

__global__ void scan_gates_kernel(const ScanGatesShape shape, const __nv_bfloat16* logits, const float* log_rate,
                                  const float* bias, float* log_decay, float* beta) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * n_threads + threadIdx.x;
  if (index >= shape.rows * shape.n_heads) return;
  const std::int64_t row = index / shape.n_heads;
  const int head = static_cast<int>(index % shape.n_heads);
  const __nv_bfloat16* from = logits + row * shape.stride + head;
  const float logit = __bfloat162float(from[0]) + bias[head];
  const float positive = fmaxf(logit, 0.0f) + __logf(1.0f + __expf(-fabsf(logit)));
  log_decay[index] = -__expf(log_rate[head]) * positive;
  if (beta != nullptr) beta[index] = 1.0f / (1.0f + __expf(-__bfloat162float(from[shape.n_heads])));
}

}  // namespace

void scan_gates(const ScanGatesShape& shape, const void* logits, const float* log_rate, const float* bias,
                float* log_decay, float* beta, CUstream_st* stream) {
  const char* name = "scan_gates";
  require_between(name, "n_heads", shape.n_heads, 1, 65535);
  require_between(name, "rows", shape.rows, 1, max_grid);
  require_between(name, "stride", shape.stride, shape.n_heads * (beta == nullptr ? 1 : 2), max_grid);
  require_aligned(name, "log_rate", log_rate);
  require_aligned(name, "bias", bias);
  require_aligned(name, "log_decay", log_decay);
  const std::int64_t blocks = (shape.rows * shape.n_heads + n_threads - 1) / n_threads;
  scan_gates_kernel<<<static_cast<unsigned>(blocks), n_threads, 0, stream>>>(
      shape, static_cast<const __nv_bfloat16*>(logits), log_rate, bias, log_decay, beta);
  require_success(cudaGetLastError(), "launching scan_gates");
}

}  // namespace archfront::cuda
