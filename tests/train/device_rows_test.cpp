#include "train/device_rows.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/torch_device.h"
#include "support/each_device.h"

namespace graft::train {
namespace {

class DeviceRowsTest : public graft::testing::EachDevice {
 protected:
  static c10::Device device() { return base::to_torch(EachDevice::device()); }
  static std::vector<std::string> keys(int from, int to) {
    std::vector<std::string> all;
    for (int i = from; i < to; ++i) all.push_back("key " + std::to_string(i));
    return all;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, DeviceRowsTest, graft::testing::devices(), graft::testing::device_name);

TEST_P(DeviceRowsTest, GiveWhatWasPutInAlsoWhenThereAreMoreThanAtFirst) {
  DeviceRows kept(device(), std::int64_t{1} << 30);
  const auto rows = at::randn({1000, 2, 3, 4});
  for (int i = 0; i < 1000; i += 100) EXPECT_TRUE(kept.insert(keys(i, i + 100), rows.narrow(0, i, 100)));
  EXPECT_TRUE(kept.contains("key 999"));
  EXPECT_FALSE(kept.contains("key 1000"));
  const std::vector<std::string> some{"key 700", "key 3", "key 999"};
  EXPECT_TRUE(at::equal(kept.rows(some).cpu(), rows.index_select(0, at::tensor({700, 3, 999}, at::kLong))));
  EXPECT_EQ(kept.rows(some).device().type(), device().type());
}

TEST_P(DeviceRowsTest, TheFirstOfAKeyStays) {
  DeviceRows kept(device(), 1 << 20);
  const auto rows = at::randn({6, 5});
  EXPECT_TRUE(kept.insert(keys(0, 4), rows.narrow(0, 0, 4)));
  EXPECT_TRUE(kept.insert(keys(2, 6), at::cat({at::zeros({2, 5}), rows.narrow(0, 4, 2)})));
  EXPECT_TRUE(at::equal(kept.rows(keys(0, 6)).cpu(), rows));
}

TEST_P(DeviceRowsTest, TakeNoMoreMemoryThanIsAllowed) {
  DeviceRows kept(device(), 10 * 5 * 4);
  EXPECT_TRUE(kept.insert(keys(0, 8), at::ones({8, 5})));
  EXPECT_FALSE(kept.insert(keys(8, 11), at::ones({3, 5})));
  EXPECT_FALSE(kept.contains("key 8"));
  EXPECT_TRUE(kept.insert(keys(8, 10), at::ones({2, 5})));
  EXPECT_FALSE(kept.insert(keys(10, 11), at::ones({1, 7})));  // of another shape
  EXPECT_TRUE(at::equal(kept.rows(keys(0, 10)).cpu(), at::ones({10, 5})));
}

}  // namespace
}  // namespace graft::train
