#include "simulator/feed_forward.h"

#include <algorithm>
#include <cmath>

#include "simulator/append.h"
#include "simulator/checks.h"

namespace archfront {
namespace {

bool gated(FeedForward::Kind kind) { return kind != FeedForward::Kind::mlp && kind != FeedForward::Kind::none; }

/// One dense feed-forward of width d_ff with `matrices` - 1 inputs and one output.
std::int64_t dense_parameters(std::int64_t d_model, std::int64_t d_ff, bool is_gated, bool bias) {
  const std::int64_t inputs = is_gated ? 2 : 1;
  return (inputs + 1) * d_model * d_ff + (bias ? inputs * d_ff + d_model : 0);
}

std::int64_t router_parameters(const FeedForward& feed_forward, std::int64_t d_model) {
  return feed_forward.n_experts * (d_model + (feed_forward.router_bias ? 1 : 0));
}

std::int64_t shared_width(const FeedForward& feed_forward) {
  return std::int64_t{feed_forward.n_shared_experts} * feed_forward.shared_d_ff;
}

std::int64_t moe_parameters(const FeedForward& feed_forward, std::int64_t d_model, std::int64_t experts) {
  const std::int64_t expert = dense_parameters(d_model, feed_forward.d_ff, true, feed_forward.bias);
  const std::int64_t shared = dense_parameters(d_model, feed_forward.shared_d_ff, true, feed_forward.bias);
  return experts * expert + feed_forward.n_shared_experts * shared + router_parameters(feed_forward, d_model);
}

void append_activation(Operations& operations, double rows, double width, bool is_gated, const Step& step) {
  const double elements = rows * width;
  if (!is_gated) {
    append_elementwise(operations, "activation", elements, elements, step);
  } else if (step.engine == Engine::graph) {  // gate's activation and the product in one pass
    append_elementwise(operations, "gated_activation", 2 * elements, elements, step);
  } else {
    append_elementwise(operations, "activation", elements, elements, step);
    append_elementwise(operations, "gate_multiply", 2 * elements, elements, step);
  }
}

void lower_dense(std::int64_t d_model, std::int64_t d_ff, bool is_gated, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  if (!is_gated) {
    append_gemm(operations, "up", n, d_ff, d_model, step);
  } else if (step.engine == Engine::graph) {  // one product: gate and up share their input
    append_gemm(operations, "gate_up", n, 2 * d_ff, d_model, step);
  } else {
    append_gemm(operations, "gate", n, d_ff, d_model, step);
    append_gemm(operations, "up", n, d_ff, d_model, step);
  }
  append_activation(operations, static_cast<double>(n), static_cast<double>(d_ff), is_gated, step);
  append_gemm(operations, "down", n, d_model, d_ff, step);
}

void append_expert_gemm(Operations& operations, std::string_view name, std::int64_t rows, std::int64_t experts,
                        std::int64_t n, std::int64_t k, const Step& step) {
  operations.push_back({name, 1, Gemm{.m = rows, .n = n, .k = k, .groups = experts, .precision = step.precision}});
}

void lower_moe(const FeedForward& feed_forward, std::int64_t d_model, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const std::int64_t d_ff = feed_forward.d_ff;
  const auto rows = static_cast<double>(n * feed_forward.n_active_experts);
  const auto d = static_cast<double>(d_model);
  const auto scores = static_cast<double>(n * feed_forward.n_experts);
  append_gemm(operations, "router", n, feed_forward.n_experts, d_model, step);
  if (step.engine == Engine::graph) {  // softmax, top-k, and the rows copied into expert order
    append_elementwise(operations, "route", scores + static_cast<double>(n) * d, rows * d, step);
  } else {
    append_elementwise(operations, "router_softmax", scores, scores, step);
    append_elementwise(operations, "router_top_k", scores, 2 * rows, step);
    append_elementwise(operations, "permute", rows * d, rows * d, step);
  }
  // One grouped product over the experts that are hit; the rows are spread evenly over them.
  const std::int64_t experts = expected_experts(feed_forward.n_experts, feed_forward.n_active_experts, n);
  const auto rows_each = std::max<std::int64_t>(1, std::llround(rows / static_cast<double>(experts)));
  if (step.engine == Engine::graph) {
    append_expert_gemm(operations, "expert_gate_up", rows_each, experts, 2 * d_ff, d_model, step);
  } else {
    append_expert_gemm(operations, "expert_gate", rows_each, experts, d_ff, d_model, step);
    append_expert_gemm(operations, "expert_up", rows_each, experts, d_ff, d_model, step);
  }
  append_activation(operations, rows, static_cast<double>(d_ff), true, step);
  append_expert_gemm(operations, "expert_down", rows_each, experts, d_model, d_ff, step);
  append_elementwise(operations, "combine", rows * d, static_cast<double>(n) * d, step);
  if (shared_width(feed_forward) > 0) {
    lower_dense(d_model, shared_width(feed_forward), true, step, operations);
    append_elementwise(operations, "shared_expert_add", 2 * static_cast<double>(n) * d, static_cast<double>(n) * d,
                       step);
  }
}

}  // namespace

std::string_view to_string(FeedForward::Kind kind) { return feed_forward_kinds[static_cast<std::size_t>(kind)]; }

void validate(const FeedForward& feed_forward, int d_model, std::string_view where) {
  check_range("d_model", d_model, 1, limits::d_model, where);
  if (feed_forward.kind == FeedForward::Kind::none) return;
  check_range("d_ff", feed_forward.d_ff, 1, limits::d_ff, where);
  if (feed_forward.kind != FeedForward::Kind::moe) return;
  check_range("n_experts", feed_forward.n_experts, 1, limits::n_experts, where);
  check_range("n_active_experts", feed_forward.n_active_experts, 1, feed_forward.n_experts, where);
  check_range("n_shared_experts", feed_forward.n_shared_experts, 0, limits::n_experts, where);
  const bool shared = feed_forward.n_shared_experts > 0;
  check_range("shared_d_ff", feed_forward.shared_d_ff, shared ? 1 : 0, limits::d_ff, where);
}

std::int64_t parameters(const FeedForward& feed_forward, int d_model) {
  switch (feed_forward.kind) {
    case FeedForward::Kind::none:
      return 0;
    case FeedForward::Kind::moe:
      return moe_parameters(feed_forward, d_model, feed_forward.n_experts);
    default:
      return dense_parameters(d_model, feed_forward.d_ff, gated(feed_forward.kind), feed_forward.bias);
  }
}

std::int64_t active_parameters(const FeedForward& feed_forward, int d_model) {
  if (feed_forward.kind != FeedForward::Kind::moe) return parameters(feed_forward, d_model);
  return moe_parameters(feed_forward, d_model, feed_forward.n_active_experts);
}

double kept_elements(const FeedForward& feed_forward, int d_model) {
  const double d_ff = feed_forward.d_ff;
  switch (feed_forward.kind) {
    case FeedForward::Kind::none:
      return 0;
    case FeedForward::Kind::mlp:  // before and after the activation
      return 2 * d_ff;
    case FeedForward::Kind::moe:  // each expert's input, gate, up, product and output; the router's scores
      return feed_forward.n_active_experts * (2.0 * d_model + 3 * d_ff) + feed_forward.n_experts +
             3 * static_cast<double>(shared_width(feed_forward));
    default:  // gate, up and their product
      return 3 * d_ff;
  }
}

void lower(const FeedForward& feed_forward, int d_model, const Step& step, Operations& operations) {
  if (feed_forward.kind == FeedForward::Kind::none) return;
  if (feed_forward.kind == FeedForward::Kind::moe) {
    lower_moe(feed_forward, d_model, step, operations);
  } else {
    lower_dense(d_model, feed_forward.d_ff, gated(feed_forward.kind), step, operations);
  }
}

std::int64_t expected_experts(int n_experts, int n_active_experts, std::int64_t tokens) {
  const double missed = 1.0 - static_cast<double>(n_active_experts) / n_experts;
  const double hit = n_experts * (1.0 - std::pow(missed, static_cast<double>(tokens)));
  return std::clamp<std::int64_t>(std::llround(hit), n_active_experts, n_experts);
}

}  // namespace archfront
