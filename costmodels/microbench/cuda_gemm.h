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

/// The table of bf16 products, each the fastest of several algorithms. Weights are cold, activations as they fall.
TableJob gemm_job(const Workbench& bench, std::vector<GridAxis> grid);

/// FLOP/s of a large product (8192 cubed, less if `quick`); 0 if the device or cuBLASLt does not serve the precision.
double peak_gemm_rate(const Workbench& bench, Precision precision, bool quick);

/// "cuBLASLt 13.0.2"
std::string cublas_version();

}  // namespace archfront::cuda
