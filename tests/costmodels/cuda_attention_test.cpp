// The CUDA attention kernels against attention in double precision, on fresh random inputs and poisoned outputs.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "costmodels/errors.h"
#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/prefill_attention.h"

namespace archfront::cuda {
namespace {

using Bf16 = std::uint16_t;

float to_float(Bf16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16); }

Bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<Bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

std::vector<Bf16> random_tensor(std::size_t n, float deviation, std::mt19937_64& generator) {
  std::normal_distribution<float> normal(0.0f, deviation);
  std::vector<Bf16> tensor(n);
  for (Bf16& value : tensor) value = to_bf16(normal(generator));
  return tensor;
}

class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t bytes) : bytes_(bytes) { EXPECT_EQ(cudaMalloc(&data_, bytes), cudaSuccess); }
  explicit DeviceBuffer(const std::vector<Bf16>& values) : DeviceBuffer(values.size() * sizeof(Bf16)) {
    EXPECT_EQ(cudaMemcpy(data_, values.data(), bytes_, cudaMemcpyHostToDevice), cudaSuccess);
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { cudaFree(data_); }

  void fill(int byte) { EXPECT_EQ(cudaMemset(data_, byte, bytes_), cudaSuccess); }
  void* data() const { return data_; }
  std::vector<Bf16> read() const {
    std::vector<Bf16> values(bytes_ / sizeof(Bf16));
    EXPECT_EQ(cudaMemcpy(values.data(), data_, bytes_, cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }

 private:
  void* data_ = nullptr;
  std::size_t bytes_;
};

constexpr int poison = 0xff;                // 0xffff is a bf16 NaN
constexpr std::size_t guard_elements = 64;  // after the output, to be left as they are

/// Tensors of `batch` sequences with `n_queries` queries and `n_keys` keys each.
struct Problem {
  int batch;
  int n_queries;
  int n_keys;
  int n_heads;
  int n_kv_heads;
  int head_dim;
  Visibility visibility;
  std::vector<Bf16> q, k, v;

  std::size_t q_row(int sequence, int query, int head) const {
    return ((static_cast<std::size_t>(sequence) * static_cast<std::size_t>(n_queries) +
             static_cast<std::size_t>(query)) *
                static_cast<std::size_t>(n_heads) +
            static_cast<std::size_t>(head)) *
           static_cast<std::size_t>(head_dim);
  }
  std::size_t kv_row(int sequence, int key, int head) const {
    return ((static_cast<std::size_t>(sequence) * static_cast<std::size_t>(n_keys) + static_cast<std::size_t>(key)) *
                static_cast<std::size_t>(n_kv_heads) +
            static_cast<std::size_t>(head)) *
           static_cast<std::size_t>(head_dim);
  }
};

/// Queries of deviation 2 give scores of deviation 2: maxima move from tile to tile, and no one key takes all.
void draw(Problem& problem, std::mt19937_64& generator) {
  problem.q = random_tensor(problem.q_row(problem.batch, 0, 0), 2.0f, generator);
  problem.k = random_tensor(problem.kv_row(problem.batch, 0, 0), 1.0f, generator);
  problem.v = random_tensor(problem.kv_row(problem.batch, 0, 0), 1.0f, generator);
}

/// One row of attention in double; `position` is the query's place among the keys.
std::vector<double> reference_row(const Problem& problem, int sequence, int query, int head, int position) {
  const int kv_head = head / (problem.n_heads / problem.n_kv_heads);
  const auto n_dims = static_cast<std::size_t>(problem.head_dim);
  const Bf16* q = problem.q.data() + problem.q_row(sequence, query, head);
  std::vector<double> scores;
  std::vector<const Bf16*> values;
  double maximum = -std::numeric_limits<double>::infinity();
  for (int key = 0; key < problem.n_keys; ++key) {
    if (!problem.visibility.sees(position, key)) continue;
    const Bf16* k = problem.k.data() + problem.kv_row(sequence, key, kv_head);
    double score = 0;
    for (std::size_t d = 0; d < n_dims; ++d) score += static_cast<double>(to_float(q[d])) * to_float(k[d]);
    scores.push_back(score / std::sqrt(problem.head_dim));
    values.push_back(problem.v.data() + problem.kv_row(sequence, key, kv_head));
    maximum = std::max(maximum, scores.back());
  }
  std::vector<double> output(n_dims);
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - maximum);
    sum += weight;
    for (std::size_t d = 0; d < n_dims; ++d) output[d] += weight * to_float(values[i][d]);
  }
  for (double& value : output) value /= sum;
  return output;
}

