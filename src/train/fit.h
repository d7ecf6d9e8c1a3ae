/// One run of training: the state that its epochs share.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <graft/loader.h>
#include <graft/trainer.h>

#include "train/cached_network.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/schedule.h"

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
  /// All must outlive it. Throws Error kMismatch (nothing to train), kConfig.
  Fit(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train);

  /// Trains epoch `number`, 0-based, and leaves the model in evaluation mode.
  Running epoch(std::int64_t number);
  /// Tells the schedule how it went.
  void epoch_ended(double loss) { learning_rate_.epoch_ended(loss); }

  double images_per_second() const { return static_cast<double>(trained_) / training_seconds_; }
  double learning_rate() const { return optimizer_->learning_rate(); }
  CachedNetwork& network() { return network_; }
  std::vector<BadImage> bad_images() const { return loader_.bad_images(); }

 private:
  LoaderOptions for_loader(const LoaderOptions& options);
  std::int64_t steps() const;
  void train_on(const Batch& batch, std::int64_t epoch, std::int64_t step, Running& running);
  bool mixes() const { return options_.mixup_alpha > 0 || options_.cutmix_alpha > 0; }
  void start_over();
  void warn_once(const std::string& text);

  Model& model_;
  const TrainerOptions& options_;
  const FitOptions& fit_;
  CachedNetwork network_;
  Examples examples_;
  Objective objective_;
  DataLoader loader_;
  std::vector<at::Tensor> changing_buffers_;  ///< what a forward pass changes, this epoch
  std::unique_ptr<Optimizer> optimizer_;
  LearningRate learning_rate_;
  std::uint64_t data_epoch_ = 0;
  bool data_ended_ = false;
  std::int64_t steps_done_ = 0;
  std::set<std::string> warned_;
  std::int64_t trained_ = 0;
  double training_seconds_ = 0;
};

}  // namespace graft::train
