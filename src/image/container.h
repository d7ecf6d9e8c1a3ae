/// What an image file is, checked before a decoder sees it: type by content, size against limits, and that it is whole.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include <graft/image.h>

namespace graft::image {

enum class FileType { kJpeg, kPng, kBmp };

struct Container {
  FileType type = FileType::kJpeg;
  int width_px = 0;
  int height_px = 0;
  bool lacks_huffman_tables = false;  ///< of a JPEG: a scan uses some that the file has not; libjpeg has defaults then
  int channels = 0;                   ///< as stored, of a JPEG: 1, 3 or 4
  int orientation = 1;                ///< EXIF's, 1..8
  int bits_of_green = 8;              ///< of a BMP: 5 or 6 where its pixels have 16 bits
};

/// Throws Error kFormat (another or a damaged type, by its name), kLimit.
Container check_container(std::span<const std::byte> file, const DecodeOptions& options, std::string_view name);

/// A side at 1/denominator: a begun pixel is a pixel.
constexpr int divided_up(int size_px, int denominator) { return (size_px + denominator - 1) / denominator; }

/// The largest of 8, 4, 2 and 1 that a picture's sides may be divided by under `reduced`. What is turned upright must
/// divide evenly: else its begun column would come to lie on the left. Throws Error kConfig.
int reduction(const Container& container, const std::optional<ReducedSize>& reduced);

/// EXIF's orientation, 1..8, from a TIFF block, behind "Exif" or not; 1 if there is none or it makes no sense.
int exif_orientation(std::span<const std::byte> tiff);

}  // namespace graft::image
