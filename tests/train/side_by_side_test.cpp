// Trainers in one process draw what each of them draws alone.
#include <cstddef>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <graft/head.h>
#include <graft/lr_finder.h>
#include <graft/trainer.h>

#include "base/torch_device.h"
#include "support/drawn_dataset.h"
#include "support/each_device.h"
#include "support/files.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;

class SideBySide : public graft::testing::EachDevice {
 protected:
  static Model load() {
    auto model = Model::load(golden("networks/resnet_scripted.pt"),
                             {.device = device(), .preprocessing = Preprocessing::rescale_mode(32)});
    model.replace_head(heads::mlp({.hidden = {16}, .classes = 3, .dropout = 0.5, .seed = 1}));
    model.freeze();
    return model;
  }
  at::Tensor generator() const { return at::globalContext().defaultGenerator(base::to_torch(device())).get_state(); }
  /// Of every step. `meanwhile` is called between them.
  std::vector<double> losses(std::uint64_t seed, const std::function<void()>& meanwhile = {}) const {
    auto model = load();
    std::vector<double> all;
    const FitOptions options{.epochs = 4, .batch_size = 4, .loader_threads = 1, .on_step = [&](const StepInfo& info) {
                               all.push_back(info.loss);
                               if (meanwhile) meanwhile();
                             }};
    Trainer(model, {.optimizer = Sgd{.learning_rate = 0.01}, .seed = seed}).fit(data_, options);
    return all;
  }
  const DrawnDataset data_{12, 3};
};

TEST_P(SideBySide, InThreads) {
  const auto before = generator();
  std::vector<std::vector<double>> found(3), alone;
  for (std::size_t i = 0; i < found.size(); ++i) alone.push_back(losses(i));
  EXPECT_NE(alone[0], alone[1]);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < found.size(); ++i) threads.emplace_back([&, i] { found[i] = losses(i); });
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].size(), alone[i].size());
    for (std::size_t k = 0; k < found[i].size(); ++k) EXPECT_NEAR(found[i][k], alone[i][k], 1e-5) << i << ", " << k;
  }
  EXPECT_TRUE(at::equal(generator(), before));
}

TEST_P(SideBySide, OneWithinAnother) {
  const auto alone = losses(1), inner = losses(2);
  const auto options = at::TensorOptions(base::to_torch(device()));
  std::vector<at::Tensor> drawn, expected;
  const auto before = generator();
  for (std::size_t i = 0; i < alone.size(); ++i) expected.push_back(at::rand({4}, options));
  auto of_process = at::globalContext().defaultGenerator(base::to_torch(device()));
  of_process.set_state(before);
  std::size_t steps = 0;
  const auto found = losses(1, [&] {
    drawn.push_back(at::rand({4}, options));  // the program's own
    if (++steps == 2) {
      const auto within = losses(2);
      ASSERT_EQ(within.size(), inner.size());
      for (std::size_t k = 0; k < inner.size(); ++k) EXPECT_NEAR(within[k], inner[k], 1e-5) << k;
    }
    if (steps != 3) return;
    auto model = load();
    find_learning_rate(model, {}, data_, {.steps = 20, .batch_size = 4, .loader_threads = 1});
  });
  ASSERT_EQ(found.size(), alone.size());
  for (std::size_t k = 0; k < found.size(); ++k) {
    EXPECT_NEAR(found[k], alone[k], 1e-5) << k;
    EXPECT_TRUE(at::equal(drawn[k], expected[k])) << k;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, SideBySide, graft::testing::devices(), graft::testing::device_name);

}  // namespace
}  // namespace graft
