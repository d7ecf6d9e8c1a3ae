// Fine-tuning with the feature cache comes to what it comes to without; nothing stale is used.
#include "train/cached_network.h"

#include <atomic>
#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <graft/dataset.h>
#include <graft/head.h>
#include <graft/script_head.h>
#include <graft/trainer.h>

#include "support/drawn_dataset.h"
#include "support/expect_error.h"
#include "support/golden.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using graft::testing::DrawnDataset;
using graft::testing::golden;
using graft::testing::Scratch;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Pictures that say what they are made from, and count how often they are read.
class KnownPictures : public DrawnDataset {
 public:
  using DrawnDataset::DrawnDataset;
  std::string content_id(std::size_t i) const override {
    return unknown.contains(i) ? std::string() : name(i) + " of " + std::to_string(size()) + " drawn as " + drawn_as(i);
  }
  Image image(std::size_t i) const override {
    ++reads;
    const auto other = contents.find(i);
    return other == contents.end() ? DrawnDataset::image(i)
                                   : DrawnDataset(size(), classes().size(), 32, other->second).image(i);
  }
  int reads_since() const { return reads.exchange(0); }

  std::map<std::size_t, std::uint64_t> contents;  ///< seeds of pictures that were changed
  std::set<std::size_t> unknown;

 private:
  std::string drawn_as(std::size_t i) const { return contents.contains(i) ? std::to_string(contents.at(i)) : "ever"; }
  mutable std::atomic<int> reads = 0;
};

Model load(const std::string& name = "resnet_scripted") {
  return Model::load(golden("networks/" + name + ".pt"), {.preprocessing = Preprocessing::rescale_mode(32)});
}

struct Job {
  std::string network = "resnet_scripted";
  Head head = heads::mlp({.hidden = {8}, .classes = 3, .dropout = 0.3, .seed = 2});
  std::string freeze = "all";
  Preprocessing preprocessing = Preprocessing::rescale_mode(32);
  std::function<void(Model&)> change_model = {};
  FitOptions fit = {.epochs = 3, .batch_size = 8};
  TrainerOptions trainer = {.optimizer = Adam{.learning_rate = 0.01}, .seed = 3};
  std::function<void(Model&, std::int64_t epoch)> between = {};
  std::function<void(Model&)> step = {};
};

/// All that a run comes to.
struct Outcome {
  std::vector<double> numbers;  ///< mean loss after each step, then each epoch's losses and accuracies
  std::vector<at::Tensor> weights;
  std::vector<std::string> bad, warnings;
  bool frozen_unchanged = false;
};

Outcome train(const Job& job, const Dataset& data, const Dataset& val) {
  auto model = load(job.network);
  model.set_preprocessing(job.preprocessing);
  model.replace_head(job.head);
  model.apply_freeze(job.freeze);
  if (job.change_model) job.change_model(model);
  Outcome outcome;
  auto trainer = job.trainer;
  trainer.on_warning = [&](std::string_view text) { outcome.warnings.emplace_back(text); };
  auto fit = job.fit;
  fit.on_step = [&, step = job.step](const StepInfo& info) {
    outcome.numbers.insert(outcome.numbers.end(), {info.loss, info.accuracy});
    if (step) step(model);
  };
  fit.on_epoch = [&, epoch = std::int64_t{0}](const EpochInfo&) mutable {
    if (job.between) job.between(model, epoch);
    ++epoch;
  };
  const auto history = Trainer(model, trainer).fit(data, val, fit);
  for (const auto& epoch : history.epochs)
    outcome.numbers.insert(outcome.numbers.end(), {epoch.loss, epoch.accuracy, *epoch.val_loss, *epoch.val_accuracy});
  for (const auto& tensors : {model.named_parameters(), model.named_buffers()})
    for (const auto& [name, tensor] : tensors) outcome.weights.push_back(tensor.detach().to(at::kFloat).clone());
  for (const auto& picture : history.bad_images) outcome.bad.push_back(picture.name);
  outcome.frozen_unchanged = history.frozen_unchanged;
  return outcome;
}

void expect_equal(const Outcome& found, const Outcome& expected, double tolerance = 1e-5) {
  ASSERT_EQ(found.numbers.size(), expected.numbers.size());
  for (std::size_t i = 0; i < found.numbers.size(); ++i)
    EXPECT_NEAR(found.numbers[i], expected.numbers[i], tolerance) << "number " << i;
  ASSERT_EQ(found.weights.size(), expected.weights.size());
  for (std::size_t i = 0; i < found.weights.size(); ++i)
    EXPECT_TRUE(graft::testing::close(found.weights[i], expected.weights[i], 10 * tolerance)) << "tensor " << i;
  EXPECT_EQ(found.bad, expected.bad);
  EXPECT_EQ(found.frozen_unchanged, expected.frozen_unchanged);
}

