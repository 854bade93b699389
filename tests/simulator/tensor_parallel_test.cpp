#include "simulator/tensor_parallel.h"

#include <gtest/gtest.h>

#include "costmodels/errors.h"
#include "simulator/estimate.h"
#include "simulator/footprint.h"
#include "tests/simulator/models.h"

namespace archfront {
namespace {

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

Machine linked_machine() {
  Machine machine = round_machine();
  machine.ceilings.link_bytes_per_second = 450e9;
  machine.ceilings.link_latency_seconds = 4e-6;
  return machine;
}

double launches_of(const Estimate& one, std::string_view name) {
  double launches = 0;
  for (const OperationCost& operation : one.operations)
    if (operation.name == name) launches += operation.count;
  return launches;
}

TEST(TensorParallel, ADeviceHoldsItsShareOfEveryMatrix) {
  const Architecture whole = llama_1b();
  const Architecture shard = shard_of(whole, 4);
  const auto& mixer = std::get<SoftmaxAttention>(shard.blocks[0].layers[0].mixer);
  EXPECT_EQ(mixer.n_heads, 8);
  EXPECT_EQ(mixer.n_kv_heads, 2);
  EXPECT_EQ(shard.blocks[0].layers[0].feed_forward.d_ff, 2048);
  EXPECT_EQ(shard.vocab_size, 32064);
  EXPECT_EQ(shard.d_model, whole.d_model);
  // all but the norms is divided
  EXPECT_NEAR(4.0 * static_cast<double>(parameters(shard).total) / static_cast<double>(parameters(whole).total), 1,
              1e-3);
}

TEST(TensorParallel, EveryMixerOfAHybridIsDivided) {
  const Architecture whole = hybrid_1b();
  const Architecture shard = shard_of(whole, 2);
  EXPECT_NEAR(2.0 * static_cast<double>(parameters(shard).mixer) / static_cast<double>(parameters(whole).mixer), 1,
              1e-3);
}

TEST(TensorParallel, FewKeyValueHeadsAreHeldBySeveralDevices) {
  Architecture model = llama_1b();
  std::get<SoftmaxAttention>(model.blocks[0].layers[0].mixer).n_kv_heads = 2;
  const Architecture shard = shard_of(model, 8);
  const auto& mixer = std::get<SoftmaxAttention>(shard.blocks[0].layers[0].mixer);
  EXPECT_EQ(mixer.n_heads, 4);
  EXPECT_EQ(mixer.n_kv_heads, 1);
}

TEST(TensorParallel, SaysWhatDoesNotDivideAndWhatWould) {
  EXPECT_EQ(error_of([] { shard_of(llama_1b(), 3); }),
            "n_heads = 32 does not divide over 3 devices: tensor parallel, layer 0: use one of 1, 2, 4, 8 devices");
  EXPECT_EQ(error_of([] { shard_of(llama_1b(), 16); }),
            "16 devices: tensor parallel: use 1 to 8, the devices of one node");
  const Step step{.phase = Phase::decode, .batch = 1, .context = 128, .devices = 2};
  EXPECT_EQ(error_of([&] { estimate(llama_1b(), round_machine(), step, default_law(), 0); }),
            "no link between devices of round: tensor parallel: use 1 device, or a machine whose calibration has "
            "link_bytes_per_second");
}

TEST(TensorParallel, EachHalfOfALayerIsSummedAndTheLogitsGathered) {
  const Step step{.phase = Phase::decode, .batch = 32, .context = 2048, .devices = 2};
  const Estimate one = estimate(llama_1b(), linked_machine(), step, default_law(), 0);
  EXPECT_EQ(launches_of(one, "all_reduce"), 2 * 16 + 1);
  EXPECT_EQ(launches_of(one, "logits_gather"), 1);
}

TEST(TensorParallel, TwoDevicesAreFasterThanOneAndNotTwiceAsFast) {
  Step step{.phase = Phase::prefill, .batch = 4, .context = 4096};
  const Estimate alone = estimate(llama_1b(), linked_machine(), step, default_law(), 0);
  step.devices = 2;
  const Estimate both = estimate(llama_1b(), linked_machine(), step, default_law(), 0);
  EXPECT_LT(both.time.seconds, alone.time.seconds);
  EXPECT_GT(both.time.seconds, alone.time.seconds / 2);
  EXPECT_GT(both.dollars_per_million_tokens, alone.dollars_per_million_tokens);
  EXPECT_NEAR(both.footprint.weight_bytes / alone.footprint.weight_bytes, 0.5, 1e-3);
  EXPECT_EQ(both.parameters.total, alone.parameters.total);
}

}  // namespace
}  // namespace archfront
