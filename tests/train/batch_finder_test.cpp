#include <graft/batch_finder.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/communicator.h>
#include <graft/head.h>
#include <graft/model.h>
#include <graft/script_head.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/each_device.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/little_memory.h"
#include "support/sanitized.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::LittleMemory;

class FindBatchSize : public graft::testing::EachDevice {
 protected:
  static Model load(int side) {
    auto model = Model::load(golden("networks/resnet_scripted.pt"),
                             {.device = device(), .preprocessing = Preprocessing::rescale_mode(side)});
    model.replace_head(heads::linear({.classes = 3}));
    model.freeze();
    return model;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, FindBatchSize, graft::testing::devices(), graft::testing::device_name);

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

/// As LibTorch does where cuDNN has no memory for any of its algorithms.
Head refusing_more_than(int rows) {
  return heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                                  "    assert x.size(0) <= " +
                                  std::to_string(rows) +
                                  ", 'GET was unable to find an engine to execute this computation'\n"
                                  "    return torch.linear(x.mean([2, 3]), self.weight)\n",
                        .parameters = [](const std::vector<std::int64_t>& shape) {
                          return heads::NamedTensors{{"weight", at::full({3, shape[1]}, 0.1)}};
                        }});
}

TEST_P(FindBatchSize, ALargerOneThatNoAlgorithmIsFoundForDoesNotFit) {
  auto model = load(32);
  model.replace_head(refusing_more_than(4));
  model.freeze();
  const DrawnDataset data(5, 3);
  EXPECT_EQ(find_batch_size(model, {}, data, {.first = 2, .largest = 16}), 4);
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 8, .largest = 16}), kMismatch,
                     "unable to find an engine");
}

TEST_P(FindBatchSize, RunsOutOfMemoryAndTheModelTrainsAfterwards) {
  if (!device().is_cuda()) GTEST_SKIP() << "a system that grants everything has no end";
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

/// What a fit comes to: losses, and the weights.
std::pair<std::vector<double>, std::string> trained(Model& model, const TrainerOptions& options, const Dataset& data,
                                                    const FitOptions& how) {
  const auto history = Trainer(model, options).fit(data, how);
  EXPECT_EQ(history.batch_size, how.batch_size);
  std::vector<double> losses;
  for (const auto& epoch : history.epochs) losses.push_back(epoch.loss);
  return {losses, model.inspect().sha256};
}

TEST_P(FindBatchSize, AFitThatFollowsIsTheOneWithoutIt) {
  DrawnDataset data(20, 3);
  data.changes = {.zoom = 0.3, .horizontal_flip = true};
  // CUDA's gradients of max pooling, in the stem, are not the same bits each time.
  const std::vector<Phase> phases{{.freeze = "all", .epochs = 2},
                                  {.freeze = device().is_cuda() ? "until:layer2" : "none", .epochs = 2}};
  for (const auto precision : {Precision::kFloat32, Precision::kFloat16}) {
    const TrainerOptions options{.precision = precision, .ema_decay = 0.9, .mixup_alpha = 0.2, .seed = 5};
    auto model = load(32), other = load(32);
    for (auto* each : {&model, &other}) {
      each->replace_head(heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.5}));
      each->apply_freeze("stages:1");
    }
    const auto trains = model.trainable_parameters().size();
    const auto found = find_batch_size(model, options, data, {.largest = 8, .phases = phases});
    EXPECT_EQ(found, 8);
    EXPECT_EQ(model.trainable_parameters().size(), trains);
    for (const auto& [name, tensor] : model.named_parameters()) EXPECT_FALSE(tensor.grad().defined()) << name;
    const FitOptions how{.phases = phases, .batch_size = found};
    EXPECT_EQ(trained(model, options, data, how), trained(other, options, data, how));
  }
}

TEST(FindBatchSizeOnCpu, StopsBeforeThereIsMoreThanItMayTake) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(128)});
  model.apply_freeze("none");
  std::vector<std::pair<std::int64_t, bool>> trials;
  const auto found =
      find_batch_size(model, {}, DrawnDataset(4, 5, 128),
                      {.first = 32, .largest = 128, .max_host_bytes = 1 << 20, .on_trial = [&](auto... trial) {
                         trials.emplace_back(trial...);
                       }});
  EXPECT_EQ(found, 32);
  EXPECT_THAT(trials, ::testing::ElementsAre(std::pair(32, true), std::pair(64, false)));
}

