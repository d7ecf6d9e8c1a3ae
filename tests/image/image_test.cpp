#include <graft/image.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>

#include <gtest/gtest.h>

#include "base/crc32.h"
#include "image/container.h"
#include "support/expect_error.h"
#include "support/files.h"
#include "support/sanitized.h"
#include "support/scratch.h"

namespace graft {
namespace {

using graft::testing::golden;
using graft::testing::Scratch;
using graft::testing::slurp;

Image decode(const std::string& bytes, const DecodeOptions& options = {}) {
  return Image::decode(std::as_bytes(std::span(bytes.data(), bytes.size())), options, "x");
}

std::string file(const std::string& name) { return slurp(golden("images/" + name)); }

/// Largest difference of two pictures' values; 256 if their sizes differ.
int difference(const Image& image, const std::string& rgb) {
  if (image.rgb().size() != rgb.size()) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < rgb.size(); ++i)
    largest = std::max(largest, std::abs(image.rgb()[i] - static_cast<int>(static_cast<unsigned char>(rgb[i]))));
  return largest;
}

// stb_image has its own inverse DCT and upsampling; the figures are those of docs/preprocessing.md.
int jpeg_tolerance() { return image_decoder() == "opencv" ? 0 : 4; }

/// What Pillow makes of it: the file of the same name in tests/golden/images.
void expect_pillows(const std::string& name, int tolerance = 0) {
  EXPECT_LE(difference(decode(file(name)), file(name + ".rgb8")), tolerance) << name;
}

TEST(Decode, PicturesEqualPillows) {
  expect_pillows("photo.png");
  expect_pillows("photo.bmp");
  expect_pillows("photo.jpg", jpeg_tolerance());
}

TEST(Decode, Case48Progressive) { expect_pillows("progressive.jpg", jpeg_tolerance()); }

TEST(Decode, Case51GreyIsReplicated) {
  expect_pillows("grey.png");
  expect_pillows("grey.jpg", jpeg_tolerance());
}

TEST(Decode, Case52OfSixteenBitsTheHigherEight) {
  expect_pillows("rgb16.png");
  expect_pillows("grey16.png");
}

TEST(Decode, Case53PaletteWithTransparencyHasItsColours) {
  expect_pillows("palette.png");
  expect_pillows("palette_transparent.png");
}

TEST(Decode, Case54AlphaIsLeftOut) { expect_pillows("rgba.png"); }

TEST(Decode, Case55OneBit) { expect_pillows("one_bit.png"); }

TEST(Decode, Case56Interlaced) { expect_pillows("interlaced.png"); }

/// Decoded at 1/2, 1/4 or 1/8, if this build can.
bool decodes_reduced() {
  return decode(file("photo.jpg"), {.reduced = ReducedSize{}}).width_px() < decode(file("photo.jpg")).width_px();
}

TEST(ReducedDecoding, EqualsPillow) {
  if (!decodes_reduced()) GTEST_SKIP() << "this build decodes in full";
  for (const int n : {2, 4, 8}) {
    const auto image = decode(file("photo.jpg"), {.reduced = ReducedSize{61 / n, 47 / n}});
    EXPECT_EQ(image.width_px(), (61 + n - 1) / n);
    EXPECT_EQ(image.filled_width_px(), 61.0 / n);
    EXPECT_EQ(difference(image, file("photo.jpg." + std::to_string(n) + ".rgb8")), 0) << n;
    // Rounded sides would shift the pixels; torchvision's size of the longer side follows the full picture, too.
    for (const auto method : {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kBicubic})
      EXPECT_EQ(difference(image.resize(7, 5, method),
                           file("reduced_" + std::to_string(n) + "_" + std::string(to_string(method)) + ".rgb8")),
                0)
          << n << " " << to_string(method);
    for (int size = 1; size < 40; ++size)
      EXPECT_EQ(image.resize_shorter(size).width_px(), decode(file("photo.jpg")).resize_shorter(size).width_px());
  }
  for (const std::string name : {"grey.jpg", "progressive.jpg"})
    EXPECT_EQ(difference(decode(file(name), {.reduced = ReducedSize{30, 23}}), file(name + ".2.rgb8")), 0) << name;
  for (int orientation = 0; orientation <= 8; ++orientation) {
    const std::string name = "orientation_" + std::to_string(orientation) + ".jpg";
    const auto upright = orientation >= 5 ? ReducedSize{8, 12} : ReducedSize{12, 8};
    EXPECT_EQ(difference(decode(file(name), {.reduced = upright}), file(name + ".2.rgb8")), 0) << name;
  }
}

TEST(ReducedDecoding, NeverGoesBelowTheSizeAskedFor) {
  if (!decodes_reduced()) GTEST_SKIP() << "this build decodes in full";
  const auto width = [&](int min_width, int min_height) {
    return decode(file("photo.jpg"), {.reduced = ReducedSize{min_width, min_height}}).width_px();
  };
  EXPECT_EQ(width(1, 1), 8);
  EXPECT_EQ(width(8, 1), 16);  // 61 / 8 is less than 8, though its begun pixel makes eight columns
  EXPECT_EQ(width(1, 12), 31);
  EXPECT_EQ(width(31, 1), 61);
  EXPECT_EQ(width(1000, 1000), 61);
}

TEST(ReducedDecoding, IsInFullWhereItMustBe) {
  // 61 x 47 turned about would have its begun column on the left.
  auto turned = file("photo.jpg");
  const auto exif = file("orientation_3.jpg");
  const auto at = exif.find("Exif");
  ASSERT_NE(at, std::string::npos);
  const auto length = static_cast<std::size_t>(static_cast<unsigned char>(exif[at - 2]) << 8 |
                                               static_cast<unsigned char>(exif[at - 1]));
  turned.insert(2, exif.substr(at - 4, length + 2));
  const auto upright = decode(file("photo.jpg")), found = decode(turned, {.reduced = ReducedSize{}});
  ASSERT_EQ(found.width_px(), 61);
  EXPECT_TRUE(std::equal(found.rgb().begin(), found.rgb().begin() + 3, upright.rgb().end() - 3));
  for (const std::string name : {"cmyk.jpg", "photo.png", "photo.bmp"})
    EXPECT_EQ(decode(file(name), {.reduced = ReducedSize{}}), decode(file(name))) << name;
  EXPECT_GRAFT_ERROR(decode(file("photo.jpg"), {.reduced = ReducedSize{0, 5}}), kConfig, "min_width_px: expected 1 or");
}

TEST(ReducedDecoding, DamageIsFoundAsInFull) {
  const auto bytes = file("photo.jpg");
  EXPECT_GRAFT_ERROR(decode(bytes.substr(0, bytes.size() / 2), {.reduced = ReducedSize{}}), kFormat, "cut off");
}

TEST(Decode, Case45CmykIsConverted) { expect_pillows("cmyk.jpg", jpeg_tolerance()); }

TEST(Decode, Case46YcckIsConverted) { expect_pillows("ycck.jpg", jpeg_tolerance()); }

TEST(Decode, Case65EveryOrientationIsApplied) {
  for (int orientation = 0; orientation <= 8; ++orientation) {
    const std::string name = "orientation_" + std::to_string(orientation) + ".jpg";
    const auto image = decode(file(name));
    EXPECT_EQ(image.width_px(), orientation >= 5 ? 16 : 24);
    EXPECT_LE(difference(image, file(name + ".rgb8")), jpeg_tolerance()) << name;
  }
}

TEST(Decode, TheFirstExifSegmentCounts) {  // more may go on with it, or be another program's
  const auto exif_of = [](const std::string& bytes) {
    const auto at = bytes.find("Exif");
    const auto length = static_cast<std::size_t>(static_cast<unsigned char>(bytes[at - 2]) << 8 |
                                                 static_cast<unsigned char>(bytes[at - 1]));
    return bytes.substr(at - 4, length + 2);
  };
  const auto turned = file("orientation_6.jpg");
  auto both = turned;
  both.insert(both.find("Exif") - 4 + exif_of(turned).size(), exif_of(file("orientation_3.jpg")));
  EXPECT_EQ(decode(both), decode(turned));
}

TEST(Decode, ExifMayBeginWithItsName) {  // so do some programs write it into PNG
  const auto bytes = file("orientation_6.jpg");
  const auto tiff = bytes.substr(bytes.find("Exif") + 6);
  const std::string name("Exif\0\0", 6);
  for (const auto& exif : {tiff, name + tiff, name + name + tiff})
    EXPECT_EQ(image::exif_orientation(std::as_bytes(std::span(exif.data(), exif.size()))), 6);
}

TEST(Decode, Case66ExifGarbageIsIgnored) {
  auto bytes = file("orientation_6.jpg");
  const auto exif = bytes.find("Exif");
  ASSERT_NE(exif, std::string::npos);
  for (std::size_t at = exif + 6; at < exif + 26; ++at) {
    auto changed = bytes;
    changed[at] = '\xff';
    EXPECT_FALSE(decode(changed).empty());
  }
}

TEST(Decode, Case67BytesBehindTheEndAreIgnored) {
  EXPECT_EQ(decode(file("photo.jpg") + "trailing"), decode(file("photo.jpg")));
  EXPECT_EQ(decode(file("photo.png") + "trailing"), decode(file("photo.png")));
}

TEST(Decode, Case40ContentDecidesNotTheName) {
  const Scratch scratch;
  EXPECT_EQ(difference(Image::read(scratch.write("photo.JPEG", file("photo.png"))), file("photo.png.rgb8")), 0);
}

TEST(Decode, Case60OnePixel) {
  const std::string bmp = std::string("BM:\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0", 30) +
                          std::string(24, '\0') + std::string("\x01\x02\x03\0", 4);
  const auto image = decode(bmp);
  EXPECT_EQ(image, Image(1, 1, {3, 2, 1}));
}

std::string bmp_of(std::int32_t width, std::int32_t height) {
  std::string bytes = std::string("BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", 18);
  for (const std::int32_t value : {width, height})
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(static_cast<std::uint32_t>(value) >> shift);
  bytes += std::string("\x01\0\x18\0", 4) + std::string(24, '\0');
  const auto rows = static_cast<std::size_t>(std::min(std::abs(height), 70'000)),
             row = (static_cast<std::size_t>(std::min(width, 70'000)) * 3 + 3) / 4 * 4;
  return bytes + (width > 0 && rows * row < 1'000'000 ? std::string(rows * row, 'x') : "");
}

TEST(Decode, Case61OneLongRow) {
  EXPECT_EQ(decode(bmp_of(65535, 1)).width_px(), 65535);
  EXPECT_GRAFT_ERROR(decode(bmp_of(65536, 1)), kLimit, "65536 x 1");
}

TEST(Decode, Case62OneLongColumn) {
  EXPECT_EQ(decode(bmp_of(1, 65535)).height_px(), 65535);
  EXPECT_GRAFT_ERROR(decode(bmp_of(1, 65536)), kLimit, "1 x 65536");
}

void append_little(std::string& bytes, std::uint32_t value, int count) {
  for (int shift = 0; shift < 8 * count; shift += 8) bytes += static_cast<char>(value >> shift);
}

/// A BMP of one row; the masks of red, green and blue lie behind its header of 40 bytes, or within a longer one.
std::string bmp_with_masks(int bits, const std::vector<std::uint32_t>& masks, const std::vector<std::uint32_t>& pixels,
                           std::uint32_t header = 40) {
  std::string bytes = "BM";
  const auto ahead = static_cast<std::uint32_t>(std::max<std::size_t>(14 + header, 54 + 4 * masks.size()));
  for (const auto value : {ahead, 0U, ahead, header, static_cast<std::uint32_t>(pixels.size()), 1U})
    append_little(bytes, value, 4);
  append_little(bytes, 1, 2);
  append_little(bytes, static_cast<std::uint32_t>(bits), 2);
  append_little(bytes, masks.empty() ? 0 : 3, 4);
  bytes.resize(54, '\0');
  for (const auto mask : masks) append_little(bytes, mask, 4);
  bytes.resize(ahead, '\0');
  for (const auto pixel : pixels) append_little(bytes, pixel, bits / 8);
  return bytes;
}

using Rgb = std::vector<std::uint8_t>;
Rgb pixels_of(const Image& image) { return {image.rgb().begin(), image.rgb().end()}; }

TEST(Decode, BmpsOf16BitsArePillows) {  // values of Pillow 13.0.0
  const std::vector<std::uint32_t> in_5_6_5{0xffff, 3 << 11 | 7 << 5 | 24, 24 << 11 | 41 << 5 | 3, 0};
  EXPECT_EQ(pixels_of(decode(bmp_with_masks(16, {0xf800, 0x7e0, 0x1f}, in_5_6_5))),
            (Rgb{255, 255, 255, 24, 28, 197, 197, 165, 24, 0, 0, 0}));
  const std::vector<std::uint32_t> in_5_5_5{0x7fff, 3 << 10 | 7 << 5 | 24, 24 << 10 | 19 << 5 | 3, 0};
  for (const auto& masks : {std::vector<std::uint32_t>(), {0x7c00, 0x3e0, 0x1f}})
    EXPECT_EQ(pixels_of(decode(bmp_with_masks(16, masks, in_5_5_5))),
              (Rgb{255, 255, 255, 24, 57, 197, 197, 156, 24, 0, 0, 0}));
}

TEST(Decode, BmpsWithChannelsInOtherPlacesAreRefused) {  // OpenCV takes them for blue, green, red
  EXPECT_EQ(pixels_of(decode(bmp_with_masks(32, {0xff0000, 0xff00, 0xff}, {0x102030}))), (Rgb{0x10, 0x20, 0x30}));
  EXPECT_EQ(pixels_of(decode(bmp_with_masks(32, {0xff0000, 0xff00, 0xff, 0xff000000}, {0xff102030}, 56))),
            (Rgb{0x10, 0x20, 0x30}));
  EXPECT_GRAFT_ERROR(decode(bmp_with_masks(32, {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff0000ff}, 56)), kFormat,
                     "unsupported kind of BMP: channels in other places of its 32 bits");
  EXPECT_GRAFT_ERROR(decode(bmp_with_masks(32, {0x3ff00000, 0xffc00, 0x3ff}, {0x102030})), kFormat, "32 bits");
  EXPECT_GRAFT_ERROR(decode(bmp_with_masks(16, {0xf800, 0x7e0, 0x1f, 0}, {1, 2}, 108)), kFormat, "16 bits");
  EXPECT_GRAFT_ERROR(decode(bmp_with_masks(16, {0x1f, 0x7e0, 0xf800}, {1, 2})), kFormat, "16 bits");
}

TEST(BadImages, Case38EmptyFile) { EXPECT_GRAFT_ERROR(decode(""), kFormat, "empty file"); }
TEST(BadImages, Case39Directory) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "x.jpg");
  EXPECT_GRAFT_ERROR(Image::read(scratch / "x.jpg"), kIo, "directory");
  EXPECT_GRAFT_ERROR(Image::read(scratch / "missing.jpg"), kIo, "missing.jpg");
}
TEST(BadImages, Case70APathThatIsTooLong) {
  const std::string path = "/" + std::string(4095, 'x') + ".jpg";
  EXPECT_GRAFT_ERROR(Image::read(path), kIo, "File name too long");
  EXPECT_GRAFT_ERROR(Image::read(path), kIo, path);
}
TEST(BadImages, Case41Gzip) { EXPECT_GRAFT_ERROR(decode("\x1f\x8b\x08 and more"), kFormat, "gzip"); }
TEST(BadImages, Case42TruncatedJpeg) {
  for (const std::string name : {"photo.jpg", "progressive.jpg", "photo.png", "photo.bmp"}) {
    const auto bytes = file(name);
    for (const double part : {0.3, 0.5, 0.99})
      EXPECT_GRAFT_ERROR(decode(bytes.substr(0, static_cast<std::size_t>(part * static_cast<double>(bytes.size())))),
                         kFormat, "cut off");
  }
}
TEST(BadImages, Case43MissingEndMarkerOnly) {  // indistinguishable from a lost scan: refused
  const auto bytes = file("photo.jpg");
  EXPECT_GRAFT_ERROR(decode(bytes.substr(0, bytes.size() - 2)), kFormat, "cut off");
}
TEST(BadImages, Case42JpegWhoseDataEndBeforeThePictureDoes) {
  const auto bytes = file("photo.jpg");
  const auto cut = bytes.substr(0, bytes.size() * 2 / 3) + "\xff\xd9";  // the end marker is there
  EXPECT_GRAFT_ERROR(decode(cut), kFormat, "x: cannot be decoded");
}
TEST(BadImages, Case44BadHuffmanTable) {
  auto bytes = file("photo.jpg");
  const auto table = bytes.find("\xff\xc4");
  ASSERT_NE(table, std::string::npos);
  for (int i = 0; i < 16; ++i) bytes[table + 5 + static_cast<std::size_t>(i)] = '\xff';  // far more codes than fit
  EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "x: damaged: JPEG with a Huffman table of 4080 codes");
}
TEST(BadImages, HuffmanTableOfMoreCodesThanThereAreBytes) {
  auto bytes = file("photo.jpg");
  const auto table = bytes.find("\xff\xc4");
  ASSERT_EQ(bytes[table + 3], '\x1f');  // the segment's length: one table of twelve codes
  bytes[table + 5 + 15] = '\xff';
  EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "x: damaged: JPEG with a Huffman table of ");
}
TEST(BadImages, JpegWithoutItsHuffmanTables) {  // as cameras write films; libjpeg-turbo takes the standard's
  auto bytes = file("photo.jpg");
  for (std::size_t at = 0; (at = bytes.find("\xff\xc4", at)) != std::string::npos;)
    bytes.erase(at, 2 + static_cast<std::size_t>(static_cast<unsigned char>(bytes[at + 3])) +
                        256 * static_cast<std::size_t>(static_cast<unsigned char>(bytes[at + 2])));
  if (image_decoder().starts_with("stb_image")) {
    EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "x: unsupported kind of JPEG: without its Huffman tables");
  } else {
    EXPECT_EQ(decode(bytes), decode(file("photo.jpg")));
  }
}
TEST(BadImages, Case47FourChannelsOfUnknownMeaning) {
  auto bytes = file("cmyk.jpg");
  bytes.replace(bytes.find("Adobe"), 5, "adobe");
  EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "Adobe marker");
}
TEST(BadImages, Case49AThousandScans) {
  const auto bytes = file("progressive.jpg");
  EXPECT_GRAFT_ERROR(decode(bytes, {.max_jpeg_scans = 3}), kLimit, "3 scans");
  const auto last = bytes.rfind("\xff\xda");
  std::string many = bytes.substr(0, last);
  for (int i = 0; i < 1000; ++i) many += bytes.substr(last, bytes.size() - 2 - last);
  EXPECT_GRAFT_ERROR(decode(many + "\xff\xd9"), kLimit, "found more");
}
TEST(BadImages, Case50ArithmeticAndTwelveBit) {
  auto bytes = file("photo.jpg");
  const auto frame = bytes.find("\xff\xc0");
  auto arithmetic = bytes;
  arithmetic[frame + 1] = '\xc9';
  EXPECT_GRAFT_ERROR(decode(arithmetic), kFormat, "arithmetic");
  bytes[frame + 4] = 12;
  EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "12 bits");
}
TEST(BadImages, Case57PngCrc) {
  auto bytes = file("photo.png");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  EXPECT_GRAFT_ERROR(decode(bytes), kFormat, "CRC");
}
/// With another content, and the CRC of that, for the first chunk of this type.
std::string with_chunk(std::string png, const std::string& type, const std::function<void(std::string&)>& change) {
  const auto at = png.find(type);
  const auto number = [&](std::size_t from) {
    std::size_t value = 0;
    for (int i = 0; i < 4; ++i)
      value = value << 8 | static_cast<unsigned char>(png[from + static_cast<std::size_t>(i)]);
    return value;
  };
  const auto text = [](std::size_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
    return bytes;
  };
  const auto size = number(at - 4);
  std::string content = png.substr(at + 4, size);
  change(content);
  const std::string typed = type + content;
  return png.substr(0, at - 4) + text(content.size()) + typed + text(base::crc32(std::as_bytes(std::span(typed)))) +
         png.substr(at + 4 + size + 4);
}

