#include "costmodels/microbench/cpu_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>
#include <thread>

namespace archfront::cpu {

namespace {

std::string first_line(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

double number_in(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// "32K", "1024K" or "2M" in bytes.
double size_in(std::string_view text) {
  const double unit = text.ends_with('K') ? 1024 : text.ends_with('M') ? 1024 * 1024 : 1;
  return unit * number_in(text);
}

/// Cores in a list such as "0-3,8".
int cores_in(const std::string& list) {
  int cores = 0;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t dash = part.find('-');
    const double first = number_in(part);
    const double last = dash == std::string::npos ? first : number_in(std::string_view(part).substr(dash + 1));
    cores += static_cast<int>(last - first) + 1;
  }
  return std::max(1, cores);
}

/// The fields of the first processor of /proc/cpuinfo.
std::map<std::string, std::string> processor_fields(const std::string& root) {
  std::map<std::string, std::string> fields;
  std::ifstream in(root + "/proc/cpuinfo");
  for (std::string line; std::getline(in, line) && !line.empty();) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string name = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    fields[name] = colon + 2 <= line.size() ? line.substr(colon + 2) : "";
  }
  return fields;
}

double memory_bytes(const std::string& root) {
  std::ifstream in(root + "/proc/meminfo");
  std::string name, unit;
  double kibibytes = 0;
  while (in >> name >> kibibytes >> unit) {
    if (name == "MemTotal:") return 1024 * kibibytes;
  }
  return 0;
}

std::vector<Cache> read_caches(const std::string& root, int cores) {
  std::vector<Cache> caches;
  for (int index = 0;; ++index) {
    const std::string folder = fmt::format("{}/sys/devices/system/cpu/cpu0/cache/index{}/", root, index);
    const std::string level = first_line(folder + "level");
    if (level.empty()) break;
    if (first_line(folder + "type") == "Instruction") continue;
    const int shared_by = cores_in(first_line(folder + "shared_cpu_list"));
    const int instances = std::max(1, (cores + shared_by - 1) / shared_by);
    caches.push_back({"L" + level, instances * size_in(first_line(folder + "size")), shared_by});
  }
  std::sort(caches.begin(), caches.end(), [](const Cache& a, const Cache& b) { return a.name < b.name; });
  if (caches.empty()) caches = {{"L1", cores * 32768.0, 1}, {"L2", cores * 1048576.0, 1}};
  return caches;
}

/// AMD's generations by CPUID family and model; empty for others.
std::string_view generation(const System& system) {
  const int model = system.model_number;
  if (system.family == 23) return model < 0x30 ? "zen" : "zen2";
  if (system.family == 25) {
    const bool fourth = (model >= 0x10 && model < 0x20) || (model >= 0x60 && model < 0x80) || model >= 0xa0;
    return fourth ? "zen4" : "zen3";
  }
  return system.family == 26 ? "zen5" : "";
}

}  // namespace

System read_system(const std::string& root) {
  std::map<std::string, std::string> fields = processor_fields(root);
  System system;
  system.model = fields["model name"].empty() ? "unknown processor" : fields["model name"];
  system.family = static_cast<int>(number_in(fields["cpu family"]));
  system.model_number = static_cast<int>(number_in(fields["model"]));
  system.cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  system.memory_bytes = memory_bytes(root);
  system.caches = read_caches(root, system.cores);
  return system;
}

std::string machine_name(const System& system) {
  std::string name;
  for (const char c : system.model.substr(0, system.model.find(" @"))) {
    const auto letter = static_cast<unsigned char>(c);
    if (std::isalnum(letter) != 0) {
      name += static_cast<char>(std::tolower(letter));
    } else if ((c == ' ' || c == '-') && !name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  while (name.ends_with('-')) name.pop_back();
  const bool numbered = std::any_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  if (const std::string_view zen = generation(system); !numbered && !zen.empty()) name += fmt::format("-{}", zen);
  return fmt::format("{}-{}c", name, system.cores);
}

}  // namespace archfront::cpu
