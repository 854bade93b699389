#pragma once
// Softmax attention straight from its definition, in double.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "costmodels/kernels/cpu/block_mask.h"
#include "costmodels/kernels/cpu/key_value_bias.h"
#include "costmodels/operations.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {

template <class Q, class K>
struct Operands {
  std::vector<Q> q;
  std::vector<K> k, v;
  std::vector<float> bias_k, bias_v;

  Operands(const Attention& a, std::mt19937& engine)
      : q(normal<Q>(engine, a.batch * a.query_length * a.n_heads * a.head_dim)),
        k(normal<K>(engine, a.batch * a.context * a.n_kv_heads * a.head_dim)),
        v(normal<K>(engine, a.batch * a.context * a.n_kv_heads * a.head_dim)),
        bias_k(normal<float>(engine, a.key_value_bias ? std::int64_t{a.n_heads} * a.head_dim : 0)),
        bias_v(normal<float>(engine, a.key_value_bias ? std::int64_t{a.n_heads} * a.head_dim : 0)) {}

  KeyValueBias bias() const { return {bias_k, bias_v}; }
};

/// Whether causality, window, sinks and the mask, if there is one, let a query see a key.
inline bool sees(const Attention& a, const BlockMask* mask, std::int64_t batch, std::int64_t head, std::int64_t query,
                 std::int64_t key) {
  const std::int64_t position = a.context - a.query_length + query;
  if (key > position || (a.window > 0 && key <= position - a.window && key >= a.sinks)) return false;
  if (mask == nullptr) return true;
  const auto row = mask->kept(batch, head, query / mask->block);
  return std::find(row.begin(), row.end(), key / mask->block) != row.end();
}

/// One query's output.
template <class Q, class K>
void attend(const Attention& a, const BlockMask* mask, const Operands<Q, K>& in, std::int64_t batch, std::int64_t query,
            std::int64_t head, double* o) {
  const std::int64_t kv_head = head / (a.n_heads / a.n_kv_heads);
  const Q* q = &in.q[static_cast<std::size_t>(((batch * a.query_length + query) * a.n_heads + head) * a.head_dim)];
  std::vector<std::vector<double>> values;
  std::vector<double> weights;
  const auto add = [&](const auto* k, const auto* v) {
    double score = 0;
    for (int x = 0; x < a.head_dim; ++x) score += static_cast<double>(to_f32(q[x])) * static_cast<double>(to_f32(k[x]));
    weights.push_back(score / std::sqrt(a.head_dim));
    values.emplace_back();
    for (int x = 0; x < a.head_dim; ++x) values.back().push_back(static_cast<double>(to_f32(v[x])));
  };
  for (std::int64_t key = 0; key < a.context; ++key) {
    if (!sees(a, mask, batch, head, query, key)) continue;
    const auto at = static_cast<std::size_t>(((batch * a.context + key) * a.n_kv_heads + kv_head) * a.head_dim);
    add(&in.k[at], &in.v[at]);
  }
  if (a.key_value_bias) {
    const auto at = static_cast<std::size_t>(head * a.head_dim);
    add(&in.bias_k[at], &in.bias_v[at]);
  }
  const double maximum = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp(weight - maximum);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    for (int x = 0; x < a.head_dim; ++x) o[x] += weights[i] / sum * values[i][static_cast<std::size_t>(x)];
  }
}

/// The output of every query [batch, query_length, n_heads, head_dim].
template <class Q, class K>
std::vector<double> reference(const Attention& a, const Operands<Q, K>& in, const BlockMask* mask = nullptr) {
  std::vector<double> o(in.q.size());
  for (std::int64_t row = 0; row < a.batch * a.query_length * a.n_heads; ++row) {
    attend(a, mask, in, row / a.n_heads / a.query_length, row / a.n_heads % a.query_length, row % a.n_heads,
           &o[static_cast<std::size_t>(row * a.head_dim)]);
  }
  return o;
}

}  // namespace archfront::cpu
