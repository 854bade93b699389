#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "costmodels/errors.h"

namespace archfront {

/// g^T C g, C row by row.
template <std::size_t n>
double quadratic_form(const std::array<double, n * n>& matrix, const std::array<double, n>& vector) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double row = 0;
    for (std::size_t j = 0; j < n; ++j) row += matrix[i * n + j] * vector[j];
    sum += vector[i] * row;
  }
  return sum;
}

/// "covariance": [[...], ...] of a law file; all zero where there is none. Throws InputError if it is no n x n matrix
/// of numbers.
template <std::size_t n>
std::array<double, n * n> covariance_from_json(const nlohmann::json& json, const std::string& where) {
  std::array<double, n * n> matrix{};
  const auto found = json.find("covariance");
  if (found == json.end()) return matrix;
  const auto refuse = [&] {
    throw InputError(fmt::format("the covariance is no {} x {} matrix of numbers: {}: fit the law again", n, n, where));
  };
  if (!found->is_array() || found->size() != n) refuse();
  for (std::size_t i = 0; i < n; ++i) {
    const nlohmann::json& row = (*found)[i];
    if (!row.is_array() || row.size() != n) refuse();
    for (std::size_t j = 0; j < n; ++j) {
      if (!row[j].is_number()) refuse();
      matrix[i * n + j] = row[j].get<double>();
    }
  }
  return matrix;
}

}  // namespace archfront
