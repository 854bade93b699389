// The CUDA scans against the recurrence in double precision, token by token, on fresh random inputs.
#include <cmath>
#include <string>

#include "costmodels/kernels/cuda/scan_decode.h"
#include "costmodels/kernels/cuda/scan_prefill.h"
#include "tests/costmodels/cuda_tensors.h"

namespace archfront::cuda {
namespace {

bool is_hopper() {
  int major = 0;
  int minor = 0;
  return cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0) == cudaSuccess &&
         cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0) == cudaSuccess && major == 9 &&
         minor == 0;
}

bool has_delta(ScanKind kind) {
  return kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
}
bool has_scalar_gate(ScanKind kind) { return kind == ScanKind::scalar_gate || kind == ScanKind::gated_delta; }
bool has_vector_gate(ScanKind kind) { return kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta; }

/// Inputs as a mixer gives them: unit keys, queries of about unit length, decays from almost 1 to almost 0.
struct ScanTensors {
  ScanTensors(std::size_t tokens_heads, std::size_t key_dim, std::size_t value_dim, std::size_t gates,
              std::mt19937_64& generator)
      : q(tokens_heads * key_dim, [&] { return normal(generator) / std::sqrt(static_cast<double>(key_dim)); }),
        k(tokens_heads * key_dim, [&] { return normal(generator); }),
        v(tokens_heads * value_dim, [&] { return normal(generator); }),
        log_decay(gates, [&] { return -std::exp(2 * normal(generator) - 3); }),
        beta(tokens_heads, [&] { return 1 / (1 + std::exp(-normal(generator))); }),
        o(tokens_heads * value_dim) {
    for (std::size_t row = 0; row < tokens_heads; ++row) {
      double squares = 0;
      for (std::size_t i = 0; i < key_dim; ++i) squares += std::pow(k.at(row * key_dim + i), 2);
      for (std::size_t i = 0; i < key_dim; ++i)
        k.host[row * key_dim + i] = rounded<Bf16>(k.at(row * key_dim + i) / std::sqrt(squares));
    }
    k.send();
  }

  std::normal_distribution<double> normal;
  Tensor<Bf16> q, k, v;
  Tensor<float> log_decay, beta;
  Tensor<Bf16> o;
};

/// One token of the recurrence of one head; `row` is the token and head's row of every tensor.
void step(ScanKind kind, const ScanTensors& tensors, std::size_t row, std::size_t key_dim, std::size_t value_dim,
          double scale, double* state, double* o) {
  const auto k = [&](std::size_t i) { return tensors.k.at(row * key_dim + i); };
  for (std::size_t i = 0; i < key_dim; ++i) {
    double decay = 1;
    if (has_scalar_gate(kind)) decay = std::exp(tensors.log_decay.at(row));
    if (has_vector_gate(kind)) decay = std::exp(tensors.log_decay.at(row * key_dim + i));
    for (std::size_t j = 0; j < value_dim; ++j) state[i * value_dim + j] *= decay;
  }
  for (std::size_t j = 0; j < value_dim; ++j) {
    double r = tensors.v.at(row * value_dim + j);
    if (has_delta(kind)) {
      for (std::size_t i = 0; i < key_dim; ++i) r -= state[i * value_dim + j] * k(i);
      r *= tensors.beta.at(row);
    }
    double sum = 0;
    for (std::size_t i = 0; i < key_dim; ++i) {
      state[i * value_dim + j] += k(i) * r;
      sum += state[i * value_dim + j] * tensors.q.at(row * key_dim + i);
    }
    o[j] = scale * sum;
  }
}

