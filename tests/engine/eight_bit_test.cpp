#include "engine/eight_bit.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/calibration.h"
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

}  // namespace
}  // namespace graft::engine
