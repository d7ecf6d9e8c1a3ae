#include "engine/winograd_convolution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "engine/winograd_kernels.h"
#include "support/expect_error.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::measured;

struct Shape {
  std::int64_t n, inputs, height, width, outputs;
  std::vector<std::int64_t> padding;
};

Geometry geometry_of(std::vector<std::int64_t> padding, bool with_relu) {
  return {.stride = {1, 1}, .padding = std::move(padding), .dilation = {1, 1}, .groups = 1, .with_relu = with_relu};
}

/// Smaller than a tile, one more and one less than tiles, channels that fill no vector, and those of VGG16 and ResNet50
/// whose tiles or outputs are shared out, in one block and in several.
const std::vector<Shape> kShapes{
    {1, 1, 1, 1, 1, {1, 1}},       {2, 16, 1, 1, 16, {1, 1}},     {1, 3, 3, 3, 5, {0, 0}},
    {1, 9, 4, 9, 33, {1, 1}},      {3, 17, 5, 7, 40, {0, 0}},     {2, 33, 23, 19, 65, {1, 1}},
    {1, 24, 6, 30, 16, {2, 0}},    {2, 20, 11, 12, 96, {0, 2}},   {1, 64, 56, 56, 64, {1, 1}},
    {1, 128, 28, 28, 128, {1, 1}}, {3, 256, 14, 14, 256, {1, 1}}, {3, 512, 7, 7, 100, {1, 1}},
    {1, 64, 61, 90, 128, {0, 0}},  {1, 600, 9, 9, 70, {1, 1}}};

/// What is done besides the sums of products.
struct Kind {
  bool adds, with_relu, has_bias;
};
constexpr Kind kPlain{false, false, false}, kAll{true, true, true};

/// One of this shape with random numbers.
struct Trial {
  std::vector<std::int64_t> padding;
  at::Tensor weight, bias, input, sum;
  at::Tensor products;  ///< summed in double

  explicit Trial(const Shape& s)
      : padding(s.padding),
        weight(at::randn({s.outputs, s.inputs, 3, 3}) / std::sqrt(9.0 * static_cast<double>(s.inputs))),
        bias(at::randn({s.outputs})),
        input(at::randn({s.n, s.inputs, s.height, s.width}).contiguous(at::MemoryFormat::ChannelsLast)),
        products(at::conv2d(input.to(at::kDouble), weight.to(at::kDouble), {}, 1, padding)) {
    sum = at::randn(products.sizes()).contiguous(at::MemoryFormat::ChannelsLast);
  }

  WinogradConvolution convolution(const Kind& kind) const {
    return WinogradConvolution(FloatConvolution{.weight = weight,
                                                .bias = kind.has_bias ? bias : at::Tensor(),
                                                .geometry = geometry_of(padding, kind.with_relu)});
  }

  at::Tensor expected(const Kind& kind) const {
    auto result = products;
    if (kind.has_bias) result = result + bias.view({1, -1, 1, 1});
    if (kind.adds) result = result + sum;
    return kind.with_relu ? result.relu() : result;
  }
};

/// Largest difference, as a part of what a result is on average.
double difference(const at::Tensor& found, const at::Tensor& expected) {
  const double usual = expected.pow(2).mean().sqrt().item<double>();
  return (found.to(at::kDouble) - expected).abs().max().item<double>() / std::max(usual, 0.1);
}

constexpr double kTolerance = 5e-5;

class Winograd : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!winograd::is_available()) GTEST_SKIP() << "no AVX-512 in this processor";
  }
};

TEST_F(Winograd, NumbersAreThoseOfTheSum) {
  double most = 0;
  for (const auto& shape : kShapes) {
    const Trial trial(shape);
    for (int bits = 0; bits < 8; ++bits) {
      const Kind kind{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0};
      const auto expected = trial.expected(kind);
      const auto sum = kind.adds ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
      const auto found = trial.convolution(kind).run(trial.input, sum);
      EXPECT_EQ(found.is_same(sum), kind.adds);
      EXPECT_EQ(found.scalar_type(), at::kFloat);
      EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
      ASSERT_EQ(found.sizes(), expected.sizes());
      const double apart = difference(found, expected);
      EXPECT_LE(apart, kTolerance) << trial.input.sizes() << " to " << shape.outputs << ", kind " << bits;
      most = std::max(most, apart);
    }
  }
  EXPECT_TRUE(measured("Winograd's convolution beside double", most, kTolerance));
}

