#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "simulator/scaling/chinchilla.h"
#include "simulator/scaling/runs.h"

namespace archfront {

/// What the fit makes small, summed over runs with their weights.
enum class FitObjective : std::uint8_t {
  huber_log_loss,   ///< huber(ln predicted - ln loss; delta)
  squared_loss,     ///< (predicted - loss)^2 / 2
  squared_relative  ///< (predicted / loss - 1)^2 / 2
};

/// How the linear parameters are treated.
enum class Projection : std::uint8_t {
  starts,  ///< solved exactly in every start, then fitted with the rest
  whole,   ///< eliminated throughout (variable projection), robust losses by reweighting
  none     ///< started from the grid or their own ranges like the rest
};

/// What a user says of one parameter; what is left out is the form's.
struct ParameterChoice {
  std::string name;
  std::optional<double> fixed{};
  std::optional<double> low{};  ///< bounds
  std::optional<double> high{};
  std::optional<double> start_low{};
  std::optional<double> start_high{};
  bool per_group = false;  ///< one value for each value of the group column; else shared
};

struct FitOptions {
  std::string law = "chinchilla";  ///< one of form_names(), or "formula"
  std::string formula{};           ///< the user's own, for "formula"
  FitObjective objective = FitObjective::huber_log_loss;
  double huber_delta = 1e-3;  ///< on log loss; 0: chosen by cross-validation
  std::vector<ParameterChoice> parameters{};
  std::string group_column{};   ///< of the parameters that are per group
  std::string weight_column{};  ///< "": "weight" where there is one, else 1
  Projection projection = Projection::starts;
  bool grid = false;  ///< the usual 4,500 starts (chinchilla) or a full grid of the start ranges instead of `starts`
  int starts = 16;
  int bootstrap = 0;           ///< replicates, runs drawn with replacement
  std::string bootstrap_by{};  ///< all runs that share this column's value are drawn together
  std::string profile{};       ///< the parameter whose profile likelihood is wanted
  std::uint64_t seed = 1;
  int threads = 0;         ///< 0: all. The result does not depend on it
  std::string holdout{};   ///< runs it holds for are predicted, not fitted; "": none
  double extrapolate = 0;  ///< the share of runs with the most compute that an extrapolation check predicts; 0: none
  /// For the law file: what the runs' count of parameters has beyond the non-embedding ones, per cube root of those.
  double embedding_coefficient = 0;
  std::string law_name{};  ///< of the law file; "": the law's
  std::string source{};    ///< of the runs, for the law file
};

struct FittedParameter {
  std::string name;  ///< "A", or "A[mamba2]" of one group
  double value = 0;
  double standard_error = 0;  ///< of the bootstrap where there is one, else from the curvature at the optimum
  double low = 0;             ///< 95% interval
  double high = 0;
  bool fixed = false;
  bool at_bound = false;
  bool identified = true;  ///< false: the runs hardly change with it (its direction is flat at the optimum)
};

struct Holdout {
  std::size_t runs = 0;
  double rmse = 0;                ///< nats
  double max_relative_error = 0;  ///< of loss
  double relative_rmse = 0;
  double rank_correlation = 0;  ///< Spearman, predicted against measured
  double coverage = 0;          ///< share of the runs inside their 80% bands
  double least_flops = 0;       ///< the cut, for an extrapolation check
};

/// One run beside the law, for plots and outliers.
struct FittedRun {
  std::size_t line = 0;
  double n_params = 0;  ///< 0 where the law does not ask for it
  double tokens = 0;
  double loss = 0;
  double predicted = 0;
  bool held_out = false;
  double flops = 0;  ///< as logged, or 6 n_params tokens; 0 where neither is known
  double low = 0;    ///< 80% band for a single run
  double high = 0;
  double leverage = 0;  ///< of the hat matrix, 0 to 1: how much the run pulls its own prediction
  double weight = 1;
  std::string group{};

  double log_residual() const;  ///< ln predicted - ln loss
};

/// One local optimum and how many starts ended there.
struct Mode {
  double objective = 0;
  int starts = 0;
  std::vector<double> parameters{};  ///< in the order of FitResult::parameters
};

/// The objective minimised over all other parameters, at one value of the profiled one.
struct ProfilePoint {
  double value = 0;
  double objective = 0;
};
struct Profile {
  std::string parameter;
  double low = 0;  ///< 95% interval: where the likelihood ratio leaves the chi-square quantile
  double high = 0;
  std::vector<ProfilePoint> points{};
};

/// Size and tokens of least loss at one compute, with 80% intervals from the draws or the covariance.
struct Allocation {
  double flops = 0;
  double n_params = 0, n_low = 0, n_high = 0;
  double tokens = 0, tokens_low = 0, tokens_high = 0;
  double loss = 0;
  /// Loss paid, nats, for a model k times too small or too large at the same compute.
  std::vector<std::pair<double, double>> paid{};
};

/// How a law does for choosing between laws. Only laws that the runs can be fitted with have numbers.
struct LawComparison {
  std::string law;
  std::size_t parameters = 0;
  std::size_t runs = 0;
  double objective = 0;
  double residual = 0;  ///< spread of the runs about the law, of log loss
  double aicc = 0;
  double bic = 0;
  double left_out_rmse = 0;  ///< relative, each group (or fold) predicted from the others
  double extrapolation_rmse = 0;
  std::string refused{};  ///< why the law cannot be fitted to these runs; "": it was
};

struct FitResult {
  std::string law;
  std::string formula{};
  std::vector<FittedParameter> parameters;
  double objective = 0;
  double huber_delta = 0;  ///< the one used
  std::size_t runs = 0;
  int starts = 0;
  int starts_at_optimum = 0;  ///< within a part in 10^6 of the best
  bool converged = false;     ///< and a second, independent solver agrees
  bool flat = false;          ///< the optimum is a valley: a parameter can move far without the objective changing
  bool multi_modal = false;   ///< starts ended in other optima nearly as good
  double seconds = 0;
  double residual = 0;  ///< spread of single runs about the law, of log loss, one standard deviation
  double aicc = 0;
  double bic = 0;
  bool exact_derivatives = true;
  std::optional<ComputeOptimal> compute_optimal{};
  std::vector<Allocation> allocations{};  ///< across the runs' compute and ten times beyond
  std::optional<Holdout> holdout{};
  std::optional<Holdout> extrapolation{};
  std::optional<Profile> profile{};
  std::vector<FittedRun> fitted{};
  std::vector<FittedRun> extrapolated{};  ///< by the extrapolation check: smaller runs as fitted, larger as predicted
  std::vector<std::vector<double>> draws{};  ///< bootstrap, in the order of `parameters`
  std::vector<double> start_objectives{};    ///< where each start ended, for a histogram
  std::vector<Mode> modes{};                 ///< best first
  /// Covariance of the parameters' natural values, row by row, in the order of `parameters`; NaN where not identified.
  std::vector<double> covariance{};
  std::vector<std::string> warnings{};  ///< one sentence each
  std::string law_file{};               ///< JSON that load_law reads
};

/// Fits a law to runs. Deterministic for a seed at any number of threads. Throws InputError for a missing column, a bad
/// row (by line), a run_id that is there twice, or too few runs.
FitResult fit(const RunTable& runs, const FitOptions& options);

/// Every form the runs have the columns for, best AICc first, then those refused.
std::vector<LawComparison> compare_laws(const RunTable& runs, const FitOptions& options);

/// The keys of `archfront fit --format json`.
nlohmann::json to_json(const FitResult& result);

}  // namespace archfront