TEST(FindBatchSizeOnCpu, SurvivesThatThereIsNoMemory) {
  if (graft::testing::kSanitized) GTEST_SKIP() << "sanitizers need the address space";
  const auto load = [] {
    auto model =
        Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(256)});
    model.replace_head(heads::linear({.classes = 5}));
    model.freeze();  // oneDNN's own gradients do not survive that they get no memory
    return model;
  };
  const DrawnDataset data(8, 5, 256);
  auto model = load(), other = load();
  const FitOptions how{.epochs = 2, .batch_size = 4};
  auto warm = load();
  (void)trained(warm, {}, data, how);  // what is made once is there now
  std::optional<LittleMemory> little(700);
  std::vector<bool> fitting;
  std::int64_t found = 0;
  EXPECT_NO_THROW(found = find_batch_size(model, {}, data,
                                          {.first = 64,
                                           .largest = 4096,
                                           .max_host_bytes = std::int64_t{1} << 50,
                                           .on_trial = [&](std::int64_t, bool fits) { fitting.push_back(fits); }}));
  const auto after = trained(model, {}, data, how);
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 2048, .largest = 2048}), kOutOfMemory,
                     "not even a batch of 2048");
  little.reset();
  EXPECT_GE(found, 64);
  ASSERT_FALSE(fitting.empty());
  EXPECT_FALSE(fitting.back());
  EXPECT_EQ(after, trained(other, {}, data, how));
}

/// Two processes, of which the other has found something else.
class Another final : public Communicator {
 public:
  explicit Another(std::string found) : found_(std::move(found)) {}
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void sum(const std::vector<at::Tensor>&) override { std::abort(); }
  void broadcast(const std::vector<at::Tensor>&) override {}
  std::string broadcast(const std::string& text) override { return text; }
  std::vector<std::string> all_gather(const std::string& text) override { return {text, found_}; }
  [[noreturn]] void abort(int) override { std::abort(); }

 private:
  std::string found_;
};

TEST_P(FindBatchSize, ProcessesTakeTheSmallestOfTheirs) {
  auto model = load(32);
  const DrawnDataset data(5, 3);
  for (const auto& [other, together] : {std::pair("4", 8), {"64", 16}}) {
    Another processes(other);
    EXPECT_EQ(find_batch_size(model, {}, data, {.largest = 8, .processes = &processes}), together);
  }
  Another none("0");
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.largest = 8, .processes = &none}), kOutOfMemory, "batch of 2");
}

TEST(BatchSizeOfACheckpoint, IsThatOfTheNewestWholeOne) {
  const graft::testing::Scratch scratch;
  EXPECT_EQ(batch_size_of_checkpoint(scratch / "nowhere"), std::nullopt);
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  model.freeze_until("fc");
  Trainer(model).fit(DrawnDataset(20, 5), {.epochs = 2, .batch_size = 6, .checkpoint = {.directory = scratch / "run"}});
  EXPECT_EQ(batch_size_of_checkpoint(scratch / "run"), 6);
  std::ofstream(scratch / "run/checkpoint-0.safetensors") << "damage";
  EXPECT_EQ(batch_size_of_checkpoint(scratch / "run"), 6);
  std::ofstream(scratch / "run/checkpoint-1.safetensors") << "damage";
  EXPECT_EQ(batch_size_of_checkpoint(scratch / "run"), std::nullopt);
}

TEST(BadBatchFinder, OptionsOutOfRange) {
  auto model = Model::load(golden("networks/resnet_scripted.pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
  const DrawnDataset data(5, 5);
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 0}), kConfig, "batch_finder.first");
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.first = 8, .largest = 4}), kConfig, "batch_finder.largest");
  EXPECT_GRAFT_ERROR(find_batch_size(model, {}, data, {.max_host_bytes = -1}), kConfig, "batch_finder.max_host_bytes");
}

}  // namespace
}  // namespace graft
