#include "costmodels/microbench/other_work.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace archfront::cpu {
namespace {

class FakeProc {
 public:
  FakeProc() : root_(testing::TempDir() + "other_work_" + std::to_string(getpid())) { stolen(0); }
  FakeProc(const FakeProc&) = delete;
  FakeProc& operator=(const FakeProc&) = delete;
  ~FakeProc() { std::filesystem::remove_all(root_); }

  void thread(const std::string& id, long ran_seconds, long waited_seconds) const {
    write("/proc/self/task/" + id + "/schedstat",
          std::to_string(ran_seconds) + "000000000 " + std::to_string(waited_seconds) + "000000000 7\n");
  }
  void stolen(long ticks) const { write("/proc/stat", "cpu  5 0 0 1000 0 0 0 " + std::to_string(ticks) + " 0 0\n"); }
  const std::string& root() const { return root_; }

 private:
  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root_ + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  std::string root_;
};

TEST(OtherWork, IsTheTimeThreadsWaitedForACore) {
  const FakeProc proc;
  proc.thread("1", 10, 1);
  proc.thread("2", 10, 1);
  OtherWork others(proc.root());
  proc.thread("1", 13, 1);
  proc.thread("2", 13, 3);
  EXPECT_DOUBLE_EQ(others.share(), 0.25) << "six seconds run, two waited";
  EXPECT_EQ(others.share(), 0) << "nothing since";
}

TEST(OtherWork, NeighboursOfACloudMachineCount) {
  const FakeProc proc;
  OtherWork others(proc.root());
  proc.stolen(1'000'000'000);
  EXPECT_EQ(others.share(), 1);
}

TEST(OtherWork, ASystemThatDoesNotTellCountsAsQuiet) {
  OtherWork others("/nowhere");
  EXPECT_EQ(others.share(), 0);
}

}  // namespace
}  // namespace archfront::cpu
