#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace archfront {

/// A hash table with open addressing and linear probing, of values that are pure functions of their keys: nothing is
/// ever removed, and finding allocates nothing. The whole key is compared, so that two keys of one hash stay apart.
template <class Key, class Value>
class CostCache {
 public:
  /// The value of `key`; nullptr if it has not been seen. Valid until the next insert.
  const Value* find(const Key& key, std::uint64_t hash) const {
    for (std::size_t i = hash & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (!slot.entry) return nullptr;
      if (slot.hash == hash && slot.entry->first == key) return &slot.entry->second;
    }
  }

  /// Adds a key that find does not know. Doubles the table where it is half full.
  const Value& insert(const Key& key, std::uint64_t hash, const Value& value) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    ++size_;
    Slot& slot = slots_[free_slot(hash)];
    slot.hash = hash;
    slot.entry.emplace(key, value);
    return slot.entry->second;
  }

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::optional<std::pair<Key, Value>> entry;
  };

  [[nodiscard]] std::size_t free_slot(std::uint64_t hash) const {
    std::size_t i = hash & mask_;
    while (slots_[i].entry) i = (i + 1) & mask_;
    return i;
  }

  void grow() {
    std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
    mask_ = slots_.size() - 1;
    for (Slot& slot : old) {
      if (slot.entry) slots_[free_slot(slot.hash)] = std::move(slot);
    }
  }

  std::vector<Slot> slots_ = std::vector<Slot>(64);  // a power of two
  std::size_t mask_ = 63;
  std::size_t size_ = 0;
};

}  // namespace archfront
