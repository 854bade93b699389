#include "simulator/scaling/run_input.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "costmodels/errors.h"

namespace archfront {
namespace {

template <class Work>
std::string error_of(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

RunTable table(const std::string& text, const std::string& name) { return runs_from_text(text, name); }

TEST(JoinModels, ColumnsAreAddedByRunAndNoneIsReplaced) {
  RunTable curves = table("run_id,step,loss\nb,1,4\na,1,5\nb,2,3\n", "curves.csv");
  join_models(curves, table("run_id,n_params,loss\na,1e8,9\nb,2e8,9\n", "models.csv"));
  EXPECT_EQ(positive_column(curves, "n_params"), (std::vector<double>{2e8, 1e8, 2e8}));
  EXPECT_EQ(positive_column(curves, "loss"), (std::vector<double>{4, 5, 3}));
}

TEST(JoinModels, ARunThatIsMissingIsNamed) {
  RunTable curves = table("run_id,loss\na,5\nc,4\n", "curves.csv");
  EXPECT_EQ(error_of([&] { join_models(curves, table("run_id,n_params\na,1e8\n", "models.csv")); }),
            "run 'c' is not among those joined: curves.csv:3: give models.csv a row with that run_id");
}

/// Every published set that lies beside the tree, as experiments/runs/README.md has its command.
TEST(ReadRuns, EveryPublishedSetIsReadByOneCommand) {
  const std::string data = SHARED_DATA "/runs/";
  if (!std::filesystem::is_directory(data)) GTEST_SKIP() << "the published sets are not beside the tree";
  const std::string c4_ppl = "`eval/ppl//fsx-onellm/data/corpora/text_only/text_eval/c4.jsonl`";
  const struct {
    RunInput input;
    std::size_t runs;
  } sets[] = {
      {{.path = "chinchilla/runs.csv", .where = "kept_in_refit == 1"}, 240},
      {{.path = "chinchilla/svg_extracted_data.csv",
        .columns = "n_params=Model Size,flops=Training FLOP,tokens=`Training FLOP` / (6 * `Model Size`)"},
       245},
      {{.path = "overtraining/runs.csv"}, 104},
      {{.path = "overtraining/raw_json",
        .columns = "n_params=hyperparameters.params,tokens=hyperparameters.tokens,loss=results.1.loss"},
       3},
      {{.path = "gemstones/runs.csv", .where = "schedule == 'hot'"}, 220},
      {{.path = "gemstones/wandb_hot_raw.jsonl",
        .columns = "n_params=params_active_precise,loss=final_loss,run_id=run_name",
        .curve = Curve::keep},
       220},
      {{.path = "data_constrained/runs.csv", .where = "in_published_fit == 1"}, 182},
      {{.path = "olmo_ladder/runs.csv"}, 24},
      {{.path = "olmo_ladder/curves.csv",
        .join = data + "olmo_ladder/runs.csv",
        .columns = "loss=loss_c4_en",
        .curve = Curve::smoothed},
       24},
      {{.path = "olmo_ladder/wandb_export",
        .join = data + "olmo_ladder/runs.csv",
        .columns = "loss=eval/c4_en-validation/CrossEntropyLoss,tokens=throughput/total_tokens"},
       4},
      {{.path = "moe_routing/runs.csv"}, 223},
      {{.path = "steplaw/dense.csv", .columns = "loss=smooth_loss", .best_of = "n_params,tokens"}, 17},
      {{.path = "steplaw/moe.csv",
        .columns = "loss=smooth_loss,n_params=n_params_active",
        .best_of = "n_params,tokens"},
       16},
      {{.path = "porian/isoflop_points.csv", .where = "corpus == 'rw' and hparams == 'tuned'"}, 225},
      {{.path = "misfitting/runs.csv", .best_of = "n_params,tokens"}, 81},
      {{.path = "misfitting/spreadsheet_raw.csv",
        .columns = "n_params=N_no_emb,tokens=D,loss=C4 Eval Loss",
        .where = "`C4 Eval Loss` > 0",
        .best_of = "n_params,tokens"},
       64},
      {{.path = "misfitting/moe_wandb_raw.csv",
        .columns = "loss=log(" + c4_ppl + "),tokens=optim/n_tokens,n_params=12e6",
        .where = c4_ppl + " > 0"},
       67},
      {{.path = "shape/runs.csv", .where = "in_published_fit == 1"}, 27},
  };
  for (const auto& set : sets) {
    RunInput input = set.input;
    input.path = data + input.path;
    const RunTable runs = read_runs(input);
    EXPECT_EQ(runs.size(), set.runs) << input.path;
    for (const char* column : {"n_params", "tokens", "loss"})
      EXPECT_EQ(positive_column(runs, column).size(), set.runs) << input.path;
  }
  EXPECT_EQ(read_runs({.path = data + "vocab/runs.csv"}).size(), 1200U);
}

}  // namespace
}  // namespace archfront
