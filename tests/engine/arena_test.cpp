#include "engine/arena.h"

#include <optional>
#include <thread>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace graft::engine {
namespace {

constexpr std::int64_t kNumbers = 1 << 20;

TEST(Arena, FreedMemoryIsTheNextTensors) {
  ASSERT_TRUE(Arena::available());
  Arena arena;
  const Arena::Use use(arena);
  const void* first = at::empty({kNumbers}).const_data_ptr();
  EXPECT_EQ(at::empty({kNumbers}).const_data_ptr(), first);
  EXPECT_EQ(at::empty({kNumbers / 2}).const_data_ptr(), first);
  EXPECT_EQ(at::empty_strided({4, 4}, {1, 4}).const_data_ptr(), first);
  const auto kept = at::empty({kNumbers});
  EXPECT_EQ(kept.const_data_ptr(), first);
  EXPECT_NE(at::empty({kNumbers}).const_data_ptr(), first);
  EXPECT_EQ(arena.take_largest(), kNumbers * sizeof(float));
  EXPECT_EQ(arena.take_largest(), 0u);
}

TEST(Arena, ScratchIsNotCountedAmongTensors) {
  Arena arena;
  {
    const Arena::Use use(arena);
    const void* first = Arena::scratch(1 << 20).const_data_ptr();
    EXPECT_EQ(arena.take_largest(), 0u);
    EXPECT_EQ(at::empty({1 << 10}).const_data_ptr(), first);
    EXPECT_EQ(arena.take_largest(), std::size_t{4} << 10);
  }
  EXPECT_EQ(Arena::scratch(100).nbytes(), 100u);
}

TEST(Arena, TensorsAreOrdinaryOnes) {
  Arena arena;
  const Arena::Use use(arena);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kByte, at::kLong}) {
    const auto t = at::empty({2, 3, 5, 7}, at::TensorOptions(type), at::MemoryFormat::ChannelsLast);
    EXPECT_EQ(t.scalar_type(), type);
    EXPECT_TRUE(t.is_contiguous(at::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(t.is_cpu());
  }
  auto grown = at::empty({0});
  grown.resize_({4, 4});
  grown.fill_(2);
  EXPECT_EQ((grown * 3).sum().item<float>(), 96);
  EXPECT_TRUE(at::empty({3}, at::TensorOptions().device(at::kMeta)).is_meta());
  EXPECT_EQ(at::empty({0, 3}).numel(), 0);
}

TEST(Arena, OnlyItsScopeAndItsThreadAreConcerned) {
  Arena arena;
  const auto from_arena = [&] {
    (void)arena.take_largest();
    (void)at::empty({64});
    return arena.take_largest() > 0;
  };
  EXPECT_FALSE(from_arena());
  {
    const Arena::Use use(arena);
    EXPECT_TRUE(from_arena());
    bool in_other_thread = true;
    std::thread([&] { in_other_thread = from_arena(); }).join();
    EXPECT_FALSE(in_other_thread);
    Arena other;
    {
      const Arena::Use inner(other);
      EXPECT_FALSE(from_arena());
    }
    EXPECT_TRUE(from_arena());
  }
  EXPECT_FALSE(from_arena());
}

TEST(Arena, ATensorMayOutliveIt) {
  at::Tensor escaped;
  {
    Arena arena;
    const Arena::Use use(arena);
    escaped = at::ones({1000});
  }
  EXPECT_EQ(escaped.sum().item<float>(), 1000);
}

}  // namespace
}  // namespace graft::engine
