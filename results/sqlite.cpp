#include "results/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <stdexcept>

#include "costmodels/errors.h"

namespace archfront::sqlite {

namespace {

[[noreturn]] void fail_with(int code, const std::string& detail, const std::filesystem::path& path) {
  const std::string where = path.string();
  switch (code & 0xff) {
    case SQLITE_NOTADB:
      throw InputError(fmt::format("not a database: {}: give one that archfront made, or a new path", where));
    case SQLITE_CORRUPT:
      throw InputError(
          fmt::format("the database is damaged ({}): {}: restore a copy, or save what is left with "
                      "`sqlite3 {} .recover`",
                      detail, where, where));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw InputError(fmt::format(
          "the database is locked: {}: wait for the other process that writes to it, or give another path", where));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw InputError(fmt::format(
          "the database cannot be written: {}: make the file and its folder writable, or give another path", where));
    case SQLITE_CANTOPEN:
      throw InputError(
          fmt::format("the database cannot be opened: {}: give a file in a folder that exists and can be read", where));
    case SQLITE_FULL:
      throw std::runtime_error(
          fmt::format("the disk is full: {}: what was stored before is safe; free some space and resume", where));
    case SQLITE_IOERR:
      throw std::runtime_error(fmt::format(
          "the disk failed ({}): {}: what was stored before is safe; free some space or mend the disk and resume",
          detail, where));
    default:
      throw std::runtime_error(fmt::format("the database refused ({}): {}", detail, where));
  }
}

int open_flags(Database::Mode mode) {
  const int common = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
  return mode == Database::Mode::write ? common | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                       : common | SQLITE_OPEN_READONLY;
}

/// A path as a file: URI, which is how SQLite takes `immutable`.
std::string uri(const std::filesystem::path& path, Database::Mode mode) {
  std::string text = "file:";
  for (const char c : path.string()) {
    if (c == '%' || c == '?' || c == '#')
      text += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    else
      text += c;
  }
  return mode == Database::Mode::read_immutable ? text + "?immutable=1" : text;
}

}  // namespace

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

Database::Database(const std::filesystem::path& path, Mode mode, std::chrono::milliseconds patience) : path_(path) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(uri(path, mode).c_str(), &handle, open_flags(mode), nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) fail_with(code, sqlite3_errstr(code), path_);
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, static_cast<int>(patience.count()));
}

void Database::fail() const {
  fail_with(sqlite3_extended_errcode(handle_.get()), sqlite3_errmsg(handle_.get()), path_);
}

void Database::execute(const char* sql) {
  if (sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

std::int64_t Database::integer(const char* sql) {
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(handle_.get()); }

void Statement::Finalize::operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }

Statement::Statement(Database& database, const char* sql) : database_(&database) {
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(database.handle_.get(), sql, -1, 0, &handle, nullptr);
  handle_.reset(handle);
  check(code);
}

Statement& Statement::check(int code) {
  if (code != SQLITE_OK) database_->fail();
  return *this;
}

Statement& Statement::bind(int parameter, std::int64_t value) {
  return check(sqlite3_bind_int64(handle_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, std::uint64_t value) {
  return bind(parameter, static_cast<std::int64_t>(value));
}

Statement& Statement::bind(int parameter, double value) {
  return check(sqlite3_bind_double(handle_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL.
  const char* data = text.empty() ? "" : text.data();
  return check(sqlite3_bind_text64(handle_.get(), parameter, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

Statement& Statement::bind(int parameter, std::span<const std::byte> bytes) {
  const void* data = bytes.empty() ? "" : static_cast<const void*>(bytes.data());
  return check(sqlite3_bind_blob64(handle_.get(), parameter, data, bytes.size(), SQLITE_STATIC));
}

bool Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  const int extended = sqlite3_extended_errcode(database_->handle_.get());
  const std::string detail = sqlite3_errmsg(database_->handle_.get());
  sqlite3_reset(handle_.get());
  fail_with(extended, detail, database_->path_);
}

void Statement::run() {
  while (step()) {
  }
  sqlite3_reset(handle_.get());
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(handle_.get(), column); }

double Statement::real(int column) const { return sqlite3_column_double(handle_.get(), column); }

std::string Statement::text(int column) const {
  const unsigned char* data = sqlite3_column_text(handle_.get(), column);
  if (data == nullptr) return {};
  return {reinterpret_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

std::span<const std::byte> Statement::bytes(int column) const {
  const void* data = sqlite3_column_blob(handle_.get(), column);
  return {static_cast<const std::byte*>(data), static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

Transaction::Transaction(Database& database) : database_(&database) { database.execute("BEGIN IMMEDIATE"); }

Transaction::~Transaction() {
  // After a full disk SQLite may have rolled back by itself; a second rollback is then an error without consequence.
  if (open_) sqlite3_exec(database_->handle_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void Transaction::commit() {
  database_->execute("COMMIT");
  open_ = false;
}

}  // namespace archfront::sqlite
