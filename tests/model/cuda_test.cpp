// A model on a CUDA device, beside PyTorch's numbers on the CPU. cuDNN rounds what it multiplies to TensorFloat-32.
#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/head.h>
#include <graft/inspect.h>
#include <graft/model.h>

#include "support/files.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::Scratch;

constexpr double kTensorFloat = 5e-3;

class OnCuda : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  static Model load(const std::string& network, Device device = Device::cuda()) {
    return Model::load(golden("networks/" + network + "_" + GetParam() + ".pt"), {.device = device});
  }
  static at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }
  static at::Tensor expected(const std::string& name, at::IntArrayRef shape) {
    return golden_tensor("networks/" + name + ".f32", shape);
  }
};
INSTANTIATE_TEST_SUITE_P(Formats, OnCuda, ::testing::Values("scripted", "traced"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(OnCuda, NumbersArePyTorchs) {
  const auto resnet = load("resnet"), vgg = load("vgg");
  const auto logits = expected("resnet.logits", {2, 5}), map = expected("resnet.after.layer2", {2, 16, 4, 4});
  for (int call = 0; call < 4; ++call) {  // the first as it is, then recorded
    EXPECT_TRUE(close(resnet.forward(input()).cpu(), logits, kTensorFloat * logits.abs().max().item<double>()));
    EXPECT_TRUE(close(vgg.forward(input()).cpu(), expected("vgg.logits", {2, 5}), kTensorFloat));
    EXPECT_TRUE(close(resnet.forward_features(input()).cpu(), map, kTensorFloat * map.abs().max().item<double>()));
    EXPECT_TRUE(close(vgg.embed(input(), "classifier.3"), expected("vgg.after.classifier.3", {2, 16}), kTensorFloat));
  }
  const auto rough = resnet.forward(input(), Precision::kBFloat16).cpu();
  EXPECT_EQ(rough.scalar_type(), at::kFloat);
  EXPECT_TRUE(close(rough, logits, 0.05 * logits.abs().max().item<double>()));
}

TEST_P(OnCuda, AutoIsOneOfTheOthers) {
  const auto model = load("resnet");
  const auto found = model.forward(input(), Precision::kAuto);
  EXPECT_TRUE(at::equal(found, model.forward(input())) ||
              at::equal(found, model.forward(input(), Precision::kBFloat16)));
}

TEST_P(OnCuda, ThePlanIsOfCudnnsOperators) {
  const auto plan = inspect_plan(load("resnet"), Precision::kBFloat16);
  EXPECT_EQ(plan.obstacle, "");
  EXPECT_EQ(plan.precision, Precision::kBFloat16);
  EXPECT_EQ(plan.fused, plan.convolutions);
  EXPECT_TRUE(std::ranges::any_of(plan.operators, [](const auto& each) { return each.by == "cuDNN"; }));
}

TEST_P(OnCuda, ThereAndBackItIsTheSame) {
  auto model = load("resnet", Device::cpu());
  const auto before = model.inspect().sha256;
  const auto logits = model.forward(input());
  model.to(Device::cuda());
  EXPECT_EQ(model.inspect().sha256, before);
  EXPECT_TRUE(model.forward(input()).is_cuda());
  model.to(Device::cpu());
  EXPECT_EQ(model.inspect().sha256, before);
  EXPECT_TRUE(at::equal(model.forward(input()), logits));
}

TEST_P(OnCuda, SavedThereItLoadsHere) {
  const Scratch scratch;
  auto model = load("resnet");
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  const auto logits = model.forward(input()).cpu();
  model.save(scratch.path() / "there.pt");
  const auto here = Model::load(scratch.path() / "there.pt", {.device = Device::cpu()});
  EXPECT_TRUE(close(here.forward(input()), logits, kTensorFloat * std::max(1.0, logits.abs().max().item<double>())));
}

TEST_P(OnCuda, ANewWeightIsSeen) {
  auto model = load("resnet");
  for (int call = 0; call < 3; ++call) (void)model.forward(input());
  const auto before = model.forward(input());
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : model.named_parameters()) at::Tensor(tensor).mul_(0.5);
  EXPECT_FALSE(at::allclose(model.forward(input()), before));
}

}  // namespace
}  // namespace graft
