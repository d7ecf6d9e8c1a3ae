#include "train/run.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <functional>
#include <numbers>
#include <stop_token>
#include <tuple>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/lr_finder.h>
#include <graft/recipe.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/golden_pictures.h"
#include "support/measured.h"
#include "support/scratch.h"
#include "support/twice.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::GoldenPictures;
using graft::testing::measured;
using graft::testing::Scratch;
using graft::testing::step_losses;

Model load() {
  return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

double largest_difference(const std::vector<double>& found, const nlohmann::json& expected) {
  if (found.size() != expected.size()) return INFINITY;
  double difference = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    difference = std::max(difference, std::abs(found[i] - expected[i].get<double>()));
  return difference;
}

std::vector<double> numbers(const at::Tensor& tensor) {
  const auto flat = tensor.detach().to(at::kDouble).contiguous().flatten();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

TEST(Recipes, TwentyStepsEqualPyTorch) {
  const auto vectors = nlohmann::json::parse(std::ifstream(golden("train/recipes.json")));
  const Sgd sgd{.learning_rate = 0.05, .momentum = 0.9};
  const std::map<std::string, TrainerOptions> cases{
      {"groups",
       {.optimizer = AdamW{.weight_decay = 0.1}, .groups = {{"layer2", 0.1, 0.5}}, .decay_one_dimensional = false}},
      {"layer_decay", {.optimizer = sgd, .layer_decay = 0.5}},
      {"clip_norm", {.optimizer = sgd, .clip_norm = 0.5}},
      {"clip_value", {.optimizer = sgd, .clip_value = 0.01}},
      {"accumulate", {.optimizer = sgd, .accumulate = 2}},
      {"ema", {.optimizer = sgd, .ema_decay = 0.9}},
      {"class_weights", {.optimizer = sgd, .class_weights = {1, 2, 0.5, 1, 3}}}};
  ASSERT_EQ(cases.size(), vectors.size());
  const GoldenPictures data;
  DataLoader loader(data, Preprocessing::rescale_mode(32), {.batch_size = 8});
  const auto pictures = loader.next()->images;
  for (const auto& [name, options] : cases) {
    auto model = load();
    model.unfreeze();
    model.set_batch_norm(BatchNormPolicy::kInference);
    const auto losses = step_losses(model, data, {.epochs = 4, .batch_size = 8, .shuffle = false}, options);
    EXPECT_TRUE(measured("losses, " + name, largest_difference(losses, vectors[name]["losses"]), 2e-4));
    EXPECT_TRUE(measured("answers, " + name,
                         largest_difference(numbers(model.forward(pictures)), vectors[name]["logits"]), 1e-3));
  }
}

TEST(Recipes, RatesOfGroupsAreReported) {
  auto model = load();
  const auto history = Trainer(model, {.optimizer = Sgd{.learning_rate = 0.1}, .groups = {{"layer2", 0.5}, {"fc", 2}}})
                           .fit(GoldenPictures());
  std::map<std::string, double> rates;
  for (const auto& [group, rate] : history.epochs.at(0).learning_rates) rates[group] = rate;
  EXPECT_EQ(rates, (std::map<std::string, double>{{"fc", 0.2}, {"layer2", 0.05}, {"others", 0.1}}));
}

TEST(Recipes, KerasWeighsExamplesAndTorchTheirMean) {
  const auto logits = at::randn({4, 3}), labels = at::tensor({0, 1, 2, 1}, at::kLong),
             weights = at::tensor({1.0F, 4.0F, 0.5F});
  const auto each = at::cross_entropy_loss(logits, labels, {}, at::Reduction::None);
  const auto weighed = (each * weights.index_select(0, labels)).sum().item<double>();
  const std::vector<Task> tasks{{.outputs = 3}};
  EXPECT_NEAR(train::Objective(tasks, 0, weights, Numerics::kKeras).loss(logits, labels).item<double>(), weighed / 4,
              1e-6);
  EXPECT_NEAR(train::Objective(tasks, 0, weights, Numerics::kTorch).loss(logits, labels).item<double>(), weighed / 9.5,
              1e-6);
}

/// Nine of ten examples are of the first class.
class Unbalanced : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  std::int64_t label(std::size_t i) const override { return i % 10 == 9 ? 1 : 0; }
  Image image(std::size_t i) const override {
    ++(label(i) == 1 ? rare : common);
    return DrawnDataset::image(i);
  }
  mutable std::atomic<int> rare = 0, common = 0;
};

Model two_classes() {
  auto model = load();
  model.replace_head(heads::linear({.classes = 2, .seed = 1}));
  model.freeze();
  return model;
}

TEST(Recipes, BalancedSamplingDrawsEachClassAsOften) {
  const Unbalanced data(400, 2);
  std::vector<double> weights;
  for (std::size_t i = 0; i < data.size(); ++i) weights.push_back(data.label(i) == 1 ? 1 / 40.0 : 1 / 360.0);
  DataLoader loader(data, Preprocessing::rescale_mode(32), {.batch_size = 50, .weights = weights, .seed = 4});
  const auto draw = [&](std::uint64_t epoch) {
    std::vector<std::size_t> indices;
    loader.start_epoch(epoch);
    while (const auto batch = loader.next())
      indices.insert(indices.end(), batch->indices.begin(), batch->indices.end());
    return indices;
  };
  const auto first = draw(0);
  ASSERT_EQ(first.size(), 400u);
  const auto rare = std::count_if(first.begin(), first.end(), [&](std::size_t i) { return data.label(i) == 1; });
  EXPECT_NEAR(static_cast<double>(rare), 200, 40);  // four standard deviations
  EXPECT_EQ(draw(0), first);
  EXPECT_NE(draw(1), first);

  const Unbalanced fresh(400, 2);
  auto model = two_classes();
  Trainer(model, {.balance = ClassBalance::kSampling, .feature_cache = {.enabled = false}}).fit(fresh);
  EXPECT_EQ(fresh.rare + fresh.common, 400);
  EXPECT_NEAR(fresh.rare, 200, 40);
}

TEST(Recipes, BalancedWeightsAreScikitLearns) {
  const Unbalanced data(40, 2);
  const auto losses = [&](const TrainerOptions& options) {
    auto model = two_classes();
    return step_losses(model, data, {.epochs = 2, .batch_size = 8}, options);
  };
  const auto balanced = losses({.balance = ClassBalance::kWeights});
  EXPECT_EQ(balanced, losses({.class_weights = {40.0 / (2 * 36), 40.0 / (2 * 4)}}));
  EXPECT_NE(balanced, losses({}));
}

TEST(Recipes, ABatchOfClassesThatWeighNothingHasTheLossZero) {
  graft::testing::Twice twice;
  for (Communicator* processes : {static_cast<Communicator*>(nullptr), static_cast<Communicator*>(&twice)}) {
    auto model = load();
    model.replace_head(heads::linear({.classes = 3, .seed = 1}));
    std::vector<double> losses;  // of 0 and 1, of 2 and 0, of 1 and 2
    FitOptions fit{.batch_size = 2, .shuffle = false, .processes = processes};
    fit.on_step = [&](const StepInfo& step) { losses.push_back(step.loss); };
    model.freeze();
    Trainer(model, {.class_weights = {0, 0, 1}}).fit(DrawnDataset(6, 3), fit);
    ASSERT_EQ(losses.size(), 3u);
    EXPECT_EQ(losses[0], 0);
    EXPECT_GT(losses[2], 0);
  }
}

TEST(Recipes, RepeatedExamplesAreAugmentedDifferently) {
  DrawnDataset data(2, 2);
  data.changes = {.zoom = 0.5};
  DataLoader loader(data, Preprocessing::rescale_mode(32), {.batch_size = 2, .augment = true, .weights = {1, 0}});
  const auto batch = loader.next().value();
  EXPECT_EQ(batch.indices, (std::vector<std::size_t>{0, 0}));
  EXPECT_GT((batch.images[0] - batch.images[1]).abs().max().item<double>(), 0.01);
}

TEST(Recipes, FineTuneTrainsTheHeadThenAllOfIt) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);
  std::vector<bool> backbone_trains;
  FitOptions options{.phases = phases_of(FineTune{.frozen_epochs = 2, .epochs = 3}, model), .batch_size = 8};
  options.on_epoch = [&](const EpochInfo&) { backbone_trains.push_back(model.trainable_parameters().size() > 2); };
  const auto history = Trainer(model).fit(train, val, options);
  EXPECT_EQ(backbone_trains, (std::vector<bool>{false, false, true, true, true}));
  EXPECT_TRUE(history.frozen_unchanged);
  ASSERT_EQ(history.epochs.size(), 5u);
  EXPECT_EQ(history.epochs[1].phase, 0u);
  EXPECT_EQ(history.epochs[2].phase, 1u);
  const auto& rates = history.epochs[3].learning_rates;
  ASSERT_EQ(rates.size(), 3u);  // two stages and the head
  const auto rate = [&](const char* group) {
    return std::find_if(rates.begin(), rates.end(), [&](const auto& r) { return r.group == group; })->rate;
  };
  EXPECT_NEAR(rate("head") / rate("stage 1"), 100, 1e-9);
  EXPECT_NEAR(rate("head") / rate("stage 2"), 10, 1e-9);
}

