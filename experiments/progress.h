#pragma once

#include <string>
#include <string_view>

namespace archfront {

/// A line on stderr that is drawn again in place; nothing where stderr is no terminal. Cleared when it goes.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void show(std::string_view text);

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace archfront
