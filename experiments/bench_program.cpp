// What archfront bench runs: measures kernels on this machine and writes a calibration folder. A program of its own, so
// that no other subcommand waits for the libraries of kernels to load.
#include <fmt/format.h>

#include <vector>

#include "costmodels/errors.h"
#include "costmodels/machine.h"
#include "costmodels/microbench/bench.h"
#include "experiments/command.h"
#include "experiments/progress.h"
#include "experiments/text.h"

namespace archfront {

namespace {

namespace po = boost::program_options;

Options bench_options() {
  Options options;
  options.usage = "archfront bench --out FOLDER [--device cpu|cuda] [options]";
  options.named.add_options()("help,h", "show this")("device", po::value<std::string>()->default_value("cpu"),
                                                     "cpu, or cuda where the program was built with it")(
      "out", po::value<std::string>(), "the calibration folder; tables already whole in it are kept")(
      "name", po::value<std::string>()->default_value(""), "of the machine; by default made from the device's")(
      "filter", po::value<std::string>()->default_value(""), "measure only tables and ceilings whose name holds this")(
      "quick", po::bool_switch(), "small grids, few repetitions: seconds instead of minutes, larger errors");
  return options;
}

void measure(const std::string& device, const BenchOptions& options) {
  if (device == "cpu") return bench_cpu(options);
  if (device == "cuda") {
#if ARCHFRONT_CUDA
    return bench_cuda(options);
#else
    throw InputError("no CUDA in this build: --device cuda: build where nvcc is found");
#endif
  }
  throw InputError(fmt::format("unknown device '{}': --device: use one of cpu, cuda", device));
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

int measure_kernels(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(bench_options(), arguments, out);
  if (given.empty()) return 0;
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
  return archfront::exit_code_of([&] { return archfront::measure_kernels(arguments, stdout); });
}