TEST(Run, WhoeverIsToldOfAnEpochHasTheAverageThatWasValidated) {
  auto model = load();
  const DrawnDataset train(24, 5), val(12, 5, 32, 9);
  FitOptions fit{.epochs = 2, .batch_size = 8};
  int told = 0;
  fit.on_epoch = [&](const EpochInfo& epoch) {
    EXPECT_NEAR(Trainer(model).evaluate(val, {.batch_size = 8}).loss, epoch.val_loss.value(), 1e-6);
    ++told;
  };
  Trainer(model, {.optimizer = Sgd{.learning_rate = 0.01}, .ema_decay = 0.9}).fit(train, val, fit);
  EXPECT_EQ(told, 2);
}

TEST(Recipes, ValuesOutOfRangeAreRefused) {
  const auto model = load();
  EXPECT_GRAFT_ERROR(phases_of(FineTune{.epochs = 0}, model), kConfig, "epochs: expected 1 or more, found 0");
  EXPECT_GRAFT_ERROR(phases_of(FineTune{.rate = -1}, model), kConfig, "rate");
  EXPECT_GRAFT_ERROR(phases_of(GradualUnfreezing{.epochs_per_stage = 0}, model), kConfig, "epochs_per_stage");
  EXPECT_GRAFT_ERROR(phases_of(GradualUnfreezing{.final_epochs = -1}, model), kConfig, "final_epochs");
  EXPECT_GRAFT_ERROR(phases_of(GradualUnfreezing{.layer_decay = std::nan("")}, model), kConfig, "layer_decay");
}

