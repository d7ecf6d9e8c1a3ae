#include "engine/plan.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/prepared_convolution.h"
#include "engine/probe.h"
#include "engine/runner.h"
#include "engine/winograd_kernels.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::measured;
using graft::testing::slurp;

graph::Network load(const std::string& name) {
  const std::string bytes = slurp(golden("networks/" + name + ".pt"));
  graph::ExtraFiles none;
  return graph::Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), name, none);
}

at::Tensor pictures(std::int64_t n, std::int64_t side = 32) {
  return at::randn({n, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

/// Largest difference of plan and interpreter, as a part of the largest output.
double difference(const graph::Network& network, const Plan& plan, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  const auto expected = Runner(network).run(x);
  return (plan.run(x) - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

std::int64_t own_convolutions(const Plan& plan) {
  std::int64_t all = 0;
  for (const auto& [name, count] : plan.summary().operators) all += name.starts_with("graft::convolution") ? count : 0;
  return all;
}

struct Case {
  const char* name;
  std::int64_t convolutions, with_relu, with_add;
};

TEST(Plan, NetworksAreCompiledWhole) {
  for (const auto& c : {Case{"resnet_scripted", 14, 13, 4}, Case{"resnet_traced", 14, 13, 4},
                        Case{"vgg_scripted", 2, 2, 0}, Case{"vgg_traced", 2, 2, 0}}) {
    const auto network = load(c.name);
    const auto plan = Plan::compile(network, Precision::kFloat32);
    ASSERT_TRUE(plan) << c.name;
    EXPECT_EQ(plan->summary().convolutions, c.convolutions) << c.name;
    EXPECT_EQ(plan->summary().fused, c.convolutions) << c.name;
    EXPECT_EQ(plan->summary().with_relu, c.with_relu) << c.name;
    EXPECT_EQ(plan->summary().with_add, c.with_add) << c.name;
    double most = 0;
    for (const auto& x : {pictures(1), pictures(5), pictures(2, 48)})
      if (std::string(c.name).starts_with("resnet") || x.size(2) == 32)
        most = std::max(most, difference(network, *plan, x));
    EXPECT_TRUE(measured(std::string("plan of ") + c.name + " beside the interpreter", most, 1e-4));
  }
}

TEST(Plan, BFloat16IsClose) {
  // Of ResNet's fourteen convolutions one is added to what max pooling yields, which is not written over.
  for (const auto& [name, own] : {std::pair("resnet_scripted", 13), std::pair("vgg_scripted", 2)}) {
    const auto network = load(name);
    const auto plan = Plan::compile(network, Precision::kBFloat16);
    if (!plan) GTEST_SKIP() << "no bfloat16 on this processor";
    const auto x = pictures(4);
    EXPECT_EQ(plan->run(x).scalar_type(), at::kFloat);
    EXPECT_TRUE(measured(std::string("bfloat16 plan of ") + name, difference(network, *plan, x), 0.05));
    const auto single = Plan::compile(network, Precision::kBFloat16, probe(network, pictures(1)).convolution_inputs);
    ASSERT_TRUE(single);
    if (takes_bfloat16(Geometry())) {
      EXPECT_EQ(own_convolutions(*single), own);
    }
    EXPECT_TRUE(
        measured(std::string("bfloat16 plan for single pictures of ") + name, difference(network, *single, x), 0.05));
  }
}

/// One with three convolutions, w1 to w3 [16, 16, 3, 3] behind w0 [16, 3, 3, 3], and this body.
graph::Network network_of(const std::string& body) {
  graph::NetworkBuilder builder("Test");
  builder.parameter("w0", at::randn({16, 3, 3, 3}) / 4);
  for (const char* name : {"w1", "w2", "w3"}) builder.parameter(name, at::randn({16, 16, 3, 3}) / 10);
  builder.parameter("grouped", at::randn({16, 4, 3, 3})).parameter("b", at::randn({16}));
  return builder.build(body);
}

TEST(Plan, WhateverUsesWhatTheNumbersAreTheSame) {
  const std::string start = "y = torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1])\n";
  const auto conv = [](const char* input, const char* weight) {
    return "torch.conv2d(" + std::string(input) + ", self." + weight + ", None, [1, 1], [1, 1])";
  };
  for (const auto& body : std::vector<std::string>{
           start + "return torch.relu(" + conv("y", "w1") + " + y)",             // y may be written over
           start + "z = torch.relu(" + conv("y", "w1") + " + y)\nreturn z + y",  // and here it may not
           start + "z = " + conv("y", "w1") + " + y\nreturn " + conv("y", "w2") +
               " + z",  // used by a later convolution
           start + "return " + conv("y", "w1") + " + " + conv("y", "w2"),
           start + "z = " + conv("y", "w1") + "\nreturn z + z",
           start + "z = " + conv("y", "w1") + "\nreturn torch.relu(z) + torch.sigmoid(z)",
           start + "z = torch.relu_(" + conv("y", "w1") + ")\nz = z.add_(y)\nreturn torch.relu_(z)",
           start + "z = y.add_(" + conv("y", "w1") + ")\nreturn z + y",
           start + "z = " + conv("y", "w1") + "\nr = torch.relu_(y)\nreturn z + r",
           start + "z = " + conv("y", "w1") + "\ny[:, 0] = 1.0\nreturn z + y",
           start + "z = " + conv("y", "w1") + "\nu = " + conv("y", "w2") + "\nv = torch.relu(z + u)\nreturn v + y",
           start + "z = " + conv("y", "w1") + "\nu = " + conv("y", "w2") + "\nv = z + y\nreturn (u + v) * y",
           start + "z = " + conv("y", "w1") + "\ny.mul_(2)\nreturn torch.relu(z) + y",
           start + "z = " + conv("y", "w1") + " + y\ny.mul_(3)\nreturn torch.relu(z) + y",
           start + "z = y.flatten(1)\nreturn torch.relu(" + conv("y", "w1") + " + y).flatten(1) + z",
           start + "return torch.add(" + conv("y", "w1") + ", y, alpha=2)",
           start + "return " + conv("y", "w1") + " + 1.0",
           start + "return " + conv("y", "w1") + " + y.mean([2, 3], True)",
           start + "return torch.relu(torch.conv2d(y, self.grouped, self.b, [2, 1], [2, 0], [2, 1], 4))",
           "if x.size(0) > 100:\n    x = x * 2\n" + start + "return torch.relu(y)"}) {
    const auto network = network_of(body);
    const auto plan = Plan::compile(network, Precision::kFloat32);
    ASSERT_TRUE(plan) << body;
    EXPECT_GT(plan->summary().fused, 0) << body;
    const auto x = pictures(3, 9);
    EXPECT_LT(difference(network, *plan, x), 1e-5) << body;
    EXPECT_TRUE(at::equal(plan->run(x), plan->run(x))) << body;
    const auto rounded =
        Plan::compile(network, Precision::kBFloat16, probe(network, x.narrow(0, 0, 1)).convolution_inputs);
    if (rounded) {
      EXPECT_LT(difference(network, *rounded, x), 0.05) << body;
    }
  }
}

TEST(Plan, SinglePicturesHaveAPlanOfTheirOwn) {
  const auto network = load("resnet_traced");
  const auto inputs = probe(network, pictures(1)).convolution_inputs;
  ASSERT_FALSE(inputs.empty());
  EXPECT_EQ(inputs.front(), pictures(1).sizes().vec());
  const auto single = Plan::compile(network, Precision::kFloat32, inputs);
  ASSERT_TRUE(single);
  EXPECT_EQ(single->summary().with_add, 4);
  for (const auto& x : {pictures(1), pictures(6), pictures(1, 48)}) EXPECT_LT(difference(network, *single, x), 1e-4);
  const Runner runner(network);
  EXPECT_NE(runner.plan(pictures(1), Precision::kFloat32), runner.plan(pictures(2), Precision::kFloat32));
  EXPECT_EQ(runner.plan(pictures(3), Precision::kFloat32), runner.plan(pictures(2), Precision::kFloat32));
}

TEST(Plan, ThreeByThreeConvolutionsAreOurs) {
  if (!winograd::is_available()) GTEST_SKIP() << "no AVX-512 in this processor";
  const auto network = network_of(
      "x = torch.relu(torch.conv2d(x, self.w0, None, [1, 1], [1, 1]))\n"
      "y = torch.relu(torch.conv2d(x, self.w1, self.b, [1, 1], [1, 1]))\n"
      "return torch.relu(torch.conv2d(y, self.w2, None, [1, 1], [1, 1]) + x)");
  for (const auto side : {5, 32}) {
    const auto single =
        Plan::compile(network, Precision::kFloat32, probe(network, pictures(1, side)).convolution_inputs);
    ASSERT_TRUE(single);
    EXPECT_EQ(own_convolutions(*single), side == 5 ? 0 : 2) << "one picture of " << side;
    EXPECT_LT(difference(network, *single, pictures(1, side)), 1e-5);
  }
  const auto batches = Plan::compile(network, Precision::kFloat32);
  ASSERT_TRUE(batches);
  EXPECT_EQ(own_convolutions(*batches), 2);
  EXPECT_EQ(batches->summary().fused, 3);
  EXPECT_LT(difference(network, *batches, pictures(7, 33)), 1e-5);
}

TEST(Plan, ALargeBatchRunsInSlices) {
  const auto network = load("resnet_scripted");
  for (const auto precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const auto plan = Plan::compile(network, precision);
    if (!plan) continue;
    const auto x = pictures(7, 1024), y = pictures(40, 32);
    const auto together = plan->run(x);
    EXPECT_EQ(together.sizes(), at::IntArrayRef({7, 5}));
    EXPECT_TRUE(at::equal(together, plan->run(x)));
    for (std::int64_t i = 0; i < 7; ++i)
      EXPECT_TRUE(at::allclose(together[i], plan->run(x.narrow(0, i, 1))[0], 1e-4,
                               precision == Precision::kFloat32 ? 1e-5 : 2e-2));
    const auto small = plan->run(y);  // memory of large pictures serves small ones
    EXPECT_TRUE(at::equal(small, plan->run(y)));
    EXPECT_FALSE(together.is_alias_of(small));
  }
}

TEST(Plan, AnAdditionThatBroadcastsTheConvolutionIsNotAnsweredWrongly) {
  const auto network = network_of(
      "y = torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1])\n"
      "return torch.relu(torch.conv2d(y.mean([2, 3], True), self.w1, None, [1, 1], [1, 1]) + y)");
  const Runner runner(network);
  for (const auto& x : {pictures(1, 9), pictures(3, 9)}) {
    const auto plan = runner.plan(x, Precision::kFloat32);
    EXPECT_TRUE(!plan || difference(network, *plan, x) < 1e-5);
  }
}

TEST(Plan, AnAddendThatChangesBeforeTheActivationIsNotFused) {  // int8 is not checked against the interpreter
  const auto network = network_of(
      "z = torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1])\n"
      "y = torch.conv2d(z, self.w1, None, [1, 1], [1, 1]) + z\n"
      "z.mul_(3)\n"
      "return torch.relu(y) + z");
  const auto plan = Plan::compile(network, Precision::kFloat32);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->summary().with_relu, 0);
  EXPECT_LT(difference(network, *plan, pictures(3, 9)), 1e-5);
}

TEST(Plan, WhoeverGivesAnInputKeepsIt) {
  const auto network = network_of(
      "x.mul_(2)\n"
      "return torch.relu(torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1]))");
  const auto given = pictures(2, 9), kept = given.clone();
  const Runner runner(network);
  const auto first = runner.run(given);
  const auto plan = runner.plan(given, Precision::kFloat32);
  ASSERT_TRUE(plan);
  const auto second = plan->run(given);
  EXPECT_TRUE(at::equal(given, kept));
  EXPECT_TRUE(first.allclose(runner.run(given)));
  EXPECT_TRUE(close(second, first, 1e-5));
}

TEST(Plan, RowsThatDoNotLieOneAfterAnotherCanBeViewed) {  // channels last, as all inputs are
  const std::string start = "y = torch.relu_(torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1]))\n";
  const auto x = pictures(2, 9);
  for (const std::string body : {"return y.view([x.size(0), -1])", "return torch.relu_(y.view([x.size(0), -1]) * 2)"}) {
    const auto network = network_of(start + body);
    const auto found = Runner(network).run(x);
    EXPECT_TRUE(close(found, Runner(network).run(x.contiguous()), 1e-5)) << body;
    EXPECT_EQ(probe(network, x).output_shape, found.sizes().vec()) << body;
    const auto plan = Plan::compile(network, Precision::kFloat32);
    ASSERT_TRUE(plan) << body;
    EXPECT_TRUE(close(plan->run(x), found, 1e-4)) << body;
  }
  // What is written into a view is seen behind it: a copy would be wrong.
  const Runner writing(network_of(start + "v = y.view([x.size(0), -1])\nv.mul_(0)\nreturn y"));
  EXPECT_GRAFT_ERROR(writing.run(x), kMismatch, "view");
}

TEST(Plan, NothingToGainIsNoPlan) {
  EXPECT_FALSE(Plan::compile(graph::NetworkBuilder("Test")
                                 .parameter("w", at::ones({2, 3}))
                                 .build("return torch.linear(x.mean([2, 3]), self.w)"),
                             Precision::kFloat32));
}

TEST(Plan, ItSaysWhatItIsMadeOfAndWhatNot) {
  const auto network = network_of(
      "y = torch.relu(torch.conv2d(x, self.w0, self.b, [1, 1], [1, 1]))\n"
      "z = torch.conv2d(y, self.w1 * y.mean(), None, [1, 1], [1, 1])\n"
      "z = torch.conv_transpose2d(z, self.w2)\n"
      "return torch.conv2d(z, self.w3, self.b, padding=\"same\").mean([2, 3])");
  const auto plan = Plan::compile(network, Precision::kFloat32);
  ASSERT_TRUE(plan);
  const auto& summary = plan->summary();
  EXPECT_EQ(summary.obstacle, "");
  EXPECT_EQ(summary.fused, 1);
  EXPECT_EQ(summary.unfused, (std::vector<std::string>{"a convolution: its weight is computed when it runs",
                                                       "w2: conv_transpose2d", "w3: its padding is a word"}));
  EXPECT_EQ(summary.operators.at("mkldnn::_convolution_pointwise"), 1);
  EXPECT_EQ(summary.operators.at("aten::conv2d"), 2);

  PlanSummary none;
  EXPECT_FALSE(Plan::compile(graph::NetworkBuilder("Test").parameter("w", at::ones({2, 3})).build("return x + self.w"),
                             Precision::kFloat32, {}, nullptr, &none));
  EXPECT_THAT(none.obstacle, ::testing::HasSubstr("no convolution"));
}

TEST(Plan, AFrozenArchiveHasOne) {
  const auto network = load("resnet_frozen");
  const Runner runner(network);
  for (const auto& x : {pictures(1), pictures(3)}) {
    const auto plan = runner.plan(x, Precision::kFloat32);
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->summary().fused, plan->summary().convolutions);
    EXPECT_LT(difference(network, *plan, x), 1e-4);
  }
}

TEST(Plan, AnAnswerThatIsKnownChecksIt) {
  const auto network = load("resnet_scripted");
  const at::NoGradGuard no_grad;
  const auto x = pictures(1);
  const auto right = Runner(network).run(x);
  Runner runner(network);
  EXPECT_TRUE(runner.answers(x, right));
  EXPECT_TRUE(runner.plan(x, Precision::kFloat32));
  for (const auto& wrong : {right + 0.1 * right.abs().max().item<double>(), right.narrow(1, 0, 2)}) {
    Runner other(network);
    EXPECT_FALSE(other.answers(x, wrong));
    EXPECT_TRUE(other.run(x).allclose(right));
  }
  for (const auto& [name, tensor] : network.named_parameters())
    if (name == "fc.bias") at::Tensor(tensor).detach().add_(1);
  EXPECT_LT(difference(network, *runner.plan(x, Precision::kFloat32), x), 1e-4);  // not beside the old answer
}

TEST(Plan, AnInputThatIsFilledAnewDoesNotSpoilTheNextPlan) {
  const Runner runner(load("resnet_scripted"));
  const auto buffer = pictures(2);
  EXPECT_TRUE(runner.plan(buffer, Precision::kFloat32));
  buffer.normal_();
  EXPECT_TRUE(runner.plan(buffer.narrow(0, 0, 1), Precision::kFloat32));  // another plan, checked by the same answer
}

TEST(Plan, AChangedWeightIsNoticed) {
  const auto network = load("resnet_scripted");
  const Runner runner(network);
  const auto x = pictures(2);
  const auto first = runner.plan(x, Precision::kFloat32);
  EXPECT_EQ(runner.plan(x, Precision::kFloat32), first);
  for (const char* name : {"layer1.0.conv1.weight", "bn1.running_var", "fc.bias"}) {
    const auto before = runner.plan(x, Precision::kFloat32);
    const at::NoGradGuard no_grad;
    for (auto& tensors : {network.named_parameters(), network.named_buffers()})
      for (const auto& [tensor_name, tensor] : tensors)
        if (tensor_name == name) at::Tensor(tensor).detach().mul_(1.5);
    const auto after = runner.plan(x, Precision::kFloat32);
    EXPECT_NE(after, before) << name;
    EXPECT_LT(difference(network, *after, x), 1e-4) << name;
  }
}

TEST(Plan, AWeightWrittenPastTheCountOfItsChangesIsNoticed) {
  const auto network = load("resnet_scripted");
  const Runner runner(network);
  const auto x = pictures(2);
  const auto before = runner.plan(x, Precision::kFloat32);
  for (const auto& [name, tensor] : network.named_parameters()) {
    if (name != "layer1.0.conv1.weight") continue;
    const auto version = tensor._version();
    tensor.data().mul_(1.5);
    ASSERT_EQ(tensor._version(), version);
  }
  const auto after = runner.plan(x, Precision::kFloat32);
  EXPECT_NE(after, before);
  EXPECT_LT(difference(network, *after, x), 1e-4);
}

TEST(Plan, ThreadsGetTheSameNumbers) {
  const auto network = load("resnet_scripted");
  const Runner runner(network);
  const auto x = pictures(3);
  const auto expected = Plan::compile(network, Precision::kFloat32)->run(x);
  std::vector<at::Tensor> found(4);
  std::vector<std::thread> threads;
  for (auto& output : found)
    threads.emplace_back([&] {
      for (int i = 0; i < 10; ++i) output = runner.plan(x, Precision::kFloat32)->run(x);
    });
  for (auto& thread : threads) thread.join();
  for (const auto& output : found) EXPECT_TRUE(at::equal(output, expected));
}

}  // namespace
}  // namespace graft::engine
