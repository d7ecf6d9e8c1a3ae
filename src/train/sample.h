/// Parts of a data set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <graft/dataset.h>

namespace graft::train {

/// Some examples of a data set, evenly spaced, for a data set is often sorted by class.
class Sample : public Subset {
 public:
  Sample(const Dataset& all, std::size_t size) : Subset(all, spaced(all.size(), std::min(size, all.size()))) {}

 private:
  static std::vector<std::size_t> spaced(std::size_t from, std::size_t count) {
    std::vector<std::size_t> places(count);
    for (std::size_t i = 0; i < count; ++i) places[i] = i * from / count;
    return places;
  }
};

/// Unreadable pictures are left out, whatever the data set wants.
class Readable : public Sample {
 public:
  explicit Readable(const Dataset& all) : Sample(all, all.size()) {}
  OnBadImage on_bad_image() const override { return OnBadImage::kSkip; }
};

}  // namespace graft::train
