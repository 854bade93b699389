#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"

namespace archfront {
namespace {

/// Parameters Nc, Dc, alpha_N, alpha_D; columns N, D.
struct Kaplan {
  template <class T>
  T operator()(const T* p, const double* x) const {
    using std::exp;
    using std::log;
    const T by_size = exp(p[2] / p[3] * (log(p[0]) - log(x[0])));
    return exp(p[3] * log(by_size + p[1] / x[1]));
  }
};

}  // namespace

Form kaplan_form() {
  return {.name = "kaplan",
          .formula = "[(Nc / N)^(alpha_N / alpha_D) + Dc / D]^alpha_D",
          .source = "Kaplan et al., arXiv:2001.08361, eq. 1.5",
          .parameters = {{.name = "Nc", .start_low = 1e10, .start_high = 1e16, .positive = true},
                         {.name = "Dc", .start_low = 1e10, .start_high = 1e16, .positive = true},
                         {.name = "alpha_N", .start_low = 0.03, .start_high = 0.3, .low = 1e-3, .high = 3},
                         {.name = "alpha_D", .start_low = 0.03, .start_high = 0.3, .low = 1e-3, .high = 3}},
          .columns = {{.name = "n_params"}, {.name = "tokens"}},
          .loss = with_derivatives<4>(Kaplan{})};
}

}  // namespace archfront