void check_prefill(const ScanPrefillShape& shape, std::mt19937_64& generator) {
  const auto batch = static_cast<std::size_t>(shape.batch);
  const auto length = static_cast<std::size_t>(shape.length);
  const auto n_heads = static_cast<std::size_t>(shape.n_heads);
  const auto key_dim = static_cast<std::size_t>(shape.key_dim);
  const auto value_dim = static_cast<std::size_t>(shape.value_dim);
  const std::size_t rows = batch * length * n_heads;
  ScanTensors tensors(rows, key_dim, value_dim, rows * (has_vector_gate(shape.kind) ? key_dim : 1), generator);
  const bool gated = has_scalar_gate(shape.kind) || has_vector_gate(shape.kind);
  Tensor<float> final_state(batch * n_heads * key_dim * value_dim);
  const Tensor<std::uint8_t> workspace(scan_prefill_workspace_bytes(shape));
  scan_prefill(shape, tensors.q.device(), tensors.k.device(), tensors.v.device(),
               gated ? tensors.log_decay.device() : nullptr, has_delta(shape.kind) ? tensors.beta.device() : nullptr,
               tensors.o.device(), final_state.device(), workspace.device(), nullptr);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

  std::vector<double> o(rows * value_dim);
  std::vector<double> state(final_state.host.size());
  for (std::size_t head = 0; head < batch * n_heads; ++head)
    for (std::size_t token = 0; token < length; ++token) {
      const std::size_t row = (head / n_heads * length + token) * n_heads + head % n_heads;
      step(shape.kind, tensors, row, key_dim, value_dim, static_cast<double>(shape.scale),
           state.data() + head * key_dim * value_dim, o.data() + row * value_dim);
    }
  const double o_error = relative_error(tensors.o, o);
  const double state_error = relative_error(final_state, state);
  std::printf("prefill %s %d x %d tokens, %d heads of %d x %d, tile %d, path %d: o %.2e, state %.2e\n",
              std::string(to_string(shape.kind)).c_str(), shape.batch, shape.length, shape.n_heads, shape.key_dim,
              shape.value_dim, shape.value_tile, static_cast<int>(shape.path), o_error, state_error);
  EXPECT_LT(o_error, 1e-2);
  EXPECT_LT(state_error, 1e-2);
}

TEST(CudaScanPrefill, EveryKindAgreesWithTheRecurrenceAtEveryLength) {
  if (no_gpu()) GTEST_SKIP() << "no CUDA device: the scan's kernels cannot run here";
  std::mt19937_64 generator = fresh_generator();
  for (const ScanKind kind : {ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate, ScanKind::delta,
                              ScanKind::gated_delta, ScanKind::vector_gated_delta})
    for (const int length : {1, 17, 64, 65, 127, 200, 333})
      check_prefill({.kind = kind, .batch = 2, .length = length, .n_heads = 3, .scale = 0.5f}, generator);
}

TEST(CudaScanPrefill, EveryTileAgreesWithTheRecurrence) {
  if (no_gpu()) GTEST_SKIP() << "no CUDA device: the scan's kernels cannot run here";
  std::mt19937_64 generator = fresh_generator();
  for (const ScanKind kind :
       {ScanKind::scalar_gate, ScanKind::gated_delta, ScanKind::vector_gate, ScanKind::vector_gated_delta})
    for (const int key_dim : {64, 128})
      for (const int value_dim : {64, 128})
        for (int tile = 32; tile <= value_dim; tile *= 2)
          check_prefill({.kind = kind,
                         .batch = 1,
                         .length = 290,
                         .n_heads = 2,
                         .key_dim = key_dim,
                         .value_dim = value_dim,
                         .value_tile = tile},
                        generator);
}

TEST(CudaScanPrefill, EveryPathAgreesWithTheRecurrence) {
  if (no_gpu()) GTEST_SKIP() << "no CUDA device: the scan's kernels cannot run here";
  if (!is_hopper()) GTEST_SKIP() << "the device's compute capability is not 9.0: it has one path";
  std::mt19937_64 generator = fresh_generator();
  for (const ScanPrefillPath path : {ScanPrefillPath::ampere, ScanPrefillPath::hopper, ScanPrefillPath::hopper_fused})
    for (const ScanKind kind : {ScanKind::scalar_gate, ScanKind::gated_delta})
      for (const int key_dim : {64, 128})
        for (const int value_tile : {64, 128})
          for (const int length : {1, 65, 450})
            check_prefill({.kind = kind,
                           .batch = 2,
                           .length = length,
                           .n_heads = 3,
                           .key_dim = key_dim,
                           .value_tile = value_tile,
                           .path = path},
                          generator);
}