/// Compares every row, or some drawn at random where all would take seconds.
/// Rounding P and the output to bf16 (2^-9 at most, 2^-9 / sqrt(3) in the mean square) leaves about 1.6e-3 of the norm.
void expect_close(const Problem& problem, const std::vector<Bf16>& output, const std::string& name,
                  std::mt19937_64& generator) {
  const int n_rows = problem.batch * problem.n_queries * problem.n_heads;
  const double products = static_cast<double>(n_rows) * problem.n_keys * problem.head_dim;
  const int n_checked = products < 2e7 ? n_rows : std::min(n_rows, 200);
  double error = 0;
  double norm = 0;
  for (int i = 0; i < n_checked; ++i) {
    const int row = n_checked == n_rows ? i : std::uniform_int_distribution(0, n_rows - 1)(generator);
    const int head = row % problem.n_heads;
    const int query = row / problem.n_heads % problem.n_queries;
    const int sequence = row / problem.n_heads / problem.n_queries;
    const std::vector<double> expected =
        reference_row(problem, sequence, query, head, problem.n_keys - problem.n_queries + query);
    double row_error = 0;
    double row_norm = 0;
    for (std::size_t d = 0; d < expected.size(); ++d) {
      const double difference = to_float(output[problem.q_row(sequence, query, head) + d]) - expected[d];
      row_error += difference * difference;
      row_norm += expected[d] * expected[d];
    }
    ASSERT_LT(std::sqrt(row_error / row_norm), 0x1p-6)
        << name << ": sequence " << sequence << ", query " << query << ", head " << head;
    error += row_error;
    norm += row_norm;
  }
  EXPECT_LT(std::sqrt(error / norm), 0x1p-8) << name;
  for (std::size_t i = 0; i < output.size(); ++i) {
    const bool guard = i >= problem.q.size();
    ASSERT_EQ(guard, output[i] == 0xffffu) << name << (guard ? ": written past its end" : ": not written at ") << i;
  }
}

class CudaAttention : public ::testing::Test {
 protected:
  void SetUp() override {
    int n_devices = 0;
    if (cudaGetDeviceCount(&n_devices) != cudaSuccess || n_devices == 0)
      GTEST_SKIP() << "there is no CUDA device to run the kernels on";
    const unsigned seed = std::random_device{}();
    RecordProperty("seed", static_cast<int>(seed));
    generator_.seed(seed);
  }

  void check(const PrefillAttentionShape& shape, PrefillPath path, const std::string& name) {
    Problem problem{.batch = shape.batch,
                    .n_queries = shape.length,
                    .n_keys = shape.length,
                    .n_heads = shape.n_heads,
                    .n_kv_heads = shape.n_kv_heads,
                    .head_dim = shape.head_dim,
                    .visibility = {shape.length, shape.causal, shape.window, shape.sinks},
                    .q = {},
                    .k = {},
                    .v = {}};
    draw(problem, generator_);
    const DeviceBuffer q(problem.q), k(problem.k), v(problem.v);
    DeviceBuffer o((problem.q.size() + guard_elements) * sizeof(Bf16));
    o.fill(poison);
    prefill_attention(shape, q.data(), k.data(), v.data(), o.data(), nullptr, path);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << name;
    expect_close(problem, o.read(), name, generator_);
  }

