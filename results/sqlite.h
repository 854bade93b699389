#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace archfront::sqlite {

/// A connection. Not thread-safe: the owner takes a lock. Errors of every call below are thrown as sentences that name
/// the file: InputError for what the user can mend (not a database, damaged, locked, not to be opened or written),
/// std::runtime_error for a full or failing disk.
class Database {
 public:
  enum class Mode : std::uint8_t { read, read_immutable, write };
  Database(const std::filesystem::path& path, Mode mode, std::chrono::milliseconds patience);

  /// Runs statements that give no rows.
  void execute(const char* sql);
  std::int64_t integer(const char* sql);
  std::int64_t last_row_id() const;
  const std::filesystem::path& path() const { return path_; }
  [[noreturn]] void fail() const;

 private:
  friend class Statement;
  friend class Transaction;
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  std::filesystem::path path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

/// A prepared statement. Parameters and columns count from 1 and 0, as SQLite's do. Text and bytes that are bound are
/// not copied: they must live until the statement is reset.
class Statement {
 public:
  Statement(Database& database, const char* sql);

  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, std::uint64_t value);  ///< as the same 64 bits
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, std::span<const std::byte> bytes);

  /// True while there is a row to read.
  bool step();
  /// Steps to the end, then resets.
  void run();

  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string text(int column) const;  ///< "" for NULL
  /// Valid until the next step.
  std::span<const std::byte> bytes(int column) const;

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const;
  };
  Statement& check(int code);
  Database* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
};

/// Begins in the constructor (as a writer, so that it waits for another process here and not half-way) and rolls back
/// in the destructor unless committed.
class Transaction {
 public:
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database* database_;
  bool open_ = true;
};

}  // namespace archfront::sqlite
