// The inner loop of every fit of the Chinchilla form: three exponentials, a logarithm and 21 sums a run.
// 240 runs cost about a microsecond with AVX2, so a grid of 4,500 starts of some 90 evaluations takes half a second.
#include "simulator/scaling/chinchilla_objective.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simulator/scaling/chinchilla_objective.cpp"
// The first of these includes this file again, once a target, and must stay first.
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace archfront::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The distinct sums behind a HuberSums: value, gradient, and the lower triangle of the Hessian.
constexpr std::size_t n_sums = 21;

void sum_runs(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& at, double delta,
              Curvature curvature, std::array<double, n_sums>& out) {
  const hn::ScalableTag<double> d;
  const std::size_t lanes = hn::Lanes(d);
  using Vector = hn::Vec<decltype(d)>;
  const Vector a = hn::Set(d, at[0]);
  const Vector b = hn::Set(d, at[1]);
  const Vector alpha = hn::Set(d, at[3]);
  const Vector beta = hn::Set(d, at[4]);
  const Vector floor_loss = hn::Exp(d, hn::Set(d, at[2]));
  const Vector limit = hn::Set(d, delta);
  const Vector half = hn::Set(d, 0.5);
  const bool exact = curvature == Curvature::exact;
  Vector sums[n_sums];
  for (Vector& sum : sums) sum = hn::Zero(d);
  for (std::size_t i = 0; i < runs.weight.size(); i += lanes) {
    const Vector x = hn::LoadU(d, runs.log_n.data() + i);
    const Vector y = hn::LoadU(d, runs.log_tokens.data() + i);
    const Vector w = hn::LoadU(d, weight.data() + i);
    const Vector by_size = hn::Exp(d, hn::NegMulAdd(alpha, x, a));
    const Vector by_tokens = hn::Exp(d, hn::NegMulAdd(beta, y, b));
    const Vector loss = hn::Add(hn::Add(by_size, by_tokens), floor_loss);
    const Vector residual = hn::Sub(hn::Log(d, loss), hn::LoadU(d, runs.log_loss.data() + i));
    const Vector inverse = hn::Div(hn::Set(d, 1.0), loss);
    const Vector p = hn::Mul(by_size, inverse);
    const Vector q = hn::Mul(by_tokens, inverse);
    const Vector e = hn::Mul(floor_loss, inverse);
    const Vector size = hn::Abs(residual);
    const auto inside = hn::Le(size, limit);
    const Vector slope = hn::Mul(w, hn::CopySign(hn::Min(size, limit), residual));
    const Vector value =
        hn::IfThenElse(inside, hn::Mul(half, hn::Mul(size, size)), hn::Mul(limit, hn::NegMulAdd(half, limit, size)));
    // d2 r = diag(p, q, e) - (p, q, e)(p, q, e)^T in the exponents, which carry x and y to the last two parameters.
    const Vector own = hn::IfThenElseZero(inside, w);
    const Vector outer = exact ? hn::Sub(own, slope) : own;
    const Vector j[5] = {p, q, e, hn::Neg(hn::Mul(p, x)), hn::Neg(hn::Mul(q, y))};
    sums[0] = hn::MulAdd(w, value, sums[0]);
    std::size_t next = 6;
    for (std::size_t row = 0; row < 5; ++row) {
      sums[1 + row] = hn::MulAdd(slope, j[row], sums[1 + row]);
      const Vector scaled = hn::Mul(outer, j[row]);
      for (std::size_t column = 0; column <= row; ++column, ++next)
        sums[next] = hn::MulAdd(scaled, j[column], sums[next]);
    }
    if (!exact) continue;
    const Vector slope_p = hn::Mul(slope, p);
    const Vector slope_q = hn::Mul(slope, q);
    sums[6] = hn::Add(sums[6], slope_p);
    sums[8] = hn::Add(sums[8], slope_q);
    sums[11] = hn::MulAdd(slope, e, sums[11]);
    sums[12] = hn::NegMulAdd(slope_p, x, sums[12]);
    sums[15] = hn::MulAdd(slope_p, hn::Mul(x, x), sums[15]);
    sums[17] = hn::NegMulAdd(slope_q, y, sums[17]);
    sums[20] = hn::MulAdd(slope_q, hn::Mul(y, y), sums[20]);
  }
  for (std::size_t i = 0; i < n_sums; ++i) out[i] = hn::GetLane(hn::SumOfLanes(d, sums[i]));
}

}  // namespace archfront::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>
#include <numeric>

