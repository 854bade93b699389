#include "simulator/assess.h"

#include <algorithm>
#include <array>

#include "simulator/cost_cache.h"
#include "simulator/layer_hash.h"
#include "simulator/step_cost.h"

namespace archfront {
namespace {

constexpr double seconds_per_hour = 3600;

using Pass = AssessedStep;
constexpr std::size_t n_passes = n_assessed_steps;

/// Everything a layer's cost depends on beside the machine and the workload.
struct LayerKey {
  Norm norm = Norm::rms;
  int norms_per_layer = 2;
  int d_model = 0;
  Layer layer;
  bool operator==(const LayerKey&) const = default;
};

/// The same of a model's ends.
struct EndsKey {
  Norm norm = Norm::rms;
  int d_model = 0;
  int vocab_size = 0;
  int learned_positions = 0;
  bool tied_embeddings = true;
  bool head_bias = false;
  bool operator==(const EndsKey&) const = default;
};

struct PassCosts {
  std::array<double, n_passes> seconds{};
  std::array<double, n_passes> resident_seconds{};  ///< as in StepCost, like the two below
  std::array<double, n_passes> held_bytes{};
  std::array<double, n_passes> widest_bytes{};
  double train_flops = 0;  ///< of the model: a forward run again is not counted
  bool extrapolated = false;
};

struct LayerCosts {
  PassCosts passes;
  LayerFootprint footprint;
  double state_bytes = 0;  ///< of one sequence at `context`
  LayerRecalls recall;     ///< of one layer at `recall_context`
  MixerShares shares;
};

struct EndsCosts {
  PassCosts passes;
  std::int64_t embedding = 0;
  std::int64_t final_norm = 0;
};

std::uint64_t hash_of(const EndsKey& key) {
  FieldHasher hasher;
  hasher.mix(static_cast<std::uint64_t>(key.norm));
  hasher.mix(static_cast<std::uint64_t>(key.d_model));
  hasher.mix(static_cast<std::uint64_t>(key.vocab_size));
  hasher.mix(static_cast<std::uint64_t>(key.learned_positions));
  hasher.mix((key.tied_embeddings ? 2U : 0U) + (key.head_bias ? 1U : 0U));
  return hasher.result();
}

void add(PassCosts& total, const PassCosts& one, double count) {
  for (std::size_t i = 0; i < n_passes; ++i) {
    total.seconds[i] += count * one.seconds[i];
    total.resident_seconds[i] += count * one.resident_seconds[i];
    total.held_bytes[i] += count * one.held_bytes[i];
    total.widest_bytes[i] = std::max(total.widest_bytes[i], one.widest_bytes[i]);
  }
  total.train_flops += count * one.train_flops;
  total.extrapolated = total.extrapolated || one.extrapolated;
}

/// Sums over an architecture, in the order of its layers.
struct Totals {
  PassCosts passes;
  FootprintSums sums;
  Parameters parameters;
  MixerShares shares;
};

void add(Totals& totals, const LayerCosts& one, int count) {
  add(totals.passes, one.passes, count);
  totals.sums.state_bytes += count * one.state_bytes;
  totals.sums.largest_working = std::max(totals.sums.largest_working, one.footprint.working_elements);
  totals.sums.n_layers += count;
  totals.parameters.non_embedding += count * one.footprint.parameters;
  totals.parameters.active += count * one.footprint.active_parameters;
  totals.parameters.mixer += count * one.footprint.mixer_parameters;
  totals.parameters.feed_forward += count * one.footprint.feed_forward_parameters;
  accumulate(totals.shares, one.shares, count);
}

void add(Totals& totals, const EndsCosts& ends) {
  add(totals.passes, ends.passes, 1);
  Parameters& parameters = totals.parameters;
  parameters.embedding = ends.embedding;
  parameters.non_embedding += ends.final_norm;
  parameters.active += ends.embedding + ends.final_norm;
  parameters.total = parameters.embedding + parameters.non_embedding;
  totals.sums.parameters = parameters.total;
}

}  // namespace

std::array<Step, n_assessed_steps> assessed_steps(const Workload& workload) {
  Step decode;
  decode.phase = Phase::decode;
  decode.batch = workload.batch;
  decode.context = workload.context;
  decode.precision = workload.precision;
  decode.kv_precision = workload.kv_precision;
  decode.engine = workload.engine;
  Step mean_decode = decode;  // contexts run from prompt + 1 to prompt + output
  mean_decode.context = workload.prompt_tokens + (workload.output_tokens + 1) / 2;
  Step prefill = decode;
  prefill.phase = Phase::prefill;
  prefill.context = workload.prompt_tokens;
  Step train;
  train.phase = Phase::train;
  train.batch = workload.training_batch;
  train.context = workload.training_context;
  train.engine = workload.engine;
  train.recompute_layer = workload.recompute_layer;
  return {decode, mean_decode, prefill, train};
}

struct Assessor::State {
  const Machine* machine;
  const LossModel* law;
  Workload workload;
  std::array<Step, n_passes> steps;
  Pricing pricing;
  Operations scratch;
  RecallKinds recall_kinds;
  CostCache<LayerKey, LayerCosts> layers;
  CostCache<EndsKey, EndsCosts> ends;

