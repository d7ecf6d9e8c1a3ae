#include <graft/loader.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/torch_device.h"
#include "data/one_ahead.h"
#include "data/prefetcher.h"
#include "data/rows.h"
#include "support/drawn_dataset.h"
#include "support/each_device.h"
#include "support/expect_error.h"

namespace graft {
namespace {

using graft::testing::DrawnDataset;

std::vector<Batch> epoch(DataLoader& loader, std::uint64_t number = 0) {
  loader.start_epoch(number);
  std::vector<Batch> batches;
  while (auto batch = loader.next()) batches.push_back(std::move(*batch));
  return batches;
}

std::set<std::size_t> indices_of(const std::vector<Batch>& batches) {
  std::set<std::size_t> all;
  for (const auto& batch : batches) all.insert(batch.indices.begin(), batch.indices.end());
  return all;
}

const Preprocessing kSmall = Preprocessing::torch_mode(32, 24);

TEST(DataLoader, EveryExampleComesOnceInOrder) {
  const DrawnDataset data(10, 2);
  DataLoader loader(data, kSmall, {.batch_size = 4});
  const auto batches = epoch(loader);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(loader.batches_per_epoch(), 3u);
  EXPECT_EQ(batches[2].indices, (std::vector<std::size_t>{8, 9}));
  EXPECT_EQ(batches[0].images.sizes(), (std::vector<std::int64_t>{4, 3, 24, 24}));
  EXPECT_TRUE(batches[0].images.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_TRUE(at::equal(batches[0].labels, at::tensor({0, 1, 0, 1}, at::kLong)));
  EXPECT_EQ(batches[0].one_hot(2)[1][1].item<float>(), 1);
  EXPECT_GRAFT_ERROR(batches[0].one_hot(1), kMismatch, "found 1");
  DataLoader whole(data, kSmall, {.batch_size = 4, .drop_last = true});
  EXPECT_EQ(epoch(whole).size(), 2u);
}

TEST(DataLoader, BytesAreWhatIsNormalised) {
  DrawnDataset data(5, 2, 40);
  DataLoader floats(data, kSmall, {.batch_size = 5}), bytes(data, kSmall, {.batch_size = 5, .bytes = true});
  const auto expected = epoch(floats).front().images;
  const auto batch = epoch(bytes).front();
  ASSERT_EQ(batch.images.scalar_type(), at::kByte);
  EXPECT_TRUE(batch.images.is_contiguous(at::MemoryFormat::ChannelsLast));
  for (std::int64_t c = 0; c < 3; ++c) {
    const auto i = static_cast<std::size_t>(c);
    const auto found = (batch.images.select(1, c).to(at::kFloat) / 255 - kSmall.mean[i]) / kSmall.std[i];
    EXPECT_TRUE(at::allclose(found, expected.select(1, c), 1e-6, 1e-6));
  }
  EXPECT_TRUE(at::equal(bytes.load(batch, {3, 1}), batch.images.index_select(0, at::tensor({3, 1}, at::kLong))));
  data.changes = {.horizontal_flip = true};
  DataLoader augmented(data, kSmall, {.batch_size = 5, .augment = true, .bytes = true});
  EXPECT_EQ(epoch(augmented).front().images.scalar_type(), at::kFloat);
}

/// What the loader hands out where pictures go to a device as bytes; there the CPU plays the device.
using RowsOnDevice = graft::testing::EachDevice;
INSTANTIATE_TEST_SUITE_P(Devices, RowsOnDevice, graft::testing::devices(), graft::testing::device_name);

TEST(OneAhead, HandsOutTheSameInTheSameOrder) {
  int made = 0;
  data::OneAhead<int> items([&]() -> std::optional<int> {
    if (++made == 3) throw Error(ErrorCode::kFormat, "the third");
    return made > 4 ? std::nullopt : std::optional(made);
  });
  EXPECT_EQ(items.next(), 1);
  EXPECT_FALSE(items.is_ahead());
  items.prepare();
  EXPECT_TRUE(items.is_ahead());
  EXPECT_EQ(items.next(), 2);
  items.prepare();  // the failure comes when it is its turn
  EXPECT_TRUE(items.is_ahead());
  EXPECT_EQ(made, 3);
  EXPECT_GRAFT_ERROR(items.next(), kFormat, "the third");
  items.prepare();
  items.clear();
  EXPECT_EQ(made, 4);
  EXPECT_FALSE(items.is_ahead());
  EXPECT_EQ(items.next(), std::nullopt);
}

TEST_P(RowsOnDevice, AreThoseOfTheThreads) {
  DrawnDataset data(6, 2, 40);
  const auto rows = [&](const LoaderOptions& options, bool later) {
    const Input input = kSmall;
    const auto made = data::make_rows(data, input, options, 6, later);
    for (const std::size_t row : {5, 1, 0, 3}) made->read(row, row, 2);
    const auto finished = made->finish({0, 1, 3, 5});  // those between could not be read
    const bool as_bytes = finished.scalar_type() == at::kByte;
    EXPECT_EQ(as_bytes, later || options.bytes);
    return made->to(base::to_torch(device()), finished).to(at::kCPU);
  };
  for (const auto& changes :
       {Augment{},
        {.rotation_deg = 20, .shear_deg = 5, .zoom = 0.2, .horizontal_flip = true},
        {.random_resized_crop = RandomResizedCrop{}, .random_erasing = RandomErasing{.probability = 0.7}},
        {.horizontal_flip = true, .trivial_augment = true, .color_jitter = ColorJitter{0.4, 0.4, 0.4, 0.1}}}) {
    data.changes = changes;
    const LoaderOptions options{.augment = true, .seed = 3, .device = device()};
    const auto found = rows(options, true), expected = rows(options, false);
    EXPECT_EQ(found.scalar_type(), at::kFloat);
    EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
    const double largest = (found - expected).abs().max().item<double>();
    EXPECT_LE(largest, changes.zoom > 0 ? 0.01 * (1 / 255.0) / 0.224 : 0);  // bytes alone: to the bit
    EXPECT_TRUE(!changes.enabled() || !at::allclose(found, rows({.seed = 3}, false), 0, 0.1));
  }
  data.changes = {};
  EXPECT_EQ(rows({.augment = true, .bytes = true, .device = device()}, true).scalar_type(), at::kByte);
}

TEST_P(RowsOnDevice, KerasMapBeforePillowsOperationsIsMadeByTheThreads) {
  DrawnDataset data(2, 2, 40);
  data.changes = {.zoom = 0.2, .trivial_augment = true};
  const Input input = kSmall;
  const LoaderOptions options{.augment = true, .device = device()};
  const auto made = data::make_rows(data, input, options, 1, true);
  made->read(0, 1, 0);
  EXPECT_EQ(made->finish({0}).scalar_type(), at::kFloat);
}

TEST_P(RowsOnDevice, TheLoaderHandsThemOut) {
  DrawnDataset data(37, 3);
  data.policy = OnBadImage::kSkip;
  data.bad = {3, 4, 5, 6, 7, 20};
  data.changes = {.rotation_deg = 20, .horizontal_flip = true};
  LoaderOptions options{
      .batch_size = 5, .shuffle = true, .augment = true, .seed = 2, .threads = 3, .prefetch_batches = 4};
  DataLoader here(data, kSmall, options);
  options.device = device();
  DataLoader there(data, kSmall, options);
  for (const std::size_t first : {0, 2}) {
    here.start_epoch(1, first);
    there.start_epoch(1, first);
    while (const auto expected = here.next()) {
      const auto found = there.next();
      ASSERT_TRUE(found);
      EXPECT_EQ(found->images.device().is_cuda(), device().is_cuda());
      EXPECT_EQ(found->indices, expected->indices);
      EXPECT_TRUE(at::equal(found->labels, expected->labels));
      EXPECT_TRUE(at::allclose(found->images.to(at::kCPU), expected->images, 0, 2e-4));
      EXPECT_TRUE(at::allclose(there.load(*found, {0}), found->images.narrow(0, 0, 1)));
      EXPECT_EQ(there.next_batch(), here.next_batch());
    }
    EXPECT_FALSE(there.next());
  }
  if (cuda_device_count() == 0)
    EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.device = Device::cuda()}), kConfig, "cuda:0 is not there");
}

