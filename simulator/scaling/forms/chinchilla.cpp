#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters A, B, E, alpha, beta; columns N, D. One of the three terms may be far smaller than the others: the sum
/// loses nothing by that, as all are positive.
struct Chinchilla {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return p[2] + p[0] * inverse_power(x[0], p[3]) + p[1] * inverse_power(x[1], p[4]);
  }
};

struct TiedChinchilla {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return p[2] + p[0] * inverse_power(x[0], p[3]) + p[1] * inverse_power(x[1], p[3]);
  }
};

}  // namespace

Form chinchilla_form() {
  return {.name = "chinchilla",
          .formula = "E + A / N^alpha + B / D^beta",
          .source = "Hoffmann et al., arXiv:2203.15556, eq. 10",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}), coefficient("B", {{"tokens", "beta"}}),
                         irreducible_loss(), exponent("alpha"), exponent("beta")},
          .columns = {{.name = "n_params"}, {.name = "tokens"}},
          .loss = with_derivatives<5>(Chinchilla{})};
}

Form chinchilla_tied_form() {
  return {.name = "chinchilla_tied",
          .formula = "E + A / N^alpha + B / D^alpha",
          .source = "Hoffmann et al., arXiv:2203.15556, eq. 10, with one exponent",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}), coefficient("B", {{"tokens", "alpha"}}),
                         irreducible_loss(), exponent("alpha")},
          .columns = {{.name = "n_params"}, {.name = "tokens"}},
          .loss = with_derivatives<4>(TiedChinchilla{})};
}

}  // namespace archfront
