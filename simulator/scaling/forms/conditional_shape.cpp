#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters a0, a1, a2, b1, b2; columns x, r, least loss.
struct Multiplicative {
  template <class T>
  T operator()(const T* p, const double* x) const {
    using std::log;
    return (p[0] + p[1] * log(x[0]) + p[2] / x[0]) * (1.0 + p[3] * log(x[1]) + p[4] / x[1]) * x[2];
  }
};

struct Additive {
  template <class T>
  T operator()(const T* p, const double* x) const {
    using std::log;
    return x[2] + (p[0] + p[1] * log(x[0]) + p[2] / x[0]) + (p[3] * log(x[1]) + p[4] / x[1]);
  }
};

std::vector<ColumnSpec> columns() {
  return {{.name = "d_model_over_sqrt_n"}, {.name = "mlp_to_attention"}, {.name = "least_loss"}};
}

}  // namespace

Form conditional_shape_form() {
  return {.name = "conditional_shape",
          .formula = "(a0 + a1 ln x + a2 / x) (1 + b1 ln r + b2 / r) L_opt, x = d_model / sqrt(N)",
          .source = "Bian et al., arXiv:2510.18245, eq. 3",
          .parameters = {{.name = "a0", .start_low = 0.8, .start_high = 1.4, .linear = true},
                         {.name = "a1", .start_low = 0, .start_high = 0.2, .linear = true},
                         {.name = "a2", .start_low = 0, .start_high = 0.02, .linear = true},
                         {.name = "b1", .start_low = 0, .start_high = 0.04},
                         {.name = "b2", .start_low = 0, .start_high = 0.04}},
          .columns = columns(),
          .loss = with_derivatives<5>(Multiplicative{})};
}

Form conditional_shape_additive_form() {
  return {.name = "conditional_shape_additive",
          .formula = "L_opt + (a0 + a1 ln x + a2 / x) + (b1 ln r + b2 / r), x = d_model / sqrt(N)",
          .source = "Bian et al., arXiv:2510.18245, section 3.3",
          .parameters = {{.name = "a0", .start_low = -1, .start_high = 1, .linear = true},
                         {.name = "a1", .start_low = 0, .start_high = 0.5, .linear = true},
                         {.name = "a2", .start_low = 0, .start_high = 0.1, .linear = true},
                         {.name = "b1", .start_low = 0, .start_high = 0.1, .linear = true},
                         {.name = "b2", .start_low = 0, .start_high = 0.1, .linear = true}},
          .columns = columns(),
          .loss = with_derivatives<5>(Additive{})};
}

}  // namespace archfront