TEST(Recipes, GradualUnfreezingGoesFromTheLastStageToTheFirst) {
  const auto model = load();
  std::vector<std::string> frozen;
  for (const auto& phase : phases_of(GradualUnfreezing{}, model)) frozen.push_back(phase.freeze);
  EXPECT_EQ(frozen, (std::vector<std::string>{"all", "stages:1", "none"}));
}

TEST(Recipes, TheBestWeightsOfAnEarlierPhaseComeBackWhole) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);
  std::string after_first;
  FitOptions options{.phases = {{.freeze = "all", .epochs = 1}, {.freeze = "none", .epochs = 1, .rate = 100}},
                     .batch_size = 8};
  options.on_epoch = [&](const EpochInfo& epoch) {
    if (epoch.phase == 0) after_first = model.inspect().sha256;
  };
  Trainer trainer(model, {.optimizer = Sgd{.learning_rate = 0.01}});
  const auto history = trainer.fit(train, val, options);
  ASSERT_EQ(history.best, 0u);  // the second phase's rate ruins the network
  EXPECT_NE(model.inspect().sha256, after_first);
  trainer.restore_best();
  EXPECT_EQ(model.inspect().sha256, after_first);
}

TEST(Recipes, EarlyStoppingEndsAPhase) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);
  const auto epochs = [&](const EarlyStopping& stopping, std::vector<Phase> phases) {
    return Trainer(model, {.optimizer = Sgd{.learning_rate = 1e-9}})
        .fit(train, val, {.phases = std::move(phases), .early_stopping = stopping});
  };
  const auto stopped = epochs({.patience = 3, .min_delta = 0.01}, {{.freeze = "all", .epochs = 20}});
  EXPECT_EQ(stopped.epochs.size(), 4u);  // the first is better than nothing, then three without gain
  EXPECT_TRUE(stopped.stopped_early);
  const auto twice = epochs({.patience = 2, .min_delta = 0.01}, {{.freeze = "all", .epochs = 9}, {.epochs = 9}});
  EXPECT_EQ(twice.epochs.size(), 6u);
  EXPECT_FALSE(epochs({}, {{.freeze = "all", .epochs = 2}}).stopped_early);
}

