#include "simulator/scaling/allocation.h"

#include <fmt/format.h>

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <array>
#include <boost/math/tools/minima.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <numeric>

#include "simulator/scaling/random.h"

namespace archfront {
namespace {

/// Loss at n parameters and C FLOPs under one set of natural values, tokens C / (6 n).
class SizedLaw {
 public:
  /// False: the form has a column that size and tokens do not tell.
  static bool has(const FitProblem& problem) {
    const bool sized = std::any_of(problem.form.columns.begin(), problem.form.columns.end(), [](const ColumnSpec& c) {
      return c.name == "n_params" || c.name == "tokens_per_parameter";
    });
    return sized && problem.group_names.size() == 1 &&
           std::all_of(problem.form.columns.begin(), problem.form.columns.end(), [](const ColumnSpec& column) {
             return std::find(std::begin(known), std::end(known), column.name) != std::end(known);
           });
  }
  SizedLaw(const FitProblem& problem, const Coordinates& at)
      : problem_(problem), natural_(natural_values(problem, at)), columns_(problem.n_columns) {
    for (const ColumnSpec& column : problem.form.columns)
      from_.push_back(static_cast<std::size_t>(std::find(std::begin(known), std::end(known), column.name) - known));
  }

  double loss(double n_params, double flops) {
    const double tokens = flops / (6 * n_params);
    const std::array<double, std::size(known)> values{n_params, tokens, flops, tokens / n_params, tokens};
    for (std::size_t k = 0; k < columns_.size(); ++k) columns_[k] = values[from_[k]];
    return problem_.form.loss(natural_.data(), columns_.data(), nullptr);
  }

  /// Size of least loss, over ln N, in which these laws have one minimum.
  double best_size(double flops) {
    constexpr int bits = 26;  // half of a double's: a minimum is not known better
    const double middle = middle_of(flops);
    return std::exp(boost::math::tools::brent_find_minima([&](double log_n) { return loss(std::exp(log_n), flops); },
                                                          middle - widest, middle + widest, bits)
                        .first);
  }

  /// False: the loss falls to the end of all sizes looked at, as it does where more tokens cost nothing.
  bool has_best(double flops) { return std::abs(std::log(best_size(flops)) - middle_of(flops)) < widest - 1; }

 private:
  static constexpr double widest = 14;  // of ln N, either way from as many tokens as parameters
  static double middle_of(double flops) { return 0.5 * std::log(flops / 6); }

