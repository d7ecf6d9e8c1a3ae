#include <graft/preprocess.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include <graft/augment.h>
#include <graft/error.h>

#include "image/keras_cases.h"
#include "image/keras_transform.h"
#include "image/pipeline.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/measured.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::measured;
using graft::testing::slurp;

Image photo() { return Image::read(golden("images/photo.png")); }

/// [crop_height, crop_width, 3]
std::vector<float> input(const Image& image, const Preprocessing& p) {
  std::vector<float> out(3 * static_cast<std::size_t>(p.crop_height_px) * static_cast<std::size_t>(p.crop_width_px));
  image::to_input(image, p, out);
  return out;
}

TEST(Preprocessing, TorchModeIsResizeCropAndNormalise) {
  const auto p = Preprocessing::torch_mode(32, 24);
  const auto found = input(photo(), p);
  const auto pixels = photo().resize_shorter(32).center_crop(24, 24);
  const float mean[] = {0.485f, 0.456f, 0.406f}, std[] = {0.229f, 0.224f, 0.225f};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t i = 0; i < 24 * 24; ++i)
      ASSERT_FLOAT_EQ(found[i * 3 + c], (static_cast<float>(pixels.rgb()[i * 3 + c]) / 255.0f - mean[c]) / std[c]);
}

TEST(Preprocessing, KerasModesFollowTheirFormulas) {
  const Image pixel(1, 1, {10, 100, 200});
  const auto caffe = input(pixel, Preprocessing::caffe_mode(1));
  EXPECT_FLOAT_EQ(caffe[0], 200 - 103.939f);
  EXPECT_FLOAT_EQ(caffe[1], 100 - 116.779f);
  EXPECT_FLOAT_EQ(caffe[2], 10 - 123.68f);
  const auto tf = input(pixel, Preprocessing::tf_mode(1));
  EXPECT_FLOAT_EQ(tf[0], 10 / 127.5f - 1);
  const auto rescaled = input(pixel, Preprocessing::rescale_mode(1));
  EXPECT_FLOAT_EQ(rescaled[2], 200 / 255.0f);
  const auto features = input(pixel, [] {
    auto p = Preprocessing::vgg_features();
    p.resize_shorter_px.reset();
    p.crop_height_px = p.crop_width_px = 1;
    return p;
  }());
  EXPECT_NEAR(features[1], 100 - 0.45882 * 255, 1e-3);
}

TEST(Preprocessing, StretchesWithNearestAsLoadImgDoes) {
  const auto p = Preprocessing::rescale_mode(40);
  const auto found = input(photo(), p);
  const auto pixels = photo().resize(40, 40, Interpolation::kNearest);
  for (std::size_t i = 0; i < found.size(); ++i)
    ASSERT_FLOAT_EQ(found[i], static_cast<float>(pixels.rgb()[i]) / 255.0f);
}

TEST(Preprocessing, ReducedDecodingStaysNearTheFullPicture) {
  const auto full = Image::read(golden("images/large.jpg"));  // 285 x 223
  for (const auto& [size, width] : {std::pair(50, 143), std::pair(27, 72)}) {
    for (const auto interpolation : {Interpolation::kBilinear, Interpolation::kBicubic}) {
      auto p = Preprocessing::torch_mode(size, size - 3);
      p.mean = {0, 0, 0};
      p.std = {1 / 255.0, 1 / 255.0, 1 / 255.0};  // the values are those of the pixels
      p.interpolation = interpolation;
      EXPECT_EQ(p.reduced_size(), (ReducedSize{2 * size, 2 * size}));
      const auto reduced = Image::read(golden("images/large.jpg"), {.reduced = p.reduced_size()});
      if (reduced.width_px() == full.width_px()) GTEST_SKIP() << "this build decodes in full";
      EXPECT_EQ(reduced.width_px(), width);
      const auto expected = input(full, p), found = input(reduced, p);
      double sum = 0, largest = 0;
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double difference = std::abs(found[i] - expected[i]);
        sum += difference;
        largest = std::max(largest, difference);
      }
      const auto name = "reduced decoding, " + std::string(to_string(interpolation)) + " to " + std::to_string(size);
      EXPECT_TRUE(measured(name + ", mean", sum / static_cast<double>(found.size()), 4));
      EXPECT_TRUE(measured(name, largest, 32));
    }
  }
}

TEST(Preprocessing, ReducedSizeIsTwiceWhatIsResizedTo) {
  auto stretched = Preprocessing::rescale_mode(24);
  EXPECT_FALSE(stretched.reduced_size());  // nearest
  stretched.interpolation = Interpolation::kBilinear;
  stretched.crop_height_px = 30;
  EXPECT_EQ(stretched.reduced_size(), (ReducedSize{48, 60}));
}

