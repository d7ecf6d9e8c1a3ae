#include "engine/quantize.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "engine/runner.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using graft::testing::slurp;
using ::testing::ElementsAre;

graph::Network load(const std::string& name) {
  const std::string bytes = slurp(golden("networks/" + name + ".pt"));
  graph::ExtraFiles none;
  return graph::Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), name, none);
}

at::Tensor pictures(std::int64_t n, std::int64_t side = 32) {
  return at::randn({n, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

Calibration calibrated(const graph::Network& network, const at::Tensor& x) {
  Calibrator calibrator(network);
  calibrator.observe(x);
  return calibrator.calibration();
}

/// The root of the mean squared difference of plan and interpreter, as a part of that of the outputs themselves.
double difference(const graph::Network& network, const Plan& plan, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  const auto expected = Runner(network).run(x);
  return ((plan.run(x) - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt()).item<double>();
}

class Int8 : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_eight_bit_arithmetic()) GTEST_SKIP() << "no int8 arithmetic in this processor";
  }
};

struct Case {
  const char* name;
  std::int64_t convolutions, linear;
};

TEST_F(Int8, NetworksAreQuantisedWhole) {
  for (const auto& c : {Case{"resnet_scripted", 14, 1}, Case{"resnet_traced", 14, 1}, Case{"vgg_scripted", 2, 3},
                        Case{"vgg_traced", 2, 3}, Case{"resnet_frozen", 14, 1}}) {
    const auto network = load(c.name);
    const auto x = pictures(32);
    const auto calibration = calibrated(network, x);
    for (const auto& single : {Sizes(), probe(network, pictures(1)).convolution_inputs}) {
      const auto plan = Plan::compile(network, Precision::kInt8, single, &calibration);
      ASSERT_TRUE(plan) << c.name;
      EXPECT_EQ(plan->summary().convolutions, c.convolutions) << c.name;
      EXPECT_EQ(plan->summary().convolutions_in_int8, c.convolutions) << c.name;
      EXPECT_EQ(plan->summary().linear_in_int8, c.linear) << c.name;
      EXPECT_THAT(plan->summary().in_float, ElementsAre("adaptive_avg_pool2d")) << c.name;
      EXPECT_EQ(plan->run(x).scalar_type(), at::kFloat);
      EXPECT_TRUE(measured(std::string("int8 plan of ") + c.name + ", root mean square beside float32",
                           difference(network, *plan, x), 0.05));
      EXPECT_TRUE(at::equal(plan->run(x), plan->run(x)));
      EXPECT_TRUE(at::equal(plan->run(x).narrow(0, 3, 1), plan->run(x.narrow(0, 3, 1))));
    }
  }
}

/// One with w0 [8, 3, 3, 3], w1 to w3 [8, 8, 3, 3] and a grouped one [8, 2, 3, 3]; wide [8, 16, 1, 1].
graph::Network network_of(const std::string& body) {
  graph::NetworkBuilder builder("Test");
  builder.parameter("w0", at::randn({8, 3, 3, 3}) / 3);
  for (const char* name : {"w1", "w2", "w3"}) builder.parameter(name, at::randn({8, 8, 3, 3}) / 6);
  builder.parameter("grouped", at::randn({8, 2, 3, 3}) / 3).parameter("wide", at::randn({8, 16, 1, 1}) / 4);
  builder.parameter("line", at::randn({5, 8})).parameter("b", at::randn({8}));
  return builder.build(body);
}

TEST_F(Int8, WhateverUsesWhatTheNumbersAreNear) {
  const std::string start = "y = torch.relu(torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1]))\n";
  const auto conv = [](const char* input, const char* weight) {
    return "torch.conv2d(" + std::string(input) + ", self." + weight + ", None, [1, 1], [1, 1])";
  };
  const std::string pool = "torch.max_pool2d(y, [3, 3], [2, 2], [1, 1])";
  for (const auto& body : std::vector<std::string>{
           start + "return y",
           start + "return torch.relu(" + conv("y", "w1") + " + y)",             // y may be written over
           start + "z = torch.relu(" + conv("y", "w1") + " + y)\nreturn z + y",  // and here it may not
           start + "z = torch.relu(" + conv("y", "w1") + " + y)\nreturn " + conv("z", "w2") + " + y",
           start + "z = " + conv("y", "w1") + " + y\nreturn " + conv("y", "w2") + " + z",
           start + "z = " + conv("y", "w1") + "\nreturn torch.relu(z) + torch.sigmoid(z)",   // float32 beside it
           start + "z = torch.sigmoid(" + conv("y", "w1") + ")\nreturn " + conv("z", "w2"),  // and between
           start + "z = y * 2\nreturn " + conv("z", "w1") + " + y",
           start + "y = " + pool + "\nreturn " + conv("y", "w1"),
           start + "y = " + pool + "\nreturn " + conv("y", "w1") + " + y",
           start + "return " + pool,
           start + "z = torch.cat([" + conv("y", "w1") + ", y], 1)\nreturn torch.conv2d(z, self.wide)",
           start + "z = torch.cat([y, y], 1)\nreturn torch.conv2d(z, self.wide) + y",
           start + "z = torch.cat([y, torch.sigmoid(y)], 1)\nreturn torch.conv2d(z, self.wide)",
           start + "return torch.cat([" + conv("y", "w1") + ", " + conv("y", "w2") + "], 1)",
           start + "z = torch.hardtanh(" + conv("y", "w1") + ", 0.0, 1.0)\nreturn " + conv("z", "w2"),
           start + "z = torch.hardtanh(" + conv("y", "w1") + ", -0.5, 0.5)\nreturn " + conv("z", "w2") + " + y",
           start + "z = torch.relu(torch.conv2d(y, self.grouped, self.b, [1, 1], [1, 1], [1, 1], 4) + y)\nreturn " +
               conv("z", "w1"),
           start + "z = torch.conv2d(y, self.grouped, self.b, [2, 1], [2, 0], [2, 1], 4)\nreturn " + conv("z", "w1"),
           start + "y.mul_(2)\nreturn " + conv("y", "w1"),
           start + "z = " + conv("y", "w1") + "\nz = torch.relu_(z.add_(y))\nreturn " + conv("z", "w2"),
           start + "return torch.linear(y.mean([2, 3]), self.line)",
           start + "z = torch.max_pool2d(y, [9, 9])\nreturn torch.linear(z.flatten(1), self.line)",
           start + "z = torch.linear(torch.max_pool2d(y, [9, 9]).flatten(1), self.line)\nreturn torch.relu(z)"}) {
    const auto network = network_of(body);
    const auto x = pictures(6, 9);
    const auto calibration = calibrated(network, x);
    const auto plan = Plan::compile(network, Precision::kInt8, {}, &calibration);
    ASSERT_TRUE(plan) << body;
    EXPECT_EQ(plan->summary().convolutions_in_int8, plan->summary().convolutions) << body;
    EXPECT_LT(difference(network, *plan, x), 0.04) << body;
    EXPECT_TRUE(at::equal(plan->run(x), plan->run(x))) << body;
  }
}

TEST_F(Int8, WhatIsAddedMayBeWrittenBeforeTheRelu) {
  const auto network = network_of(
      "y = torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1])\n"
      "z = torch.conv2d(y, self.w1, None, [1, 1], [1, 1]) + y\n"
      "y.mul_(3)\n"
      "return torch.relu(z) + y");
  const auto x = pictures(6, 9);
  Calibrator calibrator(network);
  const auto expected = Runner(network).run(x);
  EXPECT_LT((calibrator.observe(x) - expected).abs().max().item<double>(), 1e-4 * expected.abs().max().item<double>());
}

TEST_F(Int8, AGraphThatAnswersOtherwiseIsRefused) {
  const auto network = network_of(  // a fused addition cannot broadcast the convolution
      "y = torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1])\n"
      "return torch.relu(torch.conv2d(y.mean([2, 3], True), self.w1, None, [1, 1], [1, 1]) + y)");
  Calibrator calibrator(network);
  EXPECT_GRAFT_ERROR(calibrator.observe(pictures(2, 9)), kMismatch, "");
}

TEST_F(Int8, WhatWasNotMeasuredStaysInFloat32) {
  const auto network = network_of("return torch.relu(torch.conv2d(torch.sigmoid(x), self.w0, self.b))");
  const auto x = pictures(4, 9);
  auto calibration = calibrated(network, x);
  ASSERT_EQ(calibration.size(), 3u);  // input, sigmoid and the convolution
  calibration[1].reset();
  const auto plan = Plan::compile(network, Precision::kInt8, {}, &calibration);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->summary().convolutions_in_int8, 0);
  EXPECT_LT(difference(network, *plan, x), 1e-5);
}

