#pragma once
// The two codes behind prefill_attention, on a shape that passed `validate`.

#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/prefill_attention.h"

namespace archfront::cuda {

/// What both kernels take.
struct PrefillArguments {
  PrefillTensors tensors;
  int batch;
  int n_heads;
  int n_kv_heads;
  float scale;  ///< log2(e) / sqrt(head_dim)
  Visibility visibility;
};

void prefill_ampere(const PrefillArguments& arguments, int head_dim, CUstream_st* stream);

/// head_dim 64 or 128 and a device of compute capability 9.0.
void prefill_hopper(const PrefillArguments& arguments, int head_dim, CUstream_st* stream);

}  // namespace archfront::cuda
