#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters A, B, V, E, alpha, gamma; columns N, D, vocabulary parameters.
struct Vocabulary {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return -p[3] + p[0] * inverse_power(x[0], p[4]) + p[1] * inverse_power(x[1], p[4]) +
           p[2] * inverse_power(x[2], p[5]);
  }
};

}  // namespace

Form vocabulary_form() {
  return {.name = "vocabulary",
          .formula = "-E + A / N^alpha + B / D^alpha + V / N_v^gamma, the loss relative to a unigram model",
          .source = "Tao et al., arXiv:2407.13623, eq. 8",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}),
                         coefficient("B", {{"tokens", "alpha"}}),
                         coefficient("V", {{"n_params_vocab", "gamma"}}),
                         {.name = "E", .start_low = 3, .start_high = 8, .positive = true, .linear = true},
                         exponent("alpha"),
                         exponent("gamma")},
          .columns = {{.name = "n_params"}, {.name = "tokens"}, {.name = "n_params_vocab"}},
          .loss = with_derivatives<6>(Vocabulary{}),
          .any_sign = true};
}

}  // namespace archfront
