#include <graft/doctor.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Examples in any order, with labels of their own.
class Arranged : public Dataset {
 public:
  struct Example {
    std::size_t picture;
    std::int64_t label;
    bool smaller = false;  ///< the same picture, scaled down and up again
  };

  Arranged(const DrawnDataset& pictures, std::vector<Example> examples, std::vector<std::string> classes)
      : pictures_(pictures), examples_(std::move(examples)), classes_(std::move(classes)) {}
  /// All pictures below `end` as they are labelled there, from `begin` on.
  Arranged(const DrawnDataset& pictures, std::size_t begin, std::size_t end)
      : Arranged(pictures, {}, pictures.classes()) {
    for (auto i = begin; i < end; ++i) examples_.push_back({i, pictures.label(i)});
  }

  std::size_t size() const override { return examples_.size(); }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t i) const override { return examples_.at(i).label; }
  std::string name(std::size_t i) const override { return "picture " + std::to_string(examples_.at(i).picture); }
  Image image(std::size_t i) const override {
    if (bad.contains(i)) throw Error(ErrorCode::kFormat, name(i) + ": planted damage");
    const auto image = pictures_.image(examples_.at(i).picture);
    return examples_.at(i).smaller ? image.resize(image.width_px() - 4, image.height_px() - 4) : image;
  }

  std::vector<Example>& examples() { return examples_; }
  std::vector<std::string>& class_names() { return classes_; }
  std::set<std::size_t> bad;

 private:
  const DrawnDataset& pictures_;
  std::vector<Example> examples_;
  std::vector<std::string> classes_;
};

std::vector<std::string> codes(const Diagnosis& diagnosis) {
  std::vector<std::string> found;
  for (const auto& finding : diagnosis.findings) {
    found.emplace_back(to_string(finding.code));
    EXPECT_THAT(diagnosis.checked, Contains(found.back()));
    EXPECT_FALSE(finding.seen.empty());
    EXPECT_FALSE(finding.change.empty());
  }
  return found;
}

constexpr std::size_t kTrain = 90, kVal = 45;

/// A small ResNet that has learned to tell the drawn classes apart, as a pretrained network: its batch norms hold the
/// statistics of such pictures.
Model pretrained() {
  static const auto file = [] {
    auto scratch = std::make_shared<graft::testing::Scratch>();
    auto model = Model::load(golden("networks/resnet_scripted.pt"),
                             {.preprocessing = Preprocessing::parse("torch,resize=none,crop=32")});
    model.replace_head(heads::linear({.classes = 3, .seed = 1}));
    model.unfreeze();
    const DrawnDataset data(120, 3, 32, /*seed=*/77);
    Trainer(model, {.optimizer = Adam{.learning_rate = 3e-3}}).fit(data, {.epochs = 12, .batch_size = 20});
    model.save(*scratch / "pretrained.pt");
    return scratch;
  }();
  return Model::load(*file / "pretrained.pt");
}

Model with_new_head(std::int64_t classes = 3) {
  auto model = pretrained();
  model.replace_head(heads::linear({.classes = classes, .seed = 2}));
  model.freeze();
  return model;
}

/// The same for a network without batch norm, with the head that it learned with as its original one.
Model without_batch_norm() {
  static const auto file = [] {
    auto scratch = std::make_shared<graft::testing::Scratch>();
    auto model = Model::load(golden("networks/vgg_scripted.pt"),
                             {.preprocessing = Preprocessing::parse("torch,resize=none,crop=32")});
    model.unfreeze();
    const DrawnDataset data(150, 5, 32, /*seed=*/78);
    Trainer(model, {.optimizer = Adam{.learning_rate = 3e-3}}).fit(data, {.epochs = 12, .batch_size = 20});
    model.set_labels({{"a", "a"}, {"b", "b"}, {"c", "c"}, {"d", "d"}, {"e", "e"}});
    model.save(*scratch / "pretrained.pt");
    return scratch;
  }();
  return Model::load(*file / "pretrained.pt");
}

class OfData : public ::testing::Test {
 protected:
  const DrawnDataset pictures_{kTrain + kVal, 3};
  Arranged train_{pictures_, 0, kTrain}, val_{pictures_, kTrain, kTrain + kVal};

  Diagnosis examine() {
    auto model = with_new_head(static_cast<std::int64_t>(train_.classes().size()));
    return Doctor(model).examine_data(train_, val_);
  }
};

