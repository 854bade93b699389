#pragma once

#include <span>

namespace archfront {

/// Spearman's rank correlation, ties sharing their mean rank; 1 where either side is constant or has fewer than two.
double rank_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace archfront
