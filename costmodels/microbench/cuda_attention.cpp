#include "costmodels/microbench/cuda_attention.h"

#include <algorithm>
#include <memory>

#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/prefill_attention.h"
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

TableJob decode_job(const Workbench& bench, std::vector<GridAxis> grid) {
  const double heads = grid[2].values.back();
  const double key_bytes = 2 * grid[0].values.back() * heads * grid[3].values.back();
  const double query_bytes = 2 * grid[0].values.back() * heads * grid[1].values.back();
  auto tensors = make_tensors(bench, static_cast<std::size_t>(query_bytes),
                              std::max(static_cast<std::size_t>(key_bytes), 4 * bench.device.l2_bytes));
  TableJob job;
  job.measure = [&bench, tensors = std::move(tensors)](std::span<const double> point) {
    DecodeAttentionShape shape;
    shape.head_dim = static_cast<int>(point[0]);
    shape.n_kv_heads = std::min(8, static_cast<int>(point[2]));
    shape.n_heads = shape.n_kv_heads * static_cast<int>(point[1]);
    shape.batch = static_cast<int>(point[2]) / shape.n_kv_heads;
    shape.context = static_cast<int>(point[3]);
    const std::size_t workspace_bytes = decode_attention_workspace_bytes(shape);
    const Buffer workspace(std::max<std::size_t>(workspace_bytes, 16));
    check(cudaMemsetAsync(workspace.data(), 0, workspace.bytes(), bench.stream.get()), "clearing a workspace");
    const auto cache_bytes = static_cast<std::size_t>(2 * point[0] * point[2] * point[3]);
    const std::size_t sets = std::min(rotation(bench, 2 * cache_bytes), tensors->k.bytes() / cache_bytes);
    return measure(bench, [&](std::size_t index, cudaStream_t stream) {
      const std::size_t offset = index % sets * cache_bytes;
      decode_attention(shape, tensors->q.data(), static_cast<const std::byte*>(tensors->k.data()) + offset,
                       static_cast<const std::byte*>(tensors->v.data()) + offset, tensors->o.data(), workspace.data(),
                       stream);
    });
  };
  job.description.file = "attention_decode_bf16.csv";
  job.description.kernel = "archfront decode_attention";
  job.description.filter.operation = OperationClass::attention_decode;
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
