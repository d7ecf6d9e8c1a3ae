/// Random changes to training pictures, drawn anew for every picture and epoch.
/// Semantics are those of Keras' ImageDataGenerator (keras/src/legacy/preprocessing/image.py): the draws, their order,
/// and one affine map (bilinear, about the centre) for everything geometric. It is applied after resize and crop,
/// on values 0..255, before normalisation.
/// Thread-safety: values; safe everywhere.
#pragma once

#include <string_view>

#include <graft/export.h>

namespace graft {

/// What is seen where the map reaches outside the picture: Keras' fill_mode.
enum class FillMode { kNearest, kConstant, kReflect, kWrap };

/// All off by default. The draws depend on the seed, the epoch and the picture's index alone, never on thread counts.
struct GRAFT_EXPORT Augment {
  double rotation_deg = 0;  ///< angle from U(-r, r), in degrees
  double width_shift = 0;   ///< fraction of the width, from U(-s, s)
  double height_shift = 0;  ///< fraction of the height, from U(-s, s)
  double shear_deg = 0;     ///< shear angle from U(-s, s), in degrees (as Keras means it: 0.2 is a fifth of a degree)
  double zoom = 0;          ///< both factors from U(1 - z, 1 + z), drawn independently; above 1 zooms out
  bool horizontal_flip = false;  ///< with probability one half
  bool vertical_flip = false;    ///< with probability one half
  FillMode fill_mode = FillMode::kNearest;
  double fill_value = 0;  ///< for kConstant, 0..255

  /// True if any change can happen.
  bool enabled() const noexcept;

  /// Throws Error kConfig naming the field and the value: negative, not finite, zoom of 1 or more, shifts above 1.
  void validate() const;

  /// "shear=0.2,zoom=0.2,hflip" (keys: rotation, width_shift, height_shift, shear, zoom, hflip, vflip, fill).
  /// Throws Error kConfig for an unknown or repeated key or a bad number.
  static Augment parse(std::string_view text);

  bool operator==(const Augment&) const = default;
};

}  // namespace graft
