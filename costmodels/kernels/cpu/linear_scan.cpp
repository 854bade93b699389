#include "costmodels/kernels/cpu/linear_scan.h"

#include <hwy/aligned_allocator.h>
#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/enumerable_thread_specific.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>

#include "costmodels/kernels/cpu/scan_head.h"
#include "costmodels/kernels/cpu/scan_shape.h"

namespace archfront::cpu {

namespace {

using Buffer = hwy::AlignedFreeUniquePtr<float[]>;

/// How a scan is cut into tasks: `blocks` runs of columns a head.
struct Tasks {
  std::size_t heads;
  std::size_t blocks;
  std::size_t columns;
};

/// Whole heads, unless threads would be left without one: columns of a state do not depend on each other, but where
/// updates are put off they share D and k.
Tasks tasks_of(const Scan& shape, bool whole_heads) {
  const auto threads = static_cast<std::size_t>(oneapi::tbb::this_task_arena::max_concurrency());
  const auto values = static_cast<std::size_t>(shape.value_dim);
  Tasks tasks{static_cast<std::size_t>(shape.batch * shape.n_heads), 1, values};
  while (!whole_heads && tasks.heads * tasks.blocks < threads && tasks.columns % 64 == 0) {
    tasks.blocks *= 2;
    tasks.columns /= 2;
  }
  return tasks;
}

Gate gate_of(ScanKind kind) {
  if (!gated(kind)) return Gate::none;
  return vector_gated(kind) ? Gate::vector : Gate::scalar;
}

template <class T>
ScanHead<T> head_at(const Scan& shape, const ScanOperands<T>& operands, const Tasks& tasks, std::size_t index) {
  const auto heads = static_cast<std::size_t>(shape.n_heads);
  const auto dk = static_cast<std::size_t>(shape.key_dim);
  const auto dv = static_cast<std::size_t>(shape.value_dim);
  const auto length = static_cast<std::size_t>(shape.length);
  const std::size_t head = index / tasks.blocks;
  const std::size_t first_column = index % tasks.blocks * tasks.columns;
  const std::size_t row = head / heads * length * heads + head % heads;  // of the first token
  const Gate gate = gate_of(shape.kind);
  const std::size_t gates = gate == Gate::vector ? dk : 1;  // a token
  return {.delta = has_delta(shape.kind),
          .gate = gate,
          .key_dim = dk,
          .columns = tasks.columns,
          .state_row = dv,
          .length = length,
          .key_row = heads * dk,
          .value_row = heads * dv,
          .gate_row = heads * gates,
          .beta_row = heads,
          .q = operands.q.data() + row * dk,
          .k = operands.k.data() + row * dk,
          .v = operands.v.data() + row * dv + first_column,
          .log_alpha = gate == Gate::none ? nullptr : operands.log_alpha.data() + row * gates,
          .beta = has_delta(shape.kind) ? operands.beta.data() + row : nullptr,
          .state = operands.state.data() + head * dk * dv + first_column,
          .o = operands.o.data() + row * dv + first_column,
          .pending = operands.pending.empty() ? nullptr : operands.pending.data() + head * (2 * dk + dv)};
}

template <class T>
void step_all(const Scan& shape, const ScanOperands<T>& operands) {
  const Tasks tasks = tasks_of(shape, !operands.pending.empty());
  const oneapi::tbb::blocked_range<std::size_t> all(0, tasks.heads * tasks.blocks);
  oneapi::tbb::parallel_for(all, [&](const oneapi::tbb::blocked_range<std::size_t>& range) {
    ScanHead<T> head = head_at(shape, operands, tasks, range.begin());
    for (std::size_t index = range.begin(); index < range.end(); ++index) {
      const bool last = index + 1 == range.end();
      const ScanHead<T> next = last ? head : head_at(shape, operands, tasks, index + 1);
      scan_step(head, last ? nullptr : &next);
      head = next;
    }
  });
}

template <class T>
void scan(const Scan& shape, const ScanOperands<T>& operands) {
  check_scan(shape, {operands.q.size(), operands.k.size(), operands.v.size(), operands.o.size(),
                     operands.log_alpha.size(), operands.beta.size(), operands.state.size(), operands.pending.size()});
  if (shape.decode) return step_all(shape, operands);
  const Tasks tasks = tasks_of(shape, false);
  const std::size_t floats = scan_scratch(static_cast<std::size_t>(shape.key_dim), tasks.columns);
  oneapi::tbb::enumerable_thread_specific<Buffer> buffers([floats] { return hwy::AllocateAligned<float>(floats); });
  oneapi::tbb::parallel_for(std::size_t{0}, tasks.heads * tasks.blocks, [&](std::size_t index) {
    scan_chunks(head_at(shape, operands, tasks, index), buffers.local().get());
  });
}

}  // namespace

std::vector<float> pending_update(const Scan& shape) {
  std::vector<float> pending(static_cast<std::size_t>(shape.batch * shape.n_heads * pending_floats(shape)));
  for (auto head = pending.begin(); head != pending.end(); head += pending_floats(shape)) {
    std::fill_n(head, shape.key_dim, 1.0f);
  }
  return pending;
}

void settle(const Scan& shape, std::span<float> state, std::span<float> pending) {
  const std::int64_t heads = shape.batch * shape.n_heads;
  check_settled(shape, state.size(), pending.size());
  const auto dk = static_cast<std::size_t>(shape.key_dim), dv = static_cast<std::size_t>(shape.value_dim);
  oneapi::tbb::parallel_for(std::size_t{0}, static_cast<std::size_t>(heads), [&](std::size_t head) {
    float* decay = pending.data() + head * (2 * dk + dv);
    const float* u = decay + 2 * dk;
    for (std::size_t i = 0; i < dk; ++i) {
      float* row = state.data() + (head * dk + i) * dv;
      for (std::size_t x = 0; x < dv; ++x) row[x] = decay[i] * row[x] + decay[dk + i] * u[x];
    }
    std::fill_n(decay, dk, 1.0f);
    std::fill_n(decay + dk, dk + dv, 0.0f);
  });
}

void linear_scan(const Scan& shape, const ScanOperands<float>& operands) { scan(shape, operands); }
void linear_scan(const Scan& shape, const ScanOperands<Bf16>& operands) { scan(shape, operands); }

}  // namespace archfront::cpu
