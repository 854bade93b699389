#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "costmodels/kernels/cpu/linear_scan.h"
#include "costmodels/kernels/cpu/neural_memory.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }

std::vector<float> uniform(std::mt19937& engine, std::int64_t n, double low, double high) {
  std::uniform_real_distribution<double> draw(low, high);
  std::vector<float> values(size(n));
  for (float& value : values) value = static_cast<float>(draw(engine));
  return values;
}

template <class T>
struct Operands {
  std::vector<T> q, k, v;
  std::vector<float> eta, theta, alpha, weights, momentum;

  /// Keys of norm about 1, weights that keep it, steps at which the memory neither stands still nor diverges.
  Operands(const NeuralMemory& m, std::mt19937& engine) {
    const std::int64_t rows = m.batch * m.length * m.n_heads;
    const std::int64_t state = m.batch * m.n_heads * static_cast<std::int64_t>(memory_weights(m));
    q = normal<T>(engine, rows * m.key_dim, 1 / std::sqrt(m.key_dim));
    k = normal<T>(engine, rows * m.key_dim, 1 / std::sqrt(m.key_dim));
    v = normal<T>(engine, rows * m.key_dim);
    eta = uniform(engine, rows, 0.2, 0.95);
    theta = uniform(engine, rows, 0.001, 0.02);
    alpha = uniform(engine, rows, 0, 0.05);
    weights = normal<float>(engine, state, 1 / std::sqrt(m.key_dim));
    momentum = normal<float>(engine, state, 0.01);
  }
};

using Matrix = std::vector<double>;  // row after row

/// One head's memory in double: matrices, and what a token leaves at each of them.
struct Memory {
  std::vector<int> widths;  ///< of the input, between the matrices, and of the output
  std::vector<Matrix> weights;

  std::vector<double> multiply(std::size_t layer, const std::vector<double>& x) const {
    std::vector<double> out(size(widths[layer + 1]));
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = 0; j < out.size(); ++j) out[j] += x[i] * weights[layer][i * out.size() + j];
    }
    return out;
  }

  static double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

  /// Inputs of every matrix, then the output.
  std::vector<std::vector<double>> run(const std::vector<double>& x) const {
    std::vector<std::vector<double>> rows{x};
    for (std::size_t l = 0; l < weights.size(); ++l) {
      rows.push_back(multiply(l, rows.back()));
      if (l + 1 == weights.size()) break;
      for (double& z : rows.back()) z *= sigmoid(z);
    }
    return rows;
  }

  /// Gradients of |M(k) - v|^2 by every matrix: chain rule, layer after layer.
  std::vector<Matrix> gradients(const std::vector<double>& k, const std::vector<double>& v) const {
    const std::vector<std::vector<double>> rows = run(k);
    std::vector<Matrix> out(weights.size());
    std::vector<double> behind = rows.back();
    for (std::size_t i = 0; i < behind.size(); ++i) behind[i] = 2 * (behind[i] - v[i]);
    for (std::size_t l = weights.size(); l-- > 0;) {
      std::vector<double> before(rows[l].size());
      for (std::size_t i = 0; i < rows[l].size(); ++i) {
        for (std::size_t j = 0; j < behind.size(); ++j) {
          out[l].push_back(rows[l][i] * behind[j]);
          before[i] += weights[l][i * behind.size() + j] * behind[j];
        }
      }
      if (l == 0) break;
      const std::vector<double> z = multiply(l - 1, rows[l - 1]);
      for (std::size_t i = 0; i < z.size(); ++i) {
        before[i] *= sigmoid(z[i]) * (1 + z[i] * (1 - sigmoid(z[i])));
      }
      behind = before;
    }
    return out;
  }
};

struct Reference {
  std::vector<double> o, weights, momentum;
};

