#include "costmodels/microbench/cuda_scan.h"

#include <algorithm>
#include <memory>
#include <string>

#include "costmodels/kernels/cuda/scan_decode.h"
#include "costmodels/kernels/cuda/scan_prefill.h"
#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

constexpr int head_size = 128;
constexpr int heads_a_sequence = 16;

/// q, k and v of `tokens` tokens and heads (keys of norm one), their gates, and the outputs.
struct ScanTensors {
  Buffer q;
  Buffer k;
  Buffer v;
  Buffer o;
  Buffer log_decay;  ///< a little below 0
  Buffer beta;       ///< between 0 and 1
  Buffer state;
};

std::shared_ptr<const ScanTensors> make_tensors(const Workbench& bench, std::size_t tokens, std::size_t states,
                                                std::size_t decays) {
  const std::size_t rows = tokens * head_size * 2;
  const std::size_t gates = std::max<std::size_t>(tokens * 4, 16);
  auto tensors = std::make_shared<ScanTensors>(ScanTensors{Buffer(rows), Buffer(rows), Buffer(rows), Buffer(rows),
                                                           Buffer(decays * gates), Buffer(gates),
                                                           Buffer(states * head_size * head_size * 4)});
  cudaStream_t stream = bench.stream.get();
  fill_normal_bf16(tensors->q.data(), rows, 0.088f, 5, stream);  // 128^-1/2: a norm of about one
  fill_normal_bf16(tensors->k.data(), rows, 0.088f, 6, stream);
  fill_normal_bf16(tensors->v.data(), rows, 1.0f, 7, stream);
  fill_uniform_f32(tensors->log_decay.data(), decays * gates, -0.1f, 0.0f, 8, stream);
  fill_uniform_f32(tensors->beta.data(), gates, 0.0f, 1.0f, 9, stream);
  fill_normal_f32(tensors->state.data(), tensors->state.bytes(), 0.1f, 10, stream);
  bench.stream.synchronize();
  return tensors;
}

}  // namespace

TableJob scan_prefill_job(const Workbench& bench, std::vector<GridAxis> grid, ScanKind kind) {
  const auto largest = static_cast<std::size_t>(grid[0].values.back() * grid[1].values.back());
  const bool vector = kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta;
  auto tensors = make_tensors(bench, largest, static_cast<std::size_t>(grid[0].values.back()), vector ? head_size : 1);
  TableJob job;
  job.measure = [&bench, kind, tensors = std::move(tensors)](std::span<const double> point) {
    ScanPrefillShape shape;
    shape.kind = kind;
    shape.n_heads = std::min(heads_a_sequence, static_cast<int>(point[0]));
    shape.batch = static_cast<int>(point[0]) / shape.n_heads;
    shape.length = static_cast<int>(point[1]);
    const Buffer workspace(std::max<std::size_t>(scan_prefill_workspace_bytes(shape), 16));
    const bool gated = kind != ScanKind::linear && kind != ScanKind::delta;
    const bool delta = kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
    const auto* log_decay = gated ? static_cast<const float*>(tensors->log_decay.data()) : nullptr;
    const auto* beta = delta ? static_cast<const float*>(tensors->beta.data()) : nullptr;
    return measure(bench, [&](std::size_t, cudaStream_t stream) {
      scan_prefill(shape, tensors->q.data(), tensors->k.data(), tensors->v.data(), log_decay, beta, tensors->o.data(),
                   static_cast<float*>(tensors->state.data()), workspace.data(), stream);
    });
  };
  job.description.file = "scan_prefill_" + std::string(to_string(kind)) + ".csv";
  job.description.kernel = "archfront scan_prefill";
  job.description.filter.operation = OperationClass::scan_prefill;
  job.description.filter.precision = Precision::bf16;
  job.description.filter.scan = kind;
  job.description.axes = std::move(grid);
  return job;
}

TableJob scan_decode_job(const Workbench& bench, std::vector<GridAxis> grid) {
  constexpr std::size_t state_bytes = std::size_t{head_size} * head_size * 4;
  const auto largest = static_cast<std::size_t>(grid[0].values.back());
  const std::size_t rotated = 4 * bench.device.l2_bytes / state_bytes + 1;
  auto tensors = make_tensors(bench, largest, std::max(largest, rotated), 1);
  TableJob job;
  job.measure = [&bench, tensors = std::move(tensors)](std::span<const double> point) {
    ScanDecodeShape shape;
    shape.n_heads = std::min(heads_a_sequence, static_cast<int>(point[0]));
    shape.batch = static_cast<int>(point[0]) / shape.n_heads;
    const std::size_t set_bytes = static_cast<std::size_t>(point[0]) * state_bytes;
    const std::size_t sets = std::min(rotation(bench, set_bytes), tensors->state.bytes() / set_bytes);
    return measure(bench, [&](std::size_t index, cudaStream_t stream) {
      auto* state = static_cast<std::byte*>(tensors->state.data()) + index % sets * set_bytes;
      scan_decode(shape, tensors->q.data(), tensors->k.data(), tensors->v.data(),
                  static_cast<const float*>(tensors->log_decay.data()), static_cast<const float*>(tensors->beta.data()),
                  reinterpret_cast<float*>(state), tensors->o.data(), stream);
    });
  };
  job.description.file = "scan_decode.csv";
  job.description.kernel = "archfront scan_decode";
  job.description.filter.operation = OperationClass::scan_decode;
  job.description.axes = std::move(grid);
  return job;
}

}  // namespace archfront::cuda
