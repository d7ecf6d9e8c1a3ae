#include "engine/split_runner.h"

#include <locale>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/seeded_generator.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::measured;
using graft::testing::slurp;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

graph::Network load(const std::string& name) {
  const std::string bytes = slurp(golden("networks/" + name + ".pt"));
  graph::ExtraFiles none;
  return graph::Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), name, none);
}

/// Trains what begins with one of these names; batch norms train if their parameters do.
void train_only(graph::Network& network, const std::vector<std::string>& trained) {
  const auto trains = [&](const std::string& name) {
    return std::any_of(trained.begin(), trained.end(), [&](const auto& prefix) { return name.starts_with(prefix); });
  };
  for (auto& [name, tensor] : network.named_parameters()) tensor.set_requires_grad(trains(name));
  std::vector<std::string> inference;
  for (const auto& layer : network.batch_norms())
    if (!trains(layer + ".")) inference.push_back(layer);
  network.set_training(true, inference);
}

std::vector<std::string> names(const graph::NamedTensors& tensors) {
  std::vector<std::string> list;
  for (const auto& [name, tensor] : tensors) list.push_back(name);
  return list;
}

std::vector<std::string> trunk_parameters(const SplitRunner& split) {
  return split.has_trunk() ? names(split.trunk_network().named_parameters()) : std::vector<std::string>();
}

/// The output, the gradients of all that trains, and the buffers afterwards.
std::vector<at::Tensor> step(graph::Network& network, const std::function<at::Tensor(const at::Tensor&)>& forward,
                             const at::Tensor& x) {
  std::vector<at::Tensor> before;
  for (const auto& [name, tensor] : network.named_buffers()) before.push_back(tensor.clone());
  const base::SeededGenerator generator(at::kCPU, 1);  // the same dropout for both
  const auto output = forward(x);
  (output * at::arange(output.numel()).view(output.sizes()).cos()).sum().backward();
  std::vector<at::Tensor> found{output.detach()};
  for (auto& [name, tensor] : network.named_parameters()) {
    if (!tensor.requires_grad()) continue;
    found.push_back(tensor.grad().clone());
    tensor.mutable_grad().reset();
  }
  const at::NoGradGuard no_grad;
  std::size_t i = 0;
  for (auto& [name, tensor] : network.named_buffers()) {
    found.push_back(tensor.to(at::kFloat));  // a copy: the sum below would read what is put back
    found.back() = found.back().clone();
    tensor.copy_(before[i++]);
  }
  return found;
}

/// Largest difference between a step of the whole network and one in two parts, as a part of the largest value.
double difference(graph::Network& network, const SplitRunner& split, const at::Tensor& x) {
  const Runner whole(network);
  const auto expected = step(network, [&](const at::Tensor& input) { return whole.run(input); }, x);
  const auto found = step(
      network,
      [&](const at::Tensor& input) {
        at::Tensor features;
        {
          const at::NoGradGuard no_grad;
          features = split.trunk().run(input);
        }
        EXPECT_FALSE(features.requires_grad());
        return split.train(features);
      },
      x);
  double most = found.size() == expected.size() ? 0 : INFINITY;
  for (std::size_t i = 0; i < found.size() && i < expected.size(); ++i)
    most = std::max(most, (found[i] - expected[i]).abs().max().item<double>() /
                              std::max(1.0, expected[i].abs().max().item<double>()));
  return most;
}

