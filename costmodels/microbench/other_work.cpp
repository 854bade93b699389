#include "costmodels/microbench/other_work.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

namespace archfront::cpu {

OtherWork::OtherWork(std::string root) : root_(std::move(root)), last_(now()) {}

OtherWork::Times OtherWork::now() const {
  Times times;
  times.wall = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(root_ + "/proc/self/task", error)) {
    double ran = 0, waited = 0;  // nanoseconds
    if (std::ifstream(thread.path() / "schedstat") >> ran >> waited) {
      times.ran += 1e-9 * ran;
      times.waited += 1e-9 * waited;
    }
  }
  std::ifstream in(root_ + "/proc/stat");
  std::string label;
  double user = 0, nice = 0, system = 0, idle = 0, waiting = 0, interrupts = 0, soft_interrupts = 0, stolen = 0;
  in >> label >> user >> nice >> system >> idle >> waiting >> interrupts >> soft_interrupts >> stolen;
  times.stolen = stolen / static_cast<double>(sysconf(_SC_CLK_TCK));
  return times;
}

double OtherWork::share() {
  const Times before = std::exchange(last_, now());
  const double ran = last_.ran - before.ran;
  const double waited = std::max(0.0, last_.waited - before.waited);
  const double cores = std::max(1U, std::thread::hardware_concurrency());
  const double stolen = (last_.stolen - before.stolen) / cores / std::max(1e-9, last_.wall - before.wall);
  return std::clamp((ran > 0 ? waited / (ran + waited) : 0.0) + stolen, 0.0, 1.0);
}

}  // namespace archfront::cpu