/// The header's formulas token by token: gradients at the weights of the chunk's start, momentum, decay, step.
template <class T>
Reference reference(const NeuralMemory& m, const Operands<T>& in) {
  Reference out{std::vector<double>(in.q.size()), {}, {}};
  const std::size_t dim = size(m.key_dim);
  std::vector<int> widths{m.key_dim};
  for (int l = 1; l < m.depth; ++l) widths.push_back(m.hidden);
  widths.push_back(m.key_dim);
  std::size_t next = 0;  // weight among all heads'
  for (std::int64_t head = 0; head < m.batch * m.n_heads; ++head) {
    Memory now{widths, {}};
    std::vector<Matrix> momentum;
    for (std::size_t l = 0; l + 1 < widths.size(); ++l) {
      const auto n = static_cast<std::ptrdiff_t>(widths[l]) * widths[l + 1];
      const auto first = static_cast<std::ptrdiff_t>(next);
      now.weights.emplace_back(in.weights.begin() + first, in.weights.begin() + first + n);
      momentum.emplace_back(in.momentum.begin() + first, in.momentum.begin() + first + n);
      next += size(n);
    }
    Memory start = now;
    for (std::int64_t t = 0; t < m.length; ++t) {
      if (t % m.chunk == 0) start = now;
      const std::size_t row = size((head / m.n_heads * m.length + t) * m.n_heads + head % m.n_heads);
      std::vector<double> q(dim), k(dim), v(dim);
      for (std::size_t x = 0; x < dim; ++x) {
        q[x] = static_cast<double>(to_f32(in.q[row * dim + x]));
        k[x] = static_cast<double>(to_f32(in.k[row * dim + x]));
        v[x] = static_cast<double>(to_f32(in.v[row * dim + x]));
      }
      const std::vector<double> read = start.run(q).back();
      std::copy(read.begin(), read.end(), out.o.begin() + static_cast<std::ptrdiff_t>(row * dim));
      const std::vector<Matrix> gradients = start.gradients(k, v);
      for (std::size_t l = 0; l < gradients.size(); ++l) {
        for (std::size_t i = 0; i < gradients[l].size(); ++i) {
          double& s = momentum[l][i];
          double& w = now.weights[l][i];
          s = static_cast<double>(in.eta[row]) * s - static_cast<double>(in.theta[row]) * gradients[l][i];
          w = (1 - static_cast<double>(in.alpha[row])) * w + s;
        }
      }
    }
    for (std::size_t l = 0; l < momentum.size(); ++l) {
      out.weights.insert(out.weights.end(), now.weights[l].begin(), now.weights[l].end());
      out.momentum.insert(out.momentum.end(), momentum[l].begin(), momentum[l].end());
    }
  }
  return out;
}

template <class T>
void expect_matches(const NeuralMemory& shape, const Operands<T>& in) {
  const Reference wanted = reference(shape, in);
  const std::string label = "depth " + std::to_string(shape.depth) + ", key_dim " + std::to_string(shape.key_dim) +
                            ", hidden " + std::to_string(shape.hidden) + ", length " + std::to_string(shape.length);
  on_every_target([&] {
    std::vector<float> weights = in.weights, momentum = in.momentum;
    std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.q.size()));
    neural_memory(shape, MemoryOperands<T>{in.q, in.k, in.v, in.eta, in.theta, in.alpha, weights, momentum, o});
    EXPECT_LT(relative_error<T>(o, wanted.o), tolerance<T>()) << label;
    EXPECT_LT(relative_error<float>(weights, wanted.weights), 3e-6) << label;
    EXPECT_LT(relative_error<float>(momentum, wanted.momentum), 5e-6) << label;
  });
}

/// Lengths that are no multiple of the chunk or the tile, chunks that are none of the tile.
const NeuralMemory shapes[] = {
    {.batch = 2, .n_heads = 2, .key_dim = 64, .depth = 1, .chunk = 16, .length = 45},
    {.n_heads = 1, .key_dim = 64, .hidden = 128, .depth = 2, .chunk = 64, .length = 150},
    {.n_heads = 2, .key_dim = 32, .hidden = 96, .depth = 3, .chunk = 20, .length = 53},
    {.n_heads = 1, .key_dim = 96, .hidden = 32, .depth = 2, .chunk = 7, .length = 29},
};

TEST(CpuNeuralMemory, ChunksMatchTheFormulasInF32) {
  std::mt19937 engine(std::random_device{}());
  for (const NeuralMemory& shape : shapes) expect_matches(shape, Operands<float>(shape, engine));
}

TEST(CpuNeuralMemory, ChunksMatchTheFormulasInBf16) {
  std::mt19937 engine(std::random_device{}());
  for (const NeuralMemory& shape : shapes) expect_matches(shape, Operands<Bf16>(shape, engine));
}

TEST(CpuNeuralMemory, StepsMatchTheFormulas) {
  std::mt19937 engine(std::random_device{}());
  for (NeuralMemory shape : shapes) {
    shape.decode = true;
    shape.length = 1;
    expect_matches(shape, Operands<float>(shape, engine));
    expect_matches(shape, Operands<Bf16>(shape, engine));
  }
}

/// A token that forgets all (alpha 1), one without momentum (eta 0): products of rates that reach zero.
TEST(CpuNeuralMemory, RatesAtTheirEndsStayExact) {
  std::mt19937 engine(std::random_device{}());
  const NeuralMemory shape{.n_heads = 1, .key_dim = 32, .hidden = 64, .depth = 2, .chunk = 16, .length = 40};
  Operands<float> in(shape, engine);
  in.alpha[5] = 1;
  in.eta[9] = 0;
  in.theta[20] = 0;
  in.alpha[30] = in.eta[30] = 1;
  expect_matches(shape, in);
}