at::Tensor pictures(std::int64_t n, std::int64_t side = 32) {
  return at::randn({n, 3, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

TEST(SplitRunner, TwoPartsAreTheWholeAtEveryFreezePoint) {
  struct Case {
    const char* name;
    std::vector<std::string> trained;
    std::string first_of_rest;  ///< the trunk holds the parameters before this one
  };
  for (const auto& c : std::vector<Case>{{"resnet_scripted", {"fc"}, "fc.weight"},
                                         {"resnet_traced", {"fc"}, "fc.weight"},
                                         {"resnet_scripted", {"layer2", "fc"}, "layer2.0.conv1.weight"},
                                         {"resnet_scripted", {"layer2.1.bn2", "fc"}, "layer2.1.conv1.weight"},
                                         {"vgg_scripted", {"classifier"}, "classifier.0.weight"},
                                         {"vgg_traced", {"classifier.6"}, "classifier.6.weight"},
                                         {"vgg_scripted", {"features.3", "classifier"}, "features.3.weight"}}) {
    auto network = load(c.name);
    const auto all = names(network.named_parameters());
    const bool fits = std::find(all.begin(), all.end(), c.first_of_rest) != all.end();
    if (!fits) {
      ADD_FAILURE() << c.name << " has " << ::testing::PrintToString(all);
      continue;
    }
    train_only(network, c.trained);
    const SplitRunner split(network);
    const std::string what = std::string(c.name) + " " + c.trained.front();
    const std::vector<std::string> expected(all.begin(), std::find(all.begin(), all.end(), c.first_of_rest));
    EXPECT_THAT(trunk_parameters(split), ::testing::UnorderedElementsAreArray(expected)) << what;
    if (!split.has_trunk()) continue;
    const auto x = pictures(5);
    EXPECT_TRUE(measured("one step in two parts, " + what, difference(network, split, x), 1e-5));
    // The plan of the trunk, and the rest in evaluation mode.
    const at::NoGradGuard no_grad;
    const auto plan = split.trunk().plan(x, Precision::kFloat32);
    ASSERT_TRUE(plan) << what;
    network.set_training(false);
    EXPECT_TRUE(close(split.rest().run(plan->run(x)), Runner(network).run(x), 1e-4)) << what;
  }
}

TEST(SplitRunner, TheCutMovesWithWhatTrains) {
  auto network = load("resnet_scripted");
  train_only(network, {"fc"});
  const SplitRunner head(network);
  EXPECT_EQ(head.trunk().run(pictures(2)).dim(), 2);  // pooling needs no parameters, so it is part of it
  EXPECT_TRUE(head.is_current());
  train_only(network, {"layer2", "fc"});
  EXPECT_FALSE(head.is_current());
  const SplitRunner upper(network);
  EXPECT_LT(trunk_parameters(upper).size(), trunk_parameters(head).size());
  EXPECT_NE(upper.trunk_text(), head.trunk_text());
  train_only(network, {""});
  EXPECT_FALSE(SplitRunner(network).has_trunk());
  EXPECT_FALSE(upper.is_current());

  train_only(network, {"fc"});
  const SplitRunner again(network);
  EXPECT_EQ(again.trunk_text(), head.trunk_text());
  network.set_training(true);  // the statistics of all batch norms move
  EXPECT_FALSE(again.is_current());
  EXPECT_THAT(trunk_parameters(SplitRunner(network)), ElementsAre("conv1.weight"));
  train_only(network, {"fc"});
  EXPECT_TRUE(again.is_current());
  const at::NoGradGuard no_grad;
  network.named_buffers().front().second.add_(1);
  EXPECT_FALSE(again.is_current());
}

/// Convolutions w0 [4, 3, 3, 3] and w1, w2 [4, 4, 3, 3], linear layers v [5, 4] and u [4, 4], all of which train whose
/// names the body has in upper case.
graph::Network network_of(std::string body) {
  graph::NetworkBuilder builder("Test");
  for (const auto& [name, value] : graph::NamedTensors{{"w0", at::randn({4, 3, 3, 3}) / 3},
                                                       {"w1", at::randn({4, 4, 3, 3}) / 4},
                                                       {"w2", at::randn({4, 4, 3, 3}) / 4},
                                                       {"v", at::randn({5, 4})},
                                                       {"u", at::randn({4, 4})}}) {
    builder.parameter(name, value);
    builder.parameter(std::string(1, static_cast<char>(std::toupper(name[0]))) + name.substr(1),
                      value.clone().set_requires_grad(true));
  }
  builder.buffer("count", at::zeros({1})).buffer("mean", at::zeros({4})).buffer("var", at::ones({4}));
  return builder.build(body);
}

struct Body {
  const char* body;
  std::vector<std::string> trunk;  ///< its parameters; none: not cut
};

TEST(SplitRunner, WhateverUsesWhatTheStepIsTheSame) {
  const std::string start = "y = torch.conv2d(x, self.w0, None, [1, 1], [1, 1])\n";
  const std::string end = "return torch.linear(y.mean([2, 3]), self.V)";
  for (const auto& c : std::vector<Body>{
           {"y = torch.relu_(y)\n", {"w0"}},
           {"y = torch.conv2d(torch.relu(y), self.w1, None, [1, 1], [1, 1])\n", {"w0", "w1"}},
           // Two ways to what trains: the cut lies before they part.
           {"z = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n"
            "y = y + torch.conv2d(z, self.W2, None, [1, 1], [1, 1])\n",
            {"w0"}},
           {"z = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n"
            "y = torch.conv2d(torch.cat([y, z], 1)[:, 2:6], self.W2, None, [1, 1], [1, 1])\n",
            {"w0", "w1"}},
           {"y = y + torch.conv2d(x, self.W0, None, [1, 1], [1, 1])\n", {}},
           {"y = y * x.mean()\n", {"w0"}},
           {"z = torch.linear(y.mean([2, 3]), self.U)\ny = y * z.unsqueeze(2).unsqueeze(3)\n", {"w0"}},
           {"z = torch.linear(y.mean([2, 3]), self.U)\ny = y * z.unsqueeze(2).unsqueeze(3) * x.mean()\n", {}},
           // Writes into memory that others see.
           {"z = y + self.U[0, 0]\ny.mul_(2)\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1]) + z\n", {"w0"}},
           {"z = y.view(y.size())\nz.mul_(2)\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n", {"w0", "w1"}},
           {"z = y.view(y.size())\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\ny = y * z.mul_(2).sum()\n",
            {"w0", "w1"}},
           {"y[:, 0] = self.U[0, 0] * 2\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n", {"w0"}},
           {"l = [y]\nl.append(torch.conv2d(y, self.w1, None, [1, 1], [1, 1]))\ny = torch.cat(l, 1)[:, 2:6]\n",
            {"w0", "w1"}},
           {"l = [y]\nl.append(torch.conv2d(y, self.W1, None, [1, 1], [1, 1]))\ny = torch.cat(l, 1)[:, 2:6]\n", {"w0"}},
           // Buffers that a step changes.
           {"if self.training:\n    self.count.add_(1)\ny = y * self.count\n", {"w0"}},
           {"if self.training:\n    self.count.add_(1)\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n",
            {"w0"}},  // might be the same
           {"y = y * self.count\ny = y * y.sum()\nif self.training:\n    self.count.add_(1)\n", {"w0"}},
           {"y = torch.batch_norm(y, None, None, self.mean, self.var, self.training, 0.1, 1e-5, False)\n", {"w0"}},
           {"y = torch.batch_norm(y, None, None, self.mean, self.var, False, 0.1, 1e-5, False)\n", {"w0"}},
           {"y = torch.instance_norm(y, None, None, self.mean, self.var, self.training, 0.1, 1e-5, False)\n", {"w0"}},
           // Control flow.
           {"if y.size(0) > 100:\n    y = y * 2\n", {"w0"}},
           {"if y.size(0) < 100:\n    y = y * self.U[0, 0]\ny = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n",
            {"w0"}},
           {"if bool(y.sum() > 0):\n    y = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n", {"w0", "w1"}},
           {"for i in range(y.size(0)):\n    y = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n", {"w0", "w1"}},
           {"assert y.size(1) == 4\ny = y.relu()\n", {"w0"}},
           // Another network in training than in evaluation.
           {"if self.training:\n    y = torch.conv2d(y, self.w1, None, [1, 1], [1, 1])\n", {"w0"}},
           {"y = torch.conv2d(y, self.w1 if self.training else self.w2, None, [1, 1], [1, 1])\n", {"w0"}},
       }) {
    SCOPED_TRACE(c.body);
    auto network = network_of(start + c.body + end);
    // What does not take part has no gradient.
    for (auto& [name, tensor] : network.named_parameters())
      if (std::string(start + c.body + end).find("self." + name) == std::string::npos) tensor.set_requires_grad(false);
    network.set_training(true);
    const SplitRunner split(network);
    EXPECT_EQ(trunk_parameters(split), c.trunk) << c.body;
    if (!split.has_trunk()) continue;
    const auto x = pictures(3, 6);
    EXPECT_LT(difference(network, split, x), 1e-6) << c.body;
    network.set_training(false);
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(close(split.rest().run(split.trunk().run(x)), Runner(network).run(x), 1e-6)) << c.body;
  }
}

TEST(SplitRunner, WhatIsDrawnAnewTrainsWithTheRest) {
  for (const char* body :
       {"y = torch.dropout(y, 0.5, self.training)\n", "y = y * torch.rand([1])\n", "y = torch.dropout(y, 0.5, True)\n",
        "y = y + torch.randn_like(y)\n", "y = torch.feature_dropout(y, 0.5, self.training)\n"}) {
    auto network = network_of("y = torch.conv2d(x, self.w0)\n" + std::string(body) +
                              "y = torch.conv2d(y, self.w1)\nreturn torch.linear(y.mean([2, 3]), self.V)");
    network.set_training(true);
    EXPECT_THAT(trunk_parameters(SplitRunner(network)), ElementsAre("w0")) << body;
  }
  auto network = network_of(
      "y = torch.dropout(torch.conv2d(x, self.w0), 0.5, False)\n"
      "return torch.linear(torch.conv2d(y, self.w1).mean([2, 3]), self.V)");
  network.set_training(true);
  EXPECT_THAT(trunk_parameters(SplitRunner(network)), ElementsAre("w0", "w1"));
}

TEST(SplitRunner, WhereNothingIsWorthItTheNetworkStaysWhole) {
  for (const char* body : {"return torch.linear(x.mean([2, 3]), self.V[:, :3])",  // no layer before it
                           "return torch.linear(torch.conv2d(x, self.w0).mean([2, 3]), self.v)"}) {  // nothing trains
    auto network = network_of(body);
    network.set_training(true);
    EXPECT_THAT(trunk_parameters(SplitRunner(network)), IsEmpty()) << body;
  }
}

TEST(SplitRunner, FeaturesThatTheRestWritesIntoStayAsTheyAre) {  // they may be kept for the next epoch
  auto network = graph::NetworkBuilder("Test")
                     .parameter("w", at::randn({4, 3, 3, 3}) / 4)
                     .parameter("scale", at::full({1}, 2.))
                     .build(
                         "y = torch.conv2d(x, self.w)\n"
                         "y.mul_(self.scale)\n"
                         "return torch.mean(y, [2, 3])");
  train_only(network, {"scale"});
  const SplitRunner split(network);
  ASSERT_THAT(trunk_parameters(split), ElementsAre("w"));
  const auto x = pictures(2, 9);
  EXPECT_LT(difference(network, split, x), 1e-5);
  const at::NoGradGuard no_grad;
  const auto features = split.trunk().run(x), before = features.clone();
  const auto expected = split.train(features);
  EXPECT_TRUE(at::equal(features, before));
  EXPECT_TRUE(close(split.rest().run(features), expected, 1e-6));
  EXPECT_TRUE(at::equal(features, before));
}

TEST(SplitRunner, ATensorConstantIsPartOfTheText) {
  const auto text = [](const char* constant) {
    auto network = network_of("y = torch.conv2d(x, self.w0) * torch.tensor(" + std::string(constant) +
                              ")\nreturn torch.linear(y.mean([2, 3]), self.V)");
    network.set_training(true);
    return SplitRunner(network).trunk_text();
  };
  EXPECT_EQ(text("[1.0, 2.0, 3.0, 4.0]"), text("[1.0, 2.0, 3.0, 4.0]"));
  EXPECT_NE(text("[[[1.0]]]"), text("[[[2.0]]]"));
}

TEST(SplitRunner, TheTextIsTheSameInAnyLocale) {
  struct Grouped : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  struct InLocale {
    explicit InLocale(const std::locale& locale) : before(std::locale::global(locale)) {}
    ~InLocale() { std::locale::global(before); }
    const std::locale before;
  };
  auto network = network_of(
      "y = torch.conv2d(x, self.w0) * 1234567 + 0.5\n"
      "return torch.linear(y.mean([2, 3]), self.V)");
  network.set_training(true);
  const std::string expected = SplitRunner(network).trunk_text();
  EXPECT_THAT(expected, ::testing::HasSubstr("1234567"));
  const InLocale grouped(std::locale(std::locale::classic(), new Grouped));
  EXPECT_EQ(SplitRunner(network).trunk_text(), expected);
}

}  // namespace
}  // namespace graft::engine
