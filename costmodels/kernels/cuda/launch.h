#pragma once
// What launchers share: CUDA's error codes as exceptions, facts of the current device, alignment.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <type_traits>

namespace archfront::cuda {

/// Throws std::runtime_error "CUDA failed: <what>: <CUDA's message>".
void require_success(cudaError_t status, const char* what);

/// An attribute of the current device.
int device_attribute(cudaDeviceAttr attribute);

/// 10 major + minor of the current device. Throws InputError where there is none.
int compute_capability();

/// Throws InputError unless the pointer is set and 16-byte aligned.
void require_aligned(const char* kernel, const char* tensor, const void* pointer);

struct LaunchShape {
  dim3 grid;
  unsigned n_threads;
  int shared_bytes;
  unsigned cluster = 1;  ///< blocks of a cluster, along the grid's x (more than 1: sm_90)
};

/// Launches a kernel and throws if that fails. Reserves its dynamic shared memory beyond the 48 KiB any kernel gets.
template <class... Parameters>
void launch_kernel(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream, const char* what,
                   std::type_identity_t<Parameters>... arguments) {
  const auto* function = reinterpret_cast<const void*>(kernel);
  require_success(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shape.shared_bytes),
                  what);
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = shape.grid;
  config.blockDim = dim3{shape.n_threads, 1, 1};
  config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared_bytes);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = shape.cluster > 1 ? 1 : 0;
  void* pointers[] = {&arguments...};
  require_success(cudaLaunchKernelExC(&config, function, pointers), what);
}

}  // namespace archfront::cuda
