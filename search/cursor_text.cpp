#include <fmt/format.h>

#include "search/cursor.h"

namespace archfront {

std::string describe(const Candidate& candidate) {
  std::string text = fmt::format("d_model {}, {} layers", candidate.d_model, candidate.n_layers);
  if (candidate.n_exact > 0 || candidate.cheap_mixer == CheapMixer::window)
    text += fmt::format(", {} heads of {} on {} kv heads", candidate.n_heads, candidate.head_dim, candidate.n_kv_heads);
  text += fmt::format(", d_ff {}", candidate.d_ff);
  if (candidate.n_exact == candidate.n_layers) {
    text += ", all exact";
  } else {
    text += fmt::format(", {}", to_string(candidate.cheap_mixer));
    if (candidate.cheap_mixer == CheapMixer::window) text += fmt::format(" of {}", candidate.window);
    text += candidate.n_exact == 0
                ? " in every layer"
                : fmt::format(" {}:1, exact {}", candidate.hybrid_ratio, to_string(candidate.placement));
  }
  if (candidate.sparsity > 0) text += fmt::format(", sparsity {}", candidate.sparsity);
  return text;
}

std::string Cursor::explain(Rejection rejection) {
  const Candidate& c = candidate_;
  switch (rejection) {
    case Rejection::heads_not_divisible:
      if (space_->n_heads.empty() && c.d_model % c.head_dim != 0)
        return fmt::format("head_dim {} does not divide d_model {}", c.head_dim, c.d_model);
      return space_->n_kv_heads.empty()
                 ? fmt::format("{} heads are no whole groups of {}", c.n_heads, space_->gqa_ratio[digits_[groups_axis]])
                 : fmt::format("{} heads do not share {} kv heads", c.n_heads,
                               space_->n_kv_heads[digits_[groups_axis]]);
    case Rejection::pattern_does_not_fill:
      return fmt::format("{} layers hold no period of {}:1", c.n_layers, c.hybrid_ratio);
    case Rejection::d_ff_out_of_range:
      return fmt::format("mlp_to_attention {} at d_model {} puts d_ff out of range",
                         space_->mlp_to_attention[digits_[mlp_axis]], c.d_model);
    case Rejection::duplicate: {
      const std::uint64_t own = index_;
      const std::uint64_t original = index_of(lengths_, canonical(digits_));
      move_to(original);
      std::string text = fmt::format("point {} is the same as point {}: {}", own, original, describe(candidate_));
      move_to(own);
      return text;
    }
    default:
      return describe(c);
  }
}

}  // namespace archfront
