#pragma once

#include <string>

namespace archfront::cpu {

/// What others take from a benchmark while it runs: time its threads were ready but another process had the core, or a
/// cloud machine's neighbours had it. Repeats that agree do not show it: work that never pauses slows them all alike.
/// Work on cores the benchmark leaves idle is not counted.
class OtherWork {
 public:
  /// Reads /proc below `root` (tests give their own).
  explicit OtherWork(std::string root = "");

  /// Share in [0, 1] of the processor time wanted since the last call, or since construction, that others had instead;
  /// 0 where /proc does not tell.
  double share();

 private:
  struct Times {
    double wall = 0;
    double ran = 0;     // seconds, all threads of the process
    double waited = 0;  // seconds ready but not running, all threads
    double stolen = 0;  // seconds, all cores
  };
  Times now() const;

  std::string root_;
  Times last_;
};

}  // namespace archfront::cpu
