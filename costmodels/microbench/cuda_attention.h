#pragma once

#include <vector>

#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/microbench/cuda_timing.h"

namespace archfront::cuda {

/// Causal prefill of the project's own kernel. batch_heads are laid out as sequences of up to 32 heads, four to a
/// key/value head. Tensors are as the projection before leaves them: in the cache where they fit.
TableJob prefill_job(const Workbench& bench, std::vector<GridAxis> grid);
TableJob windowed_prefill_job(const Workbench& bench, std::vector<GridAxis> grid);

/// Decode of the project's own kernel on a cold cache. batch_kv_heads are laid out as sequences of up to 8 key/value
/// heads.
TableJob decode_job(const Workbench& bench, std::vector<GridAxis> grid);
/// The same on an e4m3 cache.
TableJob fp8_decode_job(const Workbench& bench, std::vector<GridAxis> grid);
/// Prefill of key blocks drawn at random, each query block's own among them.
TableJob sparse_prefill_job(const Workbench& bench, std::vector<GridAxis> grid);
/// The gradients of a causal prefill.
TableJob backward_job(const Workbench& bench, std::vector<GridAxis> grid);
/// As decode_job, into a table of its own, for contexts that leave room for few sequences.
TableJob long_decode_job(const Workbench& bench, std::vector<GridAxis> grid);

}  // namespace archfront::cuda