TEST(BadImages, DecodersPrintNothingAndWarnTheCallback) {
  std::vector<std::string> warnings;
  set_library_warnings([&](std::string_view line) { warnings.emplace_back(line); });
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const auto png = file("photo.png");
  for (const std::size_t at : {2u, 40u, 400u, 2000u}) {  // in the compressed data, CRC and all
    const auto damaged = with_chunk(png, "IDAT", [&](std::string& content) { content.at(at) ^= '\x55'; });
    EXPECT_GRAFT_ERROR(decode(damaged), kFormat, "x: cannot be decoded");
  }
  EXPECT_GRAFT_ERROR(decode(with_chunk(png, "IDAT", [](std::string& content) { content.resize(content.size() / 2); })),
                     kFormat, "x: cannot be decoded");
  // A colour profile that is none, which libpng warns of.
  const auto profile = "iCCP" + std::string("name\0\0garbage", 13);
  std::string odd = png;
  odd.insert(33, std::string("\0\0\0\x0d", 4) + profile + "CRC_");
  odd = with_chunk(odd, "iCCP", [](std::string&) {});
  EXPECT_EQ(decode(odd), decode(png));
  if (decodes_reduced()) {  // with libjpeg and libpng
    ASSERT_EQ(warnings.size(), 1);
    EXPECT_THAT(warnings[0], ::testing::StartsWith("libpng: x: iCCP: "));
  }
  auto jpeg = file("cmyk.jpg");
  for (std::size_t i = 0; i < 40; ++i) jpeg[jpeg.size() / 2 + i] = '\x55';  // colours are wrong: libjpeg warns
  if (image_decoder().starts_with("stb_image")) {
    EXPECT_GRAFT_ERROR(decode(jpeg), kFormat, "x: cannot be decoded");
  } else {
    EXPECT_FALSE(decode(jpeg).empty());
    if (decodes_reduced()) {
      ASSERT_EQ(warnings.size(), 2);
      EXPECT_THAT(warnings[1], ::testing::StartsWith("libjpeg: x: Corrupt JPEG data"));
    }
  }
  auto bmp = bmp_of(4, 4);
  bmp[28] = 8;     // bits a pixel
  bmp[47] = 0x04;  // colours
  EXPECT_GRAFT_ERROR(decode(bmp), kFormat, "x: damaged: BMP with a palette of 1024 colours");
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  set_library_warnings({});
}

