/// JPEG by libjpeg-turbo directly: the same decoder that Pillow and OpenCV use, without OpenCV's detour.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <graft/image.h>

#include "image/container.h"

namespace graft::image {

/// For grey and three-channel files. Throws Error kFormat.
Image decode_jpeg(std::span<const std::byte> file, const Container& container, std::string_view name);

}  // namespace graft::image
