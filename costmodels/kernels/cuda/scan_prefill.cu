// Chunked prefill of a linear recurrence, scalar gate and (gated) delta rule, bf16 (sm_80 and later).
// Shapes     q, k [batch, length, n_heads, key_dim];  v, o [batch, length, n_heads, value_dim];  gates f32
// Source     Yang et al., arXiv:2412.06464, section 3.3. In a chunk of C = 64 tokens, G the running sum of log decays:
//              T = (I + A)^-1 diag(beta),  A_ij = beta_i e^(G_i - G_j) k_i.k_j  (j < i)
//              R = T (V - e^G K S)         P_ij = scale e^(G_i - G_j) q_i.k_j   (j <= i)
//              O = scale e^G Q S + P R     S   <- e^(G_C) S + K^T e^(G_C - G) R
//            Without a delta R = V. W = T K and U = T V are never formed: T meets (V - K S), 2 C d_k FLOPs less.
// FLOPs      a token and head: 6 d_k d_v + C (4 d_k + 4 d_v) + C^2 with a delta, else 4 d_k d_v + C (2 d_k + 2 d_v)
// Bytes      2 (2 d_k + 2 d_v) a token and head, q, k, v and o once: 268 MB at 8 x 2048 tokens, 16 heads of 128
// Floor      62 us at 4.3 TB/s for that shape; its 45 GFLOP take 57 us at 790 TFLOP/s: memory binds if they overlap
// Plan       Hopper, enough heads: one launch, a block a (sequence, head). Two warpgroups hold the state [d_k, 64
//            columns each] as wgmma accumulators; a third makes T of the next chunk, a chain of small dependent steps
//            and the longest of all, hence P falls to the state's warpgroups, in turns; bulk copies bring the chunk
//            after that. Only q, k, v and o meet memory.
//            Hopper, few heads: one launch for all chunks' T and P, one that walks the chunks, 64 columns a block.
//            Elsewhere: the same two launches with mma.sync and cp.async, a warp owning 16 columns.
// Tile       fused: 3 stages of K + Q + V (16 KiB each), 2 records of T + P + gates (17 KiB), 19.5 KiB of A and the
//            inverses: 197.5 of 227 KiB; 208 registers a state thread: 64 of state, 32 of its bf16 copy, 32 each of o
//            and r, 16 of left operands. Walk: 3 stages of K + Q + V / 2 + record = 57 KiB and 8 KiB of outputs
// Reached    H200, CUDA 13.0, 2026-11-25, in a graph. 8 x 2048 tokens, 16 heads of 128: scalar gate 77 us (81% of the
//            floor), gated delta 116 us (53%); 32 x 2048: 283 us (88%) and 453 us (55%); 1 x 65536: 1.23 and 1.63 ms,
//            32 blocks of 1024 chunks one after another. By `archfront bench --device cuda --filter scan`
// Tried      NOTES.md
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/scan_hopper_fused.cuh"
#include "costmodels/kernels/cuda/scan_hopper_walk.cuh"
#include "costmodels/kernels/cuda/scan_matrices.cuh"
#include "costmodels/kernels/cuda/scan_prefill.h"
#include "costmodels/kernels/cuda/scan_states.cuh"
#include "costmodels/kernels/cuda/scan_vector.cuh"
#include "costmodels/kernels/cuda/tensor_map.h"

