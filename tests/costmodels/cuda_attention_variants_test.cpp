// The CUDA attention kernels' biases, block lists, e4m3 caches, pages and gradients against double precision, on fresh
// random inputs and poisoned outputs.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "costmodels/kernels/cuda/decode_attention.h"
#include "costmodels/kernels/cuda/key_tiles.h"
#include "costmodels/kernels/cuda/prefill_attention.h"
#include "costmodels/kernels/cuda/prefill_backward.h"
#include "tests/costmodels/cuda_tensors.h"

namespace archfront::cuda {
namespace {

/// The value of an e4m3 byte: 4 exponent bits of bias 7, 3 mantissa bits.
double e4m3_value(std::uint8_t byte) {
  const int exponent = byte >> 3 & 15;
  const int mantissa = byte & 7;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (byte & 128) != 0 ? -magnitude : magnitude;
}

struct Pair {
  const double* k;
  const double* v;
};

std::vector<double> values_of(const Tensor<Bf16>& tensor) {
  std::vector<double> values(tensor.host.size());
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = tensor.at(i);
  return values;
}

/// One row of attention; the last element is ln(sum of exp).
std::vector<double> attend(const double* q, const std::vector<Pair>& pairs, std::size_t n_dims) {
  std::vector<double> scores;
  for (const Pair& pair : pairs) {
    double score = 0;
    for (std::size_t d = 0; d < n_dims; ++d) score += q[d] * pair.k[d];
    scores.push_back(score / std::sqrt(static_cast<double>(n_dims)));
  }
  std::vector<double> output(n_dims + 1);
  if (pairs.empty()) return output;
  const double maximum = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const double weight = std::exp(scores[i] - maximum);
    sum += weight;
    for (std::size_t d = 0; d < n_dims; ++d) output[d] += weight * pairs[i].v[d];
  }
  for (double& value : output) value /= sum;
  output[n_dims] = maximum + std::log(sum);
  return output;
}

class CudaAttentionVariants : public ::testing::Test {
 protected:
  void SetUp() override {
    if (no_gpu()) GTEST_SKIP() << "there is no CUDA device to run the kernels on";
    generator = fresh_generator();
  }
  double normal(double deviation) { return std::normal_distribution<>(0, deviation)(generator); }
  auto draw(double deviation) {
    return [this, deviation] { return normal(deviation); };
  }

