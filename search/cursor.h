#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "search/space.h"

namespace archfront {

/// One point of a space in numbers, before any layer of it exists.
struct Candidate {
  int n_layers = 0;
  int d_model = 0;
  int head_dim = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int d_ff = 0;
  int vocab_size = 0;
  int hybrid_ratio = 0;
  int n_exact = 0;  ///< exact layers
  CheapMixer cheap_mixer = CheapMixer::gated_delta_net;
  Placement placement = Placement::last;
  std::int64_t window = 0;
  double sparsity = 0;
};

/// In a few words, for people: "d_model 3072, 24 layers, 48 heads of 64 on 8 kv heads, d_ff 8192, gated_delta_net 3:1".
std::string describe(const Candidate& candidate);

/// Walks a space: where it stands it knows the candidate, whether it is one, and its parameters, from a few sums and
/// without building it, so that a parameter budget costs next to nothing. Steps to the next index recompute only what
/// changed. One a thread; `space` must outlive it and have passed validate().
class Cursor {
 public:
  explicit Cursor(const Space& space);

  /// Returns one of the first reasons of Rejection, or none. Of a rejected point the candidate is unspecified.
  Rejection move_to(std::uint64_t index) {
    enter(index);
    return judge();
  }
  /// The two halves of move_to(): what the widths decide, which are the lists up to mlp_to_attention, and the rest.
  void enter(std::uint64_t index);
  Rejection judge();

  /// How many points from here on, this one included, have these widths.
  std::uint64_t points_of_same_widths() const { return inner_points_ - index_ % inner_points_; }
  /// True if none of them is a candidate, for want of whole heads: those without any head are duplicates then.
  bool widths_have_no_heads() const;
  /// Bounds on the parameters of all of them; least > most if none can be built.
  struct ParameterRange {
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    std::int64_t most = std::numeric_limits<std::int64_t>::min();
  };
  const ParameterRange& parameter_range() const { return range_; }

  const Candidate& candidate() const { return candidate_; }
  /// Total parameters, the same as the simulator counts of the built architecture.
  std::int64_t parameters() const { return parameters_; }
  /// Allocates only while `architecture` and this cursor have not yet seen as many blocks and layers.
  void build(Architecture& architecture);

  /// Why the point it stands on is no candidate, with its numbers.
  std::string explain(Rejection rejection);

  /// The digits a point would have to stand for its architecture: those that change nothing are 0, of equal values the
  /// first. A point whose digits are not canonical is a duplicate. Also of digits that are no candidate.
  Digits canonical(const Digits& digits);
  const Digits& lengths() const { return lengths_; }

 private:
  /// Where the exact layers of n_layers stand: `count` of them from `first` on, `stride` apart.
  struct Pattern {
    int count = 0;
    int first = 0;
    int stride = 0;
    std::uint32_t hybrid_digit = 0;  ///< of the first ratio and placement with the same pattern
    std::uint32_t placement_digit = 0;
    bool operator==(const Pattern& other) const {
      return count == other.count && first == other.first && stride == other.stride;
    }
  };
  /// What follows from the widths alone for stacks whose feed-forward is sized by one mixer's parameters.
  struct Width {
    std::int64_t mixer_parameters = 0;
    std::int64_t feed_forward_parameters = 0;
    int d_ff = 0;
    std::uint32_t mlp_digit = 0;  ///< the first ratio that rounds to the same d_ff
    Rejection rejection = Rejection::none;
  };
  /// Parameters outside mixers and feed-forwards.
  struct Fixed {
    std::int64_t model = 0;  ///< embedding, head, final norm
    std::int64_t layer = 0;  ///< a layer's norms
  };

  void make_patterns();
  void make_fixed();
  void update_range();
  std::size_t advance(std::uint64_t index);
  void update_widths();
  Width width(std::int64_t mixer_parameters) const;
  const Pattern& pattern() const;
  const Width& stack_width() const;
  bool needs_heads() const;
  void canonicalise(Digits& digits) const;
  Mixer exact_mixer() const;
  Mixer cheap_mixer(CheapMixer kind) const;
  Block& block(Architecture& architecture, std::size_t at, int repeat, std::size_t n_layers);

  const Space* space_;
  Digits lengths_;
  Digits digits_{};
  std::uint64_t inner_points_ = 1;  ///< points that share their widths
  std::uint64_t index_ = 0;
  bool placed_ = false;
  std::vector<Pattern> patterns_;  ///< [n_layers][hybrid_ratio][placement]
  std::vector<Fixed> fixed_;       ///< [d_model][vocab_size]
  Candidate candidate_;
  bool heads_fit_ = false;
  Width exact_width_;
  std::array<Width, 3> cheap_widths_;  ///< by CheapMixer
  ParameterRange range_;
  std::int64_t parameters_ = 0;
  std::vector<Block> spare_;  ///< blocks an architecture had and does not need now
};

}  // namespace archfront
