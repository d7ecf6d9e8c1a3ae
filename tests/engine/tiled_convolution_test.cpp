#include "engine/tiled_convolution.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/runtime/operator.h>

#include "engine/prepared_convolution.h"
#include "engine/quantize.h"
#include "support/expect_error.h"
#include "support/measured.h"

namespace graft::engine {
namespace {

using graft::testing::measured;

struct Shape {
  std::int64_t n, inputs, height, width, outputs;
  std::vector<std::int64_t> kernel, stride, padding, dilation;
  std::int64_t groups = 1;
};

/// Small, odd, and those of VGG16 and ResNet50.
const std::vector<Shape> kShapes{
    {2, 3, 23, 19, 8, {7, 7}, {2, 2}, {3, 3}, {1, 1}},     {1, 3, 56, 56, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {3, 16, 7, 7, 20, {1, 1}, {1, 1}, {0, 0}, {1, 1}},     {2, 64, 14, 14, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {1, 256, 14, 14, 128, {1, 1}, {2, 2}, {0, 0}, {1, 1}}, {1, 512, 7, 7, 100, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {5, 9, 11, 6, 33, {3, 2}, {1, 2}, {2, 1}, {1, 1}},     {2, 5, 12, 12, 7, {3, 3}, {1, 1}, {2, 2}, {2, 2}},
    {1, 7, 5, 40, 17, {1, 5}, {1, 1}, {0, 4}, {1, 1}},     {1, 4, 3, 3, 1, {3, 3}, {1, 1}, {0, 0}, {1, 1}}};

// --- uint8, beside integer arithmetic

/// One of this shape with random numbers, its input, and what it is added to.
struct Trial {
  QuantizedConvolution convolution;
  at::Tensor input, sum;

  Trial(const Shape& s, bool adds, bool to_bytes, bool with_relu) {
    const auto fan_in = static_cast<double>(s.inputs / s.groups * s.kernel[0] * s.kernel[1]);
    const auto weight = at::randn({s.outputs, s.inputs / s.groups, s.kernel[0], s.kernel[1]}) / std::sqrt(fan_in);
    convolution = {.weight = to_eight_bits(weight),
                   .bias = at::randn({s.outputs}),
                   .geometry = {s.stride, s.padding, s.dilation, s.groups, with_relu},
                   .input = {0.02, 117},
                   .sum = {},
                   .output = {}};
    if (adds) convolution.sum = Scale{0.03, 40};
    if (to_bytes) convolution.output = with_relu ? Scale{0.012, 0} : Scale{0.025, 130};
    input =
        at::randint(0, 256, {s.n, s.inputs, s.height, s.width}, at::kByte).contiguous(at::MemoryFormat::ChannelsLast);
    if (adds) sum = at::randint(0, 256, expected().sizes(), at::kByte).contiguous(at::MemoryFormat::ChannelsLast);
  }

  /// Sums of products of integers, which are exact in double; then scaled, added and rounded.
  at::Tensor expected() const {
    const auto& c = convolution;
    const auto& g = c.geometry;
    const auto per_channel = [](const at::Tensor& x) { return x.to(at::kDouble).view({1, -1, 1, 1}); };
    const auto sums = at::conv2d(input.to(at::kDouble) - static_cast<double>(c.input.zero_point),
                                 c.weight.values.to(at::kDouble), {}, g.stride, g.padding, g.dilation, g.groups);
    auto real = sums * per_channel(c.weight.scales) * c.input.scale + per_channel(c.bias);
    if (sum.defined()) real = real + (sum.to(at::kDouble) - static_cast<double>(c.sum->zero_point)) * c.sum->scale;
    if (g.with_relu) real = real.relu();
    if (!c.output) return real.to(at::kFloat);
    return (real / c.output->scale + static_cast<double>(c.output->zero_point)).round().clamp(0, 255).to(at::kByte);
  }
};

/// Equal, but for bytes that lie halfway between two: those may be one off, and there are few.
void expect_same(const at::Tensor& found, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  ASSERT_EQ(found.scalar_type(), expected.scalar_type()) << what;
  const auto difference = (found.to(at::kDouble) - expected.to(at::kDouble)).abs();
  if (expected.scalar_type() == at::kFloat) {
    EXPECT_LE(difference.max().item<double>(), 1e-5 * std::max(1.0, expected.abs().max().item<double>())) << what;
  } else {
    EXPECT_LE(difference.max().item<double>(), 1) << what;
    EXPECT_LE(difference.sum().item<double>(), 1 + static_cast<double>(found.numel()) / 1000) << what;
  }
}

template <class Run>
void for_every_kind(const std::vector<Shape>& shapes, Run run) {
  for (const auto& shape : shapes) {
    for (const bool adds : {false, true}) {
      for (const bool to_bytes : {false, true}) {
        for (const bool with_relu : {false, true}) {
          if (adds && !to_bytes) continue;
          const Trial trial(shape, adds, to_bytes, with_relu);
          const auto expected = trial.expected();
          const auto what = c10::str("kernel ", shape.kernel, ", channels ", shape.inputs, " to ", shape.outputs,
                                     adds ? ", adds" : "", to_bytes ? ", bytes" : "", with_relu ? ", ReLU" : "");
          expect_same(run(trial), expected, what);
        }
      }
    }
  }
}

class OwnConvolution : public ::testing::TestWithParam<Arithmetic> {
 protected:
  void SetUp() override {
    if (!convolution_kernel(GetParam())) GTEST_SKIP() << "not on this processor";
  }
};
INSTANTIATE_TEST_SUITE_P(Arithmetics, OwnConvolution, ::testing::Values(Arithmetic::kVnni, Arithmetic::kAmxInt8),
                         [](const auto& param) { return param.param == Arithmetic::kVnni ? "vnni" : "amx"; });

TEST_P(OwnConvolution, NumbersAreThoseOfIntegerArithmetic) {
  for_every_kind(kShapes, [&](const Trial& trial) {
    const TiledConvolution convolution(trial.convolution, *convolution_kernel(GetParam()));
    const auto sum = trial.sum.defined() ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
    const auto found = convolution.run(trial.input, sum);
    EXPECT_EQ(found.is_same(sum), sum.defined());
    EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
    return found;
  });
}

TEST_P(OwnConvolution, OtherSizesAreRefused) {
  const Trial trial(kShapes[3], /*adds=*/true, /*to_bytes=*/true, /*with_relu=*/true);
  const TiledConvolution convolution(trial.convolution, *convolution_kernel(GetParam()));
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.narrow(1, 0, 32), trial.sum), kMismatch, "64 channels");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.narrow(2, 0, 3)), kMismatch, "refuses");
}

TEST(OneDnnsConvolution, NumbersAreThoseOfIntegerArithmetic) {
  if (!has_eight_bit_arithmetic()) GTEST_SKIP() << "no int8 arithmetic in this processor";
  register_prepared_convolution();
  const std::vector<Shape> grouped{{2, 16, 12, 10, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 16},
                                   {1, 32, 9, 9, 64, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 4},
                                   {1, 8, 9, 9, 8, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 2}};
  for_every_kind(grouped, [&](const Trial& trial) {
    const auto sum = trial.sum.defined() ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
    torch::jit::Stack stack{trial.input};
    if (sum.defined()) stack.emplace_back(sum);
    stack.push_back(prepare(trial.convolution, {}));
    const auto kind = sum.defined() ? kPreparedConvolutionInPlace : kPreparedConvolution;
    torch::jit::getAllOperatorsFor(kind).at(0)->getOperation()(stack);
    return stack.back().toTensor();
  });
}

// --- bfloat16, beside float64

at::Tensor random_bfloat16(at::IntArrayRef size) {
  return at::randn(size).to(at::kBFloat16).contiguous(at::MemoryFormat::ChannelsLast);
}

/// One of this shape with random numbers, its input, and what it is added to.
struct BFloat16Trial {
  BFloat16Convolution convolution;
  at::Tensor input, sum;

