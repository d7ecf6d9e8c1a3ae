#include "engine/eight_bit.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/runtime/operator.h>

#include "engine/calibration.h"
#include "engine/eight_bit_convolution.h"
#include "engine/quantize.h"
#include "engine/quantized_convolution.h"
#include "support/expect_error.h"

namespace graft::engine {
namespace {

TEST(EightBit, ARangeBecomesAScaleInWhichZeroIsExact) {
  for (const auto& range : std::vector<Range>{{0, 6}, {-1, 3}, {-2, -1}, {0.5, 4}, {0, 0}, {-1e-3F, 1e4F}}) {
    const auto s = scale_of(range);
    EXPECT_GT(s.scale, 0);
    EXPECT_GE(s.zero_point, 0);
    EXPECT_LE(s.zero_point, 255);
    const auto real = [&](std::int64_t stored) { return s.scale * static_cast<double>(stored - s.zero_point); };
    EXPECT_LE(real(0) - s.scale / 2, std::min(range.low, 0.0F));
    EXPECT_GE(real(255) + s.scale / 2, std::max(range.high, 0.0F));
  }
}

TEST(EightBit, NumbersAreLibTorchs) {
  for (const auto& size : std::vector<std::vector<std::int64_t>>{{7}, {3, 5}, {2, 3, 9, 11}, {1, 64, 40, 40}, {0, 3}}) {
    auto x = at::randn(size) * 3;
    if (x.dim() == 4) x = x.contiguous(at::MemoryFormat::ChannelsLast);
    for (const auto& range : {Range{0, 4}, Range{-3, 5}, Range{-10, 1}}) {
      const auto s = scale_of(range);
      const auto stored = quantize(x, s);
      EXPECT_EQ(stored.strides(), x.strides());
      const auto expected = at::quantize_per_tensor(x, s.scale, s.zero_point, at::kQUInt8);
      const auto steps = (stored.to(at::kInt) - expected.int_repr().to(at::kInt)).abs();
      // A number halfway between two may be rounded to either.
      EXPECT_LE(x.numel() == 0 ? 0 : steps.max().item<int>(), 1);
      EXPECT_LE(steps.sum().item<std::int64_t>(), x.numel() / 1000);
      EXPECT_TRUE(at::allclose(dequantize(expected.int_repr(), s), expected.dequantize(), 1e-6, 1e-6));
    }
  }
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto odd = at::tensor({nan, infinity, -infinity, 1e30F, 0.5F, 1.5F, -0.0F});
  EXPECT_TRUE(at::equal(quantize(odd, {1, 0}), at::tensor({0, 255, 0, 255, 0, 2, 0}, at::kByte)));
}

TEST(EightBit, WeightsHaveAScaleForEachChannel) {
  const auto weight = at::randn({5, 3, 2, 2}) * at::tensor({1.0, 100.0, 1e-3, 0.0, 1.0}).view({5, 1, 1, 1});
  const auto made = to_eight_bits(weight);
  const auto back = made.values.to(at::kFloat) * made.scales.view({5, 1, 1, 1});
  const auto error = (back - weight).abs().flatten(1).amax(1);
  EXPECT_TRUE((error <= made.scales * 0.5001).all().item<bool>());
  EXPECT_EQ(made.values.abs().max().item<int>(), 127);
  EXPECT_TRUE(at::equal(made.values[3], at::zeros({3, 2, 2}, at::kChar)));
}

// --- The range that is chosen

double squared_error(const at::Tensor& x, Range range) {
  const auto s = scale_of(range);
  return (dequantize(quantize(x, s), s) - x).pow(2).mean().item<double>();
}

TEST(Histogram, TheBestRangeHasTheSmallestErrorThere) {
  for (const auto& x : {at::randn({200000}), at::relu(at::randn({200000})), at::rand({200000}) + 2,
                        at::cat({at::randn({200000}), at::full({3}, 200.0F)}), at::randn({200000}).pow(3)}) {
    Histogram histogram;
    for (const auto& part : x.split(30000)) histogram.add(part.const_data_ptr<float>(), part.numel());
    const auto best = histogram.best_range();
    const float low = std::min(0.0F, x.min().item<float>()), high = std::max(0.0F, x.max().item<float>());
    double smallest = squared_error(x, {low, high});
    EXPECT_LE(squared_error(x, best), smallest * 1.001);
    for (int i = 1; i < 40; ++i) {
      const auto part = static_cast<float>(i) / 40;
      if (part >= 0.2F) smallest = std::min(smallest, squared_error(x, {low * part, high * part}));
    }
    EXPECT_LE(squared_error(x, best), smallest * 1.05);
  }
}

TEST(Histogram, OneNumberAndNoneHaveARange) {
  Histogram histogram;
  EXPECT_EQ(histogram.best_range(), (Range{0, 0}));
  const std::vector<float> zeros(9), seven(9, 7);
  histogram.add(zeros.data(), 9);
  EXPECT_EQ(histogram.best_range(), (Range{0, 0}));
  histogram.add(seven.data(), 9);
  EXPECT_NEAR(histogram.best_range().high, 7, 0.1);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    const std::vector<float> spoilt{0, bad, 1};
    EXPECT_GRAFT_ERROR(histogram.add(spoilt.data(), 3), kNumeric, "not a finite number");
  }
}

// --- Convolutions, beside integer arithmetic

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

/// One of this shape with random numbers, its input, and what it is added to.
struct Trial {
  QuantizedConvolution convolution;
  at::Tensor input, sum;

