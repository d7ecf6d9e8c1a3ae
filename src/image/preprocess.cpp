#include <graft/preprocess.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <graft/error.h>

#include "base/check.h"
#include "base/text.h"
#include "image/keras_transform.h"
#include "image/operations.h"
#include "image/pipeline.h"
#include "image/resample.h"
#include "image/tensor_transform.h"
#include "image/torchvision_transform.h"

namespace graft {

std::string_view to_string(ChannelOrder order) noexcept { return order == ChannelOrder::kBgr ? "bgr" : "rgb"; }

ChannelOrder parse_channel_order(std::string_view text) {
  if (text == "rgb") return ChannelOrder::kRgb;
  if (text == "bgr") return ChannelOrder::kBgr;
  base::refuse("channels", "rgb or bgr", "\"" + std::string(text) + "\"");
}

Preprocessing Preprocessing::torch_mode(int resize_shorter_px, int crop_px) {
  Preprocessing p;
  p.resize_shorter_px = resize_shorter_px;
  p.crop_height_px = p.crop_width_px = crop_px;
  return p;
}

Preprocessing Preprocessing::rescale_mode(int size_px) {
  Preprocessing p;
  p.resize_shorter_px.reset();
  p.crop_height_px = p.crop_width_px = size_px;
  p.interpolation = Interpolation::kNearest;
  p.mean = {0, 0, 0};
  p.std = {1, 1, 1};
  return p;
}

Preprocessing Preprocessing::caffe_mode(int size_px) {
  Preprocessing p = rescale_mode(size_px);
  p.channels = ChannelOrder::kBgr;
  p.scale = 1;
  p.mean = {103.939, 116.779, 123.68};
  return p;
}

Preprocessing Preprocessing::tf_mode(int size_px) {
  Preprocessing p = rescale_mode(size_px);
  p.scale = 1 / 127.5;
  p.mean = {1, 1, 1};
  return p;
}

Preprocessing Preprocessing::vgg_features() {
  Preprocessing p;
  p.mean = {0.48235, 0.45882, 0.40784};
  p.std = {1 / 255.0, 1 / 255.0, 1 / 255.0};
  return p;
}

Preprocessing Preprocessing::by_name(std::string_view name) {
  if (name == "torch") return torch_mode();
  if (name == "torch_232") return torch_mode(232);
  if (name == "caffe") return caffe_mode();
  if (name == "tf") return tf_mode();
  if (name == "vgg_features") return vgg_features();
  if (name == "rescale") return rescale_mode();
  base::refuse("preprocessing", "torch, torch_232, caffe, tf, vgg_features or rescale",
               "\"" + std::string(name) + "\"");
}

namespace {

[[noreturn]] void refuse(const std::string& key, const std::string& expected, const std::string& found) {
  base::refuse("preprocessing: " + key, expected, "\"" + found + "\"");
}

int parse_px(const std::string& value, const std::string& key) {
  const auto px = base::parse_integer(value, "preprocessing " + key);
  if (px < 1 || px > 1'000'000) refuse(key, "a size in pixels", value);
  return static_cast<int>(px);
}

std::array<double, 3> parse_channels(const std::string& value, const std::string& key) {
  const auto parts = base::split(value, ':');
  if (parts.size() != 3) refuse(key, "three numbers, one for each channel", value);
  std::array<double, 3> numbers{};
  for (std::size_t c = 0; c < 3; ++c) numbers[c] = base::parse_number(parts[c], "preprocessing " + key);
  return numbers;
}

void set(Preprocessing& p, const std::string& key, const std::string& value) {
  if (key == "resize") {
    p.resize_shorter_px = value == "none" ? std::nullopt : std::optional(parse_px(value, key));
  } else if (key == "crop") {
    const auto times = value.find('x');
    p.crop_width_px = parse_px(value.substr(0, times), key);
    p.crop_height_px = times == std::string::npos ? p.crop_width_px : parse_px(value.substr(times + 1), key);
  } else if (key == "interpolation") {
    p.interpolation = parse_interpolation(value);
  } else if (key == "channels") {
    p.channels = parse_channel_order(value);
  } else if (key == "scale") {
    p.scale = base::parse_number(value, "preprocessing scale");
  } else if (key == "mean") {
    p.mean = parse_channels(value, key);
  } else if (key == "std") {
    p.std = parse_channels(value, key);
  } else {
    refuse("key", "resize, crop, interpolation, channels, scale, mean or std", key);
  }
}

}  // namespace

Preprocessing Preprocessing::parse(std::string_view text) {
  const auto parts = base::split(text, ',');
  Preprocessing p = by_name(parts.empty() ? "" : parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto equals = parts[i].find('=');
    if (equals == std::string::npos) refuse("key", "KEY=VALUE", parts[i]);
    set(p, parts[i].substr(0, equals), parts[i].substr(equals + 1));
  }
  p.validate();
  return p;
}

void Preprocessing::validate() const {
  constexpr int kMostPx = 16'384;
  const auto check = [](bool fine, const char* field, const char* expected, double found) {
    base::require(fine, std::string("preprocessing: ") + field, expected, found);
  };
  const auto size = [&](const char* field, int px) { check(px >= 1 && px <= kMostPx, field, "1 to 16384", px); };
  size("crop_height_px", crop_height_px);
  size("crop_width_px", crop_width_px);
  if (resize_shorter_px) {
    size("resize_shorter_px", *resize_shorter_px);
    // Every picture must be large enough for the crop, also a square one.
    check(crop_height_px <= *resize_shorter_px, "crop_height_px", "at most resize_shorter_px", crop_height_px);
    check(crop_width_px <= *resize_shorter_px, "crop_width_px", "at most resize_shorter_px", crop_width_px);
  }
  check(std::isfinite(scale) && scale != 0, "scale", "a finite number other than 0", scale);
  for (std::size_t c = 0; c < 3; ++c) {
    check(std::isfinite(mean[c]), "mean", "a finite number", mean[c]);
    check(std::isfinite(std[c]) && std[c] > 0, "std", "a finite number above 0", std[c]);
  }
}

std::optional<ReducedSize> Preprocessing::reduced_size() const {
  // Pillow's thumbnail() takes the same margin (reducing_gap = 2).
  constexpr int kMargin = 2;
  if (interpolation == Interpolation::kNearest) return std::nullopt;
  return ReducedSize{kMargin * resize_shorter_px.value_or(crop_width_px),
                     kMargin * resize_shorter_px.value_or(crop_height_px)};
}

namespace image {

namespace {

/// The size to which a picture is resized, and the part of that which is kept.
struct Fit {
  int width, height;
  Window kept;
};

Fit fit(const Image& image, const Preprocessing& p) {
  if (image.empty()) throw Error(ErrorCode::kConfig, "expected a picture, found an empty image");
  if (!p.resize_shorter_px) return {p.crop_width_px, p.crop_height_px, {0, 0, p.crop_width_px, p.crop_height_px}};
  const auto [width, height] = shorter_side_to(image, *p.resize_shorter_px);
  return {width, height, center_window(width, height, p.crop_width_px, p.crop_height_px)};
}

/// Resized and cropped: [crop_height, crop_width, 3], of which only the crop is computed.
Image fitted(const Image& image, const Preprocessing& p) {
  const auto [width, height, kept] = fit(image, p);
  return resample(image, width, height, p.interpolation, kept);
}

/// In float32 and in torchvision's order of operations: to_tensor scales, Normalize subtracts and divides.
float normalised(float value, const Preprocessing& p, std::size_t channel) {
  // Division by 255 and multiplication by its inverse differ in the last bit; torchvision divides.
  const auto divisor = static_cast<float>(1 / p.scale);
  return (value / divisor - static_cast<float>(p.mean[channel])) / static_cast<float>(p.std[channel]);
}

/// Values 0..255, RGB, to normalised ones in the network's order.
void normalise(std::span<const float> pixels, const Preprocessing& p, float* out) {
  for (std::size_t c = 0; c < 3; ++c) {
    const std::size_t channel = p.channels == ChannelOrder::kBgr ? 2 - c : c;
    for (std::size_t i = 0; i < pixels.size(); i += 3) out[i + c] = normalised(pixels[i + channel], p, c);
  }
}

/// A byte has 256 values: each is computed once.
void normalise(std::span<const std::uint8_t> pixels, const Preprocessing& p, float* out) {
  std::array<std::array<float, 256>, 3> tables;
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t value = 0; value < 256; ++value) tables[c][value] = normalised(static_cast<float>(value), p, c);
  const std::size_t first = p.channels == ChannelOrder::kBgr ? 2 : 0;
  for (std::size_t i = 0; i < pixels.size(); i += 3) {
    out[i] = tables[0][pixels[i + first]];
    out[i + 1] = tables[1][pixels[i + 1]];
    out[i + 2] = tables[2][pixels[i + 2 - first]];
  }
}

void normalise(const Values& values, const Preprocessing& p, float* out) {
  if (const auto* bytes = std::get_if<Image>(&values)) return normalise(bytes->rgb(), p, out);
  normalise(std::span<const float>(std::get<std::vector<float>>(values)), p, out);
}

Image rounded(Values values, const Preprocessing& p) {
  if (auto* bytes = std::get_if<Image>(&values)) return std::move(*bytes);
  const auto& floats = std::get<std::vector<float>>(values);
  std::vector<std::uint8_t> bytes(floats.size());
  std::transform(floats.begin(), floats.end(), bytes.begin(),
                 [](float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f); });
  return Image(p.crop_width_px, p.crop_height_px, std::move(bytes));
}

/// A picture with all its changes but the erasing, which comes after normalisation.
struct Changed {
  Values values;
  std::optional<Window> erased;
};

/// The part of it that the network is to see, in its size.
Image seen(const Image& image, const Preprocessing& p, const TorchvisionDraw& drawn) {
  if (drawn.crop) return crop(image, *drawn.crop).resize(p.crop_width_px, p.crop_height_px, p.interpolation);
  return fitted(image, p);
}

TorchvisionDraw torchvision_draw(const Image& image, const Preprocessing& p, const Augment& augment, DrawKey key) {
  if (image.empty()) throw Error(ErrorCode::kConfig, "expected a picture, found an empty image");
  return draw_torchvision(augment, key, image.width_px(), image.height_px(), p.crop_width_px, p.crop_height_px);
}

Image applied(const TorchvisionDraw& drawn, Image image) {
  for (const auto& [operation, parameter] : drawn.operations) image = apply(image, operation, parameter);
  return image;
}

Changed change(const Image& image, const Preprocessing& p, const Augment& augment, DrawKey key) {
  const auto later = torchvision_draw(image, p, augment, key);
  const Image pixels = seen(image, p, later);
  auto values = apply(pixels, draw(augment, key, pixels.width_px(), pixels.height_px()), augment);
  if (!later.operations.empty()) values = applied(later, rounded(std::move(values), p));
  return {std::move(values), later.erased};
}

template <class Value>
void check_out(const Preprocessing& p, std::span<Value> out) {
  const auto expected =
      std::size_t{3} * static_cast<std::size_t>(p.crop_height_px) * static_cast<std::size_t>(p.crop_width_px);
  if (out.size() != expected) throw Error(ErrorCode::kInternal, "preprocessing: output of another size");
}

}  // namespace

