/// Resizing of 8-bit RGB pixels as PIL does it.
#pragma once

#include <utility>

#include <graft/image.h>

namespace graft::image {

/// The part of a resized picture that is wanted, in the resized picture's pixels.
struct Window {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;
};

/// Width and height with the shorter side `size_px` and the longer one truncated, as torchvision's Resize(int).
std::pair<int, int> shorter_side_to(const Image& image, int size_px);

/// The middle `crop_width` x `crop_height`; offsets rounded half to even, as torchvision's CenterCrop.
/// Throws Error kConfig if the crop is larger.
Window center_window(int width_px, int height_px, int crop_width_px, int crop_height_px);

/// `image`, as far as it is filled, resized to width_px x height_px, of which only `window` is computed.
/// Bilinear and bicubic equal Image.resize of Pillow 13 (src/libImaging/Resample.c: two passes in 22-bit fixed point,
/// support widened by the scale when shrinking; the filled part is its `box`), nearest its affine transform
/// (Geometry.c). Older Pillow never begins with the columns: docs/preprocessing.md.
Image resample(const Image& image, int width_px, int height_px, Interpolation interpolation, const Window& window);

}  // namespace graft::image
