#include "simulator/uncertainty.h"

#include <gtest/gtest.h>

#include <cmath>

#include "simulator/scaling/moved_laws.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

constexpr std::array<bool, n_uncertain> all{true, true, true, true};

ErrorCoefficients errors_of(const Architecture& architecture) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  const Assessment assessment = Assessor(machine, {}, law).assess(architecture);
  return Uncertainty(machine, {}, law).errors(architecture, assessment, all);
}

double product(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  return product(a, b) / std::sqrt(product(a, a) * product(b, b));
}

const std::vector<double>& loss_of(const ErrorCoefficients& errors) {
  return errors.of[static_cast<std::size_t>(Uncertain::loss)];
}

TEST(MovedLaws, TheSquaresOfTheMovesAreTheVarianceTheLawStates) {
  ChinchillaLaw law;
  law.A = 480;
  law.B = 2100;
  law.E = 1.8;
  law.alpha = 0.35;
  law.beta = 0.37;
  // Of (ln A, ln B, ln E, alpha, beta): A and alpha go together, E is known to 1%, beta is held.
  law.covariance[0] = 0.0625;
  law.covariance[3] = law.covariance[15] = 0.0031;
  law.covariance[18] = 0.00016;
  law.covariance[12] = 0.0001;
  const LossInputs inputs{.n_params = 1e9, .tokens = 2e10};
  constexpr double step = 1e-3;
  double variance = 0;
  const std::vector<Law> moved = moved_laws(law, step);
  for (const Law& one : moved) {
    const double move =
        (evaluate(std::get<ChinchillaLaw>(one), inputs).log_loss - evaluate(law, inputs).log_loss) / step;
    variance += move * move;
  }
  EXPECT_EQ(moved.size(), 3U);
  EXPECT_NEAR(variance, evaluate(law, inputs).variance, 1e-3 * variance);
}

TEST(Uncertainty, TheLossErrsAsItsBandSays) {
  const Architecture model = llama_1b();
  const double tokens = default_training_tokens(parameters(model));
  const LossPrediction band = predict_loss(default_law(), loss_inputs(model, tokens));
  const double spread = std::log(band.high / band.loss) / 1.2815515655446004;
  EXPECT_NEAR(std::sqrt(product(loss_of(errors_of(model)), loss_of(errors_of(model)))), spread, 0.02 * spread);
}

TEST(Uncertainty, TheDecodeStepErrsAsItsBandSaysButForTheMachines) {
  const Machine machine = round_machine();
  const Architecture model = hybrid_1b();
  const Workload workload;
  const Step decode = assessed_steps(workload)[static_cast<std::size_t>(AssessedStep::decode)];
  const StepTime time = estimate(model, machine, decode, default_law(), 0).time;
  const double spread = std::log(time.seconds_high / time.seconds) / 1.2815515655446004;
  const ErrorCoefficients errors = errors_of(model);
  const std::vector<double>& found = errors.of[static_cast<std::size_t>(Uncertain::decode_seconds)];
  // The step's own figure has the spread of machines of one kind beside it: common to all candidates, 3%.
  EXPECT_NEAR(product(found, found) + 0.03 * 0.03, spread * spread, 0.05 * spread * spread);
}

TEST(Uncertainty, NearTwinsErrTogetherAndStrangersLessSo) {
  Architecture twin = llama_1b();
  for (Block& block : twin.blocks) block.repeat += 1;
  const ErrorCoefficients model = errors_of(llama_1b());
  const double near = correlation(loss_of(model), loss_of(errors_of(twin)));
  const double far = correlation(loss_of(model), loss_of(errors_of(hybrid_1b())));
  EXPECT_GT(near, 0.95);
  EXPECT_LT(far, 0.9 * near);
}

TEST(Uncertainty, WhatIsNotAskedForIsEmpty) {
  const Machine machine = round_machine();
  const LossModel law = default_law();
  const Assessment assessment = Assessor(machine, {}, law).assess(llama_1b());
  const ErrorCoefficients errors =
      Uncertainty(machine, {}, law).errors(llama_1b(), assessment, {false, true, false, false});
  EXPECT_TRUE(loss_of(errors).empty());
  EXPECT_FALSE(errors.of[static_cast<std::size_t>(Uncertain::decode_seconds)].empty());
}

}  // namespace
}  // namespace archfront
