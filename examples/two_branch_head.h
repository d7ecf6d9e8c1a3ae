// A head of one's own: one branch looks at the average of the feature map, the other at its strongest places.
#pragma once

#include <graft/custom_head.h>

struct TwoBranchImpl : torch::nn::Module {
  TwoBranchImpl(std::int64_t channels, std::int64_t classes)
      : squeeze(register_module("squeeze", torch::nn::Conv2d(torch::nn::Conv2dOptions(channels, 128, 1).bias(false)))),
        squeeze_bn(register_module("squeeze_bn", torch::nn::BatchNorm2d(128))),
        average_bn(register_module("average_bn", torch::nn::BatchNorm1d(channels))),
        dropout(register_module("dropout", torch::nn::Dropout(0.3))),
        fc(register_module("fc", torch::nn::Linear(channels + 128, classes))) {}

  torch::Tensor forward(const torch::Tensor& features) {  // [N, C, H, W]
    const auto average = average_bn(features.mean({2, 3}));
    const auto strongest = torch::amax(torch::relu(squeeze_bn(squeeze(features))), {2, 3});
    return fc(dropout(torch::cat({average, strongest}, 1)));  // logits: the softmax belongs to the loss
  }

  torch::nn::Conv2d squeeze;
  torch::nn::BatchNorm2d squeeze_bn;
  torch::nn::BatchNorm1d average_bn;
  torch::nn::Dropout dropout;
  torch::nn::Linear fc;
};
TORCH_MODULE(TwoBranch);

// The factory is told the shape of the features, so the same head fits every backbone.
inline graft::Head two_branch_head(std::int64_t classes) {
  return graft::heads::custom(
      [classes](const std::vector<std::int64_t>& shape) { return TwoBranch(shape.at(1), classes); },
      {.name = "TwoBranch"});
}