TEST_F(Int8, ALargeBatchRunsInSlices) {
  const auto network = load("resnet_scripted");
  const auto x = pictures(7, 1024);
  const auto calibration = calibrated(network, x.narrow(0, 0, 1));
  const auto plan = Plan::compile(network, Precision::kInt8, {}, &calibration);
  ASSERT_TRUE(plan);
  const auto together = plan->run(x);
  for (std::int64_t i = 0; i < 7; ++i) EXPECT_TRUE(at::equal(together[i], plan->run(x.narrow(0, i, 1))[0]));
}

TEST_F(Int8, ARunnerWantsACalibrationOfItsWeights) {
  const auto network = load("resnet_scripted");
  Runner runner(network);
  const auto x = pictures(2);
  EXPECT_GRAFT_ERROR(runner.plan(x, Precision::kInt8), kConfig, "graft quantize");
  runner.set_calibration(calibrated(network, x));
  const auto first = runner.plan(x, Precision::kInt8);
  ASSERT_TRUE(first);
  EXPECT_EQ(runner.plan(x, Precision::kInt8), first);
  EXPECT_NE(runner.plan(x, Precision::kFloat32), first);
  {
    const at::NoGradGuard no_grad;
    at::Tensor(network.named_parameters()[0].second).detach().mul_(1.5);
  }
  EXPECT_EQ(runner.calibration(), nullptr);
  EXPECT_GRAFT_ERROR(runner.plan(x, Precision::kInt8), kConfig, "the weights are not those");
  runner.set_calibration(calibrated(network, x));
  EXPECT_NE(runner.plan(x, Precision::kInt8), first);

  auto shorter = calibrated(network, x);
  shorter.pop_back();
  runner.set_calibration(shorter);
  EXPECT_GRAFT_ERROR(runner.plan(x, Precision::kInt8), kMismatch, "calibration");
}

TEST_F(Int8, WhatCannotBeCalibratedSaysSo) {
  EXPECT_GRAFT_ERROR(Calibrator(graph::NetworkBuilder("Test")
                                    .parameter("w", at::ones({2, 3}))
                                    .build("return torch.linear(x.mean([2, 3]), self.w)")),
                     kMismatch, "compiled for the CPU");
  EXPECT_GRAFT_ERROR(calibrated(network_of("return torch.log(torch.conv2d(x, self.w0) - 100)"), pictures(1)), kNumeric,
                     "not a finite number");
}

}  // namespace
}  // namespace graft::engine
