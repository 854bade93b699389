#include "costmodels/microbench/cuda_attention.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>

#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/prefill_attention.h"
#include "costmodels/kernels/cuda/prefill_backward.h"
#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

struct AttentionTensors {
  Buffer q;
  Buffer k;
  Buffer v;
  Buffer o;
};

std::shared_ptr<const AttentionTensors> make_tensors(const Workbench& bench, std::size_t query_bytes,
                                                     std::size_t key_bytes) {
  auto tensors = std::make_shared<AttentionTensors>(
      AttentionTensors{Buffer(query_bytes), Buffer(key_bytes), Buffer(key_bytes), Buffer(query_bytes)});
  std::uint64_t seed = 5;
  for (const Buffer* buffer : {&tensors->q, &tensors->k, &tensors->v})
    fill_normal_bf16(buffer->data(), buffer->bytes(), 1.0f, seed++, bench.stream.get());
  bench.stream.synchronize();
  return tensors;
}

PrefillAttentionShape prefill_shape(double window, double head_dim, double batch_heads, double length) {
  PrefillAttentionShape shape;
  shape.n_heads = std::min(32, static_cast<int>(batch_heads));
  shape.n_kv_heads = std::max(1, shape.n_heads / 4);
  shape.batch = static_cast<int>(batch_heads) / shape.n_heads;
  shape.length = static_cast<int>(length);
  shape.head_dim = static_cast<int>(head_dim);
  shape.window = static_cast<int>(window);
  return shape;
}

/// Both prefill tables; `first` is where head_dim, batch_heads, query_length begin among a point's coordinates.
TableJob make_prefill_job(const Workbench& bench, std::vector<GridAxis> grid, std::size_t first) {
  double query_bytes = 2;
  for (std::size_t axis = first; axis < grid.size(); ++axis) query_bytes *= grid[axis].values.back();
  const auto bytes = static_cast<std::size_t>(query_bytes);
  auto tensors = make_tensors(bench, bytes, bytes / 4);
  TableJob job;
  job.measure = [&bench, first, tensors = std::move(tensors)](std::span<const double> point) {
    const double window = first == 0 ? 0 : point[0];
    const PrefillAttentionShape shape = prefill_shape(window, point[first], point[first + 1], point[first + 2]);
    return measure(bench, [&](std::size_t, cudaStream_t stream) {
      prefill_attention(shape, tensors->q.data(), tensors->k.data(), tensors->v.data(), tensors->o.data(), stream);
    });
  };
  job.description.kernel = "archfront prefill_attention";
  job.description.filter.operation = OperationClass::attention_prefill;
  job.description.filter.precision = Precision::bf16;
  job.description.filter.windowed = first != 0;
  job.description.filter.sparse = false;
  job.description.axes = std::move(grid);
  return job;
}

}  // namespace

TableJob prefill_job(const Workbench& bench, std::vector<GridAxis> grid) {
  TableJob job = make_prefill_job(bench, std::move(grid), 0);
  job.description.file = "attention_prefill_bf16.csv";
  return job;
}

TableJob windowed_prefill_job(const Workbench& bench, std::vector<GridAxis> grid) {
  TableJob job = make_prefill_job(bench, std::move(grid), 1);
  job.description.file = "attention_prefill_window_bf16.csv";
  return job;
}

