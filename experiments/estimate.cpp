// archfront estimate: what one architecture costs on one machine, or one request a line from a file.
#include <fmt/format.h>

#include <array>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "costmodels/errors.h"
#include "experiments/command.h"
#include "experiments/estimate_output.h"
#include "simulator/scaling/law.h"

namespace archfront {

namespace {

namespace po = boost::program_options;
using Json = nlohmann::json;

constexpr std::array<std::string_view, 14> request_keys{
    "model",     "architecture", "machine",      "phase",  "batch",     "context", "tokens",
    "precision", "law",          "kv_precision", "engine", "recompute", "kernels", "tensor_parallel"};

Options estimate_options() {
  Options options;
  options.usage = "archfront estimate --model NAME|PATH|- --machine NAME [options]";
  options.named.add_options()("help,h", "show this")(
      "model", po::value<std::string>(),
      "a shipped model, the path of a config.json or native form, or - for standard input")(
      "machine", po::value<std::string>()->default_value("h200-sxm5-141gb"),
      "a shipped machine or a folder `archfront bench` made")(
      "phase", po::value<std::string>()->default_value("decode"), "prefill, decode or train")(
      "batch", po::value<std::string>()->default_value("1"), "sequences")(
      "context", po::value<std::string>()->default_value("2048"), "tokens a sequence; 64k is 65536")(
      "tokens", po::value<std::string>()->default_value("0"), "training tokens behind the loss; 0: 20 a parameter")(
      "precision", po::value<std::string>()->default_value("bf16"), "of weights and activations: f32, bf16, fp8, int8")(
      "kv-precision", po::value<std::string>()->default_value(""), "of the KV cache; the same by default")(
      "law", po::value<std::string>()->default_value("default"), "a shipped law or the path of one")(
      "engine", po::value<std::string>()->default_value("graph"),
      "graph: kernels fused, launches captured; eager: every launch paid")(
      "recompute", po::value<std::string>()->default_value("none"),
      "train: none, or layer to keep only each layer's input")(
      "kernels", po::value<std::string>()->default_value("library"),
      "where both were measured: library (what engines run), own or fastest")(
      "tensor-parallel", po::value<std::string>()->default_value("1"),
      "devices of one node that share each layer: 1 to 8")(
      "batch-file", po::value<std::string>(),
      "a JSONL file of requests with these keys, one answer a line; - for standard input")(
      "format", po::value<std::string>()->default_value("text"), "text, json or csv (operations)");
  return options;
}

/// What one estimate is asked for, as text and JSON; a request of a batch file starts from the command line's.
struct Request {
  Json model;
  std::string machine, phase, batch, context, tokens, precision, kv_precision, law, engine, recompute, kernels,
      tensor_parallel;
};

Request request_from(const po::variables_map& given) {
  const auto text = [&given](const char* name) { return given[name].as<std::string>(); };
  Request request{.model = nullptr,
                  .machine = text("machine"),
                  .phase = text("phase"),
                  .batch = text("batch"),
                  .context = text("context"),
                  .tokens = text("tokens"),
                  .precision = text("precision"),
                  .kv_precision = text("kv-precision"),
                  .law = text("law"),
                  .engine = text("engine"),
                  .recompute = text("recompute"),
                  .kernels = text("kernels"),
                  .tensor_parallel = text("tensor-parallel")};
  if (given.count("model") > 0) request.model = text("model");
  return request;
}

Request request_from(const Json& line, Request request, const std::string& where) {
  if (!line.is_object()) throw InputError(fmt::format("not a JSON object: {}: one request a line", where));
  const std::map<std::string_view, std::string*> texts{{"machine", &request.machine},
                                                       {"phase", &request.phase},
                                                       {"batch", &request.batch},
                                                       {"context", &request.context},
                                                       {"tokens", &request.tokens},
                                                       {"precision", &request.precision},
                                                       {"kv_precision", &request.kv_precision},
                                                       {"law", &request.law},
                                                       {"engine", &request.engine},
                                                       {"recompute", &request.recompute},
                                                       {"kernels", &request.kernels},
                                                       {"tensor_parallel", &request.tensor_parallel}};
  for (const auto& [key, value] : line.items()) {
    if (key == "model" || key == "architecture") {
      request.model = value;
      continue;
    }
    const auto field = texts.find(key);
    if (field == texts.end())
      throw InputError(fmt::format("unknown key '{}': {}: {}", key, where, suggestion(key, request_keys)));
    *field->second = value.is_string() ? value.get<std::string>() : value.dump();
  }
  return request;
}

/// Machines and laws that requests name, each loaded once.
class Loaded {
 public:
  const Machine& machine(const std::string& name, const std::string& kernels) {
    const auto key = std::pair(name, kernels);
    const auto found = machines_.find(key);
    if (found != machines_.end()) return found->second;
    Machine machine = find_machine(name, calibrations_folder());
    keep_kernels(machine, kernels_from(kernels));
    return machines_.emplace(key, std::move(machine)).first->second;
  }
  const LossModel& law(const std::string& name) {
    const auto found = laws_.find(name);
    return found != laws_.end() ? found->second : laws_.emplace(name, load_law(name, laws_folder())).first->second;
  }

