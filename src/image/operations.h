/// Pillow's operations on 8-bit RGB pictures, byte for byte, under the names that torchvision gives them.
#pragma once

#include <array>

#include <graft/image.h>

#include "image/resample.h"

namespace graft::image {

Image crop(const Image& image, const Window& window);
/// Left for right and top for bottom; a copy where neither is asked for.
Image flip(const Image& image, bool horizontally, bool vertically);

// ImageEnhance: 0 is the degenerate picture, 1 the original, above 1 more of it.
Image adjust_brightness(const Image& image, double factor);
Image adjust_contrast(const Image& image, double factor);
Image adjust_saturation(const Image& image, double factor);
Image adjust_sharpness(const Image& image, double factor);
/// `shift` of a full turn, -0.5 to 0.5.
Image adjust_hue(const Image& image, double shift);

/// Keeps the `bits` highest bits, 1 to 8.
Image posterize(const Image& image, int bits);
/// Inverts values of `threshold` and above.
Image solarize(const Image& image, double threshold);
Image autocontrast(const Image& image);
Image equalize(const Image& image);

/// Output (x, y) to input a x + b y + c, d x + e y + f; nearest, black outside.
Image affine_nearest(const Image& image, const std::array<double, 6>& matrix);
/// Counter-clockwise about the centre; nearest, black outside.
Image rotate_nearest(const Image& image, double degrees);

}  // namespace graft::image
