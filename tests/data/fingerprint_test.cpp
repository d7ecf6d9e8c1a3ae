#include "data/fingerprint.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string_view>

#include <gtest/gtest.h>

namespace graft::data {
namespace {

/// A picture with structure at all scales: blobs of random colours and places.
Image scene(std::uint64_t seed, int side = 200) {
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> place(0, 1);
  std::vector<double> values(static_cast<std::size_t>(side * side * 3), 90);
  for (int blob = 0; blob < 150; ++blob) {
    const double cx = place(engine) * side, cy = place(engine) * side;
    const double radius = side * (0.02 + 0.15 * place(engine) * place(engine));
    const double colour[3] = {160 * place(engine) - 80, 160 * place(engine) - 80, 160 * place(engine) - 80};
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x)
        if (std::hypot(x - cx, y - cy) < radius)
          for (int c = 0; c < 3; ++c) values[static_cast<std::size_t>((y * side + x) * 3 + c)] += colour[c];
  }
  std::vector<std::uint8_t> rgb;
  for (const double value : values) rgb.push_back(static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0)));
  return Image(side, side, std::move(rgb));
}

Image with_noise(const Image& image, int levels) {
  std::mt19937_64 engine(9);
  std::vector<std::uint8_t> rgb(image.rgb().begin(), image.rgb().end());
  for (auto& value : rgb)
    value = static_cast<std::uint8_t>(
        std::clamp(value + static_cast<int>(engine() % (2 * static_cast<unsigned>(levels) + 1)) - levels, 0, 255));
  return Image(image.width_px(), image.height_px(), std::move(rgb));
}

std::vector<std::vector<std::size_t>> groups(const std::vector<Image>& images) {
  std::vector<Fingerprint> prints;
  for (const auto& image : images) prints.push_back(fingerprint_of(image));
  return same_pictures(prints, [&](std::size_t i) { return images[i]; });
}

/// A scan of 8 x 8 with a margin, ink from 0 to g (16), as models/digits_folder.py enlarges it.
Image digit(std::string_view ink) {
  constexpr int kSide = 10;
  std::vector<std::uint8_t> rgb(std::size_t{kSide} * kSide * 3, 255);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) {
      const char c = ink[static_cast<std::size_t>(y * 8 + x)];
      const int level = c <= '9' ? c - '0' : c - 'a' + 10;
      const auto at = static_cast<std::size_t>((y + 1) * kSide + x + 1) * 3;
      std::fill_n(rgb.begin() + static_cast<std::ptrdiff_t>(at), 3, static_cast<std::uint8_t>(255 - level * 255 / 16));
    }
  }
  return Image(kSide, kSide, std::move(rgb)).resize(64, 64, Interpolation::kBicubic);
}

using Groups = std::vector<std::vector<std::size_t>>;

TEST(Fingerprint, SamePixelsAreTheSamePicture) {
  EXPECT_EQ(groups({scene(1), scene(2), scene(1), scene(3), scene(2), scene(1)}), (Groups{{0, 2, 5}, {1, 4}}));
}

TEST(Fingerprint, ChangedBySizeAndNoiseItStaysTheSame) {
  const auto image = scene(4);
  EXPECT_EQ(
      groups({image, image.resize(120, 120), with_noise(image, 8), image.resize(300, 300, Interpolation::kBicubic)}),
      (Groups{{0, 1, 2, 3}}));
}

TEST(Fingerprint, OfManyDifferentPicturesNoneIsTheSame) {
  std::vector<Image> images;
  for (std::uint64_t seed = 0; seed < 120; ++seed) images.push_back(scene(100 + seed, 64));
  EXPECT_EQ(groups(images), Groups());
}

TEST(Fingerprint, DetailsTellPicturesOfTheSameCoarseShapeApart) {
  // The same bright half, other noise: a form filled in twice.
  const auto form = [](std::uint64_t seed) {
    std::mt19937_64 engine(seed);
    std::vector<std::uint8_t> rgb;
    for (int y = 0; y < 64; ++y)
      for (int x = 0; x < 64; ++x) {
        const auto value = static_cast<std::uint8_t>((x < 32 ? 60 : 180) + engine() % 40);
        rgb.insert(rgb.end(), {value, value, value});
      }
    return Image(64, 64, std::move(rgb));
  };
  EXPECT_FALSE(shows_the_same(form(1), form(2)));
  EXPECT_TRUE(shows_the_same(form(1), form(1)));
  EXPECT_EQ(groups({form(1), form(2), form(3)}), Groups());
}

TEST(Fingerprint, SignsOnPaperThatLookAlikeAreNotTheSame) {
  // Those of scikit-learn's handwritten digits that are nearest to each other, each by another hand.
  const std::vector<std::pair<Image, Image>> alike = {
      {digit("005e000000c9000000f3000001g0000001g2740003gggg9000ff4ag0004egc70"),
       digit("003e300000dd000000g7000005g3000003g7420004gggg7001ef4bf0005egc60")},
      {digit("00099000003f400000ac000000c8430000egce5000ca04d0009b06g10008ef80"),
       digit("0009d000003f400000cb000000gb840000fg8c5000ed01f1008c04g20008cda1")},
      {digit("002c100000bc000002g4000006gaa50005gfce6004g308c000e94bd0003egc30"),
       digit("002d000000cc000002g2000004e8720008fcdf2002f107b000d85d90002dgb10")},
      {digit("0001f900000af300009g536005g80cd00ce48g900cgggg000042eb000001g900"),
       digit("0001c600000bf200008g612004g91f900df6ag600cgggg100174ed000000e900")}};
  std::vector<Image> all;
  for (const auto& [a, b] : alike) {
    EXPECT_FALSE(shows_the_same(a, b));
    EXPECT_TRUE(shows_the_same(a, with_noise(a, 3)));
    all.insert(all.end(), {a, b});
  }
  EXPECT_EQ(groups(all), Groups());
  all.push_back(with_noise(all[0], 3));
  EXPECT_EQ(groups(all), (Groups{{0, 8}}));
}

TEST(Fingerprint, TurnedColoursAreAnotherPicture) {
  const auto image = scene(5);
  std::vector<std::uint8_t> rgb(image.rgb().begin(), image.rgb().end());
  for (std::size_t at = 0; at < rgb.size(); at += 3) std::swap(rgb[at], rgb[at + 2]);
  EXPECT_FALSE(shows_the_same(image, Image(image.width_px(), image.height_px(), std::move(rgb))));
}

TEST(Fingerprint, PicturesWithoutDetailAreTheSameByPixelsAlone) {
  const auto field = [](std::uint8_t value) { return Image(40, 40, std::vector<std::uint8_t>(40 * 40 * 3, value)); };
  EXPECT_EQ(groups({field(100), field(101), field(100)}), (Groups{{0, 2}}));
}

}  // namespace
}  // namespace graft::data
