#include <graft/image.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>

#include <graft/error.h>
#include <graft/files.h>

#include "base/byte_source.h"
#include "base/check.h"
#include "base/translate.h"
#include "image/canvas.h"
#include "image/container.h"
#include "image/decoder.h"
#include "image/operations.h"
#include "image/resample.h"

namespace graft {

namespace {

std::string size_text(int width, int height) { return std::to_string(width) + " x " + std::to_string(height); }

void check_size(int width, int height) {
  if (width < 1 || height < 1)
    throw Error(ErrorCode::kConfig, "image size: expected 1 x 1 or more, found " + size_text(width, height));
}

/// Also what was moved from has none, whatever its sides.
void check_has_pixels(const Image& image) {
  if (image.empty()) throw Error(ErrorCode::kConfig, "image: expected 1 x 1 pixels or more, found none");
}

/// The channels of a BMP with 16 bits a pixel, of which decoders fill the highest bits only, up to 255 as Pillow has
/// them (src/libImaging/Unpack.c).
void fill_channels(std::vector<std::uint8_t>& rgb, int bits_of_green) {
  for (std::size_t i = 0; i < rgb.size(); ++i) {
    const int bits = i % 3 == 1 ? bits_of_green : 5;
    rgb[i] = static_cast<std::uint8_t>((rgb[i] >> (8 - bits)) * 255 / ((1 << bits) - 1));
  }
}

/// The picture as a viewer shows it that follows EXIF's orientation (1..8, EXIF 2.3 table 6).
Image oriented(Image image, int orientation) {
  if (orientation <= 1) return image;
  const int width = image.width_px(), height = image.height_px();
  const bool swapped = orientation >= 5;  // rows become columns
  const bool mirrored = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flipped = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  const int out_width = swapped ? height : width, out_height = swapped ? width : height;
  std::vector<std::uint8_t> out(image.rgb().size());
  auto* to = out.data();
  for (int y = 0; y < out_height; ++y) {
    for (int x = 0; x < out_width; ++x, to += 3) {
      // Of 5..8, "mirrored" and "flipped" speak of the stored columns and rows.
      const int column = swapped ? (mirrored ? width - 1 - y : y) : (mirrored ? width - 1 - x : x);
      const int row = swapped ? (flipped ? height - 1 - x : x) : (flipped ? height - 1 - y : y);
      const auto* from = image.rgb().data() + (static_cast<std::ptrdiff_t>(row) * width + column) * 3;
      std::copy_n(from, 3, to);
    }
  }
  return Image(out_width, out_height, std::move(out));
}

}  // namespace

std::string_view to_string(Interpolation interpolation) noexcept {
  switch (interpolation) {
    case Interpolation::kNearest:
      return "nearest";
    case Interpolation::kBilinear:
      return "bilinear";
    case Interpolation::kBicubic:
      return "bicubic";
  }
  return "bilinear";
}

Interpolation parse_interpolation(std::string_view text) {
  if (text == "nearest") return Interpolation::kNearest;
  if (text == "bilinear") return Interpolation::kBilinear;
  if (text == "bicubic") return Interpolation::kBicubic;
  throw Error(ErrorCode::kConfig,
              "interpolation: expected nearest, bilinear or bicubic, found \"" + std::string(text) + "\"");
}

Image::Image(int width_px, int height_px, std::vector<std::uint8_t> rgb)
    : width_(width_px), height_(height_px), rgb_(std::move(rgb)) {
  check_size(width_px, height_px);
  if (rgb_.size() != static_cast<std::size_t>(width_px) * static_cast<std::size_t>(height_px) * 3)
    throw Error(ErrorCode::kConfig, "image: expected " + size_text(width_px, height_px) + " x 3 bytes, found " +
                                        std::to_string(rgb_.size()));
}

Image Image::read(const std::filesystem::path& path, const DecodeOptions& options) {
  const std::string name = path.string();
  return base::translated(name, [&] { return decode(base::read_file(path, options.max_file_bytes), options, name); });
}

Image Image::decode(std::span<const std::byte> file, const DecodeOptions& options, std::string_view name) {
  return base::translated(name, [&] {
    const auto container = image::check_container(file, options, name);
    const int denominator = image::reduction(container, options.reduced);
    Image image = image::decode_pixels(file, container, denominator, name);
    const auto is = [&](int divisor) {
      return image.width_ == image::divided_up(container.width_px, divisor) &&
             image.height_ == image::divided_up(container.height_px, divisor);
    };
    if (!is(1)) {
      if (!is(denominator))
        throw Error(ErrorCode::kFormat, std::string(name) + ": the decoded size differs from the header's");
      image.unfilled_columns_ = image.width_ - static_cast<double>(container.width_px) / denominator;
      image.unfilled_rows_ = image.height_ - static_cast<double>(container.height_px) / denominator;
    }
    if (container.bits_of_green < 8) fill_channels(image.rgb_, container.bits_of_green);
    return oriented(std::move(image), container.orientation);
  });
}

Image Image::resize(int width_px, int height_px, Interpolation interpolation) const {
  check_size(width_px, height_px);
  check_has_pixels(*this);
  return base::translated("resizing a picture", [&] {
    return image::resample(*this, width_px, height_px, interpolation, {0, 0, width_px, height_px});
  });
}

Image Image::resize_shorter(int size_px, Interpolation interpolation) const {
  check_has_pixels(*this);
  check_size(size_px, size_px);
  const auto [width, height] = image::shorter_side_to(*this, size_px);
  return resize(width, height, interpolation);
}

Image Image::center_crop(int width_px, int height_px) const {
  check_size(width_px, height_px);
  check_has_pixels(*this);
  return base::translated("cropping a picture", [&] {
    return image::crop(*this, image::center_window(width_, height_, width_px, height_px));
  });
}

void Image::write_png(const std::filesystem::path& path) const {
  const auto file = encode_png();
  base::translated("writing ", path.native(), [&] { write_atomically(path, file); });
}

std::vector<std::byte> Image::encode_png() const {
  check_has_pixels(*this);
  return base::translated("encoding PNG", [&] { return image::encode_png(*this); });
}

std::vector<std::byte> Image::encode_jpeg(int quality) const {
  check_has_pixels(*this);
  base::require(quality >= 1 && quality <= 100, "JPEG quality", "1 to 100", quality);
  return base::translated("encoding JPEG", [&] { return image::encode_jpeg(*this, quality); });
}

Image contact_sheet(std::span<const Image> pictures, int columns) {
  constexpr int kGapPx = 4;
  base::require(columns >= 1, "columns", "1 or more", columns);
  if (pictures.empty()) throw Error(ErrorCode::kConfig, "a sheet of pictures: expected at least one, found none");
  check_has_pixels(pictures[0]);
  const int width = pictures[0].width_px(), height = pictures[0].height_px();
  columns = static_cast<int>(std::min<std::int64_t>(columns, std::ssize(pictures)));
  return base::translated("a sheet of pictures", [&] {
    const auto side = [](int count, int each) { return std::int64_t{count} * (each + kGapPx) + kGapPx; };
    const auto rows = static_cast<int>((std::ssize(pictures) + columns - 1) / columns);
    const auto sheet_width = side(columns, width), sheet_height = side(rows, height);
    if (std::max(sheet_width, sheet_height) > std::numeric_limits<int>::max())
      throw Error(ErrorCode::kConfig, "a sheet of pictures: it would be " + std::to_string(sheet_width) + " x " +
                                          std::to_string(sheet_height) + " pixels");
    image::Canvas canvas(static_cast<int>(sheet_width), static_cast<int>(sheet_height));
    for (int i = 0; i < std::ssize(pictures); ++i) {
      const auto& picture = pictures[static_cast<std::size_t>(i)];
      if (picture.empty() || picture.width_px() != width || picture.height_px() != height)
        throw Error(ErrorCode::kConfig, "a sheet of pictures: expected " + size_text(width, height) +
                                            " for all, found " + size_text(picture.width_px(), picture.height_px()));
      canvas.put(i % columns * (width + kGapPx) + kGapPx, i / columns * (height + kGapPx) + kGapPx, picture);
    }
    return std::move(canvas).image();
  });
}

std::string_view image_decoder() noexcept { return image::decoder_name(); }

}  // namespace graft
