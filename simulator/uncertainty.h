#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "simulator/assess.h"

namespace archfront {

/// What an assessment may be wrong in.
enum class Uncertain : std::uint8_t { loss, decode_seconds, prefill_seconds, train_seconds };
inline constexpr std::size_t n_uncertain = 4;

/// How far one architecture's truth may lie from its assessment: the logarithm of each quantity is off by the sum of
/// these coefficients times standard normals, which are the same for all architectures, so that two of them may be
/// wrong together. Empty: not asked for.
struct ErrorCoefficients {
  std::array<std::vector<double>, n_uncertain> of;
};

/// Errors of architectures that share one machine, workload and law.
///
/// Loss: the law's parameters move together for all architectures (their covariance); what else the law's band holds
/// (single runs about the fit, distance from the fitted range) belongs to the architecture.
/// Seconds: half the variance of each table group's error (step_cost.h) is common to all shapes, half belongs to the
/// architecture; an assumption between the table's own figure, which takes all of it as common, and independence.
/// What belongs to an architecture is a smooth random function of it: two that differ by a factor of 2 in one of
/// parameters, d_model, depth, MLP-to-attention ratio or state bytes, or by a quarter in the share of exact or windowed
/// layers or in sparsity, correlate by exp(-1/2) = 0.61; near twins are wrong together, so that a denser space does not
/// make every point doubtful.
///
/// Keeps a cache and is for one thread; the machine and the law must outlive it.
class Uncertainty {
 public:
  Uncertainty(const Machine& machine, const Workload& workload, const LossModel& law);
  ~Uncertainty();
  Uncertainty(Uncertainty&&) noexcept;
  Uncertainty& operator=(Uncertainty&&) noexcept;

  /// `asked` by Uncertain; what is not asked for costs nothing.
  ErrorCoefficients errors(const Architecture& architecture, const Assessment& assessment,
                           const std::array<bool, n_uncertain>& asked);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace archfront