namespace archfront::cuda {
namespace {

const char* const kernel_name = "scan prefill";

bool has_vector_gate(ScanKind kind) { return kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta; }
bool has_delta(ScanKind kind) {
  return kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
}
bool has_gate(ScanKind kind) {
  return kind == ScanKind::scalar_gate || kind == ScanKind::gated_delta || has_vector_gate(kind);
}

void require_positive(const char* field, int value) {
  if (value >= 1) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is out of range: " + kernel_name +
                   ": it must be at least 1");
}

void require_dim(const char* field, int value) {
  if (value == 64 || value == 128) return;
  throw InputError(std::string(field) + " = " + std::to_string(value) + " is not compiled: " + kernel_name +
                   ": use 64 or 128");
}

template <int key_dim>
int record_bytes(ScanKind kind) {
  if (has_vector_gate(kind))
    return has_delta(kind) ? VectorRecord<key_dim, true>::bytes : VectorRecord<key_dim, false>::bytes;
  return has_delta(kind) ? ChunkRecord<true>::bytes : ChunkRecord<false>::bytes;
}
int record_bytes(const ScanPrefillShape& shape) {
  return shape.key_dim == 128 ? record_bytes<128>(shape.kind) : record_bytes<64>(shape.kind);
}

int chunks_of(const ScanPrefillShape& shape) { return (shape.length - 1) / chunk_tokens + 1; }

/// How a problem runs: the code, and the columns of the state one block owns.
struct Plan {
  ScanPrefillPath path;
  int value_tile;
};

/// Wide tiles share q, k, P and T among more columns, narrow ones spread few sequences over more multiprocessors. One
/// launch moves the fewest bytes, but its blocks also make their chunks' matrices: it pays where the last wave of
/// blocks, each with all of a head's columns, is full to three quarters on average.
Plan plan_of(const ScanPrefillShape& shape) {
  const std::int64_t heads = static_cast<std::int64_t>(shape.batch) * shape.n_heads;
  const std::int64_t processors = device_attribute(cudaDevAttrMultiProcessorCount);
  const std::int64_t waves = (heads + processors - 1) / processors;
  const bool is_hopper = compute_capability() == 90;
  if (!is_hopper && (shape.path == ScanPrefillPath::hopper || shape.path == ScanPrefillPath::hopper_fused))
    throw InputError(std::string("path = hopper cannot run on this device: ") + kernel_name +
                     ": it needs compute capability 9.0; use automatic or ampere");
  Plan plan{shape.path, shape.value_tile};
  if (plan.path == ScanPrefillPath::automatic) {
    if (!is_hopper || shape.value_tile == 32 || has_vector_gate(shape.kind))
      plan.path = ScanPrefillPath::ampere;
    else
      plan.path = 4 * heads >= 3 * waves * processors ? ScanPrefillPath::hopper_fused : ScanPrefillPath::hopper;
  }
  if (has_vector_gate(shape.kind) && plan.path != ScanPrefillPath::ampere)
    throw InputError("path = hopper is not compiled for " + std::string(to_string(shape.kind)) + ": " + kernel_name +
                     ": use automatic or ampere");
  const int narrowest = plan.path == ScanPrefillPath::ampere ? 32 : 64;
  if (plan.value_tile != 0) {
    if (plan.value_tile < narrowest)
      throw InputError(std::string("value_tile = 32 is not compiled for path = hopper: ") + kernel_name +
                       ": use 64, 128 or 0");
    return plan;
  }
  plan.value_tile = shape.value_dim;
  if (plan.path == ScanPrefillPath::hopper_fused) return plan;
  while (plan.value_tile > narrowest && heads * shape.value_dim / plan.value_tile < processors * 3 / 4)
    plan.value_tile /= 2;
  return plan;
}

template <class Kernel>
void reserve(Kernel kernel, int shared_bytes) {
  require_success(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
                  "reserving shared memory for scan prefill");
}

template <class Tile>
void launch_states(const ScanArguments& arguments, unsigned blocks, cudaStream_t stream) {
  reserve(states_kernel<Tile>, Tile::bytes);
  states_kernel<Tile><<<blocks, Tile::threads, Tile::bytes, stream>>>(arguments);
}

template <class T>
void launch_walk(const ScanMaps& maps, const ScanArguments& arguments, unsigned blocks, cudaStream_t stream) {
  reserve(walk_kernel<T>, T::bytes);
  walk_kernel<T><<<blocks, T::threads, T::bytes, stream>>>(maps, arguments);
}

template <class T>
void launch_fused(const ScanMaps& maps, const ScanArguments& arguments, unsigned blocks, cudaStream_t stream) {
  reserve(fused_kernel<T>, T::bytes);
  fused_kernel<T><<<blocks, T::threads, T::bytes, stream>>>(maps, arguments);
}

template <class Tile>
void launch_vector_states(const ScanArguments& arguments, unsigned blocks, cudaStream_t stream) {
  reserve(vector_states_kernel<Tile>, Tile::bytes);
  vector_states_kernel<Tile><<<blocks, Tile::threads, Tile::bytes, stream>>>(arguments);
}

template <int key_dim, bool delta>
void launch_vector(const ScanPrefillShape& shape, const ScanArguments& arguments, cudaStream_t stream) {
  const Plan plan = plan_of(shape);
  const unsigned heads = static_cast<unsigned>(shape.batch) * static_cast<unsigned>(shape.n_heads);
  const unsigned blocks = heads * static_cast<unsigned>(shape.value_dim / plan.value_tile);
  using Matrices = VectorMatricesTile<key_dim, delta>;
  reserve(vector_matrices_kernel<key_dim, delta>, Matrices::bytes);
  vector_matrices_kernel<key_dim, delta>
      <<<heads* static_cast<unsigned>(arguments.n_chunks), matrices_threads, Matrices::bytes, stream>>>(arguments);
  require_success(cudaGetLastError(), "launching scan prefill");
  if (plan.value_tile == 128)
    launch_vector_states<VectorStatesTile<key_dim, 128, delta>>(arguments, blocks, stream);
  else if (plan.value_tile == 64)
    launch_vector_states<VectorStatesTile<key_dim, 64, delta>>(arguments, blocks, stream);
  else
    launch_vector_states<VectorStatesTile<key_dim, 32, delta>>(arguments, blocks, stream);
  require_success(cudaGetLastError(), "launching scan prefill");
}

template <int key_dim, bool delta>
void launch(const ScanPrefillShape& shape, const ScanArguments& arguments, cudaStream_t stream) {
  const Plan plan = plan_of(shape);
  const unsigned heads = static_cast<unsigned>(shape.batch) * static_cast<unsigned>(shape.n_heads);
  const unsigned blocks = heads * static_cast<unsigned>(shape.value_dim / plan.value_tile);
  const unsigned matrices = heads * static_cast<unsigned>(arguments.n_chunks);
  using Tile = MatricesTile<key_dim, delta>;
  if (plan.path == ScanPrefillPath::ampere) {
    reserve(matrices_kernel<key_dim, delta>, Tile::bytes);
    matrices_kernel<key_dim, delta><<<matrices, matrices_threads, Tile::bytes, stream>>>(arguments);
    require_success(cudaGetLastError(), "launching scan prefill");
    if (plan.value_tile == 128)
      launch_states<StatesTile<key_dim, 128, delta, 2>>(arguments, blocks, stream);
    else if (plan.value_tile == 64)
      launch_states<StatesTile<key_dim, 64, delta, 2>>(arguments, blocks, stream);
    else
      launch_states<StatesTile<key_dim, 32, delta, 3>>(arguments, blocks, stream);
  } else {
    const auto map = [&](const void* tensor, int dim) {
      return token_tensor_map(tensor, shape.batch, shape.length, shape.n_heads, dim, chunk_tokens);
    };
    const ScanMaps maps{map(arguments.q, key_dim), map(arguments.k, key_dim), map(arguments.v, shape.value_dim),
                        map(arguments.o, shape.value_dim)};
    if (plan.path == ScanPrefillPath::hopper) {
      constexpr int bytes = Tile::bytes + 1024;  // to where the swizzle's period begins
      reserve(hopper_matrices_kernel<key_dim, delta>, bytes);
      hopper_matrices_kernel<key_dim, delta><<<matrices, matrices_threads, bytes, stream>>>(maps, arguments);
      require_success(cudaGetLastError(), "launching scan prefill");
      if (plan.value_tile == 128)
        launch_walk<WalkTile<key_dim, 128, delta>>(maps, arguments, blocks, stream);
      else
        launch_walk<WalkTile<key_dim, 64, delta>>(maps, arguments, blocks, stream);
    } else {
      if (plan.value_tile == 128)
        launch_fused<FusedTile<key_dim, 128, delta>>(maps, arguments, blocks, stream);
      else
        launch_fused<FusedTile<key_dim, 64, delta>>(maps, arguments, blocks, stream);
    }
  }
  require_success(cudaGetLastError(), "launching scan prefill");
}

template <int key_dim>
void launch(const ScanPrefillShape& shape, const ScanArguments& arguments, cudaStream_t stream) {
  const bool delta = has_delta(shape.kind);
  if (has_vector_gate(shape.kind) && delta)
    launch_vector<key_dim, true>(shape, arguments, stream);
  else if (has_vector_gate(shape.kind))
    launch_vector<key_dim, false>(shape, arguments, stream);
  else if (delta)
    launch<key_dim, true>(shape, arguments, stream);
  else
    launch<key_dim, false>(shape, arguments, stream);
}

}  // namespace

