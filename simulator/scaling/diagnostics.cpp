#include "simulator/scaling/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <numbers>
#include <optional>
#include <span>

namespace archfront {
namespace {

/// Of a normal distribution the standard deviation is this many median absolute deviations.
constexpr double deviations = 1.4826;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// A fitted run and what it is called.
struct Seen {
  const FittedRun* run;
  std::string name;
  double residual;  ///< ln loss - ln predicted
};

/// "name (file:line)" by line and loss, which is what a fitted run keeps of its row.
class Names {
 public:
  explicit Names(const RunTable& runs) : runs_(runs) {
    const std::optional<std::size_t> loss = find_column(runs, "loss");
    for (std::size_t row = 0; loss && row < runs.size(); ++row)
      if (const auto value = number_in(runs.cell(row, *loss))) rows_.emplace(std::pair(runs.lines[row], *value), row);
  }
  std::string of(const FittedRun& run) const {
    const auto found = rows_.find({run.line, run.loss});
    if (found == rows_.end()) return fmt::format("line {}", run.line);
    const std::filesystem::path at = place(runs_, found->second);
    return fmt::format("{} ({})", run_name(runs_, found->second), at.filename().string());
  }

 private:
  const RunTable& runs_;
  std::map<std::pair<std::size_t, double>, std::size_t> rows_;
};

std::vector<Seen> seen_runs(const RunTable& runs, const FitResult& fit) {
  const Names names(runs);
  std::vector<Seen> seen;
  for (const FittedRun& run : fit.fitted)
    if (!run.held_out && run.loss > 0 && run.predicted > 0) seen.push_back({&run, names.of(run), -run.log_residual()});
  return seen;
}

/// At most so many runs are named in a sentence.
constexpr std::size_t named = 4;

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), named); ++i) text += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > named) text += fmt::format(" and {} more", names.size() - named);
  return text;
}

struct Spread {
  double middle = 0;
  double deviation = 0;
};

Spread spread_of(const std::vector<Seen>& seen) {
  std::vector<double> values;
  values.reserve(seen.size());
  for (const Seen& one : seen) values.push_back(one.residual);
  Spread spread{.middle = median(values)};
  for (double& value : values) value = std::abs(value - spread.middle);
  spread.deviation = deviations * median(std::move(values));
  return spread;
}

/// Bits among nats lie ln(1 / ln 2) = 0.3665 above the others.
void find_bits(const std::vector<Seen>& seen, const Spread& spread, std::vector<Finding>& findings) {
  const double bits = -std::log(std::numbers::ln2);
  constexpr double widest = 0.08;
  if (spread.deviation > widest) return;
  const double tolerance = std::max(0.02, std::min(widest, 4 * spread.deviation));
  for (const double sign : {1.0, -1.0}) {
    std::vector<std::string> names;
    for (const Seen& one : seen)
      if (std::abs(one.residual - spread.middle - sign * bits) <= tolerance) names.push_back(one.name);
    if (names.empty() || 2 * names.size() > seen.size()) continue;
    findings.push_back(
        {FindingKind::units,
         fmt::format("{} {} times the loss that the law of the others gives: {}: {}?",
                     names.size() == 1 ? "a run has" : fmt::format("{} runs have", names.size()),
                     sign > 0 ? "1.44" : "0.69", list_of(names), sign > 0 ? "bits among nats" : "nats among bits"),
         names});
  }
}

void find_outliers(const std::vector<Seen>& seen, const Spread& spread, std::vector<Finding>& findings) {
  constexpr double far = 6;
  constexpr double least = 1e-4;  // of loss: below this no residual is worth a word
  std::vector<const Seen*> outliers;
  for (const Seen& one : seen)
    if (std::abs(one.residual - spread.middle) > std::max(far * spread.deviation, least)) outliers.push_back(&one);
  if (outliers.empty()) return;
  std::ranges::stable_sort(outliers,
                           [](const Seen* a, const Seen* b) { return std::abs(a->residual) > std::abs(b->residual); });
  Finding finding{FindingKind::outlier, "", {}};
  std::vector<std::string> described;
  for (const Seen* one : outliers) {
    finding.runs.push_back(one->name);
    const double percent = 100 * std::expm1(one->residual);
    described.push_back(fmt::format("{} {:.3g}% {}", one->name, std::abs(percent), percent > 0 ? "above" : "below"));
  }
  finding.text = fmt::format("{} far from the law, more than 6 times the usual {:.2g}%: {}",
                             outliers.size() == 1 ? "a run lies" : fmt::format("{} runs lie", outliers.size()),
                             100 * spread.deviation, list_of(described));
  findings.push_back(std::move(finding));
}

void find_leverage(const std::vector<Seen>& seen, std::vector<Finding>& findings) {
  double sum = 0;
  for (const Seen& one : seen) sum += one.run->leverage;
  const double high = std::max(0.5, 3 * sum / static_cast<double>(seen.size()));
  std::vector<const Seen*> heavy;
  for (const Seen& one : seen)
    if (one.run->leverage > high) heavy.push_back(&one);
  if (heavy.empty()) return;
  std::ranges::stable_sort(heavy, [](const Seen* a, const Seen* b) { return a->run->leverage > b->run->leverage; });
  Finding finding{FindingKind::leverage, "", {}};
  std::vector<std::string> described;
  for (const Seen* one : heavy) {
    finding.runs.push_back(one->name);
    described.push_back(fmt::format("{} (leverage {:.2f})", one->name, one->run->leverage));
  }
  finding.text = fmt::format("{} mostly by {}: {}: the fit goes through {} whatever the others say",
                             heavy.size() == 1 ? "a prediction is decided" : "some predictions are decided",
                             heavy.size() == 1 ? "its own run" : "their own runs", list_of(described),
                             heavy.size() == 1 ? "it" : "them");
  findings.push_back(std::move(finding));
}

