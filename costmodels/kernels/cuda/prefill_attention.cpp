// Checks a prefill and hands it to the code for the current device.
#include "costmodels/kernels/cuda/prefill_attention.h"

#include <cmath>
#include <string>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/launch.h"
#include "costmodels/kernels/cuda/prefill_paths.h"

namespace archfront::cuda {

void prefill_attention(const PrefillAttentionShape& shape, const void* q, const void* k, const void* v, void* o,
                       CUstream_st* stream, PrefillPath path) {
  const char* kernel = "prefill attention";
  validate(shape);
  require_aligned(kernel, "q", q);
  require_aligned(kernel, "k", k);
  require_aligned(kernel, "v", v);
  require_aligned(kernel, "o", o);
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
      .q = q,
      .k = k,
      .v = v,
      .o = o,
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

}  // namespace archfront::cuda