  BFloat16Trial(const Shape& s, bool adds, bool with_relu, bool has_bias) {
    const auto fan_in = static_cast<double>(s.inputs * s.kernel[0] * s.kernel[1]);
    convolution = {.weight = at::randn({s.outputs, s.inputs, s.kernel[0], s.kernel[1]}) / std::sqrt(fan_in),
                   .bias = has_bias ? at::randn({s.outputs}) : at::Tensor(),
                   .geometry = {s.stride, s.padding, s.dilation, 1, with_relu}};
    input = random_bfloat16({s.n, s.inputs, s.height, s.width});
    if (adds) sum = random_bfloat16(expected().sizes());
  }

  /// Of the rounded numbers, itself not rounded.
  at::Tensor expected() const {
    const auto& g = convolution.geometry;
    auto result = at::conv2d(input.to(at::kDouble), convolution.weight.to(at::kBFloat16).to(at::kDouble),
                             convolution.bias.defined() ? convolution.bias.to(at::kDouble) : at::Tensor(), g.stride,
                             g.padding, g.dilation);
    if (sum.defined()) result = result + sum.to(at::kDouble);
    return g.with_relu ? result.relu() : result;
  }
};

class BFloat16ConvolutionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!convolution_kernel(Arithmetic::kAmxBFloat16)) GTEST_SKIP() << "no AMX for bfloat16 in this processor";
  }
};