/// Correlation of two parameters from the covariance; none where that is not known.
std::optional<double> correlation(const FitResult& fit, std::size_t i, std::size_t j) {
  const std::size_t n = fit.parameters.size();
  if (fit.covariance.size() != n * n) return std::nullopt;
  const double both = fit.covariance[i * n + i] * fit.covariance[j * n + j];
  if (!(both > 0)) return std::nullopt;
  return fit.covariance[i * n + j] / std::sqrt(both);
}

/// The parameters that move along with one, by name and direction: "E up with alpha up and A down".
std::string partners_of(const FitResult& fit, std::size_t i) {
  constexpr double strong = 0.9;
  std::string text;
  for (std::size_t j = 0; j < fit.parameters.size(); ++j) {
    const auto both = i == j || fit.parameters[j].fixed ? std::nullopt : correlation(fit, i, j);
    if (!both || std::abs(*both) < strong) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", fit.parameters[j].name, *both > 0 ? "up" : "down");
  }
  return text;
}

void find_unidentified(const FitResult& fit, std::vector<Finding>& findings) {
  for (std::size_t i = 0; i < fit.parameters.size(); ++i) {
    const FittedParameter& p = fit.parameters[i];
    if (p.fixed) continue;
    // Known no better than to a factor of e either way.
    const bool vague = p.value != 0 && !(std::abs(p.standard_error / p.value) < 1);
    if (p.identified && !p.at_bound && !vague) continue;
    std::string text = fmt::format("{} is not identified by these runs", p.name);
    if (p.at_bound)
      text = fmt::format("{} ran into its bound of {:.4g}", p.name, p.value);
    else if (std::isfinite(p.low) && std::isfinite(p.high))
      text += fmt::format(": anything from {:.3g} to {:.3g} fits", p.low, p.high);
    if (const std::string partners = partners_of(fit, i); !partners.empty())
      text += fmt::format(", {} up going with {}", p.name, partners);
    findings.push_back({FindingKind::not_identified, text + fmt::format("; hold it with --fix {}=..., or add runs "
                                                                        "further apart",
                                                                        p.name)});
  }
}

/// Student's t of the last coefficient of a least-squares fit of `y` on a constant, x and x' (three columns).
double last_t(std::span<const std::array<double, 3>> x, std::span<const double> y) {
  std::array<std::array<double, 4>, 3> m{};
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t r = 0; r < 3; ++r) {
      for (std::size_t c = 0; c < 3; ++c) m[r][c] += x[i][r] * x[i][c];
      m[r][3] += x[i][r] * y[i];
    }
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t below = r + 1; below < 3; ++below) {
      const double factor = m[below][r] / m[r][r];
      for (std::size_t c = r; c < 4; ++c) m[below][c] -= factor * m[r][c];
    }
  std::array<double, 3> b{};
  for (std::size_t r = 3; r-- > 0;) {
    b[r] = m[r][3];
    for (std::size_t c = r + 1; c < 3; ++c) b[r] -= m[r][c] * b[c];
    b[r] /= m[r][r];
  }
  double squares = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double left = y[i] - b[0] * x[i][0] - b[1] * x[i][1] - b[2] * x[i][2];
    squares += left * left;
  }
  // What elimination leaves on the diagonal is the part of x' that the others do not explain.
  return b[2] * std::sqrt(m[2][2] * static_cast<double>(x.size() - 3) / squares);
}

/// A family of one aspect ratio has embeddings ~ N^(1/3), which are N^(-2/3) of its parameters: where they are counted
/// the small models are worse than a power law of the large ones says.
void find_trend(const std::vector<Seen>& seen, std::vector<Finding>& findings) {
  constexpr double certain = 6;
  constexpr std::size_t fewest = 12;
  std::vector<std::array<double, 3>> x;
  std::vector<double> y;
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (const Seen& one : seen) {
    if (one.run->n_params <= 0) continue;
    least = std::min(least, one.run->n_params);
    most = std::max(most, one.run->n_params);
  }
  if (!(most > 10 * least)) return;
  for (const Seen& one : seen) {
    if (one.run->n_params <= 0) continue;
    const double n = one.run->n_params / least;
    x.push_back({1, std::log(n), std::pow(n, -2.0 / 3)});
    y.push_back(one.residual);
  }
  if (x.size() < fewest) return;
  const double t = last_t(x, y);
  if (!(std::abs(t) > certain)) return;
  findings.push_back(
      {FindingKind::trend,
       fmt::format("the smallest models are {} than the law, and not by chance: {}", t > 0 ? "worse" : "better",
                   t > 0 ? "n_params may count embeddings, or they were trained with settings of larger ones"
                         : "n_params may leave out a part that matters at small sizes, such as the head")});
}

}  // namespace

std::string_view finding_name(FindingKind kind) {
  constexpr std::string_view names[] = {"outlier", "leverage", "not_identified", "units", "trend"};
  return names[static_cast<std::size_t>(kind)];
}

std::vector<Finding> diagnose(const RunTable& runs, const FitResult& fit) {
  std::vector<Finding> findings;
  const std::vector<Seen> seen = seen_runs(runs, fit);
  if (seen.empty()) return findings;
  const Spread spread = spread_of(seen);
  find_bits(seen, spread, findings);
  find_unidentified(fit, findings);
  find_outliers(seen, spread, findings);
  find_leverage(seen, findings);
  find_trend(seen, findings);
  return findings;
}

}  // namespace archfront
