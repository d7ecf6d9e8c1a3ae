/// How much figures would differ with other examples: the bootstrap, percentile method (Efron 1979). A resample draws
/// as many examples as there are, with replacement.
#pragma once

#include <cstdint>
#include <span>

#include <graft/evaluation.h>

namespace graft::train {

/// How many resamples, and which.
struct Resampling {
  std::int64_t samples = 1000;
  std::uint64_t seed = 0;
};

/// Of classification.
struct Intervals {
  Interval accuracy;
  Interval macro_f1;  ///< over the classes that occur or are predicted in the resample
};

/// `truth` and `guess` are class indices of the same examples, at least one.
Intervals bootstrap(std::span<const std::int64_t> truth, std::span<const std::int64_t> guess, std::int64_t classes,
                    const Resampling& resampling);

/// Of the mean of `values`, at least one: of differences of pairs, the paired bootstrap.
Interval bootstrap_mean(std::span<const std::int64_t> values, const Resampling& resampling);

}  // namespace graft::train