TEST(BadImages, Case58AnimatedGif) { EXPECT_GRAFT_ERROR(decode("GIF89a and so on"), kFormat, "GIF"); }
TEST(BadImages, Case59CraftedGif) {  // frames outside of the screen; the decoder never sees them
  std::string gif("GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff", 19);
  for (int i = 0; i < 3; ++i) gif += std::string("\x2c\xff\xff\xff\xff\xff\xff\xff\xff\0\x02\x02\x44\x01\0", 15);
  EXPECT_GRAFT_ERROR(decode(gif + ";"), kFormat, "found GIF");
}
TEST(BadImages, Case63ZeroWidth) { EXPECT_GRAFT_ERROR(decode(bmp_of(0, 4)), kFormat, "0 x 4"); }
TEST(BadImages, Case64HugeTgaBeforeAllocation) {
  std::string tga(18, '\0');
  tga[2] = 2;
  tga[12] = tga[14] = '\x81';
  tga[13] = tga[15] = '\x5a';
  tga[16] = 24;
  EXPECT_GRAFT_ERROR(decode(tga), kLimit, "23169 x 23169");
  EXPECT_GRAFT_ERROR(decode(bmp_of(23169, 23169)), kLimit, "23169 x 23169");
}
TEST(BadImages, Case68UnsupportedTypesAreNamed) {
  const std::string box("\0\0\0\x18", 4);
  EXPECT_GRAFT_ERROR(decode(std::string("RIFF\0\0\0\0WEBPVP8 ", 16)), kFormat, "WebP");
  EXPECT_GRAFT_ERROR(decode(box + "ftypheic"), kFormat, "HEIC");
  EXPECT_GRAFT_ERROR(decode(box + "ftypavif"), kFormat, "AVIF");
  EXPECT_GRAFT_ERROR(decode(std::string("II*\0", 4)), kFormat, "TIFF");
  EXPECT_GRAFT_ERROR(decode("<!DOCTYPE html>"), kFormat, "HTML");
  EXPECT_GRAFT_ERROR(decode("something else"), kFormat, "no image type");
}