TEST(CpuNeuralMemory, ChunksOfOneTokenAreDecodeSteps) {
  std::mt19937 engine(std::random_device{}());
  NeuralMemory shape{.n_heads = 1, .key_dim = 32, .hidden = 64, .depth = 2, .chunk = 1, .length = 30};
  const Operands<float> in(shape, engine);
  std::vector<float> chunked = in.weights, stepped = in.weights, o = poisoned<float>(30 * 32), read(32);
  std::vector<float> chunked_momentum = in.momentum, stepped_momentum = in.momentum;
  neural_memory(shape,
                MemoryOperands<float>{in.q, in.k, in.v, in.eta, in.theta, in.alpha, chunked, chunked_momentum, o});
  shape.length = 1;
  shape.decode = true;
  for (std::size_t t = 0; t < 30; ++t) {
    const auto row = [t](const std::vector<float>& all) { return std::span(all).subspan(t * 32, 32); };
    const auto rate = [t](const std::vector<float>& all) { return std::span(all).subspan(t, 1); };
    neural_memory(shape, MemoryOperands<float>{row(in.q), row(in.k), row(in.v), rate(in.eta), rate(in.theta),
                                               rate(in.alpha), stepped, stepped_momentum, read});
  }
  EXPECT_LT(relative_error<float>(chunked, std::vector<double>(stepped.begin(), stepped.end())), 2e-6);
}

/// Without momentum a memory of one matrix is the gated delta rule with twice the step: M - theta 2 (M k - v) k^T, the
/// gradient taken before the decay (arXiv:2501.00663, section 3.1). Without decay the two are the same.
TEST(CpuNeuralMemory, WithoutMomentumOneMatrixIsTheDeltaRule) {
  std::mt19937 engine(std::random_device{}());
  const NeuralMemory shape{.n_heads = 1, .key_dim = 32, .depth = 1, .chunk = 1, .length = 50};
  Operands<float> in(shape, engine);
  std::fill(in.eta.begin(), in.eta.end(), 0.0f);
  std::fill(in.alpha.begin(), in.alpha.end(), 0.0f);
  std::vector<float> beta = in.theta;
  for (float& value : beta) value *= 2;
  const Scan scan{.kind = ScanKind::delta, .n_heads = 1, .key_dim = 32, .value_dim = 32, .length = 50};
  std::vector<float> state = in.weights, weights = in.weights, momentum = in.momentum, o(in.q.size());
  linear_scan(scan, ScanOperands<float>{in.q, in.k, in.v, {}, beta, state, o});
  neural_memory(shape, MemoryOperands<float>{in.q, in.k, in.v, in.eta, in.theta, in.alpha, weights, momentum, o});
  EXPECT_LT(relative_error<float>(weights, std::vector<double>(state.begin(), state.end())), 2e-6);
}

TEST(CpuNeuralMemory, ShapesThatCannotBeAreNamed) {
  std::mt19937 engine(1);
  const NeuralMemory good{.n_heads = 1, .key_dim = 32, .hidden = 32, .depth = 2, .chunk = 4, .length = 3};
  const Operands<float> in(good, engine);
  std::vector<float> weights = in.weights, momentum = in.momentum, o(in.q.size());
  const auto error = [&](const NeuralMemory& shape) {
    return error_of([&] {
      neural_memory(shape, MemoryOperands<float>{in.q, in.k, in.v, in.eta, in.theta, in.alpha, weights, momentum, o});
    });
  };
  EXPECT_EQ(error(good), "no error");
  NeuralMemory shape = good;
  shape.key_dim = 40;
  EXPECT_EQ(error(shape), "key_dim = 40: neural memory: use a multiple of 32 up to 256");
  shape = good;
  shape.depth = 9;
  EXPECT_EQ(error(shape), "depth = 9: neural memory: use 1 to 8");
  shape = good;
  shape.hidden = 2048;
  EXPECT_EQ(error(shape), "hidden = 2048: neural memory: use a multiple of 32 up to 1024");
  shape = good;
  shape.decode = true;
  EXPECT_EQ(error(shape), "length = 3: neural memory: use 1 in a decode step");
  shape = good;
  shape.hidden = 64;
  EXPECT_EQ(error(shape), "weights holds 2048 elements: neural memory: its shape needs 4096");
}

}  // namespace
}  // namespace archfront::cpu
