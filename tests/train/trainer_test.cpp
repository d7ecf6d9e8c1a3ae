#include <graft/trainer.h>

#include <cmath>
#include <fstream>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/drawn_dataset.h"
#include "support/each_device.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/golden_pictures.h"
#include "support/little_memory.h"
#include "support/measured.h"
#include "support/sanitized.h"

namespace graft {
namespace {

using graft::testing::close;
using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::GoldenPictures;
using graft::testing::measured;
using graft::testing::Scratch;
using graft::testing::set_head;
using graft::testing::slurp;
using graft::testing::step_losses;

/// CPU always, CUDA where there is one: there with all bits of float32, which cuDNN otherwise rounds to
/// TensorFloat-32's.
class OnDevice : public graft::testing::EachDevice {
 protected:
  void SetUp() override {
    EachDevice::SetUp();
    at::globalContext().setAllowTF32CuDNN(false);
  }
  void TearDown() override { at::globalContext().setAllowTF32CuDNN(was_rounded_); }
  static Model load(const std::string& name = "resnet_scripted") {
    return Model::load(golden("networks/" + name + ".pt"),
                       {.device = device(), .preprocessing = Preprocessing::rescale_mode(32)});
  }

 private:
  bool was_rounded_ = at::globalContext().allowTF32CuDNN();
};
INSTANTIATE_TEST_SUITE_P(Devices, OnDevice, graft::testing::devices(), graft::testing::device_name);

double largest_difference(const std::vector<double>& losses, const nlohmann::json& expected) {
  if (losses.size() != expected.size()) return INFINITY;
  double difference = 0;
  for (std::size_t i = 0; i < losses.size(); ++i)
    difference = std::max(difference, std::abs(losses[i] - expected[i].get<double>()));
  return difference;
}

TEST_P(OnDevice, TwentyStepsEqualPyTorch) {
  const auto vectors = nlohmann::json::parse(std::ifstream(golden("train/losses.json")));
  const GoldenPictures data;
  for (const auto& [name, expected] : vectors.items()) {
    auto model = load();
    const auto dot = name.rfind('.');
    model.apply_freeze(name.substr(0, dot));
    model.set_batch_norm(parse_batch_norm(name.substr(dot + 1)));
    const auto losses = step_losses(model, data, {.epochs = 4, .batch_size = 8, .shuffle = false});
    ASSERT_EQ(losses.size(), 20u);
    EXPECT_TRUE(measured("20 losses, " + name, largest_difference(losses, expected), 1e-4));
  }
}

/// Steps of plain SGD on the whole network, as Model::forward runs it in training mode.
void train_whole(Model& model, const Dataset& data, const FitOptions& options, double rate) {
  DataLoader loader(data, model.preprocessing(), {.batch_size = options.batch_size});
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    model.train();
    loader.start_epoch(0);
    while (const auto batch = loader.next()) {
      const auto logits = model.forward(batch->images);
      at::cross_entropy_loss(logits, batch->labels.to(logits.device())).backward();
      const at::NoGradGuard no_grad;
      for (auto [name, tensor] : model.trainable_parameters()) {
        tensor.sub_(tensor.grad() * rate);
        tensor.mutable_grad().reset();
      }
    }
    model.eval();
  }
}

TEST_P(OnDevice, TheFrozenPartApartGivesTheWeightsOfTheWhole) {
  const DrawnDataset data(20, 5);
  const FitOptions options{.epochs = 2, .batch_size = 8, .shuffle = false};
  for (const char* network : {"resnet_scripted", "vgg_scripted"}) {
    for (const char* freeze : {"all", "stages:1", "none"}) {
      for (const auto policy : {BatchNormPolicy::kFollow, BatchNormPolicy::kInference}) {
        auto whole = load(network), apart = load(network);
        for (auto* model : {&whole, &apart}) {
          model->replace_head(heads::mlp({.hidden = {8}, .classes = 5, .seed = 3}));
          model->apply_freeze(freeze);
          model->set_batch_norm(policy);
        }
        train_whole(whole, data, options, 0.02);
        const auto history = Trainer(apart, {.optimizer = Sgd{.learning_rate = 0.02}}).fit(data, options);
        EXPECT_TRUE(history.frozen_unchanged);
        double most = 0;
        const auto parameters = apart.named_parameters(), buffers = apart.named_buffers();
        for (const auto& [name, tensor] : whole.named_parameters())
          most = std::max(most, (tensor - parameters.at(name)).abs().max().item<double>());
        for (const auto& [name, tensor] : whole.named_buffers())
          most = std::max(most, (tensor - buffers.at(name)).abs().max().to(at::kDouble).item<double>());
        EXPECT_TRUE(measured(std::string("weights of ") + network + ", " + freeze, most, 1e-4));
      }
    }
  }
}

TEST_P(OnDevice, AHeadLearnsAndTheTrunkStays) {
  auto model = load("vgg_scripted");
  model.replace_head(heads::linear({.classes = 3, .seed = 1}));
  model.freeze();
  const DrawnDataset train(60, 3), val(30, 3, 32, 99);
  const auto before = model.frozen_hash();
  Trainer trainer(model, {.optimizer = Adam{.learning_rate = 0.05}});
  const auto history = trainer.fit(train, val, {.epochs = 40, .batch_size = 16});
  ASSERT_EQ(history.epochs.size(), 40u);
  EXPECT_GE(history.epochs.back().val_accuracy.value(), 0.95);
  EXPECT_LT(history.epochs.back().loss, history.epochs.front().loss);
  EXPECT_TRUE(history.frozen_unchanged);
  EXPECT_EQ(model.frozen_hash(), before);
  EXPECT_FALSE(model.is_training());
  EXPECT_EQ(model.labels().at(2).id, "class2");
  const auto scores = trainer.evaluate(val);
  EXPECT_DOUBLE_EQ(scores.accuracy, history.epochs.back().val_accuracy.value());
  EXPECT_EQ(trainer.predict(val).sizes(), (std::vector<std::int64_t>{30, 3}));
  EXPECT_NEAR(trainer.predict(val)[0].sum().item<double>(), 1, 1e-5);
}

TEST_P(OnDevice, TheSameSeedGivesTheSameRun) {
  DrawnDataset data(40, 2);
  data.changes = {.zoom = 0.2, .horizontal_flip = true};
  const auto run = [&](std::uint64_t seed, int threads) {
    auto model = load();
    model.replace_head(heads::mlp({.hidden = {8}, .classes = 2, .dropout = 0.3, .seed = 4}));
    model.freeze_until("layer2");
    step_losses(model, data, {.epochs = 2, .batch_size = 8, .loader_threads = threads}, {.seed = seed});
    return model.inspect().sha256;
  };
  const auto first = run(1, 1);
  EXPECT_EQ(run(1, 3), first);
  EXPECT_NE(run(2, 1), first);
}

TEST_P(OnDevice, BestAndLastWeightsCanBeRestored) {
  auto model = load();
  const GoldenPictures data;
  Trainer trainer(model, {.optimizer = Sgd{.learning_rate = 5}});  // far too large: it gets worse and worse
  EXPECT_GRAFT_ERROR(trainer.restore_best(), kConfig, "fit()");
  model.freeze();
  const auto history = trainer.fit(data, data, {.epochs = 6, .batch_size = 8});
  const auto last = model.inspect().sha256;
  trainer.restore_best();
  EXPECT_DOUBLE_EQ(trainer.evaluate(data).accuracy, history.epochs[history.best].val_accuracy.value());
  for (const auto& epoch : history.epochs) EXPECT_LE(epoch.val_accuracy, history.epochs[history.best].val_accuracy);
  trainer.restore_last();
  EXPECT_EQ(model.inspect().sha256, last);
}

TEST_P(OnDevice, LabelSmoothingEqualsPyTorch) {
  const auto expected = nlohmann::json::parse(std::ifstream(golden("train/smoothed.json")));
  auto model = load();
  model.apply_freeze("all");
  const auto losses =
      step_losses(model, GoldenPictures(), {.epochs = 4, .batch_size = 8, .shuffle = false}, {.label_smoothing = 0.1});
  ASSERT_EQ(losses.size(), expected.size());
  EXPECT_TRUE(measured("20 losses, label smoothing", largest_difference(losses, expected), 1e-4));
}

TEST_P(OnDevice, MixingAndSchedulesTrain) {
  auto model = load("vgg_scripted");
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze();
  const DrawnDataset data(60, 3), val(30, 3, 32, 5);
  std::vector<double> rates;
  Trainer trainer(model, {.optimizer = Adam{.learning_rate = 0.05},
                          .schedule = {.decay = CosineDecay{}, .warmup_steps = 4},
                          .mixup_alpha = 0.4,
                          .cutmix_alpha = 1});
  const auto history = trainer.fit(data, val, {.epochs = 30, .batch_size = 16, .on_epoch = [&](const EpochInfo& info) {
                                                 rates.push_back(info.learning_rate);
                                               }});
  EXPECT_GE(history.epochs.back().val_accuracy, 0.9);
  EXPECT_NEAR(rates.front(), 0.05 * (0.01 + 0.99 * 3 / 4), 1e-9);
  EXPECT_LT(rates.back(), 0.001);
}

nlohmann::json keras_vectors() { return nlohmann::json::parse(std::ifstream(golden("train/keras.json"))); }

TEST_P(OnDevice, StepsPerEpochContinueAcrossEpochsAsInKeras) {
  const DrawnDataset data(20, 2);  // four batches of five
  auto model = load();
  model.replace_head(heads::linear({.classes = 2}));
  model.freeze();
  const auto vectors = keras_vectors()["steps"];
  for (const auto& expected : vectors) {
    std::string warning;
    std::vector<std::int64_t> steps;
    Trainer trainer(model, {.on_warning = [&](std::string_view text) { warning = text; }});
    const FitOptions options{.epochs = expected["epochs"],
                             .steps_per_epoch = expected["steps_per_epoch"],
                             .batch_size = 5,
                             .on_step = [&](const StepInfo& info) {
                               steps.resize(static_cast<std::size_t>(info.epoch) + 1);
                               ++steps.back();
                             }};
    EXPECT_EQ(trainer.fit(data, options).epochs.size(), expected["epochs"].get<std::size_t>());
    EXPECT_EQ(steps, expected["steps"].get<std::vector<std::int64_t>>()) << expected;
    EXPECT_EQ(warning.find("ran out of data") != std::string::npos, expected["ran_out"].get<bool>()) << expected;
  }
}

TEST_P(OnDevice, TwentyStepsOfAnMlpHeadEqualPyTorch) {
  const auto vectors = nlohmann::json::parse(std::ifstream(golden("train/mlp.json")));
  auto model = load();
  model.replace_head(heads::mlp({.hidden = {12}, .classes = 5}));
  model.freeze();
  set_head(model, vectors["head"]);
  const auto losses = step_losses(model, GoldenPictures(), {.epochs = 4, .batch_size = 8, .shuffle = false});
  EXPECT_TRUE(measured("20 losses, MLP head", largest_difference(losses, vectors["losses"]), 1e-4));
}

/// The pictures with a class, three labels and two numbers each, as make_task_vectors.py has them.
class GoldenTasks : public GoldenPictures {
 public:
  const std::vector<std::string>& classes() const override { return names_; }
  std::vector<float> targets(std::size_t i) const override {
    const auto is = [&](bool yes) { return yes ? 1.0F : 0.0F; };
    return {static_cast<float>(i % 5),
            is(i % 2 == 1),
            is(i % 3 == 0),
            i % 7 == 0 ? std::nanf("") : is(i % 5 == 2),
            static_cast<float>(i) / 40,
            std::sin(static_cast<float>(i))};
  }

