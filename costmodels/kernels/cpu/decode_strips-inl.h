// Decode attention's walk over a task's keys: score 64, soften, accumulate, whatever type the cache has.
// Included once a Highway target, hence the toggled guard.
#if defined(ARCHFRONT_DECODE_STRIPS) == defined(HWY_TARGET_TOGGLE)
#ifdef ARCHFRONT_DECODE_STRIPS
#undef ARCHFRONT_DECODE_STRIPS
#else
#define ARCHFRONT_DECODE_STRIPS
#endif

#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "costmodels/kernels/cpu/decode_part.h"
#include "costmodels/kernels/cpu/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace archfront::cpu {
namespace HWY_NAMESPACE {

constexpr float masked_score = -3e38f;
constexpr float lowest_maximum = -1e30f;

// Keys a block, at most: a longer one shares the softmax's reductions among more and changes less often between K and
// V.
constexpr std::int64_t block_strips = 16;
constexpr std::int64_t block_keys = block_strips * strip_keys;

using Strips = std::span<const Strip>;

// A stretch of memory to be asked for in order, a bit at a time, so that reading it goes on while others compute: into
// L2, as asking for more than L1 holds would push out what is at work.
class Ahead {
 public:
  // Of [from, from + bytes), the part-th of `parts`, over `steps` steps.
  Ahead(const void* from, std::int64_t bytes, std::int64_t part, std::int64_t parts, std::int64_t steps)
      : at_(static_cast<const char*>(from) + bytes * part / parts),
        end_(static_cast<const char*>(from) + bytes * (part + 1) / parts),
        pace_((bytes / 64 + parts * steps - 1) / (parts * steps)) {}

  HWY_INLINE void step() {
    for (std::int64_t i = 0; i < pace_ && at_ < end_; ++i, at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const char* at_;
  const char* end_;
  std::int64_t pace_;
};

// Several passes over a block's strips ask for the next block's rows, each for its share and in order.
struct PassStep {
  std::int64_t pass, passes;
  std::size_t strip, strips;
};
template <class T>
HWY_INLINE Ahead ahead_in_pass(const T* rows, Strips next, std::int64_t head_dim, PassStep at, std::int64_t steps) {
  const std::int64_t i = at.pass * static_cast<std::int64_t>(at.strips) + static_cast<std::int64_t>(at.strip);
  const std::size_t s = std::min(static_cast<std::size_t>(i / at.passes), next.size() - 1);
  const std::int64_t bytes = strip_keys * head_dim * static_cast<std::int64_t>(sizeof(T));
  return {rows + next[s].key * head_dim, bytes, i % at.passes, at.passes, steps};
}

// Keeps the compiler from moving reads of what follows before those of what comes first: prefetchers follow one row
// read after another, and lose the way where the compiler interleaves several.
HWY_INLINE void read_in_order() { asm volatile("" ::: "memory"); }

// A strip's rows, 16 of them: those of the cache, or a copy followed by zeros where the strip has fewer, so that
// kernels need not ask and read nothing past a cache's end.
template <class T>
class Tail {
 public:
  Tail() {}  // leaves copy_ as it is

  const T* whole(const T* rows, const Strip& strip, std::int64_t head_dim) {
    const T* from = rows + strip.key * head_dim;
    if (strip.count == strip_keys) return from;
    std::copy_n(from, strip.count * head_dim, copy_);
    std::fill_n(copy_ + strip.count * head_dim, (strip_keys - strip.count) * head_dim, T{});
    return copy_;
  }

 private:
  alignas(64) T copy_[strip_keys * 512];  // of a page's two bounds a channel, 256 of them at most
};

// Strips a block of so many bytes a row: as long as possible for rows that are read without being asked for before; for
// others K and V stay in L2, half of it at most, from being asked for to being used.
inline std::size_t strips_of_block(std::int64_t rows, std::int64_t row_bytes) {
  constexpr std::int64_t asked_for = 32 * 1024;
  if (rows <= 2) return block_strips;
  return static_cast<std::size_t>(std::clamp<std::int64_t>(asked_for / (strip_keys * row_bytes), 2, block_strips));
}

// Scores a row may not see, and those past a strip's last key, become nothing.
inline void hide(Strips strips, const Sight* sight, std::int64_t rows, float* scores) {
  const F32 d;
  const hn::Rebind<std::int32_t, F32> di;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto nothing = hn::Set(d, masked_score);
  const auto at = [di](std::int64_t key) {
    return hn::Set(di, static_cast<std::int32_t>(std::clamp<std::int64_t>(key, -strip_keys, strip_keys)));
  };
  for (std::size_t s = 0; s < strips.size(); ++s) {
    const Strip& strip = strips[s];
    if (!strip.masked && strip.count == strip_keys) continue;
    for (std::int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * block_keys + static_cast<std::int64_t>(s) * strip_keys;
      const auto before = at(sight[r].begin - strip.key - 1);
      const auto end = at(std::min(sight[r].end - strip.key, strip.count));
      const auto sinks = at(sight[r].sinks - strip.key);
      for (std::int64_t j = 0; j < strip_keys; j += lanes) {
        const auto key = hn::Iota(di, static_cast<std::int32_t>(j));
        const auto seen = hn::And(hn::Lt(key, end), hn::Or(hn::Gt(key, before), hn::Lt(key, sinks)));
        hn::Store(hn::IfThenElse(hn::RebindMask(d, seen), hn::Load(d, row + j), nothing), d, row + j);
      }
    }
  }
}

// Scores of one row into weights; `sums` holds a vector of partial sums. Returns what the row's output so far must be
// multiplied by.
inline float soften(std::int64_t keys, float* scores, float& maximum, float* sums) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  V top = hn::Load(d, scores);
  for (std::int64_t j = lanes; j < keys; j += lanes) top = hn::Max(top, hn::Load(d, scores + j));
  V total = hn::Load(d, sums);
  float factor = 1;
  if (!hn::AllTrue(d, hn::Le(top, hn::Set(d, maximum)))) {
    const float raised = hn::GetLane(hn::MaxOfLanes(d, top));
    const V factors = exp2_f32(d, hn::Set(d, maximum - raised));
    factor = hn::GetLane(factors);
    total = hn::Mul(total, factors);
    maximum = raised;
  }
  const V most = hn::Set(d, maximum);
  for (std::int64_t j = 0; j < keys; j += lanes) {
    const V weight = exp2_f32(d, hn::Sub(hn::Load(d, scores + j), most));
    hn::Store(weight, d, scores + j);
    total = hn::Add(total, weight);
  }
  hn::Store(total, d, sums);
  return factor;
}

// o *= factor.
inline void rescale(float factor, std::int64_t head_dim, float* o) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t x = 0; x < head_dim; x += lanes) {
    hn::StoreU(hn::Mul(hn::Set(d, factor), hn::LoadU(d, o + x)), d, o + x);
  }
}

