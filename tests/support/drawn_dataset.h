/// A data set of pictures made on the spot: class c is a field of its own colour with noise of its own for each
/// example.
#pragma once

#include <random>
#include <set>
#include <string>
#include <vector>

#include <graft/dataset.h>

namespace graft::testing {

class DrawnDataset : public Dataset {
 public:
  DrawnDataset(std::size_t size, std::size_t classes, int side_px = 32, std::uint64_t seed = 0)
      : size_(size), side_(side_px), seed_(seed) {
    for (std::size_t c = 0; c < classes; ++c) classes_.push_back("class" + std::to_string(c));
  }

  std::size_t size() const override { return size_; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::int64_t label(std::size_t i) const override { return static_cast<std::int64_t>(i % classes_.size()); }
  std::string name(std::size_t i) const override { return "picture " + std::to_string(i); }
  OnBadImage on_bad_image() const override { return policy; }
  const Augment& augment() const override { return changes; }

  Image image(std::size_t i) const override {
    if (bad.contains(i)) throw Error(ErrorCode::kFormat, name(i) + ": planted damage");
    std::mt19937_64 engine(seed_ * 1'000'003 + i);
    std::vector<std::uint8_t> rgb(static_cast<std::size_t>(side_) * static_cast<std::size_t>(side_) * 3);
    const auto c = static_cast<std::size_t>(label(i));
    for (std::size_t at = 0; at < rgb.size(); ++at)
      rgb[at] = static_cast<std::uint8_t>((at % 3 == c % 3 ? 140 : 60) + (c / 3) * 20 + engine() % 60);
    return Image(side_, side_, std::move(rgb));
  }

  OnBadImage policy = OnBadImage::kFail;
  Augment changes;
  std::set<std::size_t> bad;

 private:
  std::size_t size_;
  int side_;
  std::uint64_t seed_;
  std::vector<std::string> classes_;
};

}  // namespace graft::testing
