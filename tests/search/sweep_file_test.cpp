#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "costmodels/errors.h"
#include "search/sweep.h"

namespace archfront {
namespace {

constexpr const char* smallest = R"([machine]
name = h200-sxm5-141gb
[space]
n_layers = 16
d_model = 2048
head_dim = 64
mlp_to_attention = 4.8
vocab_size = 128256
[objectives]
optimise = loss, decode_tokens_per_second
)";

std::string error_of(const std::string& text) {
  try {
    sweep_from_text(text, "sweep.ini");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// The smallest sweep with lines added, which begin at line 11.
std::string error_with(const std::string& lines) { return error_of(smallest + lines); }

TEST(SweepFile, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(error_of("[space]\nn_kv_head = 4 8\n"),
            "unknown key 'n_kv_head' in [space]: sweep.ini:2: did you mean 'n_kv_heads'?");
  EXPECT_EQ(error_of("[objectives]\n# American\n\noptimize = loss\n"),
            "unknown key 'optimize' in [objectives]: sweep.ini:4: did you mean 'optimise'?");
  EXPECT_EQ(error_of("[budget]\nxyzzyx = 1\n"),
            "unknown key 'xyzzyx' in [budget]: sweep.ini:2: use one of parameters, train_flops, tolerance");
}

TEST(SweepFile, UnknownSectionNamesTheNearest) {
  EXPECT_EQ(error_of("[spaces]\nn_layers = 4\n"), "unknown section [spaces]: sweep.ini:1: did you mean 'space'?");
  EXPECT_EQ(error_of("[]\n"),
            "unknown section []: sweep.ini:1: use one of machine, workload, budget, space, objectives, constraints, "
            "search");
}

TEST(SweepFile, LinesThatAreNoSettingAreRefused) {
  EXPECT_EQ(error_of("n_layers = 4\n"), "'n_layers = 4' stands before any section: sweep.ini:1: begin with [machine]");
  EXPECT_EQ(error_of("[space]\nn_layers 4\n"), "'n_layers 4' sets nothing: sweep.ini:2: write key = value");
  EXPECT_EQ(error_of("[space]\nn_layers = 4\nd_model = 128\nn_layers = 8\n"),
            "'n_layers' is set twice: sweep.ini:4: the first is at sweep.ini:2");
}

TEST(SweepFile, MissingKeysAreNamed) {
  EXPECT_EQ(error_of(""), "no 'name' in [machine]: sweep.ini: a sweep needs it");
  EXPECT_EQ(error_of("[machine]\nname = x\n"), "no 'n_layers' in [space]: sweep.ini: a sweep needs it");
}

TEST(SweepFile, BadNumbersSayWhatWouldBeRight) {
  EXPECT_EQ(error_with("[workload]\nbatch = many\n"),
            "batch is 'many', not a number: sweep.ini:12: give a whole number of at least 1 and at most 2147483647");
  EXPECT_EQ(error_with("[workload]\nbatch = -4\n"),
            "batch is -4: sweep.ini:12: give a whole number of at least 1 and at most 2147483647");
  EXPECT_EQ(error_with("[workload]\nbatch = 2.5\n"),
            "batch is 2.5: sweep.ini:12: give a whole number of at least 1 and at most 2147483647");
  EXPECT_EQ(error_with("[workload]\ntraining_tokens = nan\n"),
            "training_tokens is nan: sweep.ini:12: give a number above 0");
  EXPECT_EQ(error_with("[workload]\ntraining_tokens = inf\n"),
            "training_tokens is inf: sweep.ini:12: give a number above 0");
  EXPECT_EQ(error_with("[workload]\nbatch =\n"), "batch has no value: sweep.ini:12: give one or leave the line out");
  EXPECT_EQ(error_with("[budget]\nparameters = 1e9x\n"),
            "parameters is '1e9x', not a number: sweep.ini:12: give a number above 0");
}

TEST(SweepFile, BadListsSayWhatWouldBeRight) {
  EXPECT_EQ(error_with("[space]\nn_heads = 8 16 8\n"), "n_heads lists 8 twice: sweep.ini:12: list each value once");
  EXPECT_EQ(error_with("[space]\nn_heads = 32..8\n"),
            "the range 32..8 runs backwards: sweep.ini:12: put the smaller end first");
  EXPECT_EQ(error_with("[space]\nsparsity = 0..0.5\n"),
            "the range 0..0.5 has no step: sweep.ini:12: write 0..0.5 step 0.5");
  EXPECT_EQ(error_with("[space]\nn_heads = , ,\n"),
            "n_heads has no value: sweep.ini:12: give a whole number of at least 1 and at most 65536");
  EXPECT_EQ(
      error_with("[space]\nhybrid_ratio = 3:2\n"),
      "3:2 is not a hybrid ratio: sweep.ini:12: write cheap layers to one exact layer, such as 3:1; 0:1 for exact "
      "layers only, 1:0 for none");
  EXPECT_EQ(error_with("[space]\ncheap_mixer = gated_deltanet\n"),
            "unknown cheap_mixer 'gated_deltanet': sweep.ini:12: did you mean 'gated_delta_net'?");
  EXPECT_EQ(error_with("[space]\nn_heads = 1..1e9\n"),
            "n_heads is 1e9: sweep.ini:12: give a whole number of at most 65536");
}

TEST(SweepFile, WidthsNoKernelTakesAreRefused) {
  std::string text = smallest;
  text.replace(text.find("2048"), 4, "2000");
  EXPECT_EQ(error_of(text),
            "d_model is 2000: sweep.ini:5: give a whole number, a multiple of 128 of at least 128 and at most 1048576");
}

TEST(SweepFile, BadObjectivesAndConstraintsAreRefused) {
  std::string text = smallest;
  text.replace(text.find("decode_tokens"), 6, "decoed");
  EXPECT_EQ(error_of(text),
            "unknown objective 'decoed_tokens_per_second': sweep.ini:10: did you mean 'decode_tokens_per_second'?");
  EXPECT_EQ(error_with("[constraints]\nlos <= 2.9\n"), "unknown objective 'los': sweep.ini:12: did you mean 'loss'?");
  EXPECT_EQ(error_with("[constraints]\nloss = 2.9\n"),
            "'loss = 2.9' is no bound: sweep.ini:12: write loss <= 2.9 or loss >= 2.9");
  EXPECT_EQ(error_with("[constraints]\nloss <= cheap\n"),
            "the bound of 'loss <= cheap' is not a number of at least 0: sweep.ini:12: write objective <= 2.9, "
            "objective <= reference or objective <= 0.5 reference");
  EXPECT_EQ(error_with("[constraints]\nloss <= reference\n"),
            "a constraint compares with the reference and there is none: sweep.ini: add references to [objectives], "
            "such as references = llama-3.2-1b");
}

TEST(SweepFile, EveryFormOfValueIsRead) {
  const SweepConfig config = sweep_from_text(std::string(smallest) + R"(references = llama-3.2-1b, qwen2.5-1.5b
[workload]
training_tokens = 100e9     # a comment
kv_precision = fp8
engine = eager
recompute = none
[budget]
parameters = 1.24e9
tolerance = 20%
[space]
n_heads = 8, 16..32 step 8
n_kv_heads = 1..3
sparsity = 0..0.3 step 0.1
hybrid_ratio = 1:0 3:1 all 7:1
cheap_mixer = window retnet
window = 1024 512
tied_embeddings = no
[constraints]
loss <= 2.9
peak_memory_bytes<=141e9
state_bytes <= 50% reference
parameters >= 1e9
[search]
method = evolutionary
seed = 7
store = all
)",
                                             "sweeps/small.ini");
  EXPECT_EQ(config.name, "small");
  EXPECT_EQ(config.machine, "h200-sxm5-141gb");
  EXPECT_EQ(config.workload.training_tokens, 100e9);
  EXPECT_EQ(config.workload.kv_precision, Precision::fp8);
  EXPECT_EQ(config.workload.engine, Engine::eager);
  EXPECT_FALSE(config.workload.recompute_layer);
  EXPECT_DOUBLE_EQ(config.budget.tolerance, 0.2);
  EXPECT_EQ(config.space.n_heads, (std::vector<int>{8, 16, 24, 32}));
  EXPECT_EQ(config.space.n_kv_heads, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(config.space.sparsity, (std::vector<double>{0, 0.1, 0.2, 0.3}));
  EXPECT_EQ(config.space.hybrid_ratio, (std::vector<int>{0, 3, 7, all_cheap}));
  EXPECT_EQ(config.space.cheap_mixer, (std::vector<CheapMixer>{CheapMixer::window, CheapMixer::retnet}));
  EXPECT_EQ(config.space.window, (std::vector<std::int64_t>{512, 1024}));
  EXPECT_FALSE(config.space.tied_embeddings);
  EXPECT_EQ(config.references, (std::vector<std::string>{"llama-3.2-1b", "qwen2.5-1.5b"}));
  ASSERT_EQ(config.constraints.size(), 4u);
  EXPECT_EQ(to_string(config.constraints[0]), "loss <= 2.9");
  EXPECT_EQ(to_string(config.constraints[1]), "peak_memory_bytes <= 1.41e+11");
  EXPECT_EQ(to_string(config.constraints[2]), "state_bytes <= 0.5 reference");
  EXPECT_EQ(to_string(config.constraints[3]), "parameters >= 1e+09");
  EXPECT_EQ(config.objectives[1]->name, "decode_tokens_per_second");
  EXPECT_EQ(config.method, Method::evolutionary);
  EXPECT_EQ(config.seed, 7u);
  EXPECT_EQ(config.store, StorePolicy::all);
}

TEST(SweepFile, AFileThatIsNotThereIsNamed) {
  try {
    load_sweep("no/such.ini");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "cannot read the sweep file: no/such.ini: give the path of an INI file");
  }
}

}  // namespace
}  // namespace archfront
