#include "search/space.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "costmodels/errors.h"
#include "search/cursor.h"
#include "simulator/footprint.h"

namespace archfront {
namespace {

/// Every axis with some values, every mixer and placement; small enough to walk many times.
Space mixed_space() {
  Space space;
  space.n_layers = {3, 8, 10};
  space.d_model = {512, 768};
  space.head_dim = {64, 128};
  space.n_heads = {6, 8};
  space.gqa_ratio = {1, 4};
  space.mlp_to_attention = {0.01, 1, 1.02, 4};
  space.vocab_size = {1000, 2000};
  space.hybrid_ratio = {0, 1, 3, 4, all_cheap};
  space.cheap_mixer = {CheapMixer::gated_delta_net, CheapMixer::retnet, CheapMixer::window};
  space.placement = {Placement::last, Placement::first, Placement::middle};
  space.window = {128, 256};
  space.sparsity = {0, 0.5};
  return space;
}

/// Llama-3.2-1B's widths with a choice of depth and pattern.
Space llama_space() {
  Space space;
  space.n_layers = {16};
  space.d_model = {2048};
  space.head_dim = {64};
  space.gqa_ratio = {4};
  space.mlp_to_attention = {4.8};
  space.vocab_size = {128256};
  return space;
}

std::vector<bool> exact_layers(const Architecture& architecture) {
  std::vector<bool> exact;
  for (const Layer& layer : layers(architecture)) {
    const auto* softmax = std::get_if<SoftmaxAttention>(&layer.mixer);
    exact.push_back(softmax != nullptr && softmax->window == 0);
  }
  return exact;
}

Architecture built(const Space& space, std::uint64_t index) {
  Architecture architecture;
  EXPECT_EQ(build(space, index, architecture), Rejection::none) << index;
  return architecture;
}

/// Everything that tells two architectures apart, layer after layer.
std::string spelled_out(const Architecture& architecture) {
  std::string text = fmt::format("{} {}", architecture.d_model, architecture.vocab_size);
  for (const Layer& layer : layers(architecture)) {
    text += fmt::format("|{} {}", kind_name(layer.mixer), layer.feed_forward.d_ff);
    if (const auto* softmax = std::get_if<SoftmaxAttention>(&layer.mixer))
      text += fmt::format(" {} {} {} {} {}", softmax->n_heads, softmax->n_kv_heads, softmax->head_dim, softmax->window,
                          softmax->sparsity);
  }
  return text;
}

/// The space of that one point, in which it duplicates nothing.
Space alone(const Space& space, std::uint64_t index) {
  const Digits digits = digits_of(axis_lengths(space), index);
  Space one = space;
  one.n_layers = {space.n_layers[digits[0]]};
  one.d_model = {space.d_model[digits[1]]};
  one.head_dim = {space.head_dim[digits[2]]};
  one.n_heads = {space.n_heads[digits[3]]};
  one.gqa_ratio = {space.gqa_ratio[digits[4]]};
  one.mlp_to_attention = {space.mlp_to_attention[digits[5]]};
  one.vocab_size = {space.vocab_size[digits[6]]};
  one.hybrid_ratio = {space.hybrid_ratio[digits[7]]};
  one.cheap_mixer = {space.cheap_mixer[digits[8]]};
  one.placement = {space.placement[digits[9]]};
  one.window = {space.window[digits[10]]};
  one.sparsity = {space.sparsity[digits[11]]};
  return one;
}

std::string error_of(const Space& space) {
  try {
    validate(space, "sweep.ini");
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Space, LlamasRatiosBuildLlama) {
  const Architecture architecture = built(llama_space(), 0);
  EXPECT_EQ(parameters(architecture).total, 1'235'814'400);  // of the published checkpoint
  const Layer& layer = architecture.blocks.at(0).layers.at(0);
  const auto& mixer = std::get<SoftmaxAttention>(layer.mixer);
  EXPECT_EQ(mixer.n_heads, 32);
  EXPECT_EQ(mixer.n_kv_heads, 8);
  EXPECT_EQ(layer.feed_forward.d_ff, 8192);
  EXPECT_EQ(architecture.blocks.at(0).repeat, 16);
}

TEST(Space, RatiosOfTheConditionalLawsModelsGiveTheirWidths) {
  // Bian et al., arXiv:2510.18245, tables 1 and 2, with the heads their parameter counts imply.
  Space space = llama_space();
  space.d_model = {2560};
  space.n_heads = {72, 36};
  space.gqa_ratio = {4, 9};
  space.mlp_to_attention = {1.07, 3.6};
  EXPECT_EQ(built(space, 0).blocks[0].layers[0].feed_forward.d_ff, 4096);  // Panda-1B
  EXPECT_EQ(built(space, 7).blocks[0].layers[0].feed_forward.d_ff, 6144);  // Surefire-1B
}

TEST(Space, SizeIsTheProductOfItsLists) {
  EXPECT_EQ(size(mixed_space()), 3u * 2 * 2 * 2 * 2 * 4 * 2 * 5 * 3 * 3 * 2 * 2);
  EXPECT_EQ(size(llama_space()), 1u);
}

TEST(Space, DigitsAndIndexAreInverse) {
  const Digits lengths = axis_lengths(mixed_space());
  for (std::uint64_t index = 0; index < size(mixed_space()); index += 97)
    EXPECT_EQ(index_of(lengths, digits_of(lengths, index)), index);
}

TEST(Space, RemainingLayersAreCheapWhateverThePlacement) {
  Space space = llama_space();
  space.n_layers = {10};
  space.hybrid_ratio = {3};
  space.placement = {Placement::last, Placement::first, Placement::middle};
  EXPECT_EQ(exact_layers(built(space, 0)), (std::vector<bool>{0, 0, 0, 1, 0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(exact_layers(built(space, 1)), (std::vector<bool>{1, 0, 0, 0, 1, 0, 0, 0, 0, 0}));
  EXPECT_EQ(exact_layers(built(space, 2)), (std::vector<bool>{0, 0, 0, 0, 1, 1, 0, 0, 0, 0}));
}

TEST(Space, APeriodDeeperThanTheStackIsRejected) {
  Space space = llama_space();
  space.hybrid_ratio = {16};
  Architecture architecture;
  EXPECT_EQ(build(space, 0, architecture), Rejection::pattern_does_not_fill);
}

TEST(Space, HeadsThatDoNotDivideAreRejected) {
  Space space = llama_space();
  space.gqa_ratio = {5};
  Architecture architecture;
  EXPECT_EQ(build(space, 0, architecture), Rejection::heads_not_divisible);
  space.gqa_ratio = {};
  space.n_kv_heads = {8};
  EXPECT_EQ(build(space, 0, architecture), Rejection::none);
  space.head_dim = {96};
  EXPECT_EQ(build(space, 0, architecture), Rejection::heads_not_divisible);
}

TEST(Space, NoTwoCandidatesAreTheSameArchitectureAndNoneIsLost) {
  const Space space = mixed_space();
  Cursor cursor(space);
  Architecture architecture;
  std::map<std::string, std::uint64_t> seen;
  for (std::uint64_t index = 0; index < size(space); ++index) {
    const Rejection rejection = cursor.move_to(index);
    if (rejection == Rejection::none) {
      cursor.build(architecture);
      const auto [place, fresh] = seen.emplace(spelled_out(architecture), index);
      ASSERT_TRUE(fresh) << index << " is " << place->second;
    } else if (rejection == Rejection::duplicate) {
      ASSERT_EQ(build(alone(space, index), 0, architecture), Rejection::none);
      const auto original = seen.find(spelled_out(architecture));
      ASSERT_NE(original, seen.end()) << index << " was called a duplicate and is none";
      const Digits canonical = cursor.canonical(digits_of(cursor.lengths(), index));
      ASSERT_EQ(index_of(cursor.lengths(), canonical), original->second) << index;
    }
  }
  EXPECT_GT(seen.size(), 1'000u);
}

TEST(Cursor, CountsParametersAsTheSimulatorDoes) {
  for (const bool tied : {true, false}) {
    Space space = mixed_space();
    space.tied_embeddings = tied;
    Cursor cursor(space);
    Architecture architecture;
    for (std::uint64_t index = 0; index < size(space); index += 11) {
      if (cursor.move_to(index) != Rejection::none) continue;
      cursor.build(architecture);
      ASSERT_EQ(cursor.parameters(), parameters(architecture).total) << describe(cursor.candidate());
    }
  }
}

TEST(Cursor, WidthsBoundTheParametersOfAllTheirPoints) {
  const Space space = mixed_space();
  Cursor cursor(space);
  const std::uint64_t total = size(space);
  cursor.enter(0);
  const std::uint64_t inner = cursor.points_of_same_widths();
  EXPECT_EQ(inner, 2u * 5 * 3 * 3 * 2 * 2);
  int without_heads = 0;
  for (std::uint64_t first = 0; first < total; first += inner) {
    for (std::uint64_t index = first; index < first + inner; ++index) {
      const bool candidate = cursor.move_to(index) == Rejection::none;
      ASSERT_EQ(cursor.points_of_same_widths(), first + inner - index);
      if (cursor.widths_have_no_heads()) {
        ++without_heads;
        ASSERT_FALSE(candidate) << index;
      }
      if (!candidate) continue;
      ASSERT_GE(cursor.parameters(), cursor.parameter_range().least) << index;
      ASSERT_LE(cursor.parameters(), cursor.parameter_range().most) << index;
    }
  }
  EXPECT_GT(without_heads, 0);
}

TEST(Cursor, SteppingAndJumpingArriveAtTheSameCandidate) {
  const Space space = mixed_space();
  Cursor stepping(space);
  Architecture stepped;
  for (std::uint64_t index = 0; index < 4'000; ++index) {
    Cursor jumping(space);
    const Rejection rejection = jumping.move_to(index);
    ASSERT_EQ(stepping.move_to(index), rejection) << index;
    if (rejection != Rejection::none) continue;
    Architecture jumped;
    jumping.build(jumped);
    stepping.build(stepped);
    ASSERT_EQ(stepped, jumped) << index;
  }
}

TEST(Cursor, BuildingReusesEveryLayersStorage) {
  const Space space = mixed_space();
  Cursor cursor(space);
  Architecture architecture;
  std::map<const Layer*, int> storage;
  const auto walk = [&] {
    for (std::uint64_t index = 0; index < size(space); index += 7) {
      if (cursor.move_to(index) != Rejection::none) continue;
      cursor.build(architecture);
      for (const Block& block : architecture.blocks) ++storage[block.layers.data()];
    }
  };
  walk();
  storage.clear();
  walk();
  EXPECT_LE(storage.size(), 3u);  // a stack has at most three blocks
}

TEST(Space, ListsNoKernelTakesAreRefusedByName) {
  Space space = llama_space();
  space.d_model = {2048, 2100};
  EXPECT_EQ(error_of(space), "d_model is 2100: sweep.ini: it must be a multiple of 128, the width of a matrix tile");
  space = llama_space();
  space.n_layers = {};
  EXPECT_EQ(error_of(space), "no values of n_layers: sweep.ini: list some, such as n_layers = 16 24 32");
  space = llama_space();
  space.cheap_mixer = {CheapMixer::window};
  EXPECT_EQ(error_of(space),
            "cheap_mixer lists window and there is no window: sweep.ini: add one, such as window = 1024");
  space = llama_space();
  space.n_kv_heads = {8};
  EXPECT_EQ(error_of(space), "both gqa_ratio and n_kv_heads: sweep.ini: keep one of them");
}

TEST(Space, MorePointsThanAnIndexCountsAreRefused) {
  Space space = llama_space();
  space.mlp_to_attention.assign(1 << 16, 1.0);
  space.vocab_size.assign(1 << 16, 1000);
  space.sparsity.assign(1 << 16, 0.0);
  space.n_layers.assign(1 << 15, 4);
  EXPECT_EQ(error_of(space), "the space has 2^63 points or more: space: list fewer values");
}

}  // namespace
}  // namespace archfront
