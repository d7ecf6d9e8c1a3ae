/// The decoder behind Image::decode: OpenCV or stb_image, chosen when configuring.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <graft/image.h>

#include "image/container.h"

namespace graft::image {

/// Pixels as stored, orientation not applied. Throws Error kFormat.
Image decode_pixels(std::span<const std::byte> file, const Container& container, std::string_view name);

std::string_view decoder_name() noexcept;

}  // namespace graft::image
