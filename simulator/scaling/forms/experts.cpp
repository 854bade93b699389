#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters a, b, c, d, E_start, E_max; columns N, E.
struct Routed {
  template <class T>
  T operator()(const T* p, const double* x) const {
    using std::exp;
    using std::log;
    const T first = 1.0 / p[4] - 1.0 / p[5];
    const T experts = 1.0 / (1.0 / (x[1] - 1.0 + 1.0 / first) + 1.0 / p[5]);
    const double log_n = log(x[0]);
    return exp(p[0] * log_n + p[1] * log(experts) + p[2] * log_n * log(experts) + p[3]);
  }
};

/// Parameters A, B, E, alpha, beta, g, gamma; columns N, D, G.
struct Granularity {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return p[2] + (p[0] + p[5] * inverse_power(x[2], p[6])) * inverse_power(x[0], p[3]) +
           p[1] * inverse_power(x[1], p[4]);
  }
};

/// Parameters A, B, E, alpha, beta, c, lambda, d, delta, gamma; columns N, D, S.
struct ExpertSparsity {
  template <class T>
  T operator()(const T* p, const double* x) const {
    const double active = 1 - x[2];
    return p[2] + p[0] * inverse_power(x[0], p[3]) + p[1] * inverse_power(x[1], p[4]) +
           p[5] * inverse_power(active, p[6]) + p[7] * inverse_power(active, p[8]) * inverse_power(x[0], p[9]);
  }
};

}  // namespace

Form routed_form() {
  return {
      .name = "routed",
      .formula =
          "exp(a ln N + b ln E' + c ln N ln E' + d), 1 / E' = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max",
      .source = "Clark et al., arXiv:2202.01169, eq. 7",
      .parameters = {{.name = "a", .start_low = -0.2, .start_high = 0},
                     {.name = "b", .start_low = -0.5, .start_high = 0},
                     {.name = "c", .start_low = 0, .start_high = 0.02},
                     {.name = "d", .start_low = 1.5, .start_high = 4},
                     {.name = "E_start", .start_low = 1.1, .start_high = 6, .low = 1, .high = 30, .positive = true},
                     {.name = "E_max", .start_low = 100, .start_high = 1000, .low = 31, .high = 1e6, .positive = true}},
      .columns = {{.name = "n_params"}, {.name = "n_experts"}},
      .loss = with_derivatives<6>(Routed{})};
}

Form granularity_form() {
  return {.name = "granularity",
          .formula = "E + (A + g / G^gamma) / N^alpha + B / D^beta, G = d_ff / expert width",
          .source = "Krajewski et al., arXiv:2402.07871, eq. 9",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}), coefficient("B", {{"tokens", "beta"}}),
                         irreducible_loss(), exponent("alpha"), exponent("beta"),
                         coefficient("g", {{"n_params", "alpha"}, {"granularity", "gamma"}}), exponent("gamma")},
          .columns = {{.name = "n_params"}, {.name = "tokens"}, {.name = "granularity"}},
          .loss = with_derivatives<7>(Granularity{})};
}

Form expert_sparsity_form() {
  return {.name = "expert_sparsity",
          .formula = "E + A / N^alpha + B / D^beta + c / (1 - S)^lambda + d / ((1 - S)^delta N^gamma)",
          .source = "Abnar et al., arXiv:2501.12370, eq. 3",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}),
                         coefficient("B", {{"tokens", "beta"}}),
                         irreducible_loss(),
                         exponent("alpha"),
                         exponent("beta"),
                         {.name = "c", .start_low = 1e-3, .start_high = 1, .positive = true, .linear = true},
                         {.name = "lambda", .start_low = -0.5, .start_high = 0.5, .low = -4, .high = 4},
                         coefficient("d", {{"n_params", "gamma"}}),
                         {.name = "delta", .start_low = -0.5, .start_high = 0.5, .low = -4, .high = 4},
                         exponent("gamma")},
          .columns = {{.name = "n_params"},
                      {.name = "tokens"},
                      {.name = "expert_sparsity", .positive = false, .high = 0.9999}},
          .loss = with_derivatives<10>(ExpertSparsity{})};
}

}  // namespace archfront
