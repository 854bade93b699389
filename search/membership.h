#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "search/assess_function.h"
#include "search/sweep.h"
#include "simulator/uncertainty.h"

namespace archfront {

/// What may truly be on the frontier, or keep another off it.
struct Contender {
  std::vector<double> values;  ///< in the order of SweepConfig::objectives
  Assessment assessment;
  ErrorCoefficients errors;
};

/// Which errors the objectives of a sweep depend on.
std::array<bool, n_uncertain> errors_needed(const SweepConfig& config);

/// For each of the first `asked` contenders the share of draws in which none of all contenders dominates it. In a draw
/// every contender's loss and times are off by its coefficients times that draw's standard normals; recall, sizes and
/// FLOPs are exact. The same at any number of threads.
std::vector<double> membership(const SweepConfig& config, std::span<const Contender> contenders, std::size_t asked,
                               std::uint64_t seed);

/// A thread's own function of an architecture's errors, and a way to get one for each.
using ErrorFunction = std::function<ErrorCoefficients(const Architecture&, const Assessment&)>;
using ErrorFactory = std::function<ErrorFunction()>;

/// Fills in FrontierPoint::probability: among the frontier and those points of the result's sample that come nearest to
/// it (at most 1,024, or as many as the frontier has).
void weigh_frontier(const SweepConfig& config, const AssessFactory& factory, const ErrorFactory& errors,
                    SweepResult& result);

}  // namespace archfront
