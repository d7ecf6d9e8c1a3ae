#include "train/gradient_pass.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "base/torch_device.h"
#include "support/each_device.h"

namespace graft::train {
namespace {

/// A linear layer behind a buffer that each forward pass adds one to.
class GradientPassTest : public graft::testing::EachDevice {
 protected:
  void SetUp() override {
    EachDevice::SetUp();
    if (IsSkipped()) return;
    weight = at::randn({3, 4}).to(device).set_requires_grad(true);
    passes = at::zeros({1}, at::TensorOptions(device));
  }
  GradientPass made() {
    return {objective,
            [this](const at::Tensor& input) {
              passes.add_(1);
              return input.to(device).matmul(weight.t());
            },
            {weight},
            {passes},
            device};
  }
  at::Tensor expected_gradient(const at::Tensor& input, const at::Tensor& targets) const {
    const at::AutoGradMode with_gradients(true);
    auto copy = weight.detach().clone().set_requires_grad(true);
    at::cross_entropy_loss(input.to(device).matmul(copy.t()), targets.to(device)).backward();
    return copy.grad();
  }

  const c10::Device device = base::to_torch(EachDevice::device());
  const Objective objective{{Task{.kind = TaskKind::kSingleLabel, .outputs = 3}}, 0};
  at::Tensor weight, passes;
};
INSTANTIATE_TEST_SUITE_P(Devices, GradientPassTest, graft::testing::devices(), graft::testing::device_name);

TEST_P(GradientPassTest, GradientsAndScoresAreThoseOfTheBatch) {
  auto pass = made();
  for (int step = 0; step < 6; ++step) {  // on CUDA the third of a size is recorded
    const auto input = at::randn({5, 4});
    const auto targets = at::randint(0, 3, {5}, at::kLong);
    pass.start(input, targets, /*alone=*/true);
    EXPECT_TRUE(at::allclose(weight.grad(), expected_gradient(input, targets), 1e-5, 1e-6));
    const auto scores = pass.finished(/*wait=*/true);
    ASSERT_EQ(scores.size(), 1u);
    const auto logits = input.to(device).matmul(weight.detach().t());
    EXPECT_NEAR(scores[0].loss, at::cross_entropy_loss(logits, targets.to(device)).item<double>(), 1e-5);
    EXPECT_EQ(scores[0].hits.at(0).right, logits.argmax(1).cpu().eq(targets).sum().item<std::int64_t>());
    EXPECT_EQ(scores[0].hits.at(0).of, 5);
  }
  EXPECT_EQ(passes.item<float>(), 6);
  EXPECT_EQ(pass.failed().item<float>(), 0);
}

TEST_P(GradientPassTest, BatchesThatAreNotAloneAddUp) {
  auto pass = made();
  const auto a = at::randn({5, 4}), b = at::randn({5, 4});
  const auto targets = at::tensor({0, 1, 2, 0, 1}, at::kLong);
  pass.start(a, targets, /*alone=*/true);
  pass.start(b, targets, /*alone=*/false);
  EXPECT_TRUE(at::allclose(weight.grad(), expected_gradient(a, targets) + expected_gradient(b, targets), 1e-5, 1e-6));
  EXPECT_EQ(pass.finished(/*wait=*/true).size(), 2u);
  pass.start(a, targets, /*alone=*/true);  // what waited there is gone
  EXPECT_TRUE(at::allclose(weight.grad(), expected_gradient(a, targets), 1e-5, 1e-6));
}

TEST_P(GradientPassTest, ALossThatIsNotFiniteLeavesNothing) {
  auto pass = made();
  const auto targets = at::tensor({0, 1}, at::kLong);
  const auto fine = at::randn({2, 4});
  pass.start(fine, targets, /*alone=*/true);
  EXPECT_TRUE(std::isfinite(pass.finished(/*wait=*/true).at(0).loss));
  pass.start(fine * std::numeric_limits<float>::infinity(), targets, /*alone=*/true);
  EXPECT_FALSE(std::isfinite(pass.finished(/*wait=*/true).at(0).loss));
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_EQ(passes.item<float>(), 1);
  EXPECT_EQ(pass.failed().item<float>(), 1);
}

}  // namespace
}  // namespace graft::train
