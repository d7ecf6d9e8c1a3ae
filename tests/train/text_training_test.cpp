// Networks that take texts, through the same trainer.
#include <atomic>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/doctor.h>
#include <graft/text_dataset.h>
#include <graft/trainer.h>

#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

Model tiny_with_head(const Head& head = heads::linear({.classes = 2, .seed = 1})) {
  auto model = Model::load(testing::golden("text/tiny.pt"));
  model.replace_head(head);
  model.set_labels({{"sea", "sea"}, {"town", "town"}});
  model.freeze();
  return model;
}

/// Texts of different lengths about two things.
TextDataset texts(int count, int first = 0) {
  const std::vector<std::vector<std::string>> words{
      {"ship", "sea", "fish", "island", "ocean", "wind", "river", "water"},
      {"town", "street", "house", "city", "door", "school", "car", "money"}};
  std::vector<std::string> all;
  std::vector<std::int64_t> labels;
  for (int i = first; i < first + count; ++i) {
    std::string text = "the";
    for (int word = 0; word < 2 + i % 7; ++word)
      text += " " + words[static_cast<std::size_t>(i % 2)][static_cast<std::size_t>((i * 5 + word * (i % 3 + 1)) % 8)];
    all.push_back(text + (i % 5 == 0 ? " and all that there is" : ""));
    labels.push_back(i % 2);
  }
  return TextDataset(std::move(all), std::move(labels), {"sea", "town"});
}

/// Counts how often a text is asked for.
class Counted : public Dataset {
 public:
  explicit Counted(const TextDataset& data) : data_(data) {}
  std::size_t size() const override { return data_.size(); }
  const std::vector<std::string>& classes() const override { return data_.classes(); }
  std::int64_t label(std::size_t i) const override { return data_.label(i); }
  std::string text(std::size_t i) const override {
    ++read_;
    return data_.text(i);
  }
  std::string content_id(std::size_t i) const override { return data_.content_id(i); }
  std::string name(std::size_t i) const override { return data_.name(i); }
  int read() const { return read_; }

 private:
  const TextDataset& data_;
  mutable std::atomic<int> read_ = 0;
};

TrainerOptions with_cache(bool enabled) {
  TrainerOptions options{.optimizer = Adam{.learning_rate = 0.05}, .seed = 3};
  options.feature_cache.enabled = enabled;
  return options;
}

TEST(TextTraining, AHeadOnAFrozenEncoderLearns) {
  auto model = tiny_with_head();
  const auto train = texts(96), val = texts(40, 1000);
  auto options = with_cache(true);
  options.optimizer = Adam{.learning_rate = 0.1};
  Trainer trainer(model, options);
  const auto history = trainer.fit(train, val, {.epochs = 40, .batch_size = 16});
  EXPECT_TRUE(history.frozen_unchanged);
  EXPECT_LT(history.epochs.back().loss, 0.6 * history.epochs.front().loss);
  const auto result = trainer.evaluate(val, {});
  EXPECT_GE(result.accuracy, 0.85);  // of 8 random features
  EXPECT_EQ(result.confusion.size(), 2u);
  const auto best = model.classify(std::vector{val.text(3)})[0][0];
  EXPECT_EQ(best.label, val.classes()[static_cast<std::size_t>(best.index)]);
  EXPECT_NEAR(best.probability, result.probabilities[3][best.index].item<float>(), 1e-5);
}

TEST(TextTraining, TheFeatureCacheReadsEachTextOnceAndChangesNothing) {
  const auto train = texts(50), val = texts(20, 1000);
  std::vector<History> histories;
  for (const bool cached : {true, false}) {
    auto model = tiny_with_head();
    const Counted counted(train);
    histories.push_back(Trainer(model, with_cache(cached)).fit(counted, val, {.epochs = 4, .batch_size = 8}));
    EXPECT_EQ(counted.read(), cached ? 50 : 200);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(histories[0].epochs[i].loss, histories[1].epochs[i].loss, 1e-5);
    EXPECT_NEAR(histories[0].epochs[i].val_loss.value(), histories[1].epochs[i].val_loss.value(), 1e-5);
  }
}

