#include "costmodels/microbench/cuda_grids.h"

#include <algorithm>
#include <functional>

namespace archfront::cuda {
namespace {

/// Powers of two from `first` to `last`, both of them powers of two.
std::vector<double> doubling(double first, double last) {
  std::vector<double> values;
  for (double value = first; value <= last; value *= 2) values.push_back(value);
  return values;
}

/// Of `values`, the first, the last and every `step`-th between.
std::vector<double> thinned(const std::vector<double>& values, std::size_t step) {
  std::vector<double> result;
  for (std::size_t i = 0; i < values.size(); i += step) result.push_back(values[i]);
  if (result.back() != values.back()) result.push_back(values.back());
  return result;
}

/// Drops the largest value of `axis` until the bytes of the grid's largest point fit.
std::vector<GridAxis> fitted(std::vector<GridAxis> grid, std::size_t axis, std::size_t memory_bytes,
                             const std::function<double(const std::vector<double>&)>& bytes_of) {
  std::vector<double>& values = grid[axis].values;
  const auto largest = [&] {
    std::vector<double> point;
    point.reserve(grid.size());
    for (const GridAxis& each : grid) point.push_back(each.values.back());
    return point;
  };
  while (values.size() > 2 && bytes_of(largest()) > static_cast<double>(memory_bytes)) values.pop_back();
  return grid;
}

std::vector<GridAxis> quickened(std::vector<GridAxis> grid, bool quick) {
  if (quick) {
    for (GridAxis& axis : grid) axis.values = thinned(axis.values, 4);
  }
  return grid;
}

}  // namespace

std::vector<GridAxis> gemm_grid(std::size_t memory_bytes, bool quick) {
  const std::vector<GridAxis> grid{
      {"m", {1, 2, 4, 8, 16, 32, 64, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16384, 32768, 65536}},
      {"n", {256, 512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 28672, 57344, 131072}},
      {"k", {512, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 14336, 28672}}};
  if (quick) {
    return fitted({{"m", {1, 16, 256, 4096}}, {"n", {1024, 8192, 32768}}, {"k", {1024, 8192}}}, 0, memory_bytes,
                  [](const auto& point) { return 2 * (point[0] * (point[1] + point[2]) + point[1] * point[2]); });
  }
  return fitted(grid, 0, memory_bytes,
                [](const auto& point) { return 2 * (point[0] * (point[1] + point[2]) + point[1] * point[2]); });
}

std::vector<GridAxis> fp8_gemm_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"m", {1, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536}},
                           {"n", {512, 1024, 2048, 4096, 8192, 16384, 57344}},
                           {"k", {1024, 2048, 4096, 8192, 14336, 28672}}},
                          quick),
                0, memory_bytes,
                [](const auto& point) { return point[0] * (2 * point[1] + point[2]) + point[1] * point[2]; });
}

// 60 TFLOP/s at most: the largest takes 37 ms.
std::vector<GridAxis> f32_gemm_grid(std::size_t memory_bytes, bool quick) {
  return fitted(
      quickened({{"m", {1, 8, 64, 256, 1024, 4096}}, {"n", {512, 2048, 8192, 16384}}, {"k", {1024, 4096, 16384}}},
                quick),
      0, memory_bytes, [](const auto& point) { return 4 * (point[0] * (point[1] + point[2]) + point[1] * point[2]); });
}

std::vector<GridAxis> grouped_gemm_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"groups", {4, 16, 64, 256}},
                           {"m", {1, 4, 16, 64, 128, 256, 1024}},
                           {"n", {512, 1536, 4096, 14336}},
                           {"k", {512, 1536, 4096, 14336}}},
                          quick),
                1, memory_bytes, [](const auto& point) {
                  return 2 * point[0] * (point[1] * (point[2] + point[3]) + point[2] * point[3]);
                });
}

std::vector<GridAxis> elementwise_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"bytes", doubling(4096, 4294967296.0)}}, quick), 0, memory_bytes,
                [](const auto& point) { return point[0]; });
}

