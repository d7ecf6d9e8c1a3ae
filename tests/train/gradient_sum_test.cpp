#include "train/gradient_sum.h"

#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/twice.h"

namespace graft::train {
namespace {

using ::testing::ElementsAre;

/// With what was asked of it.
class Twice final : public graft::testing::Twice {
 public:
  explicit Twice(std::vector<std::string>& log) : log_(log) {}
  std::unique_ptr<Pending> start_sum(const std::vector<at::Tensor>& tensors) override {
    std::string entry = "sum of";
    for (const auto& tensor : tensors) entry += " " + std::to_string(tensor.numel());
    log_.push_back(entry);
    return Communicator::start_sum(tensors);
  }

 private:
  std::vector<std::string>& log_;
};

/// Three layers in a row, and when the backward pass comes to what is before the last ones.
struct Layers {
  at::Tensor first = at::full({1}, 2.0).set_requires_grad(true), second = at::full({2}, 3.0).set_requires_grad(true),
             third = at::full({3}, 5.0).set_requires_grad(true);
  std::vector<std::string> log;

  void backward() {
    auto x = first * 7;
    watch(x, "first");
    auto y = (second * x).sum();
    watch(y, "second");
    (third * y).sum().backward();
  }
  void watch(at::Tensor& output, const char* name) {
    output.register_hook([this, name](const at::Tensor& gradient) {
      log.emplace_back(name);
      return gradient;
    });
  }
  std::vector<at::Tensor> gradients() const { return {first.grad(), second.grad(), third.grad()}; }
};

constexpr std::size_t kEachAlone = 1;

TEST(GradientSum, LastLayersAreSummedWhileTheFirstAreComputed) {
  Layers layers;
  Twice processes(layers.log);
  GradientSum sum(processes, {layers.first, layers.second, layers.third}, kEachAlone);
  sum.expect();
  layers.backward();
  sum.begin_rest();
  EXPECT_THAT(layers.log, ElementsAre("sum of 3", "second", "sum of 2", "first", "sum of 1"));
  const auto mine = layers.first.grad().clone();
  sum.finish();
  EXPECT_TRUE(layers.first.grad().equal(mine * 2));
  EXPECT_EQ(layers.first.grad().item<float>(), 2 * 7 * 6 * 15);
  EXPECT_TRUE(layers.third.grad().equal(at::full({3}, 2.0 * 14 * 6)));
}

TEST(GradientSum, BucketsAreAsLargeAsAskedFor) {
  Layers layers;
  Twice processes(layers.log);
  GradientSum sum(processes, {layers.first, layers.second, layers.third}, 4 * sizeof(float));
  sum.expect();
  layers.backward();
  sum.finish();
  EXPECT_THAT(layers.log, ElementsAre("second", "sum of 3 2", "first", "sum of 1"));
}

TEST(GradientSum, OfSeveralBatchesTheLastOneBegins) {
  Layers layers;
  Twice processes(layers.log);
  GradientSum sum(processes, {layers.first, layers.second, layers.third}, kEachAlone);
  layers.backward();
  EXPECT_THAT(layers.log, ElementsAre("second", "first"));
  sum.expect();
  layers.backward();
  sum.finish();
  EXPECT_EQ(layers.first.grad().item<float>(), 2 * 2 * 7 * 6 * 15);
}

TEST(GradientSum, WhoHasNothingAddsZerosInTheSameOrder) {
  Layers layers;
  Twice processes(layers.log);
  GradientSum sum(processes, {layers.first, layers.second, layers.third}, kEachAlone);
  sum.begin_rest();
  sum.finish();
  EXPECT_THAT(layers.log, ElementsAre("sum of 3", "sum of 2", "sum of 1"));
  EXPECT_TRUE(layers.second.grad().equal(at::zeros({2})));
}

TEST(GradientSum, LeavesNoTraceInTheParameters) {
  Layers layers;
  {
    Twice processes(layers.log);
    const GradientSum sum(processes, {layers.first, layers.second, layers.third});
  }
  layers.backward();
  EXPECT_THAT(layers.log, ElementsAre("second", "first"));
}

}  // namespace
}  // namespace graft::train