TEST(DataLoader, ResultsDoNotDependOnThreads) {
  DrawnDataset data(37, 3);
  data.changes = {.rotation_deg = 20, .shear_deg = 5, .zoom = 0.2, .horizontal_flip = true};
  const auto run = [&](int threads, int ahead, std::uint64_t number, std::uint64_t seed) {
    DataLoader loader(data, kSmall,
                      {.batch_size = 8,
                       .shuffle = true,
                       .augment = true,
                       .seed = seed,
                       .threads = threads,
                       .prefetch_batches = ahead});
    std::vector<at::Tensor> images;
    for (auto& batch : epoch(loader, number)) images.push_back(batch.images);
    return at::cat(images);
  };
  const auto one = run(1, 1, 3, 9);
  EXPECT_TRUE(at::equal(run(4, 3, 3, 9), one));
  EXPECT_FALSE(at::equal(run(4, 3, 4, 9), one));
  EXPECT_FALSE(at::equal(run(4, 3, 3, 10), one));
}

TEST(DataLoader, ShufflingIsAPermutationThatChangesWithTheEpoch) {
  const DrawnDataset data(50, 2);
  DataLoader loader(data, kSmall, {.batch_size = 50, .shuffle = true});
  auto first = epoch(loader, 0).at(0).indices, second = epoch(loader, 1).at(0).indices;
  EXPECT_NE(first, second);
  EXPECT_EQ(epoch(loader, 0).at(0).indices, first);
  std::sort(first.begin(), first.end());
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(first[i], i);
}

