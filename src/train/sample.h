/// A part of a data set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <graft/dataset.h>

namespace graft::train {

/// Some examples of a data set, evenly spaced, for a data set is often sorted by class.
class Sample : public Dataset {
 public:
  Sample(const Dataset& all, std::size_t size) : all_(all), size_(std::min(size, all.size())) {}
  std::size_t size() const override { return size_; }
  const std::vector<std::string>& classes() const override { return all_.classes(); }
  std::int64_t label(std::size_t i) const override { return all_.label(place(i)); }
  std::vector<float> targets(std::size_t i) const override { return all_.targets(place(i)); }
  Image image(std::size_t i) const override { return all_.image(place(i)); }
  std::string text(std::size_t i) const override { return all_.text(place(i)); }
  std::string content_id(std::size_t i) const override { return all_.content_id(place(i)); }
  std::string name(std::size_t i) const override { return all_.name(place(i)); }
  OnBadImage on_bad_image() const override { return all_.on_bad_image(); }

 private:
  std::size_t place(std::size_t i) const { return i * all_.size() / size_; }
  const Dataset& all_;
  std::size_t size_;
};

/// Unreadable pictures are left out, whatever the data set wants.
class Readable : public Sample {
 public:
  explicit Readable(const Dataset& all) : Sample(all, all.size()) {}
  OnBadImage on_bad_image() const override { return OnBadImage::kSkip; }
};

}  // namespace graft::train
