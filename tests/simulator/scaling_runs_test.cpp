#include <gtest/gtest.h>

#include <string>

#include "costmodels/errors.h"
#include "simulator/scaling/expression.h"
#include "simulator/scaling/runs.h"

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

RunTable table(const std::string& text) { return runs_from_text(text, "runs.csv"); }

std::string kept(const std::string& expression) {
  const RunTable runs = table(
      "run_id,tokens,loss,corpus,lr\n"
      "a,1e9,3.5,c4,0.1\nb,2e9,3.2,c4,\nc,4e9,3.0,pile,abc\nd,8e9,2.8,pile,0.2\n");
  const std::vector<char> rows = rows_where(runs, expression, "--where");
  std::string ids;
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i] != 0) ids += runs.cell(i, 0);
  return ids;
}

std::string refused(const std::string& expression) {
  return error_of([&] { kept(expression); });
}

TEST(Runs, QuotedFieldsHoldCommasQuotesAndLineBreaks) {
  const RunTable runs = table("name,loss\r\n\"a, \"\"b\"\"\",2.5\r\n\"two\nlines\",3\r\nplain,4\r\n");
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs.cell(0, 0), "a, \"b\"");
  EXPECT_EQ(runs.cell(1, 0), "two\nlines");
  EXPECT_EQ(runs.lines, (std::vector<std::size_t>{2, 3, 5}));
}

TEST(Runs, CommentsAndBlankLinesCountAsLinesAndNotAsRuns) {
  const RunTable runs = table("# a comment, with a comma\n\nloss\n# another\n2.5\n\n3\n");
  EXPECT_EQ(runs.columns, (std::vector<std::string>{"loss"}));
  EXPECT_EQ(runs.lines, (std::vector<std::size_t>{5, 7}));
}

TEST(Runs, JsonLinesWithNestedAndMissingKeysAreATable) {
  const RunTable runs = table("{\"loss\": 2.5, \"model\": {\"n_params\": 7e9}}\n{\"loss\": 3, \"note\": \"x,y\"}\n");
  EXPECT_EQ(runs.columns, (std::vector<std::string>{"loss", "model.n_params", "note"}));
  EXPECT_EQ(number_in(runs.cell(0, 1)), 7e9);
  EXPECT_EQ(runs.cell(1, 1), "");
  EXPECT_EQ(runs.cell(1, 2), "x,y");
}

TEST(Runs, AMappedColumnStandsBeforeTheFilesOwn) {
  RunTable runs = table("loss,val_loss,Model Size\n9,2.5,1e9\n");
  map_columns(runs, "loss=val_loss, n_params=Model Size");
  EXPECT_EQ(positive_column(runs, "loss"), (std::vector<double>{2.5}));
  EXPECT_EQ(positive_column(runs, "n_params"), (std::vector<double>{1e9}));
  EXPECT_EQ(error_of([&] { map_columns(runs, "loss=val_los"); }),
            "no column 'val_los': runs.csv: did you mean 'val_loss'?");
  EXPECT_EQ(error_of([&] { map_columns(runs, "loss"); }),
            "'loss' maps no column: --columns: write loss=val_loss,tokens=seen");
}

TEST(Runs, AColumnIsComputedFromOthers) {
  RunTable runs = table("step,ppl,a b\n10,7.38905609893065,2\n20,x,3\n");
  map_columns(runs, "tokens=step*524288,loss=log(ppl),n_params=124e6,d_model=`a b` * 64");
  EXPECT_EQ(positive_column(runs, "tokens"), (std::vector<double>{5242880, 10485760}));
  EXPECT_EQ(positive_column(runs, "n_params"), (std::vector<double>{124e6, 124e6}));
  EXPECT_EQ(positive_column(runs, "d_model"), (std::vector<double>{128, 192}));
  EXPECT_NEAR(number_in(runs.cell(0, column_named(runs, "loss"))).value(), 2, 1e-12);
  EXPECT_EQ(error_of([&] { positive_column(runs, "loss"); }),
            "loss is empty: runs.csv:3, column 'log(ppl)': every run needs a finite loss; drop the row or fix it");
  EXPECT_EQ(error_of([&] { map_columns(runs, "loss=log(pp)"); }),
            "no column 'pp': --columns 'log(pp)': did you mean 'ppl'?");
}

TEST(Runs, BadCellsAreNamedByLineAndColumn) {
  const auto loss = [](const std::string& cell) {
    return error_of([&] { positive_column(table("run_id,loss\na,2.5\nb," + cell + "\n"), "loss"); });
  };
  EXPECT_EQ(loss("NaN"),
            "loss is NaN: runs.csv:3, column 'loss': every run needs a finite loss; drop the row or fix it");
  EXPECT_EQ(loss("inf"),
            "loss is inf: runs.csv:3, column 'loss': every run needs a finite loss; drop the row or fix it");
  EXPECT_EQ(loss(""),
            "loss is empty: runs.csv:3, column 'loss': every run needs a finite loss; drop the row or fix it");
  EXPECT_EQ(
      loss("14M"),
      "loss is '14M', which is no number: runs.csv:3, column 'loss': every run needs a finite loss; drop the row or "
      "fix it");
  EXPECT_EQ(loss("-2"),
            "loss is -2: runs.csv:3, column 'loss': every run needs a finite positive loss; drop the row or fix it");
}

TEST(Runs, AMappedBadCellNamesTheFilesColumn) {
  RunTable runs = table("final\nNaN\n");
  map_columns(runs, "loss=final");
  EXPECT_EQ(error_of([&] { positive_column(runs, "loss"); }),
            "loss is NaN: runs.csv:2, column 'final': every run needs a finite loss; drop the row or fix it");
}

