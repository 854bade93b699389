#include "simulator/scaling/expression.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "costmodels/errors.h"

namespace archfront {
namespace {

/// What an expression has for one row: a number, or text where a cell or literal is none.
struct Value {
  double number = 0;
  std::string_view text{};
  bool is_text = false;
};

enum class Kind : std::uint8_t {
  number,
  text,
  column,
  negative,
  not_,
  log,
  exp,
  sqrt,
  abs,
  add,
  subtract,
  multiply,
  divide,
  equal,
  unequal,
  less,
  less_equal,
  greater,
  greater_equal,
  and_,
  or_
};

struct Node {
  Kind kind = Kind::number;
  double number = 0;
  std::string text{};
  std::size_t left = 0;  ///< a node, or the column
  std::size_t right = 0;
};

struct Operator {
  std::string_view spelling;
  Kind kind;
};
/// Longer spellings before their beginnings.
constexpr Operator comparisons[] = {{"==", Kind::equal},         {"!=", Kind::unequal}, {"<=", Kind::less_equal},
                                    {">=", Kind::greater_equal}, {"<", Kind::less},     {">", Kind::greater}};
constexpr Operator functions[] = {{"log", Kind::log}, {"exp", Kind::exp}, {"sqrt", Kind::sqrt}, {"abs", Kind::abs}};

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.'; }

/// Deeper than anyone writes by hand, and shallow enough for any stack.
constexpr int deepest = 200;

/// Recursive descent, one function a level of precedence. Nodes are appended, children before parents.
class Parser {
 public:
  Parser(const RunTable& table, std::string_view text, const std::string& what)
      : table_(table), text_(text), what_(what) {}

  std::vector<Node> parse() {
    any();
    skip_blanks();
    if (at_ < text_.size()) refuse("use and, or, a comparison or arithmetic between values");
    return std::move(nodes_);
  }

 private:
  std::size_t any() {
    if (++depth_ > deepest) refuse("nest less deeply");
    std::size_t left = all();
    while (take_word("or")) left = add({.kind = Kind::or_, .left = left, .right = all()});
    --depth_;
    return left;
  }
  std::size_t all() {
    std::size_t left = negated();
    while (take_word("and")) left = add({.kind = Kind::and_, .left = left, .right = negated()});
    return left;
  }
  std::size_t negated() {
    bool negate = false;
    while (take_word("not")) negate = !negate;
    const std::size_t inner = compared();
    return negate ? add({.kind = Kind::not_, .left = inner}) : inner;
  }
  std::size_t compared() {
    const std::size_t left = sum();
    for (const Operator& op : comparisons)
      if (take(op.spelling)) return add({.kind = op.kind, .left = left, .right = sum()});
    if (peek() == '=') refuse("write == to compare");
    return left;
  }
  std::size_t sum() {
    std::size_t left = product();
    while (true) {
      if (take("+"))
        left = add({.kind = Kind::add, .left = left, .right = product()});
      else if (take("-"))
        left = add({.kind = Kind::subtract, .left = left, .right = product()});
      else
        return left;
    }
  }
  std::size_t product() {
    std::size_t left = signed_value();
    while (true) {
      if (take("*"))
        left = add({.kind = Kind::multiply, .left = left, .right = signed_value()});
      else if (take("/"))
        left = add({.kind = Kind::divide, .left = left, .right = signed_value()});
      else
        return left;
    }
  }
  std::size_t signed_value() {
    bool negate = false;
    while (take("-")) negate = !negate;
    const std::size_t inner = value();
    return negate ? add({.kind = Kind::negative, .left = inner}) : inner;
  }

  std::size_t value() {
    const char next = peek();
    if (take("(")) {
      const std::size_t inner = any();
      if (!take(")")) refuse("close the parenthesis");
      return inner;
    }
    if (next == '\'' || next == '"') return add({.kind = Kind::text, .text = std::string(delimited(next))});
    if (next == '`') return column(delimited('`'));
    if (std::isdigit(static_cast<unsigned char>(next)) != 0 || next == '.') return number();
    const std::string_view name = word();
    if (name.empty()) refuse("a number, a column, 'text' or a parenthesis belongs there");
    for (const Operator& function : functions)
      if (name == function.spelling && take("(")) {
        const std::size_t inner = any();
        if (!take(")")) refuse("close the parenthesis");
        return add({.kind = function.kind, .left = inner});
      }
    return column(name);
  }

  std::size_t number() {
    double parsed = 0;
    const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), parsed);
    const auto length = static_cast<std::size_t>(end - (text_.data() + at_));
    if (error != std::errc{} || (at_ + length < text_.size() && is_name(text_[at_ + length])))
      refuse("write numbers as 1e9 or 0.5");
    at_ += length;
    return add({.kind = Kind::number, .number = parsed});
  }

  std::size_t column(std::string_view name) {
    if (!find_column(table_, name)) {
      const std::vector<std::string_view> names(table_.columns.begin(), table_.columns.end());
      const std::string_view near = nearest(name, names);
      throw InputError(fmt::format("no column '{}': {} '{}': {}", name, what_, text_,
                                   near.empty() ? fmt::format("the columns are {}", fmt::join(names, ", "))
                                                : fmt::format("did you mean '{}'?", near)));
    }
    return add({.kind = Kind::column, .left = *find_column(table_, name)});
  }

