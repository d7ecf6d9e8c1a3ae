#include <graft/custom_head.h>
#include <graft/explain.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/golden.h"

namespace graft {
namespace {

/// Two branches of which one looks at the places alone.
struct TwoBranchImpl : torch::nn::Module {
  explicit TwoBranchImpl(std::int64_t channels)
      : places(torch::nn::Conv2dOptions(channels, 1, 3).padding(1)), fc(channels, 4), out(channels + 4, 3) {
    register_module("places", places);
    register_module("fc", fc);
    register_module("out", out);
  }
  at::Tensor forward(const at::Tensor& x) {
    const auto where = places(x).flatten(2).softmax(2);
    return out(at::cat({(x.flatten(2) * where).sum(2), at::tanh(fc(x.mean({2, 3})))}, 1));
  }
  torch::nn::Conv2d places;
  torch::nn::Linear fc, out;
};
TORCH_MODULE(TwoBranch);

TEST(GradCamHeads, AModuleIsFollowed) {
  torch::manual_seed(3);
  TwoBranch head(16);
  auto model = Model::load(graft::testing::golden("networks/resnet_scripted.pt"));
  model.replace_head(heads::custom(head));
  const auto batch = graft::testing::golden_tensor("networks/input.f32", {2, 3, 32, 32});
  // The module's own gradients.
  auto features = model.forward_features(batch).detach().set_requires_grad(true);
  const auto logits = head->forward(features);
  logits.select(1, 2).sum().backward();
  const auto weights = features.grad().mean({2, 3}, true);
  auto cam = (weights * features.detach()).sum(1, true).clamp_min(0);
  cam = at::upsample_bilinear2d(cam, {32, 32}, false).squeeze(1);
  cam = cam / cam.amax({1, 2}, true).clamp_min(1e-30);
  const auto maps = grad_cam(model, batch, {.class_id = "2"});
  for (std::int64_t n = 0; n < 2; ++n) {
    EXPECT_TRUE(graft::testing::close(maps[static_cast<std::size_t>(n)].values, cam[n], 1e-5));
    EXPECT_NEAR(maps[static_cast<std::size_t>(n)].explained.probability, logits.softmax(1)[n][2].item<float>(), 1e-5);
  }
}

}  // namespace
}  // namespace graft
