#pragma once
// Decode attention in double, straight from its definition, for whatever a cache holds once widened.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "costmodels/operations.h"

namespace archfront::cpu {

/// What decode attention reads, in double.
struct DecodeOperands {
  std::vector<double> q;               ///< [batch, query_length, n_heads, head_dim]
  std::vector<double> k, v;            ///< [batch, n_kv_heads, context, head_dim]
  std::vector<double> bias_k, bias_v;  ///< [n_heads, head_dim], or empty
};

/// One query's output in `o`, over the keys that `keep(key)` keeps of those it sees.
template <class Keep>
void attend(const Attention& a, const DecodeOperands& in, std::int64_t batch, std::int64_t query, std::int64_t head,
            Keep keep, double* o) {
  const std::int64_t position = a.context - a.query_length + query;
  const std::int64_t kv_head = batch * a.n_kv_heads + head / (a.n_heads / a.n_kv_heads);
  const double* q = &in.q[static_cast<std::size_t>(((batch * a.query_length + query) * a.n_heads + head) * a.head_dim)];
  std::vector<const double*> values;
  std::vector<double> weights;
  const auto add = [&](const double* k, const double* v) {
    double score = 0;
    for (int x = 0; x < a.head_dim; ++x) score += q[x] * k[x];
    weights.push_back(score / std::sqrt(a.head_dim));
    values.push_back(v);
  };
  for (std::int64_t key = 0; key <= position; ++key) {
    if (a.window > 0 && key <= position - a.window && key >= a.sinks) continue;
    const auto at = static_cast<std::size_t>((kv_head * a.context + key) * a.head_dim);
    if (keep(key)) add(&in.k[at], &in.v[at]);
  }
  const auto bias = static_cast<std::size_t>(head * a.head_dim);
  if (a.key_value_bias) add(&in.bias_k[bias], &in.bias_v[bias]);
  const double maximum = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - maximum);
  std::fill_n(o, a.head_dim, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (int x = 0; x < a.head_dim; ++x) o[x] += weights[i] / sum * values[i][x];
  }
}

/// All outputs; `keep(batch, head, key)` says which keys a query head reads.
template <class Keep>
std::vector<double> decode_reference(const Attention& a, const DecodeOperands& in, Keep keep) {
  std::vector<double> o(in.q.size());
  for (std::int64_t row = 0; row < a.batch * a.query_length * a.n_heads; ++row) {
    const std::int64_t batch = row / a.n_heads / a.query_length, head = row % a.n_heads;
    attend(
        a, in, batch, row / a.n_heads % a.query_length, head, [&](std::int64_t key) { return keep(batch, head, key); },
        &o[static_cast<std::size_t>(row * a.head_dim)]);
  }
  return o;
}

inline std::vector<double> decode_reference(const Attention& a, const DecodeOperands& in) {
  return decode_reference(a, in, [](std::int64_t, std::int64_t, std::int64_t) { return true; });
}

}  // namespace archfront::cpu
