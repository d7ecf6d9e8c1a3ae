// Evaluation, calibration and comparison of whole models.
#include <graft/calibration.h>

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <graft/compare.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "train/temperature.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;

Model load() {
  return Model::load(golden("networks/vgg_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

/// Some of its labels are wrong, so that no classifier of the colours is always right.
class Doubtful : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  std::int64_t label(std::size_t i) const override {
    return i % 6 == 5 ? static_cast<std::int64_t>((i + 1) % classes().size()) : DrawnDataset::label(i);
  }
  Image image(std::size_t i) const override {
    return i % 6 == 5 ? drawn_.image(i % classes().size()) : DrawnDataset::image(i);
  }

 private:
  DrawnDataset drawn_{90, 3};
};

/// The model is always right about it.
class AsGuessed : public DrawnDataset {
 public:
  explicit AsGuessed(const Model& model) : DrawnDataset(12, 3) {
    for (std::size_t i = 0; i < size(); ++i) labels_.push_back(model.classify(image(i)).front().index);
  }
  std::int64_t label(std::size_t i) const override { return labels_.at(i); }
  Image image(std::size_t i) const override { return drawn_.image(i); }

 private:
  DrawnDataset drawn_{12, 3};
  std::vector<std::int64_t> labels_;
};

/// Trained on three colours.
const Model& trained() {
  static const Model model = [] {
    auto made = load();
    made.replace_head(heads::linear({.classes = 3}));
    made.freeze();
    const DrawnDataset data(48, 3);
    Trainer(made, {.optimizer = Adam{.learning_rate = 0.05}}).fit(data, {.epochs = 40, .batch_size = 16});
    return made;
  }();
  return model;
}

/// The same, to change.
Model copy_of(const Model& model) {
  const Scratch scratch;
  model.save(scratch / "copy.pt");
  return Model::load(scratch / "copy.pt");
}

at::Tensor batch_of(const Model& model, const Dataset& data) {
  std::vector<Image> pictures;
  for (std::size_t i = 0; i < data.size(); ++i) pictures.push_back(data.image(i));
  return model.preprocess(pictures);
}

TEST(TestTimeAugmentation, IsTheMeanOfThePictureAndItsMirrorImage) {
  auto model = copy_of(trained());
  set_calibration(model, {.temperature = 1.7});
  const DrawnDataset data(10, 3);
  const auto batch = batch_of(model, data);
  const auto expected = (model.predict(batch).at("") + model.predict(batch.flip(3)).at("")) / 2;
  const EvaluateOptions options{.batch_size = 4, .tta = {.horizontal_flip = true}};
  EXPECT_TRUE(close(Trainer(model).predict(data, options), expected, 1e-6));
  EXPECT_GT((model.predict(batch).at("") - expected).abs().max().item<double>(), 1e-4);
}

TEST(TestTimeAugmentation, AveragesAugmentedViewsOfAllKindsOfTasks) {
  auto model = load();
  model.replace_head(heads::ensemble({{"colour", heads::linear({.classes = 3})},
                                      {"traits", heads::multi_label({.labels = 2})},
                                      {"number", heads::regression({.outputs = 1})}}));
  DrawnDataset data(7, 6);
  const Augment augment{.zoom = 0.3, .vertical_flip = true};
  data.changes = augment;
  DataLoader views(data, model.preprocessing(), {.batch_size = 7, .augment = true, .seed = 5});
  const auto answer = [&](const at::Tensor& batch) {
    const auto by_task = model.predict(batch);
    return at::cat({by_task.at("colour"), by_task.at("traits"), by_task.at("number")}, 1);
  };
  const auto plain = batch_of(model, data);
  auto expected = answer(plain) + answer(plain.flip(3));
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    views.start_epoch(epoch);
    expected += answer(views.next().value().images);
  }
  data.changes = {};  // its own augmentation is not looked at
  std::int64_t done = 0, of = 0;
  const EvaluateOptions options{.batch_size = 2,
                                .tta = {.horizontal_flip = true, .augmented_views = 3, .augment = augment},
                                .seed = 5,
                                .on_step = [&](std::int64_t now, std::int64_t all) {
                                  EXPECT_EQ(now, ++done);
                                  of = all;
                                }};
  EXPECT_TRUE(close(Trainer(model).predict(data, options), expected / 5, 1e-5));
  EXPECT_EQ(done, of);
}

TEST(EvaluateOptions, AreChecked) {
  auto model = copy_of(trained());
  const DrawnDataset data(6, 3);
  const Trainer trainer(model);
  EXPECT_GRAFT_ERROR(trainer.evaluate(data, {.tta = {.augmented_views = 2}}), kConfig, "tta.augment");
  EXPECT_GRAFT_ERROR(trainer.evaluate(data, {.tta = {.augmented_views = -1}}), kConfig, "tta.augmented_views");
  EXPECT_GRAFT_ERROR(trainer.evaluate(data, {.top_losses = -1}), kConfig, "top_losses");
  EXPECT_GRAFT_ERROR(trainer.predict(data, {.bootstrap_samples = -1}), kConfig, "bootstrap_samples");
  EXPECT_GRAFT_ERROR(trainer.predict(data, {.batch_size = 0}), kConfig, "batch_size");
  model.train();
  EXPECT_GRAFT_ERROR(trainer.evaluate(data), kConfig, "training mode");
  EXPECT_GRAFT_ERROR(calibrate(model, data), kConfig, "training mode");
}

TEST(Evaluation, NamesPicturesByTheirPlaceInTheData) {
  auto model = copy_of(trained());
  Doubtful data(60, 3);
  data.policy = OnBadImage::kSkip;
  data.bad = {0, 1, 30};
  const auto e = Trainer(model).evaluate(data, {.tta = {.horizontal_flip = true}, .top_losses = 5});
  EXPECT_EQ(e.examples, 57);
  EXPECT_NEAR(e.accuracy, 47.0 / 57, 0.05);  // all but those
  ASSERT_EQ(e.top_losses.size(), 5u);
  for (const auto& loss : e.top_losses) {
    EXPECT_EQ(loss.index % 6, 5u) << "one of those with a wrong label";
    EXPECT_EQ(loss.name, data.name(loss.index));
    EXPECT_EQ(loss.true_class, data.label(loss.index));
    EXPECT_NEAR(e.probabilities[static_cast<std::int64_t>(loss.index)][loss.true_class].item<double>(),
                std::exp(-loss.loss), 1e-5);
  }
  EXPECT_TRUE(std::isnan(e.probabilities[30][0].item<float>()));
  EXPECT_TRUE(e.accuracy_interval.value().low <= e.accuracy && e.accuracy <= e.accuracy_interval.value().high);
}

TEST(Calibration, LowersTheErrorAndTravelsInTheFile) {
  const Scratch scratch;
  auto model = copy_of(trained());
  const Doubtful data(90, 3), other(60, 3, 32, 7);
  const auto before = Trainer(model).evaluate(data);
  const auto logits = model.forward(batch_of(model, other));
  std::int64_t done = 0;
  const auto report = calibrate(model, data, {.target_coverage = 0.5, .on_step = [&](auto now, auto) { done = now; }});
  EXPECT_EQ(done, 3);
  EXPECT_TRUE(report.temperature_found);
  EXPECT_EQ(report.examples, 90);
  EXPECT_NEAR(report.nll_before, before.nll, 1e-9);
  EXPECT_NEAR(report.ece_before, before.ece, 1e-9);
  EXPECT_LT(report.nll_after, report.nll_before);
  EXPECT_GE(report.coverage, 0.5);

  model.save(scratch / "calibrated.pt");
  auto loaded = Model::load(scratch / "calibrated.pt");
  EXPECT_EQ(loaded.tasks().front().calibration, report.calibration);
  EXPECT_EQ(loaded.inspect().tasks.front().calibration, report.calibration);
  const auto after = Trainer(loaded).evaluate(data);
  EXPECT_NEAR(after.nll, report.nll_after, 1e-6);
  EXPECT_NEAR(after.ece, report.ece_after, 1e-6);
  EXPECT_NEAR(after.rejection.value().coverage, report.coverage, 1e-12);
  EXPECT_NEAR(after.rejection.value().accuracy.value(), report.accuracy_of_answers.value(), 1e-12);
  EXPECT_EQ(after.accuracy, before.accuracy);

  // Probabilities are scaled, the network's own outputs are not.
  const auto batch = batch_of(loaded, other);
  EXPECT_TRUE(close(loaded.forward(batch), logits, 1e-5));
  const auto expected = (logits / report.calibration.temperature).softmax(1);
  EXPECT_TRUE(close(loaded.predict(batch).at(""), expected, 1e-5));
  EXPECT_TRUE(close(Trainer(loaded).predict(other), expected, 1e-5));
  EXPECT_NEAR(loaded.classify(other.image(0)).front().probability, expected[0].max().item<float>(), 1e-5);
}

TEST(Calibration, CoverageIsNoPictureMoreForRounding) {
  const train::Confidence confidence{at::linspace(0.99, 0.5, 100, at::kFloat), at::zeros({100}, at::kLong),
                                     at::ones({100}, at::kBool)};
  for (const int percent : {7, 14, 28, 29, 55, 56, 57, 58, 100}) {  // times 100 most are above what they are
    const double threshold = train::threshold_for_coverage(confidence, percent / 100.0);
    EXPECT_EQ(confidence.probability.ge(threshold).sum().item<std::int64_t>(), percent);
  }
}

TEST(Calibration, RejectsBelowItsThreshold) {
  auto model = copy_of(trained());
  const DrawnDataset data(9, 3);
  const auto picture = data.image(4);
  const float best = model.classify(picture).front().probability;
  for (const bool rejected : {false, true}) {
    set_calibration(model, {.reject_below = rejected ? std::nextafter(best, 2.0F) : best});
    for (const auto& guess : model.classify(picture)) EXPECT_EQ(guess.rejected, rejected);
  }
}

TEST(Calibration, EndsWithTheWeightsItWasMadeFor) {
  auto model = copy_of(trained());
  set_calibration(model, {.temperature = 2, .reject_below = 0.5});
  const DrawnDataset data(12, 3);
  Trainer(model).fit(data, {.epochs = 1, .batch_size = 6});
  EXPECT_EQ(model.tasks().front().calibration, Calibration{});
  set_calibration(model, {.temperature = 2});
  model.replace_head(heads::linear({.classes = 3}));
  EXPECT_EQ(model.tasks().front().calibration, Calibration{});
}

TEST(Calibration, IsOfOneTaskOfSingleLabels) {
  auto model = load();
  model.replace_head(
      heads::ensemble({{"colour", heads::linear({.classes = 3})}, {"traits", heads::multi_label({.labels = 2})}}));
  set_calibration(model, {.temperature = 3}, "colour");
  EXPECT_EQ(model.tasks()[0].calibration.temperature, 3);
  EXPECT_EQ(model.tasks()[1].calibration, Calibration{});
  EXPECT_GRAFT_ERROR(set_calibration(model, {.temperature = 3}, "traits"), kConfig, "a task of single labels");
  EXPECT_GRAFT_ERROR(set_calibration(model, {}), kConfig, "colour, traits");
  EXPECT_GRAFT_ERROR(calibrate(model, DrawnDataset(6, 5), {.task = "traits"}), kConfig, "found multi_label");
}

TEST(Calibration, RefusesWhatCannotBe) {
  auto model = copy_of(trained());
  const Doubtful data(18, 3);
  for (const double temperature : {0.0, 1e-40, -1.0, std::nan(""), std::numeric_limits<double>::infinity()})
    EXPECT_GRAFT_ERROR(set_calibration(model, {.temperature = temperature}), kConfig, "temperature");
  EXPECT_GRAFT_ERROR(set_calibration(model, {.reject_below = 1.5}), kConfig, "reject_below");
  EXPECT_GRAFT_ERROR(calibrate(model, data, {.target_accuracy = 2}), kConfig, "target_accuracy");
  EXPECT_GRAFT_ERROR(calibrate(model, data, {.reject_below = 0.5, .target_coverage = 0.5}), kConfig, "one of them");
  EXPECT_GRAFT_ERROR(calibrate(model, DrawnDataset(6, 4)), kMismatch, "the data has 4 classes");
  EXPECT_EQ(model.tasks().front().calibration, Calibration{});
  const auto separable = calibrate(model, AsGuessed(model));
  EXPECT_FALSE(separable.temperature_found);
  EXPECT_EQ(separable.calibration.temperature, 1);
}

TEST(Compare, CountsWhoIsRight) {
  auto good = load();
  good.replace_head(heads::linear({.classes = 3, .seed = 1}));
  good.unfreeze();
  Trainer(good, {.optimizer = Adam{.learning_rate = 0.01}}).fit(DrawnDataset(48, 3), {.epochs = 25, .batch_size = 16});
  auto other = copy_of(good);
  {
    const at::NoGradGuard no_grad;
    other.named_parameters().at("head.fc.bias")[0].sub_(1000);  // never says "class0"
  }
  Doubtful data(90, 3);
  data.policy = OnBadImage::kSkip;
  data.bad = {3};
  std::int64_t done = 0, of = 0;
  const auto c = compare(good, other, data, {.evaluate = {.on_step = [&](std::int64_t now, std::int64_t all) {
                                               EXPECT_EQ(now, ++done);
                                               of = all;
                                             }}});
  EXPECT_EQ(done, of);
  auto copy = copy_of(good);
  const auto a = Trainer(copy).evaluate(data), b = Trainer(other).evaluate(data);
  EXPECT_EQ(c.examples, 89);
  EXPECT_EQ(c.bad_images.size(), 1u);
  EXPECT_DOUBLE_EQ(c.first.accuracy, a.accuracy);
  EXPECT_DOUBLE_EQ(c.second.accuracy, b.accuracy);
  EXPECT_NEAR(c.first.nll, a.nll, 1e-6);
  EXPECT_NEAR(c.second.ece, b.ece, 1e-6);
  EXPECT_EQ(c.only_second_right, 0);
  EXPECT_GT(c.only_first_right, 20);
  EXPECT_EQ(c.both_right + c.only_first_right, std::lround(a.accuracy * 89));
  EXPECT_EQ(c.both_right + c.only_first_right + c.both_wrong, 89);
  EXPECT_DOUBLE_EQ(c.difference, b.accuracy - a.accuracy);
  EXPECT_LT(c.difference_interval.high, 0);
  EXPECT_LT(c.mcnemar.exact_p, 1e-5);

  const auto same = compare(good, good, data);
  EXPECT_EQ(same.mcnemar.exact_p, 1);
  EXPECT_EQ(same.difference_interval.low, 0);

  other.set_labels({{"x", "x"}, {"y", "y"}, {"z", "z"}});
  EXPECT_GRAFT_ERROR(compare(good, other, data), kMismatch, "different labels");
  EXPECT_GRAFT_ERROR(compare(good, good, DrawnDataset(6, 2)), kMismatch, "2 classes");
  EXPECT_GRAFT_ERROR(compare(good, good, data, {.evaluate = {.bootstrap_samples = 0}}), kConfig, "bootstrap_samples");
}

}  // namespace
}  // namespace graft
