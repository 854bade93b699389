// What a user asks of a form, turned into the unknowns of a fit.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "costmodels/errors.h"
#include "simulator/scaling/columns.h"
#include "simulator/scaling/problem.h"

namespace archfront {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

const ParameterChoice* choice_of(const FitOptions& options, const std::string& name) {
  const auto found = std::find_if(options.parameters.begin(), options.parameters.end(),
                                  [&](const ParameterChoice& choice) { return choice.name == name; });
  return found == options.parameters.end() ? nullptr : &*found;
}

std::string names_of(const Form& form) {
  std::vector<std::string> names;
  for (const ParameterSpec& parameter : form.parameters) names.push_back(parameter.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

/// The form's parameters with what the user says of them put in.
void apply_choices(Form& form, const FitOptions& options) {
  for (const ParameterChoice& choice : options.parameters) {
    const std::optional<std::size_t> index = form.parameter(choice.name);
    if (!index)
      throw InputError(fmt::format("'{}' is no parameter of {}: fit options: its parameters are {}", choice.name,
                                   form.name, names_of(form)));
    ParameterSpec& spec = form.parameters[*index];
    // A bound of zero is how a user says that a parameter of a formula is positive.
    if (!form.exact_derivatives && choice.low && *choice.low >= 0 && choice.start_low.value_or(0) > 0)
      spec.positive = true;
    spec.low = choice.low.value_or(spec.low);
    spec.high = choice.high.value_or(spec.high);
    spec.start_low = choice.start_low.value_or(std::max(spec.start_low, spec.low));
    spec.start_high = choice.start_high.value_or(std::min(spec.start_high, spec.high));
    if (choice.low || choice.high || choice.start_low || choice.start_high) spec.held.reset();
    if (choice.fixed) spec.held = choice.fixed;
    if (choice.fixed) spec.start_low = spec.start_high = *choice.fixed;
    if (!(spec.low < spec.high))
      throw InputError(fmt::format("bounds of {} are {} to {}: fit options: give a lower bound below the upper one",
                                   spec.name, spec.low, spec.high));
    if (spec.start_high < spec.start_low)
      spec.start_low = spec.start_high = std::clamp(spec.start_low, spec.low, spec.high);
    if (spec.positive && !(spec.start_low > 0))
      throw InputError(
          fmt::format("{} starts at {}: fit options: it is positive in {}", spec.name, spec.start_low, form.formula));
    if (choice.per_group && options.group_column.empty())
      throw InputError(
          fmt::format("{} is to differ between groups: fit options: name the column that tells the groups", spec.name));
  }
}

double coordinate(const ParameterSpec& spec, double value) {
  if (!spec.positive) return value;
  return value > 0 ? std::log(value) : -infinity;
}

Unknown unknown_of(const ParameterSpec& spec, std::size_t parameter, bool fixed, const std::string& group) {
  Unknown unknown{.parameter = parameter, .name = group.empty() ? spec.name : spec.name + "[" + group + "]"};
  unknown.fixed = fixed;
  unknown.start_low = coordinate(spec, spec.held.value_or(spec.start_low));
  unknown.start_high = coordinate(spec, spec.held.value_or(spec.start_high));
  unknown.low = coordinate(spec, spec.low);
  unknown.high = coordinate(spec, spec.high);
  const double width = unknown.start_high - unknown.start_low;
  unknown.longest_step = spec.linear && spec.positive ? 6 : spec.linear ? infinity : std::max(width / 2, 1e-3);
  return unknown;
}

void add_unknowns(FitProblem& problem, const FitOptions& options, const std::string& group_column) {
  const std::size_t groups = problem.group_names.size();
  problem.slots.assign(groups * problem.form.parameters.size(), 0);
  for (std::size_t k = 0; k < problem.form.parameters.size(); ++k) {
    const ParameterSpec& spec = problem.form.parameters[k];
    const ParameterChoice* choice = choice_of(options, spec.name);
    const bool fixed = spec.held.has_value();
    const bool by_form = !spec.per.empty() && spec.per == group_column;
    const bool each = ((choice != nullptr && choice->per_group) || by_form) && !fixed;
    for (std::size_t group = 0; group < groups; ++group) {
      if (group == 0 || each)
        problem.unknowns.push_back(unknown_of(spec, k, fixed, each ? problem.group_names[group] : ""));
      problem.slots[group * problem.form.parameters.size() + k] = problem.unknowns.size() - 1;
    }
  }
}

double mean_log(const FitProblem& problem, std::size_t column) {
  double sum = 0;
  double weights = 0;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    sum += problem.weight[run] * std::log(problem.columns[run * problem.n_columns + column]);
    weights += problem.weight[run];
  }
  return sum / weights;
}

/// Coefficients are centred unless they are held, bounded, or shared between groups of different exponents.
void add_shifts(FitProblem& problem) {
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j) {
    Unknown& unknown = problem.unknowns[j];
    const ParameterSpec& spec = problem.form.parameters[unknown.parameter];
    if (unknown.fixed || !spec.positive || std::isfinite(unknown.low) || std::isfinite(unknown.high)) continue;
    std::vector<Shift> shifts;
    bool can_be = true;
    for (const PowerOf& power : spec.power_of) {
      const auto column = std::find_if(problem.form.columns.begin(), problem.form.columns.end(),
                                       [&](const ColumnSpec& c) { return c.name == power.column; });
      const std::size_t exponent = *problem.form.parameter(power.exponent);
      std::optional<std::size_t> slot;
      for (std::size_t group = 0; group < problem.group_names.size(); ++group) {
        if (problem.slot(group, unknown.parameter) != j) continue;
        can_be = can_be && (!slot || *slot == problem.slot(group, exponent));
        slot = problem.slot(group, exponent);
      }
      const double mean = mean_log(problem, static_cast<std::size_t>(column - problem.form.columns.begin()));
      shifts.push_back({j, *slot, power.sign * mean});
    }
    if (can_be) problem.shifts.insert(problem.shifts.end(), shifts.begin(), shifts.end());
  }
}

void check_shares(const FitProblem& problem, const RunTable& runs) {
  const auto place_of = [&](std::string_view name) {
    return static_cast<std::size_t>(std::find_if(problem.form.columns.begin(), problem.form.columns.end(),
                                                 [&](const ColumnSpec& c) { return c.name == name; }) -
                                    problem.form.columns.begin());
  };
  const std::size_t attention = place_of("attention_fraction");
  const std::size_t windowed = place_of("windowed_fraction");
  if (attention == problem.n_columns || windowed == problem.n_columns) return;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    const double* row = problem.columns.data() + run * problem.n_columns;
    if (row[attention] + row[windowed] > 1 + 1e-9)
      throw InputError(
          fmt::format("attention_fraction + windowed_fraction is {}: {}: shares of layers add up to at most 1",
                      row[attention] + row[windowed], place(runs, run)));
  }
}

