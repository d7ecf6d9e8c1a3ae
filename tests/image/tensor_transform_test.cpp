#include "image/tensor_transform.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/torch_device.h"
#include "image/keras_cases.h"
#include "support/each_device.h"
#include "support/golden.h"
#include "support/measured.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::golden_tensor;
using graft::testing::measured;

/// Leaves values as they are.
Preprocessing plain(const Image& image) {
  auto p = Preprocessing::rescale_mode();
  p.crop_width_px = image.width_px();
  p.crop_height_px = image.height_px();
  p.scale = 1;
  return p;
}

class TensorTransform : public graft::testing::EachDevice {
 protected:
  /// [1, 3, H, W] of bytes.
  static at::Tensor pixels(const Image& image) {
    const auto rows = at::empty({1, image.height_px(), image.width_px(), 3}, at::kByte);
    std::ranges::copy(image.rgb(), rows.mutable_data_ptr<std::uint8_t>());
    return rows.permute({0, 3, 1, 2}).to(base::to_torch(device()));
  }

  const Image photo_ = Image::read(golden("images/photo.png"));
};
INSTANTIATE_TEST_SUITE_P(Devices, TensorTransform, graft::testing::devices(), graft::testing::device_name);

TEST_P(TensorTransform, GivenDrawsEqualKeras) {
  // Of 255: positions are float32. What goes by way of bytes that are cut off may lose one of them to a rounding, times
  // the brightness.
  const auto tolerance = [](const image::Draw& draw) { return draw.brightness ? std::ceil(*draw.brightness) : 0.01; };
  const image::LaterChanges turned{{.theta_deg = 90}, {}};
  for (const auto& each : graft::testing::keras_cases()) {
    // Between two others, so that each picture is seen to have its own.
    const auto batch = pixels(photo_).expand({3, -1, -1, -1});
    const auto found =
        image::finish_changes(batch, {turned, {each.draw, {}}, turned}, each.augment(), plain(photo_))[1];
    const auto expected = golden_tensor(each.vectors(), {photo_.height_px(), photo_.width_px(), 3});
    EXPECT_TRUE(measured("Keras' transform on tensors, " + each.name,
                         (found.permute({1, 2, 0}).to(at::kCPU) - expected).abs().max().item<double>(),
                         tolerance(each.draw)));
  }
}

TEST_P(TensorTransform, BothStepsEqualTheThreads) {
  for (auto p : {Preprocessing::torch_mode(40, 32), Preprocessing::caffe_mode(32)}) {
    for (const auto& augment :
         {Augment{.rotation_deg = 30, .width_shift = 0.2, .shear_deg = 10, .zoom = 0.3, .horizontal_flip = true},
          Augment{
              .height_shift = 9, .zoom = 0.2, .vertical_flip = true, .fill_mode = FillMode::kWrap, .channel_shift = 20},
          Augment{.random_resized_crop = RandomResizedCrop{}, .random_erasing = RandomErasing{.probability = 1}},
          Augment{.horizontal_flip = true, .random_rotation_deg = 40, .trivial_augment = true}}) {
      ASSERT_TRUE(image::can_be_split(augment));
      std::vector<image::LaterChanges> changes;
      const auto bytes = at::empty({8, 32, 32, 3}, at::kByte), expected = at::empty({8, 32, 32, 3});
      for (std::uint64_t i = 0; i < 8; ++i) {
        const auto at = static_cast<std::size_t>(i) * 32 * 32 * 3;
        const image::DrawKey key{4, 1, i};
        changes.push_back(
            image::begin_changes(photo_, p, augment, key, {bytes.mutable_data_ptr<std::uint8_t>() + at, 32 * 32 * 3}));
        image::to_input(photo_, p, augment, key, {expected.mutable_data_ptr<float>() + at, 32 * 32 * 3});
      }
      const auto found =
          image::finish_changes(bytes.permute({0, 3, 1, 2}).to(base::to_torch(device())), changes, augment, p);
      EXPECT_TRUE(found.is_contiguous(at::MemoryFormat::ChannelsLast));
      const double step = p.scale / p.std[0];  // of a byte
      EXPECT_TRUE(measured("augmentation on tensors, of 255",
                           (found.permute({0, 2, 3, 1}).to(at::kCPU) - expected).abs().max().item<double>() / step,
                           0.01));
    }
  }
}

TEST(CanBeSplit, KerasMapComesBeforePillowsOperations) {
  EXPECT_TRUE(image::can_be_split({.zoom = 0.2, .channel_shift = 3, .random_erasing = RandomErasing{}}));
  EXPECT_TRUE(image::can_be_split({.horizontal_flip = true, .trivial_augment = true}));
  EXPECT_FALSE(image::can_be_split({.zoom = 0.2, .trivial_augment = true}));
  EXPECT_FALSE(image::can_be_split({.brightness = Range{0.5, 2}, .random_rotation_deg = 3}));
}

}  // namespace
}  // namespace graft
