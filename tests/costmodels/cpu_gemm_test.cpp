#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "costmodels/kernels/cpu/gemm.h"
#include "tests/costmodels/cpu_tensors.h"

namespace archfront::cpu {
namespace {

template <class T>
void expect_matches(Precision precision) {
  std::mt19937 engine(std::random_device{}());
  for (const Gemm& shape : {Gemm{.m = 1, .n = 37, .k = 129, .precision = precision},
                            Gemm{.m = 67, .n = 130, .k = 31, .precision = precision},
                            Gemm{.m = 3, .n = 300, .k = 40, .precision = precision},
                            Gemm{.m = 301, .n = 50, .k = 33, .precision = precision}}) {
    const std::vector<T> a = normal<T>(engine, shape.m * shape.k);
    const std::vector<T> b = normal<T>(engine, shape.k * shape.n);
    std::vector<T> c = poisoned<T>(shape.m * shape.n);
    std::vector<double> wanted(c.size());
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t x = 0; x < shape.k; ++x) {
        const double factor = static_cast<double>(to_f32(a[static_cast<std::size_t>(i * shape.k + x)]));
        for (std::int64_t j = 0; j < shape.n; ++j) {
          wanted[static_cast<std::size_t>(i * shape.n + j)] +=
              factor * static_cast<double>(to_f32(b[static_cast<std::size_t>(x * shape.n + j)]));
        }
      }
    }
    PackedGemm product(shape, b);
    product.run(a, c);
    EXPECT_LT(relative_error<T>(c, wanted), tolerance<T>()) << shape.m;
  }
}

TEST(CpuGemm, MatchesTheDefinitionInF32) { expect_matches<float>(Precision::f32); }
TEST(CpuGemm, MatchesTheDefinitionInBf16) { expect_matches<Bf16>(Precision::bf16); }

TEST(CpuGemm, OperandsThatDoNotFitAreNamed) {
  std::vector<float> b(12), a(8), c(6);
  const Gemm shape{.m = 2, .n = 3, .k = 4, .precision = Precision::f32};
  PackedGemm product(shape, b);
  EXPECT_EQ(error_of([&] { product.run(a, c); }), "no error");
  EXPECT_EQ(error_of([&] { product.run(b, c); }), "a holds 12 elements: gemm: its shape needs 2 x 4");
  EXPECT_EQ(error_of([&] { PackedGemm(Gemm{.m = 2, .n = 3, .k = 4, .precision = Precision::bf16}, b); }),
            "precision bf16 with f32 operands: gemm: give operands of the shape's precision");
}

}  // namespace
}  // namespace archfront::cpu
