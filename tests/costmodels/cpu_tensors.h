#pragma once
// What CPU kernel tests share: fresh random operands, poisoned outputs, errors as norms, every instruction set in turn.

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/bf16.h"

namespace archfront::cpu {

template <class T>
T rounded(double value) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return to_bf16(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <class T>
std::vector<T> normal(std::mt19937& engine, std::int64_t size, double scale = 1) {
  std::normal_distribution<double> draw(0, scale);
  std::vector<T> values(static_cast<std::size_t>(size));
  for (T& value : values) value = rounded<T>(draw(engine));
  return values;
}

/// All NaN, so that an element left unwritten fails any comparison.
template <class T>
std::vector<T> poisoned(std::int64_t size) {
  T nan{};
  if constexpr (std::is_same_v<T, Bf16>) {
    nan.bits = 0x7fff;
  } else {
    nan = std::numeric_limits<T>::quiet_NaN();
  }
  return std::vector<T>(static_cast<std::size_t>(size), nan);
}

/// ||got - wanted|| / ||wanted||.
template <class T>
double relative_error(std::span<const T> got, std::span<const double> wanted) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    difference += std::pow(static_cast<double>(to_f32(got[i])) - wanted[i], 2);
    norm += wanted[i] * wanted[i];
  }
  return std::sqrt(difference / norm);
}

/// f32: sums of up to thousands of terms with a unit roundoff of 6e-8. bf16: outputs rounded to 8 bits, 2^-9 at most
/// each.
template <class T>
double tolerance() {
  return std::is_same_v<T, Bf16> ? 1.0 / 256 : 2e-6;
}

/// Runs `body` once for every instruction set this processor has and the kernels were compiled for.
template <class Body>
void on_every_target(Body body) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace archfront::cpu
