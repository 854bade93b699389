#pragma once

#include <vector>

#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/microbench/cuda_timing.h"

namespace archfront::cuda {

/// RMSNorm with its residual, which stands for the small fused kernels of a layer: rows of up to 4,096 channels. Its
/// tensors stay where they are, so that those that fit are in the cache, as activations in a model.
TableJob elementwise_job(const Workbench& bench, std::vector<GridAxis> grid);

/// Rows of 4,096 channels gathered from a table of 131,072.
TableJob embedding_job(const Workbench& bench, std::vector<GridAxis> grid);

}  // namespace archfront::cuda
