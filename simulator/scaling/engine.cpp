#include "simulator/scaling/engine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "simulator/scaling/ceres_check.h"
#include "simulator/scaling/chinchilla_solver.h"
#include "simulator/scaling/parallel.h"
#include "simulator/scaling/random.h"

namespace archfront {
namespace {

LogRuns log_runs_of(const FitProblem& problem) {
  std::vector<double> n_params;
  std::vector<double> tokens;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    n_params.push_back(problem.columns[run * problem.n_columns]);
    tokens.push_back(problem.columns[run * problem.n_columns + 1]);
  }
  return log_runs(n_params, tokens, problem.loss);
}

ChinchillaPoint point_of(const Coordinates& at) { return {at[0], at[1], at[2], at[3], at[4]}; }

Descent descent_of(const Minimum& minimum) {
  return {Eigen::Map<const Coordinates>(minimum.at.data(), 5), minimum.value, minimum.evaluations, minimum.converged};
}

std::vector<Descent> chinchilla_ends(const FitProblem& problem, const FitOptions& options) {
  const LogRuns runs = log_runs_of(problem);
  const auto starts = options.grid ? grid_starts(runs) : projected_starts(runs, options.starts);
  std::vector<Descent> ends(starts.size());
  for_each_index(starts.size(), options.threads, 64,
                 [&](std::size_t i) { ends[i] = descent_of(minimise_from(runs, starts[i], problem.delta)); });
  return ends;
}

std::vector<Descent> general_ends(const FitProblem& problem, const FitOptions& options) {
  const bool project = options.projection != Projection::none && !options.grid;
  const std::vector<Coordinates> starts = start_points(problem, options.starts, options.grid, project);
  std::vector<Descent> ends(starts.size());
  for_each_index(starts.size(), options.threads, 4, [&](std::size_t i) {
    ends[i] = descend_from(problem, problem.weight, starts[i], options.projection == Projection::whole);
  });
  return ends;
}

}  // namespace

bool is_plain_chinchilla(const FitProblem& problem) {
  return problem.form.name == "chinchilla" && problem.objective == FitObjective::huber_log_loss && problem.as_given &&
         std::all_of(problem.weight.begin(), problem.weight.end(), [](double weight) { return weight == 1; });
}

Solution solve(const FitProblem& problem, const FitOptions& options) {
  const bool plain = is_plain_chinchilla(problem) && options.projection == Projection::starts;
  Solution solution{.best = {}, .ends = plain ? chinchilla_ends(problem, options) : general_ends(problem, options)};
  const auto least = [&] {
    return *std::min_element(solution.ends.begin(), solution.ends.end(),
                             [](const Descent& a, const Descent& b) { return a.value < b.value; });
  };
  solution.best = least();
  // The vectorised solver knows no bounds.
  if (plain && !(solution.best.at[3] >= 0 && solution.best.at[4] >= 0)) {
    solution.ends = general_ends(problem, options);
    solution.best = least();
  }
  if (!std::isfinite(solution.best.value)) return solution;
  const Descent checked = polish_with_ceres(problem, solution.best.at);
  solution.confirmed = solution.best.converged && checked.converged &&
                       std::abs(checked.value - solution.best.value) <= 1e-6 * solution.best.value + 1e-18;
  if (checked.value < solution.best.value) {
    solution.best.at = checked.at;
    solution.best.value = checked.value;
  }
  return solution;
}

Descent resolve(const FitProblem& problem, std::span<const double> weight, const Coordinates& near) {
  return refine_from(problem, weight, near);
}

double cross_validated_delta(const FitProblem& problem, const FitOptions& options) {
  constexpr double ladder[] = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, std::numeric_limits<double>::infinity()};
  constexpr std::size_t n_folds = 5;
  std::vector<std::size_t> fold(problem.size());
  RandomStream random(options.seed, 0);
  for (std::size_t& of : fold) of = random.below(n_folds);
  double best = ladder[0];
  double least = std::numeric_limits<double>::infinity();
  for (const double delta : ladder) {
    FitProblem trial = problem;
    trial.delta = delta;
    const Coordinates near = solve(trial, options).best.at;
    double sum = 0;
    for (std::size_t left = 0; left < n_folds; ++left) {
      std::vector<double> weight = trial.weight;
      for (std::size_t run = 0; run < weight.size(); ++run)
        if (fold[run] == left) weight[run] = 0;
      const Coordinates at = resolve(trial, weight, near).at;
      for (std::size_t run = 0; run < weight.size(); ++run)
        if (fold[run] == left) sum += trial.weight[run] * std::abs(residual_of(trial, run, at, nullptr));
    }
    if (sum < least) {
      least = sum;
      best = delta;
    }
  }
  return best;
}

std::vector<Coordinates> bootstrap_draws(const FitProblem& problem, const Coordinates& best,
                                         const std::vector<std::size_t>& unit, const FitOptions& options) {
  const std::size_t units = unit.empty() ? 0 : *std::max_element(unit.begin(), unit.end()) + 1;
  std::vector<Coordinates> draws(static_cast<std::size_t>(options.bootstrap));
  const bool plain = is_plain_chinchilla(problem);
  const LogRuns runs = plain ? log_runs_of(problem) : LogRuns();
  for_each_index(draws.size(), options.threads, 16, [&](std::size_t replicate) {
    RandomStream random(options.seed, replicate);
    std::vector<double> times(units, 0.0);
    for (std::size_t i = 0; i < units; ++i) times[random.below(units)] += 1;
    std::vector<double> weight(plain ? runs.weight.size() : problem.size(), 0.0);
    for (std::size_t run = 0; run < problem.size(); ++run) weight[run] = problem.weight[run] * times[unit[run]];
    draws[replicate] =
        plain ? descent_of(refine(runs, weight, point_of(best), problem.delta)).at : resolve(problem, weight, best).at;
  });
  return draws;
}

}  // namespace archfront
