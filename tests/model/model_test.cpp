#include <graft/model.h>

#include <atomic>
#include <cmath>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/files.h>

#include "graph/network.h"
#include "image/pipeline.h"
#include "model/artefact.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::Scratch;
using graft::testing::slurp;
using ::testing::ElementsAre;

std::filesystem::path file(const std::string& name) { return golden("networks/" + name + ".pt"); }
Model load(const std::string& name) { return Model::load(file(name)); }
at::Tensor input() { return golden_tensor("networks/input.f32", {2, 3, 32, 32}); }
at::Tensor expected(const std::string& name, at::IntArrayRef shape) {
  return golden_tensor("networks/" + name + ".f32", shape);
}

class BothKinds : public ::testing::TestWithParam<const char*> {
 protected:
  static Model resnet() { return load(std::string("resnet_") + GetParam()); }
  static Model vgg() { return load(std::string("vgg_") + GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Formats, BothKinds, ::testing::Values("scripted", "traced"),
                         [](const auto& param) { return std::string(param.param); });

TEST_P(BothKinds, PartsAreFoundByLooking) {
  const auto resnet_info = resnet().inspect();
  EXPECT_EQ(resnet_info.head, "fc");
  EXPECT_EQ(resnet_info.features_layer, "layer2");
  EXPECT_EQ(resnet_info.penultimate_layer, "fc");
  EXPECT_EQ(resnet_info.origin, GetParam());
  EXPECT_EQ(resnet_info.classes, 5);
  EXPECT_EQ(resnet_info.parameters, 2685);
  EXPECT_THAT(resnet().stages(), ElementsAre(ElementsAre("conv1", "bn1", "layer1"), ElementsAre("layer2")));

  const auto vgg_info = vgg().inspect();
  EXPECT_EQ(vgg_info.head, "classifier");
  EXPECT_EQ(vgg_info.features_layer, "features");
  EXPECT_EQ(vgg_info.penultimate_layer, "classifier.6");
  EXPECT_THAT(vgg().stages(), ElementsAre(ElementsAre("features.0"), ElementsAre("features.3")));
  EXPECT_EQ(vgg_info.family, "other");
}

TEST_P(BothKinds, ForwardEqualsPyTorch) {
  EXPECT_TRUE(close(resnet().forward(input()), expected("resnet.logits", {2, 5}), 1e-5));
  EXPECT_TRUE(close(vgg().forward(input()), expected("vgg.logits", {2, 5}), 1e-5));
}

TEST_P(BothKinds, FeaturesAndEmbeddingsEqualPyTorch) {
  const auto map = expected("resnet.after.layer2", {2, 16, 4, 4});
  EXPECT_TRUE(close(resnet().forward_features(input()), map, 1e-5));
  EXPECT_TRUE(close(resnet().embed(input()), map.mean({2, 3}), 1e-5));
  EXPECT_TRUE(close(vgg().embed(input(), "classifier.3"), expected("vgg.after.classifier.3", {2, 16}), 1e-5));
  EXPECT_GRAFT_ERROR(vgg().embed(input(), "classifier.9"), kConfig, "classifier.9");
}

TEST_P(BothKinds, AutoIsOneOfTheOthers) {
  const auto model = resnet();
  const auto found = model.forward(input(), Precision::kAuto);
  const auto exact = model.forward(input()), rough = model.forward(input(), Precision::kBFloat16);
  EXPECT_TRUE(at::equal(found, exact) || at::equal(found, rough));
  const auto scale = std::max(1.0, exact.abs().max().item<double>());
  EXPECT_LE((found - exact).abs().max().item<double>(), 0.04 * scale);  // 0.02 for the picture it was decided by
  const auto plan = inspect_plan(model, Precision::kAuto);
  EXPECT_TRUE(plan.precision == Precision::kFloat32 || plan.precision == Precision::kBFloat16);
  if (std::string(GetParam()) == "traced") return;  // its batch norms cannot train
  auto training = resnet();
  training.train();
  EXPECT_GRAFT_ERROR(training.forward(input(), Precision::kAuto), kConfig, "auto");
}

TEST_P(BothKinds, BFloat16IsCloseAndLeavesNothingBehind) {
  const auto model = resnet();
  const auto exact = model.forward(input());
  const auto rough = model.forward(input(), Precision::kBFloat16);
  EXPECT_FALSE(at::equal(exact, rough));
  EXPECT_TRUE(close(rough, exact, 0.05 * exact.abs().max().item<double>()));
  EXPECT_EQ(rough.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(model.forward(input()), exact));
}

TEST_P(BothKinds, BytesAreNormalisedToTheSameBits) {
  std::vector<Image> images;
  for (std::uint8_t n = 1; n <= 3; ++n) {
    std::vector<std::uint8_t> rgb(32 * 32 * 3);
    for (std::size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<std::uint8_t>(i * n * 31 % 256);
    images.emplace_back(32, 32, std::move(rgb));
  }
  const auto bytes = at::empty({3, 3, 32, 32}, at::kByte, at::MemoryFormat::ChannelsLast);
  for (auto preprocessing : {Preprocessing::torch_mode(32, 32), Preprocessing::caffe_mode(32),
                             Preprocessing::tf_mode(32), Preprocessing::rescale_mode(32)}) {
    auto model = resnet();
    model.set_preprocessing(preprocessing);
    for (std::size_t i = 0; i < images.size(); ++i)
      image::to_pixels(images[i], preprocessing, std::span(bytes.mutable_data_ptr<std::uint8_t>() + i * 3072, 3072));
    EXPECT_TRUE(at::equal(model.forward(bytes), model.forward(model.preprocess(images))));
  }
  EXPECT_GRAFT_ERROR(resnet().forward(at::zeros({1, 3, 32, 32}, at::kInt)), kMismatch, "float32 or uint8");
}

struct CutCase {
  const char* net;
  const char* cut;
  const char* features;
  std::vector<std::int64_t> shape;
};

TEST_P(BothKinds, AHeadIsPutBehindEveryCut) {
  const std::vector<CutCase> cases{{"resnet", "features", "after.layer2", {2, 16, 4, 4}},
                                   {"resnet", "penultimate", "before.fc", {2, 16}},
                                   {"resnet", "layer2.1.conv2", "before.layer2.1.conv2", {2, 8, 4, 4}},
                                   {"vgg", "features", "after.features", {2, 12, 8, 8}},
                                   {"vgg", "penultimate", "before.classifier.6", {2, 16}},
                                   {"vgg", "classifier.3", "before.classifier.3", {2, 20}}};
  for (const auto& c : cases) {
    auto model = load(std::string(c.net) + "_" + GetParam());
    model.replace_head(heads::linear({.classes = 3, .seed = 7}), Cut::parse(c.cut));
    auto features = expected(std::string(c.net) + "." + c.features, c.shape);
    if (features.dim() == 4) features = features.mean({2, 3});
    const auto parameters = model.named_parameters();
    const auto logits = at::linear(features, parameters.at("head.fc.weight"), parameters.at("head.fc.bias")).detach();
    EXPECT_TRUE(close(model.forward(input()), logits, 1e-5)) << c.net << " " << c.cut;
    EXPECT_EQ(model.num_classes(), 3);
    EXPECT_EQ(model.head_name(), "head");
    EXPECT_EQ(model.labels().at(2).id, "2");
  }
}

TEST_P(BothKinds, ASavedModelIsTheSameModel) {
  const Scratch scratch;
  auto model = vgg();
  model.replace_head(heads::mlp({.hidden = {8, 6}, .classes = 3, .dropout = 0.25, .seed = 1}), Cut::penultimate());
  model.freeze_until("classifier.3");
  model.set_labels({{"a", "Ant"}, {"b", "Bee"}, {"c", "Cat"}});
  model.set_preprocessing(Preprocessing::caffe_mode(64));
  model.set_batch_norm(BatchNormPolicy::kInference);
  model.save(scratch / "m.pt");

  auto again = Model::load(scratch / "m.pt");
  EXPECT_TRUE(at::equal(again.forward(input()), model.forward(input())));
  EXPECT_EQ(again.labels(), model.labels());
  EXPECT_EQ(again.preprocessing(), model.preprocessing());
  EXPECT_EQ(again.batch_norm(), BatchNormPolicy::kInference);
  EXPECT_EQ(again.head_name(), "head");
  EXPECT_EQ(again.inspect().head_kind, "mlp:8,6");
  EXPECT_EQ(again.inspect().sha256, model.inspect().sha256);
  EXPECT_EQ(again.frozen_hash(), model.frozen_hash());
  const auto trainable = again.trainable_parameters();
  ASSERT_EQ(trainable.size(), 8u);
  EXPECT_EQ(trainable.front().first, "classifier.3.weight");

  again.replace_head(heads::linear({.classes = 2}), Cut::features());
  EXPECT_EQ(again.head_name(), "head");
  EXPECT_FALSE(again.named_parameters().contains("classifier.3.weight"));
}

TEST_P(BothKinds, FreezingFollowsTheOrderOfExecution) {
  auto model = resnet();
  const auto names = [&] {
    std::vector<std::string> result;
    for (const auto& [name, tensor] : model.trainable_parameters()) result.push_back(name);
    return result;
  };
  model.freeze();
  EXPECT_THAT(names(), ElementsAre("fc.weight", "fc.bias"));
  model.unfreeze("layer2.1.bn*");
  EXPECT_EQ(names().size(), 8u);
  model.freeze_until("layer2.1.conv3");
  EXPECT_THAT(names(),
              ElementsAre("layer2.1.conv3.weight", "layer2.1.bn3.weight", "layer2.1.bn3.bias", "fc.weight", "fc.bias"));
  model.freeze_stages(1);
  EXPECT_EQ(names().front(), "layer2.0.conv1.weight");
  model.apply_freeze("stages:2");
  EXPECT_THAT(names(), ElementsAre("fc.weight", "fc.bias"));
  model.apply_freeze("none");
  EXPECT_EQ(names().size(), model.named_parameters().size());
  model.freeze("fc");
  EXPECT_EQ(names().back(), "layer2.1.bn3.bias");

  EXPECT_GRAFT_ERROR(model.freeze("layer7"), kConfig, "layer7");
  EXPECT_GRAFT_ERROR(model.freeze_until("layer7"), kConfig, "layer7");
  EXPECT_GRAFT_ERROR(model.freeze_stages(3), kConfig, "0 to 2");
  EXPECT_GRAFT_ERROR(model.apply_freeze("half"), kConfig, "half");
}

TEST(BatchNorm, EachPolicyDecidesWhichStatisticsMove) {
  const auto moved = [](BatchNormPolicy policy, const char* freeze) {
    auto model = load("resnet_scripted");
    model.apply_freeze(freeze);
    model.set_batch_norm(policy);
    const auto before = model.named_buffers();
    std::map<std::string, at::Tensor> copies;
    for (const auto& [name, tensor] : before) copies[name] = tensor.clone();
    const auto frozen = model.frozen_hash();
    model.train();
    model.forward(input());
    model.eval();
    EXPECT_EQ(model.frozen_hash(), frozen) << freeze;
    std::vector<std::string> result;
    for (const auto& [name, tensor] : model.named_buffers())
      if (name.ends_with("running_mean") && !at::equal(tensor, copies[name]))
        result.push_back(name.substr(0, name.rfind('.')));
    return result;
  };
  EXPECT_TRUE(moved(BatchNormPolicy::kFollow, "all").empty());
  EXPECT_THAT(moved(BatchNormPolicy::kFollow, "until:layer2.1.conv3"), ElementsAre("layer2.1.bn3"));
  EXPECT_EQ(moved(BatchNormPolicy::kFollow, "none").size(), 14u);
  EXPECT_TRUE(moved(BatchNormPolicy::kInference, "none").empty());
  EXPECT_EQ(moved(BatchNormPolicy::kTrain, "all").size(), 14u);
}

TEST(BatchNorm, TrainPolicyKeepsItsParametersTrainable) {
  auto model = load("resnet_scripted");
  model.set_batch_norm(BatchNormPolicy::kTrain);
  model.freeze();
  EXPECT_EQ(model.trainable_parameters().size(), 2u + 14u * 2u);
}

TEST(BatchNorm, ThePolicyHoldsAtEveryEntryToTraining) {
  auto model = load("resnet_scripted");
  model.freeze();
  const auto frozen = model.frozen_hash();
  for (int i = 0; i < 3; ++i) {
    model.train();
    model.forward(input());
    model.eval();
  }
  EXPECT_EQ(model.frozen_hash(), frozen);
}

TEST(FrozenHash, SeesAChange) {
  auto model = load("resnet_scripted");
  model.freeze();
  const auto before = model.frozen_hash();
  model.named_parameters().at("layer1.0.conv1.weight").detach().view(-1)[3].add_(1e-6);
  EXPECT_NE(model.frozen_hash(), before);
}

TEST(Training, GradientsReachTheHeadAlone) {
  auto model = load("resnet_scripted");
  model.replace_head(heads::linear({.classes = 2}));
  model.freeze();
  model.train();
  EXPECT_GRAFT_ERROR(model.classify(input()), kConfig, "eval()");
  model.forward(input()).sum().backward();
  for (const auto& [name, tensor] : model.named_parameters())
    EXPECT_EQ(tensor.grad().defined(), name.starts_with("head.")) << name;
  model.eval();
  EXPECT_FALSE(model.forward(input()).requires_grad());
}

TEST(Heads, DropoutIsActiveInTrainingOnly) {
  auto model = load("vgg_scripted");
  model.replace_head(heads::mlp({.hidden = {64}, .classes = 2, .dropout = 0.5}));
  model.freeze();
  EXPECT_TRUE(at::equal(model.forward(input()), model.forward(input())));
  model.train();
  EXPECT_FALSE(at::equal(model.forward(input()), model.forward(input())));
}

TEST(Heads, ANewOneIsInTheModelsMode) {
  auto model = load("vgg_scripted");
  model.freeze();
  model.train();
  model.replace_head(heads::mlp({.hidden = {64}, .classes = 2, .dropout = 0.5}));
  EXPECT_TRUE(model.is_training());
  EXPECT_FALSE(at::equal(model.forward(input()), model.forward(input())));
}

TEST(Device, OneThatIsNotThereIsRefused) {
  auto model = load("vgg_scripted");
  EXPECT_GRAFT_ERROR(model.to(Device::cuda(120)), kConfig, "cuda:120");
  EXPECT_FALSE(model.forward(input()).is_cuda());
}

TEST(Heads, InitialWeightsFollowTheNamedReference) {
  const auto weights = [](Initializer initializer, std::uint64_t seed) {
    auto model = load("resnet_scripted");
    model.replace_head(heads::linear({.classes = 1000, .initializer = initializer, .seed = seed}));
    return std::pair(model.named_parameters().at("head.fc.weight").detach().clone(),
                     model.named_parameters().at("head.fc.bias").detach().clone());
  };
  const auto [torch_weight, torch_bias] = weights(Initializer::kTorch, 1);
  EXPECT_NEAR(torch_weight.abs().max().item<double>(), 1 / std::sqrt(16.0), 1e-3);  // U(+-1/sqrt(in)), in = 16
  EXPECT_NEAR(torch_weight.std().item<double>(), 0.25 / std::sqrt(3.0), 2e-3);
  EXPECT_NEAR(torch_bias.abs().max().item<double>(), 0.25, 2e-3);
  const auto [keras_weight, keras_bias] = weights(Initializer::kKeras, 1);
  EXPECT_NEAR(keras_weight.abs().max().item<double>(), std::sqrt(6.0 / 1016), 1e-3);  // Glorot uniform
  EXPECT_EQ(keras_bias.abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(weights(Initializer::kTorch, 1).first, torch_weight));
  EXPECT_FALSE(at::equal(weights(Initializer::kTorch, 2).first, torch_weight));
}

TEST(Heads, BadOptionsAreRefused) {
  EXPECT_GRAFT_ERROR(heads::linear({}), kConfig, "class");
  EXPECT_GRAFT_ERROR(heads::linear({.classes = 2, .dropout = 1}), kConfig, "dropout");
  EXPECT_GRAFT_ERROR(heads::mlp({.hidden = {0}, .classes = 2}), kConfig, "width");
  EXPECT_GRAFT_ERROR(heads::parse("cnn", 2), kConfig, "cnn");
  EXPECT_GRAFT_ERROR(heads::parse("mlp:", 2), kConfig, "mlp:");
  EXPECT_EQ(heads::parse("mlp:256,128", 2).describe(), "mlp:256,128");
}

TEST(Inspect, ShapesAreForThePreprocessingAsItIsNow) {
  auto larger = load("resnet_scripted").preprocessing();
  larger.crop_height_px = 48;
  larger.crop_width_px = 64;
  auto model = load("resnet_scripted");
  const auto before = model.inspect();
  model.set_preprocessing(larger);
  const auto found = model.inspect(),
             expected = Model::load(file("resnet_scripted"), {.preprocessing = larger}).inspect();
  EXPECT_EQ(found.input_shape, (std::vector<std::int64_t>{1, 3, 48, 64}));
  ASSERT_EQ(found.layers.size(), expected.layers.size());
  for (std::size_t i = 0; i < found.layers.size(); ++i)
    EXPECT_EQ(found.layers[i].output_shape, expected.layers[i].output_shape);
  EXPECT_NE(found.layers[0].output_shape, before.layers[0].output_shape);
  model.train();
  EXPECT_EQ(model.inspect().input_shape, before.input_shape);  // nothing runs while training: its shapes are for this
}

TEST(Classify, OfEqualsTheFirstComesFirst) {
  auto model = load("resnet_scripted");
  model.replace_head(heads::linear({.classes = 30, .seed = 1}));
  {
    const at::NoGradGuard no_grad;
    for (const auto& [name, tensor] : model.trainable_parameters())
      if (name.starts_with(model.head_name())) at::Tensor(tensor).zero_();
  }
  for (const int count : {1, 2, 29, 30}) {
    const auto top = model.classify(input(), {.top_k = count})[0];
    ASSERT_EQ(std::ssize(top), count);
    for (int i = 0; i < count; ++i) EXPECT_EQ(top[static_cast<std::size_t>(i)].index, i);
  }
}

TEST(Artefact, DescriptionIsUsedAndCanBeOverridden) {
  const auto model = load("described");
  EXPECT_EQ(model.preprocessing().crop_height_px, 32);
  EXPECT_FALSE(model.preprocessing().resize_shorter_px);
  EXPECT_EQ(model.preprocessing().channels, ChannelOrder::kBgr);
  EXPECT_EQ(model.preprocessing().std[2], 6.0);
  EXPECT_EQ(model.labels().at(4), (Label{"n4", "thing 4"}));
  const auto top = model.classify(input(), {.top_k = 2});
  EXPECT_EQ(top.size(), 2u);
  EXPECT_EQ(top[0].size(), 2u);
  EXPECT_EQ(top[0][0].id, "n" + std::to_string(top[0][0].index));
  EXPECT_GE(top[0][0].probability, top[0][1].probability);

  const auto other =
      Model::load(file("described"), {.preprocessing = Preprocessing::torch_mode(),
                                      .labels = {{{"a", "a"}, {"b", "b"}, {"c", "c"}, {"d", "d"}, {"e", "e"}}}});
  EXPECT_EQ(other.preprocessing(), Preprocessing::torch_mode());
  EXPECT_EQ(other.labels()[1].id, "b");
}

/// A saved model with its records, to be changed and written again.
struct SavedFile {
  graph::ExtraFiles records{{model::kArtefactRecord, ""}, {model::kGoldenRecord, ""}};
  graph::Network network;
  nlohmann::json description;

  explicit SavedFile(const std::filesystem::path& path)
      : network(read(slurp(path), records)), description(nlohmann::json::parse(records[model::kArtefactRecord])) {}
  static graph::Network read(const std::string& archive, graph::ExtraFiles& records) {
    return graph::Network::load(std::as_bytes(std::span(archive)), "saved", records);
  }
  void write(const std::filesystem::path& path) {
    records[model::kArtefactRecord] = description.dump();
    write_atomically(path, network.save(records));
  }
};

TEST(Artefact, WhatAFileStatesOfItselfIsRecomputed) {
  const Scratch scratch;
  const auto path = scratch / "saved.pt";
  load("described").save(path);
  const auto sha256 = Model::load(path).inspect().sha256;
  EXPECT_EQ(Model::load(path, {.sha256 = sha256}).inspect().sha256, sha256);
  EXPECT_GRAFT_ERROR(Model::load(path, {.sha256 = std::string(64, '0')}), kMismatch, sha256);

  SavedFile file(path);
  EXPECT_EQ(file.description["sha256"], sha256);
  EXPECT_EQ(file.description["golden"]["logits"].size(), 5u);
  file.description["preprocessing"]["channels"] = "rgb";
  file.write(path);
  EXPECT_GRAFT_ERROR(Model::load(path), kMismatch, "largest difference of a logit");
  EXPECT_EQ(Model::load(path, {.verify = false}).preprocessing().channels, ChannelOrder::kRgb);
  // A preprocessing given by the caller is not what the golden picture was prepared with: the file's is.
  file.description["preprocessing"]["channels"] = "bgr";
  file.write(path);
  EXPECT_EQ(Model::load(path, {.preprocessing = Preprocessing::rescale_mode(64)}).inspect().input_shape[2], 64);

  file.description["golden"]["logits"].erase(0);
  file.write(path);
  EXPECT_GRAFT_ERROR(Model::load(path), kFormat, "4 logits");
}

TEST(BadModels, Case16AChangedWeight) {
  const Scratch scratch;
  const auto path = scratch / "saved.pt";
  load("described").save(path);
  SavedFile file(path);
  {
    const at::NoGradGuard no_grad;
    file.network.named_parameters()[0].second.flatten()[0].add_(1e-6);
  }
  file.write(path);
  EXPECT_GRAFT_ERROR(Model::load(path), kFormat, "SHA-256");
}

TEST(BadModels, TracedInTrainingMode) {
  EXPECT_GRAFT_ERROR(load("vgg_traced_training"), kMismatch, "dropout in \"classifier.2\"");
  const auto model = Model::load(file("vgg_traced_training"), {.allow_traced_training = true});
  EXPECT_FALSE(at::equal(model.forward(input()), model.forward(input())));
  EXPECT_TRUE(model.fixed_dropouts().empty());
  const Scratch scratch;
  model.save(scratch / "saved.pt");  // without a golden answer: there is none
  EXPECT_NO_THROW(Model::load(scratch / "saved.pt", {.allow_traced_training = true}));
  EXPECT_EQ(load("vgg_traced").fixed_dropouts(), (std::vector<std::string>{"classifier.2", "classifier.5"}));
  EXPECT_TRUE(load("vgg_scripted").fixed_dropouts().empty());
}

// Such a layer normalises by its batch in evaluation mode too: nothing was baked in.
TEST(BadModels, ABatchNormWithoutStatisticsIsNotTakenForTrainingMode) {
  auto model = load("batch_statistics_traced");
  EXPECT_EQ(model.num_classes(), 5);
  EXPECT_NO_THROW(model.train());
}

TEST(Artefact, AGuessedPreprocessingIsAWarning) {
  std::string warning;
  Model::load(file("vgg_scripted"), {.on_warning = [&](std::string_view text) { warning = text; }});
  EXPECT_THAT(warning, ::testing::HasSubstr("preprocessing"));
  warning.clear();
  Model::load(file("described"), {.on_warning = [&](std::string_view text) { warning = text; }});
  EXPECT_EQ(warning, "");
}

TEST(Artefact, DamageIsReported) {
  EXPECT_GRAFT_ERROR(load("described_newer"), kFormat, "schema 99");
  EXPECT_GRAFT_ERROR(load("described_damaged"), kFormat, "graft.json");
}

TEST(Labels, ImageNetsAreComplete) {
  const auto& labels = imagenet_labels();
  ASSERT_EQ(labels.size(), 1000u);
  EXPECT_EQ(labels[386], (Label{"n02504458", "African_elephant"}));
  EXPECT_EQ(labels[0].id, "n01440764");
  EXPECT_EQ(labels[999].id, "n15075141");
}

TEST(Threads, ConstPredictionIsTheSerialResult) {
  const auto model = load("resnet_scripted");
  const auto serial = load("resnet_scripted").embed(input());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) wrong += !at::equal(model.embed(input()), serial);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(BadModels, Case7Directory) { EXPECT_GRAFT_ERROR(Model::load(golden("networks")), kIo, "directory"); }
TEST(BadModels, Case27HalfWeightsAreConverted) {
  const auto model = load("half");
  EXPECT_TRUE(close(model.forward(input()), expected("vgg.logits", {2, 5}), 0.02));
}
TEST(BadModels, Case28OneChannel) { EXPECT_GRAFT_ERROR(load("one_channel"), kMismatch, "1 channels"); }
TEST(BadModels, Case29Tuple) { EXPECT_GRAFT_ERROR(load("tuple"), kMismatch, "one tensor"); }
TEST(BadModels, Case30LabelsDoNotFit) {
  EXPECT_GRAFT_ERROR(load("described_two_labels"), kMismatch, "expected 5");
  EXPECT_GRAFT_ERROR(Model::load(file("vgg_scripted"), {.labels = {{{"a", "a"}}}}), kMismatch, "expected 5");
}
TEST(BadModels, Case31NoForward) { EXPECT_GRAFT_ERROR(load("no_forward"), kMismatch, "no forward"); }
TEST(BadModels, Case32TracedBatchNormCannotTrain) {
  auto model = load("resnet_traced");
  model.freeze();
  model.train();  // all in inference mode: fine
  model.eval();
  model.unfreeze();
  EXPECT_GRAFT_ERROR(model.train(), kMismatch, "torch.jit.script");
  model.set_batch_norm(BatchNormPolicy::kInference);
  model.train();
  EXPECT_TRUE(model.is_training());
}
TEST(BadModels, Case33FrozenArchive) {
  auto model = load("resnet_frozen");
  EXPECT_TRUE(close(model.forward(input()), expected("resnet.logits", {2, 5}), 1e-4));
  EXPECT_EQ(model.inspect().origin, "frozen");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::linear({.classes = 2})), kMismatch, "torch.jit.freeze");
}
TEST(BadModels, Case34NotANumber) { EXPECT_GRAFT_ERROR(load("not_a_number"), kNumeric, "features.3.bias"); }
TEST(BadModels, Case35NoHeadOrNothingBeforeIt) {
  EXPECT_GRAFT_ERROR(Model::load(file("vgg_scripted"), {.head = "fc9"}), kConfig, "fc9");
  auto model = load("vgg_scripted");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::linear({.classes = 2}), Cut::before("features.0")), kMismatch,
                     "no layer comes before");
  EXPECT_GRAFT_ERROR(model.replace_head(heads::linear({.classes = 2}), Cut::before("nowhere")), kConfig, "nowhere");
  EXPECT_TRUE(close(model.forward(input()), expected("vgg.logits", {2, 5}), 1e-5));  // still whole
}
TEST(BadModels, Case82And83Labels) {
  auto model = load("vgg_scripted");
  EXPECT_GRAFT_ERROR(model.set_labels({{"a", "a"}}), kMismatch, "expected 5");
  EXPECT_GRAFT_ERROR(model.set_labels({{"a", "a"}, {"b", "b"}, {"a", "c"}, {"d", "d"}, {"e", "e"}}), kMismatch,
                     "twice");
}
TEST(BadInput, WrongBatchesAreRefused) {
  const auto model = load("vgg_scripted");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({3, 32, 32})), kMismatch, "[3, 32, 32]");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({1, 4, 32, 32})), kMismatch, "[1, 4, 32, 32]");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({0, 3, 32, 32})), kMismatch, "[0, 3, 32, 32]");
  EXPECT_GRAFT_ERROR(model.forward(at::zeros({1, 3, 32, 32}, at::kDouble)), kMismatch, "float32");
  EXPECT_GRAFT_ERROR(model.forward(at::Tensor()), kMismatch, "undefined");
  EXPECT_GRAFT_ERROR(model.classify(input(), {.top_k = 0}), kConfig, "top_k");
}

}  // namespace
}  // namespace graft
