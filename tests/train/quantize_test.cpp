#include <graft/quantize.h>

#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/batch_finder.h>
#include <graft/files.h>
#include <graft/lr_finder.h>
#include <graft/report.h>
#include <graft/trainer.h>

#include "engine/quantize.h"
#include "graph/network.h"
#include "model/artefact.h"
#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;
using graft::testing::slurp;

Model load(const std::string& name = "resnet_scripted") {
  return Model::load(golden("networks/" + name + ".pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}
at::Tensor pictures(const Model& model, std::size_t n = 4) {
  const DrawnDataset drawn(n, 5);
  std::vector<Image> images;
  for (std::size_t i = 0; i < n; ++i) images.push_back(drawn.image(i));
  return model.preprocess(images);
}

class Quantize : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!engine::has_eight_bit_arithmetic()) GTEST_SKIP() << "no int8 arithmetic in this processor";
  }
  const DrawnDataset data{40, 5};
};

TEST_F(Quantize, TheReportIsWhatTheTwoPrecisionsAnswer) {
  auto model = load();
  std::vector<Label> labels;
  for (const auto& name : data.classes()) labels.push_back({name, name});
  model.set_labels(labels);
  std::vector<std::int64_t> steps;
  const auto report = quantize(model, data, {.pictures = 30, .batch_size = 8, .on_step = [&](auto done, auto of) {
                                               EXPECT_EQ(of, 60);
                                               steps.push_back(done);
                                             }});
  EXPECT_EQ(steps, (std::vector<std::int64_t>{8, 16, 24, 30, 38, 46, 54, 60}));
  EXPECT_EQ(report.convolutions, 14);
  EXPECT_EQ(report.convolutions_in_int8, 14);
  EXPECT_EQ(report.linear_in_int8, 1);
  EXPECT_LE(report.golden_difference, 0.1);

  // The same by hand: pictures 0, 40/30, 80/30 and so on.
  std::vector<Image> images;
  std::vector<std::int64_t> truth;
  for (std::size_t i = 0; i < 30; ++i) {
    images.push_back(data.image(i * 40 / 30));
    truth.push_back(data.label(i * 40 / 30));
  }
  const auto x = model.preprocess(images);
  const auto a = model.forward(x), b = model.forward(x, Precision::kInt8);
  EXPECT_FALSE(at::equal(a, b));
  const auto largest = (a.softmax(1) - b.softmax(1)).abs().amax(1);
  EXPECT_EQ(report.int8.pictures, 30);
  EXPECT_NEAR(report.int8.max_difference, largest.max().item<double>(), 1e-6);
  EXPECT_NEAR(report.int8.mean_difference, largest.mean().item<double>(), 1e-6);
  const auto share = [&](const at::Tensor& equal) { return equal.to(at::kDouble).mean().item<double>(); };
  EXPECT_NEAR(report.int8.top1_agreement.value(), share(a.argmax(1) == b.argmax(1)), 1e-9);
  EXPECT_NEAR(report.int8.float32_accuracy.value(), share(a.argmax(1) == at::tensor(truth)), 1e-9);
  EXPECT_NEAR(report.int8.int8_accuracy.value(), share(b.argmax(1) == at::tensor(truth)), 1e-9);

  const auto document = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(document["convolutions_in_int8"], 14);
  EXPECT_EQ(document["int8"]["examples"], 30);
  EXPECT_EQ(document["int8"]["top1_agreement"], *report.int8.top1_agreement);
  EXPECT_NE(to_text(report).find("14 of 14 convolutions"), std::string::npos);

  auto unnamed = load();  // the data set's classes are not the model's
  EXPECT_FALSE(quantize(unnamed, data).int8.int8_accuracy);
}

