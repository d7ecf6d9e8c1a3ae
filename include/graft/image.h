/// An 8-bit RGB picture in memory, read from a file or a buffer.
/// Thread-safety: values; a const Image may be read from many threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <graft/export.h>

namespace graft {

/// All follow PIL: bilinear (triangle) and bicubic (a = -0.5) widen their support when shrinking (antialiasing).
enum class Interpolation { kNearest, kBilinear, kBicubic };

/// "nearest", "bilinear", "bicubic".
GRAFT_EXPORT std::string_view to_string(Interpolation interpolation) noexcept;
/// The reverse of to_string. Throws Error kConfig for any other text.
GRAFT_EXPORT Interpolation parse_interpolation(std::string_view text);

/// How small a JPEG may be decoded, as it stands upright. Preprocessing::reduced_size() says what a network needs.
struct ReducedSize {
  int min_width_px = 1;
  int min_height_px = 1;

  bool operator==(const ReducedSize&) const = default;
};

/// Limits checked against the file's header before any pixel is allocated or decoded, and how much is decoded.
struct DecodeOptions {
  std::int64_t max_pixels = 178'956'970;              ///< width x height; PIL's own limit
  int max_side_px = 65'535;                           ///< width or height
  std::size_t max_file_bytes = std::size_t{1} << 30;  ///< size of the encoded file
  int max_jpeg_scans = 100;                           ///< progressive JPEG scans; real files have about 10
  /// A JPEG is decoded at the smallest of 1/8, 1/4, 1/2 and 1 of its size that is not below this: faster, and near the
  /// full picture when both are shrunk further (docs/preprocessing.md). Without a value, for other files, for CMYK and
  /// in a build without libjpeg: in full.
  std::optional<ReducedSize> reduced = {};
};

/// A picture: height x width x 3 bytes, RGB.
class GRAFT_EXPORT Image {
 public:
  /// An empty image, 0 x 0.
  Image() = default;

  /// Takes `rgb`: height x width x 3 bytes, rows from the top, interleaved R, G, B.
  /// Throws Error kConfig if a side is not positive or the size does not fit.
  Image(int width_px, int height_px, std::vector<std::uint8_t> rgb);

  /// Reads JPEG, PNG or BMP (told apart by content, never by name), applies the EXIF orientation and converts to RGB:
  /// grey is replicated, a palette is looked up, alpha and transparency are dropped as PIL's convert("RGB") does, CMYK
  /// is converted, 16-bit samples keep their high byte. A damaged or truncated file is an error, never a half-grey
  /// picture. Throws Error kIo (missing, unreadable, not a regular file), kFormat (unsupported type or damaged),
  /// kLimit, kConfig (a reduced size below 1).
  static Image read(const std::filesystem::path& path, const DecodeOptions& options = {});

  /// The same for a file already in memory. `name` is how messages call it.
  static Image decode(std::span<const std::byte> file, const DecodeOptions& options = {},
                      std::string_view name = "image");

  /// Writes a PNG file, whole or not at all. Throws Error kIo, kConfig for an empty image.
  void write_png(const std::filesystem::path& path) const;

  /// The same file in memory. Throws Error kConfig for an empty image.
  std::vector<std::byte> encode_png() const;
  /// A JPEG file in memory, smaller than PNG for photographs. Throws Error kConfig for an empty image and unless
  /// 1 <= quality <= 100.
  std::vector<std::byte> encode_jpeg(int quality = 90) const;

  int width_px() const noexcept { return width_; }
  int height_px() const noexcept { return height_; }
  bool empty() const noexcept { return rgb_.empty(); }

  /// How many of its columns and rows the picture fills: all, but for a JPEG whose sides could not be halved evenly
  /// when it was decoded at reduced size (1001 columns are 500.5 at 1/2). Resizing goes by these.
  double filled_width_px() const noexcept { return width_ - unfilled_columns_; }
  double filled_height_px() const noexcept { return height_ - unfilled_rows_; }

  /// height x width x 3 bytes (HWC, RGB).
  std::span<const std::uint8_t> rgb() const noexcept { return rgb_; }

  /// A copy of exactly this size. Throws Error kConfig if a side is not positive.
  Image resize(int width_px, int height_px, Interpolation interpolation = Interpolation::kBilinear) const;

  /// A copy whose shorter side is `size_px`, the longer one scaled along and truncated (torchvision's Resize(int)).
  Image resize_shorter(int size_px, Interpolation interpolation = Interpolation::kBilinear) const;

  /// The middle width_px x height_px, offsets rounded half to even as torchvision's CenterCrop rounds them.
  /// Throws Error kConfig if the crop is larger than the image.
  Image center_crop(int width_px, int height_px) const;

  bool operator==(const Image&) const = default;

 private:
  int width_ = 0;
  int height_ = 0;
  double unfilled_columns_ = 0;  ///< on the right, below 1
  double unfilled_rows_ = 0;     ///< at the bottom, below 1
  std::vector<std::uint8_t> rgb_;
};

/// Pictures of one size side by side, row by row, on white. Throws Error kConfig for no pictures, an empty one,
/// pictures of different sizes, or less than one column.
GRAFT_EXPORT Image contact_sheet(std::span<const Image> pictures, int columns);

/// The decoder this library was built with: "opencv" or "stb_image".
GRAFT_EXPORT std::string_view image_decoder() noexcept;

}  // namespace graft