TEST(Runs, ARunIdThatIsThereTwiceNamesBothLines) {
  EXPECT_EQ(error_of([] { check_run_ids(table("run_id,loss\nx,1\ny,2\nx,3\n")); }),
            "run_id 'x' is there twice: runs.csv:4, column 'run_id': line 2 has it already; drop one or rename it");
  EXPECT_EQ(error_of([] { check_run_ids(table("run_id,step,loss\nx,10,1\nx,20,2\n")); }),
            "run_id 'x' is there twice: runs.csv:3, column 'run_id': line 2 has it already; drop one or rename it, or "
            "choose with --curve one row of a learning curve");
}

TEST(Runs, BrokenFilesAreOneSentence) {
  EXPECT_EQ(error_of([] { table(""); }), "no runs: runs.csv: a header and one line a run");
  EXPECT_EQ(error_of([] { table("a,b\n1\n"); }),
            "1 fields under a header of 2: runs.csv:2: quote fields that hold a comma");
  EXPECT_EQ(error_of([] { table("a,b\n1,\"2\n"); }), "a quote is not closed: runs.csv:2: end the field with '\"'");
  EXPECT_EQ(error_of([] { table("a\n\"1\"2\n"); }),
            "text after a closing quote: runs.csv:2: double a quote that belongs to the field");
  EXPECT_EQ(error_of([] { table("{\"a\": 1}\n[2]\n"); }), "not a JSON object: runs.csv:2: write one object a line");
  EXPECT_EQ(error_of([] { table("a,a\n1,2\n"); }), "two columns are called 'a': runs.csv: rename one");
  EXPECT_EQ(error_of([] { load_runs("/nowhere/runs.csv"); }),
            "cannot read runs: /nowhere/runs.csv: give CSV, JSONL, a trainer_state.json, a training log, or a folder "
            "of these");
}

TEST(Where, ComparisonsTakeNumbersAndText) {
  EXPECT_EQ(kept("tokens > 1e9"), "bcd");
  EXPECT_EQ(kept("tokens >= 1e9"), "abcd");
  EXPECT_EQ(kept("corpus == 'c4'"), "ab");
  EXPECT_EQ(kept("corpus != \"c4\""), "cd");
  EXPECT_EQ(kept("run_id < 'c'"), "ab");
}

TEST(Where, AndBindsTighterThanOrAndNotTighterThanBoth) {
  EXPECT_EQ(kept("run_id == 'a' or corpus == 'pile' and loss < 2.9"), "ad");
  EXPECT_EQ(kept("(run_id == 'a' or corpus == 'pile') and loss < 2.9"), "d");
  EXPECT_EQ(kept("not corpus == 'c4' and loss < 2.9"), "d");
  EXPECT_EQ(kept("not (corpus == 'c4' and loss < 3.3)"), "acd");
}

TEST(Where, ArithmeticHasItsPrecedenceAndItsFunctions) {
  EXPECT_EQ(kept("1 + 2 * 3 == 7"), "abcd");
  EXPECT_EQ(kept("(1 + 2) * 3 == 9 and 8 / 4 / 2 == 1 and 5 - 2 - 1 == 2"), "abcd");
  EXPECT_EQ(kept("-loss < -3.1 and --loss > 3"), "ab");
  EXPECT_EQ(kept("abs(log(tokens) - log(4e9)) < 0.01"), "c");
  EXPECT_EQ(kept("sqrt(exp(log(tokens))) > 6e4"), "cd");
}

TEST(Where, ACellThatIsNoNumberMeetsNoComparisonWithOne) {
  EXPECT_EQ(kept("lr > 0"), "ad");
  EXPECT_EQ(kept("not lr > 0"), "bc");
  EXPECT_EQ(kept("lr == 'abc'"), "c");
  EXPECT_EQ(kept("lr == ''"), "b");
}

TEST(Where, NamesInBackquotesMayHoldAnything) {
  const RunTable runs = table("Model Size,optim/loss\n1e9,2\n2e9,3\n");
  EXPECT_EQ(rows_where(runs, "`Model Size` > 1e9 and `optim/loss` == 3", "--where"), (std::vector<char>{0, 1}));
}

TEST(Where, MistakesAreNamedByCharacter) {
  EXPECT_EQ(refused("tokns > 1"), "no column 'tokns': --where 'tokns > 1': did you mean 'tokens'?");
  EXPECT_EQ(refused("tokens = 1"), "unexpected '=': --where 'tokens = 1', character 8: write == to compare");
  EXPECT_EQ(
      refused("tokens > )"),
      "unexpected ')': --where 'tokens > )', character 10: a number, a column, 'text' or a parenthesis belongs there");
  EXPECT_EQ(refused("(tokens > 1"), "unexpected the end: --where '(tokens > 1', character 12: close the parenthesis");
  EXPECT_EQ(
      refused("tokens > 1 2"),
      "unexpected '2': --where 'tokens > 1 2', character 12: use and, or, a comparison or arithmetic between values");
  EXPECT_EQ(
      refused("1 < loss < 4"),
      "unexpected '<': --where '1 < loss < 4', character 10: use and, or, a comparison or arithmetic between values");
  EXPECT_EQ(refused("corpus == 'c4"), "unexpected ''': --where 'corpus == 'c4', character 11: close the quote");
  EXPECT_EQ(refused("tokens > 14M"),
            "unexpected '1': --where 'tokens > 14M', character 10: write numbers as 1e9 or 0.5");
  EXPECT_NE(refused(std::string(100'000, '(')).find("nest less deeply"), std::string::npos);
}

}  // namespace
}  // namespace archfront
