// Networks that are made otherwise than the usual ones.

#include <graft/model.h>

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "graph/network.h"
#include "support/default_type.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::Scratch;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

at::Tensor pictures(std::int64_t n) { return at::randn({n, 3, 32, 32}, at::detail::createCPUGenerator(3)); }

/// Layers that can be put together.
class Layers {
 public:
  graph::NetworkBuilder module(const char* type) const { return {type, unit_}; }

  /// 3 x 3, or as `weight` says.
  graph::Network convolution(std::int64_t in, std::int64_t out, int stride = 1) {
    return convolution(at::randn({out, in, 3, 3}, generator_) * 0.2, stride);
  }
  graph::Network convolution(const at::Tensor& weight, int stride = 1) {
    const auto pair = [](std::int64_t n) { return "[" + std::to_string(n) + ", " + std::to_string(n) + "]"; };
    return module("Conv2d")
        .parameter("weight", weight)
        .build("return torch.conv2d(x, self.weight, None, " + pair(stride) + ", " + pair(weight.size(2) / 2) + ")");
  }
  graph::Network linear(std::int64_t in, std::int64_t out) {
    return module("Linear")
        .parameter("weight", at::randn({out, in}, generator_))
        .parameter("bias", at::randn({out}, generator_))
        .build("return torch.linear(x, self.weight, self.bias)");
  }
  /// Two strided convolutions and a dense layer.
  graph::Network classifier(std::int64_t classes) {
    return module("Classifier")
        .child("conv1", convolution(3, 6, 2))
        .child("conv2", convolution(6, 8, 2))
        .child("fc", linear(8, classes))
        .build(
            "x = torch.relu(self.conv2.forward(torch.relu(self.conv1.forward(x))))\n"
            "return self.fc.forward(torch.mean(x, [2, 3]))");
  }
  /// A strided convolution, what `middle` makes of x, the mean and a dense layer.
  graph::NetworkBuilder around(std::int64_t width, std::int64_t classes) {
    auto net = module("Net");
    net.child("conv", convolution(3, width, 4)).child("fc", linear(width, classes));
    return net;
  }

 private:
  const graph::Network unit_ = graph::NetworkBuilder("Unit").build();
  at::Generator generator_ = at::detail::createCPUGenerator(1);
};

Model load(const graph::Network& network, LoadOptions options = {}) {
  const Scratch scratch;
  options.preprocessing = Preprocessing::rescale_mode(32);
  return Model::load(scratch.write("network.pt", network.save({})), options);
}

std::vector<std::string> trainable(const Model& model) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : model.trainable_parameters()) names.push_back(name);
  return names;
}

const char* const kPlain = "return self.fc.forward(torch.mean(torch.relu(self.conv.forward(x)), [2, 3]))";

// --- Rows

TEST(Rows, ABatchSizeOfOneIsNotTakenForAllPictures) {
  Layers layers;
  auto model = load(layers.around(4, 3).build(
      "return self.fc.forward(torch.mean(torch.reshape(self.conv.forward(x), [1, 4, -1]), 2))"));
  EXPECT_EQ(model.forward(pictures(1)).sizes(), (std::vector<std::int64_t>{1, 3}));
  for (int i = 0; i < 2; ++i) {
    EXPECT_GRAFT_ERROR(model.forward(pictures(2)), kMismatch, "expected 2 rows for a batch of 2, found 1");
    model.train();
  }
  model.eval();
  EXPECT_GRAFT_ERROR(model.classify(pictures(3)), kMismatch, "expected 3 rows for a batch of 3, found 1");
  EXPECT_GRAFT_ERROR(model.predict(pictures(2)), kMismatch, "torch.jit.script");
  EXPECT_EQ(model.embed(pictures(2)).sizes(), (std::vector<std::int64_t>{2, 4}));  // what comes before is right
}

TEST(Rows, MoreThanPicturesAreNoClassification) {
  Layers layers;
  EXPECT_GRAFT_ERROR(load(layers.around(4, 3).build("x = torch.mean(self.conv.forward(x), [2])\n"
                                                    "return self.fc.forward(torch.flatten(x.transpose(1, 2), 0, 1))")),
                     kMismatch, "found output [8, 3] for a batch of one");
}

// --- Tied weights

