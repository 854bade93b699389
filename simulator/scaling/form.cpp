#include "simulator/scaling/form.h"

#include <fmt/format.h>

#include "costmodels/errors.h"
#include "simulator/scaling/forms/forms.h"

namespace archfront {
namespace {

/// Every law that can be fitted. A new one is a file in forms/ and an entry here.
constexpr Form (*forms[])() = {chinchilla_form,
                               chinchilla_tied_form,
                               kaplan_form,
                               compute_power_form,
                               over_training_form,
                               data_constrained_form,
                               conditional_shape_form,
                               conditional_shape_additive_form,
                               width_depth_form,
                               aspect_ratio_form,
                               routed_form,
                               granularity_form,
                               expert_sparsity_form,
                               vocabulary_form,
                               mixer_form,
                               hybrid_form};

}  // namespace

std::optional<std::size_t> Form::parameter(std::string_view called) const {
  for (std::size_t k = 0; k < parameters.size(); ++k)
    if (parameters[k].name == called) return k;
  return std::nullopt;
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const auto& form : forms) names.push_back(form().name);
  return names;
}

Form form_named(std::string_view name) {
  for (const auto& form : forms)
    if (Form found = form(); found.name == name) return found;
  const std::vector<std::string> names = form_names();
  const std::string_view near = nearest(name, std::vector<std::string_view>(names.begin(), names.end()));
  throw InputError(fmt::format(
      "no law called '{}' can be fitted: --law: {}", name,
      near.empty() ? fmt::format("use one of {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near)));
}

}  // namespace archfront
