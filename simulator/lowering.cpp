#include "simulator/lowering.h"

#include <algorithm>
#include <span>

#include "simulator/append.h"
#include "simulator/backward.h"
#include "simulator/footprint.h"
#include "simulator/tensor_parallel.h"

namespace archfront {
namespace {

/// Adds a half's output to the residual and norms it for the next half.
void append_residual_norm(double width, const Step& step, Operations& operations) {
  if (step.engine == Engine::graph) {  // one pass: residual and output in, residual and normed out
    append_elementwise(operations, "residual_norm", 2 * width, 2 * width, step);
    return;
  }
  append_elementwise(operations, "residual_add", 2 * width, width, step);
  append_unfused_norm(operations, width, step);
}

/// Norms a half's output before it is added (four norms a layer).
void append_output_norm(double width, const Step& step, Operations& operations) {
  if (step.engine == Engine::graph) {
    append_elementwise(operations, "output_norm", width, width, step);
  } else {
    append_unfused_norm(operations, width, step);
  }
}

/// What a mixer's own tokens do in the layer beside the mixer: norms and feed-forward.
void lower_memory_pass(const Architecture& architecture, const Layer& layer, const MemoryPass& memory,
                       Operations& operations) {
  const std::size_t first = operations.size();
  const double width = static_cast<double>(architecture.d_model) * static_cast<double>(tokens(memory.step));
  append_residual_norm(width, memory.step, operations);
  if (layer.feed_forward.kind != FeedForward::Kind::none) {
    append_residual_norm(width, memory.step, operations);
    lower(layer.feed_forward, architecture.d_model, memory.step, operations);
  }
  for (std::size_t i = first; i < operations.size(); ++i) operations[i].count *= memory.times;
}

void lower_forward(const Architecture& architecture, const Layer& layer, const Step& step, Operations& operations) {
  const int d = architecture.d_model;
  const double width = static_cast<double>(d) * static_cast<double>(tokens(step));
  const bool outputs_normed = architecture.norms_per_layer == 4;
  append_residual_norm(width, step, operations);
  lower(layer.mixer, d, step, operations);
  append_all_reduce(d, step, operations);
  if (outputs_normed) append_output_norm(width, step, operations);
  if (const auto memory = memory_pass(layer.mixer, step)) lower_memory_pass(architecture, layer, *memory, operations);
  if (layer.feed_forward.kind == FeedForward::Kind::none) return;
  append_residual_norm(width, step, operations);
  lower(layer.feed_forward, d, step, operations);
  append_all_reduce(d, step, operations);
  if (outputs_normed) append_output_norm(width, step, operations);
}

/// Appends the backward of everything from `first` on.
void lower_backward(std::size_t first, Operations& operations) {
  const std::size_t n = operations.size() - first;
  operations.reserve(operations.size() + 2 * n);  // at most two products each, so what is read stays where it is
  append_backward(std::span<const CountedOperation>(operations).subspan(first, n), operations);
}

void lower_ends_forward(const Architecture& architecture, const Step& step, Operations& operations) {
  const std::int64_t n = tokens(step);
  const int d = architecture.d_model;
  operations.push_back({"embedding", 1, Embedding{.tokens = n, .d_model = d, .precision = step.precision}});
  if (architecture.learned_positions > 0) {
    operations.push_back({"position_embedding", 1, Embedding{.tokens = n, .d_model = d, .precision = step.precision}});
  }
  append_all_reduce(d, step, operations);  // each device holds a share of the rows
  append_residual_norm(static_cast<double>(d) * static_cast<double>(n), step, operations);
  // Generation needs the logits of each sequence's last token only; training those of every token.
  const std::int64_t rows = step.phase == Phase::train ? n : step.batch;
  append_gemm(operations, "head", rows, architecture.vocab_size, d, step);
  append_logits_gather(rows, architecture.vocab_size, step, operations);
}

/// Softmax cross-entropy: the logits are read for the normaliser, and again to be overwritten by their gradient.
void append_loss(const Architecture& architecture, const Step& step, Operations& operations) {
  const double logits = static_cast<double>(tokens(step)) * architecture.vocab_size;
  append_elementwise(operations, "loss", logits, 0, step);
  append_elementwise(operations, "loss_gradient", logits, logits, step);
}

void merge(const CountedOperation& counted, double times, Operations& merged) {
  const auto same = std::find_if(merged.begin(), merged.end(), [&](const CountedOperation& other) {
    return other.name == counted.name && other.operation == counted.operation;
  });
  if (same != merged.end()) {
    same->count += counted.count * times;
  } else {
    merged.push_back({counted.name, counted.count * times, counted.operation});
  }
}

}  // namespace

void lower_layer(const Architecture& architecture, const Layer& layer, const Step& step, Operations& operations) {
  const std::size_t first = operations.size();
  lower_forward(architecture, layer, step, operations);
  if (step.phase != Phase::train) return;
  const std::size_t forwards = operations.size();
  lower_backward(first, operations);
  if (step.recompute_layer) {
    for (std::size_t i = first; i < forwards; ++i) operations[i].count *= 2;
  }
  append_optimiser(static_cast<double>(layer_footprint(architecture, layer).parameters), step.engine, operations);
}

void lower_ends(const Architecture& architecture, const Step& step, Operations& operations) {
  const std::size_t first = operations.size();
  lower_ends_forward(architecture, step, operations);
  if (step.phase != Phase::train) return;
  lower_backward(first, operations);
  append_loss(architecture, step, operations);
  const std::int64_t weights = embedding_parameters(architecture) + norm_parameters(architecture);
  append_optimiser(static_cast<double>(weights), step.engine, operations);
}

Operations lower(const Architecture& architecture, const Step& step) {
  Operations merged;
  Operations one;
  for (const Block& block : architecture.blocks) {
    for (const Layer& layer : block.layers) {
      one.clear();
      lower_layer(architecture, layer, step, one);
      for (const CountedOperation& counted : one) merge(counted, block.repeat, merged);
    }
  }
  one.clear();
  lower_ends(architecture, step, one);
  for (const CountedOperation& counted : one) merge(counted, 1, merged);
  return merged;
}

}  // namespace archfront
