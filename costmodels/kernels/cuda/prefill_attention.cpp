// Checks a prefill and hands it to the code for the current device.
#include "costmodels/kernels/cuda/prefill_attention.h"

#include <cmath>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/prefill_paths.h"

namespace archfront::cuda {

namespace {

const char* const kernel = "prefill attention";

void require_both(const char* first, const void* first_pointer, const char* second, const void* second_pointer) {
  if ((first_pointer == nullptr) == (second_pointer == nullptr)) return;
  throw InputError(std::string(first_pointer != nullptr ? first : second) + " without " +
                   (first_pointer != nullptr ? second : first) + ": " + kernel + ": give both or neither");
}

void check(const PrefillAttentionShape& shape, const PrefillTensors& tensors) {
  validate(shape);
  require_aligned(kernel, "q", tensors.q);
  require_aligned(kernel, "k", tensors.k);
  require_aligned(kernel, "v", tensors.v);
  require_aligned(kernel, "o", tensors.o);
  require_both("bias_key", tensors.bias_key, "bias_value", tensors.bias_value);
  require_both("block_starts", tensors.block_starts, "key_blocks", tensors.key_blocks);
  if (tensors.bias_key != nullptr) {
    require_aligned(kernel, "bias_key", tensors.bias_key);
    require_aligned(kernel, "bias_value", tensors.bias_value);
  }
  if (tensors.block_starts != nullptr && shape.window > 0)
    throw InputError("window = " + std::to_string(shape.window) + " with a list of blocks: " + kernel +
                     ": leave the window at 0, or list no blocks");
}

}  // namespace

void prefill_attention(const PrefillAttentionShape& shape, const PrefillTensors& tensors, CUstream_st* stream,
                       PrefillPath path) {
  check(shape, tensors);
  const int capability = compute_capability();
  if (capability < 80)
    throw InputError("compute capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
                     " is too old: prefill attention: it needs 8.0 or later");
  const bool hopper_serves = capability == 90 && shape.head_dim <= 128;
  if (path == PrefillPath::hopper && !hopper_serves)
    throw InputError(
        "the Hopper path was asked for: prefill attention: it needs compute capability 9.0 and head_dim 64 or 128");
  const float log2_e = 1.4426950408889634f;
  const PrefillArguments arguments{
      .tensors = tensors,
      .batch = shape.batch,
      .n_heads = shape.n_heads,
      .n_kv_heads = shape.n_kv_heads,
      .scale = log2_e / std::sqrt(static_cast<float>(shape.head_dim)),
      .visibility = {.length = shape.length, .causal = shape.causal, .window = shape.window, .sinks = shape.sinks}};
  if (hopper_serves && path != PrefillPath::ampere)
    prefill_hopper(arguments, shape.head_dim, stream);
  else
    prefill_ampere(arguments, shape.head_dim, stream);
}

void prefill_attention(const PrefillAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                       CUstream_st* stream, PrefillPath path) {
  PrefillTensors tensors;
  tensors.q = q;
  tensors.k = k;
  tensors.v = v;
  tensors.o = o;
  prefill_attention(shape, tensors, stream, path);
}

}  // namespace archfront::cuda
