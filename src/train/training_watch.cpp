#include "train/training_watch.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "model/batch_norms.h"
#include "train/objective.h"
#include "train/sample.h"

namespace graft::train {

namespace {

// Heads of one and two layers on a ResNet50's frozen features of 244 photos, three epochs, 8 to 60 seeds each. At good
// rates (Adam's 1e-3 and 3e-3, SGD's 0.05, RMSprop's 1e-3) and at Adam's 0.01, the loss of a step reaches up to 2.7
// times ln(classes), of which no more than 0.28 are left in the end, and 8 steps change the head's weights by 0.3
// to 3.6 times their size. At Adam's 0.1 a step's loss is 0.9 to 19 times ln(classes), the end 0.5 to 1.8 times, and
// the change 14 to 28 times; at SGD's 1 a step's loss is 14 times and more.
constexpr double kSpike = 6;         ///< of a step's loss, in units of ln(classes) or the first step's loss
constexpr double kThrown = 7;        ///< change of the head's weights in the first steps, in units of their size
constexpr double kRecovered = 0.35;  ///< of the last loss, in units of ln(classes): that has done no harm

// The same heads at Adam's 1e-5 and SGD's 1e-4: the loss falls by 1 to 2 % in three epochs and the weights change by
// 0.5 to 1.2 % of their size; at a tenth of the best rate it falls by 11 %.
constexpr double kLeastFall = 0.05;       ///< from the first quarter of the steps to the last, as a part
constexpr double kStillHigh = 0.5;        ///< of ln(classes), or the first loss: there is something left to learn
constexpr double kHardlyMoved = 0.1;      ///< change of the weights as a part of their size
constexpr std::size_t kFewestSteps = 20;  ///< a run of 8 at a good rate for a whole network falls by 3.5 %

constexpr std::size_t kEarly = 8;  ///< steps that are the first ones
/// Change of the pretrained weights in them, as a part of their size: a percent a step, ten times what is usual
/// (CS231n, as in examine_model.cpp).
constexpr double kEarlyDrift = 0.01 * kEarly;
/// Change of the pretrained weights in the whole run: more than all of what they were.
constexpr double kWholeDrift = 1;

/// Rise of the validation loss over its best, as a part of that and in units of ln(classes), while the training loss
/// falls. The heads above, trained for 20 to 30 epochs at good rates, end with a rise of 0 to 34 % and 0 to 0.05 units,
/// which costs at most 1.3 points of accuracy.
constexpr double kRise = 0.5, kLeastRise = 0.1;
constexpr std::size_t kEpochsSinceBest = 2;

/// Part of what the last layer is given that is zero for all pictures looked at. A choice: behind a ReLU most values
/// are zero for one picture, but few units for all of them.
constexpr double kMostDead = 0.75;
constexpr std::size_t kSample = 64;

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double length_of(const at::Tensor& tensor) { return at::linalg_vector_norm(tensor).item<double>(); }

void look_for_overfitting(const History& history, double unit, Diagnosis& diagnosis) {
  const auto& epochs = history.epochs;
  if (epochs.empty() || !epochs.back().val_loss) return;
  const auto best =
      std::ranges::min_element(epochs, {}, [](const EpochInfo& epoch) { return epoch.val_loss.value_or(0); });
  const auto& last = epochs.back();
  const auto since = static_cast<std::size_t>(epochs.end() - best) - 1;
  const double rise = *last.val_loss - *best->val_loss;
  if (since < kEpochsSinceBest || rise < kRise * *best->val_loss || rise < kLeastRise * unit || last.loss >= best->loss)
    return;
  diagnosis.findings.push_back(
      {FindingCode::kOverfitting, Severity::kWarning, "epoch " + std::to_string(best - epochs.begin() + 1),
       "since then the validation loss has risen from " + number_text(*best->val_loss) + " to " +
           number_text(*last.val_loss) + " while the training loss fell from " + number_text(best->loss) + " to " +
           number_text(last.loss),
       "keep that epoch's weights, stop there (early stopping), freeze more layers, or use augmentation, dropout or "
       "weight decay"});
}

/// On some of the pictures.
void look_for_dead_features(const Patient& patient, const Dataset& train, Diagnosis& diagnosis) {
  const auto layer = patient.model.inspect().penultimate_layer;
  if (layer.empty()) return;
  const Sample sample(train, kSample);
  const Readable readable(sample);
  DataLoader loader(
      readable, patient.model.input(),
      {.batch_size = patient.fit.batch_size, .threads = patient.fit.loader_threads, .device = patient.model.device()});
  const model::InputOf given(patient.model, layer);
  at::Tensor largest;
  while (const auto batch = loader.next()) {
    const auto found = given(batch->images).abs().flatten(1).amax(0);
    largest = largest.defined() ? at::maximum(largest, found) : found;
  }
  const auto dead = largest.eq(0).sum().item<std::int64_t>();
  if (static_cast<double>(dead) < kMostDead * static_cast<double>(largest.numel())) return;
  diagnosis.findings.push_back({FindingCode::kDeadFeatures, Severity::kWarning, layer,
                                share_text(static_cast<std::size_t>(dead), static_cast<std::size_t>(largest.numel()),
                                           "of the features that it is given") +
                                    " are zero for all of " + std::to_string(sample.size()) + " training pictures",
                                "begin again with a lower learning rate or with warm-up: units whose ReLU never opens "
                                "do not learn"});
}

}  // namespace

TrainingWatch::TrainingWatch(const Patient& patient) : patient_(patient) {
  for (const auto& [name, tensor] : patient.model.named_parameters())
    weights_.push_back({name, is_in_head(patient.model, name), tensor, tensor.detach().clone()});
}

void TrainingWatch::look_at(FitOptions& options) {
  options.on_step = [self = weak_from_this(), next = std::move(options.on_step)](const StepInfo& info) {
    if (const auto watch = self.lock(); watch && !info.validating) watch->see(info);
    if (next) next(info);
  };
}

void TrainingWatch::see(const StepInfo& info) {
  if (losses_.empty()) resumed_ = info.epoch > 0 || info.step > 1;
  if (info.step == 1) epoch_sum_ = 0, epoch_examples_ = 0;
  const double sum = info.loss * static_cast<double>(info.examples);
  if (info.examples > epoch_examples_)
    losses_.push_back((sum - epoch_sum_) / static_cast<double>(info.examples - epoch_examples_));
  if (losses_.size() == kEarly && !resumed_) early_head_drift_ = drift(/*of_head=*/true);
  epoch_sum_ = sum;
  epoch_examples_ = info.examples;
  const bool backbone_trains =
      std::ranges::any_of(weights_, [](const Weight& weight) { return !weight.in_head && weight.now.requires_grad(); });
  if (backbone_trains && !resumed_ && ++backbone_steps_ == kEarly) early_drift_ = drift(/*of_head=*/false);
}

double TrainingWatch::drift(bool of_head) const {
  const at::NoGradGuard no_grad;
  Changes changes;
  for (const auto& weight : weights_) {
    const double size = length_of(weight.before);
    if (weight.in_head != of_head || !weight.now.requires_grad() || size == 0) continue;
    changes.add(kind_of(weight.name, weight.now), length_of(weight.now - weight.before) / size);
  }
  return changes.of_layers();
}

Diagnosis TrainingWatch::examine(const Dataset& train, const History& history) const {
  const at::NoGradGuard no_grad;
  Diagnosis diagnosis;
  look_at_losses(history, diagnosis);
  if (!history.epochs.empty()) {
    look_at_weights(diagnosis);
    look_for_dead_features(patient_, train, diagnosis);
  }
  add_checked(diagnosis, {FindingCode::kLearningRateTooLarge, FindingCode::kLearningRateTooSmall,
                          FindingCode::kWeightDrift, FindingCode::kOverfitting, FindingCode::kDeadFeatures});
  return diagnosis;
}

void TrainingWatch::look_at_losses(const History& history, Diagnosis& diagnosis) const {
  const auto too_large = [&](std::string seen) {
    diagnosis.findings.push_back({FindingCode::kLearningRateTooLarge, Severity::kError, "training", std::move(seen),
                                  "divide the learning rate by 10 (--lr), or let it rise slowly (--warmup)"});
  };
  if (history.epochs.empty()) {
    too_large("after " + std::to_string(losses_.size()) + (losses_.size() == 1 ? " step" : " steps") +
              " the loss, of training or of validation, was no finite number");
    return;
  }
  if (losses_.size() < 2) return;
  // What guessing costs; where the task has no such number, what the model cost at first.
  const bool plain = Objective(patient_.model.tasks(), 0).is_plain();
  const double guessing = plain ? std::log(static_cast<double>(patient_.model.num_classes())) : losses_.front();
  const std::string guessing_text =
      plain ? "guessing gives ln(classes) = " + number_text(guessing) : "the first step had " + number_text(guessing);
  const double unit = std::max(guessing, losses_.front());
  look_for_overfitting(history, unit, diagnosis);
  if (resumed_) return;

  const auto& last_epoch = history.epochs.back();
  const double end = std::max(last_epoch.loss, last_epoch.val_loss.value_or(0));
  const std::string ended = ", where " + guessing_text + "; it ended at " + number_text(end);
  const auto highest = std::max_element(losses_.begin() + 1, losses_.end());
  if (*highest > kSpike * unit) {
    too_large("in step " + std::to_string(highest - losses_.begin() + 1) + " the loss jumped to " +
              number_text(*highest) + ended);
    return;
  }
  if (early_head_drift_ > kThrown && end > kRecovered * unit) {
    too_large("in " + std::to_string(kEarly) + " steps the head's weights changed by " +
              number_text(early_head_drift_) + " times their size, and the loss went up to " + number_text(*highest) +
              ended);
    return;
  }
  if (losses_.size() < kFewestSteps) return;
  const std::span<const double> losses(losses_);
  const double first = mean(losses.first(losses.size() / 4)), last = mean(losses.last(losses.size() / 4));
  if (first - last >= kLeastFall * first || last < kStillHigh * guessing) return;
  const double moved = std::max(drift(true), drift(false));
  const std::string seen = "in " + std::to_string(losses.size()) + " steps the loss went from " + number_text(first) +
                           " to " + number_text(last) + ", where " + guessing_text + ", and the weights changed by " +
                           number_text(moved * 100) + " % of their size";
  if (moved < kHardlyMoved) {
    diagnosis.findings.push_back({FindingCode::kLearningRateTooSmall, Severity::kWarning, "training", seen,
                                  "multiply the learning rate by 10 (--lr), or train for many more epochs"});
  } else if (last >= unit) {
    too_large(seen);
  }
}

void TrainingWatch::look_at_weights(Diagnosis& diagnosis) const {
  const double whole = drift(/*of_head=*/false);
  const bool early = early_drift_ > kEarlyDrift;
  if (!early && whole <= kWholeDrift) return;
  diagnosis.findings.push_back(
      {FindingCode::kWeightDrift, Severity::kError, "backbone",
       "the pretrained weights have changed by " + number_text((early ? early_drift_ : whole) * 100) +
           " % of their size" + (early ? " in the first " + std::to_string(kEarly) + " steps" : "") +
           ": little is left of what they knew",
       "train the backbone at a tenth of the rate or less (--lr, --layer-decay), or freeze more of it"});
}

}  // namespace graft::train