TEST_F(OfData, IsQuietAboutHealthyData) {
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), IsEmpty());
  EXPECT_THAT(diagnosis.checked,
              ElementsAre("unreadable_images", "leaked_images", "duplicate_images", "too_few_images",
                          "ambiguous_images", "duplicate_class", "class_imbalance", "wrong_labels", "swapped_classes"));
}

TEST_F(OfData, FindsPicturesThatAreInBoth) {
  train_.examples()[3] = {kTrain + 3, 0};
  train_.examples()[4] = {kTrain + 4, 1, /*smaller=*/true};
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("leaked_images"));
  EXPECT_THAT(diagnosis.findings[0].pictures, ElementsAre("picture 93", "picture 94"));
  EXPECT_THAT(diagnosis.findings[0].seen, HasSubstr("2 of 45"));
}

TEST_F(OfData, FindsRepeatedPictures) {
  train_.examples().push_back({5, pictures_.label(5)});
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("duplicate_images"));
  EXPECT_THAT(diagnosis.findings[0].pictures, ElementsAre("picture 5"));
}

TEST_F(OfData, FindsAPictureUnderTwoClasses) {
  train_.examples().push_back({5, (pictures_.label(5) + 1) % 3});
  EXPECT_THAT(codes(examine()), ElementsAre("ambiguous_images"));
}

TEST_F(OfData, FindsAClassThatIsThereTwice) {
  for (auto* data : {&train_, &val_}) {
    data->class_names().push_back("again");
    const auto examples = data->examples();
    for (const auto& example : examples)
      if (example.label == 1) data->examples().push_back({example.picture, 3});
  }
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("duplicate_class", "duplicate_class"));  // in both
  EXPECT_EQ(diagnosis.findings[0].where, "train/again");
  EXPECT_THAT(diagnosis.findings[0].seen, HasSubstr("30 of 30"));
}

TEST_F(OfData, FindsUnreadableFiles) {
  train_.bad = {7, 30};
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("unreadable_images"));
  EXPECT_THAT(diagnosis.findings[0].pictures, ElementsAre("picture 7", "picture 30"));
  EXPECT_THAT(diagnosis.findings[0].seen, HasSubstr("planted damage"));
}

TEST_F(OfData, FindsImbalanceAndTooFewPictures) {
  std::erase_if(train_.examples(), [](const auto& example) { return example.label == 2 && example.picture > 45; });
  EXPECT_EQ(std::ranges::count(train_.examples(), 2, &Arranged::Example::label), 15);
  EXPECT_THAT(codes(examine()), IsEmpty());  // half of the others: no matter
  std::erase_if(train_.examples(), [](const auto& example) { return example.label == 2 && example.picture > 12; });
  EXPECT_THAT(codes(examine()), ElementsAre("class_imbalance", "too_few_images"));
}

TEST_F(OfData, FindsWrongLabelsOfSinglePictures) {
  for (const std::size_t i : {4u, 31u, 50u, 77u}) train_.examples()[i].label = (train_.examples()[i].label + 1) % 3;
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("wrong_labels"));
  EXPECT_THAT(diagnosis.findings[0].pictures,
              ::testing::UnorderedElementsAre("picture 4", "picture 31", "picture 50", "picture 77"));
}

TEST_F(OfData, FindsClassesThatStandForOneAnother) {
  for (auto& example : val_.examples())
    if (example.label < 2) example.label = 1 - example.label;
  const auto diagnosis = examine();
  EXPECT_THAT(codes(diagnosis), ElementsAre("swapped_classes"));
  EXPECT_THAT(diagnosis.findings[0].seen, HasSubstr("\"class0\" like \"class1\", \"class1\" like \"class0\""));
}

TEST_F(OfData, RefusesOtherClassesAndTrainingMode) {
  auto model = with_new_head();
  val_.class_names()[0] = "other";
  EXPECT_GRAFT_ERROR(Doctor(model).examine_data(train_, val_), kMismatch, "different classes");
  val_.class_names()[0] = train_.classes()[0];
  model.train();
  EXPECT_GRAFT_ERROR(Doctor(model).examine_data(train_, val_), kConfig, "training mode");
}

