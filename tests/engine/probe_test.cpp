// Looking at shapes skips the arithmetic, and sees the shapes that the interpreter's results have.

#include "engine/probe.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/runner.h"
#include "graph/network.h"
#include "support/expect_error.h"

namespace graft::engine {
namespace {

graph::Network network_of(const std::string& body) {
  return graph::NetworkBuilder("Test")
      .parameter("w", at::ones({8, 4, 3, 3}))
      .parameter("grouped", at::ones({8, 2, 3, 5}))
      .parameter("line", at::ones({8, 4, 3}))
      .parameter("matrix", at::ones({6, 4}))
      .parameter("b", at::ones({8}))
      .build(body);
}

TEST(Probe, ShapesAreTheInterpreters) {
  const auto x = at::ones({2, 4, 11, 13});
  for (const char* body :
       {"return torch.conv2d(x, self.w, self.b)", "return torch.conv2d(x, self.w, None, [2, 3], [1, 2], [2, 1])",
        "return torch.conv2d(x, self.grouped, self.b, [1, 2], [0, 1], [3, 1], 2)",
        "return torch.conv2d(x, self.w, self.b, padding=\"same\")", "return torch.conv2d(x[0], self.w, self.b, [2, 2])",
        "return torch.conv_transpose2d(x, self.w.transpose(0, 1), None, [2, 2], [1, 1])",
        "return torch._convolution(x, self.w, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, False, False, True, "
        "True)",
        "return torch._convolution(x, self.w.transpose(0, 1), None, [2, 2], [1, 1], [1, 1], True, [0, 0], 1, False, "
        "False, True, True)",
        "return torch.conv1d(x.flatten(2), self.line, self.b, [2], [1])",
        "return torch._convolution(x.flatten(2), self.line, self.b, [2], [1], [1], False, [0], 1, False, False, True, "
        "True)",
        "return torch._convolution(x.unsqueeze(2), self.w.unsqueeze(2), self.b, [1, 2, 2], [0, 1, 1], [1, 1, 1], "
        "False, [0, 0, 0], 1, False, False, True, True)",
        "return torch.linear(x.mean([2, 3]), self.matrix)", "return torch.linear(x.permute(0, 2, 3, 1), self.matrix)",
        "y = torch.conv2d(x, self.w, self.b)\nif y.size(2) > 3:\n    y = torch.relu_(torch.conv2d(y[:, :4], self.w))\n"
        "return torch.adaptive_avg_pool2d(y, [3, 3])"}) {
    const auto network = network_of(body);
    EXPECT_EQ(probe(network, x).output_shape, Runner(network).run(x).sizes().vec()) << body;
  }
}

TEST(Probe, TheArithmeticIsSkippedInTracedNetworksToo) {
  for (const char* convolution :
       {"torch.conv2d(x, self.w)",
        "torch._convolution(x, self.w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True, True)"}) {
    const auto network =
        network_of(std::string("y = ") + convolution + "\nreturn y if bool(y.abs().sum() == 0) else y[:1]");
    EXPECT_EQ(probe(network, at::ones({2, 4, 5, 5})).output_shape[0], 2) << convolution;  // zeros
    EXPECT_EQ(Runner(network).run(at::ones({2, 4, 5, 5})).size(0), 1) << convolution;
  }
}

TEST(Probe, ConvolutionsInputsComeInOrder) {
  const auto network = network_of(
      "y = torch.conv2d(x, self.w, self.b, [2, 2])\n"
      "return torch.conv2d(y[:, :4], self.w) + torch.conv2d(x, self.w)[:, :, :3, :4]");
  EXPECT_EQ(probe(network, at::ones({1, 4, 11, 13})).convolution_inputs,
            (Sizes{{1, 4, 11, 13}, {1, 4, 5, 6}, {1, 4, 11, 13}}));
}

TEST(Probe, WhatTheOperatorRefusesIsRefused) {
  for (const char* body :
       {"return torch.conv2d(x, self.grouped)", "return torch.conv2d(x, self.w, self.b, [1, 1], [0, 0], [9, 9])",
        "return torch.conv2d(x, self.w, self.b, [0, 0])", "return torch.linear(x, self.matrix)"})
    EXPECT_GRAFT_ERROR(probe(network_of(body), at::ones({1, 4, 11, 13})), kMismatch, "");
}

}  // namespace
}  // namespace graft::engine
