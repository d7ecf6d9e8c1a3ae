/// A whole run of training: phases, epochs, validation, the best weights, checkpoints.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <graft/trainer.h>

#include "train/checkpoint.h"
#include "train/evaluator.h"
#include "train/fit.h"
#include "train/weights.h"

namespace graft::train {

class Run {
 public:
  /// All must outlive it; `val` may be null. A checkpoint's weights are in the model then; if it throws, those from
  /// before.
  Run(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train, const Dataset* val);

  History go();

  /// After go(): empty if no epoch came to its end.
  Weights take_best() { return std::move(best_); }
  Weights take_last() { return std::move(last_); }
  /// Whether the model may be another than before: steps were made, or an earlier run's are in it.
  bool has_trained() const { return resumed_ || fit_->has_stepped(); }

 private:
  void begin_phase(std::size_t index);
  /// False if the run ends in it.
  bool epoch();
  /// False if it was asked to stop.
  bool validate(EpochInfo& epoch);
  void add_epoch(EpochInfo epoch, double seconds);
  bool is_best() const;
  bool is_time_to_stop() const;
  /// After a step of the optimiser: false to stop there.
  bool after_step();
  void finish();

  bool stop_requested() const;
  /// Throws Error kMismatch unless the processes have the same model, data, options and versions.
  void check_processes() const;
  /// The newest checkpoint that this run may go on from.
  std::optional<RunState> open_checkpoints();
  bool writes() const { return !fit_options_.checkpoint.directory.empty(); }
  void save();
  /// What each of several processes has of its own.
  void save_others(RunState& state);
  void load(const RunState& state);
  /// Where in the state this process has what is its own.
  std::string own(const std::string& name) const;
  const Phase& phase() const { return phases_[phase_]; }

  Model& model_;
  TrainerOptions options_;  ///< with the feature cache beside the checkpoints
  const FitOptions& fit_options_;
  const Dataset* val_;
  std::vector<Phase> phases_;
  std::vector<std::string> trained_names_;  ///< parameters that train in any phase
  std::map<std::string, std::string> settings_;
  std::optional<CheckpointFiles> files_;  ///< in rank 0
  std::optional<Fit> fit_;
  std::optional<Examples> val_examples_;

  History history_;
  std::vector<BadImage> bad_in_training_, bad_in_validation_;
  Weights best_, last_;
  std::string frozen_;  ///< Model::frozen_hash when the phase began
  std::size_t phase_ = 0;
  std::int64_t epoch_in_phase_ = 0;
  std::int64_t steps_since_checkpoint_ = 0;
  bool resumed_ = false;
};

}  // namespace graft::train
