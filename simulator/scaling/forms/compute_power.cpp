#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/forms/parameters.h"

namespace archfront {
namespace {

struct ComputePower {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return p[1] + p[0] * inverse_power(x[0], p[2]);
  }
};

}  // namespace

Form compute_power_form() {
  return {.name = "compute_power",
          .formula = "E + A / C^alpha",
          .source = "Henighan et al., arXiv:2010.14701, eq. 1.1, in compute",
          .parameters = {coefficient("A", {{"flops", "alpha"}}),
                         irreducible_loss(),
                         {.name = "alpha", .start_low = 0.02, .start_high = 0.5, .low = 0, .high = 4}},
          .columns = {{.name = "flops"}},
          .loss = with_derivatives<3>(ComputePower{})};
}

}  // namespace archfront
