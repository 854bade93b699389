#include "search/membership.h"

#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "search/random.h"
#include "search/screen.h"

namespace archfront {

namespace {

constexpr std::size_t draws_of_few = 256;
constexpr std::size_t draws_of_many = 128;
constexpr std::size_t many = 2048;
/// A point that would have to be better by more than this in everything uncertain keeps nobody off the frontier.
constexpr double furthest = 0.1;
constexpr std::size_t nearest_points = 1024;
/// A pair whose nominal difference is so many standard deviations of the difference is not drawn.
constexpr double certain = 5;

double sign_of(const Objective& objective) { return objective.direction == Direction::minimise ? 1 : -1; }

/// Standard normals of one source of errors, one row a coefficient.
std::vector<double> normals(std::size_t rows, std::size_t draws, std::uint64_t seed, std::uint64_t stream) {
  CounterRandom random(seed, stream);
  std::vector<double> values(rows * draws);
  for (double& value : values) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    value = radius * std::cos(2 * std::numbers::pi * random.uniform());
  }
  return values;
}

/// Every contender in every draw. Exact objectives have one value, to be minimised; uncertain ones the logarithm of
/// it in each draw, to be minimised too.
class Draws {
 public:
  Draws(const SweepConfig& config, std::span<const Contender> contenders, std::uint64_t seed)
      : config_(config),
        contenders_(contenders),
        n_draws_(contenders.size() > many ? draws_of_many : draws_of_few),
        weights_(contenders.size()) {
    for (std::size_t d = 0; d < config.objectives.size(); ++d)
      (config.objectives[d]->errors == nullptr ? exact_ : uncertain_).push_back(d);
    for (std::size_t q = 0; q < n_uncertain; ++q) {
      std::size_t rows = 0;
      for (const Contender& contender : contenders) rows = std::max(rows, contender.errors.of[q].size());
      normals_[q] = normals(rows, n_draws_, seed, q);
    }
    values_.resize(contenders.size() * uncertain_.size() * n_draws_);
    tbb::parallel_for(std::size_t{0}, contenders.size(), [&](std::size_t i) { fill(i); });
  }

  /// The share of draws in which no contender dominates the i-th.
  double share_on_frontier(std::size_t i) const {
    std::vector<char> alive(n_draws_, 1);
    std::vector<char> dominated(n_draws_);
    for (std::size_t j = 0; j < contenders_.size(); ++j) {
      if (j == i || !may_dominate(j, i)) continue;
      mark_dominated(j, i, dominated);
      bool any = false;
      for (std::size_t t = 0; t < n_draws_; ++t) {
        alive[t] = static_cast<char>(alive[t] & (dominated[t] ^ 1));
        any = any || alive[t] != 0;
      }
      if (!any) return 0;
    }
    return static_cast<double>(std::count(alive.begin(), alive.end(), 1)) / static_cast<double>(n_draws_);
  }

 private:
  std::span<const double> drawn(std::size_t i, std::size_t u) const {
    return std::span(values_).subspan((i * uncertain_.size() + u) * n_draws_, n_draws_);
  }
  double exact(std::size_t i, std::size_t d) const {
    return sign_of(*config_.objectives[d]) * contenders_[i].values[d];
  }
  double nominal(std::size_t i, std::size_t d) const {
    return sign_of(*config_.objectives[d]) * std::log(contenders_[i].values[d]);
  }

  void fill(std::size_t i) {
    const Contender& contender = contenders_[i];
    weights_[i].resize(uncertain_.size());
    for (std::size_t u = 0; u < uncertain_.size(); ++u) {
      const Objective& objective = *config_.objectives[uncertain_[u]];
      weights_[i][u] = objective.errors(contender.assessment, config_.workload);
      double* to = values_.data() + (i * uncertain_.size() + u) * n_draws_;
      std::fill(to, to + n_draws_, nominal(i, uncertain_[u]));
      for (std::size_t q = 0; q < n_uncertain; ++q) {
        const double weight = sign_of(objective) * weights_[i][u][q];
        const std::vector<double>& coefficients = contender.errors.of[q];
        for (std::size_t k = 0; k < coefficients.size() && weight != 0; ++k) {
          const double by = weight * coefficients[k];
          const double* from = normals_[q].data() + k * n_draws_;
          for (std::size_t t = 0; t < n_draws_; ++t) to[t] += by * from[t];
        }
      }
    }
  }

  /// Variance of the difference of two contenders in an uncertain objective.
  double difference_variance(std::size_t j, std::size_t i, std::size_t u) const {
    double sum = 0;
    for (std::size_t q = 0; q < n_uncertain; ++q) {
      const double wj = weights_[j][u][q];
      const double wi = weights_[i][u][q];
      const auto& cj = contenders_[j].errors.of[q];
      const auto& ci = contenders_[i].errors.of[q];
      const std::size_t n = wj == 0 && wi == 0 ? 0 : std::min(cj.size(), ci.size());
      for (std::size_t k = 0; k < n; ++k) sum += (wj * cj[k] - wi * ci[k]) * (wj * cj[k] - wi * ci[k]);
    }
    return sum;
  }

