// archfront list: what there is to choose from.
#include <fmt/format.h>

#include <algorithm>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "experiments/text.h"
#include "results/store.h"
#include "search/objectives.h"
#include "simulator/footprint.h"
#include "simulator/scaling/law.h"

namespace archfront {

namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

/// Stems of the json files in a folder, sorted.
std::vector<std::string> json_names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

TextTable machines() {
  TextTable table({"machine", "made", "memory", "bandwidth", "bf16", "$/hour"});
  for (const std::string& name : machine_names(calibrations_folder())) {
    const Machine m = find_machine(name, calibrations_folder());
    table.add({name, m.provenance.method, show_bytes(m.memory_bytes),
               show_bandwidth(m.ceilings.memory_bytes_per_second), show_rate(m.ceilings.flops_per_second[1]),
               fmt::format("{:.2f}", m.dollars_per_hour)});
  }
  return table;
}

TextTable models() {
  TextTable table({"model", "parameters", "active", "layers", "d_model", "vocabulary"});
  for (const std::string& name : json_names(models_folder())) {
    const Architecture a = load_architecture(name, models_folder());
    const Parameters p = parameters(a);
    table.add({name, show_count(static_cast<double>(p.total)), show_count(static_cast<double>(p.active)),
               std::to_string(n_layers(a)), std::to_string(a.d_model), std::to_string(a.vocab_size)});
  }
  return table;
}

TextTable mixers() {
  TextTable table({"mixer"});
  for (const std::string_view name : mixer_kinds) table.add({std::string(name)});
  return table;
}

TextTable laws() {
  TextTable table({"law"});
  for (const std::string& name : json_names(laws_folder())) table.add({name});
  return table;
}

TextTable objectives() {
  TextTable table({"objective", "better", "unit"});
  for (const Objective& o : all_objectives())
    table.add({std::string(o.name), o.direction == Direction::minimise ? "less" : "more", std::string(o.unit)});
  return table;
}

TextTable sweeps(const std::string& db) {
  Store store = open_store(db);
  TextTable table({"sweep", "id", "machine", "started", "complete"});
  for (const StoredSweep& s : store.sweeps())
    table.add({s.name, std::to_string(s.id), s.machine, s.started, s.complete ? "yes" : "no"});
  return table;
}

TextTable listed(const std::string& what, const std::string& db) {
  if (what == "machines") return machines();
  if (what == "models") return models();
  if (what == "mixers") return mixers();
  if (what == "laws") return laws();
  if (what == "objectives") return objectives();
  if (what == "sweeps") return sweeps(db);
  throw InputError(
      fmt::format("nothing to list called '{}': command line: use one of machines, models, mixers, laws, objectives, "
                  "sweeps",
                  what));
}

}  // namespace

int run_list(std::span<const std::string> arguments, std::FILE* out) {
  Options options;
  options.usage = "archfront list machines|models|mixers|laws|objectives|sweeps [--db FILE]";
  options.named.add_options()("help,h", "show this")("what", po::value<std::string>(),
                                                     "machines, models, mixers, laws, objectives or sweeps")(
      "db", po::value<std::string>()->default_value("results.sqlite"), "the database of sweeps")(
      "format", po::value<std::string>()->default_value("text"), "text, json or csv");
  options.positional.add("what", 1);
  const auto given = parse(options, arguments, out);
  if (given.empty()) return 0;
  const std::string what = given.count("what") > 0 ? given["what"].as<std::string>() : "";
  const Format format = format_from(given);
  const TextTable table = listed(what, given["db"].as<std::string>());
  write(out, format == Format::json ? table.json() : format == Format::csv ? table.csv() : table.text());
  return 0;
}

}  // namespace archfront
