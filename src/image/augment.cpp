#include <graft/augment.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <graft/error.h>

#include "base/check.h"
#include "base/text.h"
#include "base/translate.h"
#include "image/pipeline.h"

namespace graft {

namespace {

[[noreturn]] void refuse(const std::string& field, const std::string& expected, const std::string& found) {
  base::refuse("augment: " + field, expected, found);
}

void check(const std::string& field, double value, double least, double most) {
  if (!(value >= least && value <= most))
    refuse(field, base::shortest(least) + " to " + base::shortest(most), base::shortest(value));
}

void check(const std::string& field, const Range& range, double least, double most) {
  check(field, range.low, least, most);
  check(field, range.high, least, most);
  if (range.low > range.high)
    refuse(field, "the lower end first", base::shortest(range.low) + " to " + base::shortest(range.high));
}

/// "0.5", or with several numbers "0.5:1"; each key takes some of these forms.
std::vector<double> numbers(const std::string& value, const std::string& what) {
  std::vector<double> parsed;
  for (const auto& part : base::split(value, ':')) parsed.push_back(base::parse_number(part, what));
  return parsed;
}

/// One key of the text form.
struct Key {
  std::size_t least;  ///< numbers it takes
  std::size_t most;
  std::function<void(Augment&, const std::vector<double>&)> set;
};

Key number(double Augment::* field) {
  return {1, 1, [field](Augment& a, const std::vector<double>& v) { a.*field = v[0]; }};
}
Key flag(bool Augment::* field) {
  return {0, 0, [field](Augment& a, const std::vector<double>&) { a.*field = true; }};
}

const std::map<std::string, Key>& keys() {
  static const std::map<std::string, Key> all{
      {"rotation", number(&Augment::rotation_deg)},
      {"width_shift", number(&Augment::width_shift)},
      {"height_shift", number(&Augment::height_shift)},
      {"shear", number(&Augment::shear_deg)},
      {"zoom", number(&Augment::zoom)},
      {"hflip", flag(&Augment::horizontal_flip)},
      {"vflip", flag(&Augment::vertical_flip)},
      {"channel_shift", number(&Augment::channel_shift)},
      {"brightness", {2, 2, [](Augment& a, const auto& v) { a.brightness = Range{v[0], v[1]}; }}},
      {"crop",
       {0, 2,
        [](Augment& a, const auto& v) {
          a.random_resized_crop.emplace();
          if (v.size() == 2) a.random_resized_crop->scale = {v[0], v[1]};
          if (v.size() == 1) a.random_resized_crop->scale.low = v[0];
        }}},
      {"random_rotation", number(&Augment::random_rotation_deg)},
      {"trivial", flag(&Augment::trivial_augment)},
      {"jitter",
       {1, 4,
        [](Augment& a, const auto& v) {
          const auto at = [&](std::size_t i) { return i < v.size() ? v[i] : 0; };
          a.color_jitter = ColorJitter{at(0), at(1), at(2), at(3)};
        }}},
      {"erase",
       {0, 1,
        [](Augment& a, const auto& v) {
          a.random_erasing.emplace();
          if (!v.empty()) a.random_erasing->probability = v[0];
        }}},
  };
  return all;
}

FillMode parse_fill(const std::string& value) {
  if (value == "nearest") return FillMode::kNearest;
  if (value == "constant") return FillMode::kConstant;
  if (value == "reflect") return FillMode::kReflect;
  if (value == "wrap") return FillMode::kWrap;
  refuse("fill", "nearest, constant, reflect or wrap", "\"" + value + "\"");
}

std::string known_keys() {
  std::string text = "fill";
  for (const auto& [name, key] : keys()) text += ", " + name;
  return text;
}

}  // namespace

bool Augment::enabled() const noexcept {
  return rotation_deg != 0 || width_shift != 0 || height_shift != 0 || shear_deg != 0 || zoom != 0 || horizontal_flip ||
         vertical_flip || channel_shift != 0 || brightness || random_resized_crop || random_rotation_deg != 0 ||
         trivial_augment || color_jitter || random_erasing;
}

void Augment::validate() const {
  constexpr double kMostPx = 16'384;
  check("rotation_deg", rotation_deg, 0, 180);
  check("width_shift", width_shift, 0, kMostPx);
  check("height_shift", height_shift, 0, kMostPx);
  check("shear_deg", shear_deg, 0, 89);
  check("zoom", zoom, 0, 0.99);
  check("fill_value", fill_value, 0, 255);
  check("channel_shift", channel_shift, 0, 255);
  if (brightness) check("brightness", *brightness, 0, 100);
  if (random_resized_crop) {
    check("random_resized_crop.scale", random_resized_crop->scale, 1e-4, 1);
    check("random_resized_crop.ratio", random_resized_crop->ratio, 0.01, 100);
  }
  check("random_rotation_deg", random_rotation_deg, 0, 180);
  if (color_jitter) {
    check("color_jitter.brightness", color_jitter->brightness, 0, 100);
    check("color_jitter.contrast", color_jitter->contrast, 0, 100);
    check("color_jitter.saturation", color_jitter->saturation, 0, 100);
    check("color_jitter.hue", color_jitter->hue, 0, 0.5);
  }
  if (random_erasing) {
    check("random_erasing.probability", random_erasing->probability, 0, 1);
    check("random_erasing.scale", random_erasing->scale, 1e-4, 1);
    check("random_erasing.ratio", random_erasing->ratio, 0.01, 100);
  }
}

Augment Augment::parse(std::string_view text) {
  Augment augment;
  std::set<std::string> seen;
  for (const auto& part : base::split(text, ',')) {
    const auto equals = part.find('=');
    const std::string name = part.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : part.substr(equals + 1);
    if (!seen.insert(name).second) throw Error(ErrorCode::kConfig, "augment: \"" + name + "\" is given twice");
    if (name == "fill") {
      augment.fill_mode = parse_fill(value);
      continue;
    }
    const auto key = keys().find(name);
    if (key == keys().end())
      throw Error(ErrorCode::kConfig, "augment: expected " + known_keys() + ", found \"" + part + "\"");
    const auto given = numbers(value, "augment " + name);
    if (given.size() < key->second.least || given.size() > key->second.most ||
        (equals != std::string::npos && given.empty()))
      refuse(name, std::to_string(key->second.least) + " to " + std::to_string(key->second.most) + " numbers",
             "\"" + part + "\"");
    key->second.set(augment, given);
  }
  augment.validate();
  return augment;
}

Image augmented(const Image& image, const Preprocessing& preprocessing, const Augment& augment, std::uint64_t seed,
                std::uint64_t epoch, std::uint64_t index) {
  return base::translated("augmenting", [&] {
    preprocessing.validate();
    augment.validate();
    return image::changed(image, preprocessing, augment, {seed, epoch, index});
  });
}

}  // namespace graft