 private:
  std::vector<std::string> names_{"a", "b", "c", "d", "e", "odd", "third", "two", "part", "sine"};
};

Head three_heads() {
  return heads::ensemble({{"species", heads::linear({.classes = 5})},
                          {"traits", heads::multi_label({.labels = 3}), 0.5},
                          {"size", heads::regression({.outputs = 2, .loss = RegressionLoss::kHuber}), 2}});
}

TEST_P(OnDevice, TwentyStepsOfThreeTasksEqualPyTorch) {
  const auto vectors = nlohmann::json::parse(std::ifstream(golden("train/tasks.json")))["training"];
  auto model = load();
  model.replace_head(three_heads());
  model.freeze();
  set_head(model, vectors["head"]);
  const auto losses = step_losses(model, GoldenTasks(), {.epochs = 4, .batch_size = 8, .shuffle = false},
                                  {.optimizer = Adam{.learning_rate = 1e-2}});
  EXPECT_TRUE(measured("20 losses, three tasks", largest_difference(losses, vectors["losses"]), 1e-4));
}

/// Three colours: which one, whether it is the first, whether it is not the last, and its number.
class DrawnTasks : public DrawnDataset {
 public:
  DrawnTasks() : DrawnDataset(48, 3) {}
  const std::vector<std::string>& classes() const override { return names_; }
  std::int64_t label(std::size_t i) const override { return static_cast<std::int64_t>(i % 3); }
  std::vector<float> targets(std::size_t i) const override {
    const auto c = static_cast<float>(i % 3);
    return {c, c == 0 ? 1.0F : 0.0F, c != 2 ? 1.0F : 0.0F, c};
  }

