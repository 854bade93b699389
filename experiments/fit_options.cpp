#include "experiments/fit_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "costmodels/errors.h"
#include "simulator/scaling/form.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

struct TextOption {
  const char* name;
  const char* value;
  const char* help;
};

/// All options that are text, with what they are where nothing is said.
constexpr TextOption text_options[] = {
    {"law", "chinchilla", "a law by name (`archfront list laws`), all, or a formula: 'E + A / n_params^alpha'"},
    {"join", "", "a table whose columns are added to the runs by run_id"},
    {"columns", "", "names for columns or what is computed from them: loss=val_loss,tokens=step*524288"},
    {"where", "", "keep the rows this holds for: 'tokens > 1e9 and corpus == \"c4\"'"},
    {"curve", "", "of learning curves: final or smoothed loss of each run, or keep all rows"},
    {"best-of", "", "keep the run of least loss for each combination of these columns: n_params,tokens"},
    {"objective", "huber", "huber (of log loss), squared (of loss) or relative"},
    {"delta", "1e-3", "of the Huber loss; cv: chosen by cross-validation"},
    {"weights", "", "the column of the runs' weights"},
    {"fix", "", "parameters held: E=1.8,alpha=0.34"},
    {"bounds", "", "of parameters: E=0:3,alpha=0:1"},
    {"start-at", "", "ranges the starts are drawn from: A=1:1e4"},
    {"by", "", "a column whose values have parameters of their own"},
    {"share", "", "with --by: the parameters all values have in common; the rest differ"},
    {"projection", "starts", "linear parameters are solved exactly for the starts, whole or none"},
    {"starts", "16", "how many Sobol points (sobol: 256), or grid for the usual 4,500"},
    {"bootstrap-by", "", "draw the runs that share a value of this column together; of kept curves run_id"},
    {"profile", "", "a parameter whose profile likelihood is wanted"},
    {"holdout", "", "predict the rows this holds for instead of fitting them"},
    {"predict", "", "a file of sizes, or n_params=1e9,tokens=2e10"},
    {"out", "", "write the law as a file `estimate` and `search` take by --law"},
    {"db", "", "also store the fit in this database"},
    {"report", "", "an HTML file (or .svg, .png) with the fit, its residuals and its checks"},
    {"format", "text", "text, json or csv"},
};

/// "E=1.8,alpha=0.34" as names and what is said of them.
std::vector<std::pair<std::string, std::string>> entries_of(const po::variables_map& given, const char* option,
                                                            const char* right) {
  std::vector<std::pair<std::string, std::string>> entries;
  const std::string& text = given[option].as<std::string>();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string entry = text.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0)
      throw InputError(fmt::format("'{}' says nothing of a parameter: --{}: write {}", entry, option, right));
    entries.emplace_back(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return entries;
}

ParameterChoice& choice_named(FitOptions& options, const std::string& name) {
  for (ParameterChoice& choice : options.parameters)
    if (choice.name == name) return choice;
  return options.parameters.emplace_back(ParameterChoice{.name = name});
}

std::pair<double, double> range_from(const std::string& text, const char* option) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos)
    throw InputError(fmt::format("'{}' is no range: --{}: write low:high, as in 0:3", text, option));
  return {number_from(text.substr(0, colon), option), number_from(text.substr(colon + 1), option)};
}

FitObjective objective_from(const std::string& name) {
  constexpr std::pair<std::string_view, FitObjective> objectives[] = {{"huber", FitObjective::huber_log_loss},
                                                                      {"squared", FitObjective::squared_loss},
                                                                      {"relative", FitObjective::squared_relative}};
  for (const auto& [known, objective] : objectives)
    if (known == name) return objective;
  throw InputError(fmt::format("unknown objective '{}': --objective: use one of huber, squared, relative", name));
}

Projection projection_from(const std::string& name) {
  constexpr std::pair<std::string_view, Projection> projections[] = {
      {"starts", Projection::starts}, {"whole", Projection::whole}, {"none", Projection::none}};
  for (const auto& [known, projection] : projections)
    if (known == name) return projection;
  throw InputError(fmt::format("unknown projection '{}': --projection: use one of starts, whole, none", name));
}

void take_starts(const std::string& starts, FitOptions& options) {
  constexpr int sobol_starts = 256;
  options.grid = starts == "grid";
  if (starts == "sobol") options.starts = sobol_starts;
  if (options.grid || starts == "sobol") return;
  const std::int64_t n = whole_from(starts, "starts");
  if (n > 1'000'000) throw InputError(fmt::format("{} starts: --starts: give at most 1000000, sobol or grid", n));
  options.starts = static_cast<int>(n);
}

std::vector<std::string> formula_columns(const RunTable& runs) {
  std::vector<std::string> names = runs.columns;
  for (const auto& [name, column] : runs.map) names.push_back(name);
  return names;
}