TEST(WritePng, IsReadBackEqual) {
  const testing::Scratch scratch;
  const auto photo = decode(file("photo.png"));
  photo.write_png(scratch / "written.png");
  EXPECT_EQ(Image::read(scratch / "written.png"), photo);
  EXPECT_GRAFT_ERROR(Image().write_png(scratch / "empty.png"), kConfig, "found none");
  EXPECT_GRAFT_ERROR(photo.write_png(scratch / "no" / "such.png"), kIo, "such.png");
}

TEST(Encode, PngIsTheSameInMemory) {
  const auto photo = decode(file("photo.png"));
  const auto png = photo.encode_png();
  EXPECT_EQ(Image::decode(png), photo);
  EXPECT_GRAFT_ERROR(Image().encode_png(), kConfig, "found none");
}

TEST(Encode, JpegIsNearAndNearerWithQuality) {
  const auto photo = decode(file("photo.png"));
  const auto mean_difference = [&](int quality) {
    const auto back = Image::decode(photo.encode_jpeg(quality));
    EXPECT_EQ(back.width_px(), photo.width_px());
    EXPECT_EQ(back.height_px(), photo.height_px());
    double sum = 0;
    for (std::size_t i = 0; i < photo.rgb().size(); ++i) sum += std::abs(back.rgb()[i] - photo.rgb()[i]);
    return sum / static_cast<double>(photo.rgb().size());
  };
  EXPECT_LT(mean_difference(95), 17);  // the picture is mostly noise in colour: 16.1 with Pillow
  EXPECT_LT(mean_difference(95), mean_difference(20));
  EXPECT_LT(photo.encode_jpeg(20).size(), photo.encode_jpeg().size());
  EXPECT_GRAFT_ERROR(photo.encode_jpeg(0), kConfig, "1 to 100");
  EXPECT_GRAFT_ERROR(photo.encode_jpeg(101), kConfig, "1 to 100");
  EXPECT_GRAFT_ERROR(Image().encode_jpeg(), kConfig, "found none");
}