TEST_F(OfData, LeavesTheModelAsItWas) {
  auto model = with_new_head();
  model.freeze_stages(1);
  model.set_batch_norm(BatchNormPolicy::kTrain);
  const auto trainable = model.trainable_parameters().size();
  const auto hash = model.inspect().sha256;
  Doctor doctor(model);
  (void)doctor.examine_data(train_, val_);
  (void)doctor.examine_model(train_);
  (void)doctor.examine_preprocessing(train_);
  EXPECT_EQ(model.trainable_parameters().size(), trainable);
  EXPECT_EQ(model.batch_norm(), BatchNormPolicy::kTrain);
  EXPECT_EQ(model.inspect().sha256, hash);
  EXPECT_FALSE(model.is_training());
}

TEST(Doctor, RefusesDataThatAreNone) {
  auto model = pretrained();
  const DrawnDataset pictures(12, 3);
  const Subset none(pictures, {});
  EXPECT_GRAFT_ERROR(Doctor(model).examine_data(pictures, none), kMismatch, "expected at least one example");
  EXPECT_GRAFT_ERROR(Doctor(model).examine_data(none, pictures), kMismatch, "expected at least one example");
  Arranged mislabelled(pictures, 0, 12);
  mislabelled.examples()[5].label = 7;
  EXPECT_GRAFT_ERROR(Doctor(model).examine_data(mislabelled, pictures), kMismatch,
                     "picture 5: expected a label from 0 to 2, found 7");
}

// --- Preprocessing

class OfPreprocessing : public ::testing::Test {
 protected:
  const DrawnDataset pictures_{60, 3};

  std::vector<std::string> examine(Model model, const std::function<void(Preprocessing&)>& change) {
    return examine(std::move(model), change, pictures_);
  }
  static std::vector<std::string> examine(Model model, const std::function<void(Preprocessing&)>& change,
                                          const Dataset& pictures) {
    auto preprocessing = model.preprocessing();
    change(preprocessing);
    model.set_preprocessing(preprocessing);
    return codes(Doctor(model).examine_preprocessing(pictures));
  }
  static void as_it_is(Preprocessing&) {}
  static void other_order(Preprocessing& p) { p.channels = ChannelOrder::kBgr; }
  static void scaled_twice(Preprocessing& p) { p.scale /= 255; }
  static void not_scaled(Preprocessing& p) { p.scale = 1; }
  static void only_rescaled(Preprocessing& p) { p.mean = {0, 0, 0}, p.std = {1, 1, 1}; }
};

TEST_F(OfPreprocessing, GoesByTheStatisticsOfBatchNorm) {
  for (auto* model : {+[] { return pretrained(); }, +[] { return with_new_head(); }}) {
    EXPECT_THAT(examine(model(), as_it_is), IsEmpty());
    EXPECT_THAT(examine(model(), scaled_twice), ElementsAre("pixel_scale"));
    EXPECT_THAT(examine(model(), not_scaled), ElementsAre("pixel_scale"));
    EXPECT_THAT(examine(model(), only_rescaled), ElementsAre("normalization"));
  }
}

TEST_F(OfPreprocessing, AsksAHeadThatKnowsTheClasses) {
  // Red, green and blue fields are as many in either order: only their names tell.
  EXPECT_THAT(examine(pretrained(), other_order), ElementsAre("channel_order"));
}

TEST_F(OfPreprocessing, AsksTheOriginalHeadWhereThereIsNoBatchNorm) {
  const DrawnDataset of_its_classes(60, 5);
  const auto knowing = [&] {
    auto model = without_batch_norm();
    std::vector<Label> labels;
    for (const auto& name : of_its_classes.classes()) labels.push_back({name, name});
    model.set_labels(labels);
    return model;
  };
  EXPECT_THAT(examine(knowing(), as_it_is, of_its_classes), IsEmpty());
  EXPECT_THAT(examine(knowing(), other_order, of_its_classes), ElementsAre("channel_order"));
  EXPECT_THAT(examine(knowing(), scaled_twice, of_its_classes), ElementsAre("pixel_scale"));
  // Of other classes it can only be sure or not. Without batch norm, larger pixels alone give larger answers.
  EXPECT_THAT(examine(without_batch_norm(), as_it_is), IsEmpty());
}

TEST_F(OfPreprocessing, AsksHeadsThatAreWorseThanChance) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    auto model = without_batch_norm();
    model.replace_head(heads::linear({.classes = 3, .seed = seed}));
    std::vector<Label> labels;
    for (const auto& name : pictures_.classes()) labels.push_back({name, name});
    model.set_labels(labels);
    EXPECT_LE(examine(std::move(model), as_it_is).size(), 1u);
  }
}

