#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace archfront::cpu {

// Loops that reach what the processor can do at most: the ceilings that kernels are measured against. All run on the
// calling thread with the widest vectors there are.

/// FLOPs of `rounds` rounds of independent f32 multiply-adds in registers, more of them than latency times ports.
double multiply_adds_f32(std::size_t rounds);
/// The same with bf16 pairs accumulated in f32; 0 where the processor has no such instruction.
double multiply_adds_bf16(std::size_t rounds);

/// Reads all of it once, in order; the sum keeps the loads alive.
float read_all(std::span<const float> data);
/// to = from, with ordinary stores; equal sizes.
void copy_all(std::span<const float> from, std::span<float> to);
/// out = a b, an elementwise layer's pattern: two operands read, one written; equal sizes.
void multiply_all(std::span<const float> a, std::span<const float> b, std::span<float> out);

/// "AVX3", "AVX2", "NEON": the instruction set kernels run with.
std::string_view instruction_set();

}  // namespace archfront::cpu