  template <class CostOf>
  PassCosts passes_of(CostOf cost_of) {
    PassCosts passes;
    for (std::size_t i = 0; i < n_passes; ++i) {
      const StepCost cost = cost_of(steps[i]);
      passes.seconds[i] = cost.seconds;
      passes.resident_seconds[i] = cost.resident_seconds;
      passes.held_bytes[i] = cost.held_bytes;
      passes.widest_bytes[i] = cost.widest_bytes;
      passes.extrapolated = passes.extrapolated || cost.extrapolated;
    }
    Step kept = steps[static_cast<std::size_t>(Pass::train)];
    kept.recompute_layer = false;
    passes.train_flops = cost_of(kept).flops;
    return passes;
  }

  LayerCosts cost_layer(const Architecture& architecture, const Layer& layer) {
    LayerCosts costs;
    costs.passes = passes_of([&](const Step& step) { return layer_cost(architecture, layer, step, pricing, scratch); });
    costs.footprint = layer_footprint(architecture, layer);
    costs.state_bytes = state_bytes(layer.mixer, steps[static_cast<std::size_t>(Pass::decode)]);
    const auto recall_context = static_cast<double>(workload.recall_context);
    costs.recall = layer_recalls(layer.mixer, recall_context);
    costs.shares = mixer_shares(layer.mixer);
    return costs;
  }

  EndsCosts cost_ends(const Architecture& architecture) {
    EndsCosts costs;
    costs.passes = passes_of([&](const Step& step) { return ends_cost(architecture, step, pricing, scratch); });
    costs.embedding = embedding_parameters(architecture);
    costs.final_norm = norm_parameters(architecture);
    return costs;
  }

  const LayerCosts& layer_costs(const Architecture& architecture, LayerKey& key, std::uint64_t seed,
                                const Layer& layer) {
    key.layer = layer;
    const std::uint64_t hash = hash_of(layer, seed);
    if (const LayerCosts* known = layers.find(key, hash)) return *known;
    return layers.insert(key, hash, cost_layer(architecture, layer));
  }

  const EndsCosts& ends_costs(const Architecture& architecture) {
    const EndsKey key{.norm = architecture.norm,
                      .d_model = architecture.d_model,
                      .vocab_size = architecture.vocab_size,
                      .learned_positions = architecture.learned_positions,
                      .tied_embeddings = architecture.tied_embeddings,
                      .head_bias = architecture.head_bias};
    const std::uint64_t hash = hash_of(key);
    if (const EndsCosts* known = ends.find(key, hash)) return *known;
    return ends.insert(key, hash, cost_ends(architecture));
  }

  /// After totals_of the same architecture.
  [[nodiscard]] RecallPrediction predicted_recall() const {
    const auto context = static_cast<double>(workload.recall_context);
    return combine(recall_kinds.list(), context);
  }

