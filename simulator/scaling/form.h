#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace archfront {

/// A coefficient that multiplies column^-exponent. Fitted about the runs' geometric mean of the column, which takes
/// the correlation of coefficient and exponent out.
struct PowerOf {
  std::string column;
  std::string exponent;  ///< the parameter that is the exponent
  double sign = 1;       ///< column^(-sign exponent)
};

/// One parameter of a form.
struct ParameterSpec {
  std::string name;
  double start_low = 0;  ///< starts are drawn from here, evenly in the logarithm where `positive`
  double start_high = 1;
  double low = -std::numeric_limits<double>::infinity();  ///< bounds
  double high = std::numeric_limits<double>::infinity();
  bool positive = false;  ///< fitted as its logarithm
  bool linear = false;    ///< the loss is linear in it and the other linear ones: starts solve for it exactly
  std::vector<PowerOf> power_of{};
  std::optional<double> held{};  ///< kept at this unless the user gives bounds or a range of starts
  std::string per{};             ///< one value for each value of this column, where the runs have it
};

/// One column a form reads.
struct ColumnSpec {
  std::string name;
  bool positive = true;  ///< else zero is allowed too
  double high = std::numeric_limits<double>::infinity();
  std::optional<double> absent{};  ///< what it is where the runs do not say; none: every run needs it
};

/// A law as the fitting engine sees it.
struct Form {
  std::string name;
  std::string formula;  ///< as one would print it
  std::string source;   ///< of the formula
  std::vector<ParameterSpec> parameters{};
  std::vector<ColumnSpec> columns{};
  /// Loss of one run, nats, from values in the order of `parameters` and `columns`. Where `derivatives` is not null,
  /// also by each parameter. Safe to call from many threads.
  std::function<double(const double* parameters, const double* columns, double* derivatives)> loss{};
  bool exact_derivatives = true;  ///< else by central differences
  bool any_sign = false;          ///< the loss may be negative, so that its logarithm cannot be taken

  std::optional<std::size_t> parameter(std::string_view called) const;
};

/// Names of the forms that can be fitted, in the order of the table of laws.
std::vector<std::string> form_names();
/// Throws InputError naming what there is.
Form form_named(std::string_view name);
/// A user's own: "E + A / n_params^alpha", names that are no column of `columns` being parameters (muParser's syntax;
/// derivatives by central differences). Throws InputError with the place of a mistake.
Form form_from_text(const std::string& formula, const std::vector<std::string>& columns);

}  // namespace archfront
