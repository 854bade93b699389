#include "search/changes.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/search/made_up.h"

namespace archfront {
namespace {

Architecture uniform(int n_layers, int d_model, int n_heads, int n_kv_heads, int d_ff) {
  Architecture architecture;
  architecture.d_model = d_model;
  architecture.vocab_size = 4096;
  SoftmaxAttention mixer;
  mixer.n_heads = n_heads;
  mixer.n_kv_heads = n_kv_heads;
  mixer.head_dim = 64;
  FeedForward half;
  half.d_ff = d_ff;
  architecture.blocks = {{n_layers, {{mixer, half}}}};
  return architecture;
}

/// Three of gated delta net to one exact layer, last.
Architecture hybrid(const Architecture& base) {
  Architecture architecture = base;
  const Layer exact = base.blocks[0].layers[0];
  GatedDeltaNet cheap;
  cheap.n_heads = base.d_model / 128;
  const Layer other{cheap, exact.feed_forward};
  architecture.blocks = {{base.blocks[0].repeat / 4, {other, other, other, exact}}};
  return architecture;
}

std::vector<const Objective*> objectives() {
  return {&objective_named("loss"), &objective_named("decode_tokens_per_second"), &objective_named("state_bytes")};
}

std::vector<std::string> texts(const std::vector<Change>& changes) {
  std::vector<std::string> list;
  for (std::size_t i = 0; i < changes.size(); i += objectives().size()) list.push_back(changes[i].change);
  return list;
}

std::vector<Change> path(const Architecture& from, const Architecture& to) {
  return path_of_changes(from, to, objectives(), made_up_assessment);
}

TEST(Changes, EachDifferingFieldChangesOnceAndTheGreatestGainComesFirst) {
  const std::vector<Change> changes = path(uniform(16, 512, 8, 8, 1536), uniform(16, 512, 8, 1, 1408));
  EXPECT_EQ(texts(changes), (std::vector<std::string>{"n_kv_heads 8 -> 1", "d_ff 1536 -> 1408"}));
  EXPECT_EQ(changes[1].objective, "decode_tokens_per_second");
  EXPECT_GT(changes[1].gain, changes[4].gain);
  EXPECT_DOUBLE_EQ(changes[2].gain, 8);  // an eighth of the state
  EXPECT_DOUBLE_EQ(changes[5].gain, 1);  // d_ff keeps none
}

TEST(Changes, GainsMultiplyToTheWholeDifference) {
  const Architecture from = uniform(16, 512, 8, 8, 1536);
  const Architecture to = hybrid(uniform(24, 768, 12, 3, 2048));
  const Assessment before = made_up_assessment(from);
  const Assessment after = made_up_assessment(to);
  std::map<std::string, double> product;
  for (const Change& change : path(from, to)) product.try_emplace(change.objective, 1).first->second *= change.gain;
  EXPECT_NEAR(product.at("loss"), before.loss / after.loss, 1e-12);
  EXPECT_NEAR(product.at("decode_tokens_per_second"), after.decode_tokens_per_second / before.decode_tokens_per_second,
              1e-12);
  EXPECT_NEAR(product.at("state_bytes"), before.state_bytes / after.state_bytes, 1e-9);
}

TEST(Changes, AHybridIsOneChangeOfThePattern) {
  const Architecture base = uniform(16, 512, 8, 8, 1536);
  EXPECT_EQ(texts(path(base, hybrid(base))),
            (std::vector<std::string>{"softmax in every layer -> gated_delta_net 3:1, softmax last"}));
  EXPECT_EQ(texts(path(hybrid(base), base)),
            (std::vector<std::string>{"gated_delta_net 3:1, softmax last -> softmax in every layer"}));
}

TEST(Changes, HeadsThatHaveNoWholeGroupsInBetweenChangeTogether) {
  EXPECT_EQ(texts(path(uniform(16, 2048, 32, 8, 8192), uniform(16, 2048, 20, 5, 8192))),
            (std::vector<std::string>{"n_heads 32 -> 20, n_kv_heads 8 -> 5"}));
}

TEST(Changes, EveryStageIsOneThatCanBeBuilt) {
  int stages = 0;
  const AssessFunction assess = [&](const Architecture& architecture) {
    EXPECT_NO_THROW(validate(architecture));
    ++stages;
    return made_up_assessment(architecture);
  };
  path_of_changes(uniform(3, 512, 32, 8, 1536), hybrid(uniform(8, 768, 20, 5, 2048)), objectives(), assess);
  EXPECT_GT(stages, 5);
}

TEST(Changes, LayersInNoPatternChangeAllAtOnce) {
  const Architecture from = uniform(16, 512, 8, 8, 1536);
  Architecture to = from;
  to.blocks.push_back(uniform(4, 512, 8, 8, 1024).blocks[0]);
  EXPECT_EQ(texts(path(from, to)), (std::vector<std::string>{"everything else"}));
}

TEST(Changes, NothingLeadsFromAnArchitectureToItself) {
  const Architecture same = uniform(16, 512, 8, 8, 1536);
  EXPECT_TRUE(path(same, same).empty());
}

}  // namespace
}  // namespace archfront
