#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "costmodels/operations.h"
#include "simulator/fields.h"
#include "simulator/limits.h"
#include "simulator/step.h"

namespace archfront {

/// The feed-forward half of a layer. `swiglu` and `geglu` have three matrices, `mlp` two, `moe` gated experts of d_ff.
struct FeedForward {
  enum class Kind : std::uint8_t { none, swiglu, geglu, mlp, moe } kind = Kind::swiglu;
  int d_ff = 0;              ///< width; of one expert for `moe`
  bool bias = false;         ///< on every matrix, of the experts too
  int n_experts = 0;         ///< moe: experts held
  int n_active_experts = 0;  ///< moe: experts a token passes through
  int n_shared_experts = 0;  ///< moe: experts every token passes through, of width shared_d_ff each
  int shared_d_ff = 0;
  bool router_bias = false;
  bool operator==(const FeedForward&) const = default;
};

inline constexpr std::array<std::string_view, 5> feed_forward_kinds{"none", "swiglu", "geglu", "mlp", "moe"};
std::string_view to_string(FeedForward::Kind kind);

/// Throws InputError naming the field and what it may be. The functions below take a feed-forward that passed.
void validate(const FeedForward& feed_forward, int d_model, std::string_view where = "feed-forward");
/// Weights of one layer, routers included.
std::int64_t parameters(const FeedForward& feed_forward, int d_model);
/// Parameters one token passes through.
std::int64_t active_parameters(const FeedForward& feed_forward, int d_model);
/// Elements a token leaves behind for the backward pass, inside the feed-forward; also its working set in inference.
double kept_elements(const FeedForward& feed_forward, int d_model);
/// Appends the forward operations in launch order (without the layer's norm).
void lower(const FeedForward& feed_forward, int d_model, const Step& step, Operations& operations);

/// Experts that at least one of `tokens` tokens is sent to, when each picks k of n evenly and independently:
/// n (1 - (1 - k/n)^tokens), rounded, at least k.
std::int64_t expected_experts(int n_experts, int n_active_experts, std::int64_t tokens);

/// The fields of the native form that go with the kind.
template <class Fields, ConstOrNot<FeedForward> F>
void describe(Fields& fields, F& feed_forward) {
  const FeedForward defaults;
  if (feed_forward.kind == FeedForward::Kind::none) return;
  fields.integer(Presence::required, "d_ff", feed_forward.d_ff, feed_forward.d_ff, 1, limits::d_ff);
  fields.flag(Presence::optional, "bias", feed_forward.bias, defaults.bias);
  if (feed_forward.kind != FeedForward::Kind::moe) return;
  fields.integer(Presence::required, "n_experts", feed_forward.n_experts, feed_forward.n_experts, 1, limits::n_experts);
  fields.integer(Presence::required, "n_active_experts", feed_forward.n_active_experts, feed_forward.n_active_experts,
                 1, limits::n_experts);
  fields.integer(Presence::optional, "n_shared_experts", feed_forward.n_shared_experts, defaults.n_shared_experts, 0,
                 limits::n_experts);
  fields.integer(Presence::optional, "shared_d_ff", feed_forward.shared_d_ff, defaults.shared_d_ff, 0, limits::d_ff);
  fields.flag(Presence::optional, "router_bias", feed_forward.router_bias, defaults.router_bias);
}

}  // namespace archfront