  /// Sums over the layers and the ends; gathers recall_kinds on the way.
  Totals totals_of(const Architecture& architecture) {
    Totals totals;
    recall_kinds.clear();
    LayerKey key{.norm = architecture.norm,
                 .norms_per_layer = architecture.norms_per_layer,
                 .d_model = architecture.d_model,
                 .layer = {}};
    FieldHasher seed;
    seed.mix(static_cast<std::uint64_t>(key.norm) * 8 + static_cast<std::uint64_t>(key.norms_per_layer));
    seed.mix(static_cast<std::uint64_t>(key.d_model));
    const Layer* last = nullptr;
    const LayerCosts* costs = nullptr;
    for (const Block& block : architecture.blocks) {
      for (const Layer& layer : block.layers) {
        if (last == nullptr || !(layer == *last)) costs = &layer_costs(architecture, key, seed.result(), layer);
        last = &layer;
        add(totals, *costs, block.repeat);
        if (!recall_kinds.count_again(layer.mixer, block.repeat))
          recall_kinds.add(layer.mixer, costs->recall, block.repeat);
      }
    }
    add(totals, ends_costs(architecture));
    return totals;
  }
};

Assessor::Assessor(const Machine& machine, const Workload& workload, const LossModel& law)
    : state_(std::make_unique<State>(State{.machine = &machine,
                                           .law = &law,
                                           .workload = workload,
                                           .steps = assessed_steps(workload),
                                           .pricing = Pricing(machine, workload.engine),
                                           .scratch = {},
                                           .recall_kinds = {},
                                           .layers = {},
                                           .ends = {}})) {}

Assessor::Assessor(const Assessor& other) : state_(std::make_unique<State>(*other.state_)) {}

Assessor::~Assessor() = default;

Assessment Assessor::assess(const Architecture& architecture) {
  const Workload& workload = state_->workload;
  const Machine& machine = *state_->machine;
  const Totals totals = state_->totals_of(architecture);
  const auto seconds = [&](Pass pass) {
    const auto i = static_cast<std::size_t>(pass);
    const double resident = resident_share(machine, totals.passes.held_bytes[i] + totals.passes.widest_bytes[i]);
    return totals.passes.seconds[i] + resident * (totals.passes.resident_seconds[i] - totals.passes.seconds[i]);
  };
  const auto batch = static_cast<double>(workload.batch);
  const auto output = static_cast<double>(workload.output_tokens);

  Assessment result;
  result.parameters = totals.parameters;
  result.ttft_seconds = seconds(Pass::prefill);
  result.tpot_seconds = seconds(Pass::decode);
  result.decode_tokens_per_second = batch / result.tpot_seconds;
  result.prefill_tokens_per_second = batch * static_cast<double>(workload.prompt_tokens) / result.ttft_seconds;
  const double serving_seconds = result.ttft_seconds + output * seconds(Pass::mean_decode);
  result.dollars_per_million_tokens =
      machine.dollars_per_hour / seconds_per_hour * serving_seconds / (batch * output) * 1e6;

  const Step& decode = state_->steps[static_cast<std::size_t>(Pass::decode)];
  const Footprint serving = footprint(totals.sums, architecture.d_model, architecture.vocab_size, decode);
  result.state_bytes = serving.state_bytes;
  result.peak_memory_bytes = serving.peak_memory_bytes;
  result.fits = result.peak_memory_bytes <= machine.memory_bytes;

  const double training_tokens =
      workload.training_tokens > 0 ? workload.training_tokens : default_training_tokens(totals.parameters);
  const double training_steps =
      training_tokens / static_cast<double>(workload.training_batch * workload.training_context);
  result.train_seconds = training_steps * seconds(Pass::train);
  result.train_flops = training_steps * totals.passes.train_flops;

  const LossPrediction loss =
      predict_loss(*state_->law, loss_inputs(totals.parameters, totals.shares, architecture.d_model, training_tokens));
  const RecallPrediction recall = state_->predicted_recall();
  result.loss = loss.loss;
  result.recall = recall.single;
  result.extrapolated = totals.passes.extrapolated || loss.extrapolated || recall.extrapolated;
  return result;
}

}  // namespace archfront