/// The convolutions `first` and `second` have one weight.
graph::Network tied(Layers& layers) {
  const auto weight = at::randn({4, 4, 3, 3}, at::detail::createCPUGenerator(2)) * 0.2;
  auto net = layers.around(4, 3);
  net.child("first", layers.convolution(weight)).child("second", layers.convolution(weight));
  return net.build(
      "x = torch.relu(self.first.forward(self.conv.forward(x)))\n"
      "x = torch.relu(self.second.forward(x))\n"
      "return self.fc.forward(torch.mean(x, [2, 3]))");
}

TEST(TiedWeights, AreOneParameter) {
  Layers layers;
  const auto model = load(tied(layers));
  EXPECT_THAT(trainable(model), ElementsAre("conv.weight", "fc.weight", "fc.bias", "first.weight"));
  EXPECT_EQ(model.named_parameters().size(), 5u);  // under either name
  const auto info = model.inspect();
  const std::int64_t expected = 3 * 4 * 9 + 4 * 4 * 9 + 4 * 3 + 3;
  EXPECT_EQ(info.parameters, expected);
  EXPECT_EQ(info.trainable, expected);
  EXPECT_EQ(info.layers.at(1).name, "first");
  EXPECT_EQ(info.layers.at(1).parameters, 4 * 4 * 9);
}

TEST(TiedWeights, DoNotTrainIfFrozenUnderEitherName) {
  const Scratch scratch;
  Layers layers;
  auto model = load(tied(layers));
  for (const char* name : {"first", "second"}) {
    model.unfreeze();
    model.freeze(name);
    EXPECT_THAT(trainable(model), ElementsAre("conv.weight", "fc.weight", "fc.bias")) << name;
    model.save(scratch / "saved.pt");
    EXPECT_THAT(trainable(Model::load(scratch / "saved.pt")), ElementsAre("conv.weight", "fc.weight", "fc.bias"));
    model.unfreeze(name);
    EXPECT_EQ(trainable(model).size(), 4u);
  }
  model.freeze_until("second");  // "first" comes before
  EXPECT_THAT(trainable(model), ElementsAre("fc.weight", "fc.bias"));
}

// --- Parts

TEST(Parts, AMapWithItsChannelsLastIsNotTakenForOneWithThemFirst) {
  for (const bool by_a_layer : {false, true}) {
    Layers layers;
    auto net = layers.around(6, 5);
    net.child("norm", layers.module("LayerNorm")
                          .parameter("weight", at::rand({6}, at::detail::createCPUGenerator(4)))
                          .build("return torch.layer_norm(x, [6], self.weight)"))
        .child("permute", layers.module("Permute").build("return x.permute([0, 3, 1, 2])"));
    auto model =
        load(net.build(std::string("x = self.norm.forward(self.conv.forward(x).permute([0, 2, 3, 1]))\n") +
                       (by_a_layer ? "x = self.permute.forward(x)\n" : "x = x.permute([0, 3, 1, 2])\n") +
                       "return self.fc.forward(torch.flatten(torch.adaptive_avg_pool1d(torch.flatten(x, 2), 1), 1))"));
    EXPECT_EQ(model.inspect().features_layer, by_a_layer ? "permute" : "");
    const auto parameters = model.named_parameters();
    const auto maps = at::conv2d(pictures(2), parameters.at("conv.weight"), {}, 4, 1).permute({0, 2, 3, 1});
    const auto expected = at::layer_norm(maps, {6}, parameters.at("norm.weight")).mean({1, 2}).detach();
    EXPECT_TRUE(close(model.embed(pictures(2)), expected, 1e-5));
    model.replace_head(heads::linear({.classes = 2}));
    EXPECT_EQ(model.named_parameters().at("head.fc.weight").sizes(), (std::vector<std::int64_t>{2, 6}));
    const auto head = model.named_parameters();
    EXPECT_TRUE(close(model.forward(pictures(2)),
                      at::linear(expected, head.at("head.fc.weight"), head.at("head.fc.bias")).detach(), 1e-5));
  }
}

// VGG16's head is given all places of a map, and with larger pictures of one that was pooled to 7 x 7.
TEST(Parts, AFlattenedMapHasItsChannelsFirst) {
  for (const char* pooled : {"x", "torch.adaptive_avg_pool2d(x, [2, 2])"}) {
    Layers layers;
    auto net = layers.module("Net");
    const std::int64_t places = std::string_view(pooled) == "x" ? 64 : 4;
    net.child("conv", layers.convolution(3, 6, 4)).child("fc", layers.linear(6 * places, 5));
    auto model = load(
        net.build("x = self.conv.forward(x)\nreturn self.fc.forward(torch.flatten(" + std::string(pooled) + ", 1))"));
    EXPECT_EQ(model.inspect().features_layer, "conv") << pooled;
  }
}

