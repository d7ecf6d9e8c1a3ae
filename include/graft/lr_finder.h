/// The learning rate range test: which rate to train with.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include <graft/dataset.h>
#include <graft/export.h>
#include <graft/trainer_options.h>

namespace graft {

class Model;

/// How find_learning_rate goes from a rate that is too small to one that is too large.
struct LrFinderOptions {
  double first = 1e-7;  ///< the rate of the first step
  double last = 10;     ///< of the last step; rates in between grow by a constant factor
  std::int64_t steps = 100;  ///< 20 or more
  std::int64_t batch_size = 32;
  int loader_threads = 2;
  /// The test ends where the smoothed loss is above this times its lowest value so far.
  double diverged = 4;
  std::function<void(std::int64_t step, std::int64_t steps)> on_step = {};
};

/// The loss over the learning rate.
struct LrCurve {
  std::vector<double> rates;     ///< of each step
  std::vector<double> losses;    ///< of its batch, before the step
  std::vector<double> smoothed;  ///< exponential mean over the steps, decay 0.98, corrected for its beginning
  /// Where to begin: fastai's `valley`, a place in the longest fall of the smoothed loss.
  double suggestion = 0;
};

/// Trains for some steps with a rising rate (Smith 2017, arXiv:1506.01186) and puts the model back as it was. The
/// options are the run's own but for the rate and the schedule. Throws Error kConfig (options out of range), and what
/// Trainer::fit throws.
GRAFT_EXPORT LrCurve find_learning_rate(Model& model, const TrainerOptions& trainer, const Dataset& train,
                                        const LrFinderOptions& options = {});

/// fastai's `valley` of a curve: the index of the rate it suggests. The first tenth and the last five are left out
/// where there are enough. Throws Error kConfig for an empty curve.
GRAFT_EXPORT std::size_t valley(const std::vector<double>& losses);

}  // namespace graft
