#include "data/shuffle.h"

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <utility>

#include <graft/error.h>

#include "base/text.h"
#include "base/uniform.h"

namespace graft::data {

std::vector<std::size_t> shuffled(std::size_t size, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::seed_seq sequence{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32),
                         static_cast<std::uint32_t>(epoch), static_cast<std::uint32_t>(epoch >> 32)};
  std::mt19937_64 engine(sequence);
  for (std::size_t i = size; i > 1; --i) {
    // Rejection keeps every order equally likely (std::uniform_int_distribution differs between libraries).
    const std::uint64_t limit = engine.max() - engine.max() % i;
    std::uint64_t drawn = engine();
    while (drawn >= limit) drawn = engine();
    std::swap(order[i - 1], order[static_cast<std::size_t>(drawn % i)]);
  }
  return order;
}

std::vector<std::size_t> drawn(const std::vector<double>& weights, std::uint64_t seed, std::uint64_t epoch) {
  constexpr std::uint64_t kStream = 3;
  std::vector<double> sums(weights.size());
  std::partial_sum(weights.begin(), weights.end(), sums.begin());
  base::Uniform uniform({seed, epoch, 0, kStream});
  std::vector<std::size_t> indices(weights.size());
  for (auto& index : indices) {
    const auto at = std::upper_bound(sums.begin(), sums.end(), uniform(0, sums.back()));
    index = static_cast<std::size_t>(std::min(at, sums.end() - 1) - sums.begin());
  }
  return indices;
}

std::vector<bool> second_part(const std::vector<std::int64_t>& labels, std::size_t classes, double fraction,
                              std::uint64_t seed) {
  if (!(fraction > 0 && fraction < 1))
    throw Error(ErrorCode::kConfig, "split: expected a fraction between 0 and 1, found " + base::shortest(fraction));
  std::vector<std::vector<std::size_t>> members(classes);
  for (std::size_t i = 0; i < labels.size(); ++i) members[static_cast<std::size_t>(labels[i])].push_back(i);
  std::vector<bool> second(labels.size(), false);
  for (std::size_t label = 0; label < classes; ++label) {
    const auto& own = members[label];
    constexpr double kRounding = 1e-12;  // 0.29 of 100 is 29, in float64 less
    auto count = static_cast<std::size_t>(fraction * static_cast<double>(own.size()) * (1 + kRounding));
    if (count == 0 && own.size() >= 2) count = 1;
    const auto order = shuffled(own.size(), seed, label);
    for (std::size_t i = 0; i < count; ++i) second[own[order[i]]] = true;
  }
  return second;
}

}  // namespace graft::data
