#pragma once

#include <cstddef>
#include <vector>

#include "costmodels/microbench/calibration_writer.h"

namespace archfront::cuda {

// The grids of the calibration tables. Each is full and rectangular; its largest values are left out until the tensors
// of its largest point fit in `memory_bytes`. `quick` thins them for a trial run.

/// Axes m, n, k. On a public table of 16,560 bf16 products measured on an H100 with one algorithm each, interpolating
/// between factors of two in all three is off by 3.5% in the median and 11.5% at p90, and halving the steps gains half
/// a percent: what is left is which algorithm the library picks. The values between are sizes that models often have.
std::vector<GridAxis> gemm_grid(std::size_t memory_bytes, bool quick);

/// The same axes, coarser: products of these precisions share their kernels' shape with bf16's.
std::vector<GridAxis> fp8_gemm_grid(std::size_t memory_bytes, bool quick);
std::vector<GridAxis> f32_gemm_grid(std::size_t memory_bytes, bool quick);

/// Axes groups (the experts of a mixture), m of each, n, k.
std::vector<GridAxis> grouped_gemm_grid(std::size_t memory_bytes, bool quick);

/// Axis bytes, read and written.
std::vector<GridAxis> elementwise_grid(std::size_t memory_bytes, bool quick);

/// Axis tokens.
std::vector<GridAxis> embedding_grid(std::size_t memory_bytes, bool quick);

/// Axes head_dim, batch_heads, query_length.
std::vector<GridAxis> prefill_grid(std::size_t memory_bytes, bool quick);

/// Axes window, head_dim, batch_heads, query_length.
std::vector<GridAxis> windowed_prefill_grid(std::size_t memory_bytes, bool quick);

/// Axes head_dim, group, batch_kv_heads, context.
std::vector<GridAxis> decode_grid(std::size_t memory_bytes, bool quick);

/// The same axes for contexts up to a million, which only a few sequences' caches leave room for.
std::vector<GridAxis> long_decode_grid(std::size_t memory_bytes, bool quick);

/// Axes head_dim, group, batch_kv_heads, context of a cache of bytes.
std::vector<GridAxis> fp8_decode_grid(std::size_t memory_bytes, bool quick);

/// Axes kept, head_dim, batch_heads, query_length.
std::vector<GridAxis> sparse_prefill_grid(std::size_t memory_bytes, bool quick);

/// Axes head_dim, batch_heads, query_length; a training step has no longer sequences on one device.
std::vector<GridAxis> backward_grid(std::size_t memory_bytes, bool quick);

/// Axes batch_heads, length.
std::vector<GridAxis> scan_prefill_grid(std::size_t memory_bytes, bool quick);
/// The same for a gate a channel, whose workspace is 1 KiB a token and head.
std::vector<GridAxis> vector_scan_prefill_grid(std::size_t memory_bytes, bool quick);

/// Axis batch_heads.
std::vector<GridAxis> scan_decode_grid(std::size_t memory_bytes, bool quick);

}  // namespace archfront::cuda