Region seen_region(const Image& image, const Preprocessing& p) {
  const auto [width, height, kept] = fit(image, p);
  const double across = image.filled_width_px() / width, down = image.filled_height_px() / height;
  return {kept.left * across, kept.top * down, kept.width * across, kept.height * down};
}

void to_input(const Image& image, const Preprocessing& p, std::span<float> out) {
  check_out(p, out);
  const Image pixels = fitted(image, p);
  normalise(pixels.rgb(), p, out.data());
}

void to_pixels(const Image& image, const Preprocessing& p, std::span<std::uint8_t> out) {
  check_out(p, out);
  std::ranges::copy(fitted(image, p).rgb(), out.begin());
}

void to_input(const Image& image, const Preprocessing& p, const Augment& augment, DrawKey key, std::span<float> out) {
  if (!augment.enabled()) return to_input(image, p, out);
  check_out(p, out);
  const auto [values, erased] = change(image, p, augment, key);
  normalise(values, p, out.data());
  if (erased) fill(out, p.crop_width_px, *erased, 0.0f);
}

bool can_be_split(const Augment& a) {
  const bool operates = a.random_rotation_deg != 0 || a.trivial_augment || a.color_jitter;
  Augment flips_alone = a;
  flips_alone.rotation_deg = flips_alone.width_shift = flips_alone.height_shift = flips_alone.shear_deg =
      flips_alone.zoom = flips_alone.channel_shift = 0;
  flips_alone.brightness.reset();
  return !operates || flips_alone == a;
}

LaterChanges begin_changes(const Image& image, const Preprocessing& p, const Augment& augment, DrawKey key,
                           std::span<std::uint8_t> out) {
  check_out(p, out);
  const auto drawn = torchvision_draw(image, p, augment, key);
  LaterChanges later{draw(augment, key, p.crop_width_px, p.crop_height_px), drawn.erased};
  auto pixels = seen(image, p, drawn);
  if (!drawn.operations.empty()) {  // which come after the flips
    pixels = applied(drawn, flip(pixels, later.draw.horizontal_flip, later.draw.vertical_flip));
    later.draw.horizontal_flip = later.draw.vertical_flip = false;
  }
  std::ranges::copy(pixels.rgb(), out.begin());
  return later;
}

Image changed(const Image& image, const Preprocessing& p, const Augment& augment, DrawKey key) {
  auto [values, erased] = change(image, p, augment, key);
  Image picture = rounded(std::move(values), p);
  if (!erased) return picture;
  std::vector<std::uint8_t> bytes(picture.rgb().begin(), picture.rgb().end());
  fill(std::span(bytes), p.crop_width_px, *erased, std::uint8_t{128});
  return Image(p.crop_width_px, p.crop_height_px, std::move(bytes));
}

}  // namespace image
}  // namespace graft
