// The CUDA elementwise kernels against their formulas in double precision, on fresh random inputs.
#include <algorithm>
#include <cmath>
#include <string>

#include "costmodels/kernels/cuda/elementwise.h"
#include "tests/costmodels/cuda_tensors.h"

namespace archfront::cuda {
namespace {

constexpr double bf16_bound = 4e-3;  // one rounding is at most 2^-9 of each element, two at most 2^-8

class CudaElementwise : public ::testing::Test {
 protected:
  void SetUp() override {
    if (no_gpu()) GTEST_SKIP() << "no CUDA device: the elementwise kernels cannot run here";
    generator_ = fresh_generator();
  }
  Tensor<Bf16> random_bf16(std::size_t size) {
    return Tensor<Bf16>(size, [&] { return normal_(generator_); });
  }
  Tensor<float> random_f32(std::size_t size, double deviation) {
    return Tensor<float>(size, [&] { return deviation * normal_(generator_); });
  }

  std::mt19937_64 generator_;
  std::normal_distribution<double> normal_;
};

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST_F(CudaElementwise, AddRmsNormAgreesWithItsFormulaWithAndWithoutAnAddend) {
  for (const int d_model : {8, 1000, 2048, 5120, 16384})
    for (const bool adds : {true, false}) {
      const std::size_t d = static_cast<std::size_t>(d_model);
      const std::size_t rows = 37;
      const Tensor<Bf16> x = random_bf16(rows * d);
      Tensor<Bf16> residual = random_bf16(rows * d);
      const Tensor<Bf16> weight = random_bf16(d);
      Tensor<Bf16> out(rows * d);
      std::vector<double> sum(rows * d);
      std::vector<double> expected(rows * d);
      for (std::size_t row = 0; row < rows; ++row) {
        double squares = 0;
        for (std::size_t i = row * d; i < (row + 1) * d; ++i) {
          sum[i] = to_double(rounded<Bf16>(residual.at(i) + (adds ? x.at(i) : 0)));
          squares += sum[i] * sum[i];
        }
        for (std::size_t i = 0; i < d; ++i)
          expected[row * d + i] = sum[row * d + i] / std::sqrt(squares / static_cast<double>(d) + 1e-5) * weight.at(i);
      }
      add_rms_norm({.rows = static_cast<std::int64_t>(rows), .d_model = d_model, .epsilon = 1e-5f},
                   adds ? x.device() : nullptr, residual.device(), weight.device(), out.device(), nullptr);
      EXPECT_LT(relative_error(out, expected), bf16_bound) << d_model;
      EXPECT_LT(relative_error(residual, sum), 1e-4)
          << d_model;  // a sum that falls between two bf16 may round either way
    }
}

TEST_F(CudaElementwise, RotaryTurnsQueriesAndKeysAndFillsItsRowsOfTheCacheOnly) {
  for (const int head_dim : {64, 128, 256}) {
    const RotaryCacheShape shape{
        .batch = 2, .length = 5, .n_heads = 6, .n_kv_heads = 3, .head_dim = head_dim, .capacity = 11};
    const auto d = static_cast<std::size_t>(head_dim);
    const Tensor<Bf16> qkv = random_bf16(2 * 5 * 12 * d);
    Tensor<float> table(11 * d);
    for (std::size_t position = 0; position < 11; ++position)
      for (std::size_t i = 0; i < d / 2; ++i) {
        const double angle =
            static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(d));
        table.host[position * d + 2 * i] = static_cast<float>(std::cos(angle));
        table.host[position * d + 2 * i + 1] = static_cast<float>(std::sin(angle));
      }
    table.send();
    Tensor<Bf16> q(2 * 5 * 6 * d);
    Tensor<Bf16> k_cache(2 * 11 * 3 * d, [] { return 7.0; });
    Tensor<Bf16> v_cache(2 * 11 * 3 * d, [] { return 7.0; });
    const std::int32_t first[4] = {6, 2, 0, 0};
    Tensor<float> positions(4);
    ASSERT_EQ(cudaMemcpy(positions.device(), first, sizeof first, cudaMemcpyHostToDevice), cudaSuccess);
    std::vector<double> q_expected(q.host.size());
    std::vector<double> k_expected(k_cache.host.size(), 7.0);
    std::vector<double> v_expected(v_cache.host.size(), 7.0);
    for (std::size_t row = 0; row < 10 * 12; ++row) {
      const std::size_t token = row / 12;
      const std::size_t head = row % 12;
      const std::size_t position = static_cast<std::size_t>(first[token / 5]) + token % 5;
      const std::size_t cache_row = (token / 5 * 11 + position) * 3 + (head - 6) % 3;
      double* target = head < 6   ? q_expected.data() + (token * 6 + head) * d
                       : head < 9 ? k_expected.data() + cache_row * d
                                  : v_expected.data() + cache_row * d;
      for (std::size_t i = 0; i < d / 2; ++i) {
        const double low = qkv.at(row * d + i);
        const double high = qkv.at(row * d + d / 2 + i);
        const double cosine = head < 9 ? table.at(position * d + 2 * i) : 1;
        const double sine = head < 9 ? table.at(position * d + 2 * i + 1) : 0;
        target[i] = low * cosine - high * sine;
        target[d / 2 + i] = high * cosine + low * sine;
      }
    }
    rotary_cache(shape, qkv.device(), table.device(), reinterpret_cast<const std::int32_t*>(positions.device()),
                 q.device(), k_cache.device(), v_cache.device(), nullptr);
    EXPECT_LT(relative_error(q, q_expected), bf16_bound) << head_dim;
    EXPECT_LT(relative_error(k_cache, k_expected), bf16_bound) << head_dim;
    EXPECT_EQ(relative_error(v_cache, v_expected), 0) << head_dim;
  }
}

TEST_F(CudaElementwise, SwigluAgreesWithItsFormula) {
  for (const int d_ff : {8, 264, 5632}) {
    const auto d = static_cast<std::size_t>(d_ff);
    const Tensor<Bf16> gate_up = random_bf16(19 * 2 * d);
    Tensor<Bf16> out(19 * d);
    std::vector<double> expected(19 * d);
    for (std::size_t row = 0; row < 19; ++row)
      for (std::size_t i = 0; i < d; ++i)
        expected[row * d + i] = silu(gate_up.at(2 * row * d + i)) * gate_up.at((2 * row + 1) * d + i);
    swiglu({.rows = 19, .d_ff = d_ff}, gate_up.device(), out.device(), nullptr);
    EXPECT_LT(relative_error(out, expected), bf16_bound) << d_ff;
  }
}

/// Token `token` of the convolution of one sequence; `input` gives the input of any token, those before the first too.
template <class Input>
std::vector<double> convolved(const ShortConvolutionShape& shape, const Tensor<Bf16>& weight, int token, Input input) {
  const auto channels = static_cast<std::size_t>(shape.channels);
  const auto head_dim = static_cast<std::size_t>(shape.head_dim);
  std::vector<double> out(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    double sum = 0;
    for (int i = 0; i < shape.width; ++i)
      sum += weight.at(static_cast<std::size_t>(i) * channels + c) * input(token - shape.width + 1 + i, c);
    out[c] = silu(sum);
  }
  for (std::size_t head = 0; head < static_cast<std::size_t>(shape.normalized_channels) / head_dim; ++head) {
    double squares = 0;
    for (std::size_t c = head * head_dim; c < (head + 1) * head_dim; ++c) squares += out[c] * out[c];
    for (std::size_t c = head * head_dim; c < (head + 1) * head_dim; ++c) out[c] /= std::sqrt(squares);
  }
  return out;
}

TEST_F(CudaElementwise, ShortConvolutionDecodesOnFromWhereItsPrefillEnded) {
  for (const int width : {2, 3, 4})
    for (const int length : {1, 2, 16, 45}) {
      const ShortConvolutionShape shape{.batch = 2,
                                        .length = length,
                                        .channels = 1096,
                                        .width = width,
                                        .normalized_channels = 640,
                                        .head_dim = width == 3 ? 64 : 128};
      const std::size_t tokens = static_cast<std::size_t>(length);
      const Tensor<Bf16> x = random_bf16(2 * tokens * 1096);
      const Tensor<Bf16> next = random_bf16(2 * 1096);
      const Tensor<Bf16> weight = random_bf16(static_cast<std::size_t>(width) * 1096);
      Tensor<Bf16> tail(2 * static_cast<std::size_t>(width - 1) * 1096);
      Tensor<Bf16> out(2 * tokens * 1096);
      Tensor<Bf16> next_out(2 * 1096);
      std::vector<double> expected;
      std::vector<double> next_expected;
      std::vector<double> tail_expected;
      for (std::size_t sequence = 0; sequence < 2; ++sequence) {
        const auto input = [&](int token, std::size_t c) {
          if (token < 0) return 0.0;
          if (token == length) return next.at(sequence * 1096 + c);
          return x.at((sequence * tokens + static_cast<std::size_t>(token)) * 1096 + c);
        };
        for (int token = 0; token < length; ++token)
          for (const double value : convolved(shape, weight, token, input)) expected.push_back(value);
        for (const double value : convolved(shape, weight, length, input)) next_expected.push_back(value);
        for (int token = length - width + 2; token <= length; ++token)
          for (std::size_t c = 0; c < 1096; ++c) tail_expected.push_back(input(token, c));
      }
      ShortConvolutionShape one = shape;
      one.length = 1;
      short_convolution_prefill(shape, x.device(), weight.device(), tail.device(), out.device(), nullptr);
      short_convolution_decode(one, next.device(), weight.device(), tail.device(), next_out.device(), nullptr);
      EXPECT_LT(relative_error(out, expected), bf16_bound) << width << " " << length;
      EXPECT_LT(relative_error(next_out, next_expected), bf16_bound) << width << " " << length;
      EXPECT_EQ(relative_error(tail, tail_expected), 0) << width << " " << length;
    }
}

TEST_F(CudaElementwise, GatedRmsNormAgreesWithItsFormula) {
  for (const int head_dim : {64, 128, 256}) {
    const auto d = static_cast<std::size_t>(head_dim);
    const Tensor<Bf16> x = random_bf16(77 * d);
    const Tensor<Bf16> gate = random_bf16(77 * d);
    const Tensor<Bf16> weight = random_bf16(d);
    Tensor<Bf16> out(77 * d);
    std::vector<double> expected(77 * d);
    for (std::size_t row = 0; row < 77; ++row) {
      double squares = 0;
      for (std::size_t i = row * d; i < (row + 1) * d; ++i) squares += x.at(i) * x.at(i);
      for (std::size_t i = 0; i < d; ++i)
        expected[row * d + i] = x.at(row * d + i) / std::sqrt(squares / static_cast<double>(d) + 1e-6) * weight.at(i) *
                                silu(gate.at(row * d + i));
    }
    gated_rms_norm({.rows = 77, .head_dim = head_dim}, x.device(), gate.device(), weight.device(), out.device(),
                   nullptr);
    EXPECT_LT(relative_error(out, expected), bf16_bound) << head_dim;
  }
}

TEST_F(CudaElementwise, EmbeddingGatherCopiesRowsExactly) {
  const Tensor<Bf16> table = random_bf16(101 * 520);
  Tensor<Bf16> out(7 * 520);
  const std::int32_t ids[7] = {100, 0, 3, 3, 57, 99, 1};
  const Tensor<float> device_ids(7);
  ASSERT_EQ(cudaMemcpy(device_ids.device(), ids, sizeof ids, cudaMemcpyHostToDevice), cudaSuccess);
  embedding_gather({.tokens = 7, .vocab_size = 101, .d_model = 520}, table.device(),
                   reinterpret_cast<const std::int32_t*>(device_ids.device()), out.device(), nullptr);
  std::vector<double> expected;
  for (const std::int32_t id : ids)
    for (std::size_t i = 0; i < 520; ++i) expected.push_back(table.at(static_cast<std::size_t>(id) * 520 + i));
  EXPECT_EQ(relative_error(out, expected), 0);
}

TEST_F(CudaElementwise, AdamWStepAgreesWithItsFormula) {
  const AdamWStep settings{.count = 10'008, .learning_rate = 0.01f, .step = 3};
  const auto count = static_cast<std::size_t>(settings.count);
  const Tensor<Bf16> gradient = random_bf16(count);
  Tensor<float> master = random_f32(count, 1.0);
  Tensor<float> first = random_f32(count, 0.5);
  Tensor<float> second(count, [&] { return std::pow(normal_(generator_), 2); });
  Tensor<Bf16> weight(count);
  std::vector<double> w(count), m(count), v(count);
  const double b1 = static_cast<double>(settings.beta_first);
  const double b2 = static_cast<double>(settings.beta_second);
  for (std::size_t i = 0; i < count; ++i) {
    m[i] = b1 * first.at(i) + (1 - b1) * gradient.at(i);
    v[i] = b2 * second.at(i) + (1 - b2) * std::pow(gradient.at(i), 2);
    const double direction = m[i] / (1 - std::pow(b1, 3)) / (std::sqrt(v[i] / (1 - std::pow(b2, 3))) + 1e-8);
    w[i] = master.at(i) - static_cast<double>(settings.learning_rate) *
                              (direction + static_cast<double>(settings.weight_decay) * master.at(i));
  }
  adamw(settings, gradient.device(), weight.device(), master.device(), first.device(), second.device(), nullptr);
  EXPECT_LT(relative_error(master, w), 1e-6);
  EXPECT_LT(relative_error(first, m), 1e-6);
  EXPECT_LT(relative_error(second, v), 1e-6);
  EXPECT_LT(relative_error(weight, w), bf16_bound);
}

TEST_F(CudaElementwise, ScanGatesAgreeWithTheirFormulaInsideAWiderTensor) {
  const std::size_t rows = 301, n_heads = 13, stride = 77;
  const Tensor<Bf16> logits = random_bf16(rows * stride);
  const Tensor<float> log_rate = random_f32(n_heads, 1);
  const Tensor<float> bias = random_f32(n_heads, 3);
  Tensor<float> log_decay(rows * n_heads);
  Tensor<float> beta(rows * n_heads);
  std::vector<double> expected_decay(rows * n_heads);
  std::vector<double> expected_beta(rows * n_heads);
  for (std::size_t i = 0; i < rows * n_heads; ++i) {
    const std::size_t head = i % n_heads, at = i / n_heads * stride + head;
    expected_decay[i] = -std::exp(log_rate.at(head)) * std::log1p(std::exp(logits.at(at) + bias.at(head)));
    expected_beta[i] = 1 / (1 + std::exp(-logits.at(at + n_heads)));
  }
  scan_gates({.rows = static_cast<std::int64_t>(rows), .n_heads = static_cast<int>(n_heads), .stride = 77},
             logits.device(), log_rate.device(), bias.device(), log_decay.device(), beta.device(), nullptr);
  EXPECT_LT(relative_error(log_decay, expected_decay), 1e-5);
  EXPECT_LT(relative_error(beta, expected_beta), 1e-5);
}

TEST(CudaElementwiseShapes, RefusesAWrongShapeAndSaysWhatWouldBeRight) {
  EXPECT_EQ(error_of([] { swiglu({.rows = 1, .d_ff = 12}, nullptr, nullptr, nullptr); }),
            "d_ff = 12 is not a multiple of 8: swiglu: pad it, the kernel reads 16 bytes at a time");
  EXPECT_EQ(error_of([] { add_rms_norm({.rows = 0}, nullptr, nullptr, nullptr, nullptr, nullptr); }),
            "rows = 0 is out of range: add_rms_norm: use 1 to 2147483647");
  EXPECT_EQ(error_of([] { gated_rms_norm({.head_dim = 96}, nullptr, nullptr, nullptr, nullptr, nullptr); }),
            "head_dim = 96 is not compiled: gated_rms_norm: use one of 64, 128, 256");
  EXPECT_EQ(error_of([] { adamw({.count = 12}, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr); }),
            "count = 12 is not a multiple of 8: adamw: pad the parameters");
  EXPECT_EQ(
      error_of(
          [] { short_convolution_decode({.normalized_channels = 8}, nullptr, nullptr, nullptr, nullptr, nullptr); }),
      "normalized_channels = 8 is not a multiple of head_dim = 128: short_convolution_decode: it counts whole heads");
}

}  // namespace
}  // namespace archfront::cuda
