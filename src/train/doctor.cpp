#include <graft/doctor.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "base/alive.h"
#include "base/normal_mode.h"
#include "base/printf.h"
#include "base/text.h"
#include "base/translate.h"
#include "model/structure.h"
#include "train/evaluator.h"
#include "train/examinations.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/training_watch.h"

namespace graft {

std::string_view to_string(FindingCode code) noexcept {
  switch (code) {
    case FindingCode::kUnreadableImages:
      return "unreadable_images";
    case FindingCode::kLeakedImages:
      return "leaked_images";
    case FindingCode::kDuplicateImages:
      return "duplicate_images";
    case FindingCode::kAmbiguousImages:
      return "ambiguous_images";
    case FindingCode::kDuplicateClass:
      return "duplicate_class";
    case FindingCode::kClassImbalance:
      return "class_imbalance";
    case FindingCode::kTooFewImages:
      return "too_few_images";
    case FindingCode::kWrongLabels:
      return "wrong_labels";
    case FindingCode::kSwappedClasses:
      return "swapped_classes";
    case FindingCode::kNothingTrainable:
      return "nothing_trainable";
    case FindingCode::kFrozenHead:
      return "frozen_head";
    case FindingCode::kBackboneLearningRate:
      return "backbone_learning_rate";
    case FindingCode::kBatchNormInFrozenTrunk:
      return "batch_norm_in_frozen_trunk";
    case FindingCode::kBatchNormWithoutStatistics:
      return "batch_norm_without_statistics";
    case FindingCode::kBatchNormSmallBatch:
      return "batch_norm_small_batch";
    case FindingCode::kChannelOrder:
      return "channel_order";
    case FindingCode::kPixelScale:
      return "pixel_scale";
    case FindingCode::kNormalization:
      return "normalization";
    case FindingCode::kLearningRateTooLarge:
      return "learning_rate_too_large";
    case FindingCode::kLearningRateTooSmall:
      return "learning_rate_too_small";
    case FindingCode::kWeightDrift:
      return "weight_drift";
    case FindingCode::kOverfitting:
      return "overfitting";
    case FindingCode::kDeadFeatures:
      return "dead_features";
  }
  return "unknown";
}

std::string_view to_string(Severity severity) noexcept {
  switch (severity) {
    case Severity::kNote:
      return "note";
    case Severity::kWarning:
      return "warning";
    case Severity::kError:
      return "error";
  }
  return "unknown";
}

namespace train {

bool is_in_head(const Model& model, std::string_view parameter) {
  return !model.head_name().empty() && model::is_within(parameter, model.head_name());
}

WeightKind kind_of(std::string_view name, const at::Tensor& parameter) {
  if (parameter.dim() >= 2) return WeightKind::kMatrix;
  return parameter.dim() == 1 && name.ends_with("weight") ? WeightKind::kScale : WeightKind::kOther;
}

void Changes::add(WeightKind kind, double change) {
  if (kind == WeightKind::kMatrix) matrices_.push_back(change);
  if (kind == WeightKind::kScale) scales_.push_back(change);
}

double Changes::of_layers() const {
  const auto middle = [](std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto at = values.begin() + std::ssize(values) / 2;
    std::ranges::nth_element(values, at);
    return *at;
  };
  return std::max(middle(matrices_), middle(scales_));
}

bool has_single_labels(const Dataset& data) { return data.classes().size() > 1 && data.targets(0).size() == 1; }

void add_checked(Diagnosis& diagnosis, std::initializer_list<FindingCode> codes) {
  for (const auto code : codes) diagnosis.checked.emplace_back(to_string(code));
}

std::string number_text(double value) { return base::format("%.4g", value); }

std::string share_text(std::size_t part, std::size_t whole, const char* what) {
  return base::format("%zu of %zu %s (%.1f %%)", part, whole, what,
                      100 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 3;
  return base::list_names(names, kMost);
}

namespace {

void append(Diagnosis& diagnosis, Diagnosis more) {
  std::ranges::move(more.findings, std::back_inserter(diagnosis.findings));
  std::ranges::move(more.checked, std::back_inserter(diagnosis.checked));
}

void check_evaluates(const Model& model) {
  if (model.is_training())
    throw Error(ErrorCode::kConfig, "the model is in training mode; call eval() before it is examined");
}

}  // namespace
}  // namespace train

struct [[gnu::visibility("hidden")]] Doctor::Impl {
  Impl(Model& m, const TrainerOptions& t, const FitOptions& f) : model(m), trainer(t), fit(f) {
    if (takes_text(model.input()))
      throw Error(ErrorCode::kConfig, "the doctor knows networks that take pictures, this one takes texts");
    train::Optimizer::create(trainer.optimizer, trainer.numerics, {});  // checks the options
  }

  Model& model;
  TrainerOptions trainer;
  FitOptions fit;
  train::Patient patient{model, trainer, fit};
  std::shared_ptr<train::TrainingWatch> watch;

  template <class Examine>
  Diagnosis examine(const Examine& examine) {
    return base::translated("examining", [&] {
      const base::NormalMode normal;
      train::check_evaluates(model);
      return examine();
    });
  }
};

Doctor::Doctor(Model& model, const TrainerOptions& trainer, const FitOptions& fit)
    : impl_(base::translated("doctor", [&] { return std::make_unique<Impl>(model, trainer, fit); })) {}
Doctor::Impl& Doctor::impl() const { return base::alive(impl_, "Doctor"); }
Doctor::~Doctor() = default;
Doctor::Doctor(Doctor&&) noexcept = default;
Doctor& Doctor::operator=(Doctor&&) noexcept = default;

Diagnosis Doctor::examine_data(const Dataset& train, const Dataset& val) {
  return impl().examine([&] {
    train::check_same_classes(train, val);
    if (train.size() == 0 || val.size() == 0)
      throw Error(ErrorCode::kMismatch, "expected at least one example, found none");
    train::Spoilt spoilt;
    auto diagnosis = train::examine_pictures(impl().patient, train, val, spoilt);
    if (train::has_single_labels(train) && spoilt.train.size() < train.size() && spoilt.val.size() < val.size())
      train::append(diagnosis, train::examine_labels(impl().patient, train, val, spoilt));
    return diagnosis;
  });
}

Diagnosis Doctor::examine_preprocessing(const Dataset& data) {
  return impl().examine([&] { return train::examine_preprocessing(impl().patient, data); });
}

Diagnosis Doctor::examine_model(const Dataset& train) {
  return impl().examine([&] { return train::examine_model(impl().patient, train); });
}

void Doctor::watch(FitOptions& options) {
  impl().watch = std::make_shared<train::TrainingWatch>(impl().patient);
  impl().watch->look_at(options);
}

Diagnosis Doctor::examine_training(const Dataset& train, const History& history) {
  return impl().examine([&] {
    if (!impl().watch) throw Error(ErrorCode::kConfig, "the doctor has watched no training: call watch() before fit()");
    return impl().watch->examine(train, history);
  });
}

}  // namespace graft
