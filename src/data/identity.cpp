#include "data/identity.h"

#include <limits>
#include <locale>
#include <optional>
#include <sstream>

namespace graft::data {

namespace {

/// Values one after the other, each with a separator behind it.
class Words {
 public:
  Words() {
    out_.exceptions(std::ios::badbit);  // a lack of memory is thrown on, not kept to itself
    out_.imbue(std::locale::classic());
    out_.precision(std::numeric_limits<double>::max_digits10);
  }
  template <class... Values>
  Words& add(const Values&... values) {
    (one(values), ...);
    return *this;
  }
  std::string str() const { return out_.str(); }

 private:
  template <class Number>
  void one(Number value) {
    out_ << value << ' ';
  }
  void one(FillMode mode) { one(static_cast<int>(mode)); }
  void one(const Range& range) { add(range.low, range.high); }
  void one(const ReducedSize& size) { add(size.min_width_px, size.min_height_px); }
  void one(const RandomResizedCrop& crop) { add(crop.scale, crop.ratio); }
  void one(const ColorJitter& j) { add(j.brightness, j.contrast, j.saturation, j.hue); }
  void one(const RandomErasing& e) { add(e.probability, e.scale, e.ratio); }
  template <class Value>
  void one(const std::optional<Value>& value) {
    one(value.has_value());
    if (value) one(*value);
  }

  std::ostringstream out_;
};

}  // namespace

// Structured bindings name every field: one that is added does not compile until it is part of the text.

std::string to_text(const DecodeOptions& options) {
  const auto& [max_pixels, max_side, max_bytes, max_scans, reduced] = options;
  return Words().add(max_pixels, max_side, max_bytes, max_scans, reduced).str();
}

std::string to_text(const Augment& augment) {
  const auto& [rotation, width_shift, height_shift, shear, zoom, horizontal_flip, vertical_flip, fill_mode, fill_value,
               channel_shift, brightness, crop, random_rotation, trivial, jitter, erasing] = augment;
  return Words()
      .add(rotation, width_shift, height_shift, shear, zoom, horizontal_flip, vertical_flip, fill_mode, fill_value,
           channel_shift, brightness, crop, random_rotation, trivial, jitter, erasing)
      .str();
}

}  // namespace graft::data
