#include "train/fit.h"

#include <cmath>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/check.h"
#include "base/torch_device.h"
#include "train/clock.h"
#include "train/mixing.h"

namespace graft::train {

namespace {

constexpr std::uint64_t kMixingStream = 2;

/// Training mode for a scope; evaluation mode after it, also when it is left by an exception.
class TrainingMode {
 public:
  explicit TrainingMode(Model& model) : model_(model) { model.train(); }
  ~TrainingMode() { model_.eval(); }
  TrainingMode(const TrainingMode&) = delete;
  TrainingMode& operator=(const TrainingMode&) = delete;

 private:
  Model& model_;
};

/// Tensors as they are now: a forward pass in training mode changes a batch norm's statistics.
class Saved {
 public:
  explicit Saved(const std::vector<at::Tensor>& tensors) {
    for (const auto& tensor : tensors) saved_.emplace_back(tensor, tensor.clone());
  }
  void restore() const {
    const at::NoGradGuard no_grad;
    for (const auto& [tensor, copy] : saved_) tensor.copy_(copy);
  }

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> saved_;
};

std::vector<at::Tensor> buffers_of(const Model& model) {
  std::vector<at::Tensor> buffers;
  for (const auto& [name, tensor] : model.named_buffers()) buffers.push_back(tensor);
  return buffers;
}

std::vector<at::Tensor> parameters_of(const Model& model) {
  std::vector<at::Tensor> parameters;
  for (const auto& [name, tensor] : model.trainable_parameters()) parameters.push_back(tensor);
  if (parameters.empty())
    throw Error(ErrorCode::kMismatch, "nothing to train: every parameter is frozen; replace_head or unfreeze a layer");
  return parameters;
}

}  // namespace

Fit::Fit(Model& model, const TrainerOptions& options, const FitOptions& fit, const Dataset& train)
    : model_(model),
      options_(options),
      fit_(fit),
      network_(model, options),
      examples_(network_, train, options, /*training=*/true),
      objective_(model.tasks(), options.label_smoothing),
      loader_(train, model.preprocessing(),
              for_loader({.batch_size = fit.batch_size,
                          .shuffle = fit.shuffle,
                          .augment = true,
                          .augmented_variants = static_cast<std::uint64_t>(options.feature_cache.augmented_variants),
                          .seed = options.seed,
                          .threads = fit.loader_threads,
                          .pin_memory = model.device().is_cuda()})),
      optimizer_(Optimizer::create(options.optimizer, options.numerics, parameters_of(model))),
      learning_rate_(options.schedule, options.numerics, optimizer_->learning_rate(), fit.epochs, steps()) {
  const auto is_alpha = [](double value) { return value >= 0 && std::isfinite(value); };
  const double smoothing = options.label_smoothing;
  if (options.precision != Precision::kFloat32 && options.precision != Precision::kBFloat16)
    base::refuse("precision", "float32 or bfloat16 for training", std::string(to_string(options.precision)));
  base::require(smoothing >= 0 && smoothing < 1, "label_smoothing", "0 to below 1", smoothing);
  base::require(is_alpha(options.mixup_alpha), "mixup_alpha", "0 or more", options.mixup_alpha);
  base::require(is_alpha(options.cutmix_alpha), "cutmix_alpha", "0 or more", options.cutmix_alpha);
  if (model.uses_batch_statistics() && (fit.batch_size == 1 || train.size() == 1))
    throw Error(
        ErrorCode::kConfig,
        "batch_size: expected 2 or more where batch norm trains, found 1; or set the batch norm policy to inference");
}

LoaderOptions Fit::for_loader(const LoaderOptions& options) {
  {  // the loader's threads ask at once what is kept
    const TrainingMode training(model_);
    network_.refresh();
  }
  return mixes() ? options : examples_.for_loader(options);  // mixing wants all pictures
}

double Running::accuracy() const {
  double sum = 0;
  std::int64_t tasks = 0;
  for (const auto& [right, of] : hits) {
    if (of == 0) continue;
    sum += static_cast<double>(right) / static_cast<double>(of);
    ++tasks;
  }
  return tasks == 0 ? 0 : sum / static_cast<double>(tasks);
}

std::int64_t Fit::steps() const {
  return fit_.steps_per_epoch > 0 ? fit_.steps_per_epoch : static_cast<std::int64_t>(loader_.batches_per_epoch());
}

Running Fit::epoch(std::int64_t number) {
  const TrainingMode training(model_);
  const auto start = Clock::now();
  network_.refresh();
  changing_buffers_ = model_.uses_batch_statistics() ? buffers_of(model_) : std::vector<at::Tensor>();
  Running running;
  const bool once_through = fit_.steps_per_epoch == 0;
  if (number > 0 && (once_through || data_ended_)) start_over();
  bool may_start_over = !once_through;  // where the data ended just with the epoch before
  for (std::int64_t step = 1; once_through || step <= steps();) {
    auto batch = loader_.next();
    if (!batch && std::exchange(may_start_over, false)) {
      start_over();
      batch = loader_.next();
    }
    may_start_over = false;
    if (!batch) {
      data_ended_ = true;
      if (!once_through)
        warn_once("ran out of data: an epoch ends before its steps_per_epoch, and the next begins with the data anew");
      break;
    }
    if (batch->size() == 1 && !changing_buffers_.empty()) {
      warn_once("a batch of one example was left out: batch norm cannot train on it");
      continue;
    }
    train_on(*batch, number, step, running);
    if (fit_.on_step) {
      fit_.on_step({number, step, steps(), running.loss(), running.accuracy(),
                    static_cast<double>(running.seen) / seconds_since(start), false});
    }
    ++step;
  }
  trained_ += running.seen;
  training_seconds_ += seconds_since(start);
  return running;
}

void Fit::train_on(const Batch& batch, std::int64_t epoch, std::int64_t step, Running& running) {
  const Saved before(changing_buffers_);
  const at::AutoGradMode with_gradients(true);
  const auto device = base::to_torch(model_.device());
  auto images = batch.images;
  auto targets = objective_.is_plain() && !mixes() ? batch.labels : objective_.dense(batch.targets);
  targets = targets.to(device, /*non_blocking=*/true);
  if (mixes()) {
    images = images.to(device, /*non_blocking=*/true);
    mix(images, targets, {options_.mixup_alpha, options_.cutmix_alpha},
        {options_.seed, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(step), kMixingStream});
  }
  optimizer_->set_learning_rate(learning_rate_.at(steps_done_++));
  const auto logits = mixes() ? network_.forward(network_.features(images)) : examples_.logits(batch, loader_);
  const auto loss = objective_.loss(logits, targets);
  const double value = loss.item<double>();
  if (!std::isfinite(value)) {
    before.restore();
    throw Error(ErrorCode::kNumeric,
                "the loss is " + std::to_string(value) + " in epoch " + std::to_string(epoch + 1) + ", step " +
                    std::to_string(step) +
                    "; the weights are as before this step; try a lower learning rate or check the data");
  }
  optimizer_->zero_grad();
  loss.backward();
  optimizer_->step();
  optimizer_->zero_grad();
  running.loss_sum += value * static_cast<double>(batch.size());
  const auto hits = objective_.hits(logits.detach(), targets);
  running.hits.resize(hits.size());
  for (std::size_t i = 0; i < hits.size(); ++i) {
    running.hits[i].right += hits[i].right;
    running.hits[i].of += hits[i].of;
  }
  running.seen += batch.size();
}

void Fit::start_over() {
  loader_.start_epoch(++data_epoch_);
  data_ended_ = false;
}

void Fit::warn_once(const std::string& text) {
  if (warned_.insert(text).second && options_.on_warning) options_.on_warning(text);
}

}  // namespace graft::train