TEST_F(OfPreprocessing, LooksAtAllPictures) {
  const DrawnDataset drawn(37, 3);  // as many as its stride
  const auto seen = [&](bool same) {
    Arranged pictures(drawn, 0, 37);
    if (same)
      for (auto& example : pictures.examples()) example = {0, 0};
    auto model = pretrained();
    auto preprocessing = model.preprocessing();
    scaled_twice(preprocessing);
    model.set_preprocessing(preprocessing);
    return Doctor(model).examine_preprocessing(pictures).findings.at(0).seen;
  };
  EXPECT_NE(seen(true), seen(false));
}

// --- Model

class OfModel : public ::testing::Test {
 protected:
  const DrawnDataset pictures_{90, 3};

  Diagnosis diagnosis(Model& model, const TrainerOptions& trainer = {}, const FitOptions& fit = {}) {
    return Doctor(model, trainer, fit).examine_model(pictures_);
  }
};

TEST_F(OfModel, IsQuietAboutWhatIsUsual) {
  auto model = with_new_head();
  const auto result = diagnosis(model);
  EXPECT_THAT(codes(result), IsEmpty());
  EXPECT_THAT(result.checked,
              ElementsAre("nothing_trainable", "frozen_head", "backbone_learning_rate", "batch_norm_in_frozen_trunk",
                          "batch_norm_without_statistics", "batch_norm_small_batch"));
  model.freeze_stages(1);
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-4}})), IsEmpty());
  model.unfreeze();
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Sgd{.learning_rate = 1e-2}})), IsEmpty());
}

TEST_F(OfModel, FindsAHeadThatCannotLearn) {
  auto model = with_new_head();
  model.freeze("head*");
  EXPECT_THAT(codes(diagnosis(model)), ElementsAre("nothing_trainable", "frozen_head"));
  model.unfreeze("layer2");
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-4}})), ElementsAre("frozen_head"));
}

TEST_F(OfModel, LeavesATrainedHeadInPeace) {
  auto model = pretrained();
  model.freeze("*");
  model.unfreeze("layer2");
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-4}})), IsEmpty());
}

TEST_F(OfModel, FindsARateForNewLayersOnPretrainedOnes) {
  auto model = with_new_head();
  model.unfreeze();
  const auto found = diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-2}});
  EXPECT_THAT(codes(found), ElementsAre("backbone_learning_rate"));
  // Where the rates fall towards the input, or the phase lowers them, all is well.
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-2},
                                      .groups = {{"layer*", 1e-3}, {"conv1", 1e-3}, {"bn1", 1e-3}}})),
              IsEmpty());
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-2}},
                              {.phases = {{.freeze = "none", .rate = 1e-3}}})),
              IsEmpty());
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-2}},
                              {.phases = {{.freeze = "all"}, {.freeze = "none"}}})),
              ElementsAre("backbone_learning_rate"));
}

TEST_F(OfModel, FindsBatchNormThatTrainsWhereItShouldNot) {
  auto model = with_new_head();
  model.set_batch_norm(BatchNormPolicy::kTrain);
  const auto found = diagnosis(model);
  EXPECT_THAT(codes(found), ElementsAre("batch_norm_in_frozen_trunk"));
  EXPECT_EQ(found.findings[0].where, "bn1");
  EXPECT_THAT(found.findings[0].seen, HasSubstr("14 of 14"));
  model.set_batch_norm(BatchNormPolicy::kInference);
  EXPECT_THAT(codes(diagnosis(model)), IsEmpty());
}

TEST_F(OfModel, FindsBatchesTooSmallForBatchNorm) {
  auto model = with_new_head();
  model.unfreeze();
  const TrainerOptions slow{.optimizer = Adam{.learning_rate = 1e-5}};
  EXPECT_THAT(codes(diagnosis(model, slow, {.batch_size = 4})), ElementsAre("batch_norm_small_batch"));
  EXPECT_THAT(codes(diagnosis(model, slow, {.batch_size = 16})), IsEmpty());
}

TEST_F(OfModel, FindsBatchNormThatWasSavedFolded) {
  auto model = with_new_head();
  for (auto [name, tensor] : model.named_buffers()) {
    if (name.ends_with("running_mean")) tensor.zero_();
    if (name.ends_with("running_var")) tensor.fill_(1);
  }
  EXPECT_THAT(codes(diagnosis(model)), IsEmpty());  // frozen: it rests
  model.unfreeze();
  EXPECT_THAT(codes(diagnosis(model, {.optimizer = Adam{.learning_rate = 1e-5}})),
              ElementsAre("batch_norm_without_statistics"));
}