TEST(ContactSheet, PicturesAreInRowsOnWhite) {
  const auto of = [](std::uint8_t grey) { return Image(2, 3, std::vector<std::uint8_t>(18, grey)); };
  const std::vector<Image> pictures{of(10), of(20), of(30)};
  const auto sheet = contact_sheet(pictures, 2);
  EXPECT_EQ(sheet.width_px(), 2 * 6 + 4);  // gaps of 4
  EXPECT_EQ(sheet.height_px(), 2 * 7 + 4);
  const auto at = [&](int x, int y) { return static_cast<int>(sheet.rgb()[static_cast<std::size_t>(y * 16 + x) * 3]); };
  EXPECT_EQ(at(4, 4), 10);
  EXPECT_EQ(at(5, 6), 10);
  EXPECT_EQ(at(10, 4), 20);
  EXPECT_EQ(at(4, 11), 30);
  EXPECT_EQ(at(10, 11), 255);
  EXPECT_EQ(at(3, 4), 255);
  EXPECT_GRAFT_ERROR(contact_sheet({}, 2), kConfig, "none");
  EXPECT_GRAFT_ERROR(contact_sheet(pictures, 0), kConfig, "columns");
  EXPECT_GRAFT_ERROR(contact_sheet(std::vector{of(1), Image(3, 3, std::vector<std::uint8_t>(27))}, 2), kConfig,
                     "2 x 3 for all, found 3 x 3");
  EXPECT_GRAFT_ERROR(contact_sheet(std::vector<Image>(1), 2), kConfig, "found none");
  EXPECT_EQ(contact_sheet(pictures, std::numeric_limits<int>::max()), contact_sheet(pictures, 3));
}