Job without_cache(Job job) {
  job.trainer.feature_cache.enabled = false;
  return job;
}

/// The run comes to the same with and without the cache. Returns how many pictures were read with it.
int compare(const Job& job, const KnownPictures& data, const KnownPictures& val, double tolerance = 1e-5) {
  const auto expected = train(without_cache(job), data, val);
  data.reads_since();
  const auto found = train(job, data, val);
  expect_equal(found, expected, tolerance);
  EXPECT_EQ(found.warnings, expected.warnings);
  return data.reads_since();
}

TEST(FeatureCaching, ComesToTheSameAndReadsEachPictureOnce) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  EXPECT_EQ(compare({}, data, val), 21);
  EXPECT_EQ(val.reads_since(), 3 * 9 + 9);
  EXPECT_EQ(compare({.freeze = "until:layer2"}, data, val), 21);
  EXPECT_EQ(compare({.freeze = "none"}, data, val), 3 * 21);
  EXPECT_EQ(compare({.network = "vgg_scripted"}, data, val), 21);
  EXPECT_EQ(compare({.fit = {.epochs = 3, .batch_size = 8, .shuffle = false}}, data, val), 21);
  EXPECT_EQ(compare({.fit = {.epochs = 4, .steps_per_epoch = 2, .batch_size = 5, .loader_threads = 4}}, data, val), 21);
  EXPECT_EQ(compare({.fit = {.epochs = 2, .steps_per_epoch = 7, .batch_size = 5}}, data, val), 21);
}

TEST(FeatureCaching, ComesToTheSameInBFloat16) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  Job job;
  job.trainer.precision = Precision::kBFloat16;
  EXPECT_EQ(compare(job, data, val, 5e-3), 21);
}

TEST(FeatureCaching, UnreadablePicturesAreLeftOutAsWithout) {
  KnownPictures data(21, 3), val(9, 3, 32, 7);
  data.bad = {4, 20};
  val.bad = {0};
  data.policy = val.policy = OnBadImage::kSkip;
  EXPECT_EQ(compare({}, data, val), 19 + 3 * 2);
  data.policy = OnBadImage::kFail;
  EXPECT_GRAFT_ERROR(train({}, data, val), kFormat, "planted damage");
}

TEST(FeatureCaching, ThatWhichHasNoKnownContentIsReadEachTime) {
  KnownPictures data(21, 3);
  const KnownPictures val(9, 3, 32, 7);
  data.unknown = {0, 13};
  EXPECT_EQ(compare({}, data, val), 19 + 3 * 2);
}

TEST(FeatureCaching, MixingAndAugmentationReadAllPictures) {
  KnownPictures data(21, 3);
  const KnownPictures val(9, 3, 32, 7);
  Job job;
  job.trainer.mixup_alpha = 0.4;
  EXPECT_EQ(compare(job, data, val), 3 * 21);
  data.changes = {.zoom = 0.2, .horizontal_flip = true};
  EXPECT_EQ(compare({}, data, val), 3 * 21);
}

TEST(FeatureCaching, VariantsOfAugmentationAreKept) {
  KnownPictures data(21, 3);
  data.changes = {.zoom = 0.2, .horizontal_flip = true};
  const KnownPictures val(9, 3, 32, 7);
  Job job{.fit = {.epochs = 5, .batch_size = 8}};
  job.trainer.feature_cache.augmented_variants = 2;
  EXPECT_EQ(compare(job, data, val), 2 * 21);
}

TEST(FeatureCaching, WhatDoesNotFitIsComputedEachTime) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  Job job;
  job.trainer.feature_cache.max_bytes = 10 * 16 * 4;  // ten pictures' sixteen numbers
  const auto found = train(job, data, val);
  EXPECT_EQ(data.reads_since(), 10 + 3 * 11);
  expect_equal(found, train(without_cache(job), data, val));
  ASSERT_EQ(found.warnings.size(), 1u);
  EXPECT_THAT(found.warnings[0], HasSubstr("no room"));
}

TEST(FeatureCaching, AFrozenPartThatLooksAtTheWholeBatchIsNotKept) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  const auto head = heads::script({.source = "def forward(self, x: Tensor) -> Tensor:\n"
                                             "    x = x.mean([2, 3])\n"
                                             "    return torch.linear(x - x.mean(0, True), self.weight)\n",
                                   .parameters = [](const std::vector<std::int64_t>& shape) {
                                     return heads::NamedTensors{{"weight", at::full({3, shape[1]}, 0.1)}};
                                   }});
  EXPECT_EQ(compare({.head = head}, data, val), 3 * 21);
}

