#include <graft/batch_finder.h>

#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/head.h>
#include <graft/model.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;

class FindBatchSize : public ::testing::TestWithParam<Device::Type> {
 protected:
  void SetUp() override {
    if (GetParam() == Device::Type::kCuda && cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  static Model load(int side) {
    auto model = Model::load(golden("networks/resnet_scripted.pt"),
                             {.device = {GetParam(), 0}, .preprocessing = Preprocessing::rescale_mode(side)});
    model.replace_head(heads::linear({.classes = 3}));
    model.freeze();
    return model;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, FindBatchSize, ::testing::Values(Device::Type::kCpu, Device::Type::kCuda),
                         [](const auto& param) { return param.param == Device::Type::kCpu ? "cpu" : "cuda"; });

TEST_P(FindBatchSize, TheLargestThatWasAskedForWhereAllFitAndTheModelStays) {
  auto model = load(32);
  const auto before = model.inspect().sha256;
  std::vector<std::pair<std::int64_t, bool>> trials;
  const DrawnDataset data(5, 3);
  const auto found = find_batch_size(
      model, {}, data,
      {.first = 3, .largest = 20, .on_trial = [&](std::int64_t size, bool fits) { trials.emplace_back(size, fits); }});
  EXPECT_EQ(found, 12);
  EXPECT_THAT(trials, ::testing::ElementsAre(std::pair(3, true), std::pair(6, true), std::pair(12, true)));
  EXPECT_EQ(model.inspect().sha256, before);
  EXPECT_FALSE(model.is_training());
}

TEST_P(FindBatchSize, RunsOutOfMemoryAndTheModelTrainsAfterwards) {
  if (GetParam() == Device::Type::kCpu) GTEST_SKIP() << "a system that grants everything has no end";
  auto model = load(128);
  model.apply_freeze("none");
  const DrawnDataset data(4, 3, 128);
  Trainer(model).fit(data, {.epochs = 1, .batch_size = 2});
  constexpr std::size_t kLeft = std::size_t{1} << 30;
  const auto free = c10::getDeviceAllocator(c10::kCUDA)->getMemoryInfo(0).first;
  ASSERT_GT(free, kLeft);
  const auto taken =
      at::empty({static_cast<std::int64_t>(free - kLeft)}, at::TensorOptions(c10::kCUDA).dtype(at::kByte));
  std::vector<bool> fitting;
  const auto found = find_batch_size(
      model, {}, data, {.first = 16, .largest = 1 << 14, .loader_threads = 8, .on_trial = [&](std::int64_t, bool fits) {
                          fitting.push_back(fits);
                        }});
  EXPECT_FALSE(fitting.back());
  EXPECT_GE(found, 16);
  EXPECT_EQ(Trainer(model).fit(data, {.epochs = 1, .batch_size = 2}).epochs.size(), 1u);
}

TEST(BadBatchFinder, OptionsOutOfRange) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  const DrawnDataset data(5, 5);
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 0}), kConfig, "batch_finder.first");
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 8, .largest = 4}), kConfig, "batch_finder.largest");
}

}  // namespace
}  // namespace graft
