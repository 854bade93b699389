#pragma once

#include <boost/program_options.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "results/store.h"

namespace archfront {

/// A subcommand: reads its arguments, calls the rooms below, prints to `out`, returns the exit code. Throws InputError.
struct Command {
  std::string_view name;
  std::string_view help;
  int (*run)(std::span<const std::string> arguments, std::FILE* out);
};

/// Replaces this process by archfront_bench.
int run_bench(std::span<const std::string> arguments, std::FILE* out);
int run_estimate(std::span<const std::string> arguments, std::FILE* out);
int run_fit(std::span<const std::string> arguments, std::FILE* out);
int run_search(std::span<const std::string> arguments, std::FILE* out);
int run_compare(std::span<const std::string> arguments, std::FILE* out);
int run_report(std::span<const std::string> arguments, std::FILE* out);
int run_export(std::span<const std::string> arguments, std::FILE* out);
int run_list(std::span<const std::string> arguments, std::FILE* out);

enum class Format { text, json, csv };
/// Throws InputError naming the choices.
Format format_from(const boost::program_options::variables_map& given);

/// Folders of what ships with the program.
std::filesystem::path calibrations_folder();
std::filesystem::path models_folder();
std::filesystem::path laws_folder();

/// The machine.json of a machine by name or folder, as it stands.
std::string machine_json_of(const std::string& name_or_path);

/// The options of one subcommand and its positional arguments.
struct Options {
  std::string usage;  ///< "archfront estimate --model NAME --machine NAME [options]"
  boost::program_options::options_description named{"options"};
  boost::program_options::positional_options_description positional;
};

/// Parses; `--help` is printed and answered with an empty map. An unknown option is an InputError naming the nearest.
boost::program_options::variables_map parse(const Options& options, std::span<const std::string> arguments,
                                            std::FILE* out);

/// Numbers as people write them: "64", "100e9", "64k", "1.5M"; a whole number where one is needed. `name` is the
/// option.
double number_from(const std::string& text, std::string_view name);
std::int64_t whole_from(const std::string& text, std::string_view name);

/// An existing database. Throws InputError if there is none.
Store open_store(const std::string& path);

/// What `work` returns. What it throws is said on stderr: an InputError is exit code 2, anything else 1.
int exit_code_of(const std::function<int()>& work);

/// Writes text whole, or throws std::runtime_error naming the reason.
void write(std::FILE* out, std::string_view text);

}  // namespace archfront