  static constexpr std::string_view known[] = {"n_params", "tokens", "flops", "tokens_per_parameter", "unique_tokens"};
  const FitProblem& problem_;
  Coordinates natural_;
  std::vector<std::size_t> from_;  ///< each column's place among the known
  std::vector<double> columns_;
};

std::pair<double, double> middle_80(std::vector<double> values) {
  if (values.empty()) return {0, 0};
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<std::size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
  };
  return {at(0.1), at(0.9)};
}

Allocation allocation_at(const FitProblem& problem, const Coordinates& at, const std::vector<Coordinates>& draws,
                         double flops) {
  SizedLaw law(problem, at);
  Allocation allocation{.flops = flops, .n_params = law.best_size(flops)};
  allocation.tokens = flops / (6 * allocation.n_params);
  allocation.loss = law.loss(allocation.n_params, flops);
  for (const double times : {0.25, 0.5, 2.0, 4.0})
    allocation.paid.emplace_back(times, law.loss(times * allocation.n_params, flops) - allocation.loss);
  std::vector<double> sizes;
  sizes.reserve(draws.size());
  for (const Coordinates& draw : draws) sizes.push_back(SizedLaw(problem, draw).best_size(flops));
  std::tie(allocation.n_low, allocation.n_high) = middle_80(std::move(sizes));
  if (allocation.n_low > 0) {
    allocation.tokens_low = flops / (6 * allocation.n_high);
    allocation.tokens_high = flops / (6 * allocation.n_low);
  }
  return allocation;
}

/// Where the parabola through (ln N, loss) of points on one isoFLOP curve has its vertex; none if it has no minimum.
std::optional<double> parabola_vertex(const std::vector<double>& log_n, const std::vector<double>& loss) {
  const double mean = std::accumulate(log_n.begin(), log_n.end(), 0.0) / static_cast<double>(log_n.size());
  Eigen::MatrixXd design(static_cast<Eigen::Index>(log_n.size()), 3);
  Eigen::VectorXd right(static_cast<Eigen::Index>(log_n.size()));
  for (std::size_t i = 0; i < log_n.size(); ++i) {
    const double x = log_n[i] - mean;
    design.row(static_cast<Eigen::Index>(i)) << 1, x, x * x;
    right[static_cast<Eigen::Index>(i)] = loss[i];
  }
  const Eigen::Vector3d solved = (design.transpose() * design).ldlt().solve(design.transpose() * right);
  if (!(solved[2] > 0)) return std::nullopt;
  return mean - solved[1] / (2 * solved[2]);
}

/// The fitted law read the way isoFLOP curves are: parabolas through what it says at the runs' own sizes. Without any
/// noise the vertex still misses the law's minimum where the curve is lopsided or the sizes lie to one side.
std::string parabola_warning(const FitProblem& problem, const Coordinates& at, std::span<const double> n_params,
                             std::span<const double> flops) {
  std::map<long, std::vector<std::size_t>> curves;
  for (std::size_t run = 0; run < flops.size(); ++run)
    if (flops[run] > 0) curves[std::lround(4 * std::log10(flops[run]))].push_back(run);
  SizedLaw law(problem, at);
  double worst = 0;
  double worst_flops = 0;
  for (const auto& [bucket, members] : curves) {
    std::vector<double> log_n;
    std::vector<double> loss;
    const double compute = std::pow(10, static_cast<double>(bucket) / 4);
    for (const std::size_t run : members) {
      log_n.push_back(std::log(n_params[run]));
      loss.push_back(law.loss(n_params[run], compute));
    }
    const auto [low, high] = std::minmax_element(log_n.begin(), log_n.end());
    if (log_n.size() < 5 || *high - *low < 0.7) continue;
    const double best = std::log(law.best_size(compute));
    const std::optional<double> read = parabola_vertex(log_n, loss);
    if (best < *low || best > *high || !read) continue;
    if (std::abs(*read - best) > std::abs(worst)) {
      worst = *read - best;
      worst_flops = compute;
    }
  }
  if (std::abs(worst) < 0.1) return {};
  return fmt::format(
      "isoFLOP parabolas through runs of these sizes would read the best size {:.0f}% {} at {:.1e} FLOPs, without any "
      "noise",
      100 * std::abs(std::expm1(worst)), worst > 0 ? "too large" : "too small", worst_flops);
}

}  // namespace

std::vector<Coordinates> normal_draws(const Coordinates& at, const Eigen::MatrixXd& covariance, std::size_t count,
                                      std::uint64_t seed) {
  if (!covariance.allFinite()) return {};
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> values(covariance);
  const Eigen::MatrixXd root = values.eigenvectors() * values.eigenvalues().cwiseMax(0).cwiseSqrt().asDiagonal();
  std::vector<Coordinates> draws;
  for (std::size_t draw = 0; draw < count; ++draw) {
    RandomStream random(seed, draw);
    const auto uniform = [&] { return (static_cast<double>(random.next() >> 11) + 0.5) * 0x1.0p-53; };
    Coordinates normal(at.size());
    for (double& value : normal)
      value = std::sqrt(-2 * std::log(uniform())) * std::cos(2 * std::numbers::pi * uniform());
    draws.push_back(at + root * normal);
  }
  return draws;
}

Allocations allocations_of(const FitProblem& problem, const Coordinates& at, const std::vector<Coordinates>& draws,
                           std::span<const double> n_params, std::span<const double> flops) {
  Allocations found;
  if (!SizedLaw::has(problem)) return found;
  const auto [low, high] = std::minmax_element(flops.begin(), flops.end());
  if (flops.empty() || !(*low > 0)) return found;
  if (!SizedLaw(problem, at).has_best(*low) || !SizedLaw(problem, at).has_best(*high)) return found;
  constexpr int computes = 4;
  const double factor = std::pow(*high / *low, 1.0 / (computes - 1));
  for (int i = 0; i < computes; ++i) found.at.push_back(allocation_at(problem, at, draws, *low * std::pow(factor, i)));
  found.at.push_back(allocation_at(problem, at, draws, 10 * *high));
  const Allocation& first = found.at.front();
  const Allocation& last = found.at[computes - 1];
  if (last.flops > first.flops) {
    const double a = std::log(last.n_params / first.n_params) / std::log(last.flops / first.flops);
    found.rule = ComputeOptimal{.a = a, .b = 1 - a, .G = last.n_params / std::pow(last.flops / 6, a)};
  }
  found.parabola_warning = parabola_warning(problem, at, n_params, flops);
  return found;
}

}  // namespace archfront
