#pragma once

#include <ceres/jet.h>

#include <array>
#include <cstddef>

namespace archfront {

/// A law written once, for double and for ceres::Jet, as the loss and exact derivatives the engine calls. `Law` has
/// template <class T> T operator()(const T* parameters, const double* columns) const.
template <std::size_t n, class Law>
auto with_derivatives(Law law) {
  return [law](const double* parameters, const double* columns, double* derivatives) -> double {
    if (derivatives == nullptr) return law(parameters, columns);
    using Jet = ceres::Jet<double, static_cast<int>(n)>;
    std::array<Jet, n> jets;
    for (std::size_t i = 0; i < n; ++i) jets[i] = Jet(parameters[i], static_cast<int>(i));
    const Jet value = law(jets.data(), columns);
    for (std::size_t i = 0; i < n; ++i) derivatives[i] = value.v[static_cast<Eigen::Index>(i)];
    return value.a;
  };
}

/// column^-exponent.
template <class T>
T inverse_power(double column, const T& exponent) {
  using std::exp;
  using std::log;
  return exp(-exponent * log(column));
}

}  // namespace archfront
