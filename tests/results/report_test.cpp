#include "results/report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "costmodels/errors.h"
#include "results/subprocess.h"
#include "tests/results/example_sweep.h"

namespace archfront {
namespace {

bool can_run(const std::vector<std::string>& command) {
  try {
    run_program(command, "", "missing");
    return true;
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

/// What an HTML parser takes for the content of each script: up to the first "</script", whatever stands around it.
struct Page {
  std::string outside;
  std::vector<std::string> scripts;
};

Page parsed(const std::string& html) {
  Page page;
  std::size_t at = 0;
  while (true) {
    const std::size_t open = html.find("<script", at);
    page.outside += html.substr(at, open - at);
    if (open == std::string::npos) return page;
    const std::size_t start = html.find('>', open) + 1;
    page.outside += html.substr(open, start - open);
    const std::size_t end = html.find("</script", start);
    page.scripts.push_back(html.substr(start, end - start));
    at = html.find('>', end) + 1;
  }
}

struct Written {
  TemporaryFolder folder;
  SweepConfig config = example_config("</script><!--<script> & \"quotes\" \xe2\x80\xa8 \xff");
  SweepResult result = example_result(2000, 4, config.name);
  std::string html;
  Page page;
  Written() {
    result.frontier[0].probability = 0.25;
    config.text = "</script><script>alert(1)</script><!-- \xff";
    write_html(folder / "r.html", config, result, {"2026-11-25 14:03:07", "{\"name\": \"</script>\"}"});
    html = read_text(folder / "r.html");
    page = parsed(html);
  }
};

TEST(Report, TheDataParsesAndHoldsEveryPoint) {
  const Written written;
  ASSERT_EQ(written.page.scripts.size(), 5U) << "the data, three libraries and the page's own program";
  const nlohmann::json data = nlohmann::json::parse(written.page.scripts[0]);
  EXPECT_EQ(data.at("config_text").get<std::string>().substr(0, 31), written.config.text.substr(0, 31));
  ASSERT_EQ(data.at("frontier").size(), written.result.frontier.size());
  for (std::size_t i = 0; i < written.result.frontier.size(); ++i) {
    const nlohmann::json& row = data.at("frontier")[i];
    EXPECT_EQ(row.at("values").at("loss"), written.result.frontier[i].point.values[0]);
    EXPECT_EQ(architecture_from_json(row.at("architecture"), "report"), written.result.frontier[i].architecture);
    EXPECT_EQ(row.at("steps").size(), 2U);
    EXPECT_EQ(row.at("steps")[0].at("gains").at("decode_tokens_per_second"), 1.31);
  }
  EXPECT_EQ(data.at("frontier")[0].at("probability"), 0.25);
  EXPECT_FALSE(data.at("frontier")[1].contains("probability"));
  EXPECT_EQ(data.at("sample").at("loss").size(), written.result.sample.size());
  EXPECT_NEAR(data.at("sample").at("loss")[7].get<double>(), written.result.sample[7].values[0], 1e-5);
  EXPECT_EQ(data.at("references").size(), 3U);
  EXPECT_EQ(data.at("rejected")[0].at("count"), 4000);
}

TEST(Report, NothingInThePageAsksForAnything) {
  const Written written;
  EXPECT_NE(written.html.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(written.page.outside.find(" src="), std::string::npos);
  const std::regex reference("(href|url|import)\\s*[=(]?\\s*[\"'(]?([^\"'> )]*)");
  for (auto it = std::sregex_iterator(written.page.outside.begin(), written.page.outside.end(), reference);
       it != std::sregex_iterator(); ++it)
    EXPECT_EQ((*it)[2].str().find("//"), std::string::npos) << it->str();
  for (const std::string& script : written.page.scripts) EXPECT_EQ(script.find("sourceMappingURL"), std::string::npos);
}

TEST(Report, NamesCannotBreakOutOfTheirPlace) {
  const Written written;
  EXPECT_EQ(count_of(written.page.outside, "<script"), 5U);
  EXPECT_EQ(count_of(written.html, "alert(1)</script>"), 0U);
  EXPECT_NE(written.html.find("<title>&lt;/script>&lt;!--"), std::string::npos);
  EXPECT_EQ(written.page.scripts[0].find('<'), std::string::npos);
}

TEST(Report, EveryScriptIsValid) {
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  const Written written;
  for (std::size_t i = 1; i < written.page.scripts.size(); ++i)
    EXPECT_NO_THROW(run_program({"node", "--check", "-"}, written.page.scripts[i], "missing")) << i;
}

TEST(Report, ThePictureHasAMarkForEveryPoint) {
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  const Written written;
  write_picture(written.folder / "r.svg", written.config, written.result);
  const std::string svg = read_text(written.folder / "r.svg");
  EXPECT_EQ(svg.substr(0, 4), "<svg");
  for (std::size_t i = 1; i <= written.result.frontier.size(); ++i)
    EXPECT_EQ(count_of(svg, "aria-label=\"point " + std::to_string(i) + "\""), 1U) << i;
  for (const Reference& reference : written.result.references)
    EXPECT_EQ(count_of(svg, "aria-label=\"" + reference.name + "\""), 1U) << reference.name;
  EXPECT_NE(svg.find("decode throughput (tokens/s), more is better"), std::string::npos);
  EXPECT_EQ(svg.find("href="), std::string::npos);
}

TEST(Report, ThePictureTakesTheAxesAskedFor) {
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  const Written written;
  write_picture(written.folder / "r.svg", written.config, written.result, {"state_bytes", "recall"});
  const std::string svg = read_text(written.folder / "r.svg");
  EXPECT_NE(svg.find("state (MB), less is better"), std::string::npos);
  EXPECT_NE(svg.find("recall (chance), more is better"), std::string::npos);
}

TEST(Report, APngIsTheSamePicture) {
  if (!can_run({"node", "--version"}) || !can_run({"rsvg-convert", "--version"}))
    GTEST_SKIP() << "node or rsvg-convert is not installed";
  const Written written;
  write_picture(written.folder / "r.png", written.config, written.result);
  EXPECT_EQ(read_text(written.folder / "r.png").substr(0, 8), "\x89PNG\r\n\x1a\n");
}

TEST(Report, AComparisonDrawsEveryPointOfEverySweep) {
  const SweepConfig config = example_config();
  const SweepResult a = example_result(300, 1, "a"), b = example_result(300, 2, "b");
  const Comparison comparison = compare(config, a, config, b);
  const TemporaryFolder folder;
  write_html(folder / "c.html", comparison);
  const nlohmann::json data = nlohmann::json::parse(parsed(read_text(folder / "c.html")).scripts[0]);
  EXPECT_EQ(data.at("frontier").size(), a.frontier.size() + b.frontier.size());
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  write_picture(folder / "c.svg", comparison);
  EXPECT_EQ(count_of(read_text(folder / "c.svg"), "aria-label=\"point "), a.frontier.size() + b.frontier.size());
}

TEST(Report, AFitIsDrawnWithItsRuns) {
  const TemporaryFolder folder;
  const std::string json = R"({"law": "chinchilla", "parameters": {"E": 1.8}, "runs": 2, "fitted": [
      {"n_params": 1e8, "tokens": 2e9, "loss": 3.1, "predicted": 3.0},
      {"n_params": 1e9, "tokens": 2e10, "loss": 2.5, "predicted": 2.6, "held_out": true}]})";
  write_html(folder / "f.html", StoredFit{1, "chinchilla", "runs.csv", "", json});
  EXPECT_EQ(nlohmann::json::parse(parsed(read_text(folder / "f.html")).scripts[0]).at("fitted").size(), 2U);
  EXPECT_EQ(error_of<InputError>([&] {
              write_html(folder / "g.html", StoredFit{3, "x", "", "", "no json"});
            }),
            "the fit's record is not what `fit --format json` prints: fit 3 (x): fit again");
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  write_picture(folder / "f.svg", StoredFit{1, "chinchilla", "runs.csv", "", json});
  EXPECT_EQ(count_of(read_text(folder / "f.svg"), "aria-label=\"run 1\""), 2U) << "against the law, and its residual";
}

/// A fit with something for every plot.
StoredFit full_fit() {
  nlohmann::json json = {{"law", "chinchilla"}, {"parameters", {{"A", 400.0}, {"E", 1.8}}}, {"runs", 3}};
  for (int i = 0; i < 4; ++i)
    json["fitted"].push_back({{"run", fmt::format("model {}", i)},
                              {"n_params", 1e8 * (i + 1)},
                              {"tokens", 2e9},
                              {"flops", 1.2e18 * (i + 1)},
                              {"loss", 3.1 - 0.1 * i},
                              {"predicted", 3.0 - 0.1 * i},
                              {"low", 2.9 - 0.1 * i},
                              {"high", 3.2 - 0.1 * i},
                              {"held_out", i == 3}});
  json["isoflop"] = {{{"flops", 1.2e18},
                      {"n_params", {5e7, 1e8, 2e8}},
                      {"loss", {3.2, 3.0, 3.1}},
                      {"best", {{"n_params", 1e8}, {"loss", 3.0}}}}};
  json["start_objectives"] = {1.0, 1.0, 1.00005, 2.5};
  json["draws"] = {{"names", {"A", "E"}}, {"values", {{390, 1.7}, {410, 1.9}, {400, 1.8}}}};
  json["profile"] = {{"parameter", "E"},
                     {"low", 1.6},
                     {"high", 2.0},
                     {"points", {{{"value", 1.6}, {"objective", 1.2}}, {{"value", 1.8}, {"objective", 1.0}}}}};
  json["findings"] = {{{"kind", "outlier"}, {"text", "a run lies far from the law: model 1"}}};
  json["allocations"] = {{{"flops", 1e21}, {"n_params", 1e9}, {"tokens", 2e11}, {"loss", 2.4}}};
  return {7, "chinchilla", "runs.csv", "", json.dump()};
}

TEST(Report, AFitsPictureHasEveryPlotItHasSomethingFor) {
  if (!can_run({"node", "--version"})) GTEST_SKIP() << "node is not installed";
  const TemporaryFolder folder;
  write_picture(folder / "f.svg", full_fit());
  const std::string svg = read_text(folder / "f.svg");
  for (const char* text :
       {"Loss at equal compute (line: law; dots: runs; diamond: least)", "1.2e18", "Extrapolation (bars: 80% bands)",
        "loss / prediction − 1 (%)", "objective reached, above the best", "at the optimum", "1.00",
        "Profile (dashed: 95% interval)", "training compute (FLOPs)"})
    EXPECT_GE(count_of(svg, text), 1U) << text;
  EXPECT_EQ(svg.find("undefined"), std::string::npos);
  EXPECT_EQ(svg.find("NaN"), std::string::npos);
}

TEST(Report, AFitWithoutMoreThanParametersStillHasAPage) {
  const TemporaryFolder folder;
  write_html(folder / "f.html", StoredFit{1, "mine", "runs.csv", "", R"({"parameters": {"E": 1.8}})"});
  const nlohmann::json data = nlohmann::json::parse(parsed(read_text(folder / "f.html")).scripts[0]);
  EXPECT_EQ(data.at("fitted").size(), 0U);
  EXPECT_EQ(data.at("name"), "mine");
}

TEST(Report, AMissingProgramIsNamedWithItsPackage) {
  const Written written;
  const std::string path = getenv("PATH");
  setenv("PATH", written.folder.path().c_str(), 1);
  const std::string message =
      error_of<std::runtime_error>([&] { write_picture(written.folder / "r.svg", written.config, written.result); });
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(message, (written.folder / "r.svg").string() + " needs node to draw it: install the Debian package nodejs");
}

TEST(Report, PathsThatCannotBeWrittenAreNamed) {
  const Written written;
  EXPECT_EQ(error_of<InputError>([&] { write_html(written.folder / "no/r.html", written.config, written.result); }),
            "the file cannot be made (No such file or directory): " + (written.folder / "no/r.html").string() +
                ": give a path in a folder that exists and can be written");
  EXPECT_EQ(error_of<InputError>([&] { write_picture(written.folder / "r.gif", written.config, written.result); }),
            "a picture of no kind we draw: " + (written.folder / "r.gif").string() + ": end the path in .svg or .png");
}

TEST(Report, TheJsonHasTheAgreedKeys) {
  const SweepConfig config = example_config();
  SweepResult result = example_result(300, 1);
  result.frontier[0].probability = 0.25;
  const nlohmann::ordered_json json = nlohmann::ordered_json::parse(to_json(config, result));
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys,
            (std::vector<std::string>{"sweep", "machine", "seconds", "evaluated", "candidates_per_second", "rejected",
                                      "exhaustive", "objectives", "references", "hypervolume", "frontier"}));
  EXPECT_EQ(json.at("rejected").at("parameter_budget"), 600);
  EXPECT_EQ(json.at("objectives")[1].dump(), R"({"name":"decode_tokens_per_second","direction":"maximise"})");
  EXPECT_EQ(json.at("references")[0].at("objectives").size(), 4U);
  const nlohmann::ordered_json& point = json.at("frontier")[0];
  EXPECT_EQ(point.at("objectives").at("loss"), result.frontier[0].point.values[0]);
  EXPECT_EQ(architecture_from_json(nlohmann::json(point.at("architecture")), "json"), result.frontier[0].architecture);
  EXPECT_EQ(point.at("changes")[0].at("change"), "hybrid_ratio 0:1 -> 3:1");
  EXPECT_EQ(point.at("probability"), 0.25);
  EXPECT_FALSE(json.at("frontier")[1].contains("probability"));
}

TEST(Report, CsvQuotesWhatItMust) {
  SweepConfig config = example_config();
  SweepResult result = example_result(300, 1);
  result.frontier.resize(1);
  result.frontier[0].architecture.name = "a \"b\", c";
  const std::string csv = to_csv(config, result);
  EXPECT_EQ(count_of(csv, "\n"), 2U);
  EXPECT_EQ(csv.substr(0, 5), "name,");
  EXPECT_NE(csv.find("\n\"a \"\"b\"\", c\","), std::string::npos);
  const std::string heading = csv.substr(0, csv.find('\n'));
  EXPECT_NE(heading.find("parameters_total,parameters_non_embedding,loss,decode_tokens_per_second,state_bytes,recall"),
            std::string::npos);
}

}  // namespace
}  // namespace archfront
