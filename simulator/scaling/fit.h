#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "simulator/scaling/chinchilla.h"
#include "simulator/scaling/runs.h"

namespace archfront {

struct FitOptions {
  std::string law = "chinchilla";  ///< chinchilla, conditional_shape or mixer
  double huber_delta = 1e-3;       ///< on log loss; chinchilla only
  bool grid = false;               ///< the usual 4,500 starts instead of `starts`
  int starts = 16;
  int bootstrap = 0;  ///< replicates, runs drawn with replacement
  std::uint64_t seed = 1;
  int threads = 0;        ///< 0: all. The result does not depend on it
  std::string holdout{};  ///< runs it holds for are predicted, not fitted; "": none
  /// For the law file: what the runs' count of parameters has beyond the non-embedding ones, per cube root of those.
  double embedding_coefficient = 0;
  std::string law_name{};  ///< of the law file; "": the law's
  std::string source{};    ///< of the runs, for the law file
};

struct FittedParameter {
  std::string name;
  double value = 0;
  double standard_error = 0;  ///< of the bootstrap where there is one, else from the curvature at the optimum
  double low = 0;             ///< 95% interval
  double high = 0;
};

struct Holdout {
  std::size_t runs = 0;
  double rmse = 0;                ///< nats
  double max_relative_error = 0;  ///< of loss
};

/// One run beside the law, for plots and outliers.
struct FittedRun {
  std::size_t line = 0;
  double n_params = 0;
  double tokens = 0;
  double loss = 0;
  double predicted = 0;
  bool held_out = false;
};

struct FitResult {
  std::string law;
  std::vector<FittedParameter> parameters;
  double objective = 0;  ///< chinchilla: sum of Huber over log-loss residuals; the others: half the sum of squares
  std::size_t runs = 0;
  int starts = 0;
  int starts_at_optimum = 0;  ///< within a part in 10^6 of the best
  bool converged = false;     ///< and a second, independent solver agrees
  double seconds = 0;
  std::optional<ComputeOptimal> compute_optimal{};
  std::optional<Holdout> holdout{};
  std::vector<FittedRun> fitted{};
  std::vector<std::vector<double>> draws{};  ///< bootstrap, in the order of `parameters`
  std::vector<double> start_objectives{};    ///< where each start ended, for a histogram
  std::string law_file{};                    ///< JSON that load_law reads
};

/// Fits a law to runs. Deterministic for a seed at any number of threads. Throws InputError for a missing column, a bad
/// row (by line), a run_id that is there twice, or too few runs.
FitResult fit(const RunTable& runs, const FitOptions& options);

/// The keys of `archfront fit --format json`.
nlohmann::json to_json(const FitResult& result);

}  // namespace archfront