TEST(Recipes, BadOptionsAreRefusedByName) {
  auto model = load();
  const GoldenPictures data;
  const auto fit = [&](const TrainerOptions& options, const FitOptions& fit_options = {}) {
    Trainer(model, options).fit(data, fit_options);
  };
  EXPECT_GRAFT_ERROR(fit({.groups = {{"layer9"}}}), kConfig, "layer9");
  EXPECT_GRAFT_ERROR(fit({.groups = {{"fc", -1}}}), kConfig, "rate of a group");
  EXPECT_GRAFT_ERROR(fit({.layer_decay = 0}), kConfig, "layer_decay");
  EXPECT_GRAFT_ERROR(fit({.clip_norm = -1}), kConfig, "clip_norm");
  EXPECT_GRAFT_ERROR(fit({.accumulate = 0}), kConfig, "accumulate");
  EXPECT_GRAFT_ERROR(fit({.ema_decay = 1}), kConfig, "ema_decay");
  EXPECT_GRAFT_ERROR(fit({.class_weights = {1, 2}}), kConfig, "class_weights");
  EXPECT_GRAFT_ERROR(fit({}, {.phases = {{.freeze = "until:layer9"}}}), kConfig, "layer9");
  EXPECT_GRAFT_ERROR(fit({}, {.phases = {{.epochs = 0}}}), kConfig, "epochs");
  EXPECT_GRAFT_ERROR(fit({}, {.early_stopping = {.patience = -1}}), kConfig, "patience");
  for (const double bad : {-0.1, static_cast<double>(NAN), static_cast<double>(INFINITY)})
    EXPECT_GRAFT_ERROR(fit({}, {.early_stopping = {.patience = 1, .min_delta = bad}}), kConfig, "min_delta");
  EXPECT_GRAFT_ERROR(fit({.class_weights = {0, 0, 0, 0, 0}}), kConfig, "one above 0");
  EXPECT_GRAFT_ERROR(fit({.optimizer = Sgd{.learning_rate = 1e300}}), kConfig, "learning_rate");
  EXPECT_GRAFT_ERROR(fit({.optimizer = RmsProp{.learning_rate = 1e20}, .groups = {{"fc", 1e20}}}), kConfig,
                     "learning_rate of a group");
}

/// The rate of each epoch's last step.
std::vector<double> rates_of(std::size_t pictures, const Schedule& schedule, const FitOptions& fit,
                             std::int64_t accumulate = 1) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  model.unfreeze();
  std::vector<double> rates;
  for (const auto& epoch :
       Trainer(model, {.optimizer = Sgd{.learning_rate = 0.01}, .schedule = schedule, .accumulate = accumulate})
           .fit(DrawnDataset(pictures, 3), fit)
           .epochs)
    rates.push_back(epoch.learning_rate);
  return rates;
}

void expect_rates(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-12) << "epoch " << i;
}

double along_cosine(double step, double steps) { return 0.005 * (1 + std::cos(std::numbers::pi * step / steps)); }

TEST(SchedulesOfARun, DoNotCountABatchThatIsLeftOut) {
  const FitOptions fit{.epochs = 3, .batch_size = 8};  // of 8, 8 and 1
  expect_rates(rates_of(17, {.decay = StepDecay{1, 0.1}}, fit), {0.01, 0.001, 0.0001});
  expect_rates(rates_of(17, {.decay = CosineDecay{}}, fit),
               {along_cosine(1, 6), along_cosine(3, 6), along_cosine(5, 6)});
  expect_rates(rates_of(17, {.decay = CosineDecay{}}, fit, 2),  // of which one is left over
               {along_cosine(0, 3), along_cosine(1, 3), along_cosine(2, 3)});
}

