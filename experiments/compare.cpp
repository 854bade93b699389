// archfront compare: two or more stored sweeps on one plot, and who dominates whom.
#include "results/compare.h"

#include <fmt/format.h>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "experiments/text.h"
#include "results/report.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options compare_options() {
  Options options;
  options.usage = "archfront compare SWEEP_A SWEEP_B [...] [--db FILE] [--report FILE.html] [options]";
  options.named.add_options()("help,h", "show this")("sweeps", po::value<std::vector<std::string>>(),
                                                     "stored sweeps, by name or number")(
      "db", po::value<std::string>()->default_value("results.sqlite"), "the database of sweeps")(
      "report", po::value<std::string>(), "an HTML file with the frontiers on one plot")(
      "format", po::value<std::string>()->default_value("text"), "text or json");
  options.positional.add("sweeps", -1);
  return options;
}

std::string to_text(const Comparison& comparison) {
  TextTable table({"sweep", "hypervolume", "of the joint frontier"});
  for (const std::string& sweep : comparison.sweeps)
    table.add({sweep, fmt::format("{:.4f}", comparison.hypervolume.at(sweep)),
               fmt::format("{:.0f}%", 100 * comparison.attainment.at(sweep))});
  std::string text = table.text() + "\n";
  for (const Dominance& d : comparison.dominated) {
    text += fmt::format("{} of {}'s points are dominated by {}", d.points, d.of, d.by);
    for (std::size_t i = 0; i < d.why.size() && i < 3; ++i)
      text += fmt::format("{} {} ({}, {} of {})", i == 0 ? ":" : ",", d.why[i].field, d.why[i].most_common,
                          d.why[i].occurrences, d.points);
    text += "\n";
  }
  text += "\nreference point:";
  for (const auto& [objective, value] : comparison.reference_point) text += fmt::format(" {} {:.4g}", objective, value);
  return text + "\n";
}

}  // namespace

int run_compare(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(compare_options(), arguments, out);
  if (given.empty()) return 0;
  const Format format = format_from(given);
  if (format == Format::csv) throw InputError("no csv of a comparison: --format: use one of text, json");
  const auto names =
      given.count("sweeps") > 0 ? given["sweeps"].as<std::vector<std::string>>() : std::vector<std::string>{};
  if (names.size() < 2) throw InputError("fewer than two sweeps: command line: name two or more stored sweeps");
  Store store = open_store(given["db"].as<std::string>());
  std::vector<SweepConfig> configs;
  std::vector<SweepResult> results;
  for (const std::string& name : names) {
    const StoredSweep sweep = store.find_sweep(name);
    configs.push_back(sweep_from_text(sweep.config_text, sweep.name));
    results.push_back(store.load_result(sweep));
  }
  std::vector<Comparand> comparands;
  for (std::size_t i = 0; i < names.size(); ++i) comparands.push_back({&configs[i], &results[i]});
  const Comparison comparison = compare(comparands);
  if (given.count("report") > 0) write_html(given["report"].as<std::string>(), comparison);
  write(out, format == Format::json ? to_json(comparison) + "\n" : to_text(comparison));
  return 0;
}

}  // namespace archfront
