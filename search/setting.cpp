#include "search/setting.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <charconv>
#include <cmath>
#include <sstream>

namespace archfront {

namespace {

constexpr std::size_t longest_list = 100'000;

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> tokens;
  constexpr std::string_view separators = " \t,";
  for (std::size_t begin = text.find_first_not_of(separators); begin != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
    tokens.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(separators, end);
  }
  return tokens;
}

/// The line of each key, checking what the parser would refuse without a line or not at all.
std::vector<int> lines_of_keys(const std::string& text, const std::string& where,
                               std::span<const std::string_view> sections) {
  std::vector<int> lines;
  std::istringstream stream(text);
  std::string raw;
  bool in_section = false;
  for (int line = 1; std::getline(stream, raw); ++line) {
    const std::string_view content = trimmed(std::string_view(raw).substr(0, raw.find('#')));
    if (content.empty()) continue;
    if (content.front() == '[' && content.back() == ']') {
      const std::string_view section = content.substr(1, content.size() - 2);
      if (std::ranges::find(sections, section) == sections.end())
        throw InputError(
            fmt::format("unknown section [{}]: {}:{}: {}", section, where, line, suggestion(section, sections)));
      in_section = true;
      continue;
    }
    if (content.find('=') == std::string_view::npos)
      throw InputError(fmt::format("'{}' sets nothing: {}:{}: write key = value", content, where, line));
    if (!in_section)
      throw InputError(fmt::format("'{}' stands before any section: {}:{}: begin with [{}]", content, where, line,
                                   sections.front()));
    lines.push_back(line);
  }
  return lines;
}

std::string rule(const Bounds& bounds, bool whole) {
  std::string text = whole ? "a whole number" : "a number";
  if (bounds.multiple > 1) text += fmt::format(", a multiple of {}", bounds.multiple);
  if (std::isfinite(bounds.least)) text += fmt::format(" {} {}", bounds.open ? "above" : "of at least", bounds.least);
  if (std::isfinite(bounds.most))
    text += fmt::format(" {} at most {:.10g}", std::isfinite(bounds.least) ? "and" : "of", bounds.most);
  return text;
}

double checked(const Setting& setting, std::string_view text, const Bounds& bounds, bool whole) {
  double value = 0;
  if (!parse_number(text, value))
    refuse(setting, fmt::format("{} is '{}', not a number", setting.key, text), "give " + rule(bounds, whole));
  const bool low = bounds.open ? value <= bounds.least : value < bounds.least;
  const bool uneven = whole && std::fmod(value, static_cast<double>(bounds.multiple)) != 0;
  if (!std::isfinite(value) || low || value > bounds.most || uneven)
    refuse(setting, fmt::format("{} is {}", setting.key, text), "give " + rule(bounds, whole));
  return value;
}

std::vector<double> listed(const Setting& setting, const Bounds& bounds, bool whole) {
  const std::vector<std::string_view> tokens = split(setting.value);
  std::vector<double> values;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::size_t dots = tokens[i].find("..");
    if (dots == std::string_view::npos) {
      values.push_back(checked(setting, tokens[i], bounds, whole));
      continue;
    }
    const std::string_view range = tokens[i];
    const double first = checked(setting, range.substr(0, dots), bounds, whole);
    const double last = checked(setting, range.substr(dots + 2), {.most = bounds.most}, whole);
    const bool stepped = i + 2 < tokens.size() && tokens[i + 1] == "step";
    if (!stepped && !whole)
      refuse(setting, fmt::format("the range {} has no step", range), fmt::format("write {} step 0.5", range));
    const double step = stepped ? checked(setting, tokens[i + 2], {.least = 0, .open = true}, whole) : 1;
    if (stepped) i += 2;
    if (last < first) refuse(setting, fmt::format("the range {} runs backwards", range), "put the smaller end first");
    // A hair of a step keeps an end that rounding puts just beyond.
    const double count = std::floor((last - first) / step + 1e-9) + 1;
    if (count > static_cast<double>(longest_list))
      refuse(setting, fmt::format("the range {} has {:.0f} values", range, count), "choose a larger step");
    for (double k = 0; k < count; ++k)
      values.push_back(checked(setting, fmt::format("{:.12g}", first + k * step), bounds, whole));
  }
  if (values.empty()) refuse(setting, setting.key + " has no value", "give " + rule(bounds, whole));
  std::ranges::sort(values);
  if (const auto twice = std::ranges::adjacent_find(values); twice != values.end())
    refuse(setting, fmt::format("{} lists {} twice", setting.key, *twice), "list each value once");
  return values;
}

}  // namespace

std::vector<Setting> read_settings(const std::string& text, const std::string& where,
                                   std::span<const std::string_view> sections) {
  const std::vector<int> lines = lines_of_keys(text, where, sections);
  std::istringstream stream(text);
  const boost::program_options::options_description any;
  const auto parsed = boost::program_options::parse_config_file(stream, any, /*allow_unregistered=*/true);
  std::vector<Setting> settings;
  for (std::size_t i = 0; i < parsed.options.size(); ++i) {
    const std::string& name = parsed.options[i].string_key;
    const std::size_t dot = name.find('.');
    settings.push_back({.section = name.substr(0, dot),
                        .key = name.substr(dot + 1),
                        .value = parsed.options[i].value.at(0),
                        .where = fmt::format("{}:{}", where, lines.at(i))});
  }
  return settings;
}

void refuse(const Setting& setting, std::string_view what, std::string_view remedy) {
  throw InputError(fmt::format("{}: {}: {}", what, setting.where, remedy));
}

bool parse_number(std::string_view text, double& number) {
  const bool percent = !text.empty() && text.back() == '%';
  if (percent) text.remove_suffix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  if (percent) number /= 100;
  return true;
}

double number(const Setting& setting, const Bounds& bounds) { return checked(setting, setting.value, bounds, false); }

std::int64_t whole_number(const Setting& setting, const Bounds& bounds) {
  return static_cast<std::int64_t>(checked(setting, setting.value, bounds, true));
}

bool yes_or_no(const Setting& setting) {
  static constexpr std::pair<std::string_view, bool> answers[] = {
      {"yes", true}, {"no", false}, {"true", true}, {"false", false}};
  return choice<bool>(setting, setting.value, answers);
}

std::vector<double> numbers(const Setting& setting, const Bounds& bounds) { return listed(setting, bounds, false); }

std::vector<int> whole_numbers(const Setting& setting, const Bounds& bounds) {
  std::vector<int> values;
  for (const double value : listed(setting, bounds, true)) values.push_back(static_cast<int>(value));
  return values;
}

std::vector<std::string> words(const Setting& setting) {
  std::vector<std::string> list;
  for (const std::string_view token : split(setting.value)) {
    if (std::ranges::find(list, token) != list.end())
      refuse(setting, fmt::format("{} lists {} twice", setting.key, token), "list each once");
    list.emplace_back(token);
  }
  return list;
}

}  // namespace archfront