TEST(Preprocessing, BadValuesAreRefusedByName) {
  const auto changed = [](auto change) {
    Preprocessing p;
    change(p);
    return p;
  };
  EXPECT_GRAFT_ERROR(changed([](auto& p) { p.crop_height_px = 0; }).validate(), kConfig, "crop_height_px");
  EXPECT_GRAFT_ERROR(changed([](auto& p) { p.crop_width_px = 300; }).validate(), kConfig, "300");
  EXPECT_GRAFT_ERROR(changed([](auto& p) { p.std[1] = 0; }).validate(), kConfig, "std");
  EXPECT_GRAFT_ERROR(changed([](auto& p) { p.mean[0] = std::nan(""); }).validate(), kConfig, "mean");
  EXPECT_GRAFT_ERROR(Preprocessing::by_name("keras"), kConfig, "keras");
  EXPECT_EQ(Preprocessing::by_name("caffe"), Preprocessing::caffe_mode());
}

TEST(Preprocessing, IsParsed) {
  EXPECT_EQ(Preprocessing::parse("caffe"), Preprocessing::caffe_mode());
  auto p = Preprocessing::torch_mode(248, 240);
  p.interpolation = Interpolation::kBicubic;
  p.mean = {0.5, 0.4, 0.3};
  EXPECT_EQ(Preprocessing::parse("torch,resize=248,crop=240,interpolation=bicubic,mean=0.5:0.4:0.3"), p);
  EXPECT_EQ(Preprocessing::parse("torch,resize=none,crop=320x200").crop_height_px, 200);
  const auto refused = [](const char* text, const char* found) {
    EXPECT_GRAFT_ERROR(Preprocessing::parse(text), kConfig, found);
  };
  refused("", "found \"\"");
  refused("keras", "keras");
  refused("torch,mean=0.5:0.5", "mean: expected three numbers, one for each channel, found \"0.5:0.5\"");
  refused("torch,std=1:1:0", "found 0");
  refused("torch,crop=300", "crop_height_px: expected at most resize_shorter_px, found 300");
  refused("torch,resize=-1", "found \"-1\"");
  refused("torch,zoom=2", "found \"zoom\"");
  refused("torch,scale=nan", "scale");
}

double largest_difference(const image::Values& values, const std::string& golden_name) {
  const auto* bytes_of = std::get_if<Image>(&values);
  const auto found = bytes_of ? std::vector<float>(bytes_of->rgb().begin(), bytes_of->rgb().end())
                              : std::get<std::vector<float>>(values);
  const auto bytes = slurp(golden(golden_name));
  std::vector<float> expected(bytes.size() / 4);
  std::memcpy(expected.data(), bytes.data(), bytes.size());
  if (expected.size() != found.size()) return 1e9;
  double largest = 0;
  for (std::size_t i = 0; i < found.size(); ++i) largest = std::max<double>(largest, std::abs(found[i] - expected[i]));
  return largest;
}

TEST(Augment, GivenDrawsEqualKeras) {
  for (const auto& each : graft::testing::keras_cases()) {
    const auto found = image::apply(photo(), each.draw, each.augment());
    EXPECT_TRUE(measured("Keras' transform, " + each.name, largest_difference(found, each.vectors()), 1e-3));  // of 255
  }
}

TEST(Augment, DrawsStayInTheirRangesAndDependOnTheKeyAlone) {
  const Augment augment{.rotation_deg = 30,
                        .width_shift = 0.1,
                        .height_shift = 0.2,
                        .shear_deg = 5,
                        .zoom = 0.2,
                        .horizontal_flip = true};
  int flips = 0;
  double theta_sum = 0;
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const auto d = image::draw(augment, {1, 2, i}, 100, 50);
    EXPECT_LE(std::abs(d.theta_deg), 30);
    EXPECT_LE(std::abs(d.tx), 0.2 * 50);
    EXPECT_LE(std::abs(d.ty), 0.1 * 100);
    EXPECT_GE(d.zx, 0.8);
    EXPECT_LE(d.zy, 1.2);
    EXPECT_FALSE(d.vertical_flip);
    flips += d.horizontal_flip;
    theta_sum += d.theta_deg;
    EXPECT_EQ(image::draw(augment, {1, 2, i}, 100, 50).theta_deg, d.theta_deg);
    EXPECT_NE(image::draw(augment, {1, 3, i}, 100, 50).theta_deg, d.theta_deg);
  }
  EXPECT_NEAR(flips, 1000, 120);  // five standard deviations
  EXPECT_NEAR(theta_sum / 2000, 0, 2);
}

}  // namespace
}  // namespace graft
