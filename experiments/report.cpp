// archfront report: a stored sweep or fit as HTML, SVG, PNG, CSV or JSON.
#include "results/report.h"

#include <fmt/format.h>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "results/file.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options report_options() {
  Options options;
  options.usage =
      "archfront report SWEEP --out FILE.html|.svg|.png|.csv|.json [--db FILE] | --fit LAW --out FILE.html|.json";
  options.named.add_options()("help,h", "show this")("sweep", po::value<std::string>(),
                                                     "a stored sweep, by name or number")(
      "fit", po::value<std::string>(), "instead of a sweep: a stored fit, by law or number")(
      "db", po::value<std::string>()->default_value("results.sqlite"), "the database")(
      "x", po::value<std::string>()->default_value(""), "objective on the x axis of a picture")(
      "y", po::value<std::string>()->default_value(""), "objective on the y axis of a picture")(
      "out", po::value<std::string>(), "the file to write; its extension says what");
  options.positional.add("sweep", 1);
  return options;
}

void report_sweep(const std::filesystem::path& path, Store& store, const po::variables_map& given) {
  const StoredSweep sweep = store.find_sweep(given["sweep"].as<std::string>());
  const SweepConfig config = sweep_from_text(sweep.config_text, sweep.name);
  const SweepResult result = store.load_result(sweep);
  const std::string extension = path.extension().string();
  if (extension == ".html") {
    const std::string machine_json = machine_json_of(sweep.machine);
    write_html(path, config, result, {.started = sweep.started, .machine_json = machine_json});
  } else if (extension == ".csv") {
    replace_file(path, to_csv(config, result));
  } else if (extension == ".json") {
    replace_file(path, to_json(config, result) + "\n");
  } else {
    write_picture(path, config, result, {.x = given["x"].as<std::string>(), .y = given["y"].as<std::string>()});
  }
}

void report_fit(const std::filesystem::path& path, Store& store, const std::string& name) {
  const StoredFit fit = store.find_fit(name);
  if (path.extension() == ".json") return replace_file(path, fit.json + "\n");
  if (path.extension() == ".html") return write_html(path, fit);
  throw InputError(
      fmt::format("'{}' is no kind of fit report: --out: end the name in .html or .json", path.extension().string()));
}

}  // namespace

int run_report(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(report_options(), arguments, out);
  if (given.empty()) return 0;
  if (given.count("out") == 0)
    throw InputError("no file to write: --out: end its name in .html, .svg, .png, .csv or .json");
  if (given.count("sweep") == given.count("fit"))
    throw InputError("nothing to report: command line: name a stored sweep, or a fit with --fit");
  Store store = open_store(given["db"].as<std::string>());
  const std::filesystem::path path = given["out"].as<std::string>();
  if (given.count("fit") > 0)
    report_fit(path, store, given["fit"].as<std::string>());
  else
    report_sweep(path, store, given);
  write(out, fmt::format("{}\n", path.string()));
  return 0;
}

}  // namespace archfront
