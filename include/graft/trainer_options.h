/// How a Trainer trains, and for how long.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <graft/device.h>
#include <graft/error.h>
#include <graft/history.h>
#include <graft/optimizer.h>
#include <graft/schedule.h>

namespace graft {

/// What the frozen part of a network yields for a picture is computed once and kept, so that later epochs cost the rest
/// alone and read no picture. On wherever that is exact: the data is not augmented and not mixed, and says what it is
/// made of (Dataset::content_id). Each value is kept under the picture's content, the preprocessing, the frozen weights
/// and operations, the precision and the versions: what has changed is computed anew.
struct FeatureCacheOptions {
  bool enabled = true;
  /// Where to keep it, for other runs too; empty: in memory, for one fit.
  std::filesystem::path directory = {};
  /// In memory, or of all caches in the directory: what was unused for longest goes, then nothing more is kept.
  std::int64_t max_bytes = std::int64_t{1} << 30;
  /// Above 0: augmented data repeats its changes after this many epochs, so that it can be kept as well.
  std::int64_t augmented_variants = 0;
};

/// How a Trainer trains.
struct TrainerOptions {
  OptimizerSpec optimizer = Adam{};
  Numerics numerics = Numerics::kTorch;
  Precision precision = Precision::kFloat32;
  Schedule schedule = {};      ///< of the learning rate
  double label_smoothing = 0;  ///< this much of each target is spread over all classes (torch's and Keras' definition)
  /// Blends of two examples (arXiv:1710.09412, arXiv:1905.04899), the share from Beta(alpha, alpha); 0: off. With both
  /// on, each batch gets one of them. The training accuracy then counts the larger share's class.
  double mixup_alpha = 0;
  double cutmix_alpha = 0;
  std::uint64_t seed = 0;  ///< of shuffling, augmentation, mixing and dropout
  FeatureCacheOptions feature_cache = {};
  WarningCallback on_warning = {};
};

/// How long a fit runs, and on which batches.
struct FitOptions {
  std::int64_t epochs = 1;
  /// Batches per epoch; 0: once through the data. As in Keras the data continues across epochs; an epoch that runs out
  /// of it ends early, with a warning, and the next one starts the data over in a new order.
  std::int64_t steps_per_epoch = 0;
  std::int64_t batch_size = 32;
  bool shuffle = true;
  int loader_threads = 2;
  std::function<void(const StepInfo&)> on_step = {};
  std::function<void(const EpochInfo&)> on_epoch = {};
};

}  // namespace graft