// --- Training

/// The learning rate's and the data's share of a run.
struct Course {
  double learning_rate = 3e-3;
  std::int64_t epochs = 4;
  std::string freeze = "all";
  std::string head = "linear";
  std::size_t wrong_labels = 0;  ///< of the training data, every other one
};

class OfTraining : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  std::vector<std::string> examine(const Course& run) {
    const DrawnDataset pictures(kTrain + kVal, 3, 32, GetParam());
    Arranged train(pictures, 0, kTrain), val(pictures, kTrain, kTrain + kVal);
    for (std::size_t i = 0; i < run.wrong_labels; ++i)
      train.examples()[i].label = static_cast<std::int64_t>((i * 7 / 3) % 3);
    auto model = pretrained();
    model.replace_head(heads::parse(run.head, 3, GetParam()));
    model.apply_freeze(run.freeze);
    model.set_batch_norm(BatchNormPolicy::kInference);
    const TrainerOptions options{.optimizer = Adam{.learning_rate = run.learning_rate}, .seed = GetParam()};
    FitOptions fit{.epochs = run.epochs, .batch_size = 10};
    std::int64_t steps = 0;
    fit.on_step = [&](const StepInfo&) { ++steps; };
    Doctor doctor(model, options, fit);
    doctor.watch(fit);
    Trainer trainer(model, options);
    const auto history = trainer.fit(train, val, fit);
    EXPECT_GT(steps, 9 * run.epochs);  // validation's too
    return codes(doctor.examine_training(train, history));
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, OfTraining, ::testing::Values(1, 2, 3));

TEST_P(OfTraining, IsQuietAboutHealthyRuns) {
  EXPECT_THAT(examine({}), IsEmpty());
  EXPECT_THAT(examine({.learning_rate = 1e-2, .epochs = 8}), IsEmpty());
  EXPECT_THAT(examine({.learning_rate = 1e-3, .head = "mlp:64"}), IsEmpty());
  EXPECT_THAT(examine({.learning_rate = 3e-4, .freeze = "stages:1"}), IsEmpty());
  EXPECT_THAT(examine({.learning_rate = 3e-4, .freeze = "none"}), IsEmpty());
}

TEST_P(OfTraining, FindsARateThatIsTooLarge) {
  EXPECT_THAT(examine({.learning_rate = 30, .wrong_labels = 45}), Contains("learning_rate_too_large"));
  EXPECT_THAT(examine({.learning_rate = 10, .head = "mlp:64", .wrong_labels = 45}),
              Contains("learning_rate_too_large"));
}

TEST_P(OfTraining, FindsARateThatIsTooSmall) {
  EXPECT_THAT(examine({.learning_rate = 1e-6, .wrong_labels = 45}), ElementsAre("learning_rate_too_small"));
}

TEST_P(OfTraining, FindsPretrainedWeightsThatMoveAway) {
  EXPECT_THAT(examine({.learning_rate = 3e-2, .epochs = 2, .freeze = "none"}), Contains("weight_drift"));
}

TEST(Doctor, FindsUnitsThatNeverAnswer) {
  const DrawnDataset pictures(30, 3);
  auto model = with_new_head();
  model.replace_head(heads::mlp({.hidden = {32}, .classes = 3}));
  FitOptions fit;
  Doctor doctor(model);
  doctor.watch(fit);
  for (auto [name, tensor] : model.named_parameters())
    if (name.ends_with("fc1.bias")) tensor.detach().fill_(-1000);
  History history;
  history.epochs.resize(1);
  EXPECT_THAT(codes(doctor.examine_training(pictures, history)), ElementsAre("dead_features"));
}

TEST(Doctor, WantsToSeeATrainingBeforeItJudgesIt) {
  auto model = with_new_head();
  EXPECT_GRAFT_ERROR(Doctor(model).examine_training(DrawnDataset(6, 3), {}), kConfig, "watch()");
}

