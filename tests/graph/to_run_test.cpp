// What Graft changes in the graphs that it runs: the caller's pictures stay as they are, and view takes channels last.

#include "graph/to_run.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/calibration.h"
#include "engine/probe.h"
#include "engine/runner.h"
#include "engine/suffix.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft::graph {
namespace {

using engine::Runner;
using graft::testing::close;

const at::Tensor kWeight = at::randn({8, 3, 3, 3}) / 4;

Network network_of(const std::string& body) {
  return NetworkBuilder("Test").parameter("w", kWeight).parameter("v", at::ones({4, 8})).build(body);
}

at::Tensor pictures(std::int64_t n, std::int64_t side = 9) {
  return at::randn({n, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor convolved(const at::Tensor& x) { return at::conv2d(x, kWeight); }

std::size_t copies_of_input(const std::string& body) {
  std::size_t count = 0;
  const auto flat = flatten_to_run(network_of(body).jit().module);
  for_each_node(flat.graph->block(), [&](auto* node) { count += node->kind() == c10::aten::clone; });
  return count;
}

TEST(ToRun, AnInputThatIsWrittenStaysAsItIs) {
  const at::NoGradGuard no_grad;
  for (const std::string body : {"x -= 0.5\nx.mul_(2)\nreturn torch.conv2d(x, self.w)",
                                 "y = x[:, :, 1:]\ny -= 0.5\nx.mul_(2)\nx[:, :, 0] = 0\nreturn torch.conv2d(x, self.w)",
                                 "y = torch.relu_(x.contiguous())\nreturn torch.conv2d(y, self.w)",
                                 "if x.dim() == 4:\n    y = x.permute(0, 1, 2, 3)\nelse:\n    y = x * 2\n"
                                 "y.add_(1)\nreturn torch.conv2d(x, self.w)",
                                 "for i in range(2):\n    x += 1\nreturn torch.conv2d(x, self.w)",
                                 "l = [x * 2]\nl.append(x)\nl[1].mul_(3)\nreturn torch.conv2d(x, self.w)",
                                 "y = torch.dropout(x, 0.5, False)\ny.mul_(3)\nreturn torch.conv2d(y, self.w)"}) {
    const auto network = network_of(body);
    const auto x = pictures(3), before = x.clone();
    const auto expected = network.jit().module.deepcopy().forward({x.clone()}).toTensor();
    const Runner runner(network);
    EXPECT_TRUE(close(runner.run(x), expected, 1e-5)) << body;
    EXPECT_TRUE(at::equal(x, before)) << body;
    EXPECT_EQ(copies_of_input(body), 1u) << body;
    for (const std::int64_t n : {3, 1}) {
      const auto some = x.narrow(0, 0, n);
      const auto plan = runner.plan(some, Precision::kFloat32);
      EXPECT_TRUE(at::equal(x, before)) << body;
      if (!plan) continue;
      for (int again = 0; again < 2; ++again)
        EXPECT_TRUE(close(plan->run(some), expected.narrow(0, 0, n), 1e-4)) << body;
      EXPECT_TRUE(at::equal(x, before)) << body;
    }
    (void)engine::probe(network, x);
    EXPECT_TRUE(at::equal(x, before)) << body;
    engine::Calibrator calibrator(network);
    EXPECT_TRUE(close(calibrator.observe(x), expected, 1e-4)) << body;
    EXPECT_TRUE(at::equal(x, before)) << body;
  }
}

TEST(ToRun, AnInputThatIsOnlyReadIsNotCopied) {
  for (const std::string body :
       {"return torch.conv2d(x, self.w)", "y = torch.relu_(torch.conv2d(x, self.w))\ny += 1\nreturn y",
        "x = x - 0.5\nx.mul_(2)\nreturn torch.conv2d(x, self.w)",
        "l = [x]\nl.append(torch.conv2d(x, self.w))\nreturn l[1]"})
    EXPECT_EQ(copies_of_input(body), 0u) << body;
}

TEST(ToRun, AGradientReachesAnInputThatIsWritten) {
  auto x = pictures(2).requires_grad_();
  Runner(network_of("x -= 0.5\nx.mul_(2)\nreturn torch.conv2d(x, self.w)")).run(x).sum().backward();
  auto y = x.detach().clone().requires_grad_();
  convolved((y - 0.5) * 2).sum().backward();
  EXPECT_TRUE(close(x.grad(), y.grad(), 1e-5));
}

TEST(ToRun, AViewTakesChannelsLast) {
  const at::NoGradGuard no_grad;
  const std::string conv = "y = torch.conv2d(x, self.w)\n";
  const auto x = pictures(3);
  const auto y = convolved(x).contiguous();
  struct Case {
    std::string body;
    at::Tensor expected;
  };
  for (const auto& c :
       std::vector<Case>{{conv + "return y.view(y.size(0), -1)", y.flatten(1)},
                         {conv + "y = torch.relu_(y)\ny = y.view(-1, 8 * 49)\nreturn torch.relu_(y - 1)",
                          (y.relu() - 1).relu().flatten(1)},
                         {conv + "y = y.view(y.size(0), -1)\ny += 1\nreturn y.mul_(2)", (y.flatten(1) + 1) * 2},
                         {conv + "return y.view_as(torch.zeros([y.size(0), 392]))", y.flatten(1)},
                         {conv + "if y.dim() == 4:\n    y = y.view(y.size(0), 8, 49)\nreturn y", y.flatten(2)}}) {
    const auto network = network_of(c.body);
    EXPECT_EQ(engine::probe(network, x).output_shape, c.expected.sizes().vec()) << c.body;
    const Runner runner(network);
    EXPECT_TRUE(close(runner.run(x), c.expected, 1e-5)) << c.body;
    if (const auto plan = runner.plan(x, Precision::kFloat32)) {
      EXPECT_TRUE(close(plan->run(x), c.expected, 1e-4)) << c.body;
    }
  }
}

TEST(ToRun, AViewThroughWhichSomethingElseIsWrittenStays) {
  const at::NoGradGuard no_grad;
  const std::string body =
      "y = torch.conv2d(x, self.w)\nz = y.view(y.size(0), -1)\nz += 1\nreturn torch.conv2d(y[:, :3], "
      "self.w)";
  const auto x = pictures(2).contiguous();
  EXPECT_TRUE(close(Runner(network_of(body)).run(x), convolved((convolved(x) + 1).narrow(1, 0, 3)), 1e-4));
  EXPECT_GRAFT_ERROR(Runner(network_of(body)).run(pictures(2)), kMismatch, "view size");
}

TEST(ToRun, WhatIsBehindALayerTakesChannelsLast) {
  const auto beside = NetworkBuilder("Beside").build();
  const auto layer = NetworkBuilder("Layer", beside).parameter("w", kWeight).build("return torch.conv2d(x, self.w)");
  const auto network =
      NetworkBuilder("Test", beside).child("layer", layer).build("return self.layer.forward(x).view(x.size(0), -1)");
  const auto x = pictures(2);
  const at::NoGradGuard no_grad;
  EXPECT_TRUE(close(engine::Suffix(network, "layer").run(x, convolved(x)), convolved(x).flatten(1), 1e-5));
  // What is saved is what was loaded.
  ExtraFiles none;
  const std::string bytes = network.save({});
  const auto again = Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), "x.pt", none);
  const auto graph = flatten(again.jit().module).graph;
  EXPECT_THAT(graph->toString(), ::testing::HasSubstr("aten::view"));
}

}  // namespace
}  // namespace graft::graph
