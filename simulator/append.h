#pragma once

#include <string_view>

#include "simulator/step.h"

namespace archfront {

/// Adds a projection of `tokens` rows through a [k, n] weight.
inline void append_gemm(Operations& operations, std::string_view name, std::int64_t tokens, std::int64_t n,
                        std::int64_t k, const Step& step) {
  operations.push_back({name, 1, Gemm{.m = tokens, .n = n, .k = k, .groups = 1, .precision = step.precision}});
}

/// Adds an elementwise kernel, its traffic in elements of the step's precision.
inline void append_elementwise(Operations& operations, std::string_view name, double read_elements,
                               double written_elements, const Step& step) {
  const double bytes = bytes_per_element(step.precision);
  operations.push_back(
      {name, 1,
       Elementwise{.read_bytes = read_elements * bytes, .written_bytes = written_elements * bytes, .flops = 0}});
}

/// Elements a decode step shifts in the tail that a causal convolution of `width` taps keeps of every sequence.
inline double conv_tail(double channels, int width, const Step& step) {
  if (step.phase != Phase::decode || width <= 1) return 0;
  return channels * (width - 1) * static_cast<double>(step.batch);
}

/// Bytes of that tail for one sequence.
inline double conv_tail_bytes(double channels, int width, const Step& step) {
  return width > 1 ? channels * (width - 1) * bytes_per_element(step.precision) : 0;
}

/// Adds a causal convolution over `elements` with the SiLU behind it; fused where the engine fuses.
void append_convolution(Operations& operations, double elements, double tail, const Step& step);

/// Adds a root-mean-square norm of `elements` as a framework without fusion launches it: up to f32, square, mean,
/// scale, back down, times the weight.
void append_unfused_norm(Operations& operations, double elements, const Step& step);

/// Adds the pass that makes `n_heads` f32 decays a token, and as many write strengths if `delta`, from their logits.
void append_gates(Operations& operations, int n_heads, bool delta, const Step& step);

/// Adds the norm of each recurrent head's output, `values` elements in all, times SiLU of the gate where there is one;
/// fused where the engine fuses.
void append_gated_norm(Operations& operations, double values, bool gated, const Step& step);

/// Adds a recurrence over a layer's heads, its state in f32.
void append_scan(Operations& operations, std::string_view name, ScanKind kind, int n_heads, int key_dim, int value_dim,
                 const Step& step);

}  // namespace archfront