TEST(SchedulesOfARun, DoNotCountABatchThatSeveralProcessesLeaveOut) {
  graft::testing::Twice processes;
  const FitOptions fit{.epochs = 3, .batch_size = 8, .processes = &processes};  // of 8, 8 and 2: one for each
  expect_rates(rates_of(18, {.decay = CosineDecay{}}, fit),
               {along_cosine(1, 6), along_cosine(3, 6), along_cosine(5, 6)});
  expect_rates(rates_of(20, {.decay = CosineDecay{}}, fit),
               {along_cosine(2, 9), along_cosine(5, 9), along_cosine(8, 9)});
}

TEST(SchedulesOfARun, CountEpochsThatRunOutOfData) {
  const FitOptions once{.epochs = 3, .steps_per_epoch = 100, .batch_size = 8};  // of 3 batches
  expect_rates(rates_of(24, {.decay = StepDecay{1, 0.1}}, once), {0.01, 0.001, 0.0001});
  expect_rates(rates_of(24, {.decay = CosineDecay{}}, once),
               {along_cosine(2, 9), along_cosine(5, 9), along_cosine(8, 9)});
  const FitOptions rest{.epochs = 4, .steps_per_epoch = 2, .batch_size = 8};  // 2, 1, 2, 1
  expect_rates(rates_of(24, {.decay = StepDecay{1, 0.1}}, rest), {0.01, 0.001, 0.0001, 0.00001});
  expect_rates(rates_of(24, {.decay = CosineDecay{}}, rest),
               {along_cosine(1, 6), along_cosine(2, 6), along_cosine(4, 6), along_cosine(5, 6)});
  // The second phase begins where the data of the first stopped: 2, then 1, 2.
  const FitOptions phases{.phases = {{.epochs = 1}, {.epochs = 2}}, .steps_per_epoch = 2, .batch_size = 8};
  expect_rates(rates_of(24, {.decay = CosineDecay{}}, phases),
               {along_cosine(1, 2), along_cosine(0, 3), along_cosine(2, 3)});
}

class DrawnWithContent : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  std::string content_id(std::size_t i) const override { return content + std::to_string(i); }
  std::string content = "picture ";
};

// --- Where batch norm cannot train

TEST(BatchesOfOne, AreRefusedInAnyPhase) {
  auto model = load();
  const GoldenPictures data;
  const FitOptions fit{.phases = {{.freeze = "all"}, {.freeze = "none"}}, .batch_size = 1};
  EXPECT_GRAFT_ERROR(Trainer(model).fit(data, fit), kConfig, "batch_size: expected 2 or more where batch norm trains");
}

TEST(BatchesOfOne, AreNoEpochIfThereAreNoOthers) {
  DrawnDataset data(4, 3);
  data.policy = OnBadImage::kSkip;
  data.bad = {0, 1, 3};
  for (const std::int64_t steps : {0, 1, 3}) {
    auto model = load();
    model.replace_head(heads::linear({.classes = 3, .seed = 1}));
    model.unfreeze();
    EXPECT_GRAFT_ERROR(Trainer(model).fit(data, {.epochs = 2, .steps_per_epoch = steps, .batch_size = 2}), kMismatch,
                       "nothing was trained in epoch 1");
    EXPECT_GRAFT_ERROR(find_learning_rate(model, {}, data, {.batch_size = 2}), kMismatch, "nothing was trained");
  }
}

TEST(BatchesOfOne, AtTheDatasEndDoNotEndTheNextEpoch) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  model.unfreeze();
  std::vector<std::int64_t> epochs;
  FitOptions fit{.epochs = 3, .steps_per_epoch = 2, .batch_size = 8};  // of 8, 8 and 1
  fit.on_step = [&](const StepInfo& step) { epochs.push_back(step.epoch); };
  Trainer(model).fit(DrawnDataset(17, 3), fit);
  EXPECT_EQ(epochs, (std::vector<std::int64_t>{0, 0, 1, 1, 2, 2}));
}

