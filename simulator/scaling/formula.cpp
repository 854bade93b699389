// A law that the user writes down.
#include <fmt/format.h>
#include <muParser.h>
#include <tbb/enumerable_thread_specific.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "costmodels/errors.h"
#include "simulator/scaling/form.h"
#include "simulator/scaling/random.h"

namespace archfront {
namespace {

/// One thread's parser and the numbers its variables stand for.
struct Evaluator {
  mu::Parser parser;
  std::vector<double> values;

  Evaluator(const std::string& text, const std::vector<std::string>& names) : values(names.size()) {
    prepare(parser);
    for (std::size_t i = 0; i < names.size(); ++i) parser.DefineVar(names[i], &values[i]);
    parser.SetExpr(text);
  }
  static void prepare(mu::Parser& parser) {
    // Natural, as in --where; muParser's own is to base 10.
    parser.DefineFun("log", [](double x) { return std::log(x); });
  }
};

class Formula {
 public:
  Formula(const std::string& text, std::vector<std::string> parameters, const std::vector<std::string>& columns)
      : n_parameters_(parameters.size()) {
    std::vector<std::string> names = std::move(parameters);
    names.insert(names.end(), columns.begin(), columns.end());
    n_columns_ = columns.size();
    // A parser is bound to its variables' places, so each thread makes its own.
    evaluators_ = std::make_shared<Evaluators>([text, names] { return std::make_unique<Evaluator>(text, names); });
  }

  double operator()(const double* parameters, const double* columns, double* derivatives) const {
    Evaluator& own = *evaluators_->local();
    std::copy_n(columns, n_columns_, own.values.begin() + static_cast<std::ptrdiff_t>(n_parameters_));
    std::copy_n(parameters, n_parameters_, own.values.begin());
    const double value = own.parser.Eval();
    if (derivatives == nullptr) return value;
    for (std::size_t k = 0; k < n_parameters_; ++k) {
      // The step at which rounding and truncation of a central difference are alike: the cube root of the precision.
      const double step = 6e-6 * std::max(std::abs(parameters[k]), 1e-6);
      own.values[k] = parameters[k] + step;
      const double above = own.parser.Eval();
      own.values[k] = parameters[k] - step;
      const double below = own.parser.Eval();
      own.values[k] = parameters[k];
      derivatives[k] = (above - below) / (2 * step);
    }
    return value;
  }

 private:
  using Evaluators = tbb::enumerable_thread_specific<std::unique_ptr<Evaluator>>;
  std::size_t n_parameters_;
  std::size_t n_columns_ = 0;
  std::shared_ptr<Evaluators> evaluators_;
};

[[noreturn]] void refuse(const std::string& formula, const mu::Parser::exception_type& error) {
  std::string message = error.GetMsg();
  while (message.ends_with('.') || message.ends_with(' ')) message.pop_back();
  throw InputError(fmt::format("{}: formula '{}', character {}: write it as E + A / n_params^alpha", message, formula,
                               error.GetPos() + 1));
}

/// Whether the second difference in directions i and k is none, wherever one looks.
bool is_bilinear_free(const Formula& formula, std::size_t size, std::size_t n_columns, std::size_t i, std::size_t k) {
  for (std::uint64_t trial = 0; trial < 6; ++trial) {
    RandomStream random(11, trial);
    const auto uniform = [&] { return static_cast<double>(random.next() >> 11) * 0x1.0p-53; };
    std::vector<double> p(size);
    std::vector<double> x(n_columns);
    for (double& value : p) value = 0.2 + uniform();
    for (double& value : x) value = 0.3 + 0.6 * uniform();
    const auto at = [&](double by_i, double by_k) {
      std::vector<double> moved = p;
      moved[i] += by_i;
      moved[k] += by_k;
      return formula(moved.data(), x.data(), nullptr);
    };
    const double corners[4] = {at(0.5, 0.5), at(0.5, 0), at(0, 0.5), at(0, 0)};
    const double scale = std::abs(corners[0]) + std::abs(corners[1]) + std::abs(corners[2]) + std::abs(corners[3]);
    const double second = corners[0] - corners[1] - corners[2] + corners[3];
    if (!(std::abs(second) <= 1e-11 * scale)) return false;
  }
  return true;
}

/// Marks a set of parameters in which the formula is linear, first ones first.
void mark_linear(const Formula& formula, Form& form) {
  std::vector<std::size_t> linear;
  for (std::size_t k = 0; k < form.parameters.size(); ++k) {
    linear.push_back(k);
    const bool all = std::all_of(linear.begin(), linear.end(), [&](std::size_t i) {
      return is_bilinear_free(formula, form.parameters.size(), form.columns.size(), i, k);
    });
    if (all)
      form.parameters[k].linear = true;
    else
      linear.pop_back();
  }
}

}  // namespace

Form form_from_text(const std::string& formula, const std::vector<std::string>& columns) {
  Form form{.name = "formula", .formula = formula, .source = "given by the user", .exact_derivatives = false};
  std::vector<std::string> parameters;
  std::vector<std::string> used;
  try {
    mu::Parser parser;
    Evaluator::prepare(parser);
    parser.SetExpr(formula);
    for (const auto& [name, place] : parser.GetUsedVar()) {
      const bool is_column = std::find(columns.begin(), columns.end(), name) != columns.end();
      (is_column ? used : parameters).push_back(name);
    }
    if (parameters.empty() || used.empty())
      throw InputError(fmt::format("no {} in it: formula '{}': the columns are {}; other names are parameters",
                                   parameters.empty() ? "parameter" : "column", formula, fmt::join(columns, ", ")));
    for (const std::string& name : used) form.columns.push_back({.name = name});
    for (const std::string& name : parameters) form.parameters.push_back({.name = name});
    const Formula law(formula, parameters, used);
    mark_linear(law, form);
    form.loss = law;
  } catch (const mu::Parser::exception_type& error) {
    refuse(formula, error);
  }
  return form;
}

}  // namespace archfront
