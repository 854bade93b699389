#include <gtest/gtest.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "costmodels/kernels/cpu/linear_scan.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

constexpr ScanKind kinds[] = {ScanKind::linear, ScanKind::scalar_gate, ScanKind::vector_gate,
                              ScanKind::delta,  ScanKind::gated_delta, ScanKind::vector_gated_delta};

bool has_gate(ScanKind kind) { return kind != ScanKind::linear && kind != ScanKind::delta; }
bool has_vector_gate(ScanKind kind) { return kind == ScanKind::vector_gate || kind == ScanKind::vector_gated_delta; }
bool has_strength(ScanKind kind) {
  return kind == ScanKind::delta || kind == ScanKind::gated_delta || kind == ScanKind::vector_gated_delta;
}

template <class T>
struct Operands {
  std::vector<T> q, k, v;
  std::vector<float> log_alpha, beta, state;

  /// Keys of norm about 1, write strengths in (0, 1), decays of `decay` a token on average.
  Operands(const Scan& s, std::mt19937& engine, double decay = 0.05) {
    const std::int64_t rows = s.batch * s.length * s.n_heads;
    q = normal<T>(engine, rows * s.key_dim);
    k = normal<T>(engine, rows * s.key_dim, 1 / std::sqrt(s.key_dim));
    v = normal<T>(engine, rows * s.value_dim);
    state = normal<float>(engine, s.batch * s.n_heads * s.key_dim * s.value_dim);
    std::exponential_distribution<double> drop(1 / decay);
    std::uniform_real_distribution<double> strength(0, 1);
    if (has_gate(s.kind)) log_alpha.resize(static_cast<std::size_t>(rows * (has_vector_gate(s.kind) ? s.key_dim : 1)));
    for (float& value : log_alpha) value = static_cast<float>(-drop(engine));
    if (has_strength(s.kind)) beta.resize(static_cast<std::size_t>(rows));
    for (float& value : beta) value = static_cast<float>(strength(engine));
  }
};

struct Reference {
  std::vector<double> o, state;
};

/// The recurrence of the header, one token after another in double.
template <class T>
Reference reference(const Scan& s, const Operands<T>& in) {
  const auto at = [](std::int64_t index) { return static_cast<std::size_t>(index); };
  const auto real = [](auto value) { return static_cast<double>(to_f32(value)); };
  Reference out{std::vector<double>(in.v.size()), std::vector<double>(in.state.begin(), in.state.end())};
  for (std::int64_t index = 0; index < s.batch * s.n_heads; ++index) {
    double* state = &out.state[at(index * s.key_dim * s.value_dim)];
    for (std::int64_t t = 0; t < s.length; ++t) {
      const std::int64_t row = (index / s.n_heads * s.length + t) * s.n_heads + index % s.n_heads;
      for (int x = 0; x < s.key_dim && has_gate(s.kind); ++x) {
        const float gate = in.log_alpha[at(has_vector_gate(s.kind) ? row * s.key_dim + x : row)];
        for (int y = 0; y < s.value_dim; ++y) state[x * s.value_dim + y] *= std::exp(static_cast<double>(gate));
      }
      for (int y = 0; y < s.value_dim; ++y) {
        double held = 0;
        for (int x = 0; x < s.key_dim; ++x) held += state[x * s.value_dim + y] * real(in.k[at(row * s.key_dim + x)]);
        double u = real(in.v[at(row * s.value_dim + y)]);
        if (has_strength(s.kind)) u = static_cast<double>(in.beta[at(row)]) * (u - held);
        double& o = out.o[at(row * s.value_dim + y)];
        for (int x = 0; x < s.key_dim; ++x) {
          double& element = state[x * s.value_dim + y];
          element += real(in.k[at(row * s.key_dim + x)]) * u;
          o += element * real(in.q[at(row * s.key_dim + x)]);
        }
      }
    }
  }
  return out;
}

template <class T>
void expect_matches(const Scan& shape, const Operands<T>& in, double state_tolerance = 2e-6) {
  const Reference wanted = reference(shape, in);
  const std::string label = std::string(to_string(shape.kind)) + ", " + std::to_string(shape.key_dim) + " x " +
                            std::to_string(shape.value_dim) + ", length " + std::to_string(shape.length);
  on_every_target([&] {
    std::vector<float> state = in.state;
    std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.v.size()));
    linear_scan(shape, ScanOperands<T>{in.q, in.k, in.v, in.log_alpha, in.beta, state, o});
    EXPECT_LT(relative_error<T>(o, wanted.o), tolerance<T>()) << label;
    EXPECT_LT(relative_error<float>(state, wanted.state), state_tolerance) << label;
  });
}