TEST_F(Quantize, ASavedModelAnswersTheSame) {
  const Scratch scratch;
  auto model = load();
  const auto report = quantize(model, data);
  const auto x = pictures(model);
  const auto expected = model.forward(x, Precision::kInt8);
  model.save(scratch / "int8.pt");
  const auto again = Model::load(scratch / "int8.pt");
  EXPECT_TRUE(at::equal(again.forward(x, Precision::kInt8), expected));
  EXPECT_TRUE(at::equal(again.forward(x), model.forward(x)));  // float32 is as it was
  const auto info = again.inspect();
  ASSERT_TRUE(info.int8);
  EXPECT_EQ(info.int8->pictures, 40);
  EXPECT_EQ(info.int8->top1_agreement, report.int8.top1_agreement);
  EXPECT_EQ(nlohmann::json::parse(to_json(info))["int8"]["examples"], 40);
  EXPECT_NE(to_text(info).find("int8 beside float32 on 40 pictures"), std::string::npos);

  const ClassifyOptions options{.top_k = 1, .precision = Precision::kInt8};
  const auto named = again.classify(x, options);
  for (std::size_t i = 0; i < named.size(); ++i)
    EXPECT_EQ(named[i].at(0).index, expected[static_cast<std::int64_t>(i)].argmax().item<std::int64_t>());
}

TEST_F(Quantize, WithoutACalibrationOfTheseWeightsThereIsNoInt8) {
  const Scratch scratch;
  auto model = load();
  const auto x = pictures(model);
  EXPECT_GRAFT_ERROR(model.forward(x, Precision::kInt8), kConfig, "graft quantize");
  EXPECT_FALSE(model.inspect().int8);

  const auto calibrated = [&] {
    auto made = load();
    quantize(made, data);
    return made;
  };
  auto changed = calibrated();
  {
    const at::NoGradGuard no_grad;
    changed.named_parameters().begin()->second.detach().mul_(1.01);
  }
  EXPECT_GRAFT_ERROR(changed.forward(x, Precision::kInt8), kConfig, "the weights are not those");
  changed.save(scratch / "changed.pt");
  EXPECT_FALSE(Model::load(scratch / "changed.pt").inspect().int8);

  auto headed = calibrated();
  headed.replace_head(heads::linear({.classes = 2}));
  EXPECT_GRAFT_ERROR(headed.forward(x, Precision::kInt8), kConfig, "not calibrated");

  auto resized = calibrated();
  resized.set_preprocessing(Preprocessing::rescale_mode(64));
  EXPECT_GRAFT_ERROR(resized.forward(x, Precision::kInt8), kConfig, "not calibrated");
  resized.set_preprocessing(Preprocessing::rescale_mode(32));

  auto saved = calibrated();
  saved.save(scratch / "saved.pt");
  const auto other = Model::load(scratch / "saved.pt", {.preprocessing = Preprocessing::tf_mode(32)});
  EXPECT_GRAFT_ERROR(other.forward(x, Precision::kInt8), kConfig, "not calibrated");
}

TEST_F(Quantize, OutlastsWhatLeavesTheWeightsAsTheyWere) {
  auto model = load();
  quantize(model, data);
  const auto x = pictures(model);
  const auto expected = model.forward(x, Precision::kInt8);
  const auto expect_int8 = [&](const char* after) {
    SCOPED_TRACE(after);
    ASSERT_TRUE(model.inspect().int8);
    EXPECT_TRUE(at::equal(model.forward(x, Precision::kInt8), expected));
  };
  model.unfreeze();  // batch norms change their statistics, too
  find_learning_rate(model, {}, data, {.steps = 20, .batch_size = 8});
  expect_int8("find_learning_rate");
  find_batch_size(model, {}, data, {.first = 2, .largest = 4});
  expect_int8("find_batch_size");
  DrawnDataset damaged(40, 5);
  damaged.bad = {0, 1, 2, 3, 4};
  EXPECT_GRAFT_ERROR(Trainer(model).fit(damaged, {.batch_size = 8}), kFormat, "planted");
  expect_int8("a fit that cannot read its pictures");
  EXPECT_GRAFT_ERROR(Trainer(model, {.label_smoothing = 2}).fit(data), kConfig, "label_smoothing");
  expect_int8("a fit with bad options");
  Trainer(model).fit(data, {.batch_size = 8});
  EXPECT_GRAFT_ERROR(model.forward(x, Precision::kInt8), kConfig, "the weights are not those");
}

