// Run by mpirun: every process runs all of it.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <graft/device.h>
#include <graft/mpi.h>

#include "base/torch_device.h"
#include "dist/device_sums.h"
#include "support/expect_error.h"

namespace {

graft::Communicator* world = nullptr;

double total() { return world->size() * (world->size() + 1) / 2.0; }  // of rank + 1

TEST(Mpi, SumsTensorsOfAllTypesAndLayouts) {
  const double mine = world->rank() + 1;
  const auto numbers = at::full({3, 5}, mine), precise = at::full({2}, mine, at::kDouble);
  const auto count = at::full({1}, world->rank() + 1, at::kLong), small = at::full({7}, mine, at::kBFloat16);
  const auto last = at::full({2, 3, 4, 4}, mine).contiguous(at::MemoryFormat::ChannelsLast);
  const auto part = at::zeros({4, 4}), nothing = at::zeros({0});
  part.select(1, 2).fill_(mine);
  world->sum({numbers, precise, count, small, last, part.select(1, 2), nothing});
  EXPECT_TRUE(at::equal(numbers, at::full({3, 5}, total())));
  EXPECT_TRUE(at::equal(precise, at::full({2}, total(), at::kDouble)));
  EXPECT_EQ(count.item<std::int64_t>(), static_cast<std::int64_t>(total()));
  EXPECT_TRUE(at::equal(small, at::full({7}, total(), at::kBFloat16)));
  EXPECT_TRUE(at::equal(last, at::full({2, 3, 4, 4}, total())));
  EXPECT_EQ(part.sum().item<double>(), 4 * total());
}

TEST(Mpi, SumsInBucketsWhatIsLargerThanOne) {
  std::vector<at::Tensor> tensors;
  for (int i = 0; i < 40; ++i)
    tensors.push_back(at::arange(i * 10'007 + 1, at::kFloat).mul_(world->rank() + 1).remainder_(1'024));
  tensors.push_back(at::full({3'000'000}, world->rank() + 1.0));
  std::vector<at::Tensor> expected;
  for (int i = 0; i < 40; ++i) {
    auto sum = at::zeros({i * 10'007 + 1});
    for (int rank = 0; rank < world->size(); ++rank)
      sum += at::arange(i * 10'007 + 1, at::kFloat).mul_(rank + 1).remainder_(1'024);
    expected.push_back(sum);
  }
  expected.push_back(at::full({3'000'000}, total()));
  world->sum(tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(at::equal(tensors[i], expected[i])) << i;
}

TEST(Mpi, SeveralSumsAreUnderWayAndOthersBetweenThem) {
  std::vector<at::Tensor> tensors;
  std::vector<std::unique_ptr<graft::Communicator::Pending>> pending;
  for (int i = 0; i < 6; ++i) {
    tensors.push_back(at::full({100'000 * i + 1}, world->rank() + 1.0 + i));
    pending.push_back(world->start_sum({tensors.back()}));
    pending.front()->advance();
    if (i == 3) pending[2].reset();  // nobody wants it any more
  }
  const auto other = at::full({5}, world->rank() + 1.0);
  world->sum({other});
  EXPECT_TRUE(at::equal(other, at::full({5}, total())));
  for (int i = 0; i < 6; ++i) {
    const auto sum = total() + world->size() * i, mine = world->rank() + 1.0 + i;
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(tensors[at][0].item<double>(), mine);  // it waits for wait()
    if (pending[at]) pending[at]->wait();
    EXPECT_TRUE(at::equal(tensors[at], at::full({100'000 * i + 1}, i == 2 ? mine : sum))) << i;
  }
}

TEST(Mpi, SumsOnDevicesAreThoseOnTheCpu) {
  EXPECT_FALSE(world->sums_on(graft::Device::cpu()));
  const int devices = graft::cuda_device_count();
  if (devices == 0) GTEST_SKIP() << "no CUDA device";
  const auto device = graft::Device::cuda(world->rank() % devices);
  // From device to device where each process has its own, else by way of the CPU.
  std::printf("sums run on devices: %d\n", world->sums_on(device));
  const auto there = graft::base::to_torch(device);
  std::vector<at::Tensor> tensors, expected;
  for (const auto type : {at::kFloat, at::kDouble, at::kLong, at::kBFloat16}) {
    tensors.push_back(at::arange(5'000'000, at::kLong).remainder(50).mul_(world->rank() + 1).to(there, type));
    expected.push_back(
        at::arange(5'000'000, at::kLong).remainder(50).mul_(static_cast<std::int64_t>(total())).to(type));
  }
  const auto pending = world->start_sum(tensors);
  const auto first = tensors.front()[1].item<double>();
  EXPECT_EQ(first, world->rank() + 1);  // it waits for wait()
  pending->wait();
  for (std::size_t i = 0; i < tensors.size(); ++i) EXPECT_TRUE(at::equal(tensors[i].to(at::kCPU), expected[i])) << i;
}

TEST(DeviceSums, DevicesHaveToBeApart) {
  using graft::dist::all_apart;
  EXPECT_TRUE(all_apart({"a 1", "b 1", "a 2"}));
  EXPECT_FALSE(all_apart({"a 1", "b 1", "a 1"}));
  EXPECT_FALSE(all_apart({"a 1", ""}));
}

TEST(Mpi, SumsAreTheSameBitsEverywhere) {
  at::manual_seed(static_cast<std::uint64_t>(world->rank()));
  const auto drawn = at::randn({100'003});
  world->sum({drawn});
  const auto first = drawn.clone();
  world->broadcast({first});
  EXPECT_TRUE(at::equal(drawn, first));
}

TEST(Mpi, BroadcastsWhatRankZeroHas) {
  const auto tensor = at::full({5}, world->rank()).t(),
             last = at::full({1, 2, 3, 3}, world->rank()).to(at::MemoryFormat::ChannelsLast);
  const auto version = tensor._version();
  world->broadcast({tensor, last});
  EXPECT_EQ(tensor.sum().item<double>() + last.sum().item<double>(), 0);
  EXPECT_GT(tensor._version(), version);
  const std::string text(static_cast<std::size_t>(10 + 3 * world->rank()), static_cast<char>('a' + world->rank()));
  EXPECT_EQ(world->broadcast(text), std::string(10, 'a'));
}

TEST(Mpi, GathersTexts) {
  const auto all = world->all_gather(std::string(static_cast<std::size_t>(world->rank()), 'x') + '\0');
  ASSERT_EQ(all.size(), static_cast<std::size_t>(world->size()));
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], std::string(i, 'x') + '\0');
}

TEST(Mpi, OneIsEnoughForAny) {
  EXPECT_TRUE(world->any(world->rank() == world->size() - 1));
  EXPECT_FALSE(world->any(false));
  world->barrier();
}

TEST(Mpi, SaysWhatIsNotTheSame) {
  world->require_same({{"seed", "3"}, {"text", ""}});
  const bool last = world->rank() == world->size() - 1;
  std::map<std::string, std::string> named{{"seed", last ? "4" : "3"}, {"text", "of several words"}};
  if (last) named["more"] = "1";
  const std::string rank = "rank " + std::to_string(world->size() - 1);
  EXPECT_GRAFT_ERROR(world->require_same(named), kMismatch,
                     "more: rank 0 has none, " + rank + " has 1; seed: rank 0 has 3, " + rank + " has 4");
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const graft::MpiSession session;
  world = &session.world();
  const bool failed = RUN_ALL_TESTS() != 0;
  return world->any(failed) ? 1 : 0;
}
