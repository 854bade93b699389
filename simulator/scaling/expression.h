#pragma once

#include <string>
#include <vector>

#include "simulator/scaling/runs.h"

namespace archfront {

/// The rows a condition over the columns holds for, one flag a row:
///     tokens > 1e9 and (corpus == 'c4' or not deduplicated == 1) and flops / (6 * n_params) < 2e10
/// and, or, not; == != < <= > >=; + - * /; parentheses; log, exp, sqrt, abs; numbers; 'text' or "text"; column names,
/// in backquotes where they hold anything but letters, digits, '_' and '.'. A cell that is empty or no number compares
/// false with a number, except by !=. Text has order among itself. `what` names the option in errors, which carry the
/// character. Throws InputError.
std::vector<char> rows_where(const RunTable& table, const std::string& expression, const std::string& what);

/// What an expression of the same kind gives in each row; NaN where a cell it needs is no number. A condition gives 1
/// or 0. Throws InputError.
std::vector<double> values_of(const RunTable& table, const std::string& expression, const std::string& what);

}  // namespace archfront