TEST(DataLoader, CanBeLeftAtAnyMoment) {
  const DrawnDataset data(200, 2);
  for (int taken = 0; taken < 4; ++taken) {
    DataLoader loader(data, kSmall, {.batch_size = 16, .threads = 4, .prefetch_batches = 4});
    for (int i = 0; i < taken; ++i) EXPECT_TRUE(loader.next());
  }
}

TEST(DataLoader, Case80UnreadablePicturesFailOrAreSkippedAndListed) {
  DrawnDataset data(10, 2);
  data.bad = {3, 4};
  DataLoader failing(data, kSmall, {.batch_size = 4});
  EXPECT_GRAFT_ERROR(failing.next(), kFormat, "picture 3");

  data.policy = OnBadImage::kSkip;
  DataLoader skipping(data, kSmall, {.batch_size = 4});
  const auto batches = epoch(skipping);
  EXPECT_EQ(batches[0].indices, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(batches[1].images.size(0), 3);
  EXPECT_TRUE(batches[1].images.is_contiguous(at::MemoryFormat::ChannelsLast));
  DrawnDataset fine(10, 2);
  DataLoader reference(fine, kSmall, {.batch_size = 4});
  EXPECT_TRUE(at::equal(batches[1].images[0], epoch(reference)[1].images[1]));
  epoch(skipping, 1);
  ASSERT_EQ(skipping.bad_images().size(), 2u);
  EXPECT_EQ(skipping.bad_images()[1].name, "picture 4");
  EXPECT_THAT(skipping.bad_images()[1].message, ::testing::HasSubstr("planted"));
}

TEST(DataLoader, AnEpochGoesOnBehindAPictureThatFails) {
  DrawnDataset data(6, 2);
  data.bad = {2};
  for (const int threads : {1, 4}) {
    DataLoader loader(data, kSmall, {.batch_size = 2, .threads = threads});
    EXPECT_EQ(loader.next()->indices, (std::vector<std::size_t>{0, 1}));
    EXPECT_GRAFT_ERROR(loader.next(), kFormat, "picture 2");
    EXPECT_EQ(loader.next_batch(), 2u);
    EXPECT_EQ(loader.next()->indices, (std::vector<std::size_t>{4, 5}));
    EXPECT_FALSE(loader.next());
  }
}

TEST(DataLoader, ALackOfMemoryIsNoUnreadablePicture) {
  struct Poor : DrawnDataset {
    using DrawnDataset::DrawnDataset;
    Image image(std::size_t i) const override {
      if (i == 1) throw Error(ErrorCode::kOutOfMemory, "not enough memory");
      return DrawnDataset::image(i);
    }
  };
  Poor data(4, 2);
  data.policy = OnBadImage::kSkip;
  DataLoader loader(data, kSmall, {.batch_size = 4});
  EXPECT_GRAFT_ERROR(loader.next(), kOutOfMemory, "not enough");
  EXPECT_TRUE(loader.bad_images().empty());
}

TEST(DataLoader, RowsThatABatchDoesNotHaveAreRefused) {
  const DrawnDataset data(4, 2);
  const DataLoader loader(data, kSmall, {.batch_size = 4});
  const auto batch = DataLoader(data, kSmall, {.batch_size = 4}).next();
  EXPECT_GRAFT_ERROR(loader.load(*batch, {4}), kConfig, "row");
  EXPECT_GRAFT_ERROR(loader.load(*batch, {-1}), kConfig, "row");
}

TEST(DataLoader, Case76AllPicturesUnreadable) {
  DrawnDataset data(3, 2);
  data.bad = {0, 1, 2};
  data.policy = OnBadImage::kSkip;
  DataLoader loader(data, kSmall, {.batch_size = 2});
  EXPECT_GRAFT_ERROR(loader.next(), kMismatch, "none of 3");
}

TEST(DataLoader, PicturesThatAreNotWantedAreNotRead) {
  DrawnDataset data(10, 2);
  data.changes = {.zoom = 0.2};
  data.bad = {5, 6};  // 5 is not wanted
  data.policy = OnBadImage::kSkip;
  std::mutex mutex;
  std::vector<std::pair<std::size_t, std::uint64_t>> asked;
  const LoaderOptions all{.batch_size = 4, .augment = true};
  auto some = all;
  some.skip_image = [&](std::size_t index, std::uint64_t number) {
    const std::lock_guard lock(mutex);
    asked.emplace_back(index, number);
    return index % 2 == 1;
  };
  DataLoader loader(data, kSmall, some);
  const auto batches = epoch(loader, 3);
  std::erase_if(asked, [](const auto& question) { return question.second != 3; });  // it began with epoch 0
  std::sort(asked.begin(), asked.end());
  ASSERT_EQ(asked.size(), 10u);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(asked[i], (std::pair<std::size_t, std::uint64_t>(i, 3)));
  EXPECT_EQ(batches[1].indices, (std::vector<std::size_t>{4, 5, 7}));
  EXPECT_EQ(batches[1].image_rows, (std::vector<std::int64_t>{0}));
  EXPECT_EQ(batches[2].image_rows, (std::vector<std::int64_t>{0}));
  EXPECT_EQ(batches[0].image_rows, (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(batches[0].labels.size(0), 4);
  DataLoader reference(data, kSmall, all);
  const auto whole = epoch(reference, 3);
  EXPECT_EQ(whole[0].image_rows, (std::vector<std::int64_t>{0, 1, 2, 3}));
  EXPECT_TRUE(at::equal(batches[0].images, whole[0].images.index_select(0, at::tensor({0, 2}))));
  EXPECT_TRUE(at::equal(loader.load(batches[0], {3, 1}), whole[0].images.index_select(0, at::tensor({3, 1}))));
  EXPECT_GRAFT_ERROR(loader.load(batches[1], {1}), kFormat, "planted");
}

TEST(DataLoader, VariantsOfAugmentationRepeat) {
  DrawnDataset data(10, 2);
  data.changes = {.zoom = 0.2};
  DataLoader loader(data, kSmall, {.batch_size = 10, .augment = true, .augmented_variants = 2});
  const auto images = [&](std::uint64_t number) { return epoch(loader, number).at(0).images; };
  const auto first = images(0), second = images(1);
  EXPECT_FALSE(at::equal(first, second));
  EXPECT_TRUE(at::equal(images(2), first));
  EXPECT_TRUE(at::equal(images(5), second));
}

TEST(DataLoader, SharesAddUpToWhatOneProcessHas) {
  DrawnDataset data(23, 3);
  data.policy = OnBadImage::kSkip;
  data.bad = {4};
  data.changes = {.horizontal_flip = true};
  LoaderOptions options{.batch_size = 5, .shuffle = true, .augment = true, .seed = 3};
  DataLoader whole(data, kSmall, options);
  const auto expected = epoch(whole, 2);
  for (const bool by_example : {false, true}) {
    for (const int parts : {2, 3, 7}) {
      std::vector<std::vector<Batch>> shared;
      for (int part = 0; part < parts; ++part) {
        options.share = {part, parts, by_example};
        DataLoader loader(data, kSmall, options);
        shared.push_back(epoch(loader, 2));
        ASSERT_EQ(shared.back().size(), expected.size());
        const bool same = indices_of(epoch(loader, 0)) == indices_of(shared.back());
        EXPECT_TRUE(by_example ? same
                               : !same || parts == 7);  // where there are more parts than examples, some have none
        for (const auto& batch : epoch(loader, 0)) EXPECT_NEAR(batch.size(), 5.0 / parts, 2);
      }
      for (std::size_t i = 0; i < expected.size(); ++i) {
        std::map<std::size_t, at::Tensor> pictures;
        std::size_t smallest = 5, largest = 0;
        for (const auto& of_part : shared) {
          const auto& batch = of_part[i];
          smallest = std::min(smallest, batch.indices.size());
          largest = std::max(largest, batch.indices.size());
          EXPECT_EQ(batch.labels.numel(), batch.size());
          for (std::size_t row = 0; row < batch.indices.size(); ++row) {
            EXPECT_EQ(batch.labels[static_cast<std::int64_t>(row)].item<std::int64_t>(),
                      data.label(batch.indices[row]));
            EXPECT_TRUE(pictures.emplace(batch.indices[row], batch.images[static_cast<std::int64_t>(row)]).second);
          }
        }
        EXPECT_TRUE(by_example || largest - smallest <= 2);  // one for the rounding, one that cannot be read
        ASSERT_EQ(pictures.size(), expected[i].indices.size());
        for (std::size_t row = 0; row < expected[i].indices.size(); ++row)
          EXPECT_TRUE(
              at::equal(pictures.at(expected[i].indices[row]), expected[i].images[static_cast<std::int64_t>(row)]));
      }
    }
  }
}

TEST(DataLoader, AShareWithoutReadablePicturesHasEmptyBatches) {
  DrawnDataset data(6, 2);
  data.policy = OnBadImage::kSkip;
  data.bad = {0, 2};
  DataLoader loader(data, kSmall, {.batch_size = 2, .share = {0, 2, true}});
  const auto batches = epoch(loader);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].size() + batches[1].size(), 0);
  EXPECT_EQ(batches[2].indices, std::vector<std::size_t>{4});
  EXPECT_EQ(loader.bad_images().size(), 2u);
  EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.share = {2, 2}}), kConfig, "share.part");
  EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.share = {0, 0}}), kConfig, "share.parts");
}

