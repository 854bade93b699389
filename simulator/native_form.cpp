#include "simulator/native_form.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "costmodels/errors.h"
#include "simulator/json_fields.h"
#include "simulator/limits.h"

namespace archfront {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 2> norm_names{"rms", "layer"};

/// Reads the fields a `describe` lists from one JSON object, and then refuses any other key.
class Reader {
 public:
  Reader(const json& object, const std::string& path, const std::string& where)
      : fields_(object, path, where), path_(path), where_(where) {}

  template <class Integer>
  void integer(Presence presence, std::string_view key, Integer& value, std::int64_t default_value, std::int64_t low,
               std::int64_t high) {
    known_.push_back(key);
    if (absent(presence, key)) {
      value = static_cast<Integer>(default_value);
    } else {
      value = static_cast<Integer>(fields_.integer(key, low, high));
    }
  }

  void flag(Presence presence, std::string_view key, bool& value, bool default_value) {
    known_.push_back(key);
    value = absent(presence, key) ? default_value : fields_.flag(key);
  }

  void fraction(Presence presence, std::string_view key, double& value, double default_value) {
    known_.push_back(key);
    value = absent(presence, key) ? default_value : fields_.fraction(key);
  }

  template <class Enum, std::size_t n>
  void choice(Presence presence, std::string_view key, Enum& value, Enum default_value,
              const std::array<std::string_view, n>& names) {
    known_.push_back(key);
    value = absent(presence, key) ? default_value : static_cast<Enum>(fields_.choice(key, names));
  }

  void text(Presence presence, std::string_view key, std::string& value, const std::string& default_value) {
    known_.push_back(key);
    value = absent(presence, key) ? default_value : fields_.text(key);
  }

  /// A list of mixers.
  void mixers(std::string_view key, std::array<PlainMixer, LayerTraits::most>& mixers, int& count);

  /// A key that is read by other means.
  void allow(std::string_view key) { known_.push_back(key); }
  void finish() const { fields_.refuse_other_keys(known_); }

 private:
  [[nodiscard]] bool absent(Presence presence, std::string_view key) const {
    return presence != Presence::required && !fields_.has(key);
  }

  JsonFields fields_;
  std::string path_;
  std::string where_;
  std::vector<std::string_view> known_;
};

/// Writes the fields a `describe` lists.
class Writer {
 public:
  explicit Writer(json& object) : object_(object) {}

  template <class Integer>
  void integer(Presence presence, std::string_view key, Integer value, std::int64_t default_value, std::int64_t /*low*/,
               std::int64_t /*high*/) {
    write(presence, key, std::int64_t{value}, default_value);
  }
  void flag(Presence presence, std::string_view key, bool value, bool default_value) {
    write(presence, key, value, default_value);
  }
  void fraction(Presence presence, std::string_view key, double value, double default_value) {
    write(presence, key, value, default_value);
  }
  template <class Enum, std::size_t n>
  void choice(Presence presence, std::string_view key, Enum value, Enum default_value,
              const std::array<std::string_view, n>& names) {
    write(presence, key, names[static_cast<std::size_t>(value)], names[static_cast<std::size_t>(default_value)]);
  }
  void mixers(std::string_view key, const std::array<PlainMixer, LayerTraits::most>& mixers, int count);
  void text(Presence presence, std::string_view key, const std::string& value, const std::string& default_value) {
    write(presence, key, value, default_value);
  }

 private:
  template <class T>
  void write(Presence presence, std::string_view key, const T& value, const T& default_value) {
    if (presence != Presence::optional || value != default_value) object_[std::string(key)] = value;
  }

