#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

/// Parameters A, B, P, T, E and their exponents a, b, c, e; columns width, depth, N, D.
struct WidthDepth {
  template <class T>
  T operator()(const T* p, const double* x) const {
    T loss = p[4];
    for (int k = 0; k < 4; ++k) loss += p[k] * inverse_power(x[k], p[5 + k]);
    return loss;
  }
};

/// Parameters A, B, E, alpha, g; columns N, D, d_model, n_layers.
struct AspectRatio {
  template <class T>
  T operator()(const T* p, const double* x) const {
    const T plain = p[2] + p[0] * inverse_power(x[0], p[3]) + p[1] * inverse_power(x[1], p[3]);
    return plain * (1.0 + p[4] * inverse_power(x[3] / x[2], p[3]));
  }
};

}  // namespace

Form width_depth_form() {
  return {.name = "width_depth",
          .formula = "E + A / width^a + B / depth^b + P / N^c + T / D^e",
          .source = "McLeish et al., arXiv:2502.06857, section 4",
          .parameters = {coefficient("A", {{"d_model", "a"}}), coefficient("B", {{"n_layers", "b"}}),
                         coefficient("P", {{"n_params", "c"}}), coefficient("T", {{"tokens", "e"}}), irreducible_loss(),
                         exponent("a"), exponent("b"), exponent("c"), exponent("e")},
          .columns = {{.name = "d_model"}, {.name = "n_layers"}, {.name = "n_params"}, {.name = "tokens"}},
          .loss = with_derivatives<9>(WidthDepth{})};
}

Form aspect_ratio_form() {
  return {.name = "aspect_ratio",
          .formula = "(E + A / N^alpha + B / D^alpha) (1 + g (d_model / n_layers)^alpha)",
          .source = "Bian et al., arXiv:2501.18107, eq. 5",
          .parameters = {coefficient("A", {{"n_params", "alpha"}}),
                         coefficient("B", {{"tokens", "alpha"}}),
                         irreducible_loss(),
                         exponent("alpha"),
                         {.name = "g", .start_low = 1e-4, .start_high = 1e-1, .positive = true}},
          .columns = {{.name = "n_params"}, {.name = "tokens"}, {.name = "d_model"}, {.name = "n_layers"}},
          .loss = with_derivatives<5>(AspectRatio{})};
}

}  // namespace archfront