namespace {

TableJob make_decode_job(const Workbench& bench, std::vector<GridAxis> grid, CacheType cache) {
  const double element = cache == CacheType::bf16 ? 2 : 1;
  const double heads = grid[2].values.back();
  const double key_bytes = element * grid[0].values.back() * heads * grid[3].values.back();
  const double query_bytes = 2 * grid[0].values.back() * heads * grid[1].values.back();
  auto tensors = make_tensors(bench, static_cast<std::size_t>(query_bytes),
                              std::max(static_cast<std::size_t>(key_bytes), 4 * bench.device.l2_bytes));
  if (cache == CacheType::e4m3) {
    fill_normal_fp8(tensors->k.data(), tensors->k.bytes(), 1.0f, 11, bench.stream.get());
    fill_normal_fp8(tensors->v.data(), tensors->v.bytes(), 1.0f, 12, bench.stream.get());
    bench.stream.synchronize();
  }
  TableJob job;
  job.measure = [&bench, cache, element, tensors = std::move(tensors)](std::span<const double> point) {
    DecodeAttentionShape shape;
    shape.cache = cache;
    shape.head_dim = static_cast<int>(point[0]);
    shape.n_kv_heads = std::min(8, static_cast<int>(point[2]));
    shape.n_heads = shape.n_kv_heads * static_cast<int>(point[1]);
    shape.batch = static_cast<int>(point[2]) / shape.n_kv_heads;
    shape.context = static_cast<int>(point[3]);
    const std::size_t workspace_bytes = decode_attention_workspace_bytes(shape);
    const Buffer workspace(std::max<std::size_t>(workspace_bytes, 16));
    check(cudaMemsetAsync(workspace.data(), 0, workspace.bytes(), bench.stream.get()), "clearing a workspace");
    const auto cache_bytes = static_cast<std::size_t>(element * point[0] * point[2] * point[3]);
    const std::size_t sets = std::min(rotation(bench, 2 * cache_bytes), tensors->k.bytes() / cache_bytes);
    return measure(bench, [&](std::size_t index, cudaStream_t stream) {
      const std::size_t offset = index % sets * cache_bytes;
      DecodeTensors given;
      given.q = tensors->q.data();
      given.k = static_cast<const std::byte*>(tensors->k.data()) + offset;
      given.v = static_cast<const std::byte*>(tensors->v.data()) + offset;
      given.o = tensors->o.data();
      given.workspace = workspace.data();
      decode_attention(shape, given, stream);
    });
  };
  job.description.file = cache == CacheType::bf16 ? "attention_decode_bf16.csv" : "attention_decode_fp8_cache.csv";
  job.description.kernel = "archfront decode_attention";
  job.description.filter.operation = OperationClass::attention_decode;
  job.description.filter.precision = Precision::bf16;
  job.description.filter.kv_precision = cache == CacheType::bf16 ? Precision::bf16 : Precision::fp8;
  job.description.axes = std::move(grid);
  return job;
}

/// The last `kept` share of the key blocks before each query block, at least its own.
struct BlockList {
  Buffer starts;
  Buffer blocks;
};

BlockList make_block_list(const PrefillAttentionShape& shape, double kept) {
  const int n_blocks = (shape.length + prefill_block - 1) / prefill_block;
  std::vector<int> starts{0};
  std::vector<int> blocks;
  std::mt19937 generator(7);
  for (int row = 0; row < shape.batch * shape.n_heads * n_blocks; ++row) {
    const int own = row % n_blocks;
    const int count = std::max(1, static_cast<int>(std::lround(kept * (own + 1))));
    std::vector<int> before(static_cast<std::size_t>(own));
    std::iota(before.begin(), before.end(), 0);
    std::shuffle(before.begin(), before.end(), generator);
    before.resize(static_cast<std::size_t>(count - 1));
    std::sort(before.begin(), before.end());
    blocks.insert(blocks.end(), before.begin(), before.end());
    blocks.push_back(own);
    starts.push_back(static_cast<int>(blocks.size()));
  }
  BlockList list{Buffer(4 * starts.size()), Buffer(4 * blocks.size())};
  check(cudaMemcpy(list.starts.data(), starts.data(), 4 * starts.size(), cudaMemcpyHostToDevice), "copying blocks");
  check(cudaMemcpy(list.blocks.data(), blocks.data(), 4 * blocks.size(), cudaMemcpyHostToDevice), "copying blocks");
  return list;
}

}  // namespace

TableJob decode_job(const Workbench& bench, std::vector<GridAxis> grid) {
  return make_decode_job(bench, std::move(grid), CacheType::bf16);
}

