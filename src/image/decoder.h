/// What stands behind Image::decode and the encoders: OpenCV or stb_image, chosen when configuring.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <graft/image.h>

#include "image/container.h"

namespace graft::image {

/// Pixels as stored, orientation not applied, at 1/denominator (1, 2, 4 or 8) of the size, rounded up, or in full where
/// the decoder cannot do that. Throws Error kFormat.
Image decode_pixels(std::span<const std::byte> file, const Container& container, int denominator,
                    std::string_view name);

/// A PNG file. Throws Error kInternal if that fails.
std::vector<std::byte> encode_png(const Image& image);
/// A JPEG file; quality 1 to 100. Throws Error kInternal if that fails.
std::vector<std::byte> encode_jpeg(const Image& image, int quality);

std::string_view decoder_name() noexcept;

}  // namespace graft::image
