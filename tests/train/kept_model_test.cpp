#include "train/kept_model.h"

#include <map>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <graft/calibration.h>
#include <graft/head.h>

#include "support/files.h"

namespace graft::train {
namespace {

using graft::testing::golden;

Model load() {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze_until("layer2");
  set_calibration(model, {.temperature = 2, .reject_below = 0.3});
  return model;
}

std::map<std::string, bool> trains(const Model& model) {
  std::map<std::string, bool> found;
  for (const auto& [name, tensor] : model.named_parameters()) found[name] = tensor.requires_grad();
  return found;
}

/// All that a scope may change.
void change(Model& model, const std::string& parameter) {
  model.set_batch_norm(BatchNormPolicy::kTrain);
  model.unfreeze();
  set_calibration(model, {});
  const at::NoGradGuard no_grad;
  model.named_parameters().at(parameter).add_(1);
  model.named_buffers().begin()->second.add_(1);
}

TEST(KeptModel, IsAsItWasAtTheEndOfTheScope) {
  auto model = load();
  const auto hash = model.inspect().sha256;
  const auto trained = trains(model);
  {
    const KeptModel kept(model, {"head.fc.weight"});
    change(model, "head.fc.weight");
    EXPECT_NE(model.inspect().sha256, hash);
    EXPECT_NE(trains(model), trained);
  }
  EXPECT_EQ(model.inspect().sha256, hash);
  EXPECT_EQ(trains(model), trained);
  EXPECT_EQ(model.batch_norm(), BatchNormPolicy::kFollow);
  EXPECT_EQ(model.tasks()[0].calibration, (Calibration{.temperature = 2, .reject_below = 0.3}));
}

TEST(KeptModel, KeepsNoOtherWeights) {
  auto model = load();
  const auto before = model.named_parameters().at("head.fc.weight").detach().clone();
  {
    const KeptModel kept(model);
    change(model, "head.fc.weight");
  }
  EXPECT_TRUE(at::equal(model.named_parameters().at("head.fc.weight"), before + 1));
  EXPECT_EQ(model.batch_norm(), BatchNormPolicy::kFollow);
}

TEST(KeptModel, WhatIsEqualIsNotWritten) {
  auto model = load();
  const auto weight = model.named_parameters().at("head.fc.weight");
  const auto version = weight._version();
  {
    const KeptModel kept(model, {"head.fc.weight"});
  }
  EXPECT_EQ(weight._version(), version);
}

TEST(KeptModel, ThatIsReleasedPutsNothingBack) {
  auto model = load();
  {
    KeptModel kept(model, {"head.fc.weight"});
    change(model, "head.fc.weight");
    kept.release();
  }
  EXPECT_EQ(model.batch_norm(), BatchNormPolicy::kTrain);
  EXPECT_EQ(model.tasks()[0].calibration, Calibration());
}

TEST(KeptModel, WhatCannotBePutBackIsLeftAndTheRestIsNot) {
  auto model = load();
  const auto weight = model.named_parameters().at("head.fc.weight"),
             trunk = model.named_parameters().at("conv1.weight");
  const auto before = weight.detach().clone();
  {
    const KeptModel kept(model, {"head.fc.weight"});
    change(model, "head.fc.weight");
    model.replace_head(
        heads::ensemble({{"one", heads::linear({.classes = 3})}, {"two", heads::linear({.classes = 2})}}));
  }  // there is no calibration for the second task
  EXPECT_EQ(model.tasks().size(), 2u);
  EXPECT_TRUE(at::equal(weight, before));
  EXPECT_FALSE(trunk.requires_grad());
}

}  // namespace
}  // namespace graft::train