TEST(Resize, EqualsPillow) {
  const auto photo = decode(file("photo.png"));
  const std::vector<std::tuple<std::string, int, int>> sizes{{"down", 23, 17},        {"up", 100, 90},
                                                             {"wider", 90, 20},       {"flatter", 58, 20},
                                                             {"same_height", 30, 47}, {"same", 61, 47}};
  for (const auto& [name, width, height] : sizes)
    for (const auto method : {Interpolation::kNearest, Interpolation::kBilinear, Interpolation::kBicubic})
      EXPECT_EQ(difference(photo.resize(width, height, method),
                           file("resize_" + name + "_" + std::string(to_string(method)) + ".rgb8")),
                0)
          << name << " " << to_string(method);
}

TEST(Image, WhatWasMovedFromHasNoPixels) {
  Image from(4, 4, std::vector<std::uint8_t>(48));
  const Image to = std::move(from);
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_GRAFT_ERROR(from.resize(2, 2), kConfig, "found none");
  EXPECT_GRAFT_ERROR(from.resize_shorter(2), kConfig, "found none");
  EXPECT_GRAFT_ERROR(from.center_crop(2, 2), kConfig, "found none");
  EXPECT_GRAFT_ERROR(from.encode_png(), kConfig, "found none");
  EXPECT_GRAFT_ERROR(from.encode_jpeg(), kConfig, "found none");
  EXPECT_GRAFT_ERROR(contact_sheet(std::span(&from, 1), 1), kConfig, "found none");
  // NOLINTEND(bugprone-use-after-move)
}

