#include "costmodels/kernels/cpu/block_mask.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string_view>

#include "costmodels/errors.h"

namespace archfront::cpu {

namespace {

std::int64_t blocks_of(std::int64_t length, std::int64_t block) { return (length + block - 1) / block; }

void require(bool holds, std::string_view wrong, std::int64_t value, std::string_view right) {
  if (!holds) throw InputError(fmt::format("{} = {}: block mask: {}", wrong, value, right));
}

void require_equal(std::string_view name, std::int64_t value, std::int64_t wanted) {
  if (value != wanted) throw InputError(fmt::format("{} = {}: block mask: its shape needs {}", name, value, wanted));
}

/// The first and the last query of a block, as positions among the keys.
std::int64_t first_position(const Attention& shape, int block, std::int64_t query_block) {
  return shape.context - shape.query_length + query_block * block;
}
std::int64_t last_position(const Attention& shape, int block, std::int64_t query_block) {
  return std::min(first_position(shape, block, query_block + 1), shape.context) - 1;
}

void check_row(const Attention& shape, const BlockMask& mask, std::int64_t sequence, std::int64_t head,
               std::int64_t query_block) {
  const std::span<const std::int32_t> row = mask.kept(sequence, head, query_block);
  const auto where = [&] {
    return fmt::format("block mask: sequence {}, head {}, query block {}", sequence, head, query_block);
  };
  if (std::adjacent_find(row.begin(), row.end(), std::greater_equal<>()) != row.end()) {
    throw InputError(fmt::format("key blocks do not ascend: {}: list each once, in order", where()));
  }
  const std::int64_t key_blocks = blocks_of(shape.context, mask.block);
  if (!row.empty() && (row.front() < 0 || row.back() >= key_blocks)) {
    throw InputError(fmt::format("key block {} is outside the context: {}: use 0 to {}",
                                 row.front() < 0 ? row.front() : row.back(), where(), key_blocks - 1));
  }
  const std::int64_t seen = first_position(shape, mask.block, query_block) / mask.block;
  if (!shape.key_value_bias && (row.empty() || row.front() > seen)) {
    throw InputError(fmt::format("a query is left no key: {}: keep a block up to {}", where(), seen));
  }
}

}  // namespace

void check_mask(const Attention& shape, const BlockMask& mask) {
  require(mask.block > 0, "block", mask.block, "use 1 or more");
  if (shape.block > 0) require_equal("block", mask.block, shape.block);
  require_equal("batch", mask.batch, shape.batch);
  require_equal("n_heads", mask.n_heads, shape.n_heads);
  require_equal("query_blocks", mask.query_blocks, blocks_of(shape.query_length, mask.block));
  const std::int64_t rows = mask.batch * mask.n_heads * mask.query_blocks;
  require_equal("size of starts", static_cast<std::int64_t>(mask.starts.size()), rows + 1);
  require_equal("first of starts", mask.starts.front(), 0);
  require_equal("last of starts", mask.starts.back(), static_cast<std::int64_t>(mask.key_blocks.size()));
  if (!std::is_sorted(mask.starts.begin(), mask.starts.end())) {
    throw InputError("starts do not ascend: block mask: let each row begin where the one before it ends");
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    check_row(shape, mask, row / mask.query_blocks / mask.n_heads, row / mask.query_blocks % mask.n_heads,
              row % mask.query_blocks);
  }
}

double scored_pairs(const Attention& shape, const BlockMask& mask) {
  double pairs = shape.key_value_bias ? static_cast<double>(shape.batch * shape.n_heads * shape.query_length) : 0;
  for (std::int64_t row = 0; row < mask.batch * mask.n_heads * mask.query_blocks; ++row) {
    const std::int64_t query_block = row % mask.query_blocks;
    const std::int64_t first = first_position(shape, mask.block, query_block);
    const std::int64_t last = last_position(shape, mask.block, query_block);
    for (const std::int64_t key_block :
         mask.kept(row / mask.query_blocks / mask.n_heads, row / mask.query_blocks % mask.n_heads, query_block)) {
      const std::int64_t key = key_block * mask.block;
      const std::int64_t count = std::min<std::int64_t>(mask.block, shape.context - key);
      for (std::int64_t position = std::max(first, key); position <= last; ++position) {
        pairs += static_cast<double>(std::min(count, position - key + 1));
      }
    }
  }
  return pairs;
}

BlockMask sample_mask(const Attention& shape, std::uint64_t seed) {
  require(shape.block > 0, "block", shape.block, "use 1 or more");
  BlockMask mask{.block = shape.block,
                 .batch = shape.batch,
                 .n_heads = shape.n_heads,
                 .query_blocks = blocks_of(shape.query_length, shape.block),
                 .starts = {0},
                 .key_blocks = {}};
  std::mt19937_64 engine(seed);
  std::vector<std::int32_t> earlier;
  std::vector<std::int32_t> chosen;
  double owed = 0;  // of earlier blocks, as rows keep whole ones
  for (std::int64_t row = 0; row < mask.batch * mask.n_heads * mask.query_blocks; ++row) {
    const std::int64_t query_block = row % mask.query_blocks;
    if (query_block == 0) owed = 0;
    const std::int64_t own = first_position(shape, mask.block, query_block) / mask.block;
    const std::int64_t end = last_position(shape, mask.block, query_block) / mask.block + 1;
    // Its own blocks are seen by half on average, whatever is kept.
    owed += (1 - shape.sparsity) * static_cast<double>(own) - shape.sparsity / 2;
    const auto wanted = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::max(0.0, owed + 0.5)), 0, own);
    owed -= static_cast<double>(wanted);
    earlier.resize(static_cast<std::size_t>(own));
    std::iota(earlier.begin(), earlier.end(), 0);
    chosen.clear();
    std::sample(earlier.begin(), earlier.end(), std::back_inserter(chosen), wanted, engine);
    mask.key_blocks.insert(mask.key_blocks.end(), chosen.begin(), chosen.end());
    for (std::int64_t key_block = own; key_block < end; ++key_block) {
      mask.key_blocks.push_back(static_cast<std::int32_t>(key_block));
    }
    mask.starts.push_back(static_cast<std::int64_t>(mask.key_blocks.size()));
  }
  return mask;
}

}  // namespace archfront::cpu
