#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace archfront {

/// All functions below take points of equal length with every coordinate to be minimised.

/// True if `a` is no worse in every coordinate and better in one.
bool dominates(std::span<const double> a, std::span<const double> b);
/// Indices of the non-dominated points, ascending; of equal points the first.
std::vector<std::size_t> nondominated(std::span<const std::vector<double>> points);
/// Fronts in order (Deb et al., NSGA-II, 2002, section III.A).
std::vector<std::vector<std::size_t>> nondominated_sort(std::span<const std::vector<double>> points);
/// Crowding distance of each point among the given (NSGA-II, section III.B); infinite at the ends.
std::vector<double> crowding_distance(std::span<const std::vector<double>> points);
/// Volume dominated by the points and bounded by `reference` (WFG, While, Bradstreet, Barone, 2012). Points that do not
/// dominate the reference add nothing. Any dimension from 1 up.
double hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference);

}  // namespace archfront
