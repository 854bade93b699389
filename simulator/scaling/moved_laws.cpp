#include "simulator/scaling/moved_laws.h"

#include <cmath>
#include <span>

namespace archfront {
namespace {

/// The lower Cholesky factor of an n x n covariance, row by row; a direction without spread (a parameter that is held,
/// or one that follows from the others) has a column of zeros.
std::vector<double> cholesky(std::span<const double> covariance, std::size_t n) {
  constexpr double nothing = 1e-14;  // of the diagonal: what rounding leaves of zero
  std::vector<double> factor(n * n, 0.0);
  for (std::size_t column = 0; column < n; ++column) {
    double left = covariance[column * n + column];
    const double least = nothing * left;
    for (std::size_t k = 0; k < column; ++k) left -= factor[column * n + k] * factor[column * n + k];
    if (!(left > least)) continue;
    factor[column * n + column] = std::sqrt(left);
    for (std::size_t row = column + 1; row < n; ++row) {
      double sum = covariance[row * n + column];
      for (std::size_t k = 0; k < column; ++k) sum -= factor[row * n + k] * factor[column * n + k];
      factor[row * n + column] = sum / factor[column * n + column];
    }
  }
  return factor;
}

/// One law a column that is not zero; `move` adds a step to the parameters the covariance is of.
template <class OneLaw, class Move>
std::vector<Law> moved(const OneLaw& law, std::size_t n, double step, const Move& move) {
  const std::vector<double> factor = cholesky(law.covariance, n);
  std::vector<Law> laws;
  for (std::size_t column = 0; column < n; ++column) {
    if (factor[column * n + column] == 0) continue;
    std::vector<double> by(n);
    for (std::size_t row = 0; row < n; ++row) by[row] = step * factor[row * n + column];
    OneLaw one = law;
    move(one, by);
    laws.emplace_back(one);
  }
  return laws;
}

std::vector<Law> moved_law(const ChinchillaLaw& law, double step) {
  return moved(law, 5, step, [](ChinchillaLaw& one, const std::vector<double>& by) {
    one.A *= std::exp(by[0]);
    one.B *= std::exp(by[1]);
    one.E *= std::exp(by[2]);
    one.alpha += by[3];
    one.beta += by[4];
  });
}

std::vector<Law> moved_law(const MixerLaw& law, double step) {
  return moved(law, MixerLaw::n, step, [](MixerLaw& one, const std::vector<double>& by) {
    for (std::size_t k = 0; k < by.size(); ++k) one.values[k] += by[k];
    keep_in_bounds(one);
  });
}

std::vector<Law> moved_law(const FormLaw& law, double step) {
  return moved(law, law.parameters.size(), step, [](FormLaw& one, const std::vector<double>& by) {
    for (std::size_t k = 0; k < by.size(); ++k) {
      double& value = one.parameters[k];
      value = one.form.parameters[k].positive ? value * std::exp(by[k]) : value + by[k];
    }
  });
}

std::vector<Law> moved_law(const ConditionalShapeLaw&, double) { return {}; }

}  // namespace

std::vector<Law> moved_laws(const Law& law, double step) {
  return std::visit([&](const auto& one) { return moved_law(one, step); }, law);
}

}  // namespace archfront