void validate(const ScanPrefillShape& shape) {
  require_positive("batch", shape.batch);
  require_positive("length", shape.length);
  require_positive("n_heads", shape.n_heads);
  require_dim("key_dim", shape.key_dim);
  require_dim("value_dim", shape.value_dim);
  const int tile = shape.value_tile;
  if (tile != 0 && ((tile != 32 && tile != 64 && tile != 128) || tile > shape.value_dim))
    throw InputError("value_tile = " + std::to_string(tile) + " is not compiled: " + kernel_name +
                     ": use 0, 32, 64 or 128, at most value_dim");
  const std::int64_t matrices = static_cast<std::int64_t>(shape.batch) * shape.n_heads * chunks_of(shape);
  if (matrices > 0x7fffffff)
    throw InputError("batch x n_heads x length is too large: " + std::string(kernel_name) +
                     ": at most 2^31 chunks of 64 tokens in all");
}

std::size_t scan_prefill_workspace_bytes(const ScanPrefillShape& shape) {
  validate(shape);
  const std::size_t records = static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.n_heads) *
                              static_cast<std::size_t>(chunks_of(shape));
  return records * static_cast<std::size_t>(record_bytes(shape));
}

void scan_prefill(const ScanPrefillShape& shape, const void* q, const void* k, const void* v, const float* log_decay,
                  const float* beta, void* o, float* final_state, void* workspace, CUstream_st* stream) {
  validate(shape);
  require_aligned(kernel_name, "q", q);
  require_aligned(kernel_name, "k", k);
  require_aligned(kernel_name, "v", v);
  require_aligned(kernel_name, "o", o);
  require_aligned(kernel_name, "final_state", final_state);
  require_aligned(kernel_name, "workspace", workspace);
  if (has_gate(shape.kind)) require_aligned(kernel_name, "log_decay", log_decay);
  if (has_delta(shape.kind)) require_aligned(kernel_name, "beta", beta);
  ScanArguments arguments{};
  arguments.q = static_cast<const __nv_bfloat16*>(q);
  arguments.k = static_cast<const __nv_bfloat16*>(k);
  arguments.v = static_cast<const __nv_bfloat16*>(v);
  arguments.log_decay = has_gate(shape.kind) ? log_decay : nullptr;
  arguments.beta = has_delta(shape.kind) ? beta : nullptr;
  arguments.o = static_cast<__nv_bfloat16*>(o);
  arguments.final_state = final_state;
  arguments.records = static_cast<unsigned char*>(workspace);
  arguments.length = shape.length;
  arguments.n_heads = shape.n_heads;
  arguments.n_chunks = chunks_of(shape);
  arguments.value_dim = shape.value_dim;
  arguments.scale = shape.scale;
  if (shape.key_dim == 128)
    launch<128>(shape, arguments, stream);
  else
    launch<64>(shape, arguments, stream);
}

}  // namespace archfront::cuda
