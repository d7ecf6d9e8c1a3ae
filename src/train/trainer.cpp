#include <graft/trainer.h>

#include <map>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/alive.h"
#include "base/check.h"
#include "base/seeded_generator.h"
#include "base/text.h"
#include "base/torch_device.h"
#include "base/translate.h"
#include "model/task.h"
#include "train/cached_network.h"
#include "train/clock.h"
#include "train/evaluator.h"
#include "train/fit.h"
#include "train/optimizer.h"

namespace graft {

namespace {

/// Copies of everything that training may change.
class Snapshot {
 public:
  Snapshot() = default;
  explicit Snapshot(const Model& model) {
    for (const auto& [name, tensor] : model.trainable_parameters()) tensors_[name] = tensor.detach().clone();
    for (const auto& [name, tensor] : model.named_buffers()) tensors_[name] = tensor.clone();
  }
  bool empty() const { return tensors_.empty(); }

  void restore(Model& model) const {
    const at::NoGradGuard no_grad;
    const auto put_back = [&](const auto& named) {
      for (auto [name, tensor] : named)
        if (const auto it = tensors_.find(name); it != tensors_.end()) tensor.copy_(it->second);
    };
    put_back(model.named_parameters());
    put_back(model.named_buffers());
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

void check_classes(const Model& model, const Dataset& data, const char* which) {
  if (std::ssize(data.classes()) == model.num_classes()) return;
  throw Error(ErrorCode::kMismatch, std::string(which) + " has " + std::to_string(data.classes().size()) +
                                        " classes (" + base::list_names(data.classes()) + "), the model has " +
                                        std::to_string(model.num_classes()) +
                                        " outputs; replace_head with that many classes");
}

void check_same_classes(const Dataset& train, const Dataset& val) {
  if (train.classes() == val.classes()) return;
  throw Error(ErrorCode::kMismatch, "training and validation data have different classes: " +
                                        base::list_names(train.classes()) + " and " + base::list_names(val.classes()));
}

}  // namespace

struct [[gnu::visibility("hidden")]] Trainer::Impl {
  Model& model;
  TrainerOptions options;
  Snapshot best;
  Snapshot last;
  train::Evaluator evaluator{model, options};

  Impl(Model& m, const TrainerOptions& o) : model(m), options(o) {
    train::Optimizer::create(options.optimizer, options.numerics, {});  // checks the options
  }

