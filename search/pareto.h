#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace archfront {

/// All functions below take points of equal length with every coordinate to be minimised and finite.

/// True if `a` is no worse in every coordinate and better in one.
bool dominates(std::span<const double> a, std::span<const double> b);

/// Indices of the non-dominated points, ascending; of equal points the first. By a k-d tree: about n log n on ordinary
/// frontiers, n^2 at worst.
std::vector<std::size_t> nondominated(std::span<const std::vector<double>> points);

/// Fronts in order, each with ascending indices (Deb, Pratap, Agarwal, Meyarivan, "NSGA-II", 2002, section III.A).
/// Equal points share a front. By sequential search over lexicographically sorted points (Zhang, Tian, Cheng, Jin, "An
/// efficient approach to non-dominated sorting", 2015): n^2 at worst.
std::vector<std::vector<std::size_t>> nondominated_sort(std::span<const std::vector<double>> points);

/// Crowding distance of each point among the given (NSGA-II, section III.B): the sum over coordinates of the gap
/// between its two neighbours, in units of the coordinate's range; infinite at the ends, of which ties take the first.
/// A coordinate in which all points are equal adds nothing.
std::vector<double> crowding_distance(std::span<const std::vector<double>> points);

/// Volume dominated by the points and bounded by `reference`: exact, in any dimension from 1 up. Points that do not
/// dominate the reference add nothing. Two dimensions by a sweep and three by a sweep over a staircase, n log n; more
/// by exclusive volumes of limited sets, one dimension fewer each time (While, Bradstreet, Barone, "A fast way of
/// calculating exact hypervolumes", 2012): n^2 log n in four, and in five and more it grows fast, so that thousands of
/// points are out of reach.
double hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference);

/// The same by `samples` points of a low-discrepancy sequence in the box between the least of each coordinate and
/// `reference`: deterministic, with an error of about 1 / samples of the box in theory and under 0.2% of it at 2^17.
double estimate_hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference,
                            std::uint64_t samples);

/// Exact where that takes well under a second (three dimensions and fewer, four with up to 1,000 points, five with up
/// to 60), otherwise estimated from 2^18 samples.
double practical_hypervolume(std::span<const std::vector<double>> points, std::span<const double> reference);

}  // namespace archfront
