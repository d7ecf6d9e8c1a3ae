/// What an image file is, checked before a decoder sees it: type by content, size against limits, and that it is whole.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include <graft/image.h>

namespace graft::image {

enum class FileType { kJpeg, kPng, kBmp };

struct Container {
  FileType type = FileType::kJpeg;
  int width_px = 0;
  int height_px = 0;
  int channels = 0;     ///< as stored, of a JPEG: 1, 3 or 4
  int orientation = 1;  ///< EXIF's, 1..8
};

/// Throws Error kFormat (another or a damaged type, by its name), kLimit.
Container check_container(std::span<const std::byte> file, const DecodeOptions& options, std::string_view name);

/// EXIF's orientation, 1..8, from a TIFF block; 1 if there is none or it makes no sense.
int exif_orientation(std::span<const std::byte> tiff);

}  // namespace graft::image
