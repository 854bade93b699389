#include "simulator/scaling/run_logs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "costmodels/errors.h"
#include "simulator/scaling/curves.h"

namespace archfront {
namespace {

namespace fs = std::filesystem;

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// A folder of logs that is gone after the test.
class LogFolder {
 public:
  LogFolder() {
    std::string name = (fs::temp_directory_path() / "archfront-logs-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~LogFolder() { fs::remove_all(path_); }
  LogFolder(const LogFolder&) = delete;
  LogFolder& operator=(const LogFolder&) = delete;

  void write(const std::string& file, const std::string& text) const {
    fs::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << text;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string cells(const RunTable& runs, std::string_view column) {
  std::string text;
  for (std::size_t row = 0; row < runs.size(); ++row) {
    if (row > 0) text += ' ';
    text += runs.cell(row, column_named(runs, column));
  }
  return text;
}

constexpr const char* trainer_state = R"({
  "global_step": 200,
  "total_flos": 1.2e15,
  "log_history": [
    {
      "grad_norm": NaN,
      "loss": 5.5,
      "step": 100
    },
    {
      "eval_loss": 5.0,
      "step": 100
    },
    {
      "loss": 4.5,
      "step": 200
    },
    {
      "eval_loss": 4.25,
      "step": 200
    },
    {
      "train_runtime": 60.5,
      "step": 200
    }
  ]
})";

/// Two layers of width 8 and four heads: mixers 2 x 4 x 64, feed-forwards 2 x 3 x 8 x 16, norms 5 x 8.
constexpr const char* small_llama = R"({"model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
  "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "tie_word_embeddings": false})";

TEST(TrainerState, EvaluationsAreTheLossAndLinesAreTheFiles) {
  const RunTable runs = runs_from_text(trainer_state, "run-a/trainer_state.json");
  EXPECT_TRUE(runs.curves);
  EXPECT_EQ(cells(runs, "loss"), " 5.0  4.25");
  EXPECT_EQ(cells(runs, "train_loss"), "5.5  4.5 ");
  EXPECT_EQ(cells(runs, "step"), "100 100 200 200");
  EXPECT_EQ(runs.lines, (std::vector<std::size_t>{5, 10, 14, 18}));
  EXPECT_EQ(cells(runs, "flops"), "600000000000000 600000000000000 1200000000000000 1200000000000000");
  EXPECT_EQ(cells(runs, "grad_norm"), "NaN   ");
}

TEST(TrainerState, WithoutEvaluationsTheTrainingLossIsTheLoss) {
  const RunTable runs = runs_from_text(R"({"log_history": [{"loss": 3.5, "step": 1, "num_input_tokens_seen": 4096},
                                                           {"loss": 3.25, "step": 2, "num_input_tokens_seen": 8192}]})",
                                       "trainer_state.json");
  EXPECT_EQ(cells(runs, "loss"), "3.5 3.25");
  EXPECT_EQ(cells(runs, "tokens"), "4096 8192");
  EXPECT_EQ(error_of([] { runs_from_text(R"({"log_history": []})", "trainer_state.json"); }),
            "no log_history: trainer_state.json: give the trainer_state.json of a run that logged its loss");
}

TEST(TrainerState, AFolderHasARunAFolderAndItsModelFromTheConfig) {
  const LogFolder logs;
  logs.write("small/checkpoint-100/trainer_state.json",
             R"({"global_step": 100, "log_history": [{"eval_loss": 5.0, "step": 100}]})");
  logs.write("small/checkpoint-200/trainer_state.json", trainer_state);
  logs.write("small/checkpoint-200/config.json", small_llama);
  logs.write("other/trainer_state.json", R"({"global_step": 7, "log_history": [{"loss": 6.5, "step": 7}]})");
  logs.write("other/notes.csv", "not,read\n1,2\n");
  const RunTable all = load_runs(logs.path());
  const RunTable runs = reduce_curves(all, Curve::final);
  EXPECT_EQ(cells(runs, "run_id"), "other small");
  EXPECT_EQ(cells(runs, "loss"), "6.5 4.25");
  EXPECT_EQ(cells(runs, "n_params"), " 1320");
  // The Trainer counts all but the input embedding: 1320 and a head of 800. 1.2e15 FLOPs are 6 x 2120 a token.
  EXPECT_EQ(number_in(runs.cell(1, column_named(runs, "tokens"))), 1.2e15 / (6 * 2120));
  EXPECT_EQ(place(runs, 1), (logs.path() / "small/checkpoint-200/trainer_state.json").string() + ":18");
}

TEST(TrainerState, AModelThatCannotBeReadIsSaid) {
  const LogFolder logs;
  logs.write("trainer_state.json", trainer_state);
  logs.write("config.json", R"({"model_type": "unheard_of"})");
  const RunTable runs = load_runs(logs.path());
  ASSERT_EQ(runs.notes.size(), 1U);
  EXPECT_EQ(runs.notes[0].substr(0, 85),
            "no n_params for this run, because its model cannot be read: unknown model_type 'unhea");
  EXPECT_FALSE(find_column(runs, "n_params"));
}

TEST(StepLog, TheLossesOfAnLlmCLogComeByStep) {
  const RunTable runs = runs_from_text(
      "s:0 tel:11.02\ns:0 eval:0.2451\ns:1 trl:10.9 lr:0.0003 norm:20.1\ns:2 tel:10.5\n", "log124M/main.log");
  EXPECT_TRUE(runs.curves);
  EXPECT_EQ(cells(runs, "step"), "0 1 2");
  EXPECT_EQ(cells(runs, "loss"), "11.02  10.5");
  EXPECT_EQ(cells(runs, "train_loss"), " 10.9 ");
  EXPECT_EQ(cells(runs, "hellaswag"), "0.2451  ");
  EXPECT_EQ(runs.lines, (std::vector<std::size_t>{1, 3, 4}));
}

TEST(StepLog, OtherLinesArePassedOverAndStepsMayNameTheirTotal) {
  const RunTable runs = runs_from_text(
      "starting\nstep:125/250 val_loss:4.5 train_time:10ms\nsaved\nstep:250/250 val_loss:4.25\n", "a.log");
  EXPECT_EQ(cells(runs, "step"), "125 250");
  EXPECT_EQ(cells(runs, "loss"), "4.5 4.25");
}

TEST(StepLog, WithoutHeldOutLossTheTrainingLossIsTheLoss) {
  EXPECT_EQ(cells(runs_from_text("s:1 trl:10.5\ns:2 trl:9.5\n", "main.log"), "loss"), "10.5 9.5");
}

TEST(StepLog, AFolderNamesRunsAndTakesWhatAConfigSays) {
  const LogFolder logs;
  logs.write("d12/main.log", "s:10 tel:5\ns:20 tel:4.5\n");
  logs.write("d12/config.json", R"({"n_params": 85e6, "tokens_per_step": 524288})");
  logs.write("d24/main.log", "s:20 tel:4\n");
  logs.write("d24/config.json", R"({"n_params": 302e6, "tokens_per_step": 524288})");
  logs.write("d24/readme.txt", "no log\n");
  RunTable runs = reduce_curves(load_runs(logs.path()), Curve::final);
  map_columns(runs, "tokens=step*tokens_per_step");
  EXPECT_EQ(cells(runs, "run_id"), "d12 d24");
  EXPECT_EQ(positive_column(runs, "n_params"), (std::vector<double>{85e6, 302e6}));
  EXPECT_EQ(positive_column(runs, "tokens"), (std::vector<double>{10485760, 10485760}));
}

TEST(Wandb, AChartIsOneCurveARun) {
  const RunTable runs = runs_from_text(
      "\"Step\",\"big - v2 - eval/loss\",\"big - v2 - eval/loss__MIN\",\"small - eval/loss\"\n"
      "100,3.5,3.4,4.5\n200,3.25,3.2,\n",
      "chart.csv");
  EXPECT_TRUE(runs.curves);
  EXPECT_EQ(cells(runs, "run_id"), "big - v2 big - v2 small");
  EXPECT_EQ(cells(runs, "step"), "100 200 100");
  EXPECT_EQ(cells(runs, "loss"), "3.5 3.25 4.5");
}

TEST(Wandb, ATableOfRunsSaysWhichDidNotFinish) {
  const RunTable runs = runs_from_text("Name,State,loss\na,finished,3\nb,crashed,4\nc,failed,5\n", "table.csv");
  EXPECT_EQ(run_name(runs, 1), "b");
  ASSERT_EQ(runs.notes.size(), 1U);
  EXPECT_EQ(runs.notes[0],
            "2 of 3 runs did not finish, the first at table.csv:3 ('crashed'): leave them out with --where \"State == "
            "'finished'\"");
}

TEST(Wandb, AFolderOfHistoriesHasARunAFile) {
  const LogFolder logs;
  logs.write("one.csv", "_step,loss\n10,4\n20,3\n");
  logs.write("two.csv", "_step,loss,lr\n10,5,1\n");
  const RunTable runs = load_runs(logs.path());
  EXPECT_TRUE(runs.curves);
  EXPECT_EQ(cells(runs, "run_id"), "one one two");
  EXPECT_EQ(cells(reduce_curves(runs, Curve::final), "loss"), "3 5");
}

TEST(LoadRuns, OneJsonFileARunWithListsByPlace) {
  const LogFolder logs;
  logs.write("a.json", R"({"params": 1e8, "results": [{"loss": 3.5}, {"loss": 3.25}]})");
  logs.write("b.json", R"({"params": 2e8, "results": [{"loss": 3.0}, {"loss": 2.75}]})");
  const RunTable runs = load_runs(logs.path());
  EXPECT_FALSE(runs.curves);
  EXPECT_EQ(cells(runs, "run_id"), "a b");
  EXPECT_EQ(cells(runs, "results.1.loss"), "3.25 2.75");
}

TEST(LoadRuns, WhatCannotBeReadIsSaid) {
  const LogFolder logs;
  const std::string folder = logs.path().string();
  EXPECT_EQ(
      error_of([&] { load_runs(logs.path()); }),
      "no logged runs: " + folder + ": give CSV, JSONL, a trainer_state.json, a training log, or a folder of these");
  logs.write("runs.parquet", "PAR1");
  EXPECT_EQ(error_of([&] { load_runs(logs.path() / "runs.parquet"); }),
            "Parquet is not read, for want of a library in Debian 12: " + folder +
                "/runs.parquet: write it as CSV, as in pandas.read_parquet(...).to_csv(...)");
}

}  // namespace
}  // namespace archfront
