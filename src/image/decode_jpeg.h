/// JPEG by libjpeg-turbo directly: the same decoder that Pillow and OpenCV use, without OpenCV's detour.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <graft/image.h>

#include "image/container.h"

namespace graft::image {

/// At 1/denominator (1, 2, 4 or 8) of the size, rounded up; four channels in full, by Pillow's formula for Adobe's
/// inverted CMYK. Throws Error kFormat.
Image decode_jpeg(std::span<const std::byte> file, const Container& container, int denominator, std::string_view name);

}  // namespace graft::image