TEST(Parts, ABackboneBehindLayersThatAdaptItsInputIsLookedInto) {
  const auto norm = [](Layers& layers) {
    return layers.module("BatchNorm2d")
        .parameter("weight", at::ones({3}))
        .buffer("running_mean", at::zeros({3}))
        .buffer("running_var", at::ones({3}))
        .build(
            "return torch.batch_norm(x, self.weight, None, self.running_mean, self.running_var, self.training, 0.1, "
            "1e-5, False)");
  };
  for (const bool normalised : {false, true}) {
    Layers layers;
    auto net = layers.module("Net");
    net.child("first", normalised ? norm(layers) : layers.convolution(at::randn({3, 3, 1, 1})))
        .child("backbone", layers.classifier(5));
    auto model = load(net.build("return self.backbone.forward(self.first.forward(x))"));
    const auto info = model.inspect();
    EXPECT_EQ(info.head, "backbone.fc");
    EXPECT_EQ(info.features_layer, "backbone.conv2");
    EXPECT_EQ(model.embed(pictures(2)).sizes(), (std::vector<std::int64_t>{2, 8}));
    model.freeze();
    EXPECT_THAT(trainable(model), ElementsAre("backbone.fc.weight", "backbone.fc.bias"));
  }
}

// SqueezeNet's: a convolution for the classes, then the mean.
TEST(Parts, AHeadThatConvolvesIsOne) {
  Layers layers;
  auto net = layers.module("Net");
  net.child("features", layers.module("Features")
                            .child("conv1", layers.convolution(3, 6, 2))
                            .child("conv2", layers.convolution(6, 8, 2))
                            .build("return self.conv2.forward(torch.relu(self.conv1.forward(x)))"))
      .child("classifier", layers.module("Head")
                               .child("conv", layers.convolution(at::randn({5, 8, 1, 1})))
                               .build("return torch.mean(torch.relu(self.conv.forward(x)), [2, 3], True)"));
  const auto model = load(net.build("return torch.flatten(self.classifier.forward(self.features.forward(x)), 1)"));
  EXPECT_EQ(model.head_name(), "classifier");
  EXPECT_EQ(model.inspect().features_layer, "features");
}

TEST(Parts, TheMeanOfTwoNetworksHasNoHead) {
  const Scratch scratch;
  Layers layers;
  auto net = layers.module("Net");
  net.child("a", layers.classifier(5)).child("b", layers.classifier(5));
  auto model = load(net.build("return (self.a.forward(x) + self.b.forward(x)) / 2"));
  EXPECT_EQ(model.head_name(), "");
  EXPECT_EQ(model.inspect().penultimate_layer, "");
  EXPECT_EQ(model.classify(pictures(2)).size(), 2u);
  EXPECT_GRAFT_ERROR(model.embed(pictures(2)), kMismatch, "\"a\" and \"b\" are whole networks");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::linear({.classes = 2})), kMismatch, "fine-tune one of them");
  model.save(scratch / "saved.pt");
  EXPECT_TRUE(close(Model::load(scratch / "saved.pt").forward(pictures(2)), model.forward(pictures(2)), 1e-5));
}

// --- What running a network leaves behind

TEST(State, SavingAndLoadingLeaveNothingInIt) {
  for (const char* count : {"self.calls.add_(1)", "self.calls = self.calls + 1"}) {
    const Scratch scratch;
    Layers layers;
    auto net = layers.around(4, 3);
    net.buffer("calls", at::zeros({1}));
    auto model = load(net.build(std::string(count) + "\n" + kPlain));
    const auto calls = [](const Model& m) { return m.named_buffers().at("calls").item<float>(); };
    EXPECT_EQ(calls(model), 0) << count;
    const auto before = model.forward(pictures(1));
    EXPECT_GT(calls(model), 0) << count;
    const auto called = calls(model);
    model.save(scratch / "saved.pt");
    EXPECT_EQ(calls(model), called) << count;

    const auto sha256 = model.inspect().sha256;
    const auto again = Model::load(scratch / "saved.pt", {.sha256 = sha256});
    EXPECT_EQ(calls(again), called) << count;
    EXPECT_EQ(again.inspect().sha256, sha256) << count;
    EXPECT_TRUE(close(again.forward(pictures(1)), before, 1e-5)) << count;
  }
}

