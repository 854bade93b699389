#include <tbb/blocked_range.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <unordered_set>

#include "search/pareto.h"
#include "search/random.h"
#include "search/run.h"

namespace archfront {

namespace {

/// One point of the space and what became of it.
struct Individual {
  std::uint64_t index = 0;
  double violation = 0;
  std::vector<double> values;  ///< minimised; only if feasible
};

/// How it stands among others: by front, then by room around it. Infeasible ones come after all fronts, the less wrong
/// the better (Deb et al., NSGA-II, section VI).
struct Standing {
  std::size_t front = 0;
  double crowding = 0;
  double violation = 0;
};

bool better(const Standing& a, const Standing& b) {
  if ((a.violation > 0) != (b.violation > 0)) return b.violation > 0;
  if (a.violation != b.violation) return a.violation < b.violation;
  return a.front != b.front ? a.front < b.front : a.crowding > b.crowding;
}

std::vector<Standing> standings(const std::vector<Individual>& individuals) {
  std::vector<Standing> result(individuals.size());
  std::vector<std::size_t> feasible;
  std::vector<std::vector<double>> values;
  for (std::size_t i = 0; i < individuals.size(); ++i) {
    result[i].violation = individuals[i].violation;
    if (individuals[i].violation > 0) continue;
    feasible.push_back(i);
    values.push_back(individuals[i].values);
  }
  const std::vector<std::vector<std::size_t>> fronts = nondominated_sort(values);
  for (std::size_t rank = 0; rank < fronts.size(); ++rank) {
    std::vector<std::vector<double>> members;
    for (const std::size_t member : fronts[rank]) members.push_back(values[member]);
    const std::vector<double> crowding = crowding_distance(members);
    for (std::size_t i = 0; i < members.size(); ++i) {
      Standing& standing = result[feasible[fronts[rank][i]]];
      standing.front = rank;
      standing.crowding = crowding[i];
    }
  }
  return result;
}

/// A method's own part of the random streams, so that generations and tries never share one.
std::uint64_t stream(std::uint64_t generation, std::uint64_t individual) { return generation << 32 | individual; }

class Evolution {
 public:
  explicit Evolution(Run& run)
      : run_(run),
        space_cursor_(run.config().space),
        screens_([this] { return Screen(run_.config(), run_.new_assess()); }),
        population_size_(static_cast<std::size_t>(run.config().population)) {}

  bool run();

 private:
  std::vector<Individual> look_at(const std::vector<std::uint64_t>& indices, bool counted);
  std::uint64_t random_point(CounterRandom& random);
  std::uint64_t child(CounterRandom& random, const Digits& mother, const Digits& father);
  std::vector<std::uint64_t> first_population();
  std::vector<std::uint64_t> offspring(std::uint64_t generation);
  void select(std::vector<Individual> candidates);
  std::vector<std::uint64_t> population_indices() const;
  bool search_around_archive(std::uint64_t round);
  std::vector<std::uint64_t> neighbours(std::uint64_t index);
  const Digits& lengths() const { return space_cursor_.lengths(); }
  std::uint64_t canonical(const Digits& digits) { return index_of(lengths(), space_cursor_.canonical(digits)); }

