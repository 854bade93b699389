// archfront export: an architecture of a stored sweep, or any other, as a Hugging Face config.json or in the native
// form.
#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "results/file.h"
#include "results/store.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options export_options() {
  Options options;
  options.usage =
      "archfront export SWEEP --point K [--db FILE] | --model NAME|PATH  [--form hugging-face|native] [--out FILE]";
  options.named.add_options()("help,h", "show this")("sweep", po::value<std::string>(),
                                                     "a stored sweep, by name or number")(
      "point", po::value<std::string>()->default_value("1"),
      "which point of its frontier, counted from 1 in the order of the report")(
      "model", po::value<std::string>(), "instead of a sweep: a shipped model or a path")(
      "db", po::value<std::string>()->default_value("results.sqlite"), "the database of sweeps")(
      "form", po::value<std::string>()->default_value("hugging-face"), "hugging-face or native")(
      "out", po::value<std::string>(), "the file to write; standard output by default");
  options.positional.add("sweep", 1);
  return options;
}

Architecture chosen(const po::variables_map& given) {
  if (given.count("model") > 0) return load_architecture(given["model"].as<std::string>(), models_folder());
  if (given.count("sweep") == 0)
    throw InputError("nothing to export: command line: name a stored sweep, or give --model");
  Store store = open_store(given["db"].as<std::string>());
  const StoredSweep sweep = store.find_sweep(given["sweep"].as<std::string>());
  const SweepResult result = store.load_result(sweep);
  const auto point = static_cast<std::size_t>(whole_from(given["point"].as<std::string>(), "point"));
  if (point > result.frontier.size())
    throw InputError(fmt::format("no point {} on the frontier of '{}': --point: 1 to {}", point, sweep.name,
                                 result.frontier.size()));
  return result.frontier[point - 1].architecture;
}

nlohmann::json in_form(const Architecture& architecture, const std::string& form) {
  if (form == "hugging-face") return to_hugging_face(architecture);
  if (form == "native") return to_json(architecture);
  throw InputError(fmt::format("unknown form '{}': --form: use one of hugging-face, native", form));
}

}  // namespace

int run_export(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(export_options(), arguments, out);
  if (given.empty()) return 0;
  const std::string text = in_form(chosen(given), given["form"].as<std::string>()).dump(2) + "\n";
  if (given.count("out") == 0) {
    write(out, text);
    return 0;
  }
  replace_file(given["out"].as<std::string>(), text);
  return 0;
}

}  // namespace archfront