  json& object_;
};

/// Fields of the whole model, blocks apart.
template <class Fields, class A>
void describe_model(Fields& fields, A& architecture) {
  const Architecture defaults;
  fields.text(Presence::shown, "name", architecture.name, defaults.name);
  fields.text(Presence::optional, "family", architecture.family, defaults.family);
  fields.integer(Presence::required, "d_model", architecture.d_model, 0, 1, limits::d_model);
  fields.integer(Presence::required, "vocab_size", architecture.vocab_size, 0, 1, limits::vocab_size);
  fields.flag(Presence::shown, "tied_embeddings", architecture.tied_embeddings, defaults.tied_embeddings);
  fields.flag(Presence::optional, "head_bias", architecture.head_bias, defaults.head_bias);
  fields.integer(Presence::optional, "learned_positions", architecture.learned_positions, defaults.learned_positions, 0,
                 limits::vocab_size);
  fields.choice(Presence::optional, "norm", architecture.norm, defaults.norm, norm_names);
  fields.integer(Presence::optional, "norms_per_layer", architecture.norms_per_layer, defaults.norms_per_layer, 2, 4);
}

template <class Kinds, std::size_t i = 0>
Kinds mixer_of_kind(std::size_t kind) {
  if constexpr (i + 1 < std::variant_size_v<Kinds>) {
    if (kind != i) return mixer_of_kind<Kinds, i + 1>(kind);
  }
  return Kinds(std::in_place_index<i>);
}

/// Its fields, not yet checked against each other.
template <class Kinds>
Kinds read_mixer_fields(const json& object, const std::string& path, const std::string& where) {
  Reader reader(object, path, where);
  reader.allow("kind");
  const auto kinds = std::span<const std::string_view>(mixer_kinds).first(std::variant_size_v<Kinds>);
  auto mixer = mixer_of_kind<Kinds>(JsonFields(object, path, where).choice("kind", kinds));
  std::visit(
      [&](auto& held) {
        describe(reader, held);
        reader.finish();
      },
      mixer);
  return mixer;
}

Mixer read_mixer(const json& object, const std::string& path, const std::string& where, int d_model) {
  Mixer mixer = read_mixer_fields<Mixer>(object, path, where);
  std::visit([&](auto& held) { validate(held, d_model, fmt::format("{}, {}", where, path)); }, mixer);
  return mixer;
}

template <class Kinds>
json write_mixer(const Kinds& mixer) {
  json object{{"kind", kind_name(mixer)}};
  Writer writer(object);
  std::visit([&](const auto& held) { describe(writer, held); }, mixer);
  return object;
}

void Reader::mixers(std::string_view key, std::array<PlainMixer, LayerTraits::most>& mixers, int& count) {
  known_.push_back(key);
  const json& list = fields_.list(key);
  if (list.size() != mixers.size())
    throw InputError(
        fmt::format("{} mixers share a layer: {}, {}.{}: name {}", list.size(), where_, path_, key, mixers.size()));
  count = static_cast<int>(list.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    mixers[i] = read_mixer_fields<PlainMixer>(list[i], fmt::format("{}.{}[{}]", path_, key, i), where_);
}

void Writer::mixers(std::string_view key, const std::array<PlainMixer, LayerTraits::most>& mixers, int count) {
  json list = json::array();
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) list.push_back(write_mixer(mixers[i]));
  object_[std::string(key)] = std::move(list);
}

FeedForward read_feed_forward(const json& object, const std::string& path, const std::string& where, int d_model) {
  Reader reader(object, path, where);
  reader.allow("kind");
  FeedForward feed_forward;
  feed_forward.kind =
      static_cast<FeedForward::Kind>(JsonFields(object, path, where).choice("kind", feed_forward_kinds));
  describe(reader, feed_forward);
  reader.finish();
  validate(feed_forward, d_model, fmt::format("{}, {}", where, path));
  return feed_forward;
}

Layer read_layer(const json& object, const std::string& path, const std::string& where, int d_model) {
  const JsonFields fields(object, path, where);
  constexpr std::array<std::string_view, 2> known{"mixer", "feed_forward"};
  fields.refuse_other_keys(known);
  return {.mixer = read_mixer(fields.child("mixer"), path + ".mixer", where, d_model),
          .feed_forward = read_feed_forward(fields.child("feed_forward"), path + ".feed_forward", where, d_model)};
}

Block read_block(const json& object, const std::string& path, const std::string& where, int d_model) {
  const JsonFields fields(object, path, where);
  constexpr std::array<std::string_view, 2> known{"repeat", "layers"};
  fields.refuse_other_keys(known);
  Block block;
  if (fields.has("repeat")) block.repeat = static_cast<int>(fields.integer("repeat", 1, limits::n_layers));
  const json& layers = fields.list("layers");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    block.layers.push_back(read_layer(layers[i], fmt::format("{}.layers[{}]", path, i), where, d_model));
  }
  return block;
}

}  // namespace

Architecture read_native(const json& object, const std::string& where) {
  Architecture architecture;
  Reader reader(object, "", where);
  describe_model(reader, architecture);
  reader.allow("blocks");
  reader.finish();
  const JsonFields fields(object, "", where);
  const json& blocks = fields.list("blocks");
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    architecture.blocks.push_back(read_block(blocks[i], fmt::format("blocks[{}]", i), where, architecture.d_model));
  }
  return architecture;
}

json write_native(const Architecture& architecture) {
  json object = json::object();
  Writer model(object);
  describe_model(model, architecture);
  object["blocks"] = json::array();
  for (const Block& block : architecture.blocks) {
    json layers = json::array();
    for (const Layer& layer : block.layers) {
      json feed_forward{{"kind", to_string(layer.feed_forward.kind)}};
      Writer feed_forward_writer(feed_forward);
      describe(feed_forward_writer, layer.feed_forward);
      layers.push_back({{"mixer", write_mixer(layer.mixer)}, {"feed_forward", std::move(feed_forward)}});
    }
    object["blocks"].push_back({{"repeat", block.repeat}, {"layers", std::move(layers)}});
  }
  return object;
}

}  // namespace archfront
