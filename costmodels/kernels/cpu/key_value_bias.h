#pragma once

#include <span>

namespace archfront::cpu {

/// One learned key and value a query head that every query sees, [n_heads, head_dim]; both empty: none.
/// Source: Sun et al., "Massive Activations in Large Language Models", arXiv:2402.17762, eq. 3.
struct KeyValueBias {
  std::span<const float> k;
  std::span<const float> v;
};

}  // namespace archfront::cpu
