#include "costmodels/kernels/cuda/launch.h"

#include <cstdint>
#include <stdexcept>
#include <string>

#include "costmodels/errors.h"

namespace archfront::cuda {

void require_success(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  throw std::runtime_error(std::string("CUDA failed: ") + what + ": " + cudaGetErrorString(status));
}

int device_attribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  require_success(cudaGetDevice(&device), "reading the current device");
  require_success(cudaDeviceGetAttribute(&value, attribute, device), "reading an attribute of the device");
  return value;
}

int compute_capability() {
  int n_devices = 0;
  if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0)
    throw InputError("no CUDA device: CUDA kernels: they need an NVIDIA GPU of compute capability 8.0 or later");
  return 10 * device_attribute(cudaDevAttrComputeCapabilityMajor) + device_attribute(cudaDevAttrComputeCapabilityMinor);
}

void require_aligned(const char* kernel, const char* tensor, const void* pointer) {
  if (pointer != nullptr && reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0) return;
  throw InputError(std::string(tensor) + " is null or not aligned: " + kernel +
                   ": it must lie at a multiple of 16 bytes in device memory");
}

}  // namespace archfront::cuda
