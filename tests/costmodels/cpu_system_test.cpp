#include "costmodels/microbench/cpu_system.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace archfront::cpu {
namespace {

/// A file tree such as Linux shows, removed with the test.
class FakeRoot {
 public:
  FakeRoot() : root_(testing::TempDir() + "cpu_system_" + std::to_string(getpid())) {}
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;
  ~FakeRoot() { std::filesystem::remove_all(root_); }

  void write(const std::string& file, const std::string& text) const {
    const std::filesystem::path path = root_ + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  void cache(int index, const std::string& level, const std::string& type, const std::string& size,
             const std::string& shared) const {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    write(folder + "level", level + "\n");
    write(folder + "type", type + "\n");
    write(folder + "size", size + "\n");
    write(folder + "shared_cpu_list", shared + "\n");
  }
  const std::string& path() const { return root_; }

 private:
  std::string root_;
};

TEST(CpuSystem, ReadsModelMemoryAndDataCaches) {
  const FakeRoot root;
  root.write("/proc/cpuinfo",
             "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n");
  root.write("/proc/meminfo", "MemTotal:       1024 kB\nMemFree:  5 kB\n");
  root.cache(0, "1", "Data", "32K", "0");
  root.cache(1, "1", "Instruction", "64K", "0");
  root.cache(2, "2", "Unified", "1M", "0");
  root.cache(3, "3", "Unified", "4096K", "0-4095");
  const System system = read_system(root.path());
  EXPECT_EQ(system.model, "AMD EPYC");
  EXPECT_EQ(system.family, 25);
  EXPECT_EQ(system.model_number, 17);
  EXPECT_EQ(system.memory_bytes, 1024.0 * 1024);
  ASSERT_EQ(system.caches.size(), 3u);
  EXPECT_EQ(system.caches[0].name, "L1");
  EXPECT_EQ(system.caches[0].bytes, 32768.0 * system.cores) << "one a core";
  EXPECT_EQ(system.caches[1].bytes, 1048576.0 * system.cores);
  EXPECT_EQ(system.caches[2].bytes, 4194304.0) << "one for all";
  EXPECT_EQ(machine_name(system), "amd-epyc-zen4-" + std::to_string(system.cores) + "c");
}

TEST(CpuSystem, ATreeThatTellsNothingStillGivesCachesAndAName) {
  const FakeRoot root;
  const System system = read_system(root.path());
  EXPECT_FALSE(system.caches.empty());
  EXPECT_EQ(machine_name(system), "unknown-processor-" + std::to_string(system.cores) + "c");
}

TEST(CpuSystem, NamesKeepTheModelAndDropTheClock) {
  EXPECT_EQ(machine_name({.model = "Intel(R) Xeon(R) Platinum 8480C @ 2.00GHz", .cores = 16}),
            "intelr-xeonr-platinum-8480c-16c");
  EXPECT_EQ(machine_name({.model = "AMD EPYC 9355 32-Core Processor", .family = 26, .model_number = 2, .cores = 8}),
            "amd-epyc-9355-32-core-processor-8c");
  EXPECT_EQ(machine_name({.model = "AMD EPYC", .family = 26, .model_number = 2, .cores = 2}), "amd-epyc-zen5-2c");
}

}  // namespace
}  // namespace archfront::cpu
