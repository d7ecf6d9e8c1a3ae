#include <graft/augment.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include <gtest/gtest.h>

#include <graft/error.h>

#include "image/operations.h"
#include "image/pipeline.h"
#include "image/torchvision_transform.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::slurp;
using image::Operation;

Image photo() { return Image::read(golden("images/photo.png")); }

Image halved(const Image& image) {
  std::vector<std::uint8_t> rgb(image.rgb().begin(), image.rgb().end());
  for (auto& value : rgb) value = static_cast<std::uint8_t>(value / 2 + 30);
  return Image(image.width_px(), image.height_px(), std::move(rgb));
}

TEST(Operations, EqualPillow) {
  const auto op = [](Operation operation, double parameter) { return image::apply(photo(), operation, parameter); };
  const std::map<std::string, Image> found{
      {"brightness", op(Operation::kBrightness, 1.37)},
      {"darkness", op(Operation::kBrightness, 0.43)},
      {"contrast", op(Operation::kContrast, 1.7)},
      {"flatness", op(Operation::kContrast, 0.31)},
      {"saturation", op(Operation::kSaturation, 1.83)},
      {"greyness", op(Operation::kSaturation, 0.27)},
      {"sharpness", op(Operation::kSharpness, 1.9)},
      {"smoothness", op(Operation::kSharpness, 0.12)},
      {"hue", op(Operation::kHue, 0.21)},
      {"hue_back", op(Operation::kHue, -0.4)},
      {"posterize", op(Operation::kPosterize, 3)},
      {"solarize", op(Operation::kSolarize, 110.5)},
      {"autocontrast", image::apply(halved(photo()), Operation::kAutocontrast, 0)},
      {"equalize", op(Operation::kEqualize, 0)},
      {"rotate", op(Operation::kRotate, 33.3)},
      {"rotate_back", op(Operation::kRotate, -117)},
      {"rotate_half", op(Operation::kRotate, 180)},
      {"rotate_quarter", image::apply(image::crop(photo(), {0, 0, 40, 40}), Operation::kRotate, 90)},
      {"shear_x", op(Operation::kShearX, 0.37)},
      {"shear_y", op(Operation::kShearY, -0.52)},
      {"translate_x", op(Operation::kTranslateX, 9)},
      {"translate_y", op(Operation::kTranslateY, -13)},
      {"crop_resize", image::crop(photo(), {7, 5, 43, 28}).resize(32, 24)}};
  for (const auto& [name, image] : found) {
    const auto expected = slurp(golden("images/op_" + name + ".rgb8"));
    ASSERT_EQ(image.rgb().size(), expected.size()) << name;
    int largest = 0;
    for (std::size_t i = 0; i < expected.size(); ++i)
      largest = std::max(largest, std::abs(image.rgb()[i] - static_cast<std::uint8_t>(expected[i])));
    EXPECT_EQ(largest, 0) << name;
  }
}

TEST(Torchvision, DrawsStayInTheirRanges) {
  const Augment augment{.random_resized_crop = RandomResizedCrop{},
                        .random_rotation_deg = 15,
                        .color_jitter = ColorJitter{0.4, 0.3, 0.2, 0.1},
                        .random_erasing = RandomErasing{.probability = 0.25}};
  int erased = 0;
  std::map<Operation, int> first_of_jitter;
  double area_sum = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto draw = image::draw_torchvision(augment, {1, 2, i}, 500, 375, 224, 224);
    const auto& crop = draw.crop.value();
    EXPECT_TRUE(crop.left >= 0 && crop.top >= 0 && crop.left + crop.width <= 500 && crop.top + crop.height <= 375);
    const double area = crop.width * crop.height / (500.0 * 375), ratio = static_cast<double>(crop.width) / crop.height;
    EXPECT_TRUE(area > 0.078 && area <= 1.0) << area;
    EXPECT_TRUE(ratio > 0.73 && ratio < 1.36) << ratio;
    area_sum += area;
    ASSERT_EQ(draw.operations.size(), 5u);
    EXPECT_EQ(draw.operations[0].first, Operation::kRotate);
    EXPECT_LE(std::abs(draw.operations[0].second), 15);
    ++first_of_jitter[draw.operations[1].first];
    for (const auto& [operation, value] : draw.operations) {
      EXPECT_TRUE(operation != Operation::kBrightness || (value >= 0.6 && value <= 1.4)) << value;
      EXPECT_TRUE(operation != Operation::kHue || std::abs(value) <= 0.1) << value;
    }
    erased += draw.erased.has_value();
  }
  EXPECT_NEAR(erased, 500, 100);               // five standard deviations
  EXPECT_NEAR(area_sum / 2000, 0.432, 0.025);  // the mean of 100,000 draws of torchvision's algorithm in Python: large
                                               // areas are rejected where they do not fit
  for (const auto& [operation, count] : first_of_jitter) EXPECT_NEAR(count, 500, 100);
  EXPECT_EQ(first_of_jitter.size(), 4u);
}

