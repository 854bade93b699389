#include "costmodels/microbench/other_work.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

namespace archfront::cpu {
namespace {

class FakeStat {
 public:
  FakeStat() : root_(testing::TempDir() + "other_work_" + std::to_string(getpid())) {
    std::filesystem::create_directories(root_ + "/proc");
  }
  FakeStat(const FakeStat&) = delete;
  FakeStat& operator=(const FakeStat&) = delete;
  ~FakeStat() { std::filesystem::remove_all(root_); }
  /// Ticks of user and of stolen time since the machine started.
  void write(long user, long stolen) const {
    std::ofstream(root_ + "/proc/stat") << "cpu  " << user << " 0 0 1000 0 0 0 " << stolen << " 0 0\n";
  }
  const std::string& root() const { return root_; }

 private:
  std::string root_;
};

TEST(OtherWork, CountsWhatOthersAndNeighboursTake) {
  const FakeStat stat;
  stat.write(1000, 0);
  OtherWork others(stat.root());
  EXPECT_EQ(others.share(), 0);
  stat.write(1'000'000'000, 0);
  EXPECT_EQ(others.share(), 1) << "a share of more than all cores is all of them";
  stat.write(1'000'000'000, 1'000'000'000);
  EXPECT_EQ(others.share(), 1) << "stolen time counts too";
}

TEST(OtherWork, OwnWorkIsNotOthersWork) {
  const FakeStat stat;
  stat.write(0, 0);
  OtherWork others(stat.root());
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(100)) {
  }
  stat.write(1, 0);  // 10 ms, a tenth of what this process used in the meantime
  EXPECT_EQ(others.share(), 0);
}

TEST(OtherWork, ASystemThatDoesNotTellCountsAsQuiet) {
  OtherWork others("/nowhere");
  EXPECT_EQ(others.share(), 0);
}

}  // namespace
}  // namespace archfront::cpu
