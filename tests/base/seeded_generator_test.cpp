#include "base/seeded_generator.h"

#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

namespace graft::base {
namespace {

/// The next three numbers of a sequence.
std::vector<float> next(RandomSequence& sequence) {
  at::Tensor drawn;
  sequence.draw([&] { drawn = at::rand({3}); });
  return {drawn.const_data_ptr<float>(), drawn.const_data_ptr<float>() + 3};
}

std::vector<std::vector<float>> drawn(std::uint64_t seed, int times) {
  RandomSequence sequence(at::kCPU, seed);
  std::vector<std::vector<float>> all;
  for (int i = 0; i < times; ++i) all.push_back(next(sequence));
  return all;
}

at::Tensor process_state() { return at::detail::getDefaultCPUGenerator().get_state(); }

TEST(RandomSequence, IsThatOfASeededGeneratorHoweverItIsInterrupted) {
  const auto before = process_state();
  const auto one = drawn(1, 4), two = drawn(2, 4);
  EXPECT_NE(one, two);
  {
    const SeededGenerator seeded(at::kCPU, 1);
    const auto all = at::rand({3});
    EXPECT_EQ(one[0][2], all[2].item<float>());
    RandomSequence a(at::kCPU, 1), b(at::kCPU, 2);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(next(a), one[i]);
      (void)at::rand({5});  // somebody else's
      EXPECT_EQ(next(b), two[i]);
    }
  }
  EXPECT_TRUE(at::equal(process_state(), before));
}

TEST(RandomSequence, IsTheSameInThreadsBesideOthers) {
  const auto before = process_state();
  constexpr int kTimes = 500;
  std::vector<std::vector<std::vector<float>>> found(4);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < found.size(); ++i) threads.emplace_back([&, i] { found[i] = drawn(i, kTimes); });
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], drawn(i, kTimes)) << i;
  EXPECT_TRUE(at::equal(process_state(), before));
}

TEST(RandomSequence, GoesOnFromItsState) {
  RandomSequence first(at::kCPU, 3), second(at::kCPU, 4);
  (void)next(first);
  second.set_state(first.state());
  EXPECT_EQ(next(second), next(first));
  const auto before = process_state();
  EXPECT_ANY_THROW(second.set_state(at::zeros({3}, at::kByte)));
  EXPECT_EQ(next(second), next(first));
  EXPECT_TRUE(at::equal(process_state(), before));
}

TEST(RandomSequence, WorkThatThrowsHasDrawnNothing) {
  RandomSequence sequence(at::kCPU, 5), other(at::kCPU, 5);
  const auto before = process_state();
  EXPECT_THROW(sequence.draw([] {
    (void)at::rand({3});
    throw std::runtime_error("planted");
  }),
               std::runtime_error);
  EXPECT_TRUE(at::equal(process_state(), before));
  EXPECT_EQ(next(sequence), next(other));
}

}  // namespace
}  // namespace graft::base