TEST(Torchvision, TrivialAugmentDrawsEveryOperation) {
  std::map<Operation, int> seen;
  int identity = 0;
  for (std::uint64_t i = 0; i < 14000; ++i) {
    const auto draw = image::draw_torchvision({.trivial_augment = true}, {0, 0, i}, 64, 64, 64, 64);
    if (draw.operations.empty()) {
      ++identity;
      continue;
    }
    const auto [operation, value] = draw.operations.at(0);
    ++seen[operation];
    EXPECT_LE(std::abs(value), 255);
    EXPECT_NO_THROW(image::apply(Image(8, 8, std::vector<std::uint8_t>(192, 77)), operation, value));
  }
  EXPECT_EQ(seen.size(), 13u);
  EXPECT_NEAR(identity, 1000, 155);  // five standard deviations
  for (const auto& [operation, count] : seen) EXPECT_NEAR(count, 1000, 155);
}

TEST(Augmented, ErasedPartsAreZeroAfterNormalisation) {
  const auto p = Preprocessing::torch_mode(40, 32);
  const Augment augment{.random_erasing = RandomErasing{.probability = 1}};
  std::vector<float> plain(3 * 32 * 32), out(plain.size());
  image::to_input(photo(), p, plain);
  image::to_input(photo(), p, augment, {0, 0, 3}, out);
  const auto window = image::draw_torchvision(augment, {0, 0, 3}, 61, 47, 32, 32).erased.value();
  for (int y = 0; y < 32; ++y)
    for (int x = 0; x < 32; ++x)
      for (int c = 0; c < 3; ++c) {
        const bool inside =
            x >= window.left && x < window.left + window.width && y >= window.top && y < window.top + window.height;
        const auto at = static_cast<std::size_t>((y * 32 + x) * 3 + c);
        ASSERT_EQ(out[at], inside ? 0 : plain[at]);
      }
}

TEST(Augmented, ShowsWhatTheNetworkGets) {
  const auto p = Preprocessing::rescale_mode(32);
  const Augment augment{
      .zoom = 0.3, .horizontal_flip = true, .random_resized_crop = RandomResizedCrop{}, .trivial_augment = true};
  for (std::uint64_t index = 0; index < 20; ++index) {
    std::vector<float> input(3 * 32 * 32);
    image::to_input(photo(), p, augment, {7, 1, index}, input);
    const auto shown = augmented(photo(), p, augment, 7, 1, index);
    for (std::size_t i = 0; i < input.size(); ++i) ASSERT_NEAR(input[i] * 255, shown.rgb()[i], 0.501);
  }
}

TEST(Augment, IsParsed) {
  EXPECT_EQ(Augment::parse("shear=0.2,zoom=0.2,hflip"),
            (Augment{.shear_deg = 0.2, .zoom = 0.2, .horizontal_flip = true}));
  EXPECT_EQ(Augment::parse("crop=0.5,trivial,jitter=0.1:0.2,erase,brightness=0.8:1.2"),
            (Augment{.brightness = Range{0.8, 1.2},
                     .random_resized_crop = RandomResizedCrop{.scale = {0.5, 1}},
                     .trivial_augment = true,
                     .color_jitter = ColorJitter{0.1, 0.2},
                     .random_erasing = RandomErasing{}}));
  EXPECT_FALSE(Augment::parse("").enabled());
  for (const char* bad :
       {"zoom=-0.1", "zoom=1", "shear", "hflip=1", "spin=3", "zoom=0.1,zoom=0.2", "zoom=nan", "zoom=0,2", "erase=1.5",
        "crop=0:1:2", "brightness=1.2:0.8", "jitter=0:0:0:0.6", "fill=mirror", "trivial="})
    EXPECT_GRAFT_ERROR(Augment::parse(bad), kConfig, "augment");
  EXPECT_GRAFT_ERROR(Augment::parse("zoom=-0.1"), kConfig, "found -0.1");
  EXPECT_GRAFT_ERROR(Augment::parse("erase=1.5"), kConfig, "probability: expected 0 to 1, found 1.5");
}

}  // namespace
}  // namespace graft