TEST_F(Quantize, AFilesInt8IsRecomputed) {
  const Scratch scratch;
  auto model = load();
  quantize(model, data);
  model.save(scratch / "int8.pt");
  const auto change = [&](auto edit) {
    const auto archive = slurp(scratch / "int8.pt");
    graph::ExtraFiles records{{model::kArtefactRecord, ""}, {model::kGoldenRecord, ""}};
    const auto network = graph::Network::load(std::as_bytes(std::span(archive)), "saved", records);
    auto description = nlohmann::json::parse(records[model::kArtefactRecord]);
    edit(description["int8"]);
    records[model::kArtefactRecord] = description.dump();
    write_atomically(scratch / "edited.pt", network.save(records));
    return scratch / "edited.pt";
  };
  const auto x = pictures(model);
  const auto int8 = [&](const std::filesystem::path& path, bool verify = true) {
    return Model::load(path, {.verify = verify}).forward(x, Precision::kInt8);
  };
  const auto edited = change([](auto& j) { j["logits"][0] = j["logits"][0].template get<double>() + 5; });
  EXPECT_GRAFT_ERROR(int8(edited), kMismatch, "largest difference of a logit");
  EXPECT_TRUE(at::equal(Model::load(edited).forward(x), model.forward(x)));  // float32 is not concerned
  EXPECT_TRUE(at::equal(int8(edited, /*verify=*/false), model.forward(x, Precision::kInt8)));
  const auto ranges = change([](auto& j) {
    for (auto& range : j["ranges"])
      if (!range.is_null()) range[1] = range[1].template get<double>() * 0.3;
  });
  EXPECT_GRAFT_ERROR(int8(ranges), kMismatch, "largest difference of a logit");
  EXPECT_GRAFT_ERROR(int8(change([](auto& j) { j["ranges"].erase(0); })), kMismatch, "calibration");
  EXPECT_GRAFT_ERROR(int8(change([](auto& j) { j["ranges"][0] = {1, -1}; })), kFormat, "ranges");
  EXPECT_GRAFT_ERROR(int8(change([](auto& j) { j.erase("logits"); })), kFormat, "logits");
}

TEST_F(Quantize, WhatCannotBeIsRefusedAndTheModelStaysAsItWas) {
  auto model = load();
  EXPECT_GRAFT_ERROR(quantize(model, data, {.pictures = 0}), kConfig, "pictures");
  EXPECT_GRAFT_ERROR(quantize(model, data, {.batch_size = 0}), kConfig, "batch_size");
  EXPECT_GRAFT_ERROR(quantize(model, DrawnDataset(0, 5)), kMismatch, "at least one example");
  DrawnDataset damaged(6, 5);
  damaged.bad.insert(3);
  EXPECT_GRAFT_ERROR(quantize(model, damaged), kFormat, "picture 3");
  EXPECT_FALSE(model.inspect().int8);
  damaged.policy = OnBadImage::kSkip;
  const auto report = quantize(model, damaged);
  EXPECT_EQ(report.int8.pictures, 5);
  ASSERT_EQ(report.bad_images.size(), 1u);
  EXPECT_EQ(report.bad_images[0].name, "picture 3");

  model.train();
  EXPECT_GRAFT_ERROR(quantize(model, data), kConfig, "training mode");
  EXPECT_GRAFT_ERROR(model.forward(pictures(model), Precision::kInt8), kConfig, "int8 is for inference");
  model.eval();
  auto frozen = load("resnet_frozen");
  EXPECT_EQ(quantize(frozen, data).convolutions_in_int8, 14);
}

TEST_F(Quantize, EvaluationAndTrainingFollowThePrecision) {
  auto model = load();
  quantize(model, data);
  const auto float32 = Trainer(model).evaluate(data),
             int8 = Trainer(model, {.precision = Precision::kInt8}).evaluate(data);
  EXPECT_NE(float32.loss, int8.loss);
  EXPECT_NEAR(float32.loss, int8.loss, 0.1);
  EXPECT_GRAFT_ERROR(Trainer(model, {.precision = Precision::kInt8}).fit(data, {.epochs = 1}), kConfig,
                     "float32, bfloat16 or float16");
  EXPECT_EQ(parse_precision("int8"), Precision::kInt8);
  EXPECT_EQ(to_string(Precision::kInt8), "int8");
}

}  // namespace
}  // namespace graft
