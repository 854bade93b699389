#pragma once
// Device tensors for kernel tests: fresh random values, poisoned outputs, errors as norms.

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "costmodels/errors.h"

namespace archfront::cuda {

/// A bf16 value as the device stores it.
struct Bf16 {
  std::uint16_t bits;
};

inline double to_double(Bf16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }
inline double to_double(float value) { return value; }

template <class T>
T rounded(double value) {
  if constexpr (std::is_same_v<T, float>) {
    return static_cast<float>(value);
  } else {
    const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
    return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
  }
}

/// A tensor on the host and on the device. All bytes of the device's copy are 0xff (NaN in both types) until `send`.
template <class T>
class Tensor {
 public:
  explicit Tensor(std::size_t size) : host(size) {
    void* memory = nullptr;
    EXPECT_EQ(cudaMalloc(&memory, size * sizeof(T)), cudaSuccess);
    device_ = static_cast<T*>(memory);
    EXPECT_EQ(cudaMemset(device_, 0xff, size * sizeof(T)), cudaSuccess);
  }
  template <class Draw>
  Tensor(std::size_t size, Draw draw) : Tensor(size) {
    for (T& value : host) value = rounded<T>(draw());
    send();
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  ~Tensor() { cudaFree(device_); }

  void send() {
    EXPECT_EQ(cudaMemcpy(device_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  void receive() {
    EXPECT_EQ(cudaMemcpy(host.data(), device_, host.size() * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
  }
  T* device() const { return device_; }
  double at(std::size_t index) const { return to_double(host[index]); }

  std::vector<T> host;

 private:
  T* device_ = nullptr;
};

/// ||received - expected|| / ||expected||; NaN if any element is.
template <class T>
double relative_error(Tensor<T>& tensor, const std::vector<double>& expected) {
  tensor.receive();
  EXPECT_EQ(tensor.host.size(), expected.size());
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(tensor.at(i) - expected[i], 2);
    norm += std::pow(expected[i], 2);
  }
  return std::sqrt(error / norm);
}

inline bool no_gpu() {
  int devices = 0;
  return cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0;
}

/// A seed that differs from run to run and is printed, so that a failure can be had again.
inline std::mt19937_64 fresh_generator() {
  const unsigned seed = std::random_device{}();
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  std::printf("seed %u\n", seed);
  return std::mt19937_64(seed);
}

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace archfront::cuda