TEST(FeatureCaching, AChangedPictureIsReadAgain) {
  KnownPictures data(21, 3);
  const KnownPictures val(9, 3, 32, 7);
  Job job;
  job.between = [&](Model&, std::int64_t epoch) {
    if (epoch == 0) data.contents = {{2, 77}, {9, 78}};
  };
  const auto expected = train(without_cache(job), data, val);
  data.contents.clear();
  data.reads_since();
  expect_equal(train(job, data, val), expected);
  EXPECT_EQ(data.reads_since(), 21 + 2);
}

TEST(FeatureCaching, FollowsWhatIsFrozenBetweenEpochs) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  Job job{.freeze = "until:layer2", .fit = {.epochs = 4, .steps_per_epoch = 2, .batch_size = 8}};
  job.between = [](Model& model, std::int64_t epoch) {
    if (epoch == 0) model.freeze("layer2.*");
    if (epoch == 2) model.unfreeze("layer2.*");
  };
  compare(job, data, val);
}

TEST(FeatureCaching, FollowsWeightsThatAreChangedBetweenEpochs) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  Job job;
  job.between = [](Model& model, std::int64_t epoch) {
    const at::NoGradGuard no_grad;
    if (epoch == 0) model.named_parameters().at("conv1.weight").mul_(1.5);
  };
  EXPECT_EQ(compare(job, data, val), 2 * 21);
}

TEST(FeatureCaching, FollowsWeightsThatAreChangedAtAnyStep) {
  const KnownPictures data(21, 3), val(9, 3, 32, 7);
  for (const int changed : {1, 2, 4, 5}) {  // three steps in an epoch, and two of validation
    Job job;
    job.step = [&, step = 0](Model& model) mutable {
      const at::NoGradGuard no_grad;
      if (++step == changed) model.named_parameters().at("conv1.weight").mul_(1.5);
    };
    compare(job, data, val);
  }
}

// --- A directory

class CachedRuns : public ::testing::Test {
 protected:
  Job cached(Job job) const {
    job.trainer.feature_cache.directory = scratch_ / "cache";
    return job;
  }
  /// Runs `first`, then `second`, with one directory. Returns how many pictures of `data` the second read, which comes
  /// to what it comes to without a cache.
  int read_by_second(const Job& first, const Job& second) {
    train(cached(first), data, val);
    const auto expected = train(without_cache(second), data, val);
    data.reads_since();
    const auto found = train(cached(second), data, val);
    expect_equal(found, expected, second.trainer.precision == Precision::kBFloat16 ? 5e-3 : 1e-5);
    EXPECT_THAT(found.warnings, IsEmpty());
    return data.reads_since();
  }
  KnownPictures data{21, 3}, val{9, 3, 32, 7};
  Scratch scratch_;
};

TEST_F(CachedRuns, ServeEachOther) {
  EXPECT_EQ(read_by_second({}, {}), 0);
  Job other{.head = heads::linear({.classes = 3, .seed = 9}), .fit = {.epochs = 2, .batch_size = 4}};
  other.trainer.optimizer = Sgd{.learning_rate = 0.1};
  other.trainer.seed = 44;
  EXPECT_EQ(read_by_second({}, other), 0);
}

TEST_F(CachedRuns, OtherWeightsAreAnotherCache) {
  const auto with = [](const std::string& name) {
    return Job{.change_model = [name](Model& model) {
      const at::NoGradGuard no_grad;
      const auto parameters = model.named_parameters(), buffers = model.named_buffers();
      (parameters.contains(name) ? parameters.at(name) : buffers.at(name)).view(-1)[0].add_(0.25);
    }};
  };
  EXPECT_EQ(read_by_second({}, with("conv1.weight")), 21);
  EXPECT_EQ(read_by_second({}, with("bn1.running_mean")), 21);
  EXPECT_EQ(read_by_second({}, with("conv1.weight")), 0);
}

TEST_F(CachedRuns, WhatOnlyCountsIsNoOtherCache) {
  const Job counted{.change_model = [](Model& model) { model.named_buffers().at("bn1.num_batches_tracked").add_(7); }};
  EXPECT_EQ(read_by_second({}, counted), 0);
}

