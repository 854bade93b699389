// One token of a linear recurrence, f32 state updated in place (sm_80 and later).
// Shapes     q, k [batch, n_heads, key_dim];  v, o [batch, n_heads, value_dim]
//            state [batch, n_heads, key_dim, value_dim]
// FLOPs      5 d_k d_v a head with a gate, 7 with a gated delta
// Bytes      8 d_k d_v a head: the state read and written once; the rest is under 1% of it at 128 x 128
// Intensity  under 0.9 FLOP/byte: memory binds. Batch does not help, the state is each sequence's own
// Floor      bytes / bandwidth. Batch 64, 16 heads of 128 x 128: 134 MB, 31 us at 4.3 TB/s
// Plan       one block a (sequence, head, 32 columns): four warps, each lane four columns (16 bytes) of every 16th row;
//            the slice stays in registers between reading and writing. o = S'^T q = S^T (a q) + (k.q) r, so that one
//            pass over the old state gives both what the delta needs (S^T (a k)) and the output: one reduction, one
//            barrier
// Tile       32 columns = 128 bytes a row, whole cache lines; 128 x 32 x 4 B = 16 KiB of loads in flight a block, 8 x
//            16 B a thread, and enough blocks a multiprocessor that some load while others store
// Reached    H200, CUDA 13.0, 2026-11-25: batch 64 36.5 us, 3.67 TB/s (85% of a copy's 4.3); batch 256 142 us, 3.79
//            (88%); 8 heads of 256 x 512 3.91 TB/s (91%); batch 1 2.7 us. All kinds within 1%
// Tried      a head's slices apart in the grid instead of side by side: 3.4 TB/s
#include <cuda_bf16.h>

#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/mma.cuh"
#include "costmodels/kernels/cuda/scan_decode.h"

