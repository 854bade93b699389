// archfront fit: fits a law to logged runs.
#include "simulator/scaling/fit.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "experiments/text.h"
#include "results/file.h"
#include "results/report.h"
#include "simulator/scaling/run_input.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options fit_options() {
  Options options;
  options.usage = "archfront fit --law chinchilla --runs FILE [options]";
  options.named.add_options()("help,h", "show this")("law", po::value<std::string>()->default_value("chinchilla"),
                                                     "chinchilla, conditional_shape or mixer")(
      "runs", po::value<std::string>(),
      "logged runs: CSV, JSONL, a Weights & Biases export, trainer_state.json, an llm.c log, or a folder of these")(
      "join", po::value<std::string>()->default_value(""), "a table whose columns are added to the runs by run_id")(
      "columns", po::value<std::string>()->default_value(""),
      "names for columns or what is computed from them: loss=val_loss,tokens=step*524288")(
      "curve", po::value<std::string>()->default_value(""),
      "of learning curves: final or smoothed loss of each run, or keep all rows")(
      "best-of", po::value<std::string>()->default_value(""),
      "keep the run of least loss for each combination of these: n_params,tokens")(
      "where", po::value<std::string>()->default_value(""),
      "keep the rows this holds for: 'tokens > 1e9 and corpus == \"c4\"'")(
      "holdout", po::value<std::string>()->default_value(""),
      "predict the rows this holds for instead of fitting them")(
      "starts", po::value<std::string>()->default_value("16"), "how many, or grid for the usual 4,500")(
      "bootstrap", po::value<int>()->default_value(0), "replicates for standard errors and intervals")(
      "seed", po::value<std::uint64_t>()->default_value(1), "of starts and bootstrap")(
      "threads", po::value<int>()->default_value(0), "0: all")("save", po::value<std::string>()->default_value(""),
                                                               "write the law as a file `estimate` and `search` take")(
      "db", po::value<std::string>()->default_value(""), "also store the fit in this database")(
      "report", po::value<std::string>()->default_value(""), "an HTML file with the fit and its residuals")(
      "format", po::value<std::string>()->default_value("text"), "text or json");
  return options;
}

RunInput runs_from(const po::variables_map& given) {
  return {.path = given["runs"].as<std::string>(),
          .join = given["join"].as<std::string>(),
          .columns = given["columns"].as<std::string>(),
          .where = given["where"].as<std::string>(),
          .curve = curve_named(given["curve"].as<std::string>()),
          .best_of = given["best-of"].as<std::string>()};
}

FitOptions options_from(const po::variables_map& given) {
  FitOptions options;
  options.law = given["law"].as<std::string>();
  options.holdout = given["holdout"].as<std::string>();
  options.bootstrap = given["bootstrap"].as<int>();
  options.seed = given["seed"].as<std::uint64_t>();
  options.threads = given["threads"].as<int>();
  options.law_name = std::filesystem::path(given["save"].as<std::string>()).stem().string();
  options.source = given["runs"].as<std::string>();
  const auto& starts = given["starts"].as<std::string>();
  options.grid = starts == "grid";
  if (!options.grid) {
    const std::int64_t n = whole_from(starts, "starts");
    if (n > 1'000'000) throw InputError(fmt::format("{} starts: --starts: give at most 1000000, or grid", n));
    options.starts = static_cast<int>(n);
  }
  if (options.bootstrap < 0 || options.threads < 0)
    throw InputError("a negative count: --bootstrap, --threads: give 0 or more");
  return options;
}

std::string to_text(const FitResult& fit, const std::string& runs) {
  TextTable table({"parameter", "value", "standard error", "95% interval"});
  for (const FittedParameter& p : fit.parameters)
    table.add({p.name, fmt::format("{:.6g}", p.value), fmt::format("{:.3g}", p.standard_error),
               fmt::format("{:.6g} to {:.6g}", p.low, p.high)});
  std::string text = fmt::format("{} fitted to {} runs of {} in {}\n\n{}\n", fit.law, fit.runs, runs,
                                 show_seconds(fit.seconds), table.text());
  text += fmt::format("objective    {:.8g}\n", fit.objective);
  text += fmt::format("starts       {} of {} reached it{}\n", fit.starts_at_optimum, fit.starts,
                      fit.converged ? ", and a second solver agrees" : "; not confirmed");
  if (fit.compute_optimal)
    text += fmt::format("optimum      N ~ C^{:.3f}, D ~ C^{:.3f}\n", fit.compute_optimal->a, fit.compute_optimal->b);
  if (fit.holdout)
    text += fmt::format("held out     {} runs: rmse {:.4f} nats, worst {:.2f}%\n", fit.holdout->runs, fit.holdout->rmse,
                        100 * fit.holdout->max_relative_error);
  return text;
}

/// What the report draws beside the parameters: every run and what the law says of it.
nlohmann::json with_runs(const FitResult& fit) {
  nlohmann::json json = to_json(fit);
  for (const FittedRun& run : fit.fitted)
    json["fitted"].push_back({{"line", run.line},
                              {"n_params", run.n_params},
                              {"tokens", run.tokens},
                              {"loss", run.loss},
                              {"predicted", run.predicted},
                              {"held_out", run.held_out}});
  return json;
}

}  // namespace

int run_fit(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(fit_options(), arguments, out);
  if (given.empty()) return 0;
  const Format format = format_from(given);
  if (format == Format::csv) throw InputError("no csv of a fit: --format: use one of text, json");
  if (given.count("runs") == 0) throw InputError("no runs: --runs: give a CSV or JSONL file of logged runs");
  const auto& path = given["runs"].as<std::string>();
  const RunTable runs = read_runs(runs_from(given));
  for (const std::string& note : runs.notes) fmt::print(stderr, "archfront: {}\n", note);
  const FitResult result = fit(runs, options_from(given));
  const StoredFit stored{.id = 0, .law = result.law, .runs = path, .made = "", .json = with_runs(result).dump()};
  if (const auto& save = given["save"].as<std::string>(); !save.empty()) replace_file(save, result.law_file + "\n");
  if (const auto& db = given["db"].as<std::string>(); !db.empty()) Store(std::filesystem::path(db)).add_fit(stored);
  if (const auto& report = given["report"].as<std::string>(); !report.empty()) write_html(report, stored);
  write(out, format == Format::json ? to_json(result).dump() + "\n" : to_text(result, path));
  return 0;
}

}  // namespace archfront
