#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "costmodels/microbench/cuda_grids.h"
#include "costmodels/microbench/cuda_timing.h"
#include "costmodels/operations.h"

namespace archfront::cuda {

class CublasHandle {
 public:
  CublasHandle();
  cublasLtHandle_t get() const { return handle_.get(); }

 private:
  struct Destroy {
    void operator()(cublasLtHandle_t handle) const;
  };
  std::unique_ptr<cublasLtContext, Destroy> handle_;
};

/// c[m, n] = a[m, k] w[n, k]^T, row-major, the way linear layers keep their weights; f32 accumulation (int32 for int8).
/// Groups lie one after another in each tensor.
/// c is f32 for f32, int32 for int8 and bf16 for the rest. f32 is exact: no tf32.
class GemmPlan {
 public:
  /// Asks cuBLASLt for its `most` likeliest algorithms, likeliest first. None is left if it does not serve the type.
  GemmPlan(const CublasHandle& handle, const Gemm& gemm, std::size_t workspace_bytes, int most);
  std::size_t algorithms() const { return algorithms_.size(); }
  /// Enqueues one product. Throws std::runtime_error if cuBLASLt refuses.
  void run(std::size_t algorithm, const void* a, const void* w, void* c, void* workspace, cudaStream_t stream) const;

 private:
  struct DestroyDescription {
    void operator()(cublasLtMatmulDesc_t description) const;
  };
  struct DestroyLayout {
    void operator()(cublasLtMatrixLayout_t layout) const;
  };
  using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, DestroyLayout>;

  cublasLtHandle_t handle_;
  bool integer_;
  std::size_t workspace_bytes_;
  std::unique_ptr<cublasLtMatmulDescOpaque_t, DestroyDescription> description_;
  Layout weights_;
  Layout activations_;
  Layout product_;
  std::vector<cublasLtMatmulAlgo_t> algorithms_;
};

/// What engines give cuBLASLt beside the tensors; the vendor's advice for Hopper is 32 MiB.
inline constexpr std::size_t gemm_workspace_bytes = std::size_t{64} << 20;
inline constexpr int most_gemm_algorithms = 8;

/// A product's fastest algorithm, and how it fares.
struct FastestAlgorithm {
  std::size_t algorithm = 0;
  Measurement measurement;
};
/// `launches` has one for each of a plan's algorithms: a quick heat of all, then the two best against each other.
FastestAlgorithm fastest_algorithm(const Workbench& bench, const Gemm& gemm, std::vector<Launch> launches);

/// A table of products, each the fastest of several algorithms, over axes m, n, k, or groups before these. Weights are
/// cold, activations as they fall.
TableJob gemm_job(const Workbench& bench, std::vector<GridAxis> grid, Precision precision);

/// FLOP/s of a large product (8192 cubed, less if `quick`); 0 if the device or cuBLASLt does not serve the precision.
double peak_gemm_rate(const Workbench& bench, Precision precision, bool quick);

/// "cuBLASLt 13.0.2"
std::string cublas_version();

}  // namespace archfront::cuda