TEST(DataLoader, BadOptionsAreRefused) {
  const DrawnDataset data(3, 2), none(0, 2);
  EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.batch_size = 0}), kConfig, "batch_size");
  EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.threads = 0}), kConfig, "threads");
  EXPECT_GRAFT_ERROR(DataLoader(none, kSmall), kMismatch, "at least one");
  EXPECT_GRAFT_ERROR(DataLoader(data, kSmall, {.batch_size = 4, .drop_last = true}), kMismatch, "whole batch");
}

TEST(Prefetcher, AJobThatCannotBeMadeDoesNotOvertakeThoseBeforeIt) {
  data::Prefetcher prefetcher(
      3,
      [&](std::size_t n) -> data::Prefetcher::Job {
        if (n == 1) throw Error(ErrorCode::kMismatch, "planted");
        return {1, [](std::size_t) { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }};
      },
      3, 3);
  EXPECT_EQ(prefetcher.next(), 0u);
  EXPECT_GRAFT_ERROR(prefetcher.next(), kMismatch, "planted");
}

TEST(Prefetcher, IsBoundedAndOrdered) {
  std::atomic<int> begun = 0;
  data::Prefetcher prefetcher(
      20,
      [&](std::size_t) -> data::Prefetcher::Job {
        ++begun;
        return {3, [](std::size_t) {}};
      },
      3, 2);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(prefetcher.next(), i);
    EXPECT_LE(begun, static_cast<int>(i) + 3);
  }
  EXPECT_FALSE(prefetcher.next());
}

}  // namespace
}  // namespace graft