 private:
  std::vector<std::string> names_{"red", "green", "blue", "first", "not last", "number"};
};

TEST_P(OnDevice, SeveralTasksAreTrainedScoredAndSaved) {
  const Scratch scratch;
  auto model = load("vgg_scripted");
  model.replace_head(heads::ensemble({{"colour", heads::linear({.classes = 3})},
                                      {"traits", heads::multi_label({.labels = 2}), 0.5},
                                      {"number", heads::regression({.outputs = 1})}}));
  model.freeze();
  Trainer trainer(model, {.optimizer = Adam{.learning_rate = 0.05}});
  const DrawnTasks data;
  const auto history = trainer.fit(data, data, {.epochs = 40, .batch_size = 16});
  EXPECT_LT(history.epochs.back().val_loss.value(), 0.4 * history.epochs.front().val_loss.value());
  EXPECT_GT(history.epochs.back().accuracy, 0.9);
  std::size_t lowest = 0;
  for (std::size_t i = 0; i < history.epochs.size(); ++i)
    if (*history.epochs[i].val_loss < *history.epochs[lowest].val_loss) lowest = i;
  EXPECT_EQ(history.best, lowest);
  EXPECT_TRUE(history.frozen_unchanged);

  const auto scores = trainer.evaluate(data, {.batch_size = 8});
  ASSERT_EQ(scores.tasks.size(), 3u);
  EXPECT_EQ(scores.accuracy, scores.tasks[0].accuracy.value());
  EXPECT_GT(scores.accuracy, 0.95);
  EXPECT_GT(scores.tasks[1].mean_average_precision.value(), 0.95);
  EXPECT_LT(scores.tasks[2].root_mean_squared_error.value(), 0.5);
  EXPECT_EQ(model.labels().at(4).id, "not last");

  model.save(scratch / "tasks.pt");
  const auto loaded = Model::load(scratch / "tasks.pt", {.device = device()});
  EXPECT_EQ(loaded.tasks(), model.tasks());
  const auto picture = data.image(7);
  const auto batch = model.preprocess(std::span(&picture, 1));
  const auto answers = loaded.predict(batch);
  EXPECT_NEAR(answers.at("colour").sum().item<double>(), 1, 1e-5);
  EXPECT_EQ(answers.at("traits").size(1), 2);
  EXPECT_TRUE(close(answers.at("number"), loaded.forward(batch).to(at::kCPU).narrow(1, 5, 1), 1e-6));
  EXPECT_EQ(loaded.classify(picture, {.top_k = 1, .task = "colour"}).front().id, "green");
  EXPECT_EQ(loaded.classify(picture, {.top_k = 1, .task = "traits"}).front().id, "not last");
  EXPECT_GRAFT_ERROR(loaded.classify(picture, {.task = "number"}), kConfig, "predict()");
  EXPECT_GRAFT_ERROR(loaded.classify(picture), kConfig, "colour, traits, number");
  EXPECT_TRUE(
      close(trainer.predict(data, {.batch_size = 8}).narrow(0, 7, 1).narrow(1, 0, 3), answers.at("colour"), 1e-4));
}

TEST(Trainer, DataWithoutTheTasksTargetsIsRefused) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::multi_label({.labels = 3}));
  EXPECT_GRAFT_ERROR(Trainer(model).fit(DrawnDataset(9, 3)), kMismatch, "3 labels of 0 or 1");
}

