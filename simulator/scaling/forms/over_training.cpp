#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters a, b, E, eta; columns M = D / N and C.
struct OverTraining {
  template <class T>
  T operator()(const T* p, const double* x) const {
    const T by_ratio = inverse_power(x[0], p[3]);
    return p[2] + (p[0] / by_ratio + p[1] * by_ratio) * inverse_power(x[1], p[3]);
  }
};

}  // namespace

Form over_training_form() {
  return {.name = "over_training",
          .formula = "E + (a M^eta + b M^-eta) / C^eta, M = D / N",
          .source = "Gadre et al., arXiv:2403.08540, eq. 4",
          .parameters = {coefficient("a", {{"tokens_per_parameter", "eta", -1}, {"flops", "eta"}}),
                         coefficient("b", {{"tokens_per_parameter", "eta"}, {"flops", "eta"}}),
                         irreducible_loss(),
                         {.name = "eta", .start_low = 0.05, .start_high = 0.45, .low = 0, .high = 2}},
          .columns = {{.name = "tokens_per_parameter"}, {.name = "flops"}},
          .loss = with_derivatives<4>(OverTraining{})};
}

}  // namespace archfront
