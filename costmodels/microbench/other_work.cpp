#include "costmodels/microbench/other_work.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>
#include <utility>

namespace archfront::cpu {

namespace {

double seconds_in(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

}  // namespace

OtherWork::OtherWork(std::string root) : root_(std::move(root)), last_(now()) {}

OtherWork::Times OtherWork::now() const {
  Times times;
  times.wall = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::ifstream in(root_ + "/proc/stat");
  std::string label;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft_interrupts = 0, stolen = 0;
  in >> label >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >> stolen;
  times.busy =
      (user + nice + system + interrupts + soft_interrupts + stolen) / static_cast<double>(sysconf(_SC_CLK_TCK));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  times.own = seconds_in(usage.ru_utime) + seconds_in(usage.ru_stime);
  return times;
}

double OtherWork::share() {
  const Times before = std::exchange(last_, now());
  if (last_.busy <= before.busy) return 0;
  const double cores = std::max(1U, std::thread::hardware_concurrency());
  const double others = (last_.busy - before.busy) - (last_.own - before.own);
  return std::clamp(others / cores / std::max(1e-9, last_.wall - before.wall), 0.0, 1.0);
}

double OtherWork::seconds() const { return now().wall - last_.wall; }

}  // namespace archfront::cpu
