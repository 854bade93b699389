#pragma once

#include <vector>

#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/microbench/cuda_timing.h"
#include "costmodels/operations.h"

namespace archfront::cuda {

/// Chunked prefill of the project's own kernels, heads of 128 by 128; batch_heads are laid out as sequences of up to 16
/// heads. Tensors are as the convolution before leaves them: in the cache where they fit.
TableJob scan_prefill_job(const Workbench& bench, std::vector<GridAxis> grid, ScanKind kind);

/// One token of a gated delta rule on cold states of 128 by 128 in f32: what other kinds take differs by their gates'
/// few bytes.
TableJob scan_decode_job(const Workbench& bench, std::vector<GridAxis> grid);

}  // namespace archfront::cuda