TEST(Trainer, OneThatWasMovedFromSaysSo) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  Trainer trainer(model);
  const Trainer other = std::move(trainer);
  EXPECT_GRAFT_ERROR(trainer.restore_best(), kConfig, "moved from");  // NOLINT(bugprone-use-after-move)
}

/// The tutorial's example 3: frozen base, global average pooling, two dense layers, RMSprop in Keras' numerics.
TEST_P(OnDevice, TwentyStepsEqualKerasFit) {
  const auto vectors = keras_vectors()["fit"];
  auto model = load("vgg_scripted");
  model.replace_head(heads::mlp({.hidden = {16}, .classes = 5}));
  model.freeze();
  set_head(model, vectors["head"]);
  const auto losses = step_losses(model, GoldenPictures(), {.epochs = 4, .batch_size = 8, .shuffle = false},
                                  {.optimizer = RmsProp{}, .numerics = Numerics::kKeras});
  EXPECT_TRUE(measured("20 losses of Keras' fit", largest_difference(losses, vectors["losses"]), 1e-3));
}

TEST(Trainer, SaysThatATracedDropoutStaysOff) {
  auto model = Model::load(golden("networks/vgg_traced.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.freeze();
  std::string warning;
  Trainer(model, {.on_warning = [&](std::string_view text) { warning = text; }}).fit(DrawnDataset(10, 5));
  EXPECT_THAT(warning, ::testing::HasSubstr("classifier.5"));
}

TEST_P(OnDevice, BFloat16Trains) {
  auto model = load("vgg_scripted");
  model.replace_head(heads::linear({.classes = 3}));
  model.freeze();
  const DrawnDataset data(60, 3);
  const auto history = Trainer(model, {.optimizer = Adam{.learning_rate = 0.05}, .precision = Precision::kBFloat16})
                           .fit(data, {.epochs = 40, .batch_size = 16});
  EXPECT_GE(history.epochs.back().accuracy, 0.9);
  EXPECT_EQ(model.named_parameters().at("head.fc.weight").scalar_type(), at::kFloat);
}

TEST(Trainer, LeavesTheGeneratorAndGradModeAlone) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::linear({.classes = 2, .dropout = 0.5}));
  model.freeze();
  auto generator = at::detail::getDefaultCPUGenerator();
  const auto state = generator.get_state().clone();
  DrawnDataset data(8, 2);
  Trainer(model).fit(data, {.batch_size = 4});
  EXPECT_TRUE(at::equal(generator.get_state(), state));
  data.bad = {1};
  EXPECT_GRAFT_ERROR(Trainer(model).fit(data), kFormat, "picture 1");
  EXPECT_TRUE(at::equal(generator.get_state(), state));
  EXPECT_FALSE(model.is_training());
}

