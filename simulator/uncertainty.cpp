#include "simulator/uncertainty.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "simulator/scaling/law.h"
#include "simulator/scaling/moved_laws.h"
#include "simulator/scaling/random.h"
#include "simulator/step_cost.h"

namespace archfront {
namespace {

constexpr double z_80 = 1.2815515655446004;  ///< half-width of an 80% band in standard deviations
/// Share of a table group's error variance that all shapes have in common.
constexpr double common_share = 0.5;
/// Standard deviations by which a law is moved to see how its loss goes with its parameters.
constexpr double law_step = 0.1;

/// What decides how alike two architectures are, one unit a correlation of exp(-1/2).
constexpr std::size_t n_features = 8;
using Features = std::array<double, n_features>;

Features features_of(const Architecture& architecture, const Assessment& assessment, const LossInputs& inputs) {
  const auto log_of = [](double value) { return std::log2(std::max(value, 1e-3)); };
  constexpr double per_share = 4;
  return {log_of(inputs.n_params),
          log_of(inputs.d_model),
          log_of(n_layers(architecture)),
          log_of(inputs.mlp_to_attention),
          log_of(assessment.state_bytes),
          per_share * inputs.attention_fraction,
          per_share * inputs.windowed_fraction,
          per_share * inputs.sparsity};
}

/// A random smooth function is a sum of waves with normal weights. Source: Rahimi and Recht, "Random features for
/// large-scale kernel machines", 2007, section 3.
constexpr std::size_t n_waves = 32;

class Waves {
 public:
  Waves() {
    RandomStream random(1, 0);
    const auto uniform = [&] { return (static_cast<double>(random.next() >> 11) + 0.5) * 0x1.0p-53; };
    const auto normal = [&] {
      const double radius = std::sqrt(-2 * std::log(uniform()));
      return radius * std::cos(2 * std::numbers::pi * uniform());
    };
    for (std::size_t wave = 0; wave < n_waves; ++wave) {
      for (double& frequency : frequencies_[wave]) frequency = normal();
      phases_[wave] = 2 * std::numbers::pi * uniform();
    }
  }

  /// Appends coefficients of one standard deviation `spread`.
  void append(const Features& features, double spread, std::vector<double>& coefficients) const {
    std::array<double, n_waves> heights{};
    double squares = 0;
    for (std::size_t wave = 0; wave < n_waves; ++wave) {
      double angle = phases_[wave];
      for (std::size_t i = 0; i < n_features; ++i) angle += frequencies_[wave][i] * features[i];
      heights[wave] = std::cos(angle);
      squares += heights[wave] * heights[wave];
    }
    for (const double height : heights) coefficients.push_back(spread * height / std::sqrt(squares));
  }

 private:
  std::array<Features, n_waves> frequencies_{};
  std::array<double, n_waves> phases_{};
};

struct MovedPart {
  Law law;
  std::vector<Law> moved;
};

}  // namespace

struct Uncertainty::State {
  Workload workload;
  const LossModel* law;
  std::vector<MovedPart> parts{};
  std::array<Step, n_assessed_steps> steps;
  Pricing pricing;
  Operations scratch{};
  Waves waves{};

  std::vector<double> loss_errors(const LossInputs& inputs, const Features& features) const {
    std::vector<double> coefficients;
    double variance = 0;
    for (const MovedPart& part : parts) {
      const auto log_loss = [&](const Law& one) {
        return std::visit([&](const auto& l) { return evaluate(l, inputs); }, one).log_loss;
      };
      const double fitted = log_loss(part.law);
      for (const Law& moved : part.moved) {
        coefficients.push_back((log_loss(moved) - fitted) / law_step);
        variance += coefficients.back() * coefficients.back();
      }
    }
    const LossPrediction band = predict_loss(*law, inputs);
    const double half = std::log(band.high / band.loss) / z_80;
    waves.append(features, std::sqrt(std::max(0.0, half * half - variance)), coefficients);
    return coefficients;
  }

  std::vector<double> time_errors(const Architecture& architecture, const Step& step, const Features& features) {
    StepCost total = ends_cost(architecture, step, pricing, scratch);
    for (const Block& block : architecture.blocks)
      for (const Layer& layer : block.layers)
        accumulate(total, layer_cost(architecture, layer, step, pricing, scratch), block.repeat);
    std::vector<double> coefficients;
    double squares = 0;
    for (const double seconds : total.error_seconds) {
      const double share = seconds / total.seconds;
      coefficients.push_back(std::sqrt(common_share) * share);
      squares += share * share;
    }
    waves.append(features, std::sqrt((1 - common_share) * squares), coefficients);
    return coefficients;
  }
};

Uncertainty::Uncertainty(const Machine& machine, const Workload& workload, const LossModel& law)
    : state_(std::make_unique<State>(State{.workload = workload,
                                           .law = &law,
                                           .steps = assessed_steps(workload),
                                           .pricing = Pricing(machine, workload.engine)})) {
  for (const Law& part : law.parts) state_->parts.push_back({part, moved_laws(part, law_step)});
}

Uncertainty::~Uncertainty() = default;
Uncertainty::Uncertainty(Uncertainty&&) noexcept = default;
Uncertainty& Uncertainty::operator=(Uncertainty&&) noexcept = default;

ErrorCoefficients Uncertainty::errors(const Architecture& architecture, const Assessment& assessment,
                                      const std::array<bool, n_uncertain>& asked) {
  const double tokens = state_->workload.training_tokens > 0 ? state_->workload.training_tokens
                                                             : default_training_tokens(assessment.parameters);
  const LossInputs inputs = loss_inputs(architecture, tokens);
  const Features features = features_of(architecture, assessment, inputs);
  constexpr std::pair<Uncertain, AssessedStep> timed[] = {{Uncertain::decode_seconds, AssessedStep::decode},
                                                          {Uncertain::prefill_seconds, AssessedStep::prefill},
                                                          {Uncertain::train_seconds, AssessedStep::train}};
  ErrorCoefficients errors;
  const auto place = [](auto which) { return static_cast<std::size_t>(which); };
  if (asked[place(Uncertain::loss)]) errors.of[place(Uncertain::loss)] = state_->loss_errors(inputs, features);
  for (const auto& [quantity, step] : timed)
    if (asked[place(quantity)])
      errors.of[place(quantity)] = state_->time_errors(architecture, state_->steps[place(step)], features);
  return errors;
}

}  // namespace archfront
