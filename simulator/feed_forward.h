#pragma once

#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/step.h"

namespace archfront {

/// The feed-forward half of a layer. `swiglu` and `geglu` have three matrices, `mlp` two, `moe` gated experts of d_ff.
struct FeedForward {
  enum class Kind : std::uint8_t { none, swiglu, geglu, mlp, moe } kind = Kind::swiglu;
  int d_ff = 0;             ///< width; of one expert for `moe`
  bool bias = false;        ///< on every matrix (and on a router)
  int n_experts = 0;        ///< moe: experts held
  int n_active_experts = 0; ///< moe: experts a token passes through
  int n_shared_experts = 0; ///< moe: experts every token passes through, of width shared_d_ff each
  int shared_d_ff = 0;
  bool router_bias = false;
  bool operator==(const FeedForward&) const = default;
};

std::string_view to_string(FeedForward::Kind kind);
void validate(const FeedForward& feed_forward, int d_model);
std::int64_t parameters(const FeedForward& feed_forward, int d_model);
/// Parameters one token passes through.
std::int64_t active_parameters(const FeedForward& feed_forward, int d_model);
double kept_elements(const FeedForward& feed_forward, int d_model);
void lower(const FeedForward& feed_forward, int d_model, const Step& step, Operations& operations);

}  // namespace archfront