  Run& run_;
  Cursor space_cursor_;
  tbb::enumerable_thread_specific<Screen> screens_;
  std::size_t population_size_;
  std::vector<Individual> population_;
  std::vector<Standing> standings_;
  std::vector<std::uint64_t> expanded_;  ///< archive points whose neighbours were looked at, ascending
};

std::vector<Individual> Evolution::look_at(const std::vector<std::uint64_t>& indices, bool counted) {
  std::vector<Individual> individuals(indices.size());
  std::vector<std::pair<Reason, bool>> outcomes(indices.size());
  const auto look = [&](const tbb::blocked_range<std::size_t>& range) {
    Screen& screen = screens_.local();
    for (std::size_t i = range.begin(); i < range.end(); ++i) {
      outcomes[i].first = screen.look(indices[i]);
      outcomes[i].second = screen.assessed();
      individuals[i] = {.index = indices[i], .violation = screen.violation(), .values = {}};
      if (outcomes[i].first == 0) individuals[i].values.assign(screen.minimised().begin(), screen.minimised().end());
    }
  };
  tbb::parallel_for(tbb::blocked_range<std::size_t>(0, indices.size(), 16), look);
  if (!counted) return individuals;
  std::vector<Findings> findings(1, Findings(run_.config()));
  for (std::size_t i = 0; i < indices.size(); ++i) {
    findings[0].count(outcomes[i].first, indices[i], 1, outcomes[i].second);
    if (outcomes[i].first != 0) continue;
    findings[0].best.add(indices[i], individuals[i].values);
    if (run_.sample().wants(indices[i])) findings[0].sampled.add(indices[i], individuals[i].values);
    if (run_.config().store == StorePolicy::all) findings[0].feasible.add(indices[i], individuals[i].values);
  }
  run_.merge(findings);
  return individuals;
}

/// The best of some draws by the cheap questions, as a random point of a large space seldom meets a budget.
std::uint64_t Evolution::random_point(CounterRandom& random) {
  constexpr int draws = 32;
  const Budget& budget = run_.config().budget;
  std::uint64_t best = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int draw = 0; draw < draws && least > 0; ++draw) {
    Digits digits{};
    for (std::size_t axis = 0; axis < axis_count; ++axis)
      digits[axis] = static_cast<std::uint32_t>(random.below(lengths()[axis]));
    const std::uint64_t index = canonical(digits);
    double miss = std::numeric_limits<double>::max();
    if (space_cursor_.move_to(index) == Rejection::none) {
      const auto parameters = static_cast<double>(space_cursor_.parameters());
      miss = budget.parameters > 0 ? std::max(0.0, std::abs(parameters / budget.parameters - 1) - budget.tolerance) : 0;
    }
    if (miss >= least) continue;
    least = miss;
    best = index;
  }
  return best;
}

std::vector<std::uint64_t> Evolution::first_population() {
  std::vector<std::uint64_t> indices;
  for (std::uint64_t i = 0; i < population_size_; ++i) {
    CounterRandom random(run_.config().seed, stream(0, i));
    indices.push_back(random_point(random));
  }
  return indices;
}

/// Uniform crossover of the axes, then on average one axis moved: to a neighbouring value or to any.
std::uint64_t Evolution::child(CounterRandom& random, const Digits& mother, const Digits& father) {
  Digits digits = mother;
  if (random.uniform() < 0.9)
    for (std::size_t axis = 0; axis < axis_count; ++axis)
      if (random.below(2) == 1) digits[axis] = father[axis];
  const auto open =
      static_cast<double>(std::ranges::count_if(lengths(), [](std::uint32_t length) { return length > 1; }));
  for (std::size_t axis = 0; axis < axis_count; ++axis) {
    const std::uint32_t length = lengths()[axis];
    if (length == 1 || random.uniform() >= 1 / open) continue;
    if (random.below(2) == 1) {
      digits[axis] = static_cast<std::uint32_t>(random.below(length));
    } else if (random.below(2) == 1) {
      digits[axis] = std::min(digits[axis] + 1, length - 1);
    } else if (digits[axis] > 0) {
      --digits[axis];
    }
  }
  return canonical(digits);
}

std::vector<std::uint64_t> Evolution::offspring(std::uint64_t generation) {
  std::vector<std::uint64_t> taken_list = population_indices();
  std::unordered_set<std::uint64_t> taken(taken_list.begin(), taken_list.end());
  std::vector<std::uint64_t> children;
  for (std::uint64_t i = 0; i < population_size_; ++i) {
    CounterRandom random(run_.config().seed, stream(generation, i));
    const auto parent = [&] {
      const std::size_t a = random.below(population_.size());
      const std::size_t b = random.below(population_.size());
      return digits_of(lengths(), population_[better(standings_[b], standings_[a]) ? b : a].index);
    };
    constexpr int tries = 8;  // for one that nobody is yet
    for (int attempt = 0; attempt < tries; ++attempt) {
      const Digits mother = parent();
      const std::uint64_t index = child(random, mother, parent());
      if (!taken.insert(index).second) continue;
      children.push_back(index);
      break;
    }
  }
  return children;
}

/// The population_size_ best, each index once.
void Evolution::select(std::vector<Individual> candidates) {
  std::ranges::sort(candidates, {}, &Individual::index);
  const auto same = [](const Individual& a, const Individual& b) { return a.index == b.index; };
  candidates.erase(std::unique(candidates.begin(), candidates.end(), same), candidates.end());
  const std::vector<Standing> all = standings(candidates);
  std::vector<std::size_t> order(candidates.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return better(all[a], all[b]); });
  if (order.size() > population_size_) order.resize(population_size_);
  // By index, and crowding among those that stay: what a resumed run can make again from the indices.
  std::ranges::sort(order);
  population_.clear();
  for (const std::size_t i : order) population_.push_back(std::move(candidates[i]));
  standings_ = standings(population_);
}

