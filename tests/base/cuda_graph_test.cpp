// For a CUDA device alone.
#include "base/cuda_graph.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <gtest/gtest.h>

#include <graft/device.h>

namespace graft::base {
namespace {

class CudaGraphTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
    if (!CudaGraph::available()) GTEST_SKIP() << "a build without CUDA's headers";
  }
  std::unique_ptr<CudaGraph> record(const std::function<void()>& work) {
    CudaGraph::rehearse(device, work);
    return CudaGraph::record(device, pool, work);
  }
  static std::int64_t free_bytes() {
    auto* allocator = c10::getDeviceAllocator(c10::kCUDA);
    allocator->emptyCache();
    return static_cast<std::int64_t>(allocator->getMemoryInfo(0).first);
  }

  const c10::Device device{c10::kCUDA, 0};
  CudaGraph::Pool pool = CudaGraph::new_pool();
};

TEST_F(CudaGraphTest, WorksOnTheSameTensorsEachTime) {
  const auto x = at::zeros({1000}, device);
  at::Tensor sum;
  const auto graph = record([&] { sum = x.add_(1).sum(); });
  ASSERT_TRUE(graph);
  x.zero_();
  for (int i = 1; i <= 3; ++i) {
    graph->launch();
    EXPECT_EQ(sum.item<float>(), 1000 * i);
  }
}

TEST_F(CudaGraphTest, WhatCannotBeRecordedLeavesTheDeviceInOrder) {
  const auto x = at::ones({1 << 20}, device);
  EXPECT_EQ(record([&] { (void)at::dropout(x, x.sum().item<double>() > 0 ? 0.5 : 0.1, true); }), nullptr);
  // The generator and the allocators are not those of a recording.
  EXPECT_NEAR(at::dropout(x, 0.5, true).mean().item<double>(), 1, 0.02);
  EXPECT_GT(free_bytes(), 0);
  pool = CudaGraph::new_pool();
  at::Tensor dropped;
  const auto graph = record([&] { dropped = at::dropout(x, 0.5, true); });
  ASSERT_TRUE(graph);
  graph->launch();
  const auto first = dropped.clone();
  graph->launch();
  EXPECT_FALSE(at::equal(dropped, first));
  EXPECT_NEAR(dropped.mean().item<double>(), 1, 0.02);
}

TEST_F(CudaGraphTest, WorkThatThrowsIsNotRecorded) {
  const auto x = at::ones({8}, device);
  bool throws = false;
  const auto work = [&] {
    x.add_(1);
    TORCH_CHECK(!throws, "not today");
  };
  CudaGraph::rehearse(device, work);
  throws = true;
  EXPECT_EQ(CudaGraph::record(device, pool, work), nullptr);
  EXPECT_EQ(x.sum().item<float>(), 16);
}

TEST_F(CudaGraphTest, RecordingsOfAPoolShareItsMemory) {
  constexpr std::int64_t kNumbers = 64 << 20, kBytes = 4 * kNumbers;
  const auto x = at::ones({kNumbers}, device);
  const auto sum = at::zeros({}, device);
  const auto before = free_bytes();
  std::vector<std::unique_ptr<CudaGraph>> graphs;
  for (int i = 0; i < 4; ++i) {
    graphs.push_back(record([&] { sum.copy_((x + i).sum()); }));
    ASSERT_TRUE(graphs.back());
  }
  EXPECT_LT(before - free_bytes(), 2 * kBytes);
}

TEST_F(CudaGraphTest, OthersLaunchWhileOneIsRecorded) {
  const auto x = at::zeros({1}, device), y = at::ones({1000}, device);
  const auto graph = record([&] { x.add_(1); });
  ASSERT_TRUE(graph);
  x.zero_();
  std::atomic<bool> done = false;
  std::int64_t launched = 0;
  std::thread other([&] {
    for (; !done || launched == 0; ++launched) graph->launch();
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(record([&] { (void)at::dropout(y, 0.5, true); }));
  done = true;
  other.join();
  EXPECT_EQ(x.item<float>(), static_cast<float>(launched));
}

}  // namespace
}  // namespace graft::base
