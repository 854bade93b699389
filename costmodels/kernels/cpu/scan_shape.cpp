#include "costmodels/kernels/cpu/scan_shape.h"

#include <fmt/format.h>

#include <string_view>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

void require(bool holds, std::string_view field, std::int64_t value, std::string_view right) {
  if (!holds) throw InputError(fmt::format("{} = {}: scan: {}", field, value, right));
}

void check_size(std::string_view name, std::size_t given, std::int64_t wanted) {
  if (given == static_cast<std::size_t>(wanted)) return;
  throw InputError(fmt::format("{} holds {} elements: scan: its shape needs {}", name, given, wanted));
}

}  // namespace

bool gated(ScanKind kind) { return kind != ScanKind::linear && kind != ScanKind::delta; }

bool vector_gated(ScanKind kind) { return kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta; }

bool has_delta(ScanKind kind) {
  return kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
}

std::int64_t pending_floats(const Scan& shape) { return 2 * std::int64_t{shape.key_dim} + shape.value_dim; }

void check_scan(const Scan& shape, const ScanSizes& given) {
  if (shape.backward) throw InputError("backward: scan on a CPU: use a forward shape");
  constexpr std::string_view dimension = "use a multiple of 32 up to 256";
  require(shape.key_dim > 0 && shape.key_dim <= 256 && shape.key_dim % 32 == 0, "key_dim", shape.key_dim, dimension);
  require(shape.value_dim > 0 && shape.value_dim <= 256 && shape.value_dim % 32 == 0, "value_dim", shape.value_dim,
          dimension);
  require(shape.batch > 0, "batch", shape.batch, "use 1 or more");
  require(shape.n_heads > 0, "n_heads", shape.n_heads, "use 1 or more");
  require(shape.length > 0, "length", shape.length, "use 1 or more");
  require(!shape.decode || shape.length == 1, "length", shape.length, "use 1 in a decode step");
  const std::int64_t heads = shape.batch * shape.n_heads;
  const std::int64_t rows = heads * shape.length;
  check_size("q", given.q, rows * shape.key_dim);
  check_size("k", given.k, rows * shape.key_dim);
  check_size("v", given.v, rows * shape.value_dim);
  check_size("o", given.o, rows * shape.value_dim);
  check_size("log_alpha", given.log_alpha,
             !gated(shape.kind) ? 0 : rows * (vector_gated(shape.kind) ? shape.key_dim : 1));
  check_size("beta", given.beta, has_delta(shape.kind) ? rows : 0);
  if (given.pending == 0) return check_size("state", given.state, heads * shape.key_dim * shape.value_dim);
  if (!shape.decode || !has_delta(shape.kind)) {
    throw InputError(fmt::format("pending in a {} of {}: scan: leave it out but in decode steps with a delta rule",
                                 shape.decode ? "decode step" : "prefill", to_string(shape.kind)));
  }
  check_settled(shape, given.state, given.pending);
}

void check_settled(const Scan& shape, std::size_t state, std::size_t pending) {
  const std::int64_t heads = shape.batch * shape.n_heads;
  check_size("state", state, heads * shape.key_dim * shape.value_dim);
  check_size("pending", pending, heads * pending_floats(shape));
}

}  // namespace archfront::cpu