/// Lengths that divide neither the chunk (64) nor the tile (8), state shapes that are not square.
const Scan shapes[] = {
    {.batch = 2, .n_heads = 3, .key_dim = 64, .value_dim = 128, .length = 131},
    {.n_heads = 2, .key_dim = 128, .value_dim = 128, .length = 197},
    {.n_heads = 1, .key_dim = 256, .value_dim = 32, .length = 3},
    {.n_heads = 2, .key_dim = 96, .value_dim = 160, .length = 64},
};

template <class T>
void expect_all_match() {
  std::mt19937 engine(std::random_device{}());
  for (Scan shape : shapes) {
    for (const ScanKind kind : kinds) {
      shape.kind = kind;
      expect_matches(shape, Operands<T>(shape, engine));
    }
  }
}

template <class T>
void expect_all_steps_match() {
  std::mt19937 engine(std::random_device{}());
  for (Scan shape : shapes) {
    for (const ScanKind kind : kinds) {
      shape.kind = kind;
      shape.length = 1;
      shape.decode = true;
      expect_matches(shape, Operands<T>(shape, engine));
    }
  }
}

TEST(CpuLinearScan, ChunksMatchTheRecurrenceInF32) { expect_all_match<float>(); }
TEST(CpuLinearScan, ChunksMatchTheRecurrenceInBf16) { expect_all_match<Bf16>(); }
TEST(CpuLinearScan, StepsMatchTheRecurrenceInF32) { expect_all_steps_match<float>(); }
TEST(CpuLinearScan, StepsMatchTheRecurrenceInBf16) { expect_all_steps_match<Bf16>(); }

/// Decays of e^-1280 a chunk: the ratio of a chunk's first gates to its last is no f32.
TEST(CpuLinearScan, GatesThatForgetEverythingInAChunkStayExact) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.n_heads = 1, .key_dim = 64, .value_dim = 64, .length = 150};
  for (const ScanKind kind : kinds) {
    if (!has_gate(kind)) continue;
    shape.kind = kind;
    expect_matches(shape, Operands<float>(shape, engine, 20.0));
  }
}

/// Channels that forget at once beside others that keep for thousands of tokens, as trained vector gates do.
TEST(CpuLinearScan, VectorGatesOfAllStrengthsStayExact) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.n_heads = 2, .key_dim = 64, .value_dim = 32, .length = 300};
  for (const ScanKind kind : {ScanKind::vector_gate, ScanKind::vector_gated_delta}) {
    shape.kind = kind;
    Operands<float> in(shape, engine, 1.0);
    for (std::size_t i = 0; i < in.log_alpha.size(); ++i) {
      in.log_alpha[i] *= static_cast<float>(std::pow(10.0, static_cast<double>(i % 64) / 8 - 6));  // 1e-6 to 75
    }
    in.log_alpha[64 * 40 + 63] = -std::numeric_limits<float>::infinity();
    expect_matches(shape, in);
  }
}

/// Gates a hair below one, all alike: rounding each to the same side would drift over thousands of tokens.
TEST(CpuLinearScan, SlowGatesDoNotDriftOverLongSequences) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.n_heads = 1, .key_dim = 32, .value_dim = 32, .length = 8000};
  for (const ScanKind kind : kinds) {
    shape.kind = kind;
    Operands<float> in(shape, engine);
    std::fill(in.log_alpha.begin(), in.log_alpha.end(), -1.2345e-4f);
    expect_matches(shape, in, 1e-5);
  }
}

/// One head on several threads is cut by columns of its state.
TEST(CpuLinearScan, ColumnsOfOneHeadRunOnSeveralThreads) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.n_heads = 1, .key_dim = 64, .value_dim = 128, .length = 77};
  oneapi::tbb::task_arena arena(2);
  for (const ScanKind kind : kinds) {
    shape.kind = kind;
    const Operands<float> chunks(shape, engine);
    Scan step = shape;
    step.decode = true;
    step.length = 1;
    const Operands<float> token(step, engine);
    arena.execute([&] {
      expect_matches(shape, chunks);
      expect_matches(step, token);
    });
  }
}

TEST(CpuLinearScan, StepsAndChunksReachTheSameState) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.kind = ScanKind::vector_gated_delta, .n_heads = 1, .key_dim = 64, .value_dim = 64, .length = 100};
  const Operands<float> in(shape, engine);
  std::vector<float> chunked = in.state, stepped = in.state, o = poisoned<float>(100 * 64);
  linear_scan(shape, ScanOperands<float>{in.q, in.k, in.v, in.log_alpha, in.beta, chunked, o});
  shape.length = 1;
  shape.decode = true;
  for (std::size_t t = 0; t < 100; ++t) {
    const auto row = [t](const std::vector<float>& all) { return std::span(all).subspan(t * 64, 64); };
    linear_scan(shape, ScanOperands<float>{row(in.q), row(in.k), row(in.v), row(in.log_alpha),
                                           std::span(in.beta).subspan(t, 1), stepped, std::span(o).first(64)});
  }
  EXPECT_LT(relative_error<float>(chunked, std::vector<double>(stepped.begin(), stepped.end())), 2e-6);
}

