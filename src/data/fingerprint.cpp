// The hash: signs of the lowest frequencies of the cosine transform about their median (Zauner 2010, "Implementation
// and Benchmarking of Perceptual Image Hash Functions", section 3.2.1).
#include "data/fingerprint.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <numbers>
#include <unordered_map>

#include "base/sha256.h"

namespace graft::data {

namespace {

constexpr std::size_t kSide = 32;   ///< of the picture that is transformed
constexpr std::size_t kLowest = 8;  ///< frequencies in each direction
constexpr int kBands = 4;           ///< of a hash; of two that differ in kMostBits bits, one band at least is the same
constexpr int kBandBits = 64 / kBands;
/// Of 597 photos (ants, bees, ImageNet's classes) no two are nearer than 14 bits; as JPEG of quality 20 to 90, or at a
/// third of its size, one is 0 or 2 bits from itself, once 4.
constexpr int kMostBits = kBands - 1;

constexpr int kDetailSide = 64, kDetailBlock = 8;
/// Correlation of what is left without each block's mean colour. Of the same photos compressed or scaled as above it is
/// 0.89 or more, of two different ones 0.69 at most.
constexpr double kSameDetail = 0.85;
/// Levels of 255 below which there is nothing but noise to compare; photos have 7 and more.
constexpr double kLeastDetail = 1;
/// A block with a standard deviation of so many levels shows something, and a picture with fewer such blocks is plain:
/// a sign on paper. Of the photos 95 % have more, of scikit-learn's handwritten digits none has.
constexpr double kBlockDetail = 3, kPlain = 0.75;
/// Two plain pictures of different things may correlate (of those digits to 0.98), and differ by 12.8 levels (root mean
/// square) at least. Plain photos compressed or scaled as above differ by 3.48 at most from themselves.
constexpr double kNearlyEqual = 3.5;

std::uint64_t hash_of(const Image& image) {
  const auto small = image.resize(kSide, kSide);
  std::array<double, kLowest * kSide> basis{};
  for (std::size_t k = 0; k < kLowest; ++k)
    for (std::size_t x = 0; x < kSide; ++x)
      basis[k * kSide + x] = std::cos(std::numbers::pi * static_cast<double>(k * (2 * x + 1)) / (2.0 * kSide));
  std::array<double, kSide * kLowest> rows{};
  for (std::size_t y = 0; y < kSide; ++y) {
    for (std::size_t x = 0; x < kSide; ++x) {
      const auto* rgb = small.rgb().data() + (y * kSide + x) * 3;
      const double luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
      for (std::size_t k = 0; k < kLowest; ++k) rows[y * kLowest + k] += luma * basis[k * kSide + x];
    }
  }
  std::array<double, kLowest * kLowest> frequencies{};
  for (std::size_t i = 0; i < kLowest; ++i)
    for (std::size_t k = 0; k < kLowest; ++k)
      for (std::size_t y = 0; y < kSide; ++y)
        frequencies[i * kLowest + k] += rows[y * kLowest + k] * basis[i * kSide + y];
  frequencies[0] = 0;  // brightness
  auto sorted = frequencies;
  std::ranges::sort(sorted);
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < frequencies.size(); ++i)
    if (frequencies[i] > sorted[sorted.size() / 2]) hash |= std::uint64_t{1} << i;
  return hash;
}

std::string hash_of_pixels(const Image& image) {
  return base::Sha256()
      .update(std::to_string(image.width_px()) + "x" + std::to_string(image.height_px()) + "\n")
      .update(std::as_bytes(image.rgb()))
      .hex();
}

/// A picture at the size that details are compared in.
struct Details {
  std::vector<double> colours;  ///< [kDetailSide, kDetailSide, 3]
  std::vector<double> details;  ///< the same without the mean of each block
  bool is_plain = false;
};

Details details_of(const Image& image) {
  constexpr int kBlocks = kDetailSide / kDetailBlock;
  constexpr double kBlockValues = 3 * kDetailBlock * kDetailBlock;
  const auto small = image.resize(kDetailSide, kDetailSide);
  Details found{{small.rgb().begin(), small.rgb().end()}, {}};
  found.details = found.colours;
  int showing = 0;
  const auto at = [](int y, int x, int channel) {
    return static_cast<std::size_t>((y * kDetailSide + x) * 3 + channel);
  };
  for (int top = 0; top < kDetailSide; top += kDetailBlock) {
    for (int left = 0; left < kDetailSide; left += kDetailBlock) {
      double squares = 0;
      for (int channel = 0; channel < 3; ++channel) {
        double sum = 0;
        for (int y = top; y < top + kDetailBlock; ++y)
          for (int x = left; x < left + kDetailBlock; ++x) sum += found.colours[at(y, x, channel)];
        for (int y = top; y < top + kDetailBlock; ++y) {
          for (int x = left; x < left + kDetailBlock; ++x) {
            auto& detail = found.details[at(y, x, channel)];
            detail -= sum / (kDetailBlock * kDetailBlock);
            squares += detail * detail;
          }
        }
      }
      showing += squares >= kBlockDetail * kBlockDetail * kBlockValues ? 1 : 0;
    }
  }
  found.is_plain = showing < kPlain * kBlocks * kBlocks;
  return found;
}

bool nearly_equal(const std::vector<double>& a, const std::vector<double>& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return squares <= kNearlyEqual * kNearlyEqual * static_cast<double>(a.size());
}

}  // namespace

Fingerprint fingerprint_of(const Image& image) { return {hash_of_pixels(image), hash_of(image)}; }

bool shows_the_same(const Image& a, const Image& b) {
  const auto of_a = details_of(a), of_b = details_of(b);
  const auto &x = of_a.details, &y = of_b.details;
  double xx = 0, yy = 0, xy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xx += x[i] * x[i];
    yy += y[i] * y[i];
    xy += x[i] * y[i];
  }
  const double least = kLeastDetail * kLeastDetail * static_cast<double>(x.size());
  if (std::min(xx, yy) < least || xy < kSameDetail * std::sqrt(xx * yy)) return false;
  return !(of_a.is_plain || of_b.is_plain) || nearly_equal(of_a.colours, of_b.colours);
}

std::vector<std::vector<std::size_t>> same_pictures(std::span<const Fingerprint> all,
                                                    const std::function<Image(std::size_t)>& image) {
  std::vector<std::vector<std::size_t>> groups;  // of one, too
  std::unordered_map<std::string, std::size_t> by_pixels;
  std::map<std::pair<int, std::uint64_t>, std::vector<std::size_t>> by_band;  // groups
  const auto band_of = [&](std::size_t i, int band) -> std::vector<std::size_t>& {
    return by_band[{band, (all[i].hash >> (band * kBandBits)) & ((std::uint64_t{1} << kBandBits) - 1)}];
  };
  const auto group_near = [&](std::size_t i) {
    for (int band = 0; band < kBands; ++band) {
      for (const auto group : band_of(i, band)) {
        const auto first = groups[group].front();
        if (std::popcount(all[first].hash ^ all[i].hash) <= kMostBits && shows_the_same(image(first), image(i)))
          return group;
      }
    }
    for (int band = 0; band < kBands; ++band) band_of(i, band).push_back(groups.size());
    return groups.size();
  };
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto [known, is_new] = by_pixels.try_emplace(all[i].pixels, 0);
    if (is_new) known->second = group_near(i);
    if (known->second == groups.size()) groups.emplace_back();
    groups[known->second].push_back(i);
  }
  std::erase_if(groups, [](const auto& group) { return group.size() < 2; });
  return groups;
}

}  // namespace graft::data