TEST(Resize, SizesThatDoNotFitAreErrorsOfOurs) {
  const Image row(60'000, 1, std::vector<std::uint8_t>(180'000));
  EXPECT_GRAFT_ERROR(row.resize_shorter(100'000), kConfig, "2147483647");
  if (graft::testing::kSanitized) GTEST_SKIP() << "AddressSanitizer ends the process";
  EXPECT_GRAFT_ERROR(row.resize(1'000'000, 1'000'000), kOutOfMemory, "");
}

TEST(Resize, ShorterSideAndCropFollowTorchvision) {
  const Image wide(61, 47, std::vector<std::uint8_t>(61 * 47 * 3));
  EXPECT_EQ(wide.resize_shorter(20).width_px(), 25);  // int(20 * 61 / 47)
  EXPECT_EQ(wide.resize_shorter(20).height_px(), 20);
  EXPECT_GRAFT_ERROR(wide.center_crop(62, 10), kConfig, "62 x 10");
  EXPECT_GRAFT_ERROR(wide.resize(0, 3), kConfig, "0 x 3");
  // int(round((n - size) / 2.0)), halves to even: 5 -> 2, 7 -> 4
  std::vector<std::uint8_t> ramp(10 * 3);
  for (std::size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<std::uint8_t>(i / 3);
  EXPECT_EQ(Image(10, 1, ramp).center_crop(5, 1).rgb()[0], 2);
  EXPECT_EQ(Image(10, 1, ramp).center_crop(3, 1).rgb()[0], 4);
}

// The corpus of decoder files with Pillow's verdict; where we differ the reason stands here.
TEST(Corpus, VerdictsAgreeWithPillow) {
  const char* data = std::getenv("GRAFT_DATA");
  if (!data) GTEST_SKIP() << "GRAFT_DATA is not set";
  int files = 0;
  for (const std::string part : {"img_stb", "img_libjpeg_turbo", "exif_orientation"}) {
    const auto root = std::filesystem::path(data) / "decoder_corpus" / part;
    std::ifstream report(root / "PIL_REPORT.tsv");
    ASSERT_TRUE(report) << root;
    std::string line;
    std::getline(report, line);  // the columns' names
    while (std::getline(report, line)) {
      std::istringstream fields(line);
      std::string path, verdict;
      std::getline(fields, path, '\t');
      std::getline(fields, verdict, '\t');
      ++files;
      std::string found = "ok";
      try {
        Image::read(root / path);
      } catch (const Error& error) {
        found = error.what();
      }
      const auto says = [&](const char* text) { return found.find(text) != std::string::npos; };
      // Types that are not supported, and kinds and sizes that are refused on purpose.
      const bool on_purpose =
          says("expected JPEG, PNG or BMP") || says("unsupported kind") || says("pixels and sides") || says("CRC");
      EXPECT_TRUE((found == "ok") == (verdict == "ok") || on_purpose)
          << path << ": Pillow " << verdict << ", here " << found;
    }
  }
  EXPECT_GT(files, 100);
}

}  // namespace
}  // namespace graft
