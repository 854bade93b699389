#include <gtest/gtest.h>

#include <random>

#include "costmodels/errors.h"
#include "simulator/footprint.h"
#include "simulator/lowering.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

using nlohmann::json;
using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t n) { return random() % n; }

json odd_value(Random& random) {
  static const std::vector<json> values{nullptr,
                                        true,
                                        0,
                                        1,
                                        -1,
                                        7,
                                        64,
                                        2.5,
                                        1e300,
                                        9223372036854775807LL,
                                        "",
                                        "text",
                                        "llama",
                                        json::array(),
                                        json::object(),
                                        -9223372036854775807LL,
                                        18446744073709551615ULL,
                                        json::array({1, "x", nullptr}),
                                        2147483648LL};
  return values[below(random, values.size())];
}

/// All values inside `json`, itself first.
void collect(json& node, std::vector<json*>& nodes) {
  nodes.push_back(&node);
  if (!node.is_structured()) return;
  for (json& child : node) collect(child, nodes);
}

void mutate(json& form, Random& random) {
  std::vector<json*> nodes;
  collect(form, nodes);
  json& node = *nodes[below(random, nodes.size())];
  if (node.is_object() && !node.empty() && below(random, 2) == 0) {
    auto victim = node.begin();
    std::advance(victim, static_cast<std::ptrdiff_t>(below(random, node.size())));
    if (below(random, 2) == 0) {
      node.erase(victim.key());
    } else {
      node[victim.key() + "x"] = odd_value(random);
    }
  } else {
    node = odd_value(random);
  }
}

/// Reads it, and if that works counts, lowers and writes it. Only an InputError may come out.
bool survives(const json& form) {
  try {
    const Architecture architecture = architecture_from_json(form, "config.json");
    EXPECT_GT(parameters(architecture).total, 0);
    if (n_layers(architecture) <= 1000) {
      EXPECT_FALSE(lower(architecture, {.phase = Phase::decode, .batch = 2, .context = 64}).empty());
      EXPECT_EQ(architecture_from_json(to_json(architecture), "back.json"), architecture);
    }
    return true;
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(": "), std::string::npos) << error.what();
    return false;
  }
}

TEST(ArchitectureFuzz, MutatedModelsAreReadOrRefused) {
  const std::uint64_t seed = 20'251'125;
  Random random(seed);
  std::vector<json> seeds{llama_config(),
                          to_json(hybrid_1b()),
                          to_json(shipped("gpt-oss-20b")),
                          {{"model_type", "gemma3"},
                           {"text_config", {{"hidden_size", 64}, {"intermediate_size", 64}, {"num_hidden_layers", 4}}}},
                          {{"model_type", "gpt2"},
                           {"n_embd", 64},
                           {"n_layer", 2},
                           {"n_head", 2},
                           {"n_positions", 64},
                           {"vocab_size", 100},
                           {"n_inner", nullptr}}};
  for (const char* name : {"gemma-3-1b", "mixtral-8x7b", "qwen3-0.6b", "gpt-oss-20b"}) {
    seeds.push_back(to_hugging_face(shipped(name)));
  }
  std::size_t read = 0;
  constexpr std::size_t rounds = 20'000;
  for (std::size_t i = 0; i < rounds; ++i) {
    json form = seeds[below(random, seeds.size())];
    for (std::size_t change = 0; change <= below(random, 3); ++change) mutate(form, random);
    read += survives(form) ? 1 : 0;
    if (HasFailure()) FAIL() << "seed " << seed << ", round " << i << ": " << form.dump();
  }
  EXPECT_GT(read, rounds / 20);  // not everything is refused
  EXPECT_LT(read, rounds);
}

TEST(ArchitectureFuzz, MutatedTextIsReadOrRefused) {
  const std::uint64_t seed = 3;
  Random random(seed);
  const std::string text = llama_config().dump(2);
  for (int i = 0; i < 5000; ++i) {
    std::string broken = text;
    for (std::size_t change = 0; change <= below(random, 4); ++change) {
      broken[below(random, broken.size())] = static_cast<char>(random() & 0xffU);
    }
    if (below(random, 4) == 0) broken.resize(below(random, broken.size()));
    try {
      architecture_from_text(broken, "config.json");
    } catch (const InputError&) {
      continue;
    }
  }
}

}  // namespace
}  // namespace archfront
