#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace archfront {

/// Runs as the fit sees them: logarithms, ln N and ln D about their means, which takes most of the correlation out of
/// coefficients and exponents. Padded with zero weights to `size` rounded up, so that vectors are whole.
struct LogRuns {
  std::size_t size = 0;
  double mean_log_n = 0;
  double mean_log_tokens = 0;
  std::vector<double> log_n;
  std::vector<double> log_tokens;
  std::vector<double> log_loss;
  std::vector<double> weight;
};
LogRuns log_runs(std::span<const double> n_params, std::span<const double> tokens, std::span<const double> loss);

/// ln A and ln B at the centre of the runs, ln E, alpha, beta.
using ChinchillaPoint = std::array<double, 5>;

/// The Hessian with or without the residuals' own second derivatives. Without them it is never indefinite.
enum class Curvature : std::uint8_t { gauss_newton, exact };

/// Value, gradient and Hessian (row by row) of sum_i w_i huber(r_i; delta),
///     r_i = ln(exp(a - alpha x_i) + exp(b - beta y_i) + exp(e)) - ln L_i,
/// huber(r) = r^2 / 2 within delta, delta (|r| - delta / 2) beyond. Source of the objective: Hoffmann et al.,
/// arXiv:2203.15556, section 3.3.
struct HuberSums {
  double value = 0;
  ChinchillaPoint gradient{};
  std::array<double, 25> hessian{};
};

/// `weight` has the padded length of the runs. An infinite delta is least squares.
void huber_sums(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& at, double delta,
                Curvature curvature, HuberSums& sums);

/// Gradient of one run's term at weight 1.
ChinchillaPoint run_gradient(const LogRuns& runs, std::size_t run, const ChinchillaPoint& at, double delta);

/// The same as huber_sums in scalar double precision: the specification.
void huber_sums_reference(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& at, double delta,
                          Curvature curvature, HuberSums& sums);

}  // namespace archfront