namespace archfront::cuda {
namespace {

const char* const kernel_name = "scan decode";

constexpr int n_threads = 128;
constexpr int n_warps = n_threads / 32;
constexpr int slice_columns = 32;
constexpr int lanes_a_row = slice_columns / 4;
constexpr int rows_a_pass = n_threads / lanes_a_row;

enum class Gate { none, scalar, vector };

struct DecodeArguments {
  const __nv_bfloat16* q;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  const float* log_decay;
  const float* beta;
  float* state;
  __nv_bfloat16* o;
  int value_dim;
  float scale;
};

__device__ __forceinline__ void add_scaled(float4& sum, const float4& value, float factor) {
  sum.x = fmaf(value.x, factor, sum.x);
  sum.y = fmaf(value.y, factor, sum.y);
  sum.z = fmaf(value.z, factor, sum.z);
  sum.w = fmaf(value.w, factor, sum.w);
}

/// Adds up the lanes of a warp that hold the same columns of different rows.
__device__ __forceinline__ float sum_rows(float value) {
#pragma unroll
  for (int distance = lanes_a_row; distance < 32; distance *= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

__device__ __forceinline__ float4 sum_rows(const float4& value) {
  return {sum_rows(value.x), sum_rows(value.y), sum_rows(value.z), sum_rows(value.w)};
}

struct Partial {
  float4 with_key[n_warps][lanes_a_row];    // S^T (a k)
  float4 with_query[n_warps][lanes_a_row];  // S^T (a q)
  float key_query[n_warps];                 // k.q
};

template <int key_dim, Gate gate, bool delta>
__global__ void __launch_bounds__(n_threads) decode_kernel(const DecodeArguments arguments) {
  constexpr int passes = key_dim / rows_a_pass;
  __shared__ Partial partial;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % lanes_a_row;
  const unsigned slices = static_cast<unsigned>(arguments.value_dim) / slice_columns;
  const std::int64_t head = blockIdx.x / slices;  // of [batch, n_heads]
  const int column = static_cast<int>(blockIdx.x % slices) * slice_columns + lane * 4;
  float* slice = arguments.state + (head * key_dim + thread / lanes_a_row) * arguments.value_dim + column;
  const std::int64_t pass_stride = static_cast<std::int64_t>(rows_a_pass) * arguments.value_dim;

  float4 state[passes];
#pragma unroll
  for (int i = 0; i < passes; ++i) state[i] = __ldcs(reinterpret_cast<const float4*>(slice + i * pass_stride));
  float k[passes];
  float q[passes];
  float decay[passes];
#pragma unroll
  for (int i = 0; i < passes; ++i) {
    const std::int64_t at = head * key_dim + i * rows_a_pass + thread / lanes_a_row;
    k[i] = __bfloat162float(arguments.k[at]);
    q[i] = __bfloat162float(arguments.q[at]);
    if constexpr (gate == Gate::vector) decay[i] = __expf(arguments.log_decay[at]);
  }
  float all_decay = 1.0f;
  if constexpr (gate == Gate::scalar) all_decay = __expf(arguments.log_decay[head]);
  float beta = 1.0f;
  if constexpr (delta) beta = arguments.beta[head];
  const uint2 value = *reinterpret_cast<const uint2*>(arguments.v + head * arguments.value_dim + column);

  float4 with_key{};
  float4 with_query{};
  float key_query = 0.0f;
#pragma unroll
  for (int i = 0; i < passes; ++i) {
    const float row_decay = gate == Gate::vector ? decay[i] : all_decay;
    state[i] = {state[i].x * row_decay, state[i].y * row_decay, state[i].z * row_decay, state[i].w * row_decay};
    if constexpr (delta) add_scaled(with_key, state[i], k[i]);
    add_scaled(with_query, state[i], q[i]);
    key_query = fmaf(k[i], q[i], key_query);
  }
  if constexpr (delta) with_key = sum_rows(with_key);
  with_query = sum_rows(with_query);
  key_query = sum_rows(key_query);
  if (thread % 32 < lanes_a_row) {
    if constexpr (delta) partial.with_key[thread / 32][lane] = with_key;
    partial.with_query[thread / 32][lane] = with_query;
    if (lane == 0) partial.key_query[thread / 32] = key_query;
  }
  __syncthreads();

  float4 r{__uint_as_float(value.x << 16), __uint_as_float(value.x & 0xffff0000u), __uint_as_float(value.y << 16),
           __uint_as_float(value.y & 0xffff0000u)};
  if constexpr (delta) {
#pragma unroll
    for (int warp = 0; warp < n_warps; ++warp) add_scaled(r, partial.with_key[warp][lane], -1.0f);
    r = {r.x * beta, r.y * beta, r.z * beta, r.w * beta};
  }
#pragma unroll
  for (int i = 0; i < passes; ++i) {
    add_scaled(state[i], r, k[i]);
    __stcs(reinterpret_cast<float4*>(slice + i * pass_stride), state[i]);
  }
  if (thread >= lanes_a_row) return;
  float4 output{};
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < n_warps; ++warp) {
    add_scaled(output, partial.with_query[warp][lane], arguments.scale);
    sum += partial.key_query[warp];
  }
  add_scaled(output, r, arguments.scale * sum);
  *reinterpret_cast<uint2*>(arguments.o + head * arguments.value_dim + column) = {pack_bf16(output.x, output.y),
                                                                                  pack_bf16(output.z, output.w)};
}

Gate gate_of(ScanKind kind) {
  if (kind == ScanKind::scalar_gate || kind == ScanKind::gated_delta) return Gate::scalar;
  if (kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta) return Gate::vector;
  return Gate::none;
}

bool has_delta(ScanKind kind) {
  return kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
}

template <int key_dim, Gate gate>
void launch(const DecodeArguments& arguments, bool delta, unsigned blocks, cudaStream_t stream) {
  if (delta)
    decode_kernel<key_dim, gate, true><<<blocks, n_threads, 0, stream>>>(arguments);
  else
    decode_kernel<key_dim, gate, false><<<blocks, n_threads, 0, stream>>>(arguments);
}

template <int key_dim>
void launch(const DecodeArguments& arguments, ScanKind kind, unsigned blocks, cudaStream_t stream) {
  switch (gate_of(kind)) {
    case Gate::none:
      launch<key_dim, Gate::none>(arguments, has_delta(kind), blocks, stream);
      break;
    case Gate::scalar:
      launch<key_dim, Gate::scalar>(arguments, has_delta(kind), blocks, stream);
      break;
    case Gate::vector:
      launch<key_dim, Gate::vector>(arguments, has_delta(kind), blocks, stream);
      break;
  }
  require_success(cudaGetLastError(), "launching scan decode");
}

void require_positive(const char* field, int value) {
  if (value >= 1) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is out of range: " + kernel_name +
                   ": it must be at least 1");
}

}  // namespace

void validate(const ScanDecodeShape& shape) {
  require_positive("batch", shape.batch);
  require_positive("n_heads", shape.n_heads);
  if (shape.key_dim != 64 && shape.key_dim != 128 && shape.key_dim != 256)
    throw InputError("key_dim = " + std::to_string(shape.key_dim) + " is not compiled: " + kernel_name +
                     ": use one of 64, 128, 256");
  if (shape.value_dim < slice_columns || shape.value_dim % slice_columns != 0)
    throw InputError("value_dim = " + std::to_string(shape.value_dim) + " is not a multiple of 32: " + kernel_name +
                     ": use 32, 64, 96, ...");
}

void scan_decode(const ScanDecodeShape& shape, const void* q, const void* k, const void* v, const float* log_decay,
                 const float* beta, float* state, void* o, CUstream_st* stream) {
  validate(shape);
  require_aligned(kernel_name, "q", q);
  require_aligned(kernel_name, "k", k);
  require_aligned(kernel_name, "v", v);
  require_aligned(kernel_name, "state", state);
  require_aligned(kernel_name, "o", o);
  if (gate_of(shape.kind) != Gate::none) require_aligned(kernel_name, "log_decay", log_decay);
  if (has_delta(shape.kind)) require_aligned(kernel_name, "beta", beta);
  const DecodeArguments arguments{static_cast<const __nv_bfloat16*>(q),
                                  static_cast<const __nv_bfloat16*>(k),
                                  static_cast<const __nv_bfloat16*>(v),
                                  log_decay,
                                  beta,
                                  state,
                                  static_cast<__nv_bfloat16*>(o),
                                  shape.value_dim,
                                  shape.scale};
  const unsigned blocks = static_cast<unsigned>(shape.batch) * static_cast<unsigned>(shape.n_heads) *
                          static_cast<unsigned>(shape.value_dim / slice_columns);
  if (shape.key_dim == 64)
    launch<64>(arguments, shape.kind, blocks, stream);
  else if (shape.key_dim == 128)
    launch<128>(arguments, shape.kind, blocks, stream);
  else
    launch<256>(arguments, shape.kind, blocks, stream);
}

}  // namespace archfront::cuda