  void check(const DecodeAttentionShape& shape, const std::string& name) {
    Problem problem{.batch = shape.batch,
                    .n_queries = 1,
                    .n_keys = shape.context,
                    .n_heads = shape.n_heads,
                    .n_kv_heads = shape.n_kv_heads,
                    .head_dim = shape.head_dim,
                    .visibility = {shape.context, true, shape.window, shape.sinks},
                    .q = {},
                    .k = {},
                    .v = {}};
    draw(problem, generator_);
    const DeviceBuffer q(problem.q), k(problem.k), v(problem.v);
    DeviceBuffer o((problem.q.size() + guard_elements) * sizeof(Bf16));
    DeviceBuffer workspace(decode_attention_workspace_bytes(shape));
    workspace.fill(0);
    for (int repeat = 0; repeat < 2; ++repeat) {  // the second call meets what the first left in the workspace
      o.fill(poison);
      decode_attention(shape, q.data(), k.data(), v.data(), o.data(), workspace.data(), nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess) << name;
      expect_close(problem, o.read(), name + ", call " + std::to_string(repeat), generator_);
    }
  }

  static std::vector<PrefillPath> paths(int head_dim) {
    cudaDeviceProp properties{};
    EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
    if (properties.major == 9 && head_dim <= 128) return {PrefillPath::ampere, PrefillPath::hopper};
    return {PrefillPath::ampere};
  }

  std::mt19937_64 generator_;
};

std::string describe(int head_dim, int n_heads, int n_kv_heads, int length) {
  return "head_dim " + std::to_string(head_dim) + ", heads " + std::to_string(n_heads) + ":" +
         std::to_string(n_kv_heads) + ", length " + std::to_string(length);
}

constexpr std::pair<int, int> head_counts[] = {{3, 3}, {8, 2}, {5, 1}};  // MHA; GQA, heads in pairs; MQA

TEST_F(CudaAttention, PrefillMatchesDoublePrecisionAtLengthsThatDivideNoTile) {
  for (const int head_dim : {64, 128, 256})
    for (const auto& [n_heads, n_kv_heads] : head_counts)
      for (const int length : {1, 65, 129, 200, 700})
        for (const bool causal : {true, false})
          for (const PrefillPath path : paths(head_dim)) {
            const PrefillAttentionShape shape{.batch = 2,
                                              .length = length,
                                              .n_heads = n_heads,
                                              .n_kv_heads = n_kv_heads,
                                              .head_dim = head_dim,
                                              .causal = causal};
            check(shape, path,
                  describe(head_dim, n_heads, n_kv_heads, length) + (causal ? ", causal" : ", full") +
                      (path == PrefillPath::hopper ? ", hopper" : ", ampere"));
          }
}

TEST_F(CudaAttention, PrefillSeesTheWindowAndTheSinksAndNothingElse) {
  for (const int head_dim : {64, 128, 256})
    for (const auto& [window, sinks] : {std::pair{1, 0}, {50, 0}, {64, 4}, {100, 70}, {130, 130}, {257, 3}, {900, 1}})
      for (const PrefillPath path : paths(head_dim)) {
        const PrefillAttentionShape shape{.batch = 1,
                                          .length = 777,
                                          .n_heads = 4,
                                          .n_kv_heads = 2,
                                          .head_dim = head_dim,
                                          .window = window,
                                          .sinks = sinks};
        check(shape, path,
              describe(head_dim, 4, 2, 777) + ", window " + std::to_string(window) + ", sinks " +
                  std::to_string(sinks) + (path == PrefillPath::hopper ? ", hopper" : ", ampere"));
      }
}

TEST_F(CudaAttention, PrefillOfMoreItemsThanMultiprocessorsMatchesOnRowsDrawnAtRandom) {
  for (const int head_dim : {64, 128, 256})
    for (const int n_heads : {9, 12})
      for (const PrefillPath path : paths(head_dim))
        check({.batch = 1, .length = 4001, .n_heads = n_heads, .n_kv_heads = 3, .head_dim = head_dim}, path,
              describe(head_dim, n_heads, 3, 4001) + (path == PrefillPath::hopper ? ", hopper" : ", ampere"));
}