  std::mt19937_64 generator;
};

std::vector<PrefillPath> paths(int head_dim) {
  cudaDeviceProp properties{};
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  if (properties.major == 9 && head_dim <= 128) return {PrefillPath::ampere, PrefillPath::hopper};
  return {PrefillPath::ampere};
}

std::string name_of(PrefillPath path) { return path == PrefillPath::hopper ? ", hopper" : ", ampere"; }

std::size_t index_of(std::initializer_list<std::pair<int, int>> places) {  // of (index, size), outermost first
  std::size_t index = 0;
  for (const auto& [place, size] : places)
    index = index * static_cast<std::size_t>(size) + static_cast<std::size_t>(place);
  return index;
}

/// Half of the blocks each query block could see, its own among them.
void draw_blocks(const PrefillAttentionShape& shape, std::mt19937_64& generator, std::vector<int>& starts,
                 std::vector<int>& blocks) {
  const int n = (shape.length + prefill_block - 1) / prefill_block;
  starts = {0};
  for (int list = 0; list < shape.batch * shape.n_heads * n; ++list) {
    for (int block = 0; block < (shape.causal ? list % n + 1 : n); ++block)
      if (block == list % n || std::bernoulli_distribution(0.5)(generator)) blocks.push_back(block);
    starts.push_back(static_cast<int>(blocks.size()));
  }
}

int* send(const std::vector<int>& values) {
  void* device = nullptr;
  EXPECT_EQ(cudaMalloc(&device, values.size() * sizeof(int)), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(device, values.data(), values.size() * sizeof(int), cudaMemcpyHostToDevice), cudaSuccess);
  return static_cast<int*>(device);
}

TEST_F(CudaAttentionVariants, PrefillSeesTheBiasAndTheListedBlocks) {
  for (const int head_dim : {64, 128, 256})
    for (const int length : {100, 400})
      for (const bool causal : {true, false})
        for (const bool bias : {true, false})
          for (const bool sparse : {true, false}) {
            const PrefillAttentionShape shape{
                .batch = 2, .length = length, .n_heads = 4, .n_kv_heads = 2, .head_dim = head_dim, .causal = causal};
            const auto tokens = static_cast<std::size_t>(2 * length);
            const auto n_dims = static_cast<std::size_t>(head_dim);
            Tensor<Bf16> q(tokens * 4 * n_dims, draw(2)), k(tokens * 2 * n_dims, draw(1)),
                v(tokens * 2 * n_dims, draw(1));
            Tensor<Bf16> bias_key(4 * n_dims, draw(1)), bias_value(4 * n_dims, draw(3));
            std::vector<int> starts, blocks;
            draw_blocks(shape, generator, starts, blocks);
            int* device_starts = send(starts);
            int* device_blocks = send(blocks);
            std::vector<double> expected(q.host.size());
            std::vector<double> expected_sums(tokens * 4);
            const std::vector<double> q_values = values_of(q), k_values = values_of(k), v_values = values_of(v);
            const std::vector<double> bias_keys = values_of(bias_key), bias_values = values_of(bias_value);
            const int n_lists = (length + prefill_block - 1) / prefill_block;
            for (int sequence = 0; sequence < 2; ++sequence)
              for (int head = 0; head < 4; ++head)
                for (int query = 0; query < length; ++query) {
                  const std::size_t list = index_of({{sequence, 2}, {head, 4}, {query / prefill_block, n_lists}});
                  std::vector<Pair> pairs;
                  const auto at = static_cast<std::size_t>(head) * n_dims;
                  if (bias) pairs.push_back({&bias_keys[at], &bias_values[at]});
                  for (int key = 0; key < (causal ? query + 1 : length); ++key) {
                    const bool listed = std::binary_search(blocks.begin() + starts[list],
                                                           blocks.begin() + starts[list + 1], key / prefill_block);
                    if (sparse && !listed) continue;
                    const std::size_t base = index_of({{sequence, 2}, {key, length}, {head / 2, 2}}) * n_dims;
                    pairs.push_back({&k_values[base], &v_values[base]});
                  }
                  const std::size_t base = index_of({{sequence, 2}, {query, length}, {head, 4}}) * n_dims;
                  const std::vector<double> output = attend(&q_values[base], pairs, n_dims);
                  std::copy_n(output.begin(), n_dims, expected.begin() + static_cast<std::ptrdiff_t>(base));
                  expected_sums[index_of({{sequence, 2}, {head, 4}, {query, length}})] = output[n_dims];
                }
            for (const PrefillPath path : paths(head_dim)) {
              Tensor<Bf16> o(q.host.size());
              Tensor<float> log_sums(expected_sums.size());
              PrefillTensors tensors;
              tensors.q = q.device();
              tensors.k = k.device();
              tensors.v = v.device();
              tensors.o = o.device();
              tensors.log_sums = log_sums.device();
              if (bias) tensors.bias_key = bias_key.device(), tensors.bias_value = bias_value.device();
              if (sparse) tensors.block_starts = device_starts, tensors.key_blocks = device_blocks;
              prefill_attention(shape, tensors, nullptr, path);
              ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
              const std::string name = "head_dim " + std::to_string(head_dim) + ", length " + std::to_string(length) +
                                       (causal ? ", causal" : ", full") + (bias ? ", bias" : "") +
                                       (sparse ? ", blocks" : "") + name_of(path);
              EXPECT_LT(relative_error(o, expected), 0x1p-8) << name;
              EXPECT_LT(relative_error(log_sums, expected_sums), 1e-5) << name;
            }
            cudaFree(device_starts);
            cudaFree(device_blocks);
          }
}

struct DecodeCase {
  DecodeAttentionShape shape;
  bool table = false;
  bool bias = false;
};

/// Checks a decode whose cache lies in pages in random order, if it has a table, and reads random pages, if it selects.
void check_decode(const DecodeCase& given, std::mt19937_64& generator) {
  const DecodeAttentionShape& shape = given.shape;
  const bool e4m3 = shape.cache == CacheType::e4m3;
  const int size = shape.page_size == 0 ? shape.context : shape.page_size;
  const int n_pages = (shape.context + size - 1) / size;
  const int rows = given.table ? n_pages * size * shape.batch : shape.context * shape.batch;
  const auto n_dims = static_cast<std::size_t>(shape.head_dim);
  const auto kv_heads = static_cast<std::size_t>(shape.n_kv_heads);
  const auto heads = static_cast<std::size_t>(shape.n_heads);
  const std::size_t n_cached = static_cast<std::size_t>(rows) * kv_heads * n_dims;
  const auto normal = [&](double deviation) {
    return [&generator, deviation] { return std::normal_distribution<>(0, deviation)(generator); };
  };
  const auto n_queries = static_cast<std::size_t>(shape.batch * shape.query_length);
  Tensor<Bf16> q(n_queries * heads * n_dims, normal(e4m3 ? 1.0 : 2.0)), o(q.host.size());
  Tensor<Bf16> k(n_cached, normal(1)), v(n_cached, normal(1));
  Tensor<Bf16> bias_key(heads * n_dims, normal(1)), bias_value(heads * n_dims, normal(3));
  std::vector<std::uint8_t> k_bytes(n_cached), v_bytes(n_cached);
  std::uniform_int_distribution<int> byte(0, 0x47);  // magnitudes up to 3.75, subnormals among them
  for (auto* bytes : {&k_bytes, &v_bytes})
    for (std::uint8_t& value : *bytes)
      value = static_cast<std::uint8_t>(byte(generator) | (std::bernoulli_distribution(0.5)(generator) ? 128 : 0));
  Tensor<float> k_scale(kv_heads, [&] { return std::uniform_real_distribution<>(0.5, 1.5)(generator); });
  Tensor<float> v_scale(kv_heads, [&] { return std::uniform_real_distribution<>(0.5, 1.5)(generator); });
  const std::vector<double> q_values = values_of(q), bias_keys = values_of(bias_key),
                            bias_values = values_of(bias_value);
  std::vector<double> k_values = values_of(k), v_values = values_of(v);
  for (std::size_t i = 0; e4m3 && i < n_cached; ++i) {
    const std::size_t kv_head = i / n_dims % kv_heads;
    k_values[i] = e4m3_value(k_bytes[i]) * k_scale.at(kv_head);
    v_values[i] = e4m3_value(v_bytes[i]) * v_scale.at(kv_head);
  }
  std::vector<int> table(static_cast<std::size_t>(n_pages * shape.batch));
  std::iota(table.begin(), table.end(), 0);
  if (given.table) std::shuffle(table.begin(), table.end(), generator);
  std::vector<int> selection;
  for (int list = 0; list < shape.batch * shape.n_kv_heads; ++list) {
    std::vector<int> pages(static_cast<std::size_t>(n_pages));
    std::iota(pages.begin(), pages.end(), 0);
    if (shape.selected_pages > 0) {
      std::shuffle(pages.begin(), pages.end(), generator);
      pages.resize(static_cast<std::size_t>(shape.selected_pages));
      std::sort(pages.begin(), pages.end());
    }
    selection.insert(selection.end(), pages.begin(), pages.end());
  }

  const auto a_list = static_cast<std::size_t>(shape.selected_pages > 0 ? shape.selected_pages : n_pages);
  std::vector<double> expected(q.host.size());
  for (int sequence = 0; sequence < shape.batch; ++sequence)
    for (int query = 0; query < shape.query_length; ++query)
      for (int head = 0; head < shape.n_heads; ++head) {
        const int kv_head = head / (shape.n_heads / shape.n_kv_heads);
        const auto scale_place = static_cast<std::size_t>(kv_head);
        std::vector<Pair> pairs;
        const std::size_t at = static_cast<std::size_t>(head) * n_dims;
        if (given.bias) pairs.push_back({&bias_keys[at], &bias_values[at]});
        const std::size_t list = index_of({{sequence, shape.batch}, {kv_head, shape.n_kv_heads}}) * a_list;
        for (std::size_t i = 0; i < a_list; ++i)
          for (int in_page = 0; in_page < size; ++in_page) {
            const int page = selection[list + i];
            const int key = page * size + in_page;
            const int position = shape.context - shape.query_length + query;
            if (!Visibility{shape.context, true, shape.window, shape.sinks}.sees(position, key)) continue;
            const int row = given.table ? table[static_cast<std::size_t>(sequence * n_pages + page)] * size + in_page
                                        : sequence * shape.context + key;
            const std::size_t base = (static_cast<std::size_t>(row) * kv_heads + scale_place) * n_dims;
            pairs.push_back({&k_values[base], &v_values[base]});
          }
        const std::size_t base =
            index_of({{sequence, shape.batch}, {query, shape.query_length}, {head, shape.n_heads}}) * n_dims;
        const std::vector<double> output = attend(&q_values[base], pairs, n_dims);
        std::copy_n(output.begin(), n_dims, expected.begin() + static_cast<std::ptrdiff_t>(base));
      }

  Tensor<float> workspace(decode_attention_workspace_bytes(shape) / 4 + 4);
  ASSERT_EQ(cudaMemset(workspace.device(), 0, workspace.host.size() * 4), cudaSuccess);
  DecodeTensors tensors;
  tensors.q = q.device();
  tensors.o = o.device();
  tensors.workspace = workspace.device();
  if (e4m3) {  // the bytes take half of the bf16 tensors' places
    ASSERT_EQ(cudaMemcpy(k.device(), k_bytes.data(), n_cached, cudaMemcpyHostToDevice), cudaSuccess);
    ASSERT_EQ(cudaMemcpy(v.device(), v_bytes.data(), n_cached, cudaMemcpyHostToDevice), cudaSuccess);
    tensors.k_scale = k_scale.device();
    tensors.v_scale = v_scale.device();
  }
  tensors.k = k.device();
  tensors.v = v.device();
  if (given.bias) tensors.bias_key = bias_key.device(), tensors.bias_value = bias_value.device();
  int* device_table = send(table);
  int* device_selection = send(selection);
  if (given.table) tensors.page_table = device_table;
  if (shape.selected_pages > 0) tensors.selection = device_selection;
  for (int repeat = 0; repeat < 2; ++repeat) {  // the second call meets what the first left in the workspace
    ASSERT_EQ(cudaMemset(o.device(), 0xff, o.host.size() * 2), cudaSuccess);
    decode_attention(shape, tensors, nullptr);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    EXPECT_LT(relative_error(o, expected), 0x1p-8)
        << (e4m3 ? "e4m3" : "bf16") << ", head_dim " << shape.head_dim << ", heads " << shape.n_heads << ":"
        << shape.n_kv_heads << ", context " << shape.context << ", queries " << shape.query_length << ", page size "
        << shape.page_size << ", selected " << shape.selected_pages << ", window " << shape.window << ", splits "
        << shape.n_splits << (given.table ? ", table" : "") << (given.bias ? ", bias" : "") << ", call " << repeat;
  }
  cudaFree(device_table);
  cudaFree(device_selection);
}

TEST_F(CudaAttentionVariants, DecodeReadsEveryKindOfCache) {
  for (const CacheType cache : {CacheType::bf16, CacheType::e4m3})
    for (const int head_dim : {64, 128, 256})
      for (const int n_heads : {2, 8, 40})
        for (const int n_splits : {0, 1, 3}) {
          DecodeAttentionShape shape{.batch = 2,
                                     .context = 301,
                                     .n_heads = n_heads,
                                     .n_kv_heads = 2,
                                     .head_dim = head_dim,
                                     .n_splits = n_splits,
                                     .cache = cache};
          check_decode({shape, false, true}, generator);
          shape.query_length = 5;
          check_decode({shape, false, n_splits == 1}, generator);
          shape.page_size = n_splits == 0 ? 16 : 64;
          check_decode({shape, true, n_splits == 0}, generator);
          shape.query_length = 1;
          check_decode({shape, true, false}, generator);
          shape.selected_pages = 3;
          check_decode({shape, true, true}, generator);
          check_decode({shape, false, false}, generator);
          shape.selected_pages = (shape.context + shape.page_size - 1) / shape.page_size;
          check_decode({shape, false, false}, generator);
          shape.selected_pages = 0;
          shape.window = 90;
          shape.sinks = 5;
          check_decode({shape, true, false}, generator);
        }
}

TEST_F(CudaAttentionVariants, GradientsMatchDoublePrecision) {
  for (const int head_dim : {64, 128})
    for (const int length : {1, 64, 150, 201})
      for (const auto& [causal, window, sinks] : {std::tuple{true, 0, 0}, {false, 0, 0}, {true, 40, 5}}) {
        const PrefillAttentionShape shape{.batch = 2,
                                          .length = length,
                                          .n_heads = 4,
                                          .n_kv_heads = 2,
                                          .head_dim = head_dim,
                                          .causal = causal,
                                          .window = window,
                                          .sinks = sinks};
        const auto n_dims = static_cast<std::size_t>(head_dim);
        const std::size_t n_q = static_cast<std::size_t>(2 * length * 4) * n_dims;
        Tensor<Bf16> q(n_q, draw(1.5)), k(n_q / 2, draw(1)), v(n_q / 2, draw(1)), d_o(n_q, draw(1));
        Tensor<Bf16> o(n_q), d_q(n_q), d_k(n_q / 2), d_v(n_q / 2);
        Tensor<float> log_sums(n_q / n_dims), workspace(prefill_backward_workspace_bytes(shape) / 4);
        PrefillTensors forward;
        forward.q = q.device();
        forward.k = k.device();
        forward.v = v.device();
        forward.o = o.device();
        forward.log_sums = log_sums.device();
        prefill_attention(shape, forward, nullptr);
        prefill_attention_backward(shape,
                                   {.q = q.device(),
                                    .k = k.device(),
                                    .v = v.device(),
                                    .o = o.device(),
                                    .log_sums = log_sums.device(),
                                    .d_o = d_o.device(),
                                    .d_q = d_q.device(),
                                    .d_k = d_k.device(),
                                    .d_v = d_v.device(),
                                    .workspace = workspace.device()},
                                   nullptr);
        ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);

        std::vector<double> expected_q(n_q), expected_k(n_q / 2), expected_v(n_q / 2);
        const std::vector<double> q_values = values_of(q), k_values = values_of(k), v_values = values_of(v);
        const std::vector<double> slopes_of_o = values_of(d_o);
        const Visibility visibility{length, causal, window, sinks};
        const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
        for (int sequence = 0; sequence < 2; ++sequence)
          for (int head = 0; head < 4; ++head)
            for (int query = 0; query < length; ++query) {
              const std::size_t row = index_of({{sequence, 2}, {query, length}, {head, 4}}) * n_dims;
              const auto key_row = [&](int key) {
                return index_of({{sequence, 2}, {key, length}, {head / 2, 2}}) * n_dims;
              };
              std::vector<double> weights(static_cast<std::size_t>(length)), slopes(static_cast<std::size_t>(length));
              double sum = 0;
              double dot = 0;
              for (int key = 0; key < length; ++key) {
                if (!visibility.sees(query, key)) continue;
                double score = 0;
                double slope = 0;
                for (std::size_t d = 0; d < n_dims; ++d) {
                  score += q_values[row + d] * k_values[key_row(key) + d];
                  slope += slopes_of_o[row + d] * v_values[key_row(key) + d];
                }
                const auto place = static_cast<std::size_t>(key);
                weights[place] = std::exp(score * scale);
                slopes[place] = slope;
                sum += weights[place];
                dot += weights[place] * slope;
              }
              dot /= sum;
              for (int key = 0; key < length; ++key) {
                const auto place = static_cast<std::size_t>(key);
                const double weight = weights[place] / sum;
                const double d_score = weight * (slopes[place] - dot) * scale;
                for (std::size_t d = 0; d < n_dims; ++d) {
                  expected_q[row + d] += d_score * k_values[key_row(key) + d];
                  expected_k[key_row(key) + d] += d_score * q_values[row + d];
                  expected_v[key_row(key) + d] += weight * slopes_of_o[row + d];
                }
              }
            }
        const std::string name = "head_dim " + std::to_string(head_dim) + ", length " + std::to_string(length) +
                                 (causal ? ", causal" : ", full") + ", window " + std::to_string(window);
        EXPECT_LT(relative_error(d_v, expected_v), 0x1p-7) << name;
        if (length == 1) continue;  // one key has no slope: all of d_q and d_k is rounding
        EXPECT_LT(relative_error(d_q, expected_q), 0x1p-7) << name;
        EXPECT_LT(relative_error(d_k, expected_k), 0x1p-7) << name;
      }
}

}  // namespace
}  // namespace archfront::cuda