TEST(TextTraining, ACacheInAFolderServesTheNextRun) {
  const testing::Scratch scratch;
  const auto train = texts(30), val = texts(10, 1000);
  for (const int expected : {30, 0}) {
    auto model = tiny_with_head();
    const Counted counted(train);
    auto options = with_cache(true);
    options.feature_cache.directory = scratch.path();
    (void)Trainer(model, options).fit(counted, val, {.epochs = 2, .batch_size = 8});
    EXPECT_EQ(counted.read(), expected);
  }
  // Cut off elsewhere, texts have other features.
  auto tokenizer_options = tiny_with_head().tokenizer().options();
  tokenizer_options.max_length = 5;
  auto model = Model::load(testing::golden("text/tiny.pt"),
                           {.tokenizer = Tokenizer(tiny_with_head().tokenizer().vocabulary(), tokenizer_options)});
  model.replace_head(heads::linear({.classes = 2}));
  model.freeze();
  const Counted counted(train);
  auto options = with_cache(true);
  options.feature_cache.directory = scratch.path();
  (void)Trainer(model, options).fit(counted, val, {.epochs = 2, .batch_size = 8});
  EXPECT_EQ(counted.read(), 30);
}

TEST(TextTraining, TheLastLayersTrainAndTheFirstStayAsTheyAre) {
  auto model = tiny_with_head();
  model.apply_freeze("stages:2");
  const auto copies = [&](const std::map<std::string, at::Tensor>& tensors) {
    std::map<std::string, at::Tensor> copied;
    for (const auto& [name, tensor] : tensors) copied[name] = tensor.clone();
    return copied;
  };
  const auto before = copies(model.named_parameters());
  const auto train = texts(48), val = texts(16, 1000);
  const auto history =
      Trainer(model, {.optimizer = Adam{.learning_rate = 0.01}}).fit(train, val, {.epochs = 4, .batch_size = 16});
  EXPECT_TRUE(history.frozen_unchanged);
  EXPECT_LT(history.epochs.back().loss, history.epochs.front().loss);
  for (const auto& [name, tensor] : model.named_parameters()) {
    const bool trains = name.starts_with("encoder.layer.1.") || name.starts_with("head");
    EXPECT_EQ(at::equal(tensor, before.at(name)), !trains) << name;
  }
}

TEST(TextTraining, GoesOnFromACheckpointBitForBit) {
  const testing::Scratch scratch;
  const auto train = texts(40), val = texts(10, 1000);
  const auto weights = [&](bool in_two) {
    auto model = tiny_with_head(heads::mlp({.hidden = {6}, .classes = 2, .dropout = 0.3, .seed = 2}));
    FitOptions fit{.epochs = 4, .batch_size = 8};
    if (in_two) {
      fit.checkpoint.directory = scratch / "checkpoint";
      std::stop_source stop;
      fit.stop = stop.get_token();
      fit.on_step = [&](const StepInfo& info) {
        if (info.epoch == 1 && info.step == 3) stop.request_stop();
      };
      EXPECT_TRUE(Trainer(model, with_cache(true)).fit(train, val, fit).interrupted);
      model = tiny_with_head(heads::mlp({.hidden = {6}, .classes = 2, .dropout = 0.3, .seed = 2}));
      fit.stop = {};
      fit.on_step = {};
      fit.checkpoint.resume = true;
    }
    (void)Trainer(model, with_cache(true)).fit(train, val, fit);
    return model.named_parameters();
  };
  const auto undisturbed = weights(false);
  for (const auto& [name, tensor] : weights(true)) EXPECT_TRUE(at::equal(tensor, undisturbed.at(name))) << name;
}

TEST(TextTraining, WhatIsForPicturesIsRefused) {
  auto model = tiny_with_head();
  const auto train = texts(16), val = texts(8, 1000);
  for (const auto& options : {TrainerOptions{.mixup_alpha = 0.2}, TrainerOptions{.cutmix_alpha = 1}})
    EXPECT_GRAFT_ERROR(Trainer(model, options).fit(train, val, {}), kConfig, "0 for a network that takes texts");
  EXPECT_GRAFT_ERROR(Trainer(model).evaluate(val, {.tta = {.horizontal_flip = true}}), kConfig, "takes texts");
  EXPECT_GRAFT_ERROR(Doctor(model), kConfig, "takes texts");

  auto for_pictures = Model::load(testing::golden("networks/resnet_scripted.pt"));
  for_pictures.replace_head(heads::linear({.classes = 2}));
  EXPECT_GRAFT_ERROR(Trainer(for_pictures).fit(train, val, {}), kMismatch, "which this data set has none of");
}

}  // namespace
}  // namespace graft
