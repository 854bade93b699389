#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/experiments/program.h"

namespace archfront {
namespace {

/// Exit code 2, nothing on standard output, one line on standard error that starts with the program's name and says
/// `what`.
void expect_refused(const std::vector<std::string>& arguments, const std::string& what, const std::string& input = "") {
  const Outcome run = run_program(arguments, input);
  EXPECT_EQ(run.code, 2) << run.err;
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err.rfind("archfront: ", 0), 0U) << run.err;
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'), 1) << run.err;
  EXPECT_NE(run.err.find(what), std::string::npos) << run.err;
}

const char* const llama =
    R"({"model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 24,
  "num_key_value_heads": 5, "intermediate_size": 8192, "vocab_size": 32000})";

TEST(BadInput, CommandLine) {
  expect_refused({"serch"}, "unknown subcommand 'serch': command line: did you mean 'search'?");
  expect_refused({"estimate", "--modle", "x"}, "unknown option '--modle': command line: did you mean '--model'?");
  expect_refused({"estimate"}, "no model: command line: give --model");
  expect_refused({"bench"}, "no folder to write: --out: give the calibration folder");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--batch", "-3"},
                 "'-3' is not a whole number of 1 or more: --batch");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--context", "2.5"},
                 "'2.5' is not a whole number of 1 or more: --context");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--tokens", "nan"}, "'nan' is not a number: --tokens");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--phase", "serve"}, "unknown phase 'serve'");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--machine", "h300"}, "unknown machine 'h300'");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--format", "xml"},
                 "unknown format 'xml': --format: use one of text, json, csv");
}

TEST(BadInput, Configurations) {
  const TemporaryFolder folder;
  expect_refused({"estimate", "--model", folder.write("a.json", llama)}, "a.json");
  expect_refused({"estimate", "--model", folder.write("b.json", R"({"model_type": "lama"})")}, "did you mean 'llama'?");
  expect_refused({"estimate", "--model", folder.write("c.json", "{")}, "c.json");
  expect_refused({"estimate", "--model", folder.file("absent.json")}, "absent.json");
  expect_refused({"estimate", "--model", "-"}, "standard input", "{\"d_model\": -1}");
}

TEST(BadInput, FieldsOfAConfiguration) {
  const TemporaryFolder folder;
  const std::string missing = R"({"model_type": "llama", "num_hidden_layers": 16, "num_attention_heads": 16,
    "intermediate_size": 8192, "vocab_size": 32000})";
  expect_refused({"estimate", "--model", folder.write("m.json", missing)}, "hidden_size is missing");
  const std::string negative =
      R"({"model_type": "llama", "hidden_size": -2048, "num_hidden_layers": 16, "num_attention_heads": 16,
    "intermediate_size": 8192, "vocab_size": 32000})";
  expect_refused({"estimate", "--model", folder.write("n.json", negative)}, "hidden_size = -2048");
  expect_refused({"estimate", "--model", folder.write("h.json", llama)},
                 "n_heads = 24 is not a multiple of n_kv_heads = 5");
  expect_refused({"estimate", "--model", "-"}, "too large", R"({"model_type": "llama", "hidden_size": 1e400})");
  expect_refused({"estimate", "--model", "llama-3.2-1b", "--tokens", "1.5"}, "1.5 training tokens");
  expect_refused({"estimate", "--batch-file", folder.file("")}, "cannot read the requests");
}

TEST(BadInput, ADeviceIsWrittenToAndNotReplaced) {
  const Outcome full = run_program({"export", "--model", "llama-3.2-1b", "--out", "/dev/full"});
  EXPECT_EQ(full.code, 1) << full.err;
  EXPECT_EQ(full.err.rfind("archfront: writing failed", 0), 0U) << full.err;
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/full"));
}

TEST(BadInput, SweepsAndDatabases) {
  const TemporaryFolder folder;
  const std::string unknown = folder.write("u.ini", "[machine]\nname = h200-sxm5-141gb\n[space]\nn_kv_head = 4\n");
  expect_refused({"search", unknown, "--db", folder.file("r.sqlite")}, "unknown key 'n_kv_head' in [space]");
  expect_refused({"search", std::string(SOURCE_DIR) + "/experiments/sweeps/serve-1b.ini", "--db",
                  folder.file("r.sqlite"), "--report", folder.file("absent/r.html")},
                 "no folder");
  EXPECT_FALSE(std::filesystem::exists(folder.file("r.sqlite"))) << "refused before anything is stored";
  expect_refused({"search", folder.file("absent.ini"), "--db", folder.file("r.sqlite")}, "absent.ini");
  const std::string damaged =
      folder.write("damaged.sqlite", "this is no database, but it is long enough to look at its header twice over");
  expect_refused({"report", "x", "--db", damaged, "--out", folder.file("x.html")}, "damaged.sqlite");
  expect_refused({"compare", "a", "b", "--db", folder.file("absent.sqlite")}, "no database");
}

TEST(BadInput, EmptyFeasibleSpaceSaysWhatRejectedIt) {
  const TemporaryFolder folder;
  const std::string sweep = folder.write("e.ini", R"([machine]
name = h200-sxm5-141gb
[budget]
parameters = 1e9
tolerance = 1%
[space]
n_layers = 4
d_model = 512
head_dim = 64
mlp_to_attention = 2
vocab_size = 32000
[objectives]
optimise = loss, decode_tokens_per_second
)");
  expect_refused({"search", sweep, "--db", folder.file("r.sqlite")}, "parameter budget");
  EXPECT_EQ(run_program({"list", "sweeps", "--db", folder.file("r.sqlite")}).out,
            "sweep  id  machine  started  complete\n");
}

}  // namespace
}  // namespace archfront
