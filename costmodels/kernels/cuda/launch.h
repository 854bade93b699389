#pragma once
// What launchers share: CUDA's error codes as exceptions, facts of the current device, alignment.

#include <cuda_runtime_api.h>

namespace archfront::cuda {

/// Throws std::runtime_error "CUDA failed: <what>: <CUDA's message>".
void require_success(cudaError_t status, const char* what);

/// An attribute of the current device.
int device_attribute(cudaDeviceAttr attribute);

/// 10 major + minor of the current device. Throws InputError where there is none.
int compute_capability();

/// Throws InputError unless the pointer is set and 16-byte aligned.
void require_aligned(const char* kernel, const char* tensor, const void* pointer);

}  // namespace archfront::cuda