// An answer that depends on how often it was asked is still the one it was saved with.
TEST(State, TheGoldenAnswerBelongsToTheStateThatIsSaved) {
  const Scratch scratch;
  Layers layers;
  auto net = layers.around(4, 3);
  net.buffer("calls", at::zeros({1}));
  auto model = load(net.build("self.calls.add_(1)\nx = x + self.calls\n" + std::string(kPlain)));
  model.forward(pictures(1));
  model.save(scratch / "saved.pt");
  auto again = Model::load(scratch / "saved.pt");
  EXPECT_TRUE(close(again.forward(pictures(1)), model.forward(pictures(1)), 1e-4));
}

// --- Numbers

TEST(Numbers, AModelWhoseAnswersAreNotFiniteIsNotSaved) {
  const Scratch scratch;
  Layers layers;
  const auto model = load(layers.around(4, 3).build("x = x * 1e30 * 1e30\n" + std::string(kPlain)));
  EXPECT_GRAFT_ERROR(model.save(scratch / "saved.pt"), kNumeric, "golden example");
  EXPECT_FALSE(std::filesystem::exists(scratch / "saved.pt"));

  const auto broken = load(layers.around(4, 3).build(kPlain));
  broken.named_parameters().at("fc.bias").detach().fill_(NAN);
  EXPECT_GRAFT_ERROR(broken.save(scratch / "saved.pt"), kNumeric, "fc.bias");
  EXPECT_FALSE(std::filesystem::exists(scratch / "saved.pt"));
}

TEST(Numbers, IntegersAmongTheParametersDoNotTrain) {
  const Scratch scratch;
  Layers layers;
  auto net = layers.around(4, 3);
  net.parameter("order", at::tensor({2, 0, 1}));
  auto model = load(net.build("x = x[:, self.order]\n" + std::string(kPlain)));
  EXPECT_THAT(trainable(model), ElementsAre("conv.weight", "fc.weight", "fc.bias"));
  model.unfreeze();
  model.freeze("order");
  model.unfreeze("order");
  model.replace_head(heads::linear({.classes = 2}));
  EXPECT_THAT(trainable(model), ElementsAre("conv.weight", "head.fc.weight", "head.fc.bias"));
  model.save(scratch / "saved.pt");
  EXPECT_TRUE(at::equal(Model::load(scratch / "saved.pt").forward(pictures(1)), model.forward(pictures(1))));
}

TEST(Numbers, ABufferMayHoldInfinitiesAsAMaskDoes) {
  const double infinity = std::numeric_limits<double>::infinity();
  const auto masked = [](double value) {
    Layers layers;
    auto net = layers.around(4, 3);
    net.buffer("mask", at::tensor({0., value, 0., 0.}, at::kFloat));
    return net.build(
        "x = torch.mean(self.conv.forward(x), [2, 3])\nreturn self.fc.forward(torch.softmax(x + self.mask, 1))");
  };
  EXPECT_TRUE(load(masked(-infinity)).forward(pictures(1)).isfinite().all().item<bool>());
  EXPECT_GRAFT_ERROR(load(masked(NAN)), kNumeric, "\"mask\"");
  Layers layers;
  auto net = layers.module("Net");
  net.child("conv", layers.convolution(at::full({4, 3, 3, 3}, infinity))).child("fc", layers.linear(4, 3));
  EXPECT_GRAFT_ERROR(load(net.build(kPlain)), kNumeric, "conv.weight");
}

TEST(Numbers, AreFloat32WhateverTheDefaultTypeIs) {
  const auto net = [] {
    Layers layers;
    return layers.module("Net")
        .child("fc", layers.linear(3 * 32 * 32, 3))
        .build("return self.fc.forward(torch.flatten(x, 1))");
  };
  const auto x = pictures(2);
  const auto before = load(net());
  const graft::testing::DoubleByDefault as_in_some_programs;
  auto model = load(net());
  EXPECT_EQ(model.forward(x).scalar_type(), at::kFloat);
  model.replace_head(heads::linear({.classes = 2}), Cut::before("fc"));
  EXPECT_EQ(model.forward(x).scalar_type(), at::kFloat);
}

TEST(Numbers, PicturesThatHoldNoneHaveNoAnswer) {  // oneDNN's ReLU would make one of NaN
  Layers layers;
  const auto model =
      load(layers.around(4, 3).build("return self.fc.forward(torch.mean(torch.relu(self.conv.forward(x)), [2, 3]))"));
  for (const double spoilt : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const auto x = pictures(3);
    x[1][0][5][5] = spoilt;
    const auto answers = model.forward(x);
    EXPECT_TRUE(answers[0].isfinite().all().item<bool>());
    EXPECT_FALSE(answers[1].isfinite().any().item<bool>());
    EXPECT_TRUE(answers[2].isfinite().all().item<bool>());
    EXPECT_GRAFT_ERROR(model.classify(x), kNumeric, "example 2 of 3");
  }
}