TEST(BadTraining, Case81And82ClassesDiffer) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  const DrawnDataset two(8, 2), five(10, 5);
  EXPECT_GRAFT_ERROR(Trainer(model).fit(two), kMismatch, "2 classes");
  EXPECT_GRAFT_ERROR(Trainer(model).fit(five, two), kMismatch, "different classes");
}

TEST(BadTraining, NothingToTrain) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.freeze();
  model.freeze("fc");
  EXPECT_GRAFT_ERROR(Trainer(model).fit(DrawnDataset(10, 5)), kMismatch, "nothing to train");
}

TEST(BadTraining, Case32TracedBatchNorm) {
  auto model = Model::load(golden("networks/resnet_traced.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  EXPECT_GRAFT_ERROR(Trainer(model).fit(DrawnDataset(10, 5)), kMismatch, "torch.jit.script");
  EXPECT_FALSE(model.is_training());
}

TEST(BadTraining, Case96NonFiniteLossStopsBeforeTheWeightsChange) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.freeze_until("layer2");
  {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("fc.bias")[0].fill_(INFINITY);
  }
  const auto before = model.inspect().sha256;
  EXPECT_GRAFT_ERROR(Trainer(model).fit(DrawnDataset(10, 5), {.batch_size = 5}), kNumeric, "epoch 1, step 1");
  EXPECT_EQ(model.inspect().sha256, before);
  EXPECT_FALSE(model.is_training());
}

TEST(BadTraining, OutputsThatAreNotNumbersAreNotTakenForUnreadablePictures) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  {
    const at::NoGradGuard no_grad;
    model.named_parameters().at("fc.bias")[0].fill_(NAN);
  }
  DrawnDataset data(10, 5);
  data.policy = OnBadImage::kSkip;
  data.bad = {0};
  EXPECT_GRAFT_ERROR(Trainer(model).evaluate(data), kNumeric, "picture 1: the network's outputs");
  EXPECT_GRAFT_ERROR(model.classify(data.image(3)), kNumeric, "example 1 of 1");
  {  // the softmax of this is finite
    const at::NoGradGuard no_grad;
    model.named_parameters().at("fc.bias")[0].fill_(-INFINITY);
  }
  EXPECT_GRAFT_ERROR(Trainer(model).evaluate(data), kNumeric, "picture 1: the network's outputs");
  EXPECT_GRAFT_ERROR(model.classify(data.image(3)), kNumeric, "example 1 of 1");
}

