#include "costmodels/errors.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace archfront {

namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

}  // namespace

std::string_view nearest(std::string_view word, std::span<const std::string_view> choices) {
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 2) + 1;
  for (const std::string_view choice : choices) {
    const std::size_t distance = edit_distance(word, choice);
    if (distance < best_distance) {
      best_distance = distance;
      best = choice;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, std::span<const std::string_view> choices) {
  if (const std::string_view near = nearest(word, choices); !near.empty())
    return "did you mean '" + std::string(near) + "'?";
  std::string list = "use one of ";
  for (std::size_t i = 0; i < choices.size(); ++i) list += (i == 0 ? "" : ", ") + std::string(choices[i]);
  return list;
}

}  // namespace archfront
