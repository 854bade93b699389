#include "experiments/store_writer.h"

#include <memory>

namespace archfront {

StoreWriter::StoreWriter(Store& store, std::int64_t sweep) : store_(store), sweep_(sweep), thread_([this] { run(); }) {}

StoreWriter::~StoreWriter() { stop(); }

void StoreWriter::save(const Checkpoint& checkpoint) {
  push([this, checkpoint] { store_.save_checkpoint(sweep_, checkpoint); });
}

void StoreWriter::add(PointSet points) {
  push([this, moved = std::make_shared<const PointSet>(std::move(points))] { store_.add_points(sweep_, *moved); });
}

void StoreWriter::finish() {
  stop();
  if (failure_) std::rethrow_exception(failure_);
}

void StoreWriter::push(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return tasks_.size() < limit || failure_; });
  if (failure_) std::rethrow_exception(failure_);
  tasks_.push_back(std::move(task));
  changed_.notify_all();
}

void StoreWriter::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return !tasks_.empty() || stopping_; });
    if (tasks_.empty()) return;
    const std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    try {
      task();
      lock.lock();
    } catch (...) {
      lock.lock();
      failure_ = std::current_exception();
      tasks_.clear();
      stopping_ = true;
    }
    changed_.notify_all();
  }
}

void StoreWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace archfront