  bool may_dominate(std::size_t j, std::size_t i) const {
    for (const std::size_t d : exact_)
      if (exact(j, d) > exact(i, d)) return false;
    for (std::size_t u = 0; u < uncertain_.size(); ++u) {
      const double behind = nominal(j, uncertain_[u]) - nominal(i, uncertain_[u]);
      if (behind > 0 && behind * behind > certain * certain * difference_variance(j, i, u)) return false;
    }
    return true;
  }

  void mark_dominated(std::size_t j, std::size_t i, std::vector<char>& dominated) const {
    const bool better = std::ranges::any_of(exact_, [&](std::size_t d) { return exact(j, d) < exact(i, d); });
    std::vector<char> strict(n_draws_, better ? 1 : 0);
    std::fill(dominated.begin(), dominated.end(), 1);
    for (std::size_t u = 0; u < uncertain_.size(); ++u) {
      const std::span<const double> a = drawn(j, u);
      const std::span<const double> b = drawn(i, u);
      for (std::size_t t = 0; t < n_draws_; ++t) {
        dominated[t] = static_cast<char>(dominated[t] & static_cast<char>(a[t] <= b[t]));
        strict[t] = static_cast<char>(strict[t] | static_cast<char>(a[t] < b[t]));
      }
    }
    for (std::size_t t = 0; t < n_draws_; ++t) dominated[t] = static_cast<char>(dominated[t] & strict[t]);
  }

  const SweepConfig& config_;
  std::span<const Contender> contenders_;
  std::size_t n_draws_;
  std::vector<std::size_t> exact_;      ///< objectives
  std::vector<std::size_t> uncertain_;  ///< objectives
  std::array<std::vector<double>, n_uncertain> normals_;
  std::vector<std::vector<ErrorWeights>> weights_;  ///< by contender and uncertain objective
  std::vector<double> values_;
};

/// By how much a point would have to be better in everything uncertain for no frontier point to dominate it.
double excess(const SweepConfig& config, const SweepResult& result, const Point& point) {
  double most = -std::numeric_limits<double>::infinity();
  for (const FrontierPoint& other : result.frontier) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t d = 0; d < config.objectives.size() && least > most; ++d) {
      const Objective& objective = *config.objectives[d];
      const double ours = sign_of(objective) * point.values[d];
      const double theirs = sign_of(objective) * other.point.values[d];
      if (objective.errors != nullptr)
        least = std::min(least, sign_of(objective) * std::log(point.values[d] / other.point.values[d]));
      else if (ours < theirs)
        least = -std::numeric_limits<double>::infinity();
    }
    most = std::max(most, least);
    if (most > furthest) return most;
  }
  return most;
}

/// Places in the sample, nearest first and of equals by place.
std::vector<std::size_t> near_frontier(const SweepConfig& config, const SweepResult& result) {
  std::vector<double> excesses(result.sample.size());
  tbb::parallel_for(std::size_t{0}, excesses.size(),
                    [&](std::size_t i) { excesses[i] = excess(config, result, result.sample[i]); });
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < excesses.size(); ++i)
    if (excesses[i] <= furthest) places.push_back(i);
  std::ranges::sort(places, [&](std::size_t a, std::size_t b) {
    return excesses[a] != excesses[b] ? excesses[a] < excesses[b] : a < b;
  });
  places.resize(std::min(places.size(), std::max(nearest_points, result.frontier.size())));
  return places;
}

}  // namespace

std::array<bool, n_uncertain> errors_needed(const SweepConfig& config) {
  Assessment any;
  any.ttft_seconds = any.tpot_seconds = 1;
  std::array<bool, n_uncertain> needed{};
  for (const Objective* objective : config.objectives) {
    if (objective->errors == nullptr) continue;
    const ErrorWeights weights = objective->errors(any, config.workload);
    for (std::size_t q = 0; q < n_uncertain; ++q) needed[q] = needed[q] || weights[q] != 0;
  }
  return needed;
}

std::vector<double> membership(const SweepConfig& config, std::span<const Contender> contenders, std::size_t asked,
                               std::uint64_t seed) {
  const Draws draws(config, contenders, seed);
  std::vector<double> shares(asked);
  tbb::parallel_for(std::size_t{0}, asked, [&](std::size_t i) { shares[i] = draws.share_on_frontier(i); });
  return shares;
}

void weigh_frontier(const SweepConfig& config, const AssessFactory& factory, const ErrorFactory& errors,
                    SweepResult& result) {
  const std::size_t n_frontier = result.frontier.size();
  const std::vector<std::size_t> near = near_frontier(config, result);
  std::vector<Contender> contenders(n_frontier + near.size());
  tbb::enumerable_thread_specific<Screen> screens([&] { return Screen(config, factory()); });
  tbb::enumerable_thread_specific<ErrorFunction> functions(errors);
  const auto describe = [&](const tbb::blocked_range<std::size_t>& range) {
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      const Point& point = i < n_frontier ? result.frontier[i].point : result.sample[near[i - n_frontier]];
      Screen& screen = screens.local();
      screen.look(point.index);
      contenders[i] = {.values = point.values,
                       .assessment = screen.assessment(),
                       .errors = functions.local()(screen.architecture(), screen.assessment())};
    }
  };
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, contenders.size(), 8), describe);
  const std::vector<double> shares = membership(config, contenders, n_frontier, config.seed);
  for (std::size_t i = 0; i < n_frontier; ++i) result.frontier[i].probability = shares[i];
}

}  // namespace archfront
