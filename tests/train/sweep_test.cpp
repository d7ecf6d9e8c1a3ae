#include <graft/sweep.h>

#include <stop_token>

#include <gtest/gtest.h>

#include <graft/head.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;

Model load() {
  return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

const DrawnDataset kTrain(24, 3), kVal(12, 3, 32, 9);
const FitOptions kFit{.epochs = 2, .batch_size = 8};
const SweepOptions kTwelve{
    .freeze_points = {"all", "until:layer2", "none"}, .heads = {"linear", "mlp:4"}, .learning_rates = {0.001, 0.01}};

std::vector<double> losses(const SweepRun& run) {
  std::vector<double> found;
  for (const auto& epoch : run.history.epochs) found.push_back(epoch.val_loss.value());
  return found;
}

TEST(Sweep, EveryCombinationIsTheRunThatItNames) {
  const auto runs = sweep(load, {}, kTrain, kVal, kFit, kTwelve);
  ASSERT_EQ(runs.size(), 12u);
  EXPECT_EQ(runs[0].freeze, "all");
  EXPECT_EQ(runs[1].learning_rate, 0.01);
  EXPECT_EQ(runs[2].head, "mlp:4");
  EXPECT_EQ(runs[0].trainable, 16 * 3 + 3);
  for (const std::size_t i : {1u, 6u, 11u}) {
    auto model = load();
    model.replace_head(heads::parse(runs[i].head, 3, 0));
    model.apply_freeze(runs[i].freeze);
    const auto alone =
        Trainer(model, {.optimizer = Adam{.learning_rate = *runs[i].learning_rate}}).fit(kTrain, kVal, kFit);
    ASSERT_EQ(runs[i].history.epochs.size(), 2u);
    for (std::size_t e = 0; e < 2; ++e)
      EXPECT_NEAR(losses(runs[i])[e], alone.epochs[e].val_loss.value(), 1e-6) << "run " << i;
  }
}

TEST(Sweep, OneThatWasStoppedGoesOn) {
  const Scratch scratch;
  const auto whole = sweep(load, {}, kTrain, kVal, kFit, kTwelve);
  auto kept = kTwelve;
  kept.directory = scratch / "sweep";
  std::stop_source source;
  auto fit = kFit;
  fit.stop = source.get_token();
  std::size_t begun = 0;
  kept.on_run = [&](std::size_t index, std::size_t count, const SweepRun&) {
    EXPECT_EQ(count, 12u);
    begun = index;
  };
  fit.on_step = [&](const StepInfo& info) {
    if (begun == 4 && info.epoch == 1) source.request_stop();
  };
  EXPECT_EQ(sweep(load, {}, kTrain, kVal, fit, kept).size(), 4u);
  std::size_t trained = 0;
  auto again = kFit;
  again.on_epoch = [&](const EpochInfo&) { ++trained; };
  const auto rest = sweep(load, {}, kTrain, kVal, again, kept);
  EXPECT_EQ(trained, 15u);  // the second epoch of the fifth run, and seven runs of two
  ASSERT_EQ(rest.size(), 12u);
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(losses(rest[i]), losses(whole[i])) << "run " << i;
}

TEST(Sweep, CheckpointsAreWrittenAsOftenAsTheyAreAskedFor) {
  const Scratch scratch;
  auto fit = kFit;
  fit.checkpoint.every_steps = 2;
  std::vector<bool> written;
  fit.on_step = [&](const StepInfo& info) {
    if (info.validating || info.epoch > 0) return;
    bool found = false;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch / "sweep"))
      found = found || entry.path().filename().string().starts_with("checkpoint-");
    written.push_back(found);
  };
  (void)sweep(load, {}, kTrain, kVal, fit, {.directory = scratch / "sweep"});
  EXPECT_EQ(written, (std::vector<bool>{false, true, true}));
}

TEST(Sweep, RatesThatAreNearlyTheSameAreKeptApart) {
  const Scratch scratch;
  const auto runs =
      sweep(load, {}, kTrain, kVal, kFit, {.learning_rates = {1e-8, 2e-8}, .directory = scratch / "sweep"});
  EXPECT_NE(losses(runs.at(0)), losses(runs.at(1)));
}

TEST(Sweep, OneThatDivergesIsARunWithoutAResult) {
  const TrainerOptions sgd{.optimizer = Sgd{}};
  const SweepOptions options{.freeze_points = {"none"}, .learning_rates = {1e30, 0.001}};
  const auto runs = sweep(load, sgd, kTrain, kVal, kFit, options);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_TRUE(runs[0].history.epochs.empty());
  EXPECT_NE(runs[0].error.find("the loss is"), std::string::npos) << runs[0].error;
  EXPECT_GRAFT_ERROR(runs[0].best(), kConfig, "the loss is");
  EXPECT_GRAFT_ERROR(SweepRun().best(), kConfig, "a run with an epoch, found none");
  EXPECT_EQ(&runs[1].best(), &runs[1].history.epochs[runs[1].history.best]);
  EXPECT_EQ(runs[1].error, "");
  EXPECT_EQ(runs[1].history.epochs.size(), 2u);
  auto two = options;
  two.learning_rates = {0.001};
  EXPECT_EQ(losses(runs[1]), losses(sweep(load, sgd, kTrain, kVal, kFit, two).at(0)));
}

TEST(Sweep, TheFolderOfAnotherOneIsRefused) {
  const Scratch scratch;
  const SweepOptions options{.directory = scratch / "sweep"};
  (void)sweep(load, {}, kTrain, kVal, kFit, options);
  const auto other = [] {
    return Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::caffe_mode(32)});
  };
  EXPECT_GRAFT_ERROR(sweep(other, {}, kTrain, kVal, kFit, options), kMismatch, "input: it had");
}

TEST(Sweep, AnEmptyListIsRefused) {
  EXPECT_GRAFT_ERROR(sweep(load, {}, kTrain, kVal, kFit, {.freeze_points = {}}), kConfig, "sweep");
  EXPECT_GRAFT_ERROR(sweep(load, {}, kTrain, kVal, kFit, {.heads = {"tree"}}), kConfig, "tree");
}

}  // namespace
}  // namespace graft