  std::string_view delimited(char quote) {
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) refuse("close the quote");
    const std::string_view inner = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return inner;
  }

  std::size_t add(Node node) {
    nodes_.push_back(std::move(node));
    return nodes_.size() - 1;
  }

  void skip_blanks() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  char peek() {
    skip_blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(std::string_view spelling) {
    skip_blanks();
    if (!text_.substr(at_).starts_with(spelling)) return false;
    at_ += spelling.size();
    return true;
  }
  std::string_view word() {
    skip_blanks();
    std::size_t end = at_;
    while (end < text_.size() && is_name(text_[end])) ++end;
    const std::string_view found = text_.substr(at_, end - at_);
    at_ = end;
    return found;
  }
  bool take_word(std::string_view wanted) {
    const std::size_t before = at_;
    if (word() == wanted) return true;
    at_ = before;
    return false;
  }

  [[noreturn]] void refuse(const std::string& right) const {
    const std::string found = at_ < text_.size() ? fmt::format("'{}'", text_[at_]) : std::string("the end");
    throw InputError(fmt::format("unexpected {}: {} '{}', character {}: {}", found, what_, text_, at_ + 1, right));
  }

  const RunTable& table_;
  std::string_view text_;
  const std::string& what_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::vector<Node> nodes_;
};

Value truth(bool holds) { return {.number = holds ? 1.0 : 0.0}; }

/// Text counts as no number.
double number_of(const Value& value) { return value.is_text ? std::numeric_limits<double>::quiet_NaN() : value.number; }

bool is_true(const Value& value) { return !value.is_text && value.number != 0 && !std::isnan(value.number); }

template <class T>
bool ordered(Kind kind, const T& a, const T& b) {
  switch (kind) {
    case Kind::equal:
      return a == b;
    case Kind::unequal:
      return a != b;
    case Kind::less:
      return a < b;
    case Kind::less_equal:
      return a <= b;
    case Kind::greater:
      return a > b;
    default:
      return a >= b;
  }
}

double unary(Kind kind, double x) {
  switch (kind) {
    case Kind::negative:
      return -x;
    case Kind::log:
      return std::log(x);
    case Kind::exp:
      return std::exp(x);
    case Kind::sqrt:
      return std::sqrt(x);
    default:
      return std::abs(x);
  }
}

double binary(Kind kind, double a, double b) {
  switch (kind) {
    case Kind::add:
      return a + b;
    case Kind::subtract:
      return a - b;
    case Kind::multiply:
      return a * b;
    default:
      return a / b;
  }
}

Value cell_value(const RunTable& table, std::size_t row, std::size_t column) {
  const std::string_view cell = table.cell(row, column);
  const std::optional<double> number = number_in(cell);
  return number ? Value{.number = *number} : Value{.text = cell, .is_text = true};
}

/// The value of every node for one row, in order: children come first.
Value value_in(const std::vector<Node>& nodes, const RunTable& table, std::size_t row, std::vector<Value>& values) {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const Node& node = nodes[i];
    if (node.kind == Kind::number)
      values[i] = {.number = node.number};
    else if (node.kind == Kind::text)
      values[i] = {.text = node.text, .is_text = true};
    else if (node.kind == Kind::column)
      values[i] = cell_value(table, row, node.left);
    else if (node.kind == Kind::not_)
      values[i] = truth(!is_true(values[node.left]));
    else if (node.kind == Kind::and_)
      values[i] = truth(is_true(values[node.left]) && is_true(values[node.right]));
    else if (node.kind == Kind::or_)
      values[i] = truth(is_true(values[node.left]) || is_true(values[node.right]));
    else if (node.kind >= Kind::equal && values[node.left].is_text && values[node.right].is_text)
      values[i] = truth(ordered(node.kind, values[node.left].text, values[node.right].text));
    else if (node.kind >= Kind::equal)
      values[i] = truth(ordered(node.kind, number_of(values[node.left]), number_of(values[node.right])));
    else if (node.kind >= Kind::add)
      values[i] = {.number = binary(node.kind, number_of(values[node.left]), number_of(values[node.right]))};
    else
      values[i] = {.number = unary(node.kind, number_of(values[node.left]))};
  }
  return values.back();
}

}  // namespace

std::vector<char> rows_where(const RunTable& table, const std::string& expression, const std::string& what) {
  const std::vector<Node> nodes = Parser(table, expression, what).parse();
  std::vector<Value> values(nodes.size());
  std::vector<char> keep(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) keep[row] = is_true(value_in(nodes, table, row, values)) ? 1 : 0;
  return keep;
}

std::vector<double> values_of(const RunTable& table, const std::string& expression, const std::string& what) {
  const std::vector<Node> nodes = Parser(table, expression, what).parse();
  std::vector<Value> values(nodes.size());
  std::vector<double> computed(table.size());
  for (std::size_t row = 0; row < table.size(); ++row) computed[row] = number_of(value_in(nodes, table, row, values));
  return computed;
}

}  // namespace archfront