std::vector<std::string> parameter_names(const FitOptions& options, const RunTable& runs) {
  const Form form =
      options.law == "formula" ? form_from_text(options.formula, formula_columns(runs)) : form_named(options.law);
  std::vector<std::string> names;
  for (const ParameterSpec& parameter : form.parameters) names.push_back(parameter.name);
  return names;
}

void take_groups(const po::variables_map& given, const RunTable& runs, FitOptions& options) {
  options.group_column = given["by"].as<std::string>();
  const std::string& share = given["share"].as<std::string>();
  if (options.group_column.empty()) {
    if (!share.empty())
      throw InputError("parameters are shared between no groups: --share: name the groups' column with --by");
    return;
  }
  const std::vector<std::string> names = parameter_names(options, runs);
  std::vector<std::string> shared;
  for (std::size_t begin = 0; begin < share.size();) {
    const std::size_t end = std::min(share.find(',', begin), share.size());
    shared.push_back(share.substr(begin, end - begin));
    begin = end + 1;
    if (std::find(names.begin(), names.end(), shared.back()) == names.end())
      throw InputError(fmt::format("'{}' is no parameter of {}: --share: its parameters are {}", shared.back(),
                                   options.law, fmt::join(names, ", ")));
  }
  for (const std::string& name : names)
    if (std::find(shared.begin(), shared.end(), name) == shared.end()) choice_named(options, name).per_group = true;
}

bool is_formula(const std::string& law) { return law.find_first_of("+-*/^() ") != std::string::npos; }

}  // namespace

Options fit_options() {
  Options options;
  options.usage = "archfront fit --law NAME|all|FORMULA --runs FILE|FOLDER [options]";
  auto add = options.named.add_options();
  add("help,h", "show this")("runs", po::value<std::string>(),
                             "logged runs: CSV, JSONL, a Weights & Biases export, trainer_state.json, a training log, "
                             "or a folder of these");
  for (const TextOption& option : text_options)
    add(option.name, po::value<std::string>()->default_value(option.value), option.help);
  add("bootstrap", po::value<int>()->default_value(0), "replicates for standard errors and intervals")(
      "extrapolate", po::value<double>()->default_value(0),
      "the share of runs with the most compute that a fit to the rest is to predict: 0.2")(
      "embedding-coefficient", po::value<double>()->default_value(0),
      "for --out: n_params of the runs is N + this N^(1/3), N the non-embedding count")(
      "seed", po::value<std::uint64_t>()->default_value(1), "of starts and bootstrap")(
      "threads", po::value<int>()->default_value(0), "0: all");
  return options;
}

RunInput run_input_from(const po::variables_map& given) {
  if (given.count("runs") == 0)
    throw InputError("no runs: --runs: give a file of logged runs, or a folder of training logs");
  return {.path = given["runs"].as<std::string>(),
          .join = given["join"].as<std::string>(),
          .columns = given["columns"].as<std::string>(),
          .where = given["where"].as<std::string>(),
          .curve = curve_named(given["curve"].as<std::string>()),
          .best_of = given["best-of"].as<std::string>()};
}

FitOptions fit_options_from(const po::variables_map& given, const RunTable& runs) {
  const auto text = [&](const char* name) { return given[name].as<std::string>(); };
  FitOptions options;
  options.law = text("law");
  if (is_formula(options.law)) {
    options.formula = options.law;
    options.law = "formula";
  }
  options.objective = objective_from(text("objective"));
  options.huber_delta = text("delta") == "cv" ? 0 : number_from(text("delta"), "delta");
  options.weight_column = text("weights");
  options.projection = projection_from(text("projection"));
  for (const auto& [name, value] : entries_of(given, "fix", "E=1.8,alpha=0.34"))
    choice_named(options, name).fixed = number_from(value, "fix");
  for (const auto& [name, value] : entries_of(given, "bounds", "E=0:3,alpha=0:1"))
    std::tie(choice_named(options, name).low, choice_named(options, name).high) = range_from(value, "bounds");
  for (const auto& [name, value] : entries_of(given, "start-at", "A=1:1e4"))
    std::tie(choice_named(options, name).start_low, choice_named(options, name).start_high) =
        range_from(value, "start-at");
  take_groups(given, runs, options);
  take_starts(text("starts"), options);
  options.bootstrap = given["bootstrap"].as<int>();
  options.bootstrap_by = text("bootstrap-by");
  if (options.bootstrap_by.empty() && runs.curves) options.bootstrap_by = "run_id";
  options.profile = text("profile");
  options.holdout = text("holdout");
  options.extrapolate = given["extrapolate"].as<double>();
  options.embedding_coefficient = given["embedding-coefficient"].as<double>();
  options.seed = given["seed"].as<std::uint64_t>();
  options.threads = given["threads"].as<int>();
  options.law_name = std::filesystem::path(text("out")).stem().string();
  options.source = given["runs"].as<std::string>();
  if (options.bootstrap < 0 || options.threads < 0)
    throw InputError("a negative count: --bootstrap, --threads: give 0 or more");
  return options;
}

}  // namespace archfront