 private:
  std::map<std::pair<std::string, std::string>, Machine> machines_;
  std::map<std::string, LossModel> laws_;
};

Json parse_json(const std::string& text, const std::string& where) {
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    throw InputError(fmt::format("not JSON: {}, byte {}: give one JSON object", where, error.byte));
  } catch (const Json::out_of_range&) {
    throw InputError(fmt::format("a number is too large to read: {}: give sizes of a model that can be built", where));
  }
}

Architecture architecture_of(const Json& model, const std::string& where) {
  if (model.is_null())
    throw InputError(fmt::format("no model: {}: give --model NAME, a path, or - for standard input", where));
  if (!model.is_string()) return architecture_from_json(model, where);
  const auto name = model.get<std::string>();
  if (name != "-") return load_architecture(name, models_folder());
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  return architecture_from_json(parse_json(text, "standard input"), "standard input");
}

Engine engine_from(const std::string& text) {
  if (text == "graph") return Engine::graph;
  if (text == "eager") return Engine::eager;
  throw InputError(fmt::format("unknown engine '{}': --engine: use one of graph, eager", text));
}

bool recompute_from(const std::string& text) {
  if (text == "none") return false;
  if (text == "layer") return true;
  throw InputError(fmt::format("unknown recomputation '{}': --recompute: use one of none, layer", text));
}

Answer answer(const Request& request, Loaded& loaded, const std::string& where) {
  Answer made;
  made.architecture = architecture_of(request.model, where);
  made.step.phase = phase_from(request.phase);
  made.step.batch = whole_from(request.batch, "batch");
  made.step.context = whole_from(request.context, "context");
  made.step.precision = precision_from(request.precision);
  made.step.kv_precision = request.kv_precision.empty() ? made.step.precision : precision_from(request.kv_precision);
  made.step.engine = engine_from(request.engine);
  made.step.devices = static_cast<int>(whole_from(request.tensor_parallel, "tensor-parallel"));
  made.step.recompute_layer = recompute_from(request.recompute);
  const double training_tokens = number_from(request.tokens, "tokens");
  if (training_tokens != 0 && (training_tokens < 1e6 || training_tokens > 1e18))
    throw InputError(
        fmt::format("{} training tokens: --tokens: give 1e6 to 1e18, or 0 for 20 a parameter", request.tokens));
  const Machine& machine = loaded.machine(request.machine, request.kernels);
  made.machine = machine.name;
  made.estimate = estimate(made.architecture, machine, made.step, loaded.law(request.law), training_tokens);
  return made;
}

int answer_file(const std::string& path, const Request& defaults, std::FILE* out) {
  std::ifstream file;
  if (path != "-") file.open(path);
  std::istream& in = path == "-" ? std::cin : file;
  if (!in || std::filesystem::is_directory(path))
    throw InputError(fmt::format("cannot read the requests: {}: a JSONL file, one request a line", path));
  Loaded loaded;
  int code = 0;
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = fmt::format("{}:{}", path, number);
    try {
      const Request request = request_from(parse_json(line, where), defaults, where);
      write(out, to_json(answer(request, loaded, where)) + "\n");
    } catch (const InputError& error) {
      write(out, Json{{"error", error.what()}, {"line", number}}.dump() + "\n");
      code = 2;
    }
  }
  return code;
}

}  // namespace

int run_estimate(std::span<const std::string> arguments, std::FILE* out) {
  const auto given = parse(estimate_options(), arguments, out);
  if (given.empty()) return 0;
  const Request request = request_from(given);
  if (given.count("batch-file") > 0 && format_from(given) == Format::csv)
    throw InputError("no csv of many requests: --format: answers to --batch-file are JSON lines");
  if (given.count("batch-file") > 0) return answer_file(given["batch-file"].as<std::string>(), request, out);
  Loaded loaded;
  const Format format = format_from(given);
  const Answer made = answer(request, loaded, "command line");
  switch (format) {
    case Format::text:
      write(out, to_text(made));
      break;
    case Format::json:
      write(out, to_json(made) + "\n");
      break;
    case Format::csv:
      write(out, to_csv(made));
      break;
  }
  return 0;
}

}  // namespace archfront
