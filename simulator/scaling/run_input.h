#pragma once

#include <string>

#include "simulator/scaling/curves.h"
#include "simulator/scaling/runs.h"

namespace archfront {

/// How logged runs become the table a law is fitted to, in this order. Empty: left out.
struct RunInput {
  std::string path{};              ///< a file or folder, as load_runs takes it
  std::string join{};              ///< a table with one row a run, whose columns are added by run_id
  std::string columns{};           ///< as map_columns takes it
  std::string where{};             ///< rows to keep, as rows_where takes it
  Curve curve = Curve::automatic;  ///< learning curves to one row a run
  std::string best_of{};           ///< as best_rows takes it
};

/// Throws InputError of whatever is wrong, by file and line, mixed units and a run_id that is there twice included.
RunTable read_runs(const RunInput& input);

/// Adds the columns of `models` that `table` lacks, by run_id. Throws InputError naming the first run that `models`
/// has not or has twice.
void join_models(RunTable& table, const RunTable& models);

}  // namespace archfront