/// Examples stay with their process where features are kept, and so come together in one of them.
TEST(BatchesOfOne, AreLeftOutHoweverProcessesShareThemOut) {
  graft::testing::Twice processes;
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  model.apply_freeze("until:layer2");
  std::vector<std::int64_t> epochs;
  FitOptions fit{.epochs = 8, .batch_size = 8, .processes = &processes};  // of 8, 8 and 2
  fit.on_step = [&](const StepInfo& step) { epochs.push_back(step.epoch); };
  Trainer(model).fit(DrawnWithContent(18, 3), fit);
  EXPECT_EQ(epochs, (std::vector<std::int64_t>{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}));
}

TEST(Divergence, LeavesTheBestOfTheEpochsBefore) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  const DrawnDataset train(24, 3), val(12, 3, 32, 9);
  std::string after_first;
  FitOptions fit{.phases = {{.freeze = "all"}, {.freeze = "none", .rate = 1e30}}, .batch_size = 8};
  fit.on_epoch = [&](const EpochInfo&) { after_first = model.inspect().sha256; };
  Trainer trainer(model, {.optimizer = Sgd{.learning_rate = 0.01}});
  EXPECT_GRAFT_ERROR(trainer.fit(train, val, fit), kNumeric, "epoch 2");
  EXPECT_NE(model.inspect().sha256, after_first);
  trainer.restore_best();
  EXPECT_EQ(model.inspect().sha256, after_first);
  EXPECT_EQ(model.labels().at(1).id, "class1");
}

// --- Checkpoints

struct Setting {
  std::string name;
  TrainerOptions trainer;
  FitOptions fit;
  bool augmented = false;
  bool new_head = true;
  bool overflows = false;  ///< gradients do, in float16, at the first scales
};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  all.push_back({"linear head", {.schedule = {.decay = CosineDecay{}}}, {.phases = {{.freeze = "all", .epochs = 3}}}});
  all.push_back({"steps over the data's end",
                 {.schedule = {.decay = ReduceOnPlateau{.patience = 0}, .warmup_steps = 3}},
                 {.phases = {{.freeze = "all", .epochs = 4}}, .steps_per_epoch = 5}});
  all.push_back({"everything",
                 {.optimizer = Sgd{.learning_rate = 0.05, .momentum = 0.9},
                  .accumulate = 2,
                  .ema_decay = 0.8,
                  .mixup_alpha = 0.2},
                 {.phases = {{.freeze = "none", .epochs = 2}}},
                 /*augmented=*/true,
                 /*new_head=*/false});
  all.push_back({"two phases",
                 {.clip_norm = 1, .balance = ClassBalance::kSampling},
                 {.phases = {{.freeze = "all", .epochs = 2}, {.freeze = "until:layer2", .epochs = 2, .rate = 0.1}}}});
  all.push_back({"a schedule of epochs of different length",
                 {.schedule = {.decay = StepDecay{1, 0.5}}},
                 {.phases = {{.freeze = "all", .epochs = 1}, {.epochs = 3}}, .steps_per_epoch = 3}});
  all.push_back({"float16",
                 {.precision = Precision::kFloat16},
                 {.phases = {{.freeze = "all", .epochs = 2}, {.freeze = "until:layer2", .epochs = 2, .rate = 0.1}}},
                 /*augmented=*/false,
                 /*new_head=*/true,
                 /*overflows=*/true});
  for (auto& setting : all) setting.fit.batch_size = 8;
  return all;
}

struct Outcome {
  std::vector<double> losses;  ///< and validation losses, of each epoch
  std::string sha256, best_sha256;
  bool interrupted = false;
};

/// A run as a process of its own would have it: nothing is left of an earlier one but its files.
Outcome run(const Setting& setting, FitOptions fit, std::function<void(std::string_view)> on_warning = {}) {
  auto model = load();
  if (setting.new_head) model.replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.5, .seed = 1}));
  if (setting.overflows) {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("layer2.1.bn3.weight").mul_(100);
  }
  const std::size_t classes = setting.new_head ? 3 : 5;
  DrawnDataset train(28, classes), val(12, classes, 32, 9);
  if (setting.augmented) train.changes = {.zoom = 0.3, .horizontal_flip = true};
  auto options = setting.trainer;
  options.seed = 3;
  options.on_warning = std::move(on_warning);
  Trainer trainer(model, options);
  const auto history = trainer.fit(train, val, fit);
  Outcome outcome{{}, model.inspect().sha256, {}, history.interrupted};
  for (const auto& epoch : history.epochs) {
    outcome.losses.push_back(epoch.loss);
    outcome.losses.push_back(epoch.val_loss.value());
    outcome.losses.push_back(epoch.learning_rate);
  }
  if (!history.epochs.empty()) {
    trainer.restore_best();
    outcome.best_sha256 = model.inspect().sha256;
  }
  return outcome;
}

