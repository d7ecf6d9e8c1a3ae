/// The same training with several freeze points, heads and learning rates, compared: "which layers to fine-tune?"
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <graft/dataset.h>
#include <graft/export.h>
#include <graft/history.h>
#include <graft/model.h>
#include <graft/trainer_options.h>

namespace graft {

/// One combination and what came of it.
struct SweepRun {
  std::string freeze;
  std::string head;
  std::optional<double> learning_rate;  ///< none: the optimiser's own
  std::int64_t trainable = 0;           ///< parameters
  History history = {};                 ///< without epochs if it diverged
  std::string error = {};               ///< how it diverged: the message of fit's Error kNumeric; else empty

  /// Its best epoch. Throws Error kConfig for a run without one, as one that diverged.
  GRAFT_EXPORT const EpochInfo& best() const;
};

/// What a sweep goes through: every combination of these.
struct SweepOptions {
  std::vector<std::string> freeze_points = {"all"};  ///< for Model::apply_freeze
  std::vector<std::string> heads = {"linear"};       ///< for heads::parse
  std::vector<double> learning_rates = {};           ///< empty: the optimiser's own
  Cut cut = Cut::features();
  BatchNormPolicy batch_norm = BatchNormPolicy::kFollow;
  Initializer initializer = Initializer::kTorch;
  /// Where the runs' checkpoints and the cached features are kept: a sweep that is begun again goes on where it was.
  /// Empty: nothing is kept, and runs share cached features in a temporary folder. Of FitOptions::checkpoint it is
  /// every_steps that counts.
  std::filesystem::path directory = {};
  /// Before each run: its index, how many there are, what it will do.
  std::function<void(std::size_t index, std::size_t count, const SweepRun& run)> on_run = {};
};

/// Trains one model after another, each from `load`. Throws Error kConfig for an empty list, kMismatch for a directory
/// with runs of other settings, and what Trainer::fit throws; but a run whose loss stops being finite is one that
/// diverged, and the next one's turn comes. Where FitOptions::stop asks for it, it ends with the runs that are done.
GRAFT_EXPORT std::vector<SweepRun> sweep(const std::function<Model()>& load, const TrainerOptions& trainer,
                                         const Dataset& train, const Dataset& val, const FitOptions& fit,
                                         const SweepOptions& options);

}  // namespace graft
