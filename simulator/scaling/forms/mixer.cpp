#include "simulator/scaling/autodiff.h"
#include "simulator/scaling/forms/forms.h"
#include "simulator/scaling/mixer_law.h"

namespace archfront {
namespace {

/// The law's own columns, from `first` on, and how much larger differences are where the loss is of downstream text.
template <class T>
T factor(const T* p, const double* x) {
  using std::exp;
  const MixerShape shape{.attention = x[0],
                         .windowed = x[1],
                         .recurrence = {x[2], x[3], x[4]},
                         .bare = bareness(x[5]),
                         .sparsity = x[6],
                         .grouping = std::log(x[7])};
  return exp(mixer_log_factor(p, shape) * (1.0 + x[8] * (p[MixerLaw::n] - 1.0)));
}

/// Parameters: level, then those of the mixer law, then downstream.
struct MixerAtLevel {
  template <class T>
  T operator()(const T* p, const double* x) const {
    return p[0] * factor(p + 1, x);
  }
};

/// Parameters A, B, E, alpha, beta, then the same; columns N, D, then the same.
struct HybridLaw {
  template <class T>
  T operator()(const T* p, const double* x) const {
    const T full = p[2] + p[0] * inverse_power(x[0], p[3]) + p[1] * inverse_power(x[1], p[4]);
    return full * factor(p + 5, x + 2);
  }
};

/// In the order of MixerLaw::names, with the bounds that mixer_law.h promises: a window or a subset sees no more than
/// full attention does, and a recurrence no more either.
void append_parameters(std::vector<ParameterSpec>& to) {
  to.push_back({.name = "gain", .start_low = 0.005, .start_high = 0.03, .low = 0});
  to.push_back({.name = "scale", .start_low = 0.02, .start_high = 0.2, .low = 0.001, .high = 2});
  to.push_back({.name = "weakness", .start_low = 0.01, .start_high = 0.05, .low = 0});
  to.push_back({.name = "gating", .start_low = 0.5, .start_high = 1, .low = 0, .high = 1});
  to.push_back({.name = "erasing", .start_low = 0.5, .start_high = 1, .low = 0, .high = 1});
  to.push_back({.name = "learning", .start_low = 0.5, .start_high = 1, .low = 0, .high = 1});
  to.push_back({.name = "window", .start_low = 0, .start_high = 0.01, .low = 0});
  to.push_back({.name = "sparsity", .start_low = 0, .start_high = 0.001, .low = 0});
  to.push_back({.name = "grouping", .start_low = 0, .start_high = 0.001, .low = 0});
  to.push_back({.name = "downstream", .start_low = 1, .start_high = 4, .low = 0.1, .high = 20});
}

void append_columns(std::vector<ColumnSpec>& to) {
  to.push_back({.name = "attention_fraction", .positive = false, .high = 1});
  to.push_back({.name = "windowed_fraction", .positive = false, .high = 1, .absent = 0});
  to.push_back({.name = "recurrent_gating", .positive = false, .high = 1, .absent = RecurrenceFamily{}.gating});
  to.push_back({.name = "recurrent_erasing", .positive = false, .high = 1, .absent = 0});
  to.push_back({.name = "recurrent_learning", .positive = false, .high = 1, .absent = 0});
  to.push_back({.name = "mlp_to_attention", .positive = false, .absent = 2});
  to.push_back({.name = "sparsity", .positive = false, .high = 1, .absent = 0});
  to.push_back({.name = "gqa_ratio", .absent = 1});
  to.push_back({.name = "downstream_text", .positive = false, .high = 1, .absent = 0});
}

}  // namespace

Form mixer_form() {
  Form form{.name = "mixer",
            .formula = "level M(f, w, c, v, s, g), the mixer law",
            .source = "archfront, simulator/scaling/mixer_law.h",
            .loss = with_derivatives<MixerLaw::n + 2>(MixerAtLevel{})};
  form.parameters.push_back(
      {.name = "level", .start_low = 1.5, .start_high = 4, .positive = true, .linear = true, .per = "study"});
  append_parameters(form.parameters);
  append_columns(form.columns);
  return form;
}

Form hybrid_form() {
  Form form = chinchilla_form();
  form.name = "hybrid";
  form.formula = "(E + A / N^alpha + B / D^beta) M(f, w, c, v, s, g), the mixer law";
  form.source = "Hoffmann et al., arXiv:2203.15556, eq. 10, times archfront's mixer law";
  form.loss = with_derivatives<MixerLaw::n + 6>(HybridLaw{});
  append_parameters(form.parameters);
  append_columns(form.columns);
  return form;
}

}  // namespace archfront
