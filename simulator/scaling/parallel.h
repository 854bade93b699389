#pragma once

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <cstddef>

namespace archfront {

/// `count` independent pieces of work, each writing only its own result; in parallel where there are more than
/// `serial`. `threads` 0: all.
template <class Work>
void for_each_index(std::size_t count, int threads, std::size_t serial, const Work& work) {
  if (count <= serial || threads == 1) {
    for (std::size_t i = 0; i < count; ++i) work(i);
    return;
  }
  const int wanted = threads > 0 ? threads : tbb::this_task_arena::max_concurrency();
  const tbb::global_control allowed(tbb::global_control::max_allowed_parallelism, static_cast<std::size_t>(wanted));
  tbb::task_arena arena(wanted);
  arena.execute([&] { tbb::parallel_for(std::size_t{0}, count, work); });
}

}  // namespace archfront