TableJob fp8_decode_job(const Workbench& bench, std::vector<GridAxis> grid) {
  return make_decode_job(bench, std::move(grid), CacheType::e4m3);
}

TableJob sparse_prefill_job(const Workbench& bench, std::vector<GridAxis> grid) {
  double query_bytes = 2;
  for (std::size_t axis = 1; axis < grid.size(); ++axis) query_bytes *= grid[axis].values.back();
  const auto bytes = static_cast<std::size_t>(query_bytes);
  auto tensors = make_tensors(bench, bytes, bytes / 4);
  TableJob job;
  job.measure = [&bench, tensors = std::move(tensors)](std::span<const double> point) {
    const PrefillAttentionShape shape = prefill_shape(0, point[1], point[2], point[3]);
    const BlockList list = make_block_list(shape, point[0]);
    PrefillTensors given;
    given.q = tensors->q.data();
    given.k = tensors->k.data();
    given.v = tensors->v.data();
    given.o = tensors->o.data();
    given.block_starts = static_cast<const int*>(list.starts.data());
    given.key_blocks = static_cast<const int*>(list.blocks.data());
    return measure(bench, [&](std::size_t, cudaStream_t stream) { prefill_attention(shape, given, stream); });
  };
  job.description.file = "attention_prefill_sparse_bf16.csv";
  job.description.kernel = "archfront prefill_attention, blocks of 128";
  job.description.filter.operation = OperationClass::attention_prefill;
  job.description.filter.precision = Precision::bf16;
  job.description.filter.sparse = true;
  job.description.axes = std::move(grid);
  return job;
}

TableJob backward_job(const Workbench& bench, std::vector<GridAxis> grid) {
  double query_bytes = 2;
  for (const GridAxis& axis : grid) query_bytes *= axis.values.back();
  const auto bytes = static_cast<std::size_t>(query_bytes);
  auto tensors = make_tensors(bench, bytes, bytes / 4);
  struct Gradients {
    Buffer d_o, d_q, d_k, d_v, log_sums;
  };
  auto gradients = std::make_shared<Gradients>(
      Gradients{Buffer(bytes), Buffer(bytes), Buffer(bytes / 4), Buffer(bytes / 4), Buffer(bytes / 32)});
  fill_normal_bf16(gradients->d_o.data(), bytes, 1.0f, 13, bench.stream.get());
  TableJob job;
  job.measure = [&bench, tensors = std::move(tensors), gradients](std::span<const double> point) {
    const PrefillAttentionShape shape = prefill_shape(0, point[0], point[1], point[2]);
    PrefillTensors forward;
    forward.q = tensors->q.data();
    forward.k = tensors->k.data();
    forward.v = tensors->v.data();
    forward.o = tensors->o.data();
    forward.log_sums = static_cast<float*>(gradients->log_sums.data());
    prefill_attention(shape, forward, bench.stream.get());
    const Buffer workspace(std::max<std::size_t>(prefill_backward_workspace_bytes(shape), 16));
    PrefillGradients given;
    given.q = forward.q;
    given.k = forward.k;
    given.v = forward.v;
    given.o = forward.o;
    given.log_sums = forward.log_sums;
    given.d_o = gradients->d_o.data();
    given.d_q = gradients->d_q.data();
    given.d_k = gradients->d_k.data();
    given.d_v = gradients->d_v.data();
    given.workspace = workspace.data();
    return measure(bench, [&](std::size_t, cudaStream_t stream) { prefill_attention_backward(shape, given, stream); });
  };
  job.description.file = "attention_backward_bf16.csv";
  job.description.kernel = "archfront prefill_attention_backward";
  job.description.filter.operation = OperationClass::attention_backward;
  job.description.filter.precision = Precision::bf16;
  job.description.axes = std::move(grid);
  return job;
}

TableJob long_decode_job(const Workbench& bench, std::vector<GridAxis> grid) {
  TableJob job = decode_job(bench, std::move(grid));
  job.description.file = "attention_decode_long_bf16.csv";
  return job;
}

}  // namespace archfront::cuda
