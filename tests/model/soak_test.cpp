// Long use: many threads on one model, many sizes, models that come and go. The full numbers (docs/reliability.md) take
// minutes and run where GRAFT_SOAK is set.
#include <graft/model.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <graft/image.h>

#include "support/files.h"
#include "support/resident.h"
#include "support/sanitized.h"

namespace graft {
namespace {

using graft::testing::resident_mib;

int number(int in_short, int in_full) { return std::getenv("GRAFT_SOAK") ? in_full : in_short; }

/// A small network, or that of GRAFT_SOAK_MODEL.
std::filesystem::path file() {
  const char* given = std::getenv("GRAFT_SOAK_MODEL");
  return given ? std::filesystem::path(given) : testing::golden("networks/resnet_scripted.pt");
}
bool is_small() { return !std::getenv("GRAFT_SOAK_MODEL"); }
Model load() {
  return is_small() ? Model::load(file(), {.preprocessing = Preprocessing::rescale_mode(32)}) : Model::load(file());
}

constexpr int kSizes = 50;
/// Height and width of input number i, each pair once.
std::pair<std::int64_t, std::int64_t> size(int i) {
  const std::int64_t unit = is_small() ? 1 : 4, least = is_small() ? 24 : 96;
  return {least + unit * i, least + unit * (i * 7 % kSizes)};
}

/// Calls predict(i) with i drawn from `kinds`; the memory after each of them and half as many is the level to be
/// kept.
template <class Predict>
void expect_level(const char* what, int times, int kinds, const Predict& predict) {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> draw(0, kinds - 1);
  for (int i = 0; i < kinds; ++i) predict(i);
  for (int i = 0; i < times / 2; ++i) predict(draw(random));
  const double before = resident_mib();
  for (int i = 0; i < times; ++i) predict(draw(random));
  const double after = resident_mib();
  std::printf("[ measured ] %s, %d times: %.1f MiB before, %.1f MiB after\n", what, times, before, after);
  EXPECT_LE(after, before * 1.01);
}

TEST(Soak, ThreadsOnOneModelGetTheSerialResult) {
  const int times = number(50, 1000);
  constexpr int kThreads = 32;
  std::vector<at::Tensor> inputs, serial;
  {
    const auto alone = load();
    for (int i = 0; i < 12; ++i) {
      const auto [height, width] = size(i % 3);
      inputs.push_back(at::rand({1 + i % 2, 3, height, width}));
    }
    for (const auto& input : inputs) serial.push_back(alone.forward(input));
  }
  const auto model = load();  // that nobody has used: it is compiled meanwhile
  std::atomic<int> same = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < times; ++i) {
        const auto which = static_cast<std::size_t>(t + i) % inputs.size();
        same += at::equal(model.forward(inputs[which]), serial[which]);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(same, kThreads * times);
  std::printf("[ measured ] %d threads, %d predictions each: %d are bit for bit the serial ones\n", kThreads, times,
              same.load());
}

TEST(Soak, MemoryIsLevelOverManyInputSizes) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep what is freed";
  const auto model = load();
  std::vector<at::Tensor> inputs;
  for (int i = 0; i < kSizes; ++i) inputs.push_back(at::rand({1, 3, size(i).first, size(i).second}));
  const int times = is_small() ? number(3000, 100'000) : number(50, 2000);
  expect_level("predictions over 50 input sizes", times, kSizes,
               [&](int i) { (void)model.classify(inputs[static_cast<std::size_t>(i)]); });
}

TEST(Soak, MemoryIsLevelOverManyPictureSizes) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep what is freed";
  const auto model = load();
  std::vector<std::vector<std::byte>> files;
  for (int i = 0; i < kSizes; ++i) {
    const auto height = static_cast<int>(size(i).first) + 40, width = static_cast<int>(size(i).second) + 40;
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(height * width * 3));
    for (std::size_t at = 0; at < rgb.size(); ++at) rgb[at] = static_cast<std::uint8_t>(at * 7 % 251);
    files.push_back(i % 2 ? Image(width, height, std::move(rgb)).encode_jpeg()
                          : Image(width, height, std::move(rgb)).encode_png());
  }
  const int times = is_small() ? number(3000, 100'000) : number(50, 2000);
  expect_level("pictures of 50 sizes, decoded and classified", times, kSizes,
               [&](int i) { (void)model.classify(Image::decode(files[static_cast<std::size_t>(i)])); });
}

TEST(Soak, MemoryIsLevelOverLoadingAndUnloading) {
  if (testing::kSanitized) GTEST_SKIP() << "sanitizers keep what is freed";
  const int times = is_small() ? number(30, 1000) : number(3, 30);
  expect_level("a model loaded, asked and unloaded", times, 2,
               [&](int i) { (void)load().classify(at::zeros({1, 3, size(i).first, size(i).second})); });
}

}  // namespace
}  // namespace graft
