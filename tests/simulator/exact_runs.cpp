#include "tests/simulator/exact_runs.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "simulator/scaling/random.h"

namespace archfront {

RunTable runs_of(const Form& form, const std::vector<double>& parameters, std::size_t count, double noise) {
  const std::map<std::string, std::pair<double, double>> ranges{{"n_params", {1e7, 1e10}},
                                                                {"tokens", {1e9, 1e12}},
                                                                {"unique_tokens", {1e9, 1e11}},
                                                                {"flops", {1e18, 1e23}},
                                                                {"tokens_per_parameter", {5, 500}},
                                                                {"d_model", {256, 8192}},
                                                                {"n_layers", {8, 64}},
                                                                {"d_model_over_sqrt_n", {0.04, 0.16}},
                                                                {"mlp_to_attention", {0.5, 5}},
                                                                {"least_loss", {2.5, 3}},
                                                                {"n_experts", {1, 512}},
                                                                {"granularity", {1, 16}},
                                                                {"expert_sparsity", {0.1, 0.95}},
                                                                {"n_params_vocab", {1e6, 1e8}}};
  RandomStream random(3, 0);
  const auto uniform = [&] { return static_cast<double>(random.next() >> 11) * 0x1.0p-53; };
  std::string text = "loss";
  for (const ColumnSpec& column : form.columns) text += "," + column.name;
  text += "\n";
  for (std::size_t run = 0; run < count; ++run) {
    std::vector<double> x;
    for (const ColumnSpec& column : form.columns) {
      const auto [low, high] = ranges.at(column.name);
      x.push_back(low * std::pow(high / low, uniform()));
    }
    const double loss = form.loss(parameters.data(), x.data(), nullptr) * (1 + noise * (uniform() - 0.5));
    text += fmt::format("{:.17g}", loss);
    for (const double value : x) text += fmt::format(",{:.17g}", value);
    text += "\n";
  }
  return runs_from_text(text, "exact.csv");
}

}  // namespace archfront