TEST(Checkpoints, ARunThatIsStoppedAfterEveryStepComesToTheSameBits) {
  for (const auto& setting : settings()) {
    const auto whole = run(setting, setting.fit);
    const Scratch scratch;
    int runs = 0;
    for (bool interrupted = true; interrupted; ++runs) {
      ASSERT_LT(runs, 100);
      std::stop_source source;
      auto fit = setting.fit;
      fit.checkpoint = {.directory = scratch / "run", .resume = true};
      fit.stop = source.get_token();
      fit.on_step = [&](const StepInfo& info) {
        if (!info.validating || runs % 2 == 0) source.request_stop();  // every other run gets through a validation
      };
      const auto part = run(setting, fit);
      interrupted = part.interrupted;
      if (interrupted) continue;
      EXPECT_EQ(part.losses, whole.losses) << setting.name;
      EXPECT_EQ(part.sha256, whole.sha256) << setting.name;
      EXPECT_EQ(part.best_sha256, whole.best_sha256) << setting.name;
    }
    EXPECT_GE(runs, 6) << setting.name;
  }
}

/// Which examples a process gets is decided once, by the first phase, where features are kept.
TEST(Checkpoints, OfSeveralProcessesInALaterPhaseComeToTheSameBits) {
  const Scratch scratch;
  graft::testing::Twice processes;
  const auto run = [&](std::int64_t stop_in_epoch) {
    auto model = load();
    model.replace_head(heads::linear({.classes = 3, .seed = 1}));
    std::stop_source source;
    FitOptions fit{.phases = {{.freeze = "all", .epochs = 2}, {.freeze = "none", .epochs = 2}},
                   .batch_size = 8,
                   .processes = &processes,
                   .stop = source.get_token()};
    if (stop_in_epoch >= 0) fit.checkpoint = {.directory = scratch / "run", .resume = true};
    fit.on_step = [&](const StepInfo& step) {
      if (step.epoch == stop_in_epoch && step.step == 2) source.request_stop();
    };
    const auto history = Trainer(model, {.optimizer = Sgd{}}).fit(DrawnWithContent(28, 3), fit);
    return std::tuple(history.interrupted, history.epochs.size(), model.inspect().sha256);
  };
  const auto whole = run(-1);
  EXPECT_TRUE(std::get<0>(run(2)));
  EXPECT_EQ(run(99), whole);
}

/// What a process that is killed leaves: the files as they are at a step.
struct Killed {};

TEST(Checkpoints, ARunThatIsKilledAtAnyStepComesToTheSameBits) {
  for (const auto& setting : settings()) {
    const auto whole = run(setting, setting.fit);
    const Scratch scratch;
    for (int kill_at = 1; kill_at <= 12; kill_at += 2) {
      const auto directory = scratch / std::to_string(kill_at);
      auto fit = setting.fit;
      fit.checkpoint = {.directory = directory, .every_steps = 3, .resume = true};
      int steps = 0;
      fit.on_step = [&](const StepInfo&) {
        if (++steps == kill_at) throw Killed();
      };
      EXPECT_ANY_THROW(run(setting, fit));
      fit.on_step = {};
      const auto resumed = run(setting, fit);
      EXPECT_EQ(resumed.losses, whole.losses) << setting.name << ", killed at " << kill_at;
      EXPECT_EQ(resumed.sha256, whole.sha256) << setting.name << ", killed at " << kill_at;
      const auto again = run(setting, fit);  // one that is done stays as it is
      EXPECT_EQ(again.sha256, whole.sha256);
      EXPECT_EQ(again.losses, whole.losses);
    }
  }
}

class CheckpointFiles : public ::testing::Test {
 protected:
  Setting setting_ = settings()[0];
  Scratch scratch_;

