#pragma once

#include <filesystem>
#include <string>

#include "results/compare.h"
#include "results/store.h"
#include "search/sweep.h"

namespace archfront {

/// What a report says of a sweep beside its inputs and its result.
struct ReportSource {
  std::string started;       ///< UTC; "": not said
  std::string machine_json;  ///< the calibration's machine.json; "": not shown
};

/// Objectives on the axes of a static picture; "": the page's own choice (loss against decode throughput where the
/// sweep has them, its first two objectives otherwise).
struct ChartAxes {
  std::string x;
  std::string y;
};

/// One self-contained HTML file that opens offline: the frontier with axes to choose, coloured by hybrid ratio,
/// tooltips with the whole architecture, reference models marked, the sample behind it, and a sortable table. Written
/// beside `path` and renamed, so no reader sees half of it. Throws InputError if `path` cannot be written.
void write_html(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result,
                const ReportSource& source = {});
/// The frontiers on one plot, coloured by sweep, who dominates whom and why, and the joint frontier as a table.
void write_html(const std::filesystem::path& path, const Comparison& comparison);
/// A fit: parameters with errors and intervals, what is odd about it, and a chart for whatever its JSON has of `fitted`
/// [{run, n_params, tokens, flops, loss, predicted, low, high, held_out}] (runs and residuals, extrapolation), `isoflop`
/// [{flops, n_params[], loss[], best}], `start_objectives`, `draws` {names, values} and `profile`. Throws InputError if
/// its JSON does not parse.
void write_html(const std::filesystem::path& path, const StoredFit& fit);

/// The same chart as a static picture: ".svg" or ".png" by the path's extension; anything else is an InputError. Runs
/// node (and rsvg-convert for PNG); throws std::runtime_error naming the Debian package if one is not there.
void write_picture(const std::filesystem::path& path, const SweepConfig& config, const SweepResult& result,
                   const ChartAxes& axes = {});
void write_picture(const std::filesystem::path& path, const Comparison& comparison, const ChartAxes& axes = {});
void write_picture(const std::filesystem::path& path, const StoredFit& fit);

/// One line a frontier point: the architecture's fields, then the objectives (SI units).
std::string to_csv(const SweepConfig& config, const SweepResult& result);
std::string to_csv(const Comparison& comparison);
/// What `search --format json` and `compare --format json` print.
std::string to_json(const SweepConfig& config, const SweepResult& result);
std::string to_json(const Comparison& comparison);

}  // namespace archfront
