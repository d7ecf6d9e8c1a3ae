#include "train/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "base/uniform.h"

namespace graft::train {

namespace {

constexpr std::uint64_t kStream = 3;
constexpr double kCovered = 0.95;

/// Calls visit(index of an example) for each that resample `number` of `size` examples draws.
template <class Visit>
void resample(std::size_t size, std::int64_t number, std::uint64_t seed, const Visit& visit) {
  base::Uniform uniform({seed, 0, static_cast<std::uint64_t>(number), kStream});
  for (std::size_t i = 0; i < size; ++i) visit(static_cast<std::size_t>(uniform.below(static_cast<int>(size))));
}

/// Between the two nearest, as numpy.percentile does; `sorted` is not empty.
double quantile(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Interval interval_of(std::vector<double> figures) {
  std::sort(figures.begin(), figures.end());
  return {quantile(figures, (1 - kCovered) / 2), quantile(figures, (1 + kCovered) / 2)};
}

/// Of one class in one resample.
struct ClassCounts {
  std::int64_t hits = 0;
  std::int64_t guessed_or_true = 0;  ///< both counted: 2 TP + FP + FN
};

double macro_f1(const std::vector<ClassCounts>& counts) {
  double sum = 0;
  std::int64_t classes = 0;
  for (const auto& c : counts) {
    if (c.guessed_or_true == 0) continue;
    sum += 2 * static_cast<double>(c.hits) / static_cast<double>(c.guessed_or_true);
    ++classes;
  }
  return sum / static_cast<double>(classes);
}

}  // namespace

Intervals bootstrap(std::span<const std::int64_t> truth, std::span<const std::int64_t> guess, std::int64_t classes,
                    const Resampling& resampling) {
  std::vector<double> accuracies, f1s;
  for (std::int64_t number = 0; number < resampling.samples; ++number) {
    std::vector<ClassCounts> counts(static_cast<std::size_t>(classes));
    std::int64_t right = 0;
    resample(truth.size(), number, resampling.seed, [&](std::size_t i) {
      auto& of_truth = counts[static_cast<std::size_t>(truth[i])];
      ++of_truth.guessed_or_true;
      ++counts[static_cast<std::size_t>(guess[i])].guessed_or_true;
      if (truth[i] != guess[i]) return;
      ++of_truth.hits;
      ++right;
    });
    accuracies.push_back(static_cast<double>(right) / static_cast<double>(truth.size()));
    f1s.push_back(macro_f1(counts));
  }
  return {interval_of(std::move(accuracies)), interval_of(std::move(f1s))};
}

Interval bootstrap_mean(std::span<const std::int64_t> values, const Resampling& resampling) {
  std::vector<double> means;
  for (std::int64_t number = 0; number < resampling.samples; ++number) {
    std::int64_t sum = 0;
    resample(values.size(), number, resampling.seed, [&](std::size_t i) { sum += values[i]; });
    means.push_back(static_cast<double>(sum) / static_cast<double>(values.size()));
  }
  return interval_of(std::move(means));
}

}  // namespace graft::train
