#include <fmt/format.h>

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "costmodels/errors.h"
#include "experiments/command.h"

namespace archfront {
namespace {

constexpr std::array<Command, 8> commands{{
    {"bench", "measure kernels on this machine and write a calibration folder", run_bench},
    {"estimate", "cost one architecture on one machine: memory, time, loss, recall", run_estimate},
    {"fit", "fit a law to logged runs", run_fit},
    {"search", "run a sweep that suggests architectures, store it, write its report", run_search},
    {"compare", "hold two stored sweeps against each other", run_compare},
    {"report", "write a stored sweep as HTML, SVG, PNG, CSV or JSON", run_report},
    {"export", "write an architecture of a sweep as a Hugging Face config.json", run_export},
    {"list", "list machines, mixers, laws, models, sweeps or objectives", run_list},
}};

std::string usage() {
  std::string text = "usage: archfront SUBCOMMAND [options]\n\n";
  for (const Command& command : commands) text += fmt::format("  {:<10}{}\n", command.name, command.help);
  return text + "\narchfront SUBCOMMAND --help lists the options of one; archfront --version says which this is.\n";
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    write(stdout, usage());
    return arguments.empty() ? 2 : 0;
  }
  if (arguments[0] == "--version") {
    write(stdout, "archfront " ARCHFRONT_VERSION "\n");
    return 0;
  }
  std::vector<std::string_view> names;
  for (const Command& command : commands) {
    if (command.name == arguments[0]) return command.run(std::span(arguments).subspan(1), stdout);
    names.push_back(command.name);
  }
  throw InputError(
      fmt::format("unknown subcommand '{}': command line: {}", arguments[0], suggestion(arguments[0], names)));
}

}  // namespace
}  // namespace archfront

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return archfront::exit_code_of([&] { return archfront::run(arguments); });
}
