/// From a decoded picture to the network's input.
#pragma once

#include <cstdint>
#include <span>

#include <graft/augment.h>
#include <graft/image.h>
#include <graft/preprocess.h>

#include "base/uniform.h"

namespace graft::image {

/// Whose random changes these are: the draws depend on this alone.
using base::DrawKey;

/// A part of a picture, in its pixels.
struct Region {
  double left_px, top_px, width_px, height_px;
};

/// What of the picture becomes the network's input.
Region seen_region(const Image& image, const Preprocessing& preprocessing);

/// Geometry and normalisation into `out`: [crop_height_px, crop_width_px, 3], one picture of a channels-last batch.
void to_input(const Image& image, const Preprocessing& preprocessing, std::span<float> out);
void to_input(const Image& image, const Preprocessing& preprocessing, const Augment& augment, DrawKey key,
              std::span<float> out);

/// Geometry alone, without augmentation: RGB, [crop_height_px, crop_width_px, 3].
void to_pixels(const Image& image, const Preprocessing& preprocessing, std::span<std::uint8_t> out);

/// to_input() before normalisation, as a picture; erased parts are grey.
Image changed(const Image& image, const Preprocessing& preprocessing, const Augment& augment, DrawKey key);

}  // namespace graft::image