  FitOptions with_checkpoints(bool resume) const {
    auto fit = setting_.fit;
    fit.checkpoint = {.directory = scratch_ / "run", .every_steps = 2, .resume = resume};
    return fit;
  }
  std::filesystem::path newest() const {
    const auto first = scratch_ / "run/checkpoint-0.safetensors", second = scratch_ / "run/checkpoint-1.safetensors";
    return std::filesystem::last_write_time(first) > std::filesystem::last_write_time(second) ? first : second;
  }
};

TEST_F(CheckpointFiles, ADamagedOneIsLeftOutForTheOneBefore) {
  const auto whole = run(setting_, with_checkpoints(false));
  auto bytes = graft::testing::slurp(newest());
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(newest(), std::ios::binary) << bytes;
  std::string warning;
  const auto resumed = run(setting_, with_checkpoints(true), [&](std::string_view text) { warning += text; });
  EXPECT_NE(warning.find("SHA-256"), std::string::npos) << warning;
  EXPECT_EQ(resumed.losses, whole.losses);
  EXPECT_EQ(resumed.sha256, whole.sha256);
}

TEST_F(CheckpointFiles, AnotherRunsAreNotTaken) {
  run(setting_, with_checkpoints(false));
  EXPECT_GRAFT_ERROR(run(setting_, with_checkpoints(false)), kConfig, "resume it");
  auto other = setting_;
  other.trainer.optimizer = Sgd{};
  EXPECT_GRAFT_ERROR(run(other, with_checkpoints(true)), kMismatch, "optimizer: it had adam(");
  auto fit = with_checkpoints(true);
  fit.batch_size = 4;
  EXPECT_GRAFT_ERROR(run(setting_, fit), kMismatch, "batch_size: it had 8, here 4");
}

/// Of one run everything, but for what `change` changes.
void run_other(const std::filesystem::path& directory, const std::function<void(Model&, DrawnWithContent&)>& change,
               const Cut& cut = Cut::features()) {
  auto model = load();
  model.replace_head(heads::linear({.classes = 3, .seed = 1}), cut);
  model.unfreeze();
  DrawnWithContent data(8, 3);
  if (change) change(model, data);
  Trainer(model, {.optimizer = Sgd{}})
      .fit(data, {.epochs = 1, .batch_size = 4, .checkpoint = {.directory = directory, .resume = true}});
}

TEST(CheckpointsOfOthers, AreToldByInputDataAndWeights) {
  const Scratch scratch;
  const auto directory = scratch / "run";
  run_other(directory, {});
  run_other(directory, {});  // the same goes on, or is done
  EXPECT_GRAFT_ERROR(
      run_other(directory, [](Model& model, auto&) { model.set_preprocessing(Preprocessing::caffe_mode(32)); }),
      kMismatch, "input: it had");
  EXPECT_GRAFT_ERROR(run_other(directory, [](auto&, DrawnWithContent& data) { data.policy = OnBadImage::kSkip; }),
                     kMismatch, "training data: it had");
  EXPECT_GRAFT_ERROR(run_other(directory, [](auto&, DrawnWithContent& data) { data.content = "smaller picture "; }),
                     kMismatch, "training contents: it had");
  EXPECT_GRAFT_ERROR(run_other(directory,
                               [](Model& model, auto&) {
                                 const at::NoGradGuard no_grad;
                                 model.named_parameters().at("layer2.1.bn3.weight").mul_(1.5);
                               }),
                     kMismatch, "starting weights: it had");
  EXPECT_GRAFT_ERROR(run_other(directory, {}, Cut::before("layer2")), kMismatch, "network: it had");
}

TEST_F(CheckpointFiles, OneProcessAtATime) {
  auto fit = with_checkpoints(false);
  std::string message;
  fit.on_epoch = [&](const EpochInfo&) {
    try {
      run(setting_, with_checkpoints(true));
    } catch (const Error& error) {
      message = error.what();
    }
  };
  run(setting_, fit);
  EXPECT_NE(message.find("another process"), std::string::npos) << message;
}

TEST_F(CheckpointFiles, WithoutOneARunBeginsAtTheBeginning) {
  const auto whole = run(setting_, setting_.fit);
  EXPECT_EQ(run(setting_, with_checkpoints(true)).sha256, whole.sha256);
}

}  // namespace
}  // namespace graft