TEST_F(CachedRuns, OtherPreprocessingIsAnotherCache) {
  auto preprocessing = Preprocessing::rescale_mode(32);
  preprocessing.mean[1] = 0.25;
  EXPECT_EQ(read_by_second({}, {.preprocessing = preprocessing}), 21);
  preprocessing.mean[1] = std::nextafter(0.25, 1.0);
  EXPECT_EQ(read_by_second({}, {.preprocessing = preprocessing}), 21);
}

TEST_F(CachedRuns, AnotherPrecisionIsAnotherCache) {
  Job second;
  second.trainer.precision = Precision::kBFloat16;
  EXPECT_EQ(read_by_second({}, second), 21);
}

TEST_F(CachedRuns, AnotherCutIsAnotherCache) {
  EXPECT_EQ(read_by_second({}, {.freeze = "until:layer2"}), 21);
  EXPECT_EQ(read_by_second({}, {.network = "vgg_scripted"}), 21);
}

TEST_F(CachedRuns, AnotherAugmentationIsNotTheSame) {
  data.changes = {.zoom = 0.2};
  Job job{.fit = {.epochs = 1, .batch_size = 8}};
  job.trainer.feature_cache.augmented_variants = 1;
  EXPECT_EQ(read_by_second(job, job), 0);
  Job other_seed = job;
  other_seed.trainer.seed = 17;
  EXPECT_EQ(read_by_second(job, other_seed), 21);
  data.changes = {.zoom = 0.21};
  const auto found = train(cached(job), data, val);
  expect_equal(found, train(without_cache(job), data, val));
  data.changes = {};
  data.reads_since();
  expect_equal(train(cached(job), data, val), train(without_cache(job), data, val));
  EXPECT_EQ(data.reads_since(), 21 + 21);
}

/// Two classes of pictures in files.
class CachedFiles : public ::testing::Test {
 protected:
  CachedFiles() {
    for (std::size_t i = 0; i < 12; ++i) write(i, i);
  }
  fs::path path(std::size_t i) const {
    return scratch_ / "pictures" / (i % 2 ? "a" : "b") / (std::to_string(i) + ".png");
  }
  void write(std::size_t i, std::size_t which) const {
    fs::create_directories(path(i).parent_path());
    DrawnDataset(60, 2).image(which).write_png(path(i));
  }
  ImageFolder folder(const DecodeOptions& decode = {}) const {
    return ImageFolder(scratch_ / "pictures", {.decode = decode});
  }
  Scratch scratch_;
};

TEST_F(CachedFiles, AreKnownByTheirContent) {
  const auto data = folder();
  const auto first = data.content_id(0), second = data.content_id(1);
  EXPECT_NE(first, second);
  EXPECT_EQ(folder().content_id(0), first);
  EXPECT_EQ(data.content_id(0), first);
  auto smaller = folder();
  smaller.set_decode_options({.reduced = ReducedSize{8, 8}});
  EXPECT_NE(smaller.content_id(0), first);
  EXPECT_NE(folder({.max_pixels = 1000}).content_id(0), first);

  // Another picture of the same size at the same time.
  const auto file = data.path(0);
  std::string bytes = graft::testing::slurp(file);
  const auto time = fs::last_write_time(file);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  fs::last_write_time(file, time);
  EXPECT_NE(data.content_id(0), first);
  fs::remove(file);
  EXPECT_THAT(data.content_id(0), IsEmpty());
  EXPECT_GRAFT_ERROR(data.content_id(12), kConfig, "below 12");
}

TEST_F(CachedFiles, AChangedFileIsReadAgain) {
  Job job{.head = heads::linear({.classes = 2, .seed = 9}), .fit = {.epochs = 2, .batch_size = 4}};
  job.trainer.feature_cache.directory = scratch_ / "cache";
  const auto before = train(job, folder(), folder());
  write(3, 45);
  const auto expected = train(without_cache(job), folder(), folder());
  expect_equal(train(job, folder(), folder()), expected);
  EXPECT_GT(std::abs(before.numbers.back() - expected.numbers.back()) +
                std::abs(before.numbers.front() - expected.numbers.front()),
            1e-5);
}

TEST(FeatureCacheOptions, OutOfRangeAreRefused) {
  const DrawnDataset data(9, 3);
  auto model = load();
  model.replace_head(heads::linear({.classes = 3}));
  EXPECT_GRAFT_ERROR(Trainer(model, {.feature_cache = {.max_bytes = -1}}).fit(data), kConfig, "max_bytes");
  EXPECT_GRAFT_ERROR(Trainer(model, {.feature_cache = {.augmented_variants = -1}}).fit(data), kConfig,
                     "augmented_variants");
}

}  // namespace
}  // namespace graft
