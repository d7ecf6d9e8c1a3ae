#include "image/container.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include <graft/error.h>

#include "base/check.h"
#include "base/crc32.h"

namespace graft::image {

namespace {

using Bytes = std::span<const std::byte>;

std::uint32_t byte_at(Bytes bytes, std::size_t at) { return std::to_integer<std::uint32_t>(bytes[at]); }
std::uint32_t big16(Bytes b, std::size_t at) { return byte_at(b, at) << 8 | byte_at(b, at + 1); }
std::uint32_t big32(Bytes b, std::size_t at) { return big16(b, at) << 16 | big16(b, at + 2); }
std::uint32_t little16(Bytes b, std::size_t at) { return byte_at(b, at) | byte_at(b, at + 1) << 8; }
std::uint32_t little32(Bytes b, std::size_t at) { return little16(b, at) | little16(b, at + 2) << 16; }

constexpr std::string_view kExif("Exif\0\0", 6);  ///< in front of it in a JPEG, and in PNGs of some programs

bool begins(Bytes bytes, std::string_view text, std::size_t at = 0) {
  return bytes.size() >= at + text.size() && std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

class Checker {
 public:
  Checker(Bytes file, const DecodeOptions& options, std::string_view name) : file_(file), o_(options), name_(name) {}

  Container check() {
    if (file_.empty()) fail(ErrorCode::kFormat, "expected an image, found an empty file");
    // The decoders count bytes in an int.
    const auto most = std::min<std::size_t>(o_.max_file_bytes, std::numeric_limits<int>::max());
    if (file_.size() > most)
      fail(ErrorCode::kLimit,
           "expected at most " + std::to_string(most) + " bytes, found " + std::to_string(file_.size()));
    if (begins(file_, "\xff\xd8\xff")) {
      jpeg();
    } else if (begins(file_, "\x89PNG\r\n\x1a\n")) {
      png();
    } else if (begins(file_, "BM")) {
      bmp();
    } else {
      unsupported();
    }
    return container_;
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& what) const {
    throw Error(code, std::string(name_) + ": " + what);
  }
  [[noreturn]] void damaged(const std::string& what) const { fail(ErrorCode::kFormat, "damaged: " + what); }
  [[noreturn]] void truncated(const std::string& type) const {
    damaged(type + " file is cut off after " + std::to_string(file_.size()) + " bytes");
  }

  void set_size(std::int64_t width, std::int64_t height) {
    const std::string size = std::to_string(width) + " x " + std::to_string(height);
    if (width < 1 || height < 1) damaged("its header says " + size + " pixels");
    if (width > o_.max_side_px || height > o_.max_side_px || width * height > o_.max_pixels)
      fail(ErrorCode::kLimit, "expected at most " + std::to_string(o_.max_pixels) + " pixels and sides of " +
                                  std::to_string(o_.max_side_px) + ", found " + size);
    container_.width_px = static_cast<int>(width);
    container_.height_px = static_cast<int>(height);
  }

  // ITU T.81, annex B. Walks all segments and the entropy-coded data between them up to EOI.
  void jpeg() {
    container_.type = FileType::kJpeg;
    std::size_t at = 2;
    int scans = 0;
    std::uint32_t components = 0;
    bool adobe = false, arithmetic = false, progressive = false, has_exif = false;
    for (;;) {
      if (at + 2 > file_.size()) truncated("JPEG");
      if (byte_at(file_, at) != 0xff) damaged("JPEG without a marker at byte " + std::to_string(at));
      const auto marker = byte_at(file_, at + 1);
      if (marker == 0xff) {
        ++at;
        continue;
      }  // fill byte
      at += 2;
      if (marker == 0xd9) break;                                           // EOI; what follows is ignored
      if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) continue;  // no payload
      if (marker == 0x00 || marker == 0xd8) damaged("JPEG with an unexpected marker at byte " + std::to_string(at - 2));
      if (at + 2 > file_.size()) truncated("JPEG");
      const auto length = big16(file_, at);
      if (length < 2) damaged("JPEG segment of length " + std::to_string(length));
      if (at + length > file_.size()) truncated("JPEG");
      const auto segment = file_.subspan(at + 2, length - 2);
      at += length;
      if (is_frame(marker)) {
        components = frame(marker, segment, components);
        progressive = marker == 0xc2;
      } else if (marker == 0xc4) {
        check_huffman_tables(segment);
      } else if (marker == 0xcc) {
        arithmetic = true;
      } else if (marker == 0xe1 && begins(segment, kExif) &&
                 !std::exchange(has_exif, true)) {  // more may go on with it
        container_.orientation = exif_orientation(segment);
      } else if (marker == 0xee && begins(segment, "Adobe")) {
        adobe = true;
      } else if (marker == 0xda) {
        if (components == 0) damaged("JPEG scan before its frame header");
        if (++scans > o_.max_jpeg_scans)
          fail(ErrorCode::kLimit,
               "expected a JPEG of at most " + std::to_string(o_.max_jpeg_scans) + " scans, found more");
        look_for_tables(segment, progressive);
        at = skip_entropy_data(at);
      }
    }
    if (scans == 0) damaged("JPEG without image data");
    if (arithmetic) unsupported_jpeg("arithmetic coding");
    container_.channels = static_cast<int>(components);
    if (components == 4 && !adobe) unsupported_jpeg("four channels without an Adobe marker: their meaning is unknown");
  }

  [[noreturn]] void unsupported_jpeg(const std::string& what) const {
    fail(ErrorCode::kFormat, "unsupported kind of JPEG: " + what);
  }

  /// ITU T.81, B.2.3: whether the tables that a scan's coefficients are coded with are there.
  void look_for_tables(Bytes scan, bool progressive) {
    const std::size_t components = scan.empty() ? 0 : byte_at(scan, 0);
    if (scan.size() < 4 + 2 * components)
      damaged("JPEG with a scan header of " + std::to_string(scan.size()) + " bytes");
    const bool has_dc = byte_at(scan, 1 + 2 * components) == 0, has_ac = !progressive || !has_dc;
    for (std::size_t i = 0; i < components; ++i) {
      const auto numbers = byte_at(scan, 2 + 2 * i), dc = numbers / 16, ac = numbers % 16;
      if ((has_dc && (dc > 3 || !table_is_there_[dc])) || (has_ac && (ac > 3 || !table_is_there_[4 + ac])))
        container_.lacks_huffman_tables = true;
    }
  }

  /// ITU T.81, B.2.4.2, refused as libjpeg refuses them. stb_image 2.27 would write beyond its tables.
  void check_huffman_tables(Bytes tables) {
    constexpr std::size_t kLengths = 16, kMostCodes = 256;
    while (tables.size() > kLengths) {
      std::size_t codes = 0;
      for (std::size_t i = 1; i <= kLengths; ++i) codes += byte_at(tables, i);
      if (codes > kMostCodes || codes > tables.size() - 1 - kLengths)
        damaged("JPEG with a Huffman table of " + std::to_string(codes) + " codes");
      const auto which = byte_at(tables, 0);  // the kind (for DC or AC) and the number
      if (which / 16 < 2 && which % 16 < 4) table_is_there_[which / 16 * 4 + which % 16] = true;
      tables = tables.subspan(1 + kLengths + codes);
    }
    if (!tables.empty()) damaged("JPEG with a Huffman table that is cut off");
  }

  static bool is_frame(std::uint32_t marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
  }

  /// Returns the number of components.
  std::uint32_t frame(std::uint32_t marker, Bytes segment, std::uint32_t before) {
    if (before != 0) damaged("JPEG with two frame headers");
    if (segment.size() < 6) damaged("JPEG frame header of " + std::to_string(segment.size()) + " bytes");
    if (marker > 0xc8) unsupported_jpeg("arithmetic coding");
    if (marker > 0xc2) unsupported_jpeg("lossless or hierarchical");
    if (const auto bits = byte_at(segment, 0); bits != 8) unsupported_jpeg(std::to_string(bits) + " bits a sample");
    set_size(big16(segment, 3), big16(segment, 1));
    const auto components = byte_at(segment, 5);
    if (components != 1 && components != 3 && components != 4)
      unsupported_jpeg(std::to_string(components) + " channels");
    return components;
  }

  /// The next marker behind a scan's data (0xff00 is a data byte, 0xffd0 to 0xffd7 restart within it).
  std::size_t skip_entropy_data(std::size_t at) const {
    for (;;) {
      const auto* found = at < file_.size()
                              ? static_cast<const std::byte*>(std::memchr(file_.data() + at, 0xff, file_.size() - at))
                              : nullptr;
      if (!found) truncated("JPEG");
      at = static_cast<std::size_t>(found - file_.data());
      if (at + 1 >= file_.size()) truncated("JPEG");
      const auto next = byte_at(file_, at + 1);
      if (next != 0x00 && next != 0xff && (next < 0xd0 || next > 0xd7)) return at;
      at += next == 0xff ? 1 : 2;
    }
  }

  // W3C PNG, chapter 5: every chunk whole and with its CRC, from IHDR to IEND.
  void png() {
    container_.type = FileType::kPng;
    std::size_t at = 8;
    bool first = true, data = false;
    for (;;) {
      if (at + 12 > file_.size()) truncated("PNG");
      const std::size_t length = big32(file_, at);
      if (length > file_.size() - at - 12) truncated("PNG");
      const auto typed = file_.subspan(at + 4, 4 + length);
      const auto content = typed.subspan(4);
      if (base::crc32(typed) != big32(file_, at + 8 + length))
        damaged("PNG chunk at byte " + std::to_string(at) + " does not match its CRC");
      if (first != begins(typed, "IHDR")) damaged("PNG that does not begin with one IHDR");
      if (first) {
        if (length != 13) damaged("PNG header of " + std::to_string(length) + " bytes");
        set_size(big32(content, 0), big32(content, 4));
      }
      first = false;
      data = data || begins(typed, "IDAT");
      if (begins(typed, "eXIf")) container_.orientation = exif_orientation(content);
      if (begins(typed, "IEND")) break;
      at += 12 + length;
    }
    if (!data) damaged("PNG without image data");
  }

  void bmp() {
    container_.type = FileType::kBmp;
    if (file_.size() < 54) truncated("BMP");
    const auto offset = little32(file_, 10), header = little32(file_, 14);
    if (header < 40 || header > 256)
      fail(ErrorCode::kFormat, "unsupported kind of BMP: header of " + std::to_string(header) + " bytes");
    const std::int64_t width = static_cast<std::int32_t>(little32(file_, 18));
    const std::int64_t height = static_cast<std::int32_t>(little32(file_, 22));  // negative: rows from the top
    set_size(width, std::abs(height));
    const std::int64_t bits = little16(file_, 28);
    const auto compression = little32(file_, 30);
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
      damaged("BMP of " + std::to_string(bits) + " bits a pixel");
    if (const auto colours = little32(file_, 46); bits <= 8 && colours > 256)
      damaged("BMP with a palette of " + std::to_string(colours) + " colours");
    if (compression != 0 && compression != 3) fail(ErrorCode::kFormat, "unsupported kind of BMP: compressed");
    if (compression == 3) {
      if (file_.size() < 66) truncated("BMP");
      check_masks(bits, header);
    } else if (bits == 16) {
      container_.bits_of_green = 5;
    }
    const std::int64_t row_bytes = (width * bits + 31) / 32 * 4;
    if (offset + row_bytes * std::abs(height) > static_cast<std::int64_t>(file_.size())) truncated("BMP");
  }

  /// Where the channels are: OpenCV goes by the masks of few files, and has other colours for the rest.
  void check_masks(std::int64_t bits, std::uint32_t header) {
    const std::array masks{little32(file_, 54), little32(file_, 58), little32(file_, 62)};  // red, green, blue
    const auto are = [&](std::uint32_t red, std::uint32_t green) {
      return masks == std::array<std::uint32_t, 3>{red, green, bits == 16 ? 0x1fU : 0xffU};
    };
    if (bits == 32 && are(0xff0000, 0xff00)) return;
    if (bits == 16 && header == 40 && (are(0x7c00, 0x3e0) || are(0xf800, 0x7e0))) {
      container_.bits_of_green = masks[1] == 0x3e0 ? 5 : 6;
      return;
    }
    fail(ErrorCode::kFormat,
         "unsupported kind of BMP: channels in other places of its " + std::to_string(bits) + " bits than usual");
  }

  [[noreturn]] void unsupported() {
    struct Known {
      std::string_view type, magic;
      std::size_t at = 0;
    };
    static constexpr std::array kKnown{Known{"GIF", "GIF8"},
                                       Known{"WebP", "WEBP", 8},
                                       Known{"HEIC", "ftyphei", 4},
                                       Known{"HEIC", "ftyphev", 4},
                                       Known{"HEIC", "ftypmif1", 4},
                                       Known{"HEIC", "ftypmsf1", 4},
                                       Known{"AVIF", "ftypavi", 4},
                                       Known{"TIFF", std::string_view("II*\0", 4)},
                                       Known{"TIFF", std::string_view("II+\0", 4)},
                                       Known{"TIFF", std::string_view("MM\0*", 4)},
                                       Known{"TIFF", std::string_view("MM\0+", 4)},
                                       Known{"gzip", "\x1f\x8b"},
                                       Known{"zip", "PK"},
                                       Known{"PDF", "%PDF"},
                                       Known{"SVG or HTML", "<"},
                                       Known{"Photoshop", "8BPS"},
                                       Known{"JPEG 2000", "jP", 4},
                                       Known{"JPEG XL", "JXL ", 4},
                                       Known{"JPEG XL", "\xff\x0a"},
                                       Known{"Git LFS pointer", "version https://git-lfs"}};
    for (const auto& known : kKnown)
      if (begins(file_, known.magic, known.at)) fail(ErrorCode::kFormat, expected_but(std::string(known.type)));
    if (looks_like_tga()) {
      set_size(little16(file_, 12), little16(file_, 14));  // an absurd size is what matters most
      fail(ErrorCode::kFormat, expected_but("TGA"));
    }
    fail(ErrorCode::kFormat, expected_but("no image type that is known here"));
  }

  static std::string expected_but(const std::string& found) { return "expected JPEG, PNG or BMP, found " + found; }

  bool looks_like_tga() const {
    if (file_.size() < 18) return false;
    const auto map = byte_at(file_, 1), type = byte_at(file_, 2), bits = byte_at(file_, 16);
    return map <= 1 && (type == 1 || type == 2 || type == 3 || (type >= 9 && type <= 11)) && bits % 8 == 0 &&
           bits <= 32 && bits > 0;
  }

  Bytes file_;
  const DecodeOptions& o_;
  std::string_view name_;
  std::array<bool, 8> table_is_there_{};  ///< of a JPEG: those for DC, then those for AC
  Container container_;
};

}  // namespace

Container check_container(Bytes file, const DecodeOptions& options, std::string_view name) {
  return Checker(file, options, name).check();
}

int reduction(const Container& container, const std::optional<ReducedSize>& reduced) {
  if (!reduced) return 1;
  base::require(reduced->min_width_px >= 1, "decoding: min_width_px", "1 or more", reduced->min_width_px);
  base::require(reduced->min_height_px >= 1, "decoding: min_height_px", "1 or more", reduced->min_height_px);
  auto [min_width, min_height] = *reduced;
  if (container.orientation >= 5) std::swap(min_width, min_height);
  for (const int denominator : {8, 4, 2}) {
    const bool even = container.width_px % denominator == 0 && container.height_px % denominator == 0;
    if (container.width_px / denominator >= min_width && container.height_px / denominator >= min_height &&
        (even || container.orientation == 1))
      return denominator;
  }
  return 1;
}

// EXIF 2.3 is a TIFF 6.0 file: the tag stands in the first directory.
int exif_orientation(Bytes tiff) {
  constexpr std::uint32_t kOrientation = 0x0112, kShort = 3;
  while (begins(tiff, kExif)) tiff = tiff.subspan(kExif.size());
  if (tiff.size() < 14) return 1;
  const bool little = begins(tiff, "II");
  if (!little && !begins(tiff, "MM")) return 1;
  const auto u16 = little ? little16 : big16;
  const auto u32 = little ? little32 : big32;
  const std::size_t directory = u32(tiff, 4);
  if (u16(tiff, 2) != 42 || directory > tiff.size() - 2) return 1;
  const std::size_t entries = u16(tiff, directory);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + i * 12;
    if (entry + 12 > tiff.size()) return 1;
    if (u16(tiff, entry) != kOrientation) continue;
    const auto value = u16(tiff, entry + 8);
    return u16(tiff, entry + 2) == kShort && u32(tiff, entry + 4) == 1 && value >= 1 && value <= 8
               ? static_cast<int>(value)
               : 1;
  }
  return 1;
}

}  // namespace graft::image