  History fit(const Dataset& train, const Dataset* val, const FitOptions& fit_options);
  void validate(const Dataset& val, train::Examples& examples, const FitOptions& fit_options, std::int64_t number,
                EpochInfo& epoch, History& history) const;
  bool is_best(const History& history) const;
  void restore(const Snapshot& snapshot);
};

Trainer::Trainer(Model& model, const TrainerOptions& options)
    : impl_(base::translated("trainer", [&] { return std::make_unique<Impl>(model, options); })) {}
Trainer::Impl& Trainer::impl() const { return base::alive(impl_, "Trainer"); }
Trainer::~Trainer() = default;
Trainer::Trainer(Trainer&&) noexcept = default;
Trainer& Trainer::operator=(Trainer&&) noexcept = default;

History Trainer::fit(const Dataset& train, const FitOptions& options) { return impl().fit(train, nullptr, options); }

History Trainer::fit(const Dataset& train, const Dataset& val, const FitOptions& options) {
  return impl().fit(train, &val, options);
}

History Trainer::Impl::fit(const Dataset& train_data, const Dataset* val, const FitOptions& fit_options) {
  return base::translated("training", [&] {
    base::require(fit_options.epochs >= 1, "epochs", "1 or more", fit_options.epochs);
    base::require(fit_options.steps_per_epoch >= 0, "steps_per_epoch", "0 or more", fit_options.steps_per_epoch);
    check_classes(model, train_data, "the training data");
    if (val) check_same_classes(train_data, *val);

    if (const auto fixed = model.fixed_dropouts(); !fixed.empty() && options.on_warning)
      options.on_warning("dropout stays off in " + base::list_names(fixed) +
                         ": the network was traced; export it with torch.jit.script to train with dropout");
    const base::SeededGenerator generator(base::to_torch(model.device()), options.seed);  // dropout draws from it
    const std::string frozen = model.frozen_hash();
    History history;
    train::Fit fit(model, options, fit_options, train_data);
    std::optional<train::Examples> val_examples;
    if (val) val_examples.emplace(fit.network(), *val, options, /*training=*/false);
    for (std::int64_t number = 0; number < fit_options.epochs; ++number) {
      const auto start = train::Clock::now();
      const train::Running running = fit.epoch(number);
      EpochInfo epoch{running.loss(), running.accuracy(), {}, {}, {}, fit.learning_rate(), 0};
      if (val) validate(*val, *val_examples, fit_options, number, epoch, history);
      fit.epoch_ended(epoch.val_loss.value_or(epoch.loss));
      epoch.seconds = train::seconds_since(start);
      history.epochs.push_back(epoch);
      if (is_best(history)) {
        history.best = history.epochs.size() - 1;
        best = Snapshot(model);
      }
      if (fit_options.on_epoch) fit_options.on_epoch(epoch);
    }
    last = Snapshot(model);
    history.frozen_unchanged = model.frozen_hash() == frozen;
    history.images_per_second = fit.images_per_second();
    auto bad = fit.bad_images();
    history.bad_images.insert(history.bad_images.begin(), bad.begin(), bad.end());
    std::vector<Label> labels;
    for (const auto& name : train_data.classes()) labels.push_back({name, name});
    model.set_labels(std::move(labels));
    return history;
  });
}

void Trainer::Impl::validate(const Dataset& val, train::Examples& examples, const FitOptions& fit_options,
                             std::int64_t number, EpochInfo& epoch, History& history) const {
  const auto report = [&](std::int64_t step, std::int64_t steps) {
    if (fit_options.on_step) fit_options.on_step({number, step, steps, epoch.loss, epoch.accuracy, 0, true});
  };
  const auto scores = evaluator.evaluate(val, {fit_options.batch_size, fit_options.loader_threads, &examples, report});
  epoch.val_loss = scores.loss;
  double sum = 0;
  std::int64_t classifying = 0;
  for (const auto& task : scores.tasks) {
    if (task.kind == TaskKind::kSingleLabel) epoch.val_top5_accuracy = scores.top5_accuracy;
    if (!task.accuracy) continue;
    sum += *task.accuracy;
    ++classifying;
  }
  if (classifying > 0) epoch.val_accuracy = sum / static_cast<double>(classifying);
  if (number == 0) history.bad_images = scores.bad_images;
}

/// Whether the newest epoch is. Without validation the last one always is.
bool Trainer::Impl::is_best(const History& history) const {
  const auto& now = history.epochs.back();
  const auto& before = history.epochs[history.best];
  if (history.epochs.size() == 1 || !now.val_loss) return true;
  // Accuracies of several tasks, or none, do not say enough.
  if (model.tasks().size() > 1 || !now.val_accuracy) return *now.val_loss < *before.val_loss;
  return std::pair(*now.val_accuracy, -*now.val_loss) > std::pair(*before.val_accuracy, -*before.val_loss);
}

void Trainer::restore_best() { impl().restore(impl().best); }
void Trainer::restore_last() { impl().restore(impl().last); }

void Trainer::Impl::restore(const Snapshot& snapshot) {
  if (snapshot.empty()) throw Error(ErrorCode::kConfig, "no weights to restore: fit() was not called or did not end");
  base::translated("restoring weights", [&] { snapshot.restore(model); });
}

Evaluation Trainer::evaluate(const Dataset& data, std::int64_t batch_size, int loader_threads) const {
  return base::translated("evaluating", [&] {
    check_classes(impl().model, data, "the data");
    return impl().evaluator.evaluate(data, {batch_size, loader_threads, nullptr, {}});
  });
}

at::Tensor Trainer::predict(const Dataset& data, std::int64_t batch_size, int loader_threads) const {
  return base::translated("predicting", [&] {
    const at::NoGradGuard no_grad;
    const auto logits =
        impl().evaluator.logits(data, {batch_size, loader_threads, nullptr, {}}, /*with_targets=*/false);
    return model::activated(impl().model.tasks(), logits.values);
  });
}

}  // namespace graft
