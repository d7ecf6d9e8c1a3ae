/// Fine-tuning, evaluation and prediction over data sets.
///
/// One Trainer per Model, one thread at a time. Deterministic: the same seed, data and options on the same device and
/// thread count give the same losses. No global state is touched.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/dataset.h>
#include <graft/evaluation.h>
#include <graft/export.h>
#include <graft/model.h>
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

/// How far a run has come, after every step.
struct StepInfo {
  std::int64_t epoch = 0;  ///< 0-based
  std::int64_t step = 0;   ///< 1-based, within the epoch
  std::int64_t steps = 0;  ///< in this epoch
  double loss = 0;         ///< mean over the epoch so far
  double accuracy = 0;     ///< mean over the epoch so far, 0..1
  double images_per_second = 0;
  bool validating = false;
};

/// What one epoch came to.
struct EpochInfo {
  double loss = 0;      ///< mean over the training examples, while they were trained on
  double accuracy = 0;  ///< 0..1, mean over the tasks that classify; 0 without one
  std::optional<double> val_loss;
  std::optional<double> val_accuracy;
  std::optional<double> val_top5_accuracy;
  double learning_rate = 0;  ///< of the epoch's last step
  double seconds = 0;        ///< training and validation
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

/// The result of Trainer::fit.
struct History {
  std::vector<EpochInfo> epochs;
  /// Index of the epoch with the highest val_accuracy (the lower val_loss of equals); with several tasks, or none that
  /// classifies, with the lowest val_loss.
  std::size_t best = 0;
  bool frozen_unchanged = false;     ///< Model::frozen_hash before equals after
  double images_per_second = 0;      ///< trained images over the time spent training
  std::vector<BadImage> bad_images;  ///< left out under OnBadImage::kSkip
};

/// Trains one Model and measures it.
class GRAFT_EXPORT Trainer {
 public:
  /// The model must outlive the trainer. Throws Error kConfig for options out of range.
  explicit Trainer(Model& model, const TrainerOptions& options = {});
  ~Trainer();
  Trainer(Trainer&&) noexcept;
  Trainer& operator=(Trainer&&) noexcept;

  /// Trains what is not frozen, by cross-entropy or what Model::tasks() asks for, and leaves the model in evaluation
  /// mode with the last epoch's weights, its labels set to the data's classes. A batch of one example is left out where
  /// batch norm trains. Throws Error kMismatch (classes of train, val and head differ, nothing to train, traced layers
  /// that should train), kNumeric naming the step at which the loss stopped being finite, with the weights as they were
  /// before that step; kOutOfMemory.
  History fit(const Dataset& train, const FitOptions& options = {});
  History fit(const Dataset& train, const Dataset& val, const FitOptions& options = {});  ///< with validation

  /// Puts back the weights of the best or of the last epoch of the latest fit. Throws kConfig before any fit.
  void restore_best();
  void restore_last();  ///< the same for the last

  /// Throws Error kNumeric naming the picture for which the outputs are not finite; kMismatch if the classes differ.
  Evaluation evaluate(const Dataset& data, std::int64_t batch_size = 32, int loader_threads = 2) const;

  /// Probabilities (or a regression's numbers) [size, outputs], float32, CPU, in the data set's order; rows of
  /// unreadable pictures are NaN.
  at::Tensor predict(const Dataset& data, std::int64_t batch_size = 32, int loader_threads = 2) const;

 private:
  struct Impl;
  Impl& impl() const;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft
