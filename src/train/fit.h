/// The steps of a run: batches, gradients, the optimiser.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <graft/communicator.h>
#include <graft/loader.h>
#include <graft/trainer.h>

#include "base/seeded_generator.h"
#include "train/cached_network.h"
#include "train/checkpoint.h"
#include "train/gradient_pass.h"
#include "train/gradient_sum.h"
#include "train/loss_scaler.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/parameter_groups.h"
#include "train/schedule.h"
#include "train/weights.h"

namespace graft::train {

/// What an epoch has seen so far.
struct Running {
  double loss_sum = 0;
  std::vector<Hits> hits;  ///< by task
  std::int64_t seen = 0;
  double loss() const { return seen ? loss_sum / static_cast<double>(seen) : 0; }
  /// Mean over the tasks that classify; 0 without one.
  double accuracy() const;
};

class Fit {
 public:
  /// All must outlive it; the model is as the first phase has it, or, with `begun`, as that one's phase has it: the
  /// state that load() will be given. Throws Error kMismatch (nothing to train), kConfig.
  Fit(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train,
      const RunState* begun = nullptr);

  /// Optimiser and schedule anew, for what is trainable now.
  void begin(const Phase& phase);
  /// Null where none is wanted.
  MovingAverage* average() { return average_ ? &*average_ : nullptr; }

  /// Asked after every step of the optimiser; false: leave the epoch there.
  using AfterStep = std::function<bool()>;
  /// Trains epoch `number`, 0-based, or what a loaded state leaves of it, and leaves the model in evaluation mode.
  /// Nothing if `after_step` ended it. Throws Error kMismatch if it had nothing to train on.
  std::optional<Running> epoch(std::int64_t number, const AfterStep& after_step);
  /// The epoch is over: tells the schedule how it went. Until then the state is that of its last step.
  void epoch_ended(double loss) {
    learning_rate_->epoch_ended(loss);
    in_epoch_ = false;
  }

  double images_per_second() const {
    return training_seconds_ > 0 ? static_cast<double>(trained_) / training_seconds_ : 0;
  }
  double learning_rate() const { return optimizer_->learning_rate(); }
  std::vector<GroupRate> learning_rates() const;
  /// Instead of the schedule's, for step n of the phase.
  void set_rates(std::function<double(std::int64_t step)> rates) { rates_ = std::move(rates); }
  /// Whether one of the processes was asked to stop when the latest batch began: the same in all of them.
  bool all_stop() const { return together_.stop; }
  /// Of the epoch that is under way. Throws as epoch() does for a loss that is not finite.
  const Running& running();
  CachedNetwork& network() { return network_; }
  /// What dropout draws.
  base::RandomSequence& random() { return random_; }
  /// Whether the optimiser has begun a step: until then all parameters are as they were.
  bool has_stepped() const { return has_stepped_; }
  std::vector<BadImage> bad_images() const { return loader_.bad_images(); }

  /// Between two steps: everything but the model's own weights. load() after begin(), with the phase that it stands in.
  void save(RunState& state);
  void load(const RunState& state, const Phase& phase);

 private:
  LoaderOptions loader_options(const Dataset& train, const RunState* begun);
  std::int64_t steps() const;
  /// Steps of the optimiser in the next epochs, if every picture can be read.
  EpochSteps foreseen(std::int64_t epochs) const;
  /// Whether batch `batch` of the data's has no more than an example for each process: where batch norm trains, none of
  /// them has one then, however they are shared out.
  bool is_too_small(std::int64_t batch) const;
  void begin_schedule(const Phase& phase);
  /// Whether several processes share out batches by_example, from the first phase to the last.
  bool shares_by_example(const RunState* begun);
  void begin_epoch(std::int64_t number);
  /// Nothing at the end of the data, or of what an epoch may have of it.
  std::optional<Batch> next_batch();
  /// Tells the other processes what this one has of a batch, and learns what all have. False if that is nothing.
  bool agree_on(const Batch& batch, const at::Tensor& targets);
  /// Gradients of a batch, added to those of the `waiting` batches that wait for the optimiser's step.
  void learn_from(const Batch& batch, const at::Tensor& targets, std::int64_t epoch, std::int64_t waiting);
  at::Tensor targets_of(const Batch& batch) const;
  void add(const GradientPass::Scores& scores);
  /// The scores of all processes' parts.
  GradientPass::Scores of_all(const GradientPass::Scores& mine) const;
  /// Gradients and running statistics over all processes.
  void average_over_processes();
  void find_summed();
  void make_pass();
  /// Whether a step need not wait for the one before: on CUDA, where an optimiser's step leaves everything as it is
  /// once a loss was not finite.
  bool trains_ahead() const;
  /// Adds the scores of the batches that are through to running_, with `wait` of all.
  void collect(bool wait);
  /// Of the gradients of `batches` batches.
  void step_optimizer(std::int64_t batches);
  std::vector<at::Tensor> gradients() const;
  void clip_gradients() const;
  bool mixes() const { return options_.mixup_alpha > 0 || options_.cutmix_alpha > 0; }
  void start_over();
  void warn_once(const std::string& text);

  Model& model_;
  const TrainerOptions& options_;
  const FitOptions& fit_;
  CachedNetwork network_;
  Examples examples_;
  std::size_t size_;  ///< of the data
  bool by_example_ = false;
  Objective objective_;
  DataLoader loader_;
  ParameterGroups groups_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<LossScaler> scaler_;  ///< in float16
  std::optional<GradientPass> pass_;  ///< for what is frozen now
  bool batch_norm_trains_ = false;    ///< there
  struct Started {
    std::int64_t epoch, step, size;
  };
  /// What all processes have of a batch.
  struct Together {
    std::int64_t size = 0;
    at::Tensor shares;  ///< [tasks]: this process's part of the denominators
    bool stop = false;
  };
  Together together_;
  std::optional<GradientSum> sum_;  ///< nothing until it is known which parameters get gradients
  std::deque<Started> started_;     ///< batches whose scores were not collected
  EpochSteps foreseen_;             ///< of this phase, when it began
  std::optional<LearningRate> learning_rate_;
  std::function<double(std::int64_t step)> rates_;  ///< empty: those of learning_rate_
  std::optional<MovingAverage> average_;
  base::RandomSequence random_;
  std::set<std::string> warned_;

  std::uint64_t data_epoch_ = 0;
  bool data_ended_ = false;
  bool in_epoch_ = false;     ///< `running_` and `step_` are of an epoch that is not over
  std::int64_t step_ = 0;     ///< batches of this epoch
  bool anew_ = false;         ///< the data was started over in this epoch
  std::int64_t updates_ = 0;  ///< of this phase
  bool has_stepped_ = false;
  Running running_;
  std::int64_t trained_ = 0;
  double training_seconds_ = 0;
};

}  // namespace graft::train