std::vector<GridAxis> embedding_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"tokens", doubling(1, 65536)}}, quick), 0, memory_bytes,
                [](const auto& point) { return 8192 * point[0]; });
}

// q and o take 2 bytes x head_dim a query and head each, k and v together half of that at four query heads a key/value
// head.
std::vector<GridAxis> prefill_grid(std::size_t memory_bytes, bool quick) {
  return fitted(
      quickened(
          {{"head_dim", {64, 128}}, {"batch_heads", {8, 16, 32, 64, 128, 512}}, {"query_length", doubling(256, 65536)}},
          quick),
      2, memory_bytes, [](const auto& point) { return 5 * point[0] * point[1] * point[2]; });
}

std::vector<GridAxis> windowed_prefill_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"window", {256, 1024, 4096}},
                           {"head_dim", {64, 128}},
                           {"batch_heads", {8, 32, 128, 512}},
                           {"query_length", doubling(512, 65536)}},
                          quick),
                3, memory_bytes, [](const auto& point) { return 5 * point[1] * point[2] * point[3]; });
}

// Caches beyond 1,024 heads of 131,072 tokens take over 64 GiB a layer: no model serves them.
std::vector<GridAxis> decode_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"head_dim", {64, 128}},
                           {"group", {1, 2, 4, 8, 16}},
                           {"batch_kv_heads", doubling(1, 1024)},
                           {"context", doubling(256, 131072)}},
                          quick),
                2, memory_bytes, [](const auto& point) { return 4 * point[0] * point[2] * point[3]; });
}

std::vector<GridAxis> long_decode_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"head_dim", {64, 128}},
                           {"group", {1, 4, 8}},
                           {"batch_kv_heads", doubling(1, 32)},
                           {"context", doubling(131072, 1048576)}},
                          quick),
                2, memory_bytes, [](const auto& point) { return 4 * point[0] * point[2] * point[3]; });
}

std::vector<GridAxis> fp8_decode_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"head_dim", {64, 128}},
                           {"group", {1, 4, 8}},
                           {"batch_kv_heads", {1, 4, 8, 16, 64, 256, 1024}},
                           {"context", doubling(256, 131072)}},
                          quick),
                2, memory_bytes, [](const auto& point) { return 2 * point[0] * point[2] * point[3]; });
}

std::vector<GridAxis> sparse_prefill_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"kept", {0.0625, 0.125, 0.25, 0.5, 1}},
                           {"head_dim", {64, 128}},
                           {"batch_heads", {8, 32, 128}},
                           {"query_length", doubling(1024, 65536)}},
                          quick),
                3, memory_bytes, [](const auto& point) { return 5 * point[1] * point[2] * point[3]; });
}

// q, o, their gradients, and a workspace of as many floats as q.
std::vector<GridAxis> backward_grid(std::size_t memory_bytes, bool quick) {
  return fitted(
      quickened({{"head_dim", {64, 128}}, {"batch_heads", {8, 32, 128, 512}}, {"query_length", doubling(512, 32768)}},
                quick),
      2, memory_bytes, [](const auto& point) { return 20 * point[0] * point[1] * point[2]; });
}

// q, k, v and o of 128 in bf16.
std::vector<GridAxis> scan_prefill_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"batch_heads", {8, 16, 32, 64, 128, 512}}, {"length", doubling(256, 65536)}}, quick), 1,
                memory_bytes, [](const auto& point) { return 1024 * point[0] * point[1]; });
}

// Besides, gates of 128 in f32 and a workspace of up to 1,032 bytes.
std::vector<GridAxis> vector_scan_prefill_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"batch_heads", {8, 16, 32, 64, 128, 512}}, {"length", doubling(256, 65536)}}, quick), 1,
                memory_bytes, [](const auto& point) { return 2600 * point[0] * point[1]; });
}

// A state of 128 x 128 in f32.
std::vector<GridAxis> scan_decode_grid(std::size_t memory_bytes, bool quick) {
  return fitted(quickened({{"batch_heads", doubling(8, 8192)}}, quick), 0, memory_bytes,
                [](const auto& point) { return 65536 * point[0]; });
}

}  // namespace archfront::cuda
