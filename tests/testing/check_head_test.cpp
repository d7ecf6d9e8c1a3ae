#include <graft/testing.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/custom_head.h>

#include "support/default_type.h"
#include "support/expect_error.h"

namespace graft {
namespace {

using Shape = std::vector<std::int64_t>;

TEST(CheckHead, BuiltInHeadsPass) {
  EXPECT_TRUE(check_head(heads::linear({.classes = 4})));
  EXPECT_TRUE(check_head(heads::mlp({.hidden = {32}, .classes = 4, .dropout = 0.1})));
  EXPECT_TRUE(check_head(heads::cosine({.classes = 4})));
  EXPECT_TRUE(check_head(heads::multi_label({.labels = 3, .pooling = Pooling::kAverageMax})));
  EXPECT_TRUE(check_head(heads::regression({.outputs = 2, .loss = RegressionLoss::kHuber})));
  EXPECT_TRUE(check_head(
      heads::ensemble({{"a", heads::linear({.classes = 4})}, {"b", heads::regression({.pooling = Pooling::kMax})}})));
}

TEST(CheckHead, EveryPoolingPasses) {
  for (const auto pooling :
       {Pooling::kAverage, Pooling::kMax, Pooling::kAverageMax, Pooling::kGem, Pooling::kAttention}) {
    const auto head = heads::linear({.classes = 4, .pooling = pooling});
    EXPECT_TRUE(check_head(head)) << head.describe();
    EXPECT_TRUE(check_head(head, {.features = {9, 16}})) << head.describe() << " on tokens";
  }
  EXPECT_TRUE(check_head(heads::linear({.classes = 4}), {.features = {24}, .batch_sizes = {1, 3}, .outputs = 4}));
}

TEST(CheckHead, ACustomHeadPasses) {
  EXPECT_TRUE(check_head(heads::custom([](const Shape& shape) {
    return torch::nn::Sequential(torch::nn::BatchNorm2d(shape.at(1)), torch::nn::AdaptiveAvgPool2d(1),
                                 torch::nn::Flatten(), torch::nn::Dropout(0.1), torch::nn::Linear(shape.at(1), 4));
  })));
}

// --- Planted faults, and what the kit says of them

template <class Forward>
struct FaultyImpl : torch::nn::Module {
  explicit FaultyImpl(Forward f)
      : fc(register_module("fc", torch::nn::Linear(16, 4))),
        spare(register_module("spare", torch::nn::Linear(16, 4))),
        body(std::move(f)) {
    counter = register_buffer("counter", torch::zeros({1}));
  }
  torch::Tensor forward(const torch::Tensor& x) { return body(*this, x); }
  torch::nn::Linear fc, spare;
  torch::Tensor counter;
  Forward body;
};

/// What the kit finds in a head with two dense layers, fc and spare, and a buffer, whose forward is the function.
template <class Forward>
std::string findings(Forward forward, const HeadCheckOptions& options = {}) {
  const auto report = check_head(
      heads::custom([=](const Shape&) { return std::make_shared<FaultyImpl<Forward>>(forward); }, {.name = "Faulty"}),
      options);
  EXPECT_EQ(report.ok(), report.findings.empty());
  return report.text();
}

torch::Tensor pooled(const torch::Tensor& x) { return x.mean({2, 3}); }

TEST(CheckHead, SoundOneIsTold) {
  EXPECT_EQ(findings([](auto& self, const torch::Tensor& x) { return self.fc(pooled(x)) + self.spare(pooled(x)); }),
            "all checks passed");
}

TEST(CheckHead, AnUnusedLayerIsFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) { return self.fc(pooled(x)); });
  EXPECT_THAT(
      text, ::testing::HasSubstr("gradients: none reaches \"head.spare.weight\"; look at: a layer that is registered"));
}

TEST(CheckHead, ADeadBranchIsFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    return self.fc(pooled(x)) + torch::relu(self.spare(pooled(x)) - 1000);
  });
  EXPECT_THAT(text, ::testing::HasSubstr("gradients: that of \"head.spare.bias\" is 0 everywhere"));
}

TEST(CheckHead, OutputsThatAreNotFiniteAreFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    return self.fc(pooled(x)) + self.spare(pooled(x)) + 1 / x.sum({1, 2, 3}).unsqueeze(1);
  });
  EXPECT_THAT(text, ::testing::HasSubstr("output: not finite for features 0 in a batch of"));
}

TEST(CheckHead, NoiseInEvaluationIsFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    return self.fc(torch::dropout(pooled(x), 0.5, true)) + self.spare(pooled(x));
  });
  EXPECT_THAT(text, ::testing::HasSubstr("evaluation: two runs on the same pictures differ"));
}

