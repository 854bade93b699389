#include "tests/results/example_sweep.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <random>

#include "search/pareto.h"

namespace archfront {

namespace {

constexpr double billion = 1e9;

struct Shape {
  int periods, cheap, d_model, heads, kv_heads, d_ff;
};

Architecture architecture_of(const Shape& shape) {
  Architecture architecture;
  architecture.d_model = shape.d_model;
  architecture.vocab_size = 128256;
  architecture.name = fmt::format("{}x{}", shape.periods * (shape.cheap + 1), shape.d_model);
  const FeedForward half{.kind = FeedForward::Kind::swiglu, .d_ff = shape.d_ff};
  Block block{.repeat = shape.periods, .layers = {}};
  const GatedDeltaNet cheap{.n_heads = shape.d_model / 128};
  for (int i = 0; i < shape.cheap; ++i) block.layers.push_back({cheap, half});
  const SoftmaxAttention exact{
      .n_heads = shape.heads, .n_kv_heads = shape.kv_heads, .head_dim = shape.d_model / shape.heads};
  block.layers.push_back({exact, half});
  architecture.blocks.push_back(block);
  return architecture;
}

Assessment assess_by_hand(const Shape& shape) {
  const double layers = shape.periods * (shape.cheap + 1.0);
  const double width = shape.d_model;
  const double fraction = 1 / (shape.cheap + 1.0);
  const double non_embedding = layers * width * (3.0 * shape.d_ff + 3 * width);
  Assessment a;
  a.parameters.embedding = static_cast<std::int64_t>(128256 * width);
  a.parameters.non_embedding = static_cast<std::int64_t>(non_embedding);
  a.parameters.total = a.parameters.embedding + a.parameters.non_embedding;
  a.parameters.active = a.parameters.total;
  a.loss = 1.69 + 406.4 / std::pow(non_embedding, 0.34) + 0.03 * std::pow(fraction - 0.25, 2) +
           0.02 * std::abs(std::log(shape.d_ff / (4 * width)));
  const double cache = 4.0 * 64 * 2048 * shape.kv_heads * width / shape.heads;
  a.state_bytes = layers * (fraction * cache + (1 - fraction) * 64 * 128 * width * 4);
  a.decode_tokens_per_second = 64 / ((2 * static_cast<double>(a.parameters.total) + a.state_bytes) / 3.9e12 + 2e-4);
  a.prefill_tokens_per_second = 4e14 / (2 * non_embedding);
  a.recall = 1 - std::exp(-8 * fraction) * 0.8;
  a.train_flops = 6 * non_embedding * 20 * non_embedding;
  a.train_seconds = a.train_flops / 4e14;
  a.peak_memory_bytes = 2 * static_cast<double>(a.parameters.total) + a.state_bytes;
  a.dollars_per_million_tokens = 3.3 / 3600 / a.decode_tokens_per_second * 1e6;
  return a;
}

std::vector<double> values_of(const SweepConfig& config, const Assessment& assessment) {
  std::vector<double> values;
  for (const Objective* objective : config.objectives) values.push_back(objective->value(assessment));
  return values;
}

Reference reference_of(const SweepConfig& config, const std::string& name, const Shape& shape) {
  const Assessment assessment = assess_by_hand(shape);
  return {name, values_of(config, assessment), assessment};
}

std::vector<Change> changes_of(const SweepConfig& config) {
  std::vector<Change> changes;
  for (const auto& [change, gain] : {std::pair{"hybrid_ratio 0:1 -> 3:1", 1.31}, {"n_kv_heads 8 -> 2", 1.08}})
    for (const Objective* objective : config.objectives)
      changes.push_back({change, std::string(objective->name), objective->name == "loss" ? 0.998 : gain});
  return changes;
}

}  // namespace

SweepConfig example_config(const std::string& name) {
  SweepConfig config;
  config.name = name;
  config.text = "[machine]\nname = h200-sxm5-141gb\n[objectives]\nnames = loss decode_tokens_per_second\n";
  config.machine = "h200-sxm5-141gb";
  for (const char* objective : {"loss", "decode_tokens_per_second", "state_bytes", "recall"})
    config.objectives.push_back(&objective_named(objective));
  return config;
}

SweepResult example_result(std::size_t candidates, std::uint64_t seed, const std::string& name) {
  const SweepConfig config = example_config(name);
  std::mt19937_64 random(seed);
  const auto pick = [&](std::initializer_list<int> choices) { return choices.begin()[random() % choices.size()]; };
  std::vector<Shape> shapes;
  std::vector<Assessment> assessments;
  std::vector<std::vector<double>> coordinates;
  while (shapes.size() < candidates) {
    const int d_model = pick({1536, 1792, 2048, 2304, 2560});
    const Shape shape{pick({2, 3, 4, 5, 6, 8, 16}),
                      pick({0, 0, 1, 2, 3, 5, 7}),
                      d_model,
                      d_model / pick({64, 128}),
                      pick({1, 2, 4}),
                      256 * pick({16, 20, 22, 28, 32, 40, 48})};
    const Assessment assessment = assess_by_hand(shape);
    const auto total = static_cast<double>(assessment.parameters.total);
    if (total < 0.8 * billion || total > 1.6 * billion) continue;
    shapes.push_back(shape);
    assessments.push_back(assessment);
    std::vector<double> point = values_of(config, assessment);
    for (std::size_t i = 0; i < point.size(); ++i)
      if (config.objectives[i]->direction == Direction::maximise) point[i] = -point[i];
    coordinates.push_back(std::move(point));
  }
  SweepResult result;
  result.name = name;
  result.machine = config.machine;
  result.seconds = 12.5;
  result.evaluated = candidates;
  result.visited = 3 * candidates;
  result.rejected = {{"parameter_budget", {2 * candidates, "16 layers of 4096: 3.2 billion parameters of 1.2"}}};
  result.references = {reference_of(config, "llama-3.2-1b", {16, 0, 2048, 32, 8, 8192}),
                       reference_of(config, "qwen2.5-1.5b", {28, 0, 1536, 12, 2, 8960}),
                       reference_of(config, "smollm2-1.7b", {24, 0, 2048, 32, 32, 8192})};
  for (const std::size_t i : nondominated(coordinates))
    result.frontier.push_back(
        {architecture_of(shapes[i]), {i, values_of(config, assessments[i])}, assessments[i], changes_of(config)});
  std::ranges::sort(result.frontier, {}, [](const FrontierPoint& point) { return point.point.values.front(); });
  for (std::size_t i = 0; i < candidates; ++i) result.sample.push_back({i, values_of(config, assessments[i])});
  result.reference_point = {3.5, 100, 1e11, 0};
  result.hypervolume = 0.731;
  return result;
}

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "archfront-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace archfront
