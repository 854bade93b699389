#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulator/architecture.h"

namespace archfront {

/// An architecture in the words of a table. A field that differs between layers holds all its values in the order they
/// first appear ("8192/5504"); one that no layer has is "".
struct ArchitectureSummary {
  int n_layers = 0;
  int d_model = 0;
  int vocab_size = 0;
  double attention_fraction = 0;  ///< layers of exact attention / layers
  std::string hybrid_ratio;       ///< cheap layers to exact ones in lowest terms: "3:1", "0:1", "1:0"
  std::string n_heads;            ///< of the attention layers
  std::string n_kv_heads;
  std::string head_dim;
  std::string recurrent_heads;
  std::string d_ff;
  std::string window;
  std::string sparsity;
  std::string mixers;  ///< "4 x (3 gated_delta_net + softmax)"
};

ArchitectureSummary summarise(const Architecture& architecture);

/// The fields but attention_fraction, under their names, in the order above.
std::vector<std::pair<std::string_view, std::string>> fields(const ArchitectureSummary& summary);

}  // namespace archfront
