/// What training reports while it runs and when it is done.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <graft/loader.h>

namespace graft {

/// How far a run has come, after every step.
struct StepInfo {
  std::int64_t epoch = 0;  ///< 0-based
  std::int64_t step = 0;   ///< 1-based, within the epoch
  std::int64_t steps = 0;  ///< in this epoch, with those that may be left out: batches of one, for batch norm
  double loss = 0;         ///< mean over the epoch so far
  double accuracy = 0;     ///< mean over the epoch so far, 0..1
  double images_per_second = 0;
  bool validating = false;
  std::int64_t examples = 0;  ///< trained on in this epoch so far
};

/// A learning rate, and what it is for.
struct GroupRate {
  std::string group;  ///< ParameterGroup::layers, "head", "stage 4" (counted from 1), or "all"
  double rate = 0;
};

/// What one epoch came to.
struct EpochInfo {
  double loss = 0;      ///< mean over the training examples, while they were trained on
  double accuracy = 0;  ///< 0..1, mean over the tasks that classify; 0 without one
  std::optional<double> val_loss = {};
  std::optional<double> val_accuracy = {};
  std::optional<double> val_top5_accuracy = {};
  double learning_rate = 0;                    ///< of the epoch's last step
  std::vector<GroupRate> learning_rates = {};  ///< the same for each group that trains
  std::size_t phase = 0;                       ///< index into FitOptions::phases
  double seconds = 0;                          ///< training and validation
};

/// The result of Trainer::fit.
struct History {
  std::vector<EpochInfo> epochs;
  /// Index of the epoch with the highest val_accuracy (the lower val_loss of equals); with several tasks, or none that
  /// classifies, with the lowest val_loss.
  std::size_t best = 0;
  bool frozen_unchanged = false;     ///< Model::frozen_hash before equals after, in each phase
  bool stopped_early = false;        ///< by EarlyStopping
  bool interrupted = false;          ///< by FitOptions::stop
  std::size_t resumed_at = 0;        ///< epochs that an earlier run had done
  std::int64_t batch_size = 0;       ///< FitOptions::batch_size
  double images_per_second = 0;      ///< trained images over the time spent training
  std::vector<BadImage> bad_images;  ///< left out under OnBadImage::kSkip
};

}  // namespace graft