namespace archfront {
namespace {

using SumRuns = decltype(HWY_STATIC_DISPATCH(sum_runs));

/// With the widest vectors of this machine. libhwy chooses too, but a process that loads it first waits 3.5 ms for it
/// to time the clock, which is a third of a whole fit.
SumRuns* widest_sum_runs() {
#if HWY_TARGETS & HWY_AVX3
  if (__builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return N_AVX3::sum_runs;
#endif
#if HWY_TARGETS & HWY_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    return N_AVX2::sum_runs;
#endif
#if HWY_TARGETS & HWY_SSE4
  if (__builtin_cpu_supports("sse4.2")) return N_SSE4::sum_runs;
#endif
  return HWY_STATIC_DISPATCH(sum_runs);
}

/// Vectors of up to 16 doubles come out whole.
constexpr std::size_t padding = 16;

double mean_of_logs(std::span<const double> values, std::vector<double>& logs) {
  for (std::size_t i = 0; i < values.size(); ++i) logs[i] = std::log(values[i]);
  const double mean = std::accumulate(logs.begin(), logs.end(), 0.0) / static_cast<double>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) logs[i] -= mean;
  return mean;
}

}  // namespace

LogRuns log_runs(std::span<const double> n_params, std::span<const double> tokens, std::span<const double> loss) {
  LogRuns runs;
  runs.size = loss.size();
  const std::size_t padded = (loss.size() + padding - 1) / padding * padding;
  for (std::vector<double>* column : {&runs.log_n, &runs.log_tokens, &runs.log_loss, &runs.weight})
    column->assign(padded, 0.0);
  runs.mean_log_n = mean_of_logs(n_params, runs.log_n);
  runs.mean_log_tokens = mean_of_logs(tokens, runs.log_tokens);
  for (std::size_t i = 0; i < loss.size(); ++i) runs.log_loss[i] = std::log(loss[i]);
  std::fill_n(runs.weight.begin(), loss.size(), 1.0);
  return runs;
}

void huber_sums(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& at, double delta,
                Curvature curvature, HuberSums& sums) {
  static SumRuns* const sum_runs = widest_sum_runs();
  std::array<double, 21> flat{};
  sum_runs(runs, weight, at, delta, curvature, flat);
  sums.value = flat[0];
  std::copy_n(flat.begin() + 1, 5, sums.gradient.begin());
  std::size_t next = 6;
  for (std::size_t row = 0; row < 5; ++row)
    for (std::size_t column = 0; column <= row; ++column, ++next)
      sums.hessian[row * 5 + column] = sums.hessian[column * 5 + row] = flat[next];
}

namespace {

/// One run at one point: residual and shares of the three terms in the loss.
struct RunTerms {
  double residual = 0;
  double by_size = 0;
  double by_tokens = 0;
};

RunTerms terms_of(const LogRuns& runs, std::size_t run, const ChinchillaPoint& at) {
  const double by_size = std::exp(at[0] - at[3] * runs.log_n[run]);
  const double by_tokens = std::exp(at[1] - at[4] * runs.log_tokens[run]);
  const double loss = by_size + by_tokens + std::exp(at[2]);
  return {std::log(loss) - runs.log_loss[run], by_size / loss, by_tokens / loss};
}

ChinchillaPoint jacobian(const RunTerms& terms, double x, double y) {
  return {terms.by_size, terms.by_tokens, 1 - terms.by_size - terms.by_tokens, -terms.by_size * x,
          -terms.by_tokens * y};
}

}  // namespace

ChinchillaPoint run_gradient(const LogRuns& runs, std::size_t run, const ChinchillaPoint& at, double delta) {
  const RunTerms terms = terms_of(runs, run, at);
  ChinchillaPoint gradient = jacobian(terms, runs.log_n[run], runs.log_tokens[run]);
  for (double& element : gradient) element *= std::clamp(terms.residual, -delta, delta);
  return gradient;
}

void huber_sums_reference(const LogRuns& runs, std::span<const double> weight, const ChinchillaPoint& at, double delta,
                          Curvature curvature, HuberSums& sums) {
  sums = {};
  for (std::size_t i = 0; i < runs.size; ++i) {
    const double x = runs.log_n[i];
    const double y = runs.log_tokens[i];
    const auto [r, p, q] = terms_of(runs, i, at);
    const ChinchillaPoint j = jacobian({r, p, q}, x, y);
    const bool inside = std::abs(r) <= delta;
    const double slope = std::clamp(r, -delta, delta);
    const double second = curvature == Curvature::exact ? slope : 0;
    sums.value += weight[i] * (inside ? r * r / 2 : delta * (std::abs(r) - delta / 2));
    const double own[5][5] = {{p, 0, 0, -p * x, 0},
                              {0, q, 0, 0, -q * y},
                              {0, 0, 1 - p - q, 0, 0},
                              {-p * x, 0, 0, p * x * x, 0},
                              {0, -q * y, 0, 0, q * y * y}};
    for (std::size_t row = 0; row < 5; ++row) {
      sums.gradient[row] += weight[i] * slope * j[row];
      for (std::size_t column = 0; column < 5; ++column)
        sums.hessian[row * 5 + column] +=
            weight[i] * (((inside ? 1 : 0) - second) * j[row] * j[column] + second * own[row][column]);
    }
  }
}

}  // namespace archfront
#endif  // HWY_ONCE
