#include <graft/trainer.h>

#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/calibration.h>

#include "base/alive.h"
#include "base/normal_mode.h"
#include "base/text.h"
#include "base/translate.h"
#include "model/task.h"
#include "train/evaluator.h"
#include "train/kept_model.h"
#include "train/optimizer.h"
#include "train/run.h"

namespace graft {

namespace {

/// They are of the weights as they were.
void forget_calibrations(Model& model) {
  for (const auto& task : model.tasks()) set_calibration(model, {}, task.name);
}

void name_classes(Model& model, const Dataset& data) {
  std::vector<Label> labels;
  for (const auto& name : data.classes()) labels.push_back({name, name});
  model.set_labels(std::move(labels));
}

}  // namespace

struct [[gnu::visibility("hidden")]] Trainer::Impl {
  Model& model;
  TrainerOptions options;
  train::Weights best;
  train::Weights last;
  train::Evaluator evaluator{model, options};

  Impl(Model& m, const TrainerOptions& o) : model(m), options(o) {
    train::Optimizer::create(options.optimizer, options.numerics, {});  // checks the options
  }

  History fit(const Dataset& train, const Dataset* val, const FitOptions& fit_options);
  void restore(const train::Weights& weights);
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
    const base::NormalMode normal;
    train::check_classes(model, train_data, "the training data");
    if (val) train::check_same_classes(train_data, *val);
    train::KeptModel before(model, {});
    forget_calibrations(model);
    if (const auto fixed = model.fixed_dropouts(); !fixed.empty() && options.on_warning)
      options.on_warning("dropout stays off in " + base::list_names(fixed) +
                         ": the network was traced; export it with torch.jit.script to train with dropout");
    train::Run run(model, options, fit_options, train_data, val);
    const auto take = [&] {
      best = run.take_best();
      last = run.take_last();
      if (!best.empty()) name_classes(model, train_data);
    };
    try {
      auto history = run.go();
      before.release();
      take();
      return history;
    } catch (...) {  // what its epochs came to is there nevertheless
      if (run.has_trained()) {
        before.release();
        take();
      }
      throw;
    }
  });
}

void Trainer::restore_best() { impl().restore(impl().best); }
void Trainer::restore_last() { impl().restore(impl().last); }

void Trainer::Impl::restore(const train::Weights& weights) {
  if (weights.empty()) throw Error(ErrorCode::kConfig, "no weights to restore: fit() was not called or did not end");
  base::translated("restoring weights", [&] {
    std::vector<std::string> parameters;
    for (const auto& [name, tensor] : model.named_parameters())
      if (weights.contains(name)) parameters.push_back(name);
    train::copy_into(weights, train::weights_of(model, parameters));
  });
}

Evaluation Trainer::evaluate(const Dataset& data, const EvaluateOptions& options) const {
  return base::translated("evaluating", [&] {
    train::check_classes(impl().model, data, "the data");
    return impl().evaluator.evaluate(data, options);
  });
}

at::Tensor Trainer::predict(const Dataset& data, const EvaluateOptions& options) const {
  return base::translated("predicting", [&] {
    const at::NoGradGuard no_grad;
    const auto answers = impl().evaluator.answers(data, options, /*with_targets=*/false);
    return model::activated(impl().model.tasks(), answers.values);
  });
}

}  // namespace graft
