#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

#include <graft/error.h>

#include "image/decoder.h"
#if defined(GRAFT_HAVE_LIBJPEG)
#include "image/decode_jpeg.h"
#endif
#if defined(GRAFT_HAVE_LIBPNG)
#include "image/decode_png.h"
#endif

namespace graft::image {

namespace {

/// OpenCV's pixels are blue, green, red.
void swap_red_and_blue(const std::uint8_t* from, std::uint8_t* to, int pixels) {
  for (int i = 0; i < pixels; ++i, from += 3, to += 3) {
    to[0] = from[2];
    to[1] = from[1];
    to[2] = from[0];
  }
}

std::vector<std::byte> encode(const Image& image, const char* type, const std::vector<int>& parameters) {
  cv::Mat bgr(image.height_px(), image.width_px(), CV_8UC3);
  const auto row_bytes = static_cast<std::size_t>(bgr.cols) * 3;
  for (int y = 0; y < bgr.rows; ++y)
    swap_red_and_blue(image.rgb().data() + static_cast<std::size_t>(y) * row_bytes, bgr.ptr<std::uint8_t>(y), bgr.cols);
  std::vector<std::uint8_t> file;
  if (!cv::imencode(type, bgr, file, parameters))
    throw Error(ErrorCode::kInternal, std::string("OpenCV cannot write ") + type);
  const auto bytes = std::as_bytes(std::span(file));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Image decode_pixels(std::span<const std::byte> file, [[maybe_unused]] const Container& container,
                    [[maybe_unused]] int denominator, std::string_view name) {
#if defined(GRAFT_HAVE_LIBJPEG)
  if (container.type == FileType::kJpeg) return decode_jpeg(file, container, denominator, name);
#endif
#if defined(GRAFT_HAVE_LIBPNG)
  if (container.type == FileType::kPng) return decode_png(file, container, name);
#endif
  cv::Mat bgr;
  try {
    const cv::Mat bytes(1, static_cast<int>(file.size()), CV_8U, const_cast<std::byte*>(file.data()));
    bgr = cv::imdecode(bytes, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
  } catch (const cv::Exception& error) {
    throw Error(ErrorCode::kFormat, std::string(name) + ": cannot be decoded: " + error.what());
  }
  if (bgr.empty()) throw Error(ErrorCode::kFormat, std::string(name) + ": cannot be decoded: damaged data");

  std::vector<std::uint8_t> rgb(bgr.total() * 3);
  const auto row_bytes = static_cast<std::size_t>(bgr.cols) * 3;
  for (int y = 0; y < bgr.rows; ++y)
    swap_red_and_blue(bgr.ptr<std::uint8_t>(y), rgb.data() + static_cast<std::size_t>(y) * row_bytes, bgr.cols);
  return Image(bgr.cols, bgr.rows, std::move(rgb));
}

std::vector<std::byte> encode_png(const Image& image) { return encode(image, ".png", {}); }

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  return encode(image, ".jpg", {cv::IMWRITE_JPEG_QUALITY, quality});
}

std::string_view decoder_name() noexcept { return "opencv"; }

}  // namespace graft::image
