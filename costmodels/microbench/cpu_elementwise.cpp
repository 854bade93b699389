#include "costmodels/microbench/cpu_elementwise.h"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/parallel_for.h>

#include <algorithm>
#include <atomic>
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

void move_bytes(std::span<const float> from, std::span<float> to) {
  // shares of each task: products (two in, one out), then copies (one in, one out), then reads or writes alone
  const std::size_t pieces = std::max<std::size_t>(1, (from.size() + to.size()) / (3 * grain));
  const auto part = [pieces](std::size_t size, std::size_t i) { return size * i / pieces; };
  oneapi::tbb::parallel_for(std::size_t{0}, pieces, [&](std::size_t i) {
    const auto in = from.subspan(part(from.size(), i), part(from.size(), i + 1) - part(from.size(), i));
    const auto out = to.subspan(part(to.size(), i), part(to.size(), i + 1) - part(to.size(), i));
    const std::size_t products = in.size() > out.size() ? std::min(out.size(), in.size() - out.size()) : 0;
    const std::size_t copies = std::min(out.size(), in.size()) - products;
    multiply_all(in.first(products), in.subspan(products, products), out.first(products));
    copy_all(in.subspan(2 * products, copies), out.subspan(products, copies));
    const std::size_t done = 2 * products + copies;
    // the sum goes somewhere, so that the reads are not left out
    if (in.size() > done) std::atomic<float>().store(read_all(in.subspan(done)), std::memory_order_relaxed);
    if (out.size() > products + copies)
      std::fill(out.begin() + static_cast<std::ptrdiff_t>(products + copies), out.end(), 1.0f);
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
