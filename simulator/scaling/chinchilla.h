#pragma once

#include <array>

#include "simulator/scaling/term.h"

namespace archfront {

/// L(N, D) = E + A / N^alpha + B / D^beta, nats per token.
/// Source of the form: Hoffmann et al., arXiv:2203.15556, eq. 10.
///
/// Runs are logged with one of two counts of N. Where they count embeddings, a model of n non-embedding parameters is
/// given the count the logged family would have had, N = n + embedding_coefficient n^(1/3): a family of one
/// aspect ratio has d_model ~ n^(1/3), hence embeddings ~ n^(1/3) (Pearce and Song, arXiv:2406.12907). So a larger
/// vocabulary, which adds parameters and no depth, buys no loss here.
struct ChinchillaLaw {
  double A = 0;
  double B = 0;
  double E = 0;
  double alpha = 0;
  double beta = 0;
  std::array<double, 25> covariance{};  ///< of (ln A, ln B, ln E, alpha, beta), row by row
  double residual = 0;                  ///< spread of single runs about the law, relative, one standard deviation
  double embedding_coefficient = 0;     ///< 0: the runs count no embeddings
  Range n_params;                       ///< as the runs count them
  Range tokens;
};

/// The runs' count of a model with `n_params` non-embedding parameters.
double counted_parameters(const ChinchillaLaw& law, double n_params);
/// Nats per token at a count of the runs' kind.
double loss_at(const ChinchillaLaw& law, double counted, double tokens);
LossTerm evaluate(const ChinchillaLaw& law, const LossInputs& inputs);

/// Size and tokens of least loss at C = 6 N D FLOPs: N = G (C/6)^a, D = (C/6)^b / G with a = beta / (alpha + beta),
/// b = 1 - a, G = (alpha A / (beta B))^(1 / (alpha + beta)). Source: arXiv:2203.15556, eq. 4.
struct ComputeOptimal {
  double a = 0;
  double b = 0;
  double G = 0;
};
ComputeOptimal compute_optimal(const ChinchillaLaw& law);

ChinchillaLaw chinchilla_from_json(const nlohmann::json& json, const std::string& where);

}  // namespace archfront