/// Three tokens whose updates each wait for the next, and the last for being settled.
template <class T>
void expect_pending_steps_match(ScanKind kind) {
  std::mt19937 engine(std::random_device{}());
  Scan shape{.kind = kind, .batch = 1, .n_heads = 2, .key_dim = 96, .value_dim = 160, .length = 3};
  const Operands<T> in(shape, engine);
  const Reference wanted = reference(shape, in);
  shape.decode = true;
  shape.length = 1;
  on_every_target([&] {
    std::vector<float> state = in.state, pending = pending_update(shape);
    std::vector<T> o = poisoned<T>(static_cast<std::int64_t>(in.v.size()));
    for (std::size_t t = 0; t < 3; ++t) {
      const auto row = [t](auto& all) { return std::span(all).subspan(t * all.size() / 3, all.size() / 3); };
      linear_scan(shape, ScanOperands<T>{row(in.q), row(in.k), row(in.v), row(in.log_alpha), row(in.beta), state,
                                         row(o), pending});
    }
    EXPECT_GT(relative_error<float>(state, wanted.state), 1e-3) << "the last update was not put off";
    settle(shape, state, pending);
    settle(shape, state, pending);  // changes nothing more
    EXPECT_LT(relative_error<T>(o, wanted.o), tolerance<T>()) << to_string(kind);
    EXPECT_LT(relative_error<float>(state, wanted.state), 2e-6) << to_string(kind);
  });
}

TEST(CpuLinearScan, UpdatesThatWaitForTheNextTokenMatchTheRecurrence) {
  for (const ScanKind kind : kinds) {
    if (!has_strength(kind)) continue;
    expect_pending_steps_match<float>(kind);
    expect_pending_steps_match<Bf16>(kind);
  }
}

TEST(CpuLinearScan, UpdatesWaitOnlyInDecodeStepsWithADeltaRule) {
  Scan shape{.kind = ScanKind::delta, .n_heads = 1, .key_dim = 32, .value_dim = 32, .length = 2};
  std::mt19937 engine(1);
  const Operands<float> in(shape, engine);
  std::vector<float> state = in.state, o(64), pending = pending_update(shape);
  EXPECT_EQ(error_of([&] {
              linear_scan(shape, ScanOperands<float>{in.q, in.k, in.v, {}, in.beta, state, o, pending});
            }),
            "pending in a prefill of delta: scan: leave it out but in decode steps with a delta rule");
  pending.pop_back();
  EXPECT_EQ(error_of([&] { settle(shape, state, pending); }), "pending holds 95 elements: scan: its shape needs 96");
}

TEST(CpuLinearScan, ShapesThatCannotBeAreNamed) {
  std::mt19937 engine(1);
  const Scan good{.kind = ScanKind::scalar_gate, .n_heads = 1, .key_dim = 32, .value_dim = 32, .length = 2};
  const Operands<float> in(good, engine);
  std::vector<float> state = in.state, o(64);
  const auto error = [&](const Scan& shape) {
    return error_of([&] {
      linear_scan(shape, ScanOperands<float>{in.q, in.k, in.v, in.log_alpha, in.beta, state, o});
    });
  };
  EXPECT_EQ(error(good), "no error");
  Scan shape = good;
  shape.kind = ScanKind::vector_gate;
  EXPECT_EQ(error(shape), "log_alpha holds 2 elements: scan: its shape needs 64");
  shape = good;
  shape.kind = ScanKind::linear;
  EXPECT_EQ(error(shape), "log_alpha holds 2 elements: scan: its shape needs 0");
  shape = good;
  shape.backward = true;
  EXPECT_EQ(error(shape), "backward: scan on a CPU: use a forward shape");
  shape = good;
  shape.key_dim = 48;
  EXPECT_EQ(error(shape), "key_dim = 48: scan: use a multiple of 32 up to 256");
  shape = good;
  shape.decode = true;
  EXPECT_EQ(error(shape), "length = 2: scan: use 1 in a decode step");
  shape = good;
  shape.kind = ScanKind::gated_delta;
  EXPECT_EQ(error(shape), "beta holds 0 elements: scan: its shape needs 2");
}

}  // namespace
}  // namespace archfront::cpu