/// What rounding to eight bits of mantissa may change, 2^-8 of the number itself, and 1e-4 for sums in float32.
double excess(const at::Tensor& found, const at::Tensor& expected) {
  const auto allowed = expected.abs() / 256 + 1e-4;
  return ((found.to(at::kDouble) - expected).abs() / allowed).max().item<double>();
}

TEST_F(BFloat16ConvolutionTest, NumbersAreTheRoundedOnes) {
  double most = 0;
  for (const auto& shape : kShapes) {
    for (int kind = 0; kind < 8; ++kind) {
      const BFloat16Trial trial(shape, (kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0);
      const TiledConvolution convolution(trial.convolution);
      const auto expected = trial.expected();
      const auto sum = trial.sum.defined() ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
      const auto found = convolution.run(trial.input, sum);
      EXPECT_EQ(found.is_same(sum), sum.defined());
      EXPECT_EQ(found.scalar_type(), at::kBFloat16);
      EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
      ASSERT_EQ(found.sizes(), expected.sizes());
      EXPECT_LE(excess(found, expected), 1)
          << "kernel " << shape.kernel << ", channels " << shape.inputs << " to " << shape.outputs << ", kind " << kind;
      most = std::max(most, excess(found, expected));
    }
  }
  EXPECT_TRUE(measured("own convolution in bfloat16, beside half a unit in the last place", most, 1));
}

TEST_F(BFloat16ConvolutionTest, OperandsMayLieOtherwise) {
  const BFloat16Trial trial(kShapes[3], /*adds=*/true, /*with_relu=*/true, /*has_bias=*/true);
  const TiledConvolution convolution(trial.convolution);
  auto sum = trial.sum.contiguous();
  const auto found = convolution.run(trial.input.contiguous(), sum);
  EXPECT_TRUE(found.is_same(sum));
  EXPECT_LE(excess(found, trial.expected()), 1);
  EXPECT_EQ(convolution.run(trial.input.narrow(0, 0, 0)).sizes(), at::IntArrayRef({0, 64, 14, 14}));
}

TEST_F(BFloat16ConvolutionTest, WhatIsNotFiniteStaysSo) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const bool with_relu : {false, true}) {
    const BFloat16Convolution given{
        .weight = at::ones({16, 32, 1, 1}), .bias = {}, .geometry = {{1, 1}, {0, 0}, {1, 1}, 1, with_relu}};
    auto input = at::zeros({1, 32, 1, 4}, at::kBFloat16);
    input[0][7] = at::tensor({nan, infinity, -infinity, 2.0F}).to(at::kBFloat16).view({1, 4});
    const auto found = TiledConvolution(given).run(input).to(at::kFloat)[0][9][0];
    EXPECT_TRUE(std::isnan(found[0].item<float>()));
    EXPECT_EQ(found[1].item<float>(), infinity);
    EXPECT_EQ(found[2].item<float>(), with_relu ? 0 : -infinity);
    EXPECT_EQ(found[3].item<float>(), 2);
  }
}

TEST_F(BFloat16ConvolutionTest, OtherSizesAndTypesAreRefused) {
  const BFloat16Trial trial(kShapes[3], /*adds=*/true, /*with_relu=*/true, /*has_bias=*/true);
  const TiledConvolution convolution(trial.convolution);
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.narrow(1, 0, 32), trial.sum), kMismatch, "64 channels");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.narrow(2, 0, 3)), kMismatch, "refuses");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.to(at::kFloat)), kMismatch, "BFloat16");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.to(at::kFloat)), kMismatch, "refuses");
}

}  // namespace
}  // namespace graft::engine
