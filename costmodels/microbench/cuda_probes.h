#pragma once

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace archfront::cuda {

// Kernels that measure the machine rather than compute. All enqueue on `stream`, may be captured in a graph, and throw
// std::runtime_error if the launch fails. Sizes in bytes are multiples of 16; pointers are 16-byte aligned.

/// Fills with bf16 values, normal with the given scale, a function of position and seed. Products on zeros or constants
/// draw less power and so run faster than real ones.
void fill_normal_bf16(void* data, std::size_t bytes, float scale, std::uint64_t seed, CUstream_st* stream);
void fill_normal_f32(void* data, std::size_t bytes, float scale, std::uint64_t seed, CUstream_st* stream);
/// In e4m3.
void fill_normal_fp8(void* data, std::size_t bytes, float scale, std::uint64_t seed, CUstream_st* stream);
/// Rounded to whole numbers and clipped to [-127, 127].
void fill_normal_int8(void* data, std::size_t bytes, float scale, std::uint64_t seed, CUstream_st* stream);

/// Uniform in [low, high).
void fill_uniform_f32(void* data, std::size_t bytes, float low, float high, std::uint64_t seed, CUstream_st* stream);
/// Uniform in [0, limit).
void fill_uniform_int32(void* data, std::size_t bytes, int limit, std::uint64_t seed, CUstream_st* stream);

void launch_empty(CUstream_st* stream);

/// How a copy or a read is spread over the device; which is fastest differs from one memory to another.
struct Spread {
  int loads = 4;      ///< 16-byte loads a thread has in flight: 2, 4 or 8
  bool tiled = true;  ///< a block for each tile of 256 threads x loads x 16 bytes; else as many blocks as fit at once
};

void copy_bytes(const void* from, void* to, std::size_t bytes, Spread spread, CUstream_st* stream);

/// Reads all bytes, past the L1 cache, `passes` times; writes almost nothing to `sink`, which has a word a block.
void read_bytes(const void* from, std::size_t bytes, int passes, Spread spread, void* sink, CUstream_st* stream);
std::size_t read_sink_bytes(std::size_t bytes, Spread spread);

/// `multiply_adds(steps)` dependent f32 multiply-adds spread over the whole device, four chains a thread.
void run_multiply_adds(int steps, void* sink, CUstream_st* stream);
double multiply_adds(int steps);

/// Spins for about 50 us on one thread and writes {cycles, nanoseconds} as two 64-bit integers: the clock in force.
void sample_clock(void* cycles_and_nanoseconds, CUstream_st* stream);

}  // namespace archfront::cuda
