#include "simulator/scaling/form_law.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// As many as any form has: an evaluation allocates nothing.
constexpr std::size_t most = 32;

struct Source {
  std::string_view column;
  double (*value)(const LossInputs& inputs);
};
constexpr Source sources[] = {
    {"n_params", [](const LossInputs& x) { return x.n_params; }},
    {"tokens", [](const LossInputs& x) { return x.tokens; }},
    {"unique_tokens", [](const LossInputs& x) { return x.tokens; }},
    {"flops", [](const LossInputs& x) { return 6 * x.n_params * x.tokens; }},
    {"tokens_per_parameter", [](const LossInputs& x) { return x.tokens / x.n_params; }},
    {"d_model", [](const LossInputs& x) { return x.d_model; }},
    {"n_layers", [](const LossInputs& x) { return x.n_layers; }},
};

std::vector<double> covariance_of(const nlohmann::json& json, std::size_t size, const std::string& where) {
  std::vector<double> matrix(size * size, 0.0);
  const auto found = json.find("covariance");
  if (found == json.end()) return matrix;
  const auto refuse = [&] {
    throw InputError(
        fmt::format("the covariance is no {} x {} matrix of numbers: {}: fit the law again", size, size, where));
  };
  if (!found->is_array() || found->size() != size) refuse();
  for (std::size_t i = 0; i < size; ++i) {
    const nlohmann::json& row = (*found)[i];
    if (!row.is_array() || row.size() != size) refuse();
    for (std::size_t j = 0; j < size; ++j) {
      if (!row[j].is_number()) refuse();
      matrix[i * size + j] = row[j].get<double>();
    }
  }
  return matrix;
}

}  // namespace

LossTerm evaluate(const FormLaw& law, const LossInputs& inputs) {
  std::array<double, most> columns{};
  std::array<double, most> gradient{};
  double outside = 0;
  for (std::size_t k = 0; k < law.sources.size(); ++k) {
    columns[k] = law.sources[k](inputs);
    outside += distance_outside(law.ranges[k], columns[k]);
  }
  const double loss = law.form.loss(law.parameters.data(), columns.data(), gradient.data());
  const std::size_t size = law.parameters.size();
  for (std::size_t k = 0; k < size; ++k)
    gradient[k] *= (law.form.parameters[k].positive ? law.parameters[k] : 1) / loss;
  double variance = law.residual * law.residual;
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) variance += gradient[i] * law.covariance[i * size + j] * gradient[j];
  return {.log_loss = std::log(loss), .variance = variance, .outside = outside};
}

FormLaw form_law_from_json(const nlohmann::json& json, const Form& form, const std::string& where) {
  FormLaw law{.form = form, .parameters = {}, .covariance = {}, .ranges = {}, .sources = {}};
  const nlohmann::json given = json.value("parameters", nlohmann::json::object());
  for (const ParameterSpec& parameter : form.parameters) {
    law.parameters.push_back(law_number(given, parameter.name.c_str(), where));
    if (parameter.positive && !(law.parameters.back() > 0))
      throw InputError(fmt::format("'{}' is not positive: {}: fit the law again", parameter.name, where));
  }
  for (const ColumnSpec& column : form.columns) {
    const auto* source =
        std::find_if(std::begin(sources), std::end(sources), [&](const Source& s) { return s.column == column.name; });
    if (source == std::end(sources))
      throw InputError(fmt::format("the {} law asks for '{}', which an architecture does not tell: {}: use another law",
                                   form.name, column.name, where));
    law.sources.push_back(source->value);
    law.ranges.push_back(law_range(json, column.name.c_str(), where));
  }
  law.covariance = covariance_of(json, law.parameters.size(), where);
  law.residual = law_number_or(json, "residual", where, 0);
  return law;
}

}  // namespace archfront
