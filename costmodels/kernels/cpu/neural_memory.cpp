#include "costmodels/kernels/cpu/neural_memory.h"

#include <fmt/format.h>
#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <string_view>

#include "costmodels/errors.h"
#include "costmodels/kernels/cpu/memory_head.h"

namespace archfront::cpu {

namespace {

using Buffer = hwy::AlignedFreeUniquePtr<float[]>;

void require(bool holds, std::string_view field, std::int64_t value, std::string_view right) {
  if (!holds) throw InputError(fmt::format("{} = {}: neural memory: {}", field, value, right));
}

void check_size(std::string_view name, std::size_t given, std::size_t wanted) {
  if (given == wanted) return;
  throw InputError(fmt::format("{} holds {} elements: neural memory: its shape needs {}", name, given, wanted));
}

void check_shape(const NeuralMemory& shape) {
  if (shape.backward) throw InputError("backward: neural memory on a CPU: use a forward shape");
  require(shape.key_dim > 0 && shape.key_dim <= 256 && shape.key_dim % 32 == 0, "key_dim", shape.key_dim,
          "use a multiple of 32 up to 256");
  require(shape.depth > 0 && shape.depth <= static_cast<int>(most_memory_layers), "depth", shape.depth, "use 1 to 8");
  const bool narrow = shape.hidden > 0 && shape.hidden <= static_cast<int>(widest_memory) && shape.hidden % 32 == 0;
  require(shape.depth == 1 || narrow, "hidden", shape.hidden, "use a multiple of 32 up to 1024");
  require(shape.chunk > 0, "chunk", shape.chunk, "use 1 or more");
  require(shape.batch > 0, "batch", shape.batch, "use 1 or more");
  require(shape.n_heads > 0, "n_heads", shape.n_heads, "use 1 or more");
  require(shape.length > 0, "length", shape.length, "use 1 or more");
  require(!shape.decode || shape.length == 1, "length", shape.length, "use 1 in a decode step");
}

std::size_t heads_of(const NeuralMemory& shape) { return static_cast<std::size_t>(shape.batch * shape.n_heads); }

template <class T>
void check_memory(const NeuralMemory& shape, const MemoryOperands<T>& operands) {
  check_shape(shape);
  const std::size_t heads = heads_of(shape);
  const std::size_t rows = heads * static_cast<std::size_t>(shape.length);
  const std::size_t elements = rows * static_cast<std::size_t>(shape.key_dim);
  const std::size_t state = heads * static_cast<std::size_t>(memory_weights(shape));
  check_size("q", operands.q.size(), elements);
  check_size("k", operands.k.size(), elements);
  check_size("v", operands.v.size(), elements);
  check_size("o", operands.o.size(), elements);
  check_size("eta", operands.eta.size(), rows);
  check_size("theta", operands.theta.size(), rows);
  check_size("alpha", operands.alpha.size(), rows);
  check_size("weights", operands.weights.size(), state);
  check_size("momentum", operands.momentum.size(), state);
}

template <class T>
MemoryHead<T> head_at(const NeuralMemory& shape, const MemoryOperands<T>& operands, std::size_t index) {
  const auto heads = static_cast<std::size_t>(shape.n_heads);
  const auto dim = static_cast<std::size_t>(shape.key_dim);
  const auto length = static_cast<std::size_t>(shape.length);
  const auto state = static_cast<std::size_t>(memory_weights(shape));
  const std::size_t row = index / heads * length * heads + index % heads;  // of the first token
  return {.key_dim = dim,
          .hidden = static_cast<std::size_t>(shape.hidden),
          .depth = static_cast<std::size_t>(shape.depth),
          .chunk = std::min(length, static_cast<std::size_t>(shape.chunk)),
          .length = length,
          .token_row = heads * dim,
          .rate_row = heads,
          .q = operands.q.data() + row * dim,
          .k = operands.k.data() + row * dim,
          .v = operands.v.data() + row * dim,
          .eta = operands.eta.data() + row,
          .theta = operands.theta.data() + row,
          .alpha = operands.alpha.data() + row,
          .weights = operands.weights.data() + index * state,
          .momentum = operands.momentum.data() + index * state,
          .o = operands.o.data() + row * dim};
}

template <class T>
void run_memory(const NeuralMemory& shape, const MemoryOperands<T>& operands) {
  check_memory(shape, operands);
  if (shape.decode) {
    oneapi::tbb::parallel_for(std::size_t{0}, heads_of(shape),
                              [&](std::size_t index) { memory_step(head_at(shape, operands, index)); });
    return;
  }
  const MemoryHead<T> first = head_at(shape, operands, 0);
  const std::size_t floats = memory_scratch(first.key_dim, first.hidden, first.depth, first.chunk);
  oneapi::tbb::enumerable_thread_specific<Buffer> buffers([floats] { return hwy::AllocateAligned<float>(floats); });
  oneapi::tbb::parallel_for(std::size_t{0}, heads_of(shape), [&](std::size_t index) {
    memory_chunks(head_at(shape, operands, index), buffers.local().get());
  });
}

}  // namespace

void neural_memory(const NeuralMemory& shape, const MemoryOperands<float>& operands) { run_memory(shape, operands); }
void neural_memory(const NeuralMemory& shape, const MemoryOperands<Bf16>& operands) { run_memory(shape, operands); }

}  // namespace archfront::cpu
