#include "engine/max_pool.h"

#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace graft::engine {
namespace {

at::Tensor expected(const at::Tensor& x, const PoolWindows& w) {
  const auto input = x.scalar_type() == at::kByte ? x.to(at::kFloat) : x;
  return at::max_pool2d(input, w.kernel, w.stride, w.padding, w.dilation, w.ceil_mode).to(x.scalar_type());
}

TEST(MaxPool, NumbersAreLibTorchs) {
  const std::vector<PoolWindows> windows{{{2, 2}, {2, 2}, {0, 0}, {1, 1}, false},
                                         {{3, 3}, {2, 2}, {1, 1}, {1, 1}, false},
                                         {{3, 3}, {2, 2}, {1, 1}, {1, 1}, true},
                                         {{3, 3}, {1, 1}, {1, 1}, {2, 2}, false},
                                         {{5, 2}, {3, 1}, {2, 1}, {1, 3}, true},
                                         {{2, 2}, {}, {0, 0}, {1, 1}, false},
                                         {{3}, {2}, {1}, {1}, true},
                                         {{13, 11}, {1, 1}, {0, 0}, {1, 1}, false}};
  for (const auto& w : windows) {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kByte}) {
      for (const std::int64_t channels : {1, 5, 64}) {
        const auto x = (at::randn({3, channels, 13, 11}) * 50)
                           .clamp(type == at::kByte ? 0 : -200, 200)
                           .to(type)
                           .contiguous(at::MemoryFormat::ChannelsLast);
        const auto found = max_pool2d(x, w);
        EXPECT_TRUE(at::equal(found, expected(x, w))) << type << ' ' << channels << ' ' << w.kernel;
        EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
      }
    }
  }
}

TEST(MaxPool, NotANumberAndInfinityGoTheSameWay) {
  const PoolWindows two{{2, 2}, {2, 2}, {0, 0}, {1, 1}, false};
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const float special : {nan, -nan, infinity, -infinity, -0.0F}) {
      for (int place = 0; place < 4; ++place) {
        const auto x = at::full({1, 8, 2, 2}, -1.5F).contiguous(at::MemoryFormat::ChannelsLast);
        x.select(2, place / 2).select(2, place % 2).fill_(special);
        const auto typed = x.to(type);
        EXPECT_TRUE(at::allclose(max_pool2d(typed, two).to(at::kFloat), expected(typed, two).to(at::kFloat), 0, 0,
                                 /*equal_nan=*/true))
            << type << ' ' << special << ' ' << place;
      }
    }
  }
}

TEST(MaxPool, OtherInputsAreLibTorchs) {
  const PoolWindows two{{2, 2}, {2, 2}, {0, 0}, {1, 1}, false};
  const auto plain = at::randn({2, 3, 6, 6});
  EXPECT_TRUE(at::equal(max_pool2d(plain, two), expected(plain, two)));
  const auto doubles = plain.to(at::kDouble).contiguous(at::MemoryFormat::ChannelsLast);
  EXPECT_TRUE(at::equal(max_pool2d(doubles, two), expected(doubles, two)));
  EXPECT_TRUE(at::equal(max_pool2d(plain[0], two), expected(plain[0], two)));
  EXPECT_THROW(max_pool2d(plain, {{9, 9}, {1, 1}, {0, 0}, {1, 1}, false}), c10::Error);
}

}  // namespace
}  // namespace graft::engine
