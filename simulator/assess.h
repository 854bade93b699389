#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "simulator/estimate.h"

namespace archfront {

/// What the models of a sweep are for: how they are served and how they are trained.
struct Workload {
  std::int64_t batch = 64;
  std::int64_t prompt_tokens = 2048;
  std::int64_t output_tokens = 256;
  std::int64_t context = 2048;          ///< of the decode step that decode_tokens_per_second is about
  std::int64_t recall_context = 16384;  ///< of the recall objective
  Precision precision = Precision::bf16;
  Precision kv_precision = Precision::bf16;
  Engine engine = Engine::graph;
  double training_tokens = 0;        ///< 0: 20 a parameter
  std::int64_t training_batch = 32;  ///< sequences a device
  std::int64_t training_context = 4096;
  bool recompute_layer = true;
};

/// The steps a workload is made of: a decode step at `context`, one at the mean context of the output, a prefill of the
/// prompts, and a training step.
enum class AssessedStep : std::uint8_t { decode, mean_decode, prefill, train };
inline constexpr std::size_t n_assessed_steps = 4;
/// By AssessedStep.
std::array<Step, n_assessed_steps> assessed_steps(const Workload& workload);

/// Every objective of one architecture on one machine under one workload.
struct Assessment {
  Parameters parameters;
  double loss = 0;
  double recall = 0;                     ///< single-needle, at recall_context
  double decode_tokens_per_second = 0;   ///< whole batch, at `context`
  double prefill_tokens_per_second = 0;  ///< whole batch, prompt_tokens each
  double ttft_seconds = 0;
  double tpot_seconds = 0;
  double train_seconds = 0;               ///< of the whole training run on one device
  double train_flops = 0;                 ///< of that run; a layer run again for its activations is not counted
  double state_bytes = 0;                 ///< whole batch, at `context`
  double peak_memory_bytes = 0;           ///< of a decode step at `context`: weights, state, activations
  double dollars_per_million_tokens = 0;  ///< output tokens, their prompts' prefill included
  bool fits = true;
  bool extrapolated = false;
};

/// Assesses architectures that share one machine, workload and law. It sums the costs of layers, which are looked up in
/// a cache keyed by everything they depend on: after the first sight of a layer an assessment allocates nothing. The
/// cache makes an Assessor single-threaded; give each thread a copy. Results do not depend on what the cache holds,
/// and are those of `estimate` for the same steps, bit for bit. The machine and the law must outlive it.
class Assessor {
 public:
  Assessor(const Machine& machine, const Workload& workload, const LossModel& law);
  Assessor(const Assessor& other);
  ~Assessor();
  Assessment assess(const Architecture& architecture);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace archfront
