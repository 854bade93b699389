#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "costmodels/errors.h"
#include "costmodels/machine.h"
#include "search/sweep.h"
#include "simulator/scaling/law.h"

namespace archfront {
namespace {

const std::filesystem::path experiments = std::filesystem::path(SOURCE_DIR) / "experiments";

SweepResult serve_1b(int threads) {
  const SweepConfig config = load_sweep(experiments / "sweeps" / "serve-1b.ini");
  Machine machine = find_machine(config.machine, std::filesystem::path(SOURCE_DIR) / "costmodels" / "calibrations");
  keep_kernels(machine, config.kernels);
  std::vector<Architecture> references;
  for (const std::string& name : config.references)
    references.push_back(load_architecture(name, experiments / "models"));
  RunOptions options;
  options.threads = threads;
  return run_sweep(config, machine, load_law("default", experiments / "laws"), references, options);
}

/// From the error that lists them, for want of a near one.
std::vector<std::string> keys_of(const std::string& section) {
  std::string text;
  try {
    sweep_from_text(fmt::format("[{}]\n{} = 1\n", section, std::string(80, 'q')), "sweep.ini");
  } catch (const InputError& error) {
    text = error.what();
  }
  std::vector<std::string> keys;
  std::istringstream words(text.substr(text.find("use one of ") + 11));
  for (std::string word; words >> word;) keys.push_back(word.substr(0, word.find(',')));
  return keys;
}

TEST(Serve1b, ShowsEveryKeyThereIs) {
  const std::string text = load_sweep(experiments / "sweeps" / "serve-1b.ini").text;
  for (const char* section : {"machine", "workload", "budget", "space", "objectives", "search"}) {
    const std::vector<std::string> keys = keys_of(section);
    EXPECT_GE(keys.size(), 3u) << section;
    for (const std::string& key : keys)
      EXPECT_NE(text.find("\n" + key + " = "), text.find("\n# " + key + " = ")) << key;
  }
}

double decode_gain(const FrontierPoint& point, const Reference& reference) {
  return point.assessment.decode_tokens_per_second / reference.assessment.decode_tokens_per_second;
}

TEST(Serve1b, AtLlamasLossDecodesAtLeast42PercentFasterAndSaysWhy) {
  const SweepResult result = serve_1b(2);
  const Reference& llama = result.references.at(0);
  ASSERT_EQ(llama.name, "llama-3.2-1b");
  const FrontierPoint* best = nullptr;
  for (const FrontierPoint& point : result.frontier)
    if (point.assessment.loss <= llama.assessment.loss &&
        (best == nullptr || decode_gain(point, llama) > decode_gain(*best, llama)))
      best = &point;
  ASSERT_NE(best, nullptr);
  EXPECT_GE(decode_gain(*best, llama), 1.42);
  double explained = 1;
  for (const Change& change : best->changes)
    if (change.objective == "decode_tokens_per_second") explained *= change.gain;
  EXPECT_NEAR(explained, decode_gain(*best, llama), 1e-9);
}

TEST(Serve1b, TheFrontierIsTheSameWithAnyNumberOfThreads) {
  const SweepResult one = serve_1b(1);
  for (const int threads : {2, 8}) {
    const SweepResult many = serve_1b(threads);
    EXPECT_EQ(many.evaluated, one.evaluated);
    EXPECT_EQ(many.hypervolume, one.hypervolume);
    ASSERT_EQ(many.frontier.size(), one.frontier.size());
    for (std::size_t i = 0; i < one.frontier.size(); ++i) {
      ASSERT_EQ(many.frontier[i].point.index, one.frontier[i].point.index);
      ASSERT_EQ(many.frontier[i].point.values, one.frontier[i].point.values);
      ASSERT_EQ(many.frontier[i].changes.size(), one.frontier[i].changes.size());
    }
  }
}

}  // namespace
}  // namespace archfront
