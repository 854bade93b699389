// archfront search: runs a sweep file, stores it, writes its report; resumes an interrupted one.
#include <fmt/format.h>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "experiments/progress.h"
#include "experiments/search_output.h"
#include "experiments/store_writer.h"
#include "experiments/text.h"
#include "results/report.h"
#include "search/sweep.h"
#include "simulator/scaling/law.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options search_options() {
  Options options;
  options.usage = "archfront search SWEEP.ini [--db FILE] [--report FILE.html] [options]";
  options.named.add_options()("help,h", "show this")("sweep", po::value<std::string>(), "the sweep file")(
      "db", po::value<std::string>()->default_value("results.sqlite"), "the database the sweep is stored in")(
      "report", po::value<std::string>(), "an HTML file with the frontier")(
      "threads", po::value<int>()->default_value(0), "0: all")("budget-seconds", po::value<double>()->default_value(0),
                                                               "stop after so long; --resume goes on; 0: never")(
      "resume", po::bool_switch(), "go on from the last checkpoint of the same sweep")(
      "rows", po::value<std::size_t>()->default_value(16), "rows of the frontier to print")(
      "format", po::value<std::string>()->default_value("text"), "text, json or csv");
  options.positional.add("sweep", 1);
  return options;
}

std::string progress_text(const Progress& p, double already_evaluated) {
  const double rate = p.seconds > 0 ? (static_cast<double>(p.evaluated) - already_evaluated) / p.seconds : 0;
  const double share = p.total > 0 ? static_cast<double>(p.done) / static_cast<double>(p.total) : 0;
  const double left = share > 0 ? p.seconds * (1 - share) / share : 0;
  return fmt::format("{:.0f}%  {} candidates, {}/s, {} left, {} on the frontier", 100 * share,
                     show_count(static_cast<double>(p.evaluated)), show_count(rate), show_seconds(left), p.frontier);
}

std::vector<Architecture> load_references(const SweepConfig& config) {
  std::vector<Architecture> references;
  for (const std::string& name : config.references) references.push_back(load_architecture(name, models_folder()));
  return references;
}

RunOptions run_options(const po::variables_map& given) {
  RunOptions options;
  options.threads = given["threads"].as<int>();
  options.budget_seconds = given["budget-seconds"].as<double>();
  if (options.threads < 0)
    throw InputError(fmt::format("{} threads: --threads: give 0 (all) or more", options.threads));
  if (!(options.budget_seconds >= 0))
    throw InputError(
        fmt::format("a time budget of {} seconds: --budget-seconds: give 0 (none) or more", options.budget_seconds));
  return options;
}

/// Everything a sweep needs, read before anything is stored.
struct Prepared {
  SweepConfig config;
  Machine machine;
  LossModel law;
  std::vector<Architecture> references;
  RunOptions options;
};

Prepared prepare(const po::variables_map& given) {
  Prepared prepared;
  prepared.config = load_sweep(given["sweep"].as<std::string>());
  const SweepConfig& config = prepared.config;
  prepared.machine = find_machine(config.machine, calibrations_folder());
  keep_kernels(prepared.machine, config.kernels);
  prepared.law = load_law(config.law.empty() ? "default" : config.law, laws_folder());
  prepared.references = load_references(config);
  prepared.options = run_options(given);
  return prepared;
}

/// The folder of a file that is written when all is done.
void check_folder(const std::filesystem::path& path, const char* option) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  if (!std::filesystem::is_directory(folder))
    throw InputError(fmt::format("no folder '{}': --{}: make it, or give another path", folder.string(), option));
}

/// Runs with every write of the store on its own thread.
SweepResult run_stored(const Prepared& prepared, Store& store, std::int64_t sweep) {
  RunOptions options = prepared.options;
  options.resume = store.last_checkpoint(sweep);
  const double resumed = options.resume ? static_cast<double>(options.resume->evaluated) : 0;
  ProgressLine line;
  StoreWriter writer(store, sweep);
  options.progress = [&line, resumed](const Progress& p) { line.show(progress_text(p, resumed)); };
  options.checkpoint = [&writer](const Checkpoint& checkpoint) { writer.save(checkpoint); };
  if (prepared.config.store == StorePolicy::all)
    options.evaluated = [&writer](PointSet points) { writer.add(std::move(points)); };
  SweepResult result = run_sweep(prepared.config, prepared.machine, prepared.law, prepared.references, options);
  writer.finish();
  return result;
}

SweepResult run_and_finish(const Prepared& prepared, Store& store, std::int64_t sweep) {
  try {
    SweepResult result = run_stored(prepared, store, sweep);
    store.finish_sweep(sweep, prepared.config, result);
    return result;
  } catch (const InputError&) {
    // no candidate is feasible, or nothing was done yet: there is nothing to go on with
    if (!store.last_checkpoint(sweep)) store.drop_sweep(sweep);
    throw;
  }
}

}  // namespace

int run_search(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(search_options(), arguments, out);
  if (given.empty()) return 0;
  if (given.count("sweep") == 0) throw InputError("no sweep file: command line: archfront search SWEEP.ini");
  const Format format = format_from(given);
  const Prepared prepared = prepare(given);
  const SweepConfig& config = prepared.config;
  const std::filesystem::path db = given["db"].as<std::string>();
  check_folder(db, "db");
  if (given.count("report") > 0) check_folder(given["report"].as<std::string>(), "report");
  Store store(db);
  store.add_calibration(prepared.machine.name, machine_json_of(config.machine));
  const std::int64_t sweep = store.begin_sweep(config, given["resume"].as<bool>());
  const SweepResult result = run_and_finish(prepared, store, sweep);
  std::string report;
  if (given.count("report") > 0) {
    report = given["report"].as<std::string>();
    write_html(
        report, config, result,
        {.started = store.find_sweep(std::to_string(sweep)).started, .machine_json = machine_json_of(config.machine)});
  }
  switch (format) {
    case Format::text:
      write(out, to_text(config, result, given["rows"].as<std::size_t>(), db.string(), report));
      break;
    case Format::json:
      write(out, to_json(config, result) + "\n");
      break;
    case Format::csv:
      write(out, to_csv(config, result));
      break;
  }
  return 0;
}

}  // namespace archfront
