#include "costmodels/microbench/cuda_gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "costmodels/microbench/cuda_probes.h"

namespace archfront::cuda {
namespace {

void check(cublasStatus_t status, std::string_view what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw std::runtime_error(fmt::format("{}: cuBLASLt: {}", what, cublasLtGetStatusString(status)));
}

struct Types {
  cudaDataType input;
  cudaDataType output;
  cublasComputeType_t compute;
  cudaDataType scale;
  std::size_t output_bytes;
};

Types types_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
      return {CUDA_R_32F, CUDA_R_32F, CUBLAS_COMPUTE_32F, CUDA_R_32F, 4};
    case Precision::fp8:
      return {CUDA_R_8F_E4M3, CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F, 2};
    case Precision::int8:
      return {CUDA_R_8I, CUDA_R_32I, CUBLAS_COMPUTE_32I, CUDA_R_32I, 4};
    case Precision::bf16:
      break;
  }
  return {CUDA_R_16BF, CUDA_R_16BF, CUBLAS_COMPUTE_32F, CUDA_R_32F, 2};
}

/// Of `groups` matrices one after another.
cublasLtMatrixLayout_t make_layout(cudaDataType type, std::int64_t rows, std::int64_t columns, std::int64_t groups) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns),
                                   rows),
        "describing a matrix");
  if (groups == 1) return layout;
  const auto count = static_cast<std::int32_t>(groups);
  const std::int64_t stride = rows * columns;
  check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count),
        "describing a matrix");
  check(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
        "describing a matrix");
  return layout;
}

void fill(Precision precision, const Buffer& buffer, float scale, std::uint64_t seed, cudaStream_t stream) {
  switch (precision) {
    case Precision::f32:
      return fill_normal_f32(buffer.data(), buffer.bytes(), scale, seed, stream);
    case Precision::bf16:
      return fill_normal_bf16(buffer.data(), buffer.bytes(), scale, seed, stream);
    case Precision::fp8:
      return fill_normal_fp8(buffer.data(), buffer.bytes(), scale, seed, stream);
    case Precision::int8:
      return fill_normal_int8(buffer.data(), buffer.bytes(), 32 * scale, seed, stream);
  }
}

std::size_t align(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

CublasHandle::CublasHandle() {
  cublasLtHandle_t handle = nullptr;
  check(cublasLtCreate(&handle), "starting cuBLASLt");
  handle_.reset(handle);
}

void CublasHandle::Destroy::operator()(cublasLtHandle_t handle) const { static_cast<void>(cublasLtDestroy(handle)); }

void GemmPlan::DestroyDescription::operator()(cublasLtMatmulDesc_t description) const {
  static_cast<void>(cublasLtMatmulDescDestroy(description));
}

void GemmPlan::DestroyLayout::operator()(cublasLtMatrixLayout_t layout) const {
  static_cast<void>(cublasLtMatrixLayoutDestroy(layout));
}

// cuBLASLt is column-major: c^T[n, m] = w[n, k] a^T[k, m], where row-major w[n, k] is column-major [k, n] transposed.
GemmPlan::GemmPlan(const CublasHandle& handle, const Gemm& gemm, std::size_t workspace, int most)
    : handle_(handle.get()), integer_(gemm.precision == Precision::int8), workspace_bytes_(workspace) {
  const Types types = types_of(gemm.precision);
  cublasLtMatmulDesc_t description = nullptr;
  check(cublasLtMatmulDescCreate(&description, types.compute, types.scale), "describing a product");
  description_.reset(description);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
        "describing a product");
  if (gemm.precision == Precision::fp8) {
    const std::int8_t fast_accumulation = 1;  // what inference engines use
    check(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast_accumulation,
                                         sizeof fast_accumulation),
          "describing a product");
  }
  weights_.reset(make_layout(types.input, gemm.k, gemm.n, gemm.groups));
  activations_.reset(make_layout(types.input, gemm.k, gemm.m, gemm.groups));
  product_.reset(make_layout(types.output, gemm.n, gemm.m, gemm.groups));

  cublasLtMatmulPreference_t preference = nullptr;
  check(cublasLtMatmulPreferenceCreate(&preference), "asking for algorithms");
  std::vector<cublasLtMatmulHeuristicResult_t> found(static_cast<std::size_t>(most));
  int count = 0;
  cublasStatus_t status = cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                               &workspace_bytes_, sizeof workspace_bytes_);
  if (status == CUBLAS_STATUS_SUCCESS)
    status = cublasLtMatmulAlgoGetHeuristic(handle_, description, weights_.get(), activations_.get(), product_.get(),
                                            product_.get(), preference, most, found.data(), &count);
  static_cast<void>(cublasLtMatmulPreferenceDestroy(preference));
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) return;
  check(status, "asking for algorithms");
  for (int i = 0; i < count; ++i) {
    const auto& result = found[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms_.push_back(result.algo);
  }
}

void GemmPlan::run(std::size_t algorithm, const void* a, const void* w, void* c, void* workspace,
                   cudaStream_t stream) const {
  const float one = 1;
  const float zero = 0;
  const std::int32_t integer_one = 1;
  const std::int32_t integer_zero = 0;
  const void* alpha = integer_ ? static_cast<const void*>(&integer_one) : &one;
  const void* beta = integer_ ? static_cast<const void*>(&integer_zero) : &zero;
  check(cublasLtMatmul(handle_, description_.get(), alpha, w, weights_.get(), a, activations_.get(), beta, c,
                       product_.get(), c, product_.get(), &algorithms_[algorithm], workspace, workspace_bytes_, stream),
        "a matrix product");
}