std::vector<std::uint64_t> Evolution::population_indices() const {
  std::vector<std::uint64_t> indices;
  for (const Individual& individual : population_) indices.push_back(individual.index);
  return indices;
}

std::vector<std::uint64_t> Evolution::neighbours(std::uint64_t index) {
  std::vector<std::uint64_t> near;
  const Digits digits = digits_of(lengths(), index);
  for (std::size_t axis = 0; axis < axis_count; ++axis) {
    Digits moved = digits;
    if (++moved[axis] < lengths()[axis]) near.push_back(canonical(moved));
    if (digits[axis] == 0) continue;
    moved[axis] = digits[axis] - 1;
    near.push_back(canonical(moved));
  }
  return near;
}

/// Looks at the neighbours, one step along one axis, of every archive point not yet expanded. False: there was none.
bool Evolution::search_around_archive(std::uint64_t round) {
  if (round == 0) expanded_.clear();
  std::vector<std::uint64_t> fresh;
  for (const std::uint64_t index : run_.archive().points().indices)
    if (!std::ranges::binary_search(expanded_, index)) fresh.push_back(index);
  if (fresh.empty()) return false;
  std::vector<std::uint64_t> near;
  for (const std::uint64_t index : fresh)
    for (const std::uint64_t neighbour : neighbours(index)) near.push_back(neighbour);
  std::ranges::sort(near);
  near.erase(std::unique(near.begin(), near.end()), near.end());
  look_at(near, true);
  expanded_.insert(expanded_.end(), fresh.begin(), fresh.end());
  std::ranges::sort(expanded_);
  return true;
}

bool Evolution::run() {
  const auto generations = static_cast<std::uint64_t>(run_.config().generations);
  // A frontier moves by few steps once evolution has settled: a bound for spaces where it never does.
  constexpr std::uint64_t rounds = 32;
  std::uint64_t done = 0;
  const auto own_state = [&](Checkpoint& state) {
    state.position = done;
    state.population = done <= generations ? population_indices() : expanded_;
  };
  if (const std::optional<Checkpoint>& before = run_.options().resume; before) {
    done = before->position;
    if (done <= generations) {
      select(look_at(before->population, false));
    } else {
      expanded_ = before->population;
    }
  } else {
    select(look_at(first_population(), true));
  }
  for (; done < generations + rounds; ++done) {
    if (!run_.go_on(done, generations + rounds, own_state)) return false;
    if (done >= generations) {
      if (!search_around_archive(done - generations)) break;
      continue;
    }
    std::vector<Individual> candidates = look_at(offspring(done + 1), true);
    std::ranges::move(population_, std::back_inserter(candidates));
    select(std::move(candidates));
  }
  run_.go_on(generations + rounds, generations + rounds, own_state);
  return true;
}

}  // namespace

bool run_evolutionary(Run& run) { return Evolution(run).run(); }

}  // namespace archfront
