#include "search/changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "costmodels/errors.h"
#include "search/space.h"

namespace archfront {

namespace {

/// Where exact layers stand; the rest are cheap.
struct Stack {
  int ratio = 0;  ///< as Space::hybrid_ratio
  Placement placement = Placement::last;
  std::optional<Mixer> cheap;
  bool operator==(const Stack&) const = default;
};

/// An architecture taken apart into what changes one at a time.
struct Parts {
  Architecture shell;  ///< without blocks
  int n_layers = 0;
  SoftmaxAttention exact;
  FeedForward feed_forward;
  Stack stack;
};

bool is_exact(const Mixer& mixer) {
  const auto* softmax = std::get_if<SoftmaxAttention>(&mixer);
  return softmax != nullptr && softmax->window == 0;
}

bool exact_at(int layer, int n_layers, int ratio, Placement placement) {
  if (ratio <= 0) return ratio == 0;
  const int count = n_layers / (ratio + 1);
  if (placement == Placement::middle) {
    const int first = (n_layers - count) / 2;
    return layer >= first && layer < first + count;
  }
  const int offset = placement == Placement::last ? ratio : 0;
  return layer % (ratio + 1) == offset && layer / (ratio + 1) < count;
}

bool stands_as(const std::vector<Layer>& all, int ratio, Placement placement) {
  for (std::size_t i = 0; i < all.size(); ++i)
    if (is_exact(all[i].mixer) != exact_at(static_cast<int>(i), static_cast<int>(all.size()), ratio, placement))
      return false;
  return true;
}

bool find_pattern(const std::vector<Layer>& all, Stack& stack) {
  const int n_layers = static_cast<int>(all.size());
  for (int ratio = all_cheap; ratio < n_layers; ++ratio)
    for (const Placement placement : {Placement::last, Placement::first, Placement::middle})
      if (stands_as(all, ratio, placement)) {
        stack.ratio = ratio;
        stack.placement = placement;
        return true;
      }
  return false;
}

std::optional<Parts> take_apart(const Architecture& architecture) {
  const std::vector<Layer> all = layers(architecture);
  Parts parts;
  parts.shell = architecture;
  parts.shell.blocks.clear();
  parts.shell.name.clear();
  parts.shell.family.clear();
  parts.n_layers = static_cast<int>(all.size());
  if (all.empty() || !find_pattern(all, parts.stack)) return std::nullopt;
  parts.feed_forward = all[0].feed_forward;
  bool has_exact = false;
  for (const Layer& layer : all) {
    if (layer.feed_forward != parts.feed_forward) return std::nullopt;
    if (is_exact(layer.mixer)) {
      const auto& softmax = std::get<SoftmaxAttention>(layer.mixer);
      if (has_exact && softmax != parts.exact) return std::nullopt;
      parts.exact = softmax;
      has_exact = true;
    } else {
      if (parts.stack.cheap && layer.mixer != *parts.stack.cheap) return std::nullopt;
      parts.stack.cheap = layer.mixer;
    }
  }
  if (!has_exact) parts.exact.n_heads = 0;  // nothing to compare
  return parts;
}

/// Nothing if a stage cannot be built: heads without whole groups, or a period deeper than the stack.
std::optional<Architecture> put_together(const Parts& parts) {
  if (parts.exact.n_heads > 0 && parts.exact.n_heads % parts.exact.n_kv_heads != 0) return std::nullopt;
  if (parts.stack.ratio > 0 && parts.n_layers <= parts.stack.ratio) return std::nullopt;
  Architecture architecture = parts.shell;
  architecture.family = "llama";
  std::vector<Layer> all;
  for (int i = 0; i < parts.n_layers; ++i) {
    const bool exact = exact_at(i, parts.n_layers, parts.stack.ratio, parts.stack.placement);
    if (exact && parts.exact.n_heads == 0) return std::nullopt;
    all.push_back({exact ? Mixer(parts.exact) : *parts.stack.cheap, parts.feed_forward});
  }
  architecture.blocks = blocks_from(all);
  try {
    validate(architecture);
  } catch (const InputError&) {
    return std::nullopt;
  }
  return architecture;
}

/// One change of the parts, and how people would say it.
struct Edit {
  std::string text;
  std::function<void(Parts&)> apply;
};

template <typename T>
void compare(std::vector<Edit>& edits, std::string_view name, const Parts& from, const Parts& to,
             const std::function<T&(Parts&)>& field) {
  Parts a = from;
  Parts b = to;
  const T after = field(b);
  if (field(a) == after) return;
  edits.push_back(
      {fmt::format("{} {} -> {}", name, field(a), after), [field, after](Parts& parts) { field(parts) = after; }});
}

std::string stack_text(const Parts& parts) {
  const Stack& stack = parts.stack;
  if (stack.ratio == 0) return "softmax in every layer";
  std::string cheap(kind_name(*stack.cheap));
  if (const auto* windowed = std::get_if<SoftmaxAttention>(&*stack.cheap))
    cheap = fmt::format("window of {}", windowed->window);
  if (stack.ratio == all_cheap) return cheap + " in every layer";
  return fmt::format("{} {}:1, softmax {}", cheap, stack.ratio, to_string(stack.placement));
}

std::vector<Edit> edits_between(const Parts& from, const Parts& to) {
  std::vector<Edit> edits;
  compare<int>(edits, "n_layers", from, to, [](Parts& p) -> int& { return p.n_layers; });
  compare<int>(edits, "d_model", from, to, [](Parts& p) -> int& { return p.shell.d_model; });
  compare<int>(edits, "vocab_size", from, to, [](Parts& p) -> int& { return p.shell.vocab_size; });
  compare<bool>(edits, "tied_embeddings", from, to, [](Parts& p) -> bool& { return p.shell.tied_embeddings; });
  if (to.exact.n_heads > 0 && from.exact.n_heads > 0) {
    compare<int>(edits, "head_dim", from, to, [](Parts& p) -> int& { return p.exact.head_dim; });
    compare<int>(edits, "n_heads", from, to, [](Parts& p) -> int& { return p.exact.n_heads; });
    compare<int>(edits, "n_kv_heads", from, to, [](Parts& p) -> int& { return p.exact.n_kv_heads; });
    compare<double>(edits, "sparsity", from, to, [](Parts& p) -> double& { return p.exact.sparsity; });
  }
  if (from.feed_forward.kind == to.feed_forward.kind)
    compare<int>(edits, "d_ff", from, to, [](Parts& p) -> int& { return p.feed_forward.d_ff; });
  Parts same_sizes = from;  // what differs beside the sizes above
  same_sizes.feed_forward.d_ff = to.feed_forward.d_ff;
  if (same_sizes.feed_forward != to.feed_forward)
    edits.push_back(
        {fmt::format("feed-forward {} -> {}", to_string(from.feed_forward.kind), to_string(to.feed_forward.kind)),
         [half = to.feed_forward](Parts& parts) { parts.feed_forward = half; }});
  if (from.stack != to.stack)
    edits.push_back({fmt::format("{} -> {}", stack_text(from), stack_text(to)), [&to](Parts& parts) {
                       parts.stack = to.stack;
                       if (parts.exact.n_heads == 0) parts.exact = to.exact;
                     }});
  SoftmaxAttention details = to.exact;
  details.n_heads = from.exact.n_heads;
  details.n_kv_heads = from.exact.n_kv_heads;
  details.head_dim = from.exact.head_dim;
  details.sparsity = from.exact.sparsity;
  if (to.exact.n_heads > 0 && from.exact.n_heads > 0 && details != from.exact)
    edits.push_back({"biases, norms and gates of attention", [&to](Parts& parts) {
                       SoftmaxAttention next = to.exact;
                       next.n_heads = parts.exact.n_heads;
                       next.n_kv_heads = parts.exact.n_kv_heads;
                       next.head_dim = parts.exact.head_dim;
                       next.sparsity = parts.exact.sparsity;
                       parts.exact = next;
                     }});
  Architecture shell = to.shell;
  shell.d_model = from.shell.d_model;
  shell.vocab_size = from.shell.vocab_size;
  shell.tied_embeddings = from.shell.tied_embeddings;
  if (shell != from.shell)
    edits.push_back({"norms, positions and head bias", [&to](Parts& parts) {
                       Architecture next = to.shell;
                       next.d_model = parts.shell.d_model;
                       next.vocab_size = parts.shell.vocab_size;
                       next.tied_embeddings = parts.shell.tied_embeddings;
                       parts.shell = next;
                     }});
  return edits;
}

double gain(const Objective& objective, const Assessment& before, const Assessment& after) {
  const bool up = objective.direction == Direction::maximise;
  const double larger = objective.value(up ? after : before);
  const double smaller = objective.value(up ? before : after);
  return larger == smaller ? 1.0 : larger / smaller;
}

const Objective& leading(const std::vector<const Objective*>& objectives) {
  const auto throughput = std::ranges::find_if(
      objectives, [](const Objective* objective) { return objective->name.ends_with("tokens_per_second"); });
  return throughput != objectives.end() ? **throughput : *objectives.front();
}

/// An edit or several that can be made now and where it leads.
struct Option {
  std::vector<std::size_t> taken;
  std::string text;
  Parts parts;
  Assessment assessment;
};

std::optional<Option> try_edits(const Parts& at, const std::vector<Edit>& edits, std::vector<std::size_t> taken,
                                const AssessFunction& assess) {
  Option option{.taken = std::move(taken), .text = {}, .parts = at, .assessment = {}};
  for (const std::size_t i : option.taken) {
    edits[i].apply(option.parts);
    option.text += (option.text.empty() ? "" : ", ") + edits[i].text;
  }
  const std::optional<Architecture> architecture = put_together(option.parts);
  if (!architecture) return std::nullopt;
  option.assessment = assess(*architecture);
  return option;
}

/// The best single step; where none can be built, the best pair; where no pair can, all that is left.
std::optional<Option> best_option(const Parts& at, const Assessment& now, const std::vector<Edit>& edits,
                                  const Objective& objective, const AssessFunction& assess) {
  std::optional<Option> best;
  const auto consider = [&](std::vector<std::size_t> taken) {
    std::optional<Option> option = try_edits(at, edits, std::move(taken), assess);
    if (option && (!best || gain(objective, now, option->assessment) > gain(objective, now, best->assessment)))
      best = std::move(option);
  };
  for (std::size_t i = 0; i < edits.size(); ++i) consider({i});
  if (best) return best;
  for (std::size_t i = 0; i < edits.size(); ++i)
    for (std::size_t j = i + 1; j < edits.size(); ++j) consider({i, j});
  if (best) return best;
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < edits.size(); ++i) all.push_back(i);
  consider(all);
  return best;
}

}  // namespace

std::vector<Change> path_of_changes(const Architecture& from, const Architecture& to,
                                    const std::vector<const Objective*>& objectives, const AssessFunction& assess) {
  std::vector<Change> changes;
  const auto add = [&](const std::string& text, const Assessment& before, const Assessment& after) {
    for (const Objective* objective : objectives)
      changes.push_back({text, std::string(objective->name), gain(*objective, before, after)});
  };
  Assessment now = assess(from);
  std::optional<Parts> at = take_apart(from);
  const std::optional<Parts> goal = take_apart(to);
  std::vector<Edit> edits = at && goal ? edits_between(*at, *goal) : std::vector<Edit>();
  while (at && !edits.empty()) {
    std::optional<Option> option = best_option(*at, now, edits, leading(objectives), assess);
    if (!option) break;
    add(option->text, now, option->assessment);
    now = option->assessment;
    at = option->parts;
    for (auto taken = option->taken.rbegin(); taken != option->taken.rend(); ++taken)
      edits.erase(edits.begin() + static_cast<std::ptrdiff_t>(*taken));
  }
  if (!at || !goal || !edits.empty()) add("everything else", now, assess(to));
  return changes;
}

}  // namespace archfront
