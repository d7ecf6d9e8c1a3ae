/// How a picture becomes the network's input. Travels inside the model file, so that a model is never fed with the
/// pixels of another.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include <graft/export.h>
#include <graft/image.h>

namespace graft {

/// In which order the network expects the colours.
enum class ChannelOrder { kRgb, kBgr };

/// "rgb", "bgr".
GRAFT_EXPORT std::string_view to_string(ChannelOrder order) noexcept;
/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT ChannelOrder parse_channel_order(std::string_view text);

/// Geometry on 8-bit pixels first, then per channel, in `channels` order: (pixel * scale - mean) / std, as float32,
/// laid out [3, crop_height_px, crop_width_px].
struct GRAFT_EXPORT Preprocessing {
  /// Shorter side to this, then a centre crop (torchvision). Without a value the picture is stretched to the crop size
  /// directly (Keras' load_img(target_size=...)).
  std::optional<int> resize_shorter_px = 256;
  int crop_height_px = 224;
  int crop_width_px = 224;
  Interpolation interpolation = Interpolation::kBilinear;

  ChannelOrder channels = ChannelOrder::kRgb;
  double scale = 1.0 / 255.0;
  std::array<double, 3> mean = {0.485, 0.456, 0.406};
  std::array<double, 3> std = {0.229, 0.224, 0.225};

  /// torchvision's IMAGENET1K_V1 sets (shorter side 256, bilinear, crop 224). V2 of ResNet50: torch_mode(232).
  static Preprocessing torch_mode(int resize_shorter_px = 256, int crop_px = 224);
  /// Keras' VGG16 and ResNet50: stretched with nearest, BGR, mean 103.939 / 116.779 / 123.68, no scaling.
  static Preprocessing caffe_mode(int size_px = 224);
  /// Keras' "tf" mode: stretched with nearest, RGB, x / 127.5 - 1.
  static Preprocessing tf_mode(int size_px = 224);
  /// torchvision's VGG16 IMAGENET1K_FEATURES: mean .48235 .45882 .40784, std 1/255.
  static Preprocessing vgg_features();
  /// Pixels times 1/255, nothing else; stretched with nearest (the tutorial's ImageDataGenerator(rescale=1./255)).
  static Preprocessing rescale_mode(int size_px = 224);

  /// By name: "torch", "torch_232", "caffe", "tf", "vgg_features", "rescale". Throws Error kConfig for any other.
  static Preprocessing by_name(std::string_view name);

  /// A name with changes behind it: "torch,resize=248,interpolation=bicubic",
  /// "rescale,mean=0.5:0.5:0.5,std=0.5:0.5:0.5". Keys: resize (shorter side, or none: stretched), crop (one side, or
  /// WIDTHxHEIGHT), interpolation, channels (rgb, bgr), scale, mean, std. Throws Error kConfig naming what was found
  /// for unknown names and keys, wrong counts and bad values.
  static Preprocessing parse(std::string_view text);

  /// Throws Error kConfig that names the field and the value found: sizes below 1, crop larger than the resized side,
  /// std of zero, values that are not finite.
  void validate() const;

  /// For DecodeOptions::reduced: twice what a picture is resized to, so that most of the shrinking is left to the
  /// resizing. Nothing for nearest, which picks single pixels. Not for training with a random resized crop, which
  /// resizes parts.
  std::optional<ReducedSize> reduced_size() const;

  bool operator==(const Preprocessing&) const = default;
};

}  // namespace graft
