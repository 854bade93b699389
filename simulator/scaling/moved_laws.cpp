#include "simulator/scaling/moved_laws.h"

#include <array>
#include <cmath>

namespace archfront {
namespace {

/// The lower Cholesky factor of a covariance, row by row; a direction without spread (a parameter that is held, or one
/// that follows from the others) has a column of zeros.
template <std::size_t n>
std::array<double, n * n> cholesky(const std::array<double, n * n>& covariance) {
  constexpr double nothing = 1e-14;  // of the diagonal: what rounding leaves of zero
  std::array<double, n * n> factor{};
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
template <class OneLaw, std::size_t n, class Move>
std::vector<Law> moved(const OneLaw& law, const std::array<double, n * n>& covariance, double step, const Move& move) {
  const std::array<double, n* n> factor = cholesky<n>(covariance);
  std::vector<Law> laws;
  for (std::size_t column = 0; column < n; ++column) {
    if (factor[column * n + column] == 0) continue;
    std::array<double, n> by{};
    for (std::size_t row = 0; row < n; ++row) by[row] = step * factor[row * n + column];
    OneLaw one = law;
    move(one, by);
    laws.emplace_back(one);
  }
  return laws;
}

std::vector<Law> moved_law(const ChinchillaLaw& law, double step) {
  return moved<ChinchillaLaw, 5>(law, law.covariance, step, [](ChinchillaLaw& one, const std::array<double, 5>& by) {
    one.A *= std::exp(by[0]);
    one.B *= std::exp(by[1]);
    one.E *= std::exp(by[2]);
    one.alpha += by[3];
    one.beta += by[4];
  });
}

std::vector<Law> moved_law(const MixerLaw& law, double step) {
  return moved<MixerLaw, 5>(law, law.covariance, step, [](MixerLaw& one, const std::array<double, 5>& by) {
    one.a += by[0];
    one.scale *= std::exp(by[1]);
    one.b += by[2];
    one.c += by[3];
    one.d += by[4];
  });
}

std::vector<Law> moved_law(const ConditionalShapeLaw&, double) { return {}; }

}  // namespace

std::vector<Law> moved_laws(const Law& law, double step) {
  return std::visit([&](const auto& one) { return moved_law(one, step); }, law);
}

}  // namespace archfront
