#pragma once

#include <string>

namespace archfront::cpu {

/// What other processes (and a cloud machine's neighbours) take of this machine while a benchmark runs. Repeats that
/// agree do not show it: work that never pauses slows them all alike.
class OtherWork {
 public:
  /// Reads /proc/stat below `root` (tests give their own).
  explicit OtherWork(std::string root = "");

  /// Share in [0, 1] of all cores that others used since the last call, or since construction; 0 where /proc does not
  /// tell.
  double share();
  /// Seconds since then.
  double seconds() const;

 private:
  struct Times {
    double wall = 0;
    double busy = 0;  // of all cores, whoever kept them so
    double own = 0;
  };
  Times now() const;

  std::string root_;
  Times last_;
};

}  // namespace archfront::cpu