namespace {

/// Tensors large enough for every product of a grid, and the plans run on them.
class GemmBench {
 public:
  GemmBench(const Workbench& bench, const Gemm& largest)
      : bench_(bench),
        precision_(largest.precision),
        activations_(align(static_cast<std::size_t>(largest.groups * largest.m * largest.k) * input_bytes())),
        weights_(align(std::max(static_cast<std::size_t>(largest.groups * largest.n * largest.k) * input_bytes(),
                                8 * bench.device.l2_bytes))),
        product_(align(static_cast<std::size_t>(largest.groups * largest.m * largest.n) *
                       types_of(largest.precision).output_bytes)),
        workspace_(gemm_workspace_bytes) {
    fill(precision_, activations_, 1.0f, 1, bench.stream.get());
    fill(precision_, weights_, 0.02f, 2, bench.stream.get());
    bench.stream.synchronize();
  }

  /// The fastest algorithm's measurement.
  Measurement measure(const Gemm& gemm) const {
    const GemmPlan plan(handle_, gemm, gemm_workspace_bytes, most_gemm_algorithms);
    if (plan.algorithms() == 0) return {};
    return fastest_algorithm(bench_, gemm, launches_of(plan, gemm.groups * gemm.n, gemm.k)).measurement;
  }

 private:
  std::size_t input_bytes() const { return static_cast<std::size_t>(bytes_per_element(precision_)); }

  /// One launch an algorithm, over weights that rotate through what the buffer holds.
  std::vector<Launch> launches_of(const GemmPlan& plan, std::int64_t n, std::int64_t k) const {
    const std::size_t stride = align(static_cast<std::size_t>(n * k) * input_bytes());
    const std::size_t sets = std::clamp<std::size_t>(weights_.bytes() / stride, 1, rotation(bench_, stride));
    std::vector<Launch> launches;
    for (std::size_t algorithm = 0; algorithm < plan.algorithms(); ++algorithm) {
      launches.emplace_back([this, &plan, algorithm, stride, sets](std::size_t index, cudaStream_t stream) {
        const auto* weights = static_cast<const std::byte*>(weights_.data()) + index % sets * stride;
        plan.run(algorithm, activations_.data(), weights, product_.data(), workspace_.data(), stream);
      });
    }
    return launches;
  }

  const Workbench& bench_;
  Precision precision_;
  CublasHandle handle_;
  Buffer activations_;
  Buffer weights_;
  Buffer product_;
  Buffer workspace_;
};

}  // namespace

FastestAlgorithm fastest_algorithm(const Workbench& bench, const Gemm& gemm, std::vector<Launch> launches) {
  // Long products differ little between the first few algorithms, and a heat of all would take seconds.
  const double guess = flops(gemm) / (gemm.precision == Precision::f32 ? 5e13 : 6e14);
  launches.resize(std::min<std::size_t>(launches.size(), guess > 20e-3 ? 2 : guess > 2e-3 ? 3 : launches.size()));
  const Effort heat{150e-6, 3, 6e-3};
  const std::vector<Measurement> first = measure(bench, launches, heat);
  std::vector<std::size_t> order(launches.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](auto a, auto b) { return first[a].seconds < first[b].seconds; });
  if (first[order[0]].seconds >= 2e-3) order.resize(1);
  if (order.size() > 2) order.resize(2);
  std::vector<Launch> finalists;
  for (const std::size_t algorithm : order) finalists.push_back(launches[algorithm]);
  const std::vector<Measurement> last = measure(bench, finalists, bench.effort);
  const auto best =
      std::min_element(last.begin(), last.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
  return {order[static_cast<std::size_t>(best - last.begin())], *best};
}

TableJob gemm_job(const Workbench& bench, std::vector<GridAxis> grid, Precision precision) {
  // A grid over groups has them first.
  const bool grouped = grid.size() == 4;
  const auto gemm_at = [grouped, precision](std::span<const double> point) {
    const auto at = [&](std::size_t axis) { return static_cast<std::int64_t>(point[axis + (grouped ? 1 : 0)]); };
    return Gemm{.m = at(0),
                .n = at(1),
                .k = at(2),
                .groups = grouped ? static_cast<std::int64_t>(point[0]) : 1,
                .precision = precision};
  };
  std::vector<double> largest;
  for (const GridAxis& axis : grid) largest.push_back(axis.values.back());
  auto gemms = std::make_shared<const GemmBench>(bench, gemm_at(largest));
  TableJob job;
  job.measure = [gemm_at, gemms = std::move(gemms)](std::span<const double> point) {
    return gemms->measure(gemm_at(point));
  };
  job.description.file = fmt::format("{}_{}.csv", grouped ? "gemm_grouped" : "gemm", archfront::to_string(precision));
  job.description.kernel = fmt::format("{}, {}best of {} algorithms", cublas_version(),
                                       grouped ? "one batched launch, " : "", most_gemm_algorithms);
  job.description.filter.operation = OperationClass::gemm;
  job.description.filter.precision = precision;
  job.description.filter.grouped = grouped;
  job.description.axes = std::move(grid);
  return job;
}

double peak_gemm_rate(const Workbench& bench, Precision precision, bool quick) {
  const std::int64_t size = quick ? 4096 : 8192;
  const Gemm gemm{.m = size, .n = size, .k = size, .precision = precision};
  const double seconds = GemmBench(bench, gemm).measure(gemm).seconds;
  return seconds > 0 ? flops(gemm) / seconds : 0;
}

std::string cublas_version() {
  const std::size_t version = cublasLtGetVersion();  // 130002 for 13.0.2
  return fmt::format("cuBLASLt {}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace archfront::cuda
