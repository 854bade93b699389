#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "results/store.h"

namespace archfront {

/// Writes what a running sweep hands over on a thread of its own, in order, so that the disk never holds up the search.
/// At most `limit` hand-overs wait; then the search does. A failed write is thrown by the next call.
class StoreWriter {
 public:
  StoreWriter(Store& store, std::int64_t sweep);
  ~StoreWriter();
  StoreWriter(const StoreWriter&) = delete;
  StoreWriter& operator=(const StoreWriter&) = delete;

  void save(const Checkpoint& checkpoint);
  void add(PointSet points);
  /// Waits until everything is written.
  void finish();

 private:
  void push(std::function<void()> task);
  void run();
  void stop();

  static constexpr std::size_t limit = 64;
  Store& store_;
  std::int64_t sweep_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace archfront
