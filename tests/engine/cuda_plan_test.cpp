// Plans on CUDA, beside the interpreter on the CPU. TensorFloat-32, which cuDNN multiplies float32 in, has ten bits.
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <graft/device.h>

#include "engine/plan.h"
#include "engine/runner.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using graft::testing::slurp;

class CudaPlan : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }
  static graph::Network load(const std::string& name) {
    const std::string bytes = slurp(golden("networks/" + name + ".pt"));
    graph::ExtraFiles none;
    return graph::Network::load(std::as_bytes(std::span(bytes.data(), bytes.size())), name, none);
  }
  static at::Tensor pictures(std::int64_t n) {
    return at::randn({n, 3, 32, 32}).contiguous(at::MemoryFormat::ChannelsLast);
  }
};

double difference(const at::Tensor& found, const at::Tensor& expected) {
  return (found.to(at::kCPU) - expected).abs().max().item<double>() / expected.abs().max().item<double>();
}

TEST_F(CudaPlan, AnswersAsTheInterpreterDoesRecordedOrNot) {
  const at::NoGradGuard no_grad;
  for (const char* name : {"resnet_scripted", "resnet_traced", "vgg_scripted", "vgg_traced"}) {
    auto network = load(name);
    std::vector<at::Tensor> inputs, expected;
    for (const std::int64_t n : {1, 5, 8}) inputs.push_back(pictures(n));
    for (const auto& x : inputs) expected.push_back(Runner(network).run(x));
    network.to(c10::Device(c10::kCUDA, 0));
    for (const auto& [precision, tolerance] :
         {std::pair(Precision::kFloat32, 5e-3), std::pair(Precision::kBFloat16, 0.05)}) {
      const auto plan = Plan::compile(network, precision);
      ASSERT_TRUE(plan) << name;
      EXPECT_EQ(plan->summary().fused, plan->summary().convolutions) << name;
      double most = 0;
      for (int round = 0; round < 4; ++round) {
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          const auto found = plan->run(inputs[i].to(at::kCUDA));
          EXPECT_EQ(found.scalar_type(), at::kFloat);
          most = std::max(most, difference(found, expected[i]));
        }
      }
      EXPECT_TRUE(
          measured(std::string("plan on CUDA of ") + name + ", " + std::string(to_string(precision)), most, tolerance));
    }
  }
}

TEST_F(CudaPlan, MoreSizesThanAreRecorded) {
  const at::NoGradGuard no_grad;
  auto network = load("resnet_scripted");
  const auto x = pictures(20);
  const auto expected = Runner(network).run(x);
  network.to(c10::Device(c10::kCUDA, 0));
  const auto plan = Plan::compile(network, Precision::kFloat32);
  ASSERT_TRUE(plan);
  for (int round = 0; round < 3; ++round)
    for (std::int64_t n = 1; n <= 20; ++n)
      EXPECT_LE(difference(plan->run(x.narrow(0, 0, n).to(at::kCUDA)), expected.narrow(0, 0, n)), 5e-3) << n;
}

TEST_F(CudaPlan, ManyThreadsGetWhatOneDoes) {
  const at::NoGradGuard no_grad;
  auto network = load("resnet_scripted");
  network.to(c10::Device(c10::kCUDA, 0));
  const auto plan = Plan::compile(network, Precision::kFloat32);
  ASSERT_TRUE(plan);
  constexpr int kThreads = 8, kCalls = 200;
  std::vector<at::Tensor> inputs, expected;
  for (int i = 0; i < kThreads; ++i) inputs.push_back(pictures(4).to(at::kCUDA));
  for (int round = 0; round < 3; ++round) (void)plan->run(inputs.front());  // recorded
  for (const auto& x : inputs) expected.push_back(plan->run(x).to(at::kCPU));
  std::vector<int> wrong(kThreads);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      for (int call = 0; call < kCalls; ++call) wrong[i] += !at::equal(plan->run(inputs[i]).to(at::kCPU), expected[i]);
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads));
}

}  // namespace
}  // namespace graft::engine