TEST(Doctor, TheLatestWatchIsTheOneThatSees) {  // options may be used again, also when the doctor has gone
  auto model = with_new_head();
  FitOptions fit;
  int steps = 0;
  fit.on_step = [&](const StepInfo&) { ++steps; };
  {
    Doctor doctor(model);
    doctor.watch(fit);
    doctor.watch(fit);
    fit.on_step({.epoch = 0, .step = 1, .loss = 0.1, .examples = 10});
    EXPECT_THAT(codes(doctor.examine_training(DrawnDataset(6, 3), {})), ElementsAre("learning_rate_too_large"));
  }
  fit.on_step({.epoch = 0, .step = 2, .loss = 0.1, .examples = 20});
  EXPECT_EQ(steps, 2);
}

TEST(Doctor, ARunWithoutAHistoryHasDiverged) {
  auto model = with_new_head();
  FitOptions fit;
  Doctor doctor(model);
  doctor.watch(fit);
  fit.on_step({.epoch = 0, .step = 1, .loss = 0.1, .examples = 10});  // and then validation, or the second step
  const auto diagnosis = doctor.examine_training(DrawnDataset(6, 3), {});
  EXPECT_THAT(codes(diagnosis), ElementsAre("learning_rate_too_large"));
  EXPECT_EQ(diagnosis.findings[0].seen, "after 1 step the loss, of training or of validation, was no finite number");
}

/// Findings about eight steps after all weights became half as large again.
std::vector<std::string> after_a_jump(std::int64_t epoch) {
  auto model = with_new_head();
  model.unfreeze();
  FitOptions fit;
  Doctor doctor(model);
  doctor.watch(fit);
  for (auto [name, tensor] : model.named_parameters()) tensor.detach().mul_(1.5);
  for (std::int64_t step = 1; step <= 8; ++step)
    fit.on_step({.epoch = epoch, .step = step, .loss = 0.1, .examples = 10 * step});
  History history;
  history.epochs.resize(1);
  return codes(doctor.examine_training(DrawnDataset(30, 3), history));
}

TEST(Doctor, WhatACheckpointHoldsIsNoDrift) {
  EXPECT_THAT(after_a_jump(0), ElementsAre("weight_drift"));
  EXPECT_THAT(after_a_jump(2), IsEmpty());  // the run goes on from there
}

struct Losses {
  double train, val;
};

/// Findings about these epochs, in the first of which the head's weights became `growth` times as large.
std::vector<std::string> after(const std::vector<Losses>& epochs, double growth = 1) {
  auto model = with_new_head();
  FitOptions fit;
  Doctor doctor(model);
  doctor.watch(fit);
  for (auto [name, tensor] : model.named_parameters())
    if (tensor.requires_grad()) tensor.detach().mul_(growth);
  for (std::int64_t step = 1; step <= 8; ++step) fit.on_step({.step = step, .loss = 0.5, .examples = 10 * step});
  History history;
  for (const auto& [train, val] : epochs) {
    history.epochs.emplace_back();
    history.epochs.back().loss = train;
    history.epochs.back().val_loss = val;
  }
  return codes(doctor.examine_training(DrawnDataset(30, 3), history));
}

TEST(Doctor, FindsAHeadThatIsThrownFar) {
  EXPECT_THAT(after({{0.5, 0.5}}, 12), ElementsAre("learning_rate_too_large"));
  EXPECT_THAT(after({{0.5, 0.5}}, 6), IsEmpty());
  EXPECT_THAT(after({{0.2, 0.2}}, 12), IsEmpty());  // it has done no harm
}

TEST(Doctor, FindsOverfitting) {
  EXPECT_THAT(after({{0.9, 0.8}, {0.5, 0.6}, {0.3, 0.8}, {0.1, 1.0}}), ElementsAre("overfitting"));
  EXPECT_THAT(after({{0.9, 0.8}, {0.5, 0.6}, {0.3, 0.7}, {0.1, 0.8}}), IsEmpty());    // by a third
  EXPECT_THAT(after({{0.9, 0.8}, {0.5, 0.6}, {0.3, 1.0}}), IsEmpty());                // one epoch may be chance
  EXPECT_THAT(after({{0.9, 0.8}, {0.5, 0.6}, {0.6, 0.8}, {0.6, 1.0}}), IsEmpty());    // training went no better
  EXPECT_THAT(after({{0.9, 0.1}, {0.5, 0.05}, {0.3, 0.1}, {0.1, 0.12}}), IsEmpty());  // next to nothing
}

TEST(Doctor, NamesOfCodesAreUniqueWords) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(FindingCode::kDeadFeatures); ++code) {
    const auto name = to_string(static_cast<FindingCode>(code));
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos);
    EXPECT_NE(name, "unknown");
  }
}

}  // namespace
}  // namespace graft