void read_runs(FitProblem& problem, const RunTable& runs, const FitOptions& options) {
  problem.n_columns = problem.form.columns.size();
  problem.columns.assign(runs.size() * problem.n_columns, 0);
  for (std::size_t k = 0; k < problem.n_columns; ++k) {
    const std::vector<double> values = column_of_form(runs, problem.form.columns[k]);
    for (std::size_t run = 0; run < runs.size(); ++run) problem.columns[run * problem.n_columns + k] = values[run];
  }
  problem.loss =
      problem.objective == FitObjective::squared_loss ? finite_column(runs, "loss") : positive_column(runs, "loss");
  const std::string weight = options.weight_column.empty() ? "weight" : options.weight_column;
  problem.weight = options.weight_column.empty() && !find_column(runs, weight)
                       ? std::vector<double>(runs.size(), 1.0)
                       : column_of_form(runs, {.name = weight, .positive = false, .absent = 1.0});
  check_shares(problem, runs);
}

/// The column that tells the groups: the user's, or the one a parameter of the form asks for; "": one group.
std::string group_column(const Form& form, const RunTable& runs, const FitOptions& options) {
  if (!options.group_column.empty()) return options.group_column;
  for (const ParameterSpec& spec : form.parameters)
    if (!spec.per.empty() && find_column(runs, spec.per)) return spec.per;
  return {};
}

std::string group_name(const RunTable& runs, const std::string& column, std::size_t run) {
  return column.empty() ? std::string() : std::string(runs.cell(run, column_named(runs, column)));
}

/// A parameter that no run depends on (what windows cost, where there are none) is held in the middle of its starts.
void hold_unseen(FitProblem& problem) {
  const auto size = static_cast<Eigen::Index>(problem.unknowns.size());
  Coordinates middle(size);
  for (std::size_t j = 0; j < problem.unknowns.size(); ++j)
    middle[static_cast<Eigen::Index>(j)] = (problem.unknowns[j].start_low + problem.unknowns[j].start_high) / 2;
  std::vector<bool> seen(problem.unknowns.size(), false);
  Coordinates gradient;
  for (std::size_t run = 0; run < problem.size(); ++run) {
    if (problem.weight[run] == 0) continue;
    predicted_loss(problem, run, middle, &gradient);
    for (std::size_t j = 0; j < seen.size(); ++j) seen[j] = seen[j] || gradient[static_cast<Eigen::Index>(j)] != 0;
  }
  for (std::size_t j = 0; j < seen.size(); ++j) {
    if (seen[j] || problem.unknowns[j].fixed) continue;
    problem.unknowns[j].fixed = problem.unknowns[j].unseen = true;
  }
}

}  // namespace

FitProblem fit_problem(Form form, const RunTable& runs, const FitOptions& options) {
  FitProblem problem;
  // Where a loss may be negative there is no logarithm of it.
  problem.objective =
      form.any_sign && options.objective != FitObjective::squared_loss ? FitObjective::squared_loss : options.objective;
  problem.delta = problem.objective == FitObjective::huber_log_loss ? options.huber_delta : infinity;
  problem.as_given = options.parameters.empty();
  apply_choices(form, options);
  problem.form = std::move(form);
  read_runs(problem, runs, options);
  const std::string column = group_column(problem.form, runs, options);
  std::map<std::string, std::size_t> index;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const auto [found, is_new] = index.emplace(group_name(runs, column, run), index.size());
    if (is_new) problem.group_names.push_back(found->first);
    problem.group.push_back(found->second);
  }
  add_unknowns(problem, options, column);
  hold_unseen(problem);
  add_shifts(problem);
  return problem;
}

FitProblem same_problem(const FitProblem& problem, const RunTable& runs, const FitOptions& options) {
  FitProblem other = problem;
  read_runs(other, runs, options);
  other.group.clear();
  const std::string column = group_column(problem.form, runs, options);
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const std::string name = group_name(runs, column, run);
    const auto found = std::find(problem.group_names.begin(), problem.group_names.end(), name);
    const bool any = problem.unknowns.size() > problem.form.parameters.size();
    if (found == problem.group_names.end() && any)
      throw InputError(fmt::format("'{}' is a group without fitted runs: {}, column '{}': fit at least one of its runs",
                                   name, place(runs, run), column));
    other.group.push_back(
        found == problem.group_names.end() ? 0 : static_cast<std::size_t>(found - problem.group_names.begin()));
  }
  return other;
}

}  // namespace archfront
