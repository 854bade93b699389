#include "costmodels/kernels/cpu/attention_shape.h"

#include <fmt/format.h>

#include <string_view>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

void check_size(std::string_view name, std::size_t given, std::int64_t wanted) {
  if (given == static_cast<std::size_t>(wanted)) return;
  throw InputError(fmt::format("{} holds {} elements: attention: its shape needs {}", name, given, wanted));
}

void require(bool holds, std::string_view wrong, std::int64_t value, std::string_view right) {
  if (!holds) throw InputError(fmt::format("{} = {}: attention: {}", wrong, value, right));
}

}  // namespace

void check_attention(const Attention& shape, const AttentionSizes& given) {
  require(shape.head_dim > 0 && shape.head_dim <= 256 && shape.head_dim % 32 == 0, "head_dim", shape.head_dim,
          "use a multiple of 32 up to 256");
  require(shape.batch > 0, "batch", shape.batch, "use 1 or more");
  require(shape.n_kv_heads > 0, "n_kv_heads", shape.n_kv_heads, "use 1 or more");
  require(shape.n_heads > 0 && shape.n_heads % shape.n_kv_heads == 0, "n_heads", shape.n_heads,
          "use a multiple of n_kv_heads");
  require(shape.query_length > 0 && shape.query_length <= shape.context, "query_length", shape.query_length,
          "use 1 to the context");
  require(shape.window >= 0, "window", shape.window, "use 0 (all keys) or more");
  require(shape.sinks >= 0, "sinks", shape.sinks, "use 0 or more");
  if (shape.sparsity != 0 || shape.backward) {
    throw InputError("sparse or backward attention: attention on a CPU: use a dense forward shape");
  }
  const std::int64_t queries = shape.batch * shape.query_length * shape.n_heads * shape.head_dim;
  const std::int64_t keys = shape.batch * shape.context * shape.n_kv_heads * shape.head_dim;
  check_size("q", given.q, queries);
  check_size("k", given.k, keys);
  check_size("v", given.v, keys);
  check_size("o", given.o, queries);
}

void check_bias(const Attention& shape, const KeyValueBias& bias) {
  const std::int64_t wanted = shape.key_value_bias ? std::int64_t{shape.n_heads} * shape.head_dim : 0;
  check_size("bias k", bias.k.size(), wanted);
  check_size("bias v", bias.v.size(), wanted);
}

}  // namespace archfront::cpu
