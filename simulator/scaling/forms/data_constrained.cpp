#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// n repeated counts for less each time: unique (1 + reach (1 - exp(-(n / unique - 1) / reach))).
template <class T>
T worth(double unique, double n, const T& reach) {
  using std::exp;
  return unique * (1.0 + reach * (1.0 - exp(-(n / unique - 1) / reach)));
}

/// Parameters A, B, E, alpha, beta, R_D, R_N; columns N, D, U.
struct DataConstrained {
  template <class T>
  T operator()(const T* p, const double* x) const {
    using std::exp;
    using std::log;
    // The size compute-optimal for U tokens: alpha A / N^alpha = beta B / U^beta.
    const T log_optimal = (log(p[3] * p[0] / (p[4] * p[1])) + p[4] * log(x[2])) / p[3];
    const double log_n = log(x[0]);
    const T log_unique = log_optimal < log_n ? log_optimal : T(log_n);
    const T repeats = exp(log_n - log_unique) - 1.0;
    const T size = exp(log_unique) * (1.0 + p[6] * (1.0 - exp(-repeats / p[6])));
    return p[2] + p[0] * exp(-p[3] * log(size)) + p[1] * exp(-p[4] * log(worth(x[2], x[1], p[5])));
  }
};

}  // namespace

Form data_constrained_form() {
  return {
      .name = "data_constrained",
      .formula = "E + A / N'^alpha + B / D'^beta, D' = U (1 + R_D (1 - exp(-(D / U - 1) / R_D))), N' likewise by R_N",
      .source = "Muennighoff et al., arXiv:2305.16264, eq. 5, 6 and 17",
      .parameters = {{.name = "A", .start_low = 10, .start_high = 1e5, .positive = true},
                     {.name = "B", .start_low = 10, .start_high = 1e5, .positive = true},
                     irreducible_loss(),
                     exponent("alpha"),
                     exponent("beta"),
                     {.name = "R_D", .start_low = 1, .start_high = 100, .low = 1e-2, .high = 1e5, .positive = true},
                     {.name = "R_N", .start_low = 1, .start_high = 100, .low = 1e-2, .high = 1e5, .positive = true}},
      .columns = {{.name = "n_params"}, {.name = "tokens"}, {.name = "unique_tokens"}},
      .loss = with_derivatives<7>(DataConstrained{})};
}

}  // namespace archfront
