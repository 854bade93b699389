#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <map>

#include "search/setting.h"
#include "search/sweep.h"

namespace archfront {

namespace {

constexpr std::array<std::string_view, 7> sections = {"machine",    "workload",    "budget", "space",
                                                      "objectives", "constraints", "search"};

/// Whole numbers below 2^31, which int holds, and below 2^53, which double holds exactly.
constexpr Bounds at_least(double least) { return {.least = least, .most = 2147483647}; }
constexpr Bounds count_from(double least) { return {.least = least, .most = 9007199254740992}; }
constexpr Bounds above_0 = {.least = 0, .open = true};

constexpr std::pair<std::string_view, Engine> engines[] = {{"graph", Engine::graph}, {"eager", Engine::eager}};
constexpr std::pair<std::string_view, Kernels> kernels[] = {
    {"library", Kernels::library}, {"own", Kernels::own}, {"fastest", Kernels::fastest}};
constexpr std::pair<std::string_view, bool> recomputations[] = {{"none", false}, {"layer", true}};
constexpr std::pair<std::string_view, CheapMixer> cheap_mixers[] = {
    {"gated_delta_net", CheapMixer::gated_delta_net}, {"retnet", CheapMixer::retnet}, {"window", CheapMixer::window}};
constexpr std::pair<std::string_view, Placement> placements[] = {
    {"last", Placement::last}, {"first", Placement::first}, {"middle", Placement::middle}};
constexpr std::pair<std::string_view, Method> methods[] = {
    {"automatic", Method::automatic}, {"exhaustive", Method::exhaustive}, {"evolutionary", Method::evolutionary}};
constexpr std::pair<std::string_view, StorePolicy> policies[] = {
    {"frontier", StorePolicy::frontier}, {"sample", StorePolicy::sample}, {"all", StorePolicy::all}};
constexpr std::pair<std::string_view, Precision> precisions[] = {
    {"f32", Precision::f32}, {"bf16", Precision::bf16}, {"fp8", Precision::fp8}, {"int8", Precision::int8}};

template <typename T>
std::vector<T> choices(const Setting& setting, Choices<T> table) {
  std::vector<T> values;
  for (const std::string& word : words(setting)) values.push_back(choice(setting, word, table));
  if (values.empty())
    refuse(setting, setting.key + " has no value", fmt::format("list some, such as {}", table[0].first));
  return values;
}

/// "3:1" is 3 cheap layers to one exact; "0:1" or "all" has exact layers only, "1:0" none.
int hybrid_ratio(const Setting& setting, std::string_view word) {
  if (word == "0:1" || word == "all") return 0;
  if (word == "1:0") return all_cheap;
  double cheap = 0;
  const bool to_one = word.ends_with(":1") && parse_number(word.substr(0, word.size() - 2), cheap);
  if (!to_one || cheap < 1 || cheap > 1000 || cheap != static_cast<int>(cheap))
    refuse(setting, fmt::format("{} is not a hybrid ratio", word),
           "write cheap layers to one exact layer, such as 3:1; 0:1 for exact layers only, 1:0 for none");
  return static_cast<int>(cheap);
}

std::vector<int> hybrid_ratios(const Setting& setting) {
  std::vector<int> ratios;
  for (const std::string& word : words(setting)) ratios.push_back(hybrid_ratio(setting, word));
  if (ratios.empty()) refuse(setting, "hybrid_ratio has no value", "list some, such as 0:1 3:1 1:0");
  // Ascending in the share of cheap layers, so that neighbours in the list are neighbours in kind.
  std::ranges::sort(ratios, {}, [](int ratio) { return static_cast<unsigned>(ratio); });
  if (const auto twice = std::ranges::adjacent_find(ratios); twice != ratios.end())
    refuse(setting, "hybrid_ratio lists the same ratio twice", "list each value once");
  return ratios;
}

std::vector<std::int64_t> windows(const Setting& setting) {
  const std::vector<int> values = whole_numbers(setting, at_least(1));
  return {values.begin(), values.end()};
}

std::vector<const Objective*> optimised(const Setting& setting) {
  std::vector<const Objective*> objectives;
  for (const std::string& word : words(setting)) objectives.push_back(&objective_named(word, setting.where));
  if (objectives.empty()) refuse(setting, "optimise has no value", "name objectives, such as loss, recall");
  return objectives;
}

/// "loss <= 2.9", which the config syntax splits into the key "loss <" and the value "2.9".
Constraint constraint_from(const Setting& setting) {
  const std::string whole = setting.key + "= " + setting.value;
  const char direction = setting.key.empty() ? ' ' : setting.key.back();
  if (direction != '<' && direction != '>')
    refuse(setting, fmt::format("'{} = {}' is no bound", setting.key, setting.value),
           fmt::format("write {0} <= {1} or {0} >= {1}", setting.key, setting.value));
  std::string_view name(setting.key);
  name.remove_suffix(1);
  while (!name.empty() && (name.back() == ' ' || name.back() == '\t')) name.remove_suffix(1);
  Constraint constraint{.objective = &objective_named(name, setting.where), .upper = direction == '<'};
  std::vector<std::string> parts = words(setting);
  if (!parts.empty() && parts.back() == "reference") {
    constraint.of_reference = true;
    constraint.bound = 1;
    parts.pop_back();
    if (parts.empty()) return constraint;
  }
  if (parts.size() != 1 || !parse_number(parts[0], constraint.bound) || !(constraint.bound >= 0))
    refuse(setting, fmt::format("the bound of '{}' is not a number of at least 0", whole),
           "write objective <= 2.9, objective <= reference or objective <= 0.5 reference");
  return constraint;
}

struct Key {
  std::string_view section;
  std::string_view name;
  void (*set)(SweepConfig&, const Setting&);
  bool required = false;
};

using Config = SweepConfig;
using S = const Setting&;

constexpr Bounds fraction = {.least = 0, .most = 0.999};
constexpr Bounds tolerance = {.least = 0, .most = 10};
constexpr Bounds multiple_of(std::int64_t unit) {
  return {.least = static_cast<double>(unit), .most = 1 << 20, .multiple = unit};
}

int small(S s, const Bounds& bounds) { return static_cast<int>(whole_number(s, bounds)); }
std::uint64_t natural(S s, double least) { return static_cast<std::uint64_t>(whole_number(s, count_from(least))); }

constexpr Key keys[] = {
    {"machine", "name", [](Config& c, S s) { c.machine = s.value; }, true},
    {"machine", "kernels", [](Config& c, S s) { c.kernels = choice<Kernels>(s, s.value, kernels); }},
    {"machine", "dollars_per_hour", [](Config& c, S s) { c.dollars_per_hour = number(s, above_0); }},

    {"workload", "batch", [](Config& c, S s) { c.workload.batch = whole_number(s, at_least(1)); }},
    {"workload", "prompt_tokens", [](Config& c, S s) { c.workload.prompt_tokens = whole_number(s, at_least(1)); }},
    {"workload", "output_tokens", [](Config& c, S s) { c.workload.output_tokens = whole_number(s, at_least(1)); }},
    {"workload", "context", [](Config& c, S s) { c.workload.context = whole_number(s, at_least(1)); }},
    {"workload", "recall_context", [](Config& c, S s) { c.workload.recall_context = whole_number(s, at_least(1)); }},
    {"workload", "precision", [](Config& c, S s) { c.workload.precision = choice<Precision>(s, s.value, precisions); }},
    {"workload", "kv_precision",
     [](Config& c, S s) { c.workload.kv_precision = choice<Precision>(s, s.value, precisions); }},
    {"workload", "engine", [](Config& c, S s) { c.workload.engine = choice<Engine>(s, s.value, engines); }},
    {"workload", "training_tokens", [](Config& c, S s) { c.workload.training_tokens = number(s, above_0); }},
    {"workload", "training_batch", [](Config& c, S s) { c.workload.training_batch = whole_number(s, at_least(1)); }},
    {"workload", "training_context",
     [](Config& c, S s) { c.workload.training_context = whole_number(s, at_least(1)); }},
    {"workload", "recompute",
     [](Config& c, S s) { c.workload.recompute_layer = choice<bool>(s, s.value, recomputations); }},

    {"budget", "parameters", [](Config& c, S s) { c.budget.parameters = number(s, above_0); }},
    {"budget", "train_flops", [](Config& c, S s) { c.budget.train_flops = number(s, above_0); }},
    {"budget", "tolerance", [](Config& c, S s) { c.budget.tolerance = number(s, tolerance); }},

    {"space", "n_layers",
     [](Config& c, S s) {
       c.space.n_layers = whole_numbers(s, {1, 10'000});
     },
     true},
    {"space", "d_model", [](Config& c, S s) { c.space.d_model = whole_numbers(s, multiple_of(128)); }, true},
    {"space", "head_dim", [](Config& c, S s) { c.space.head_dim = whole_numbers(s, multiple_of(8)); }, true},
    {"space", "n_heads",
     [](Config& c, S s) {
       c.space.n_heads = whole_numbers(s, {1, 1 << 16});
     }},
    {"space", "gqa_ratio",
     [](Config& c, S s) {
       c.space.gqa_ratio = whole_numbers(s, {1, 1 << 16});
     }},
    {"space", "n_kv_heads",
     [](Config& c, S s) {
       c.space.n_kv_heads = whole_numbers(s, {1, 1 << 16});
     }},
    {"space", "mlp_to_attention", [](Config& c, S s) { c.space.mlp_to_attention = numbers(s, above_0); }, true},
    {"space", "vocab_size", [](Config& c, S s) { c.space.vocab_size = whole_numbers(s, at_least(1)); }, true},
    {"space", "hybrid_ratio", [](Config& c, S s) { c.space.hybrid_ratio = hybrid_ratios(s); }},
    {"space", "cheap_mixer", [](Config& c, S s) { c.space.cheap_mixer = choices<CheapMixer>(s, cheap_mixers); }},
    {"space", "placement", [](Config& c, S s) { c.space.placement = choices<Placement>(s, placements); }},
    {"space", "window", [](Config& c, S s) { c.space.window = windows(s); }},
    {"space", "sparsity", [](Config& c, S s) { c.space.sparsity = numbers(s, fraction); }},
    {"space", "d_ff_multiple", [](Config& c, S s) { c.space.d_ff_multiple = small(s, multiple_of(64)); }},
    {"space", "key_dim", [](Config& c, S s) { c.space.key_dim = small(s, multiple_of(8)); }},
    {"space", "value_dim", [](Config& c, S s) { c.space.value_dim = small(s, multiple_of(8)); }},
    {"space", "conv_width",
     [](Config& c, S s) {
       c.space.conv_width = small(s, {0, 64});
     }},
    {"space", "sinks",
     [](Config& c, S s) {
       c.space.sinks = small(s, {0, 1 << 16});
     }},
    {"space", "tied_embeddings", [](Config& c, S s) { c.space.tied_embeddings = yes_or_no(s); }},

    {"objectives", "optimise", [](Config& c, S s) { c.objectives = optimised(s); }, true},
    {"objectives", "references", [](Config& c, S s) { c.references = words(s); }},
    {"objectives", "law", [](Config& c, S s) { c.law = s.value; }},

    {"search", "method", [](Config& c, S s) { c.method = choice<Method>(s, s.value, methods); }},
    {"search", "exhaustive_limit", [](Config& c, S s) { c.exhaustive_limit = natural(s, 0); }},
    {"search", "seed", [](Config& c, S s) { c.seed = natural(s, 0); }},
    {"search", "population",
     [](Config& c, S s) {
       c.population = small(s, {4, 1 << 20, 2});
     }},
    {"search", "generations", [](Config& c, S s) { c.generations = small(s, at_least(1)); }},
    {"search", "archive_size", [](Config& c, S s) { c.archive_size = natural(s, 2); }},
    {"search", "store", [](Config& c, S s) { c.store = choice<StorePolicy>(s, s.value, policies); }},
    {"search", "sample_size", [](Config& c, S s) { c.sample_size = natural(s, 0); }},
};

const Key& key_of(const Setting& setting) {
  std::vector<std::string_view> names;
  for (const Key& key : keys) {
    if (key.section != setting.section) continue;
    if (key.name == setting.key) return key;
    names.push_back(key.name);
  }
  refuse(setting, fmt::format("unknown key '{}' in [{}]", setting.key, setting.section),
         suggestion(setting.key, names));
}

}  // namespace

SweepConfig sweep_from_text(const std::string& text, const std::string& where) {
  SweepConfig config;
  config.text = text;
  config.name = std::filesystem::path(where).stem().string();
  const std::vector<Setting> settings = read_settings(text, where, sections);
  std::map<std::pair<std::string, std::string>, std::string> given;
  for (const Setting& setting : settings) {
    if (setting.section == "constraints") continue;
    key_of(setting);
    const auto [before, fresh] = given.emplace(std::pair(setting.section, setting.key), setting.where);
    if (!fresh) refuse(setting, fmt::format("'{}' is set twice", setting.key), "the first is at " + before->second);
  }
  for (const Setting& setting : settings) {
    if (setting.section == "constraints") {
      config.constraints.push_back(constraint_from(setting));
      continue;
    }
    if (setting.value.empty()) refuse(setting, setting.key + " has no value", "give one or leave the line out");
    key_of(setting).set(config, setting);
  }
  for (const Key& key : keys)
    if (key.required && !given.contains({std::string(key.section), std::string(key.name)}))
      throw InputError(fmt::format("no '{}' in [{}]: {}: a sweep needs it", key.name, key.section, where));
  const bool relative = std::ranges::any_of(config.constraints, &Constraint::of_reference);
  if (relative && config.references.empty())
    throw InputError(
        fmt::format("a constraint compares with the reference and there is none: {}: add references to "
                    "[objectives], such as references = llama-3.2-1b",
                    where));
  validate(config.space, where);
  return config;
}

SweepConfig load_sweep(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file)
    throw InputError(fmt::format("cannot read the sweep file: {}: give the path of an INI file", path.string()));
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return sweep_from_text(text, path.string());
}

}  // namespace archfront
