#include "costmodels/kernels/cuda/tensor_map.h"

#include <cudaTypedefs.h>

#include <stdexcept>
#include <string>

#include "costmodels/kernels/cuda/launch.h"

namespace archfront::cuda {
namespace {

PFN_cuTensorMapEncodeTiled_v12000 find_encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  require_success(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found),
      "looking up cuTensorMapEncodeTiled");
  if (found != cudaDriverEntryPointSuccess)
    throw std::runtime_error("CUDA failed: the driver has no cuTensorMapEncodeTiled: it is older than 12.0");
  return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
}

}  // namespace

CUtensorMap token_tensor_map(const void* tensor, int batch, int length, int heads, int dim, int rows) {
  static const PFN_cuTensorMapEncodeTiled_v12000 encode = find_encoder();
  const cuuint64_t row_bytes = static_cast<cuuint64_t>(heads) * static_cast<cuuint64_t>(dim) * 2;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(dim), static_cast<cuuint64_t>(heads),
                              static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(batch)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(dim) * 2, row_bytes,
                                row_bytes * static_cast<cuuint64_t>(length)};
  const cuuint32_t box[] = {64, 1, static_cast<cuuint32_t>(rows), 1};
  const cuuint32_t element_strides[] = {1, 1, 1, 1};
  CUtensorMap map{};
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(tensor), sizes, strides,
                                 box, element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw std::runtime_error("CUDA failed: making a tensor map: error " + std::to_string(static_cast<int>(status)));
  return map;
}

}  // namespace archfront::cuda
