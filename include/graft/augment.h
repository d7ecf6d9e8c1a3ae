/// Random changes to training pictures, drawn anew for every picture and epoch.
///
/// Two sets that may be combined. Keras': the semantics of ImageDataGenerator
/// (keras/src/legacy/preprocessing/image.py), one affine map (bilinear, about the centre) for everything geometric.
/// torchvision's: its transforms on PIL images, equal to Pillow pixel by pixel. The order: crop or resize, Keras' map,
/// channel shift, flips, brightness, torchvision's rotation, TrivialAugment, colour jitter, normalisation, erasing.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <graft/export.h>
#include <graft/image.h>
#include <graft/preprocess.h>

namespace graft {

/// What is seen where Keras' map reaches outside the picture: its fill_mode.
enum class FillMode { kNearest, kConstant, kReflect, kWrap };

/// From low to high.
struct Range {
  double low = 1;
  double high = 1;
  bool operator==(const Range&) const = default;
};

/// A random part of the picture, resized to the network's input; instead of the preprocessing's resize and crop.
struct RandomResizedCrop {
  Range scale = {0.08, 1.0};             ///< of the picture's area
  Range ratio = {3.0 / 4.0, 4.0 / 3.0};  ///< width to height, drawn on a logarithmic scale
  bool operator==(const RandomResizedCrop&) const = default;
};

/// Factors from U(max(0, 1 - x), 1 + x); the four in random order.
struct ColorJitter {
  double brightness = 0;
  double contrast = 0;
  double saturation = 0;
  double hue = 0;  ///< shift from U(-h, h) of a full turn; at most 0.5
  bool operator==(const ColorJitter&) const = default;
};

/// A random rectangle of the network's input becomes 0, after normalisation (Zhong et al. 2017, arXiv:1708.04896).
struct RandomErasing {
  double probability = 0.5;
  Range scale = {0.02, 0.33};  ///< of the input's area
  Range ratio = {0.3, 3.3};    ///< height to width, drawn on a logarithmic scale
  bool operator==(const RandomErasing&) const = default;
};

/// All off by default. The draws depend on the seed, the epoch and the picture's index alone, never on thread counts.
struct GRAFT_EXPORT Augment {
  // Keras
  double rotation_deg = 0;  ///< angle from U(-r, r), in degrees
  double width_shift = 0;   ///< from U(-s, s): below 1 a fraction of the width, from 1 on pixels; up or down (!)
  double height_shift = 0;  ///< from U(-s, s): below 1 a fraction of the height, from 1 on pixels; left or right (!)
  double shear_deg = 0;     ///< shear angle from U(-s, s), in degrees (as Keras means it: 0.2 is a fifth of a degree)
  double zoom = 0;          ///< both factors from U(1 - z, 1 + z), drawn independently; above 1 zooms out
  bool horizontal_flip = false;  ///< with probability one half
  bool vertical_flip = false;    ///< with probability one half
  FillMode fill_mode = FillMode::kNearest;
  double fill_value = 0;     ///< for kConstant, 0..255
  double channel_shift = 0;  ///< added to all channels, from U(-s, s), clipped to the picture's own range; 0..255
  std::optional<Range> brightness = {};  ///< factor from U(low, high)

  // torchvision
  std::optional<RandomResizedCrop> random_resized_crop = {};
  double random_rotation_deg = 0;  ///< angle from U(-r, r), in degrees; nearest, black outside
  bool trivial_augment = false;    ///< TrivialAugmentWide (Müller and Hutter 2021, arXiv:2103.10158)
  std::optional<ColorJitter> color_jitter = {};
  std::optional<RandomErasing> random_erasing = {};

  /// True if any change can happen.
  bool enabled() const noexcept;

  /// Throws Error kConfig naming the field and the value: negative, not finite, zoom of 1 or more, probabilities above
  /// 1, ranges the wrong way round.
  void validate() const;

  /// "shear=0.2,zoom=0.2,hflip" (docs/preprocessing.md has the keys).
  /// Throws Error kConfig for an unknown or repeated key or a bad number.
  static Augment parse(std::string_view text);

  bool operator==(const Augment&) const = default;
};

/// What the network sees of `image` as example `index` of epoch `epoch`, before normalisation; erased parts are grey.
/// Throws Error kConfig for options out of range and an empty image.
GRAFT_EXPORT Image augmented(const Image& image, const Preprocessing& preprocessing, const Augment& augment,
                             std::uint64_t seed, std::uint64_t epoch, std::uint64_t index);

}  // namespace graft