TEST(CudaScanPrefill, AgreesWithTheRecurrenceOverManyChunks) {
  if (no_gpu()) GTEST_SKIP() << "no CUDA device: the scan's kernels cannot run here";
  std::mt19937_64 generator = fresh_generator();
  for (const ScanKind kind : {ScanKind::scalar_gate, ScanKind::gated_delta, ScanKind::delta})
    for (const ScanPrefillPath path : {ScanPrefillPath::automatic, ScanPrefillPath::hopper_fused})
      if (path == ScanPrefillPath::automatic || is_hopper())
        check_prefill({.kind = kind, .batch = 1, .length = 2500, .n_heads = 1, .path = path}, generator);
}

void check_decode(const ScanDecodeShape& shape, std::mt19937_64& generator) {
  const std::size_t heads = static_cast<std::size_t>(shape.batch) * static_cast<std::size_t>(shape.n_heads);
  const auto key_dim = static_cast<std::size_t>(shape.key_dim);
  const auto value_dim = static_cast<std::size_t>(shape.value_dim);
  ScanTensors tensors(heads, key_dim, value_dim, heads * (has_vector_gate(shape.kind) ? key_dim : 1), generator);
  Tensor<float> state(heads * key_dim * value_dim, [&] { return tensors.normal(generator); });
  std::vector<double> expected_state(state.host.begin(), state.host.end());
  std::vector<double> o(heads * value_dim);
  for (std::size_t head = 0; head < heads; ++head)
    step(shape.kind, tensors, head, key_dim, value_dim, static_cast<double>(shape.scale),
         expected_state.data() + head * key_dim * value_dim, o.data() + head * value_dim);
  const bool gated = has_scalar_gate(shape.kind) || has_vector_gate(shape.kind);
  scan_decode(shape, tensors.q.device(), tensors.k.device(), tensors.v.device(),
              gated ? tensors.log_decay.device() : nullptr, has_delta(shape.kind) ? tensors.beta.device() : nullptr,
              state.device(), tensors.o.device(), nullptr);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_LT(relative_error(tensors.o, o), 4e-3)
      << to_string(shape.kind) << " " << shape.key_dim;  // bf16 rounding: 2^-9
  EXPECT_LT(relative_error(state, expected_state), 1e-6) << to_string(shape.kind) << " " << shape.key_dim;
}

TEST(CudaScanDecode, EveryKindAgreesWithOneStepOfTheRecurrence) {
  if (no_gpu()) GTEST_SKIP() << "no CUDA device: the scan's kernels cannot run here";
  std::mt19937_64 generator = fresh_generator();
  for (const ScanKind kind : {ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate, ScanKind::delta,
                              ScanKind::gated_delta, ScanKind::vector_gated_delta})
    for (const int key_dim : {64, 128, 256})
      check_decode({.kind = kind, .batch = 3, .n_heads = 5, .key_dim = key_dim, .value_dim = 96, .scale = 0.25f},
                   generator);
}

TEST(CudaScanPrefill, RefusesWhatIsNotCompiledAndSaysWhatIs) {
  EXPECT_EQ(error_of([] { validate(ScanPrefillShape{.length = 0}); }),
            "length = 0 is out of range: scan prefill: it must be at least 1");
  EXPECT_EQ(error_of([] { validate(ScanPrefillShape{.key_dim = 96}); }),
            "key_dim = 96 is not compiled: scan prefill: use 64 or 128");
  EXPECT_EQ(error_of([] { validate(ScanPrefillShape{.value_dim = 64, .value_tile = 128}); }),
            "value_tile = 128 is not compiled: scan prefill: use 0, 32, 64 or 128, at most value_dim");
}

TEST(CudaScanDecode, RefusesWhatIsNotCompiledAndSaysWhatIs) {
  EXPECT_EQ(error_of([] { validate(ScanDecodeShape{.key_dim = 100}); }),
            "key_dim = 100 is not compiled: scan decode: use one of 64, 128, 256");
  EXPECT_EQ(error_of([] { validate(ScanDecodeShape{.value_dim = 40}); }),
            "value_dim = 40 is not a multiple of 32: scan decode: use 32, 64, 96, ...");
  EXPECT_EQ(error_of([] { scan_decode({}, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr); }),
            "q is null or not aligned: scan decode: it must lie at a multiple of 16 bytes in device memory");
}

}  // namespace
}  // namespace archfront::cuda
