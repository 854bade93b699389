// What archfront bench runs: measures kernels on this machine and writes a calibration folder, or checks one against
// whole decoders. A program of its own, so that no other subcommand waits for the libraries of kernels to load.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/machine.h"
#include "costmodels/microbench/bench.h"
#include "experiments/bench_check.h"
#include "experiments/command.h"
#include "experiments/progress.h"
#include "experiments/text.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options bench_options() {
  Options options;
  options.usage =
      "archfront bench --out FOLDER [--device cpu|cuda] [options]\n"
      "       archfront bench --check [--machine NAME|FOLDER] [--cases N] [--seed N] [--device cpu|cuda] [options]";
  options.named.add_options()("help,h", "show this")("device", po::value<std::string>()->default_value("cpu"),
                                                     "cpu, or cuda where the program was built with it")(
      "out", po::value<std::string>(), "the calibration folder; tables already whole in it are kept")(
      "name", po::value<std::string>()->default_value(""), "of the machine; by default made from the device's")(
      "filter", po::value<std::string>()->default_value(""), "measure only tables and ceilings whose name holds this")(
      "quick", po::bool_switch(), "small grids, few repetitions: seconds instead of minutes, larger errors")(
      "check", po::bool_switch(), "run whole random decoders on this machine and compare with what is predicted")(
      "machine", po::value<std::string>()->default_value(""),
      "the calibration to check, a name or folder; by default this CPU's")(
      "cases", po::value<std::string>()->default_value("60"), "decoders to check")(
      "seed", po::value<std::string>()->default_value("1"), "which decoders are drawn")(
      "longest", po::value<std::string>()->default_value("0.5"), "seconds that one pass of a decoder may take")(
      "operations", po::bool_switch(), "show each operation of each decoder")(
      "format", po::value<std::string>()->default_value("text"), "of the check: text, json or csv");
  return options;
}

/// Throws InputError for a device that there is not, or not in this build.
void check_device(const std::string& device) {
  if (device == "cpu") return;
  if (device != "cuda") throw InputError(fmt::format("unknown device '{}': --device: use one of cpu, cuda", device));
#if !ARCHFRONT_CUDA
  throw InputError("no CUDA in this build: --device cuda: build where nvcc is found");
#endif
}

void measure(const std::string& device, const BenchOptions& options) {
  check_device(device);
#if ARCHFRONT_CUDA
  if (device == "cuda") return bench_cuda(options);
#endif
  bench_cpu(options);
}

std::string summary(const Machine& machine) {
  TextTable table({"table", "kernel", "points", "interpolation error"});
  for (const Table& measured : machine.tables)
    table.add({measured.name, measured.kernel, fmt::format("{}", measured.seconds.size()),
               fmt::format("{:.1f}%", 100 * measured.residual)});
  const Ceilings& c = machine.ceilings;
  return fmt::format(
      "{}: {} bf16, {} f32, {} copy, {} read\n\n{}\nThe error is of predicting each point from its neighbours on the "
      "grid (68th percentile).\n",
      machine.name, show_rate(c.flops_per_second[1]), show_rate(c.flops_per_second[0]),
      show_bandwidth(c.memory_bytes_per_second), show_bandwidth(c.read_bytes_per_second), table.text());
}

Machine machine_to_check(const std::string& device, const std::string& given) {
  if (!given.empty()) return find_machine(given, calibrations_folder());
  if (device != "cpu")
    throw InputError("no calibration to check: --machine: name one, or a folder that `archfront bench` made");
  return find_machine(cpu_name(), calibrations_folder());
}

int run_check(const po::variables_map& given, std::FILE* out) {
  const Format format = format_from(given);
  CheckOptions options;
  options.device = given["device"].as<std::string>();
  check_device(options.device);
  options.cases =
      static_cast<int>(std::min<std::int64_t>(whole_from(given["cases"].as<std::string>(), "cases"), 100'000));
  options.seed = static_cast<std::uint64_t>(whole_from(given["seed"].as<std::string>(), "seed"));
  options.longest_seconds = number_from(given["longest"].as<std::string>(), "longest");
  const Machine machine = machine_to_check(options.device, given["machine"].as<std::string>());
  std::vector<CheckedCase> cases;
  {
    ProgressLine line;
    options.progress = [&line](int done, int total) { line.show(fmt::format("decoder {} of {}", done + 1, total)); };
    cases = check_predictions(machine, options);
  }
  write(out, report_check(cases, format, given["operations"].as<bool>()));
  return 0;
}

int measure_or_check(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(bench_options(), arguments, out);
  if (given.empty()) return 0;
  if (given["check"].as<bool>()) return run_check(given, out);
  if (given.count("out") == 0)
    throw InputError("no folder to write: --out: give the calibration folder, such as out/my-machine");
  ProgressLine line;
  BenchOptions options;
  options.out = given["out"].as<std::string>();
  options.name = given["name"].as<std::string>();
  options.filter = given["filter"].as<std::string>();
  options.quick = given["quick"].as<bool>();
  options.progress = [&line](const BenchProgress& p) {
    line.show(fmt::format("{}  {}/{}  {}", p.table, p.done, p.total, show_seconds(p.seconds)));
  };
  measure(given["device"].as<std::string>(), options);
  write(out, summary(load_machine(options.out)));
  return 0;
}

}  // namespace
}  // namespace archfront

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return archfront::exit_code_of([&] { return archfront::measure_or_check(arguments, stdout); });
}
