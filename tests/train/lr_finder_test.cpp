#include <graft/lr_finder.h>

#include <cmath>
#include <fstream>

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <graft/head.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/files.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;

Model load() {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.2, .seed = 1}));
  return model;
}

TEST(LrFinder, TheValleyIsFastais) {
  for (const auto& one : nlohmann::json::parse(std::ifstream(golden("train/valleys.json"))))
    EXPECT_EQ(valley(one["losses"].get<std::vector<double>>()), one["index"].get<std::size_t>());
  EXPECT_EQ(valley({1.0}), 0u);
  EXPECT_GRAFT_ERROR(valley({}), kConfig, "none");
}

TEST(LrFinder, LeavesTheModelAsItWasAndSuggestsWhatLearns) {
  auto model = load();
  model.apply_freeze("until:layer2");
  const DrawnDataset data(60, 3);
  const auto before = model.inspect().sha256;
  const auto generator = at::detail::getDefaultCPUGenerator().get_state();
  std::int64_t seen = 0;
  const auto find = [&] {
    return find_learning_rate(model, {.optimizer = Sgd{.momentum = 0.9}}, data,
                              {.first = 1e-6,
                               .last = 100,
                               .steps = 80,
                               .batch_size = 8,
                               .on_step = [&](std::int64_t step, std::int64_t steps) {
                                 EXPECT_EQ(steps, 80);
                                 seen = step;
                               }});
  };
  const auto curve = find();
  EXPECT_EQ(model.inspect().sha256, before);
  EXPECT_FALSE(model.is_training());
  EXPECT_TRUE(at::detail::getDefaultCPUGenerator().get_state().equal(generator));
  ASSERT_EQ(curve.rates.size(), curve.losses.size());
  ASSERT_EQ(curve.rates.size(), curve.smoothed.size());
  EXPECT_EQ(seen, std::ssize(curve.rates));
  EXPECT_DOUBLE_EQ(curve.rates[0], 1e-6);
  for (std::size_t i = 1; i < curve.rates.size(); ++i)
    EXPECT_NEAR(std::log(curve.rates[i] / curve.rates[i - 1]), std::log(1e8) / 79, 1e-9);
  EXPECT_LT(curve.rates.size(), 80u);  // a rate of 100 diverges
  EXPECT_EQ(find().losses, curve.losses);

  // Trained with what is suggested it learns; a thousandth of that does not.
  const auto loss_with = [&](double rate) {
    auto fresh = load();
    fresh.apply_freeze("until:layer2");
    return Trainer(fresh, {.optimizer = Sgd{.learning_rate = rate, .momentum = 0.9}})
        .fit(data, {.epochs = 4, .batch_size = 8})
        .epochs.back()
        .loss;
  };
  EXPECT_LT(loss_with(curve.suggestion), 0.7 * loss_with(curve.suggestion / 1000));
}

TEST(LrFinder, BadOptionsAreRefused) {
  auto model = load();
  const DrawnDataset data(12, 3);
  EXPECT_GRAFT_ERROR(find_learning_rate(model, {}, data, {.first = 0}), kConfig, "lr_finder.first");
  EXPECT_GRAFT_ERROR(find_learning_rate(model, {}, data, {.first = 1, .last = 0.1}), kConfig, "lr_finder.last");
  EXPECT_GRAFT_ERROR(find_learning_rate(model, {}, data, {.steps = 19}), kConfig, "lr_finder.steps");
}

}  // namespace
}  // namespace graft