TEST_F(Winograd, NumbersAreTheSameForAnyThreadsAndBatch) {
  const int threads = at::get_num_threads();
  for (const auto& shape : {kShapes[5], kShapes[8], kShapes[9], kShapes[10], kShapes[12]}) {
    const Trial trial(shape);
    const auto convolution = trial.convolution(kPlain);
    at::set_num_threads(1);
    const auto expected = convolution.run(trial.input);
    for (const int some : {2, 3, 7}) {
      at::set_num_threads(some);
      EXPECT_TRUE(at::equal(convolution.run(trial.input), expected)) << some << " threads, " << trial.input.sizes();
    }
    const auto last = convolution.run(trial.input.narrow(0, shape.n - 1, 1));
    EXPECT_TRUE(at::equal(last[0], expected[shape.n - 1])) << trial.input.sizes();
  }
  at::set_num_threads(threads);
}

TEST_F(Winograd, OperandsMayLieOtherwise) {
  const Trial trial(kShapes[5]);
  const auto convolution = trial.convolution(kAll);
  const auto sum = trial.sum.clone(at::MemoryFormat::Contiguous);
  const auto found = convolution.run(trial.input.contiguous(), sum);
  EXPECT_TRUE(found.is_same(sum));
  EXPECT_LE(difference(found, trial.expected(kAll)), kTolerance);
  EXPECT_EQ(convolution.run(trial.input.narrow(0, 0, 0)).sizes(), at::IntArrayRef({0, 65, 23, 19}));
}

TEST_F(Winograd, WhatIsNotFiniteStaysInItsTiles) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const FloatConvolution given{
      .weight = at::ones({16, 16, 3, 3}), .bias = {}, .geometry = geometry_of({1, 1}, /*with_relu=*/true)};
  for (const float value : {nan, infinity}) {
    auto input = at::ones({1, 16, 16, 16});
    input[0][3][1][14] = value;
    const auto found = WinogradConvolution(given).run(input)[0][5];
    EXPECT_FALSE(at::isfinite(found.slice(0, 0, 3).slice(1, 13, 16)).any().item<bool>());
    EXPECT_TRUE(at::isfinite(found.slice(0, 4)).all().item<bool>());
    EXPECT_TRUE(at::isfinite(found.slice(1, 0, 12)).all().item<bool>());
  }
}

TEST_F(Winograd, OtherSizesAndTypesAreRefused) {
  const Trial trial({1, 16, 8, 8, 32, {0, 0}});
  const auto convolution = trial.convolution(kAll);
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.narrow(1, 0, 8), trial.sum), kMismatch, "16 channels");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.narrow(2, 0, 2)), kMismatch, "refuses");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.to(at::kDouble)), kMismatch, "Double");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.narrow(2, 0, 3)), kMismatch, "refuses");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.to(at::kDouble)), kMismatch, "refuses");
}

TEST_F(Winograd, SuitsWhatItIsFasterFor) {
  const auto suits = [](std::int64_t outputs, std::int64_t inputs, std::int64_t kernel, const Geometry& geometry,
                        const std::vector<std::int64_t>& size) {
    return WinogradConvolution::suits(at::ones({outputs, inputs, kernel, kernel}), geometry, size);
  };
  const auto usual = geometry_of({1, 1}, false);
  EXPECT_TRUE(suits(64, 64, 3, usual, {1, 64, 56, 56}));
  EXPECT_TRUE(suits(64, 64, 3, usual, {}));
  EXPECT_TRUE(suits(256, 256, 3, usual, {1, 256, 14, 14}));
  EXPECT_FALSE(suits(512, 512, 3, usual, {1, 512, 7, 7}));
  EXPECT_TRUE(suits(512, 512, 3, usual, {4, 512, 7, 7}));
  EXPECT_FALSE(suits(64, 3, 3, usual, {1, 3, 224, 224}));
  EXPECT_FALSE(suits(8, 64, 3, usual, {}));
  EXPECT_FALSE(suits(64, 64, 1, usual, {}));
  for (auto change : {&Geometry::stride, &Geometry::dilation}) {
    auto other = usual;
    (other.*change)[1] = 2;
    EXPECT_FALSE(suits(64, 64, 3, other, {}));
  }
  auto grouped = usual;
  grouped.groups = 2;
  EXPECT_FALSE(suits(64, 32, 3, grouped, {}));
}

}  // namespace
}  // namespace graft::engine