TEST(CheckHead, ExamplesThatSeeEachOtherAreFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    const auto y = pooled(x);
    return self.fc(y - y.mean(0, true)) + self.spare(y);
  });
  EXPECT_THAT(text, ::testing::HasSubstr("alone and in a batch of 6; look at: operations over dimension 0"));
}

TEST(CheckHead, ABufferThatCountsPredictionsIsFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    self.counter += 1;
    return self.fc(pooled(x)) + self.spare(pooled(x));
  });
  EXPECT_THAT(text, ::testing::HasSubstr("evaluation: running it changed \"head.counter\""));
}

TEST(CheckHead, AnotherScaleInTrainingIsFound) {
  const auto text = findings([](auto& self, const torch::Tensor& x) {
    const auto y = self.fc(pooled(x)) + self.spare(pooled(x));
    return self.is_training() ? y * 2 : y;
  });
  EXPECT_THAT(text, ::testing::HasSubstr("training: without randomness and without batch norm the answers differ"));
}

TEST(CheckHead, WhatCannotBeLearnedIsFound) {
  const auto text = findings(
      [](auto& self, const torch::Tensor& x) {
        return torch::softmax(self.fc(pooled(x)) + self.spare(pooled(x)), 1);  // and cross-entropy has one, too
      },
      {.overfit_steps = 100});
  EXPECT_THAT(text, ::testing::HasSubstr("overfit: after 100 steps on 8 examples the loss is"));
  EXPECT_THAT(text, ::testing::HasSubstr("softmax and sigmoid belong to the loss"));
}

TEST(CheckHead, AnotherNumberOfOutputsIsFound) {
  const auto report = check_head(heads::linear({.classes = 3}), {.batch_sizes = {2}, .outputs = 4});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings.front().check, "output");
  EXPECT_EQ(report.findings.front().seen, "for a batch of 2 expected [2, 4], found [2, 3]");
}

TEST(CheckHead, WhatReplaceHeadRefusesIsAFinding) {
  const auto report = check_head(heads::linear({.classes = 3, .pooling = Pooling::kGem}), {.features = {16}});
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings.front().check, "build");
  EXPECT_THAT(report.text(), ::testing::HasSubstr("needs a feature map"));
}

TEST(CheckHead, AReportIsAnAssertionResult) {
  const HeadReport report{{{"overfit", "it did not", "the rate"}}};
  const ::testing::AssertionResult result = report;
  EXPECT_FALSE(result);
  EXPECT_STREQ(result.message(), "overfit: it did not; look at: the rate");
  EXPECT_FALSE(report.ok());
  EXPECT_TRUE(HeadReport());
}

TEST(CheckHead, OptionsOutOfRangeAreRefused) {
  const auto head = heads::linear({.classes = 2});
  EXPECT_GRAFT_ERROR(check_head(head, {.features = {}}), kConfig, "features");
  EXPECT_GRAFT_ERROR(check_head(head, {.features = {0}}), kConfig, "features");
  EXPECT_GRAFT_ERROR(check_head(head, {.batch_sizes = {0}}), kConfig, "batch_sizes");
  EXPECT_GRAFT_ERROR(check_head(head, {.overfit_steps = 0}), kConfig, "overfit_steps");
  EXPECT_GRAFT_ERROR(check_head(head, {.learning_rate = -1}), kConfig, "learning_rate");
}

TEST(CheckHead, AGoodHeadPassesWhateverTheDefaultTypeIs) {
  const graft::testing::DoubleByDefault as_in_some_programs;
  EXPECT_TRUE(check_head(heads::mlp({.hidden = {8}, .classes = 2})));
}

TEST(TinyModel, YieldsWhatIsAskedFor) {
  for (const auto& [features, expected] : {std::pair(Shape{8, 3, 5}, Shape{2, 8, 3, 5}),
                                           std::pair(Shape{7, 8}, Shape{2, 7, 8}), std::pair(Shape{8}, Shape{2, 8})}) {
    auto model = tiny_model(features);
    model.replace_head(heads::linear({.classes = 3}), Cut::before("fc"));
    const auto& p = model.preprocessing();
    const auto x = at::randn({2, 3, p.crop_height_px, p.crop_width_px});
    EXPECT_EQ(model.forward_features(x).sizes(), at::IntArrayRef(expected));
    EXPECT_EQ(model.forward(x).sizes(), at::IntArrayRef({2, 3}));
  }
}

}  // namespace
}  // namespace graft