// `Kernel` scores a block's keys into [rows, block_keys] and adds their weighted values to o; it is told of the block
// after that too, so that it may ask for its keys.
template <class Cache, class Kernel>
void run_strips(const DecodePart<Cache>& part, Kernel& kernel) {
  const F32 d;
  const std::size_t lanes = hn::Lanes(d);
  const auto rows = static_cast<std::size_t>(part.rows);
  const auto scratch = hwy::AllocateAligned<float>(rows * (block_keys + lanes));
  float* scores = scratch.get();
  float* sums = scores + rows * block_keys;
  std::fill_n(sums, rows * lanes, 0.0f);
  std::fill_n(part.o, part.rows * part.head_dim, 0.0f);
  std::fill_n(part.maximum, rows, lowest_maximum);
  const std::size_t at_once = kernel.strips_at_once();
  const auto block = [&](std::size_t first) {
    first = std::min(first, part.strips.size());
    return part.strips.subspan(first, std::min(at_once, part.strips.size() - first));
  };
  for (std::size_t first = 0; first < part.strips.size(); first += at_once) {
    const Strips strips = block(first);
    kernel.score(strips, scores);
    hide(strips, part.sight, part.rows, scores);
    const std::int64_t keys = static_cast<std::int64_t>(strips.size()) * strip_keys;
    for (std::int64_t r = 0; r < part.rows; ++r) {
      const float factor =
          soften(keys, scores + r * block_keys, part.maximum[r], sums + static_cast<std::size_t>(r) * lanes);
      if (factor != 1.0f) rescale(factor, part.head_dim, part.o + r * part.head_dim);
    }
    const Strips next = block(first + at_once);
    kernel.accumulate(strips, next.empty() ? strips : next, scores, part.o);
  }
  kernel.finish(part.o);
  for (std::size_t r = 0; r < rows; ++r) part.sum[r] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + r * lanes)));
}

// best[r % sets, key] = the largest score any such row gives a key.
template <class Cache, class Kernel>
void best_of_strips(const DecodePart<Cache>& part, std::int64_t sets, Kernel& kernel, float* best) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto scores = hwy::AllocateAligned<float>(static_cast<std::size_t>(part.rows * block_keys));
  const std::int64_t width = static_cast<std::int64_t>(part.strips.size()) * strip_keys;
  for (std::int64_t key = 0; key < width; key += block_keys) {
    const std::int64_t keys = std::min(block_keys, width - key);
    kernel.score(
        part.strips.subspan(static_cast<std::size_t>(key / strip_keys), static_cast<std::size_t>(keys / strip_keys)),
        scores.get());
    for (std::int64_t r = 0; r < part.rows; ++r) {
      float* to = best + r % sets * width + key;
      for (std::int64_t j = 0; j < keys; j += lanes) {
        const V score = hn::Load(d, scores.get() + r * block_keys + j);
        hn::StoreU(r < sets ? score : hn::Max(score, hn::LoadU(d, to + j)), d, to + j);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace archfront::cpu
HWY_AFTER_NAMESPACE();

#endif
