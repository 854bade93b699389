#include "costmodels/microbench/cuda_elementwise.h"

#include <algorithm>
#include <memory>

#include "costmodels/kernels/cuda/elementwise.h"
#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

constexpr int widest_row = 4096;
constexpr std::size_t weight_bytes = std::size_t{2} * widest_row;
constexpr int vocabulary = 131072;

}  // namespace

TableJob elementwise_job(const Workbench& bench, std::vector<GridAxis> grid) {
  struct Tensors {
    Buffer x;
    Buffer residual;
    Buffer weight;
    Buffer out;
  };
  const std::size_t bytes = static_cast<std::size_t>(grid[0].values.back()) / 4;
  auto tensors = std::make_shared<Tensors>(Tensors{Buffer(bytes), Buffer(bytes), Buffer(weight_bytes), Buffer(bytes)});
  // Small, so that the residual, which grows with every launch, stays finite.
  fill_normal_bf16(tensors->x.data(), bytes, 1e-3f, 5, bench.stream.get());
  fill_normal_bf16(tensors->residual.data(), bytes, 1.0f, 6, bench.stream.get());
  fill_normal_bf16(tensors->weight.data(), weight_bytes, 1.0f, 7, bench.stream.get());
  bench.stream.synchronize();
  TableJob job;
  job.measure = [&bench, tensors = std::move(tensors)](std::span<const double> point) {
    const auto channels = static_cast<std::int64_t>(point[0]) / 8;
    AddRmsNormShape shape;
    shape.d_model = static_cast<int>(std::min<std::int64_t>(channels, widest_row));
    shape.rows = channels / shape.d_model;
    return measure(bench, [&](std::size_t, cudaStream_t stream) {
      add_rms_norm(shape, tensors->x.data(), tensors->residual.data(), tensors->weight.data(), tensors->out.data(),
                   stream);
    });
  };
  job.description.file = "elementwise.csv";
  job.description.kernel = "archfront add_rms_norm";
  job.description.filter.operation = OperationClass::elementwise;
  job.description.axes = std::move(grid);
  return job;
}

TableJob embedding_job(const Workbench& bench, std::vector<GridAxis> grid) {
  struct Tensors {
    Buffer table;
    Buffer ids;
    Buffer out;
  };
  const auto tokens = static_cast<std::size_t>(grid[0].values.back());
  auto tensors = std::make_shared<Tensors>(
      Tensors{Buffer(std::size_t{2} * vocabulary * widest_row), Buffer(4 * tokens), Buffer(2 * tokens * widest_row)});
  fill_normal_bf16(tensors->table.data(), tensors->table.bytes(), 1.0f, 5, bench.stream.get());
  fill_uniform_int32(tensors->ids.data(), tensors->ids.bytes(), vocabulary, 6, bench.stream.get());
  bench.stream.synchronize();
  TableJob job;
  job.measure = [&bench, tokens, tensors = std::move(tensors)](std::span<const double> point) {
    EmbeddingGatherShape shape;
    shape.tokens = static_cast<std::int64_t>(point[0]);
    shape.vocab_size = vocabulary;
    shape.d_model = widest_row;
    // Other ids each launch, so that the rows are cold; four of them are the 16 bytes that the kernel's loads ask for.
    const std::size_t stride = std::max<std::size_t>(4, static_cast<std::size_t>(point[0]));
    const std::size_t sets = tokens / stride;
    return measure(bench, [&](std::size_t index, cudaStream_t stream) {
      const auto* ids = static_cast<const std::int32_t*>(tensors->ids.data()) + index % sets * stride;
      embedding_gather(shape, tensors->table.data(), ids, tensors->out.data(), stream);
    });
  };
  job.description.file = "embedding.csv";
  job.description.kernel = "archfront embedding_gather";
  job.description.filter.operation = OperationClass::embedding;
  job.description.filter.precision = Precision::bf16;
  job.description.axes = std::move(grid);
  return job;
}

}  // namespace archfront::cuda
