#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "costmodels/kernels/cpu/bf16.h"
#include "costmodels/operations.h"

namespace archfront::cpu {

/// oneDNN's C[m, n] = A[m, k] B[k, n] for one shape, with B kept in the layout oneDNN likes best, as a weight is packed
/// once and used for every token. f32 or bf16 operands, f32 accumulation, C in the operands' precision.
/// Split by rows or columns over the TBB arena it was made in; oneDNN's own threads would go on spinning while the next
/// kernel runs. One object may be used by one thread at a time.
class PackedGemm {
 public:
  /// Packs B [k, n]. Throws InputError for a precision other than the operand's, groups other than 1, an extent below
  /// 1, or a span of another size.
  PackedGemm(const Gemm& shape, std::span<const float> b);
  PackedGemm(const Gemm& shape, std::span<const Bf16> b);
  PackedGemm(PackedGemm&&) noexcept;
  PackedGemm& operator=(PackedGemm&&) noexcept;
  ~PackedGemm();

  /// A [m, k] and C [m, n] of the precision B was packed in; throws InputError otherwise, or for other sizes.
  void run(std::span<const float> a, std::span<float> c);
  void run(std::span<const Bf16> a, std::span<Bf16> c);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// "oneDNN 2.6.3".
std::string_view gemm_library();

}  // namespace archfront::cpu
