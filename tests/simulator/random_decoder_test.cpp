#include "simulator/random_decoder.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "simulator/footprint.h"
#include "simulator/lowering.h"

namespace archfront {
namespace {

bool anything(const RandomDecoder& /*decoder*/) { return true; }

std::string text_of(const RandomDecoder& decoder) {
  return to_json(decoder.architecture).dump() + std::to_string(decoder.step.batch) + "x" +
         std::to_string(decoder.step.context) + std::string(to_string(decoder.step.precision)) +
         std::string(to_string(decoder.step.kv_precision));
}

TEST(RandomDecoder, TheSameSeedDrawsTheSameDecoder) {
  for (std::size_t kind = 0; kind < mixer_kinds.size(); ++kind) {
    const auto one = random_decoder(7, kind, Phase::decode, anything);
    const auto again = random_decoder(7, kind, Phase::decode, anything);
    ASSERT_TRUE(one && again) << mixer_kinds[kind];
    EXPECT_EQ(text_of(*one), text_of(*again));
  }
}

TEST(RandomDecoder, SeedsDrawDifferentDecoders) {
  std::set<std::string> drawn;
  for (std::uint64_t seed = 0; seed < 50; ++seed)
    drawn.insert(text_of(random_decoder(seed, seed % mixer_kinds.size(), Phase::prefill, anything).value()));
  EXPECT_EQ(drawn.size(), 50u);
}

TEST(RandomDecoder, IsAValidDecoderWhoseFirstMixerIsTheOneAsked) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const std::size_t kind = seed % mixer_kinds.size();
    const RandomDecoder drawn = random_decoder(seed, kind, Phase::prefill, anything).value();
    EXPECT_NO_THROW(validate(drawn.architecture));
    const auto all = layers(drawn.architecture);
    EXPECT_EQ(kind_name(all.front().mixer), mixer_kinds[kind]);
    EXPECT_GE(all.size(), 2u);
    EXPECT_LE(all.size(), 4u);
    EXPECT_EQ(drawn.step.phase, Phase::prefill);
    EXPECT_FALSE(lower(drawn.architecture, drawn.step).empty());
  }
}

TEST(RandomDecoder, DrawsWhatDecodersDifferIn) {
  std::set<std::string> kinds, feed_forwards, precisions;
  std::set<int> groups;
  std::set<std::size_t> mixers;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const RandomDecoder drawn = random_decoder(seed, 0, Phase::decode, anything).value();
    std::set<std::string_view> together;
    for (const Layer& layer : layers(drawn.architecture)) {
      together.insert(kind_name(layer.mixer));
      kinds.insert(std::string(kind_name(layer.mixer)));
      feed_forwards.insert(std::string(to_string(layer.feed_forward.kind)));
      if (const auto* softmax = std::get_if<SoftmaxAttention>(&layer.mixer))
        groups.insert(softmax->n_heads / softmax->n_kv_heads);
    }
    mixers.insert(together.size());
    precisions.insert(std::string(to_string(drawn.step.precision)) + std::string(to_string(drawn.step.kv_precision)));
  }
  EXPECT_EQ(kinds.size(), mixer_kinds.size()) << "hybrids with every other mixer";
  EXPECT_EQ(feed_forwards.size(), feed_forward_kinds.size());
  EXPECT_EQ(mixers, (std::set<std::size_t>{1, 2}));
  EXPECT_EQ(precisions, (std::set<std::string>{"f32f32", "bf16bf16", "bf16int8"}));
  EXPECT_GE(groups.size(), 4u);
}

TEST(RandomDecoder, DrawsUntilOneIsAccepted) {
  const auto narrow = [](const RandomDecoder& drawn) { return drawn.architecture.d_model == 384; };
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(random_decoder(seed, 0, Phase::prefill, narrow).value().architecture.d_model, 384);
  EXPECT_FALSE(random_decoder(1, 0, Phase::prefill, [](const RandomDecoder&) { return false; }));
}

}  // namespace
}  // namespace archfront
