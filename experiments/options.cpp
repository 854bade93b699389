#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "costmodels/errors.h"
#include "experiments/command.h"

namespace archfront {

namespace po = boost::program_options;

namespace {

std::vector<std::string> names_of(const po::options_description& options) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back("--" + option->long_name());
  return names;
}

[[noreturn]] void unknown_option(const std::string& given, const Options& options) {
  const auto names = names_of(options.named);
  const std::vector<std::string_view> views(names.begin(), names.end());
  throw InputError(fmt::format("unknown option '{}': command line: {}", given, suggestion(given, views)));
}

}  // namespace

Format format_from(const po::variables_map& given) {
  const auto& format = given["format"].as<std::string>();
  if (format == "text") return Format::text;
  if (format == "json") return Format::json;
  if (format == "csv") return Format::csv;
  throw InputError(fmt::format("unknown format '{}': --format: use one of text, json, csv", format));
}

std::filesystem::path calibrations_folder() {
  return std::filesystem::path(ARCHFRONT_ROOT) / "costmodels/calibrations";
}
std::filesystem::path models_folder() { return std::filesystem::path(ARCHFRONT_ROOT) / "experiments/models"; }
std::filesystem::path laws_folder() { return std::filesystem::path(ARCHFRONT_ROOT) / "experiments/laws"; }

std::string machine_json_of(const std::string& name_or_path) {
  std::filesystem::path path = calibrations_folder() / name_or_path / "machine.json";
  if (!std::filesystem::exists(path)) path = std::filesystem::path(name_or_path) / "machine.json";
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

po::variables_map parse(const Options& options, std::span<const std::string> arguments, std::FILE* out) {
  const std::vector<std::string> given(arguments.begin(), arguments.end());
  for (const std::string& argument : given) {
    if (argument == "--help" || argument == "-h") {
      std::ostringstream help;
      help << "usage: " << options.usage << "\n\n" << options.named;
      write(out, help.str());
      return {};
    }
  }
  po::variables_map parsed;
  try {
    po::store(po::command_line_parser(given).options(options.named).positional(options.positional).run(), parsed);
    po::notify(parsed);
  } catch (const po::unknown_option& error) {
    unknown_option(error.get_option_name(), options);
  } catch (const po::error& error) {
    throw InputError(fmt::format("{}: command line: {}", error.what(), options.usage));
  }
  return parsed;
}

double number_from(const std::string& text, std::string_view name) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  double factor = 0;
  if (suffix.empty()) factor = 1;
  if (suffix == "k" || suffix == "K") factor = 1024;
  if (suffix == "M") factor = 1024 * 1024;
  if (error != std::errc{} || factor == 0 || !std::isfinite(value))
    throw InputError(fmt::format("'{}' is not a number: --{}: write 64, 100e9 or 64k (x 1024)", text, name));
  return value * factor;
}

std::int64_t whole_from(const std::string& text, std::string_view name) {
  const double value = number_from(text, name);
  if (value < 1 || value > 1e15 || value != std::floor(value))
    throw InputError(
        fmt::format("'{}' is not a whole number of 1 or more: --{}: write 64, 2048 or 64k (x 1024)", text, name));
  return static_cast<std::int64_t>(value);
}

Store open_store(const std::string& path) {
  if (!std::filesystem::exists(path))
    throw InputError(fmt::format("no database: {}: give --db, the file a search wrote", path));
  return Store(path, Access::read);
}

int exit_code_of(const std::function<int()>& work) {
  try {
    return work();
  } catch (const InputError& error) {
    fmt::print(stderr, "archfront: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "archfront: {}\n", error.what());
    return 1;
  }
}

void write(std::FILE* out, std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size() || std::fflush(out) != 0)
    throw std::runtime_error(fmt::format("cannot write the output: {}", std::strerror(errno)));
}

}  // namespace archfront
