// archfront fit: fits a law to logged runs.
#include "simulator/scaling/fit.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "experiments/fit_options.h"
#include "experiments/fit_output.h"
#include "results/file.h"
#include "results/report.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

/// With `--law all` the laws beside each other, and the fit of the best of them.
FitAnswer answer_of(const RunTable& runs, FitOptions& options) {
  FitAnswer answer{.fit = {}, .runs = runs.where, .notes = runs.notes, .findings = {}};
  if (options.law == "all") {
    answer.laws = compare_laws(runs, options);
    if (answer.laws.empty() || !answer.laws.front().refused.empty())
      throw InputError(fmt::format("no law can be fitted: {}: {}", runs.where,
                                   answer.laws.empty() ? "give more columns" : answer.laws.front().refused));
    options.law = answer.laws.front().law;
  }
  answer.fit = fit(runs, options);
  answer.findings = diagnose(runs, answer.fit);
  return answer;
}

RunTable wanted_predictions(const std::string& wanted) {
  return wanted.find('=') == std::string::npos ? load_runs(wanted) : table_of_values(wanted);
}

void write_report(const std::filesystem::path& path, const StoredFit& fit) {
  if (path.extension() == ".svg" || path.extension() == ".png") return write_picture(path, fit);
  write_html(path, fit);
}

/// Law file, database and report, whichever are asked for.
void write_files(const po::variables_map& given, const FitAnswer& answer, const RunTable& runs,
                 const FitOptions& options) {
  const auto text = [&](const char* name) { return given[name].as<std::string>(); };
  if (!text("out").empty()) replace_file(text("out"), answer.fit.law_file + "\n");
  if (text("db").empty() && text("report").empty()) return;
  const StoredFit stored{.id = 0,
                         .law = answer.fit.law,
                         .runs = answer.runs,
                         .made = "",
                         .json = report_json(answer, isoflop_curves(runs, answer.fit, options), runs)};
  if (!text("db").empty()) Store(std::filesystem::path(text("db"))).add_fit(stored);
  if (!text("report").empty()) write_report(text("report"), stored);
}

}  // namespace

int run_fit(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(fit_options(), arguments, out);
  if (given.empty()) return 0;
  const Format format = format_from(given);
  const RunTable runs = read_runs(run_input_from(given));
  FitOptions options = fit_options_from(given, runs);
  FitAnswer answer = answer_of(runs, options);
  if (const auto& wanted = given["predict"].as<std::string>(); !wanted.empty())
    answer.predictions = predict(runs, wanted_predictions(wanted), options);
  write_files(given, answer, runs, options);
  write(out, format == Format::json  ? to_json(answer).dump() + "\n"
             : format == Format::csv ? to_csv(answer)
                                     : to_text(answer));
  return 0;
}

}  // namespace archfront
