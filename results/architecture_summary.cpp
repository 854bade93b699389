#include "results/architecture_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "simulator/loss.h"

namespace archfront {

namespace {

using nlohmann::json;

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

/// Distinct values in order of appearance, joined by "/".
class Values {
 public:
  void add(const json& object, const char* key, bool even_if_zero = true) {
    const auto found = object.find(key);
    if (found == object.end() || (!even_if_zero && *found == 0)) return;
    const std::string text = text_of(*found);
    if (std::ranges::find(seen_, text) == seen_.end()) seen_.push_back(text);
  }
  std::string text() const { return fmt::format("{}", fmt::join(seen_, "/")); }

 private:
  std::vector<std::string> seen_;
};

struct Collected {
  Values n_heads, n_kv_heads, head_dim, recurrent_heads, window, sparsity, d_ff;
};

/// The native form is read rather than the mixers themselves, so a new mixer needs nothing here. Mixers that share a
/// layer are listed inside it.
void collect_mixer(const json& mixer, Collected& collected) {
  if (const auto inner = mixer.find("mixers"); inner != mixer.end() && inner->is_array())
    for (const json& part : *inner) collect_mixer(part, collected);
  const bool attends = mixer.contains("n_kv_heads") || mixer.contains("head_dim");
  (attends ? collected.n_heads : collected.recurrent_heads).add(mixer, "n_heads");
  collected.n_kv_heads.add(mixer, "n_kv_heads");
  collected.head_dim.add(mixer, "head_dim");
  collected.window.add(mixer, "window", false);
  collected.sparsity.add(mixer, "sparsity", false);
}

std::string mixer_label(const json& mixer) {
  std::string label = mixer.at("kind").get<std::string>();
  if (const auto inner = mixer.find("mixers"); inner != mixer.end() && inner->is_array()) {
    std::vector<std::string> parts;
    for (const json& part : *inner) parts.push_back(mixer_label(part));
    label += fmt::format(" [{}]", fmt::join(parts, ", "));
  }
  if (const auto window = mixer.find("window"); window != mixer.end() && *window != 0)
    label += fmt::format(" window {}", text_of(*window));
  return label;
}

/// "3 gated_delta_net + softmax": runs of equal layers.
std::string run_lengths(const std::vector<std::string>& labels) {
  std::string text;
  for (std::size_t at = 0; at < labels.size();) {
    std::size_t end = at;
    while (end < labels.size() && labels[end] == labels[at]) ++end;
    const std::string count = end - at == 1 ? "" : fmt::format("{} ", end - at);
    text += fmt::format("{}{}{}", at == 0 ? "" : " + ", count, labels[at]);
    at = end;
  }
  return text;
}

std::string mixer_pattern(const json& blocks) {
  std::vector<std::string> texts;
  for (const json& block : blocks) {
    std::vector<std::string> labels;
    for (const json& layer : block.at("layers")) labels.push_back(mixer_label(layer.at("mixer")));
    const int repeat = block.value("repeat", 1);
    const bool one_kind =
        std::ranges::all_of(labels, [&](const std::string& label) { return label == labels.front(); });
    if (one_kind) {
      const std::size_t count = labels.size() * static_cast<std::size_t>(repeat);
      texts.push_back(run_lengths(std::vector<std::string>(count, labels.front())));
    } else if (repeat == 1) {
      texts.push_back(run_lengths(labels));
    } else {
      texts.push_back(fmt::format("{} x ({})", repeat, run_lengths(labels)));
    }
  }
  return fmt::format("{}", fmt::join(texts, " + "));
}

std::string ratio_text(int cheap, int exact) {
  const int common = std::max(1, std::gcd(cheap, exact));
  return fmt::format("{}:{}", cheap / common, exact / common);
}

}  // namespace

ArchitectureSummary summarise(const Architecture& architecture) {
  ArchitectureSummary summary;
  summary.n_layers = n_layers(architecture);
  summary.d_model = architecture.d_model;
  summary.vocab_size = architecture.vocab_size;
  summary.attention_fraction = loss_inputs(architecture, 1).attention_fraction;
  const int exact = static_cast<int>(std::lround(summary.attention_fraction * summary.n_layers));
  summary.hybrid_ratio = ratio_text(summary.n_layers - exact, exact);
  const json native = to_json(architecture);
  Collected collected;
  for (const json& block : native.at("blocks"))
    for (const json& layer : block.at("layers")) {
      collect_mixer(layer.at("mixer"), collected);
      if (const auto half = layer.find("feed_forward"); half != layer.end()) collected.d_ff.add(*half, "d_ff");
    }
  summary.n_heads = collected.n_heads.text();
  summary.n_kv_heads = collected.n_kv_heads.text();
  summary.head_dim = collected.head_dim.text();
  summary.recurrent_heads = collected.recurrent_heads.text();
  summary.d_ff = collected.d_ff.text();
  summary.window = collected.window.text();
  summary.sparsity = collected.sparsity.text();
  summary.mixers = mixer_pattern(native.at("blocks"));
  return summary;
}

std::vector<std::pair<std::string_view, std::string>> fields(const ArchitectureSummary& summary) {
  return {{"n_layers", std::to_string(summary.n_layers)},
          {"d_model", std::to_string(summary.d_model)},
          {"vocab_size", std::to_string(summary.vocab_size)},
          {"hybrid_ratio", summary.hybrid_ratio},
          {"n_heads", summary.n_heads},
          {"n_kv_heads", summary.n_kv_heads},
          {"head_dim", summary.head_dim},
          {"recurrent_heads", summary.recurrent_heads},
          {"d_ff", summary.d_ff},
          {"window", summary.window},
          {"sparsity", summary.sparsity},
          {"mixers", summary.mixers}};
}

}  // namespace archfront
