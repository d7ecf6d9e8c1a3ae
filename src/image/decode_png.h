/// PNG by libpng directly: OpenCV's way to it prints what libpng has to say.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <graft/image.h>

#include "image/container.h"

namespace graft::image {

/// Eight bits a sample, grey replicated, palettes looked up, without alpha. Throws Error kFormat.
Image decode_png(std::span<const std::byte> file, const Container& container, std::string_view name);

}  // namespace graft::image
