#pragma once

#include <vector>

#include "simulator/scaling/form.h"
#include "simulator/scaling/term.h"

namespace archfront {

/// A fitted form of the table of laws that has no evaluation of its own: any whose columns an architecture and its
/// training tell (n_params, tokens, flops = 6 n_params tokens, d_model, n_layers, ...).
struct FormLaw {
  Form form;
  std::vector<double> parameters;
  std::vector<double> covariance;  ///< of the parameters, their logarithms where positive, row by row
  double residual = 0;             ///< spread of single runs about the law, relative
  std::vector<Range> ranges;       ///< of the runs' columns
  /// Where each column comes from.
  std::vector<double (*)(const LossInputs& inputs)> sources;
};

LossTerm evaluate(const FormLaw& law, const LossInputs& inputs);
/// Throws InputError for a form with columns that an architecture does not tell.
FormLaw form_law_from_json(const nlohmann::json& json, const Form& form, const std::string& where);

}  // namespace archfront