  Trial(const Shape& s, bool adds, bool to_bytes, bool with_relu) {
    const auto fan_in = static_cast<double>(s.inputs / s.groups * s.kernel[0] * s.kernel[1]);
    const auto weight = at::randn({s.outputs, s.inputs / s.groups, s.kernel[0], s.kernel[1]}) / std::sqrt(fan_in);
    convolution = {.weight = to_eight_bits(weight),
                   .bias = at::randn({s.outputs}),
                   .stride = s.stride,
                   .padding = s.padding,
                   .dilation = s.dilation,
                   .groups = s.groups,
                   .with_relu = with_relu,
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
    const auto per_channel = [](const at::Tensor& x) { return x.to(at::kDouble).view({1, -1, 1, 1}); };
    const auto sums = at::conv2d(input.to(at::kDouble) - static_cast<double>(c.input.zero_point),
                                 c.weight.values.to(at::kDouble), {}, c.stride, c.padding, c.dilation, c.groups);
    auto real = sums * per_channel(c.weight.scales) * c.input.scale + per_channel(c.bias);
    if (sum.defined()) real = real + (sum.to(at::kDouble) - static_cast<double>(c.sum->zero_point)) * c.sum->scale;
    if (c.with_relu) real = real.relu();
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

class OwnConvolution : public ::testing::TestWithParam<EightBitConvolution::Arithmetic> {
 protected:
  void SetUp() override {
    if (EightBitConvolution::best() < GetParam()) GTEST_SKIP() << "not on this processor";
  }
};
INSTANTIATE_TEST_SUITE_P(Arithmetics, OwnConvolution,
                         ::testing::Values(EightBitConvolution::Arithmetic::kVnni,
                                           EightBitConvolution::Arithmetic::kAmx),
                         [](const auto& param) {
                           return param.param == EightBitConvolution::Arithmetic::kVnni ? "vnni" : "amx";
                         });

TEST_P(OwnConvolution, NumbersAreThoseOfIntegerArithmetic) {
  for_every_kind(kShapes, [&](const Trial& trial) {
    const EightBitConvolution convolution(trial.convolution, GetParam());
    const auto sum = trial.sum.defined() ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
    const auto found = convolution.run(trial.input, sum);
    EXPECT_EQ(found.is_same(sum), sum.defined());
    EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
    return found;
  });
}

TEST_P(OwnConvolution, OtherSizesAreRefused) {
  const Trial trial(kShapes[3], /*adds=*/true, /*to_bytes=*/true, /*with_relu=*/true);
  const EightBitConvolution convolution(trial.convolution, GetParam());
  EXPECT_GRAFT_ERROR(convolution.run(trial.input.narrow(1, 0, 32), trial.sum), kMismatch, "64 channels");
  EXPECT_GRAFT_ERROR(convolution.run(trial.input, trial.sum.narrow(2, 0, 3)), kMismatch, "refuses");
}

TEST(OneDnnsConvolution, NumbersAreThoseOfIntegerArithmetic) {
  if (!has_eight_bit_arithmetic()) GTEST_SKIP() << "no int8 arithmetic in this processor";
  register_quantized_convolution();
  const std::vector<Shape> grouped{{2, 16, 12, 10, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 16},
                                   {1, 32, 9, 9, 64, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 4},
                                   {1, 8, 9, 9, 8, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 2}};
  for_every_kind(grouped, [&](const Trial& trial) {
    const auto sum = trial.sum.defined() ? trial.sum.clone(at::MemoryFormat::Preserve) : at::Tensor();
    torch::jit::Stack stack{trial.input};
    if (sum.defined()) stack.emplace_back(sum);
    stack.push_back(prepare(trial.convolution, {}));
    const auto kind = sum.defined() ? kQuantizedConvolutionInPlace : kQuantizedConvolution;
    torch::jit::getAllOperatorsFor(kind).at(0)->getOperation()(stack);
    return stack.back().toTensor();
  });
}

}  // namespace
}  // namespace graft::engine
