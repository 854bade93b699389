#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <utility>

#include "costmodels/errors.h"
#include "results/encoding.h"
#include "results/sqlite.h"
#include "results/store.h"

namespace archfront {

struct Store::State {
  State(sqlite::Database opened, std::filesystem::path file) : database(std::move(opened)), path(std::move(file)) {}

  /// Writes what add_points gathered; the caller holds a transaction.
  void write_points(std::int64_t sweep);
  /// Writes them in a transaction of their own once there are enough for a part.
  void write_full_part(std::int64_t sweep);
  /// Runs a reader of one record's blobs and JSON and gives its errors a place.
  template <class Read>
  auto reading(std::int64_t id, Read read) {
    const auto damaged = [&](const char* what) {
      return InputError(fmt::format("a record cannot be read ({}): {}, number {}: restore a copy of the database", what,
                                    path.string(), id));
    };
    try {
      return read();
    } catch (const nlohmann::json::exception& error) {
      throw damaged(error.what());
    } catch (const std::invalid_argument& error) {
      throw damaged(error.what());
    }
  }

  sqlite::Database database;
  std::filesystem::path path;
  std::map<std::int64_t, PointBuffer> waiting;  ///< by sweep
  std::mutex mutex;
};

}  // namespace archfront
