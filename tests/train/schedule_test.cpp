#include "train/schedule.h"

#include <cmath>
#include <fstream>
#include <numbers>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/expect_error.h"
#include "support/golden.h"
#include "support/measured.h"
#include "train/mixing.h"

namespace graft::train {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using nlohmann::json;

const EpochSteps kSixOfFive{.epochs = 6, .steps = {5}};

json vectors(const std::string& name) { return json::parse(std::ifstream(golden("train/" + name + ".json"))); }

TEST(Schedule, EveryStepEqualsPyTorch) {
  const auto expected = vectors("schedules");
  const std::map<std::string, Schedule> schedules{{"step", {.decay = StepDecay{2, 0.3}}},
                                                  {"cosine", {.decay = CosineDecay{.final_fraction = 0.1}}},
                                                  {"one_cycle", {.decay = OneCycle{}}},
                                                  {"warm_cosine", {.decay = CosineDecay{}, .warmup_steps = 7}}};
  for (const auto& [name, schedule] : schedules) {
    const LearningRate rate(schedule, Numerics::kTorch, 0.4, kSixOfFive);
    double difference = 0;
    for (std::size_t step = 0; step < 30; ++step)
      difference =
          std::max(difference, std::abs(rate.at(static_cast<std::int64_t>(step)) - expected[name][step].get<double>()));
    EXPECT_TRUE(measured("learning rates, " + name, difference, 1e-9));
  }
  EXPECT_EQ(LearningRate({}, Numerics::kTorch, 0.4, kSixOfFive).at(29), 0.4);
}

TEST(Schedule, EpochsOfDifferentLengthCountAsSuch) {
  const EpochSteps steps{.epochs = 4, .steps = {3, 1}};
  const LearningRate step({.decay = StepDecay{1, 0.1}}, Numerics::kTorch, 1, steps);
  std::vector<double> exponents;
  for (std::int64_t i = 0; i < 8; ++i) exponents.push_back(std::round(-std::log10(step.at(i))));
  EXPECT_EQ(exponents, (std::vector<double>{0, 0, 0, 1, 2, 2, 2, 3}));
  const LearningRate cosine({.decay = CosineDecay{}}, Numerics::kTorch, 1, steps);
  EXPECT_NEAR(cosine.at(7), (1 + std::cos(std::numbers::pi * 7 / 8)) / 2, 1e-12);
  const LearningRate cycle({.decay = OneCycle{}}, Numerics::kTorch, 1, steps);
  EXPECT_NEAR(cycle.at(7), 1 / 25.0 / 1e4, 1e-12);
  EXPECT_EQ(cycle.at(8), cycle.at(7));  // behind the end nothing rises again
}

TEST(Schedule, StepsAreCountedAlongEpochsThatComeAgain) {
  const std::vector<std::int64_t> written{4, 2, 3, 1, 2, 3, 1, 2, 3};
  const EpochSteps steps{.epochs = std::ssize(written), .steps = {4, 2, 3, 1}, .again = 1};
  std::int64_t step = 0;
  for (std::int64_t epoch = 0; epoch < std::ssize(written); ++epoch) {
    EXPECT_EQ(steps.before(epoch), step);
    for (std::int64_t i = 0; i < written[static_cast<std::size_t>(epoch)]; ++i)
      EXPECT_EQ(steps.epoch_of(step++), epoch);
  }
  EXPECT_EQ(steps.total(), step);
  EXPECT_EQ((EpochSteps{.epochs = 1'000'000'000'000, .steps = {1, 2}}.total()), 1'500'000'000'000);
  EXPECT_EQ((EpochSteps{.epochs = 9, .steps = {4, 0}, .again = 1}.total()), 4);  // nothing more to learn from
}

/// torch.optim.lr_scheduler: SequentialLR([LinearLR(start_factor=0.01, total_iters=warmup), ...], [warmup]).
TEST(Schedule, AWarmUpThatIsLongerThanTheRunIsCutOff) {
  const auto share = [](double step, double warmup) { return 0.01 + 0.99 * step / warmup; };
  for (const std::int64_t warmup : {29, 30, 100}) {
    const auto rate = [&](auto decay) {
      return LearningRate({.decay = decay, .warmup_steps = warmup}, Numerics::kTorch, 0.4, kSixOfFive);
    };
    for (const std::int64_t step : {0, 7, 28}) {
      const double rising = share(static_cast<double>(step), static_cast<double>(warmup));
      EXPECT_NEAR(rate(ConstantRate{}).at(step), 0.4 * rising, 1e-12);
      EXPECT_NEAR(rate(StepDecay{1, 0.1}).at(step), 0.4 * rising, 1e-12);
      EXPECT_NEAR(rate(CosineDecay{}).at(step), 0.4 * rising, 1e-12);
      EXPECT_NEAR(rate(ReduceOnPlateau{}).at(step), 0.4 * rising, 1e-12);
      EXPECT_NEAR(rate(OneCycle{}).at(step), 0.4 / 25 * rising, 1e-12);
    }
  }
}

TEST(Schedule, PlateausEqualPyTorchAndKeras) {
  const auto losses = vectors("schedules")["plateau_losses"];
  const auto check = [&](Numerics numerics, const json& expected) {
    LearningRate rate({.decay = ReduceOnPlateau{.factor = 0.5, .patience = 2}}, numerics, 0.4,
                      {.epochs = 16, .steps = {5}});
    for (std::size_t epoch = 0; epoch < losses.size(); ++epoch) {
      EXPECT_NEAR(rate.at(static_cast<std::int64_t>(epoch) * 5), expected[epoch].get<double>(), 1e-7) << epoch;
      rate.epoch_ended(losses[epoch]);
    }
  };
  check(Numerics::kTorch, vectors("schedules")["plateau"]);
  check(Numerics::kKeras, vectors("keras")["plateau"]);
}

TEST(Schedule, IsParsedAndChecked) {
  EXPECT_EQ(std::get<StepDecay>(Schedule::parse("step:3:0.5").decay).factor, 0.5);
  EXPECT_EQ(std::get<StepDecay>(Schedule::parse("step:3").decay).epochs, 3);
  EXPECT_EQ(std::get<ReduceOnPlateau>(Schedule::parse("plateau:4", 9).decay).patience, 4);
  EXPECT_EQ(Schedule::parse("one-cycle", 9).warmup_steps, 9);
  for (const char* bad : {"", "linear", "step", "step:0", "step:2:-1", "cosine:3", "plateau:-1", "step:nan"})
    EXPECT_GRAFT_ERROR(Schedule::parse(bad), kConfig, "schedule");
  EXPECT_GRAFT_ERROR(LearningRate({.decay = OneCycle{.pct_start = 1}}, Numerics::kTorch, 1, {.steps = {1}}), kConfig,
                     "found 1");
}

at::Tensor tensor(const json& values, at::IntArrayRef shape) {
  return at::tensor(values.get<std::vector<float>>()).reshape(shape);
}

TEST(Mixing, EqualsTorchvisionForAGivenShareAndBox) {
  const auto expected = vectors("mixing");
  const auto images = tensor(expected["images"], {3, 2, 4, 5});
  EXPECT_TRUE(graft::testing::close(mixed(images, 0.3), tensor(expected["mixed"], {3, 2, 4, 5}), 1e-4));  // of 1300
  EXPECT_TRUE(at::equal(cut_and_mixed(images, {1, 3, 2, 5}), tensor(expected["cut"], {3, 2, 4, 5})));
}

TEST(Mixing, SharesFollowTheBetaDistribution) {
  for (const double alpha : {0.2, 1.0, 4.0}) {
    base::Uniform uniform({1, 2, 3, 4});
    constexpr int kDraws = 20000;
    double sum = 0, squares = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double share = draw_beta(alpha, uniform);
      ASSERT_TRUE(share >= 0 && share <= 1);
      sum += share;
      squares += share * share;
    }
    const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
    EXPECT_NEAR(mean, 0.5, 0.02);
    EXPECT_NEAR(variance, 1 / (4 * (2 * alpha + 1)), 0.01) << alpha;  // Var Beta(a, a)
  }
}

TEST(Mixing, TargetsAreTheSharesOfThePictures) {
  // Picture i is i everywhere: what is in a picture tells its target.
  for (const auto& options : {MixingOptions{.mixup_alpha = 1}, MixingOptions{.cutmix_alpha = 1}, MixingOptions{1, 1}}) {
    for (std::uint64_t step = 0; step < 50; ++step) {
      at::Tensor images = at::arange(4, at::kFloat).reshape({4, 1, 1, 1}).expand({4, 3, 16, 12}).clone();
      at::Tensor targets = at::eye(4, at::kFloat);
      mix(images, targets, options, {7, 0, step, 2});
      EXPECT_TRUE(at::allclose(targets.sum(1), at::ones(4)));
      const auto found = at::mv(targets, at::arange(4, at::kFloat));
      EXPECT_TRUE(at::allclose(images.mean({1, 2, 3}), found, 1e-4, 1e-4));
    }
  }
}

}  // namespace
}  // namespace graft::train
