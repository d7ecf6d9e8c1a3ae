// A fit that trains nothing leaves the model as it was.
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/calibration.h>
#include <graft/head.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;

const Calibration kCalibrated{.temperature = 1.5, .reject_below = 0.4};

Model load() {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  model.freeze_until("layer2");
  set_calibration(model, kCalibrated);
  return model;
}

/// All of a model that a fit may change.
struct State {
  explicit State(const Model& model)
      : hash(model.inspect().sha256), calibration(model.tasks()[0].calibration), training(model.is_training()) {
    for (const auto& [name, tensor] : model.named_parameters()) trains[name] = tensor.requires_grad();
    for (const auto& label : model.labels()) labels.push_back(label.id);
  }
  bool operator==(const State&) const = default;

  std::string hash;
  Calibration calibration;
  bool training;
  std::map<std::string, bool> trains;
  std::vector<std::string> labels;
};

/// Pictures that count how often they are asked for, and fail from then on.
class FailingPictures : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  Image image(std::size_t i) const override {
    if (asked++ >= fine) throw Error(ErrorCode::kFormat, name(i) + ": planted damage");
    return DrawnDataset::image(i);
  }
  int fine = 0;

 private:
  mutable int asked = 0;
};

class FailedFit : public ::testing::Test {
 protected:
  void expect_untouched(const std::function<void(Trainer&)>& fit, const TrainerOptions& options = {}) {
    const State before(model_);
    Trainer trainer(model_, options);
    fit(trainer);
    EXPECT_EQ(State(model_), before);
    EXPECT_GRAFT_ERROR(trainer.restore_last(), kConfig, "no weights to restore");
  }
  const DrawnDataset data_{12, 3};
  /// With layers trained and frozen in turn, of which the first are other ones than the model has now.
  const FitOptions options_{.phases = {{.freeze = "all"}, {.freeze = "none"}}, .batch_size = 4, .loader_threads = 1};
  Model model_ = load();
};

TEST_F(FailedFit, ForItsOptions) {
  expect_untouched(
      [&](Trainer& trainer) { EXPECT_GRAFT_ERROR(trainer.fit(data_, options_), kConfig, "label_smoothing"); },
      {.label_smoothing = 3});
  expect_untouched([&](Trainer& trainer) {
    EXPECT_GRAFT_ERROR(trainer.fit(data_, {.phases = {{.freeze = "all"}, {.freeze = "some"}}}), kConfig, "some");
  });
  expect_untouched(
      [&](Trainer& trainer) { EXPECT_GRAFT_ERROR(trainer.fit(DrawnDataset(9, 2), options_), kMismatch, "2 classes"); });
}

TEST_F(FailedFit, ForItsPictures) {
  auto pictures = FailingPictures(12, 3);
  expect_untouched(
      [&](Trainer& trainer) { EXPECT_GRAFT_ERROR(trainer.fit(pictures, options_), kFormat, "planted damage"); });
  // The first two batches change batch norm's statistics; the optimiser would step after the third.
  pictures = FailingPictures(12, 3);
  pictures.fine = 8;
  model_.unfreeze();
  expect_untouched(
      [&](Trainer& trainer) {
        EXPECT_GRAFT_ERROR(trainer.fit(pictures, {.batch_size = 4, .loader_threads = 1}), kFormat, "planted damage");
      },
      {.accumulate = 3});
}

TEST_F(FailedFit, AfterAStepHasTrained) {
  auto pictures = FailingPictures(12, 3);
  pictures.fine = 8;
  const State before(model_);
  Trainer trainer(model_);
  EXPECT_GRAFT_ERROR(trainer.fit(pictures, options_), kFormat, "planted damage");
  EXPECT_NE(State(model_).hash, before.hash);
  EXPECT_EQ(model_.tasks()[0].calibration, Calibration());
  EXPECT_EQ(model_.trainable_parameters().size(), 2u);  // the phase's
}

TEST_F(FailedFit, LeavesWhatTheOneBeforeHasToRestore) {
  Trainer trainer(model_);
  trainer.fit(data_, options_);
  const State after(model_);
  DrawnDataset bad(12, 3);
  for (std::size_t i = 0; i < bad.size(); ++i) bad.bad.insert(i);
  EXPECT_GRAFT_ERROR(trainer.fit(bad, options_), kFormat, "planted damage");
  model_.named_parameters().at("head.fc.bias").detach().add_(1);
  trainer.restore_last();
  EXPECT_EQ(State(model_), after);
}

TEST_F(FailedFit, ThatWouldHaveGoneOnLeavesNoneOfTheCheckpointsWeights) {
  const Scratch scratch;
  auto options = options_;
  options.phases = {{.freeze = "none"}, {.freeze = "all"}};  // the last has frozen layers, whose features are kept
  options.checkpoint = {.directory = scratch / "run", .resume = true};
  {
    auto other = load();
    Trainer(other).fit(data_, options);
  }
  const auto file = scratch.write("file", "no folder");
  expect_untouched([&](Trainer& trainer) { EXPECT_GRAFT_ERROR(trainer.fit(data_, options), kIo, "file"); },
                   {.feature_cache = {.directory = file}});
  Trainer trainer(model_);
  trainer.fit(data_, options);
  EXPECT_EQ(model_.tasks()[0].calibration, Calibration());  // those of the checkpoint are other weights
}

/// Several labels for each picture, of which label() knows nothing.
class Traits : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  std::int64_t label(std::size_t) const override { return -1; }
  std::vector<float> targets(std::size_t i) const override { return {static_cast<float>(i % 2), 1, 0}; }
  Image image(std::size_t i) const override { return DrawnDataset(size(), 3).image(i); }
};

TEST_F(FailedFit, BalanceIsForSingleLabels) {
  const Traits data(12, 3);
  for (const auto balance : {ClassBalance::kWeights, ClassBalance::kSampling}) {
    EXPECT_GRAFT_ERROR(Trainer(model_, {.balance = balance}).fit(data), kMismatch,
                       "picture 0: expected a label from 0 to 2, found -1");
    auto several = load();
    several.replace_head(heads::multi_label({.labels = 3}));
    EXPECT_GRAFT_ERROR(Trainer(several, {.balance = balance}).fit(data), kConfig,
                       "balance and class_weights: expected a model with one task of single labels");
  }
}

}  // namespace
}  // namespace graft
