#include "costmodels/microbench/cpu_elementwise.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <cstring>

#include "costmodels/microbench/cpu_probes.h"

namespace archfront::cpu {

namespace {

using Range = oneapi::tbb::blocked_range<std::size_t>;

// Elements a task works on at least: 64 KiB take a few microseconds, as long as handing the task to another core.
constexpr std::size_t grain = 16'384;

template <class T>
void gather(std::span<const T> rows, std::size_t d_model, std::span<const std::int32_t> ids, std::span<T> out) {
  oneapi::tbb::parallel_for(Range(0, ids.size(), 1 + grain / d_model), [&](const Range& range) {
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      const std::size_t row = static_cast<std::size_t>(ids[i]) * d_model;
      std::memcpy(out.data() + i * d_model, rows.data() + row, d_model * sizeof(T));
    }
  });
}

}  // namespace

void multiply(std::span<const float> a, std::span<const float> b, std::span<float> out) {
  oneapi::tbb::parallel_for(Range(0, out.size(), grain), [&](const Range& range) {
    const std::size_t size = range.end() - range.begin();
    multiply_all(a.subspan(range.begin(), size), b.subspan(range.begin(), size), out.subspan(range.begin(), size));
  });
}

void gather_rows(std::span<const float> rows, std::size_t d_model, std::span<const std::int32_t> ids,
                 std::span<float> out) {
  gather(rows, d_model, ids, out);
}

void gather_rows(std::span<const Bf16> rows, std::size_t d_model, std::span<const std::int32_t> ids,
                 std::span<Bf16> out) {
  gather(rows, d_model, ids, out);
}

}  // namespace archfront::cpu