TEST(BadTraining, Case99OutOfMemoryIsCaughtAndASmallerBatchTrains) {
  if (graft::testing::kSanitized) GTEST_SKIP() << "sanitizers need the address space";
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(256)});
  model.replace_head(heads::linear({.classes = 5}));
  model.freeze();  // oneDNN's own gradients do not survive that they get no memory
  const DrawnDataset data(1500, 5, 256);
  Trainer(model).fit(DrawnDataset(8, 5, 256), {.epochs = 1, .batch_size = 4});  // what is made once is there now
  const graft::testing::LittleMemory little(700);
  const auto fit = [&](std::int64_t batch) {
    Trainer(model).fit(data, {.epochs = 1, .steps_per_epoch = 1, .batch_size = batch});
  };
  EXPECT_GRAFT_ERROR(fit(1500), kOutOfMemory, "");  // 1.2 GB of pictures
  EXPECT_FALSE(model.is_training());
  EXPECT_NO_THROW(fit(4));
}

TEST(BadTraining, Case97ALastBatchOfOne) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  const DrawnDataset data(11, 5);
  std::string warning;
  int steps = 0;
  Trainer trainer(model, {.on_warning = [&](std::string_view text) { warning = text; }});
  trainer.fit(data, {.batch_size = 5, .on_step = [&](const StepInfo&) { ++steps; }});
  EXPECT_EQ(steps, 2);
  EXPECT_THAT(warning, ::testing::HasSubstr("batch of one"));
  EXPECT_GRAFT_ERROR(trainer.fit(data, {.batch_size = 1}), kConfig, "batch_size");
}

TEST(BadTraining, OptionsOutOfRange) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  const DrawnDataset data(10, 5);
  EXPECT_GRAFT_ERROR(Trainer(model).fit(data, {.epochs = 0}), kConfig, "epochs");
  EXPECT_GRAFT_ERROR(Trainer(model).fit(data, {.steps_per_epoch = -1}), kConfig, "steps_per_epoch");
  EXPECT_GRAFT_ERROR(Trainer(model, {.optimizer = Adam{.learning_rate = -1}}), kConfig, "learning_rate");
  EXPECT_GRAFT_ERROR(Trainer(model, {.label_smoothing = 1}).fit(data), kConfig, "label_smoothing");
  EXPECT_GRAFT_ERROR(Trainer(model, {.mixup_alpha = -0.2}).fit(data), kConfig, "found -0.2");
  EXPECT_GRAFT_ERROR(Trainer(model, {.mixup_alpha = -1e-9}).fit(data), kConfig, "found -1e-09");
}

TEST(BadTraining, SkippedPicturesAreListedOnce) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.freeze();
  DrawnDataset data(20, 5);
  data.policy = OnBadImage::kSkip;
  data.bad = {2, 7};
  const auto history = Trainer(model).fit(data, data, {.epochs = 2, .batch_size = 4});
  ASSERT_EQ(history.bad_images.size(), 4u);  // twice in training, twice in validation
  EXPECT_EQ(history.bad_images[0].name, "picture 2");
  const auto scores = Trainer(model).evaluate(data);
  EXPECT_EQ(scores.examples, 18);
  EXPECT_TRUE(std::isnan(Trainer(model).predict(data)[7][0].item<float>()));
}

}  // namespace
}  // namespace graft
