#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "simulator/scaling/form.h"
#include "simulator/scaling/runs.h"

namespace archfront {

/// Every run's value of a column a form reads: as logged, or from other columns where it follows from them (tokens =
/// flops / (6 n_params), flops = 6 n_params tokens, tokens_per_parameter, d_model_over_sqrt_n, least_loss: of the runs
/// of the same size and tokens, recurrent_gating, _erasing and _learning: of the kind in `mixer`), or its value where
/// absent. Throws InputError.
std::vector<double> column_of_form(const RunTable& table, const ColumnSpec& column);

/// Whether the runs have the column or what it follows from.
bool has_column_of_form(const RunTable& table, const ColumnSpec& column);

/// Every run's value of a column that may be negative. Throws InputError naming the run.
std::vector<double> finite_column(const RunTable& table, std::string_view name);

}  // namespace archfront