TEST(Numbers, AModelLoadedInInferenceModeCanBeTrained) {
  Layers layers;
  const auto network = layers.classifier(3);
  const auto in_inference_mode = [&] {
    const c10::InferenceMode mode;
    return load(network);
  };
  auto model = in_inference_mode();
  model.unfreeze();
  model.freeze_stages(1);
  model.train();
  const c10::InferenceMode mode;
  EXPECT_TRUE(model.forward(pictures(2).clone()).requires_grad());
}

// --- Outputs and inputs

TEST(Outputs, WhereOneIsInfiniteThereIsNoAnswer) {
  Layers layers;
  auto net = layers.around(4, 3);
  net.buffer("mask", at::tensor({0., -std::numeric_limits<double>::infinity(), 0.}, at::kFloat));
  const auto model = load(net.build("return self.fc.forward(torch.mean(self.conv.forward(x), [2, 3])) + self.mask"));
  EXPECT_GRAFT_ERROR(model.classify(pictures(2)), kNumeric, "example 1 of 2");
}

TEST(Outputs, OneIsNoClassification) {
  Layers layers;
  const auto model = load(layers.around(4, 1).build(kPlain));
  EXPECT_GRAFT_ERROR(model.classify(pictures(2)), kMismatch, "one output is no classification");
  EXPECT_GRAFT_ERROR(model.predict(pictures(2)), kMismatch, "one output is no classification");
  EXPECT_EQ(model.forward(pictures(2)).sizes(), (std::vector<std::int64_t>{2, 1}));
  auto regression = load(layers.around(4, 2).build(kPlain));
  regression.replace_head(heads::regression({.outputs = 1}));
  EXPECT_EQ(regression.predict(pictures(2)).at("").sizes(), (std::vector<std::int64_t>{2, 1}));
}

TEST(Outputs, ProbabilitiesAreAWarning) {
  const auto warning = [](const std::string& closing) {
    std::string text;
    Layers layers;
    auto net = layers.around(4, 3);
    net.child("act", layers.module("Activation").build("return torch.sigmoid(x)"))
        .define("def softmax(self, x: Tensor) -> Tensor:\n    return torch.softmax(x, 1)\n");
    load(net.build("x = self.fc.forward(torch.mean(torch.sigmoid(self.conv.forward(x)), [2, 3]))\nreturn " + closing),
         {.on_warning = [&](std::string_view found) { text += found; }});
    return text;
  };
  EXPECT_THAT(warning("torch.softmax(x, 1)"), HasSubstr("ends with a softmax"));
  EXPECT_THAT(warning("torch.flatten(self.softmax(x), 1)"), HasSubstr("ends with a softmax"));
  EXPECT_THAT(warning("self.act.forward(x)"), HasSubstr("ends with a sigmoid"));
  EXPECT_EQ(warning("torch.log_softmax(x, 1)"), "");  // the softmax of which is that of the logits
  EXPECT_EQ(warning("x"), "");
}

TEST(Inputs, OnesWithDefaultValuesNeedNotBeGiven) {
  const Scratch scratch;
  const auto network = [](const std::string& more) {
    Layers layers;
    return layers.around(4, 3)
        .define("def forward(self, x: Tensor, " + more + ") -> Tensor:\n" +
                "    if mask is not None:\n"
                "        x = x * mask\n"
                "    return scale * self.fc.forward(torch.mean(self.conv.forward(x), [2, 3]))\n")
        .build();
  };
  const auto model = load(network("mask: Optional[Tensor] = None, scale: float = 2."));
  const auto parameters = model.named_parameters();
  const auto expected = 2 * at::linear(at::conv2d(pictures(2), parameters.at("conv.weight"), {}, 4, 1).mean({2, 3}),
                                       parameters.at("fc.weight"), parameters.at("fc.bias"));
  EXPECT_TRUE(close(model.forward(pictures(2)), expected.detach(), 1e-5));
  model.save(scratch / "saved.pt");
  EXPECT_TRUE(close(Model::load(scratch / "saved.pt").forward(pictures(2)), expected.detach(), 1e-5));
  EXPECT_GRAFT_ERROR(load(network("mask: Optional[Tensor], scale: float = 2.")), kMismatch, "found 3");
}

}  // namespace
}  // namespace graft