TEST_F(CudaAttention, DecodeMatchesDoublePrecisionAtAnyNumberOfSplits) {
  for (const int head_dim : {64, 128, 256})
    for (const auto& [n_heads, n_kv_heads] : {std::pair{3, 3}, {8, 2}, {12, 1}, {40, 2}, {33, 1}})
      for (const int context : {1, 15, 16, 100, 517})
        for (const int n_splits : {0, 1, 3, 40})
          check(DecodeAttentionShape{.batch = 3,
                                     .context = context,
                                     .n_heads = n_heads,
                                     .n_kv_heads = n_kv_heads,
                                     .head_dim = head_dim,
                                     .n_splits = n_splits},
                describe(head_dim, n_heads, n_kv_heads, context) + ", splits " + std::to_string(n_splits));
}

TEST_F(CudaAttention, DecodeSeesTheWindowAndTheSinksAndNothingElse) {
  for (const int head_dim : {64, 128, 256})
    for (const auto& [window, sinks] : {std::pair{1, 0}, {50, 4}, {300, 300}, {999, 5}, {5000, 0}})
      check(DecodeAttentionShape{.batch = 2,
                                 .context = 1000,
                                 .n_heads = 8,
                                 .n_kv_heads = 2,
                                 .head_dim = head_dim,
                                 .window = window,
                                 .sinks = sinks},
            describe(head_dim, 8, 2, 1000) + ", window " + std::to_string(window) + ", sinks " + std::to_string(sinks));
}

TEST_F(CudaAttention, DecodeOfALongCacheMatches) {
  for (const int head_dim : {64, 128, 256})
    check(DecodeAttentionShape{.batch = 1, .context = 30011, .n_heads = 8, .n_kv_heads = 2, .head_dim = head_dim},
          describe(head_dim, 8, 2, 30011));
}

TEST_F(CudaAttention, AnUnalignedTensorIsRefused) {
  const DeviceBuffer tensor(1024);
  auto* odd = static_cast<unsigned char*>(tensor.data()) + 2;
  try {
    prefill_attention({.head_dim = 64}, tensor.data(), odd, tensor.data(), tensor.data(), nullptr);
    FAIL() << "an unaligned k was taken";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "k is null or not aligned: prefill attention: it must lie at a multiple of 16 bytes in device memory");
  }
}

template <class Shape>
std::string error_of(const Shape& shape) {
  try {
    validate(shape);
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(CudaAttentionShapes, AreRefusedWithTheFieldAndItsChoices) {
  EXPECT_EQ(error_of(PrefillAttentionShape{.head_dim = 96}),
            "head_dim = 96 is not compiled: prefill attention: use one of 64, 128, 256");
  EXPECT_EQ(error_of(DecodeAttentionShape{.n_heads = 24, .n_kv_heads = 5}),
            "n_heads = 24 is not a multiple of n_kv_heads = 5: decode attention: every key/value head serves as many "
            "query heads");
  EXPECT_EQ(error_of(PrefillAttentionShape{.causal = false, .window = 16}),
            "window = 16 without causal: prefill attention: a window looks back only, so set causal");
  EXPECT_EQ(error_of(DecodeAttentionShape{.sinks = 4}),
            "sinks = 4 without a window: decode attention: set window, or leave sinks at 0");
  EXPECT_EQ(error_of(DecodeAttentionShape{.n_splits = 200}),
            "n_splits = 200 is out of range: decode attention: it must be 128 or less");
  EXPECT_EQ(error_of(PrefillAttentionShape{.length = 0}),
            "length = 0 is out of range: prefill attention: it must be at least 1");
}

}  // namespace
}  // namespace archfront::cuda
