#include "image/decode_png.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <png.h>

#include <graft/error.h>

#include "base/warnings.h"

namespace graft::image {

namespace {

struct Failure {
  std::jmp_buf where;
  char message[256];
  char warning[256];  ///< the first; empty without
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  std::snprintf(failure->message, sizeof failure->message, "%s", message);
  std::longjmp(failure->where, 1);
}

void on_warning(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  if (failure->warning[0] == '\0') std::snprintf(failure->warning, sizeof failure->warning, "%s", message);
}

void read_bytes(png_structp png, png_bytep into, std::size_t size) {
  auto& rest = *static_cast<std::span<const std::byte>*>(png_get_io_ptr(png));
  if (size > rest.size()) png_error(png, "cut off");
  std::memcpy(into, rest.data(), size);
  rest = rest.subspan(size);
}

/// libpng leaves by longjmp: nothing here has a destructor.
bool read_pixels(std::span<const std::byte>& rest, png_bytepp rows, const Container& container, Failure& failure) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  if (!info) {
    png_destroy_read_struct(&png, nullptr, nullptr);
    std::snprintf(failure.message, sizeof failure.message, "libpng cannot begin");
    return false;
  }
  if (setjmp(failure.where)) {
    png_destroy_read_struct(&png, &info, nullptr);
    return false;
  }
  png_set_read_fn(png, &rest, read_bytes);
  png_read_info(png, info);
  if (png_get_image_width(png, info) != static_cast<png_uint_32>(container.width_px) ||
      png_get_image_height(png, info) != static_cast<png_uint_32>(container.height_px))
    png_error(png, "the size differs from the header's");
  png_set_strip_16(png);
  png_set_expand(png);
  png_set_strip_alpha(png);
  png_set_gray_to_rgb(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  if (png_get_rowbytes(png, info) != static_cast<std::size_t>(container.width_px) * 3)
    png_error(png, "a kind of pixels that is not known here");
  png_read_image(png, rows);
  png_read_end(png, nullptr);
  png_destroy_read_struct(&png, &info, nullptr);
  return true;
}

}  // namespace

Image decode_png(std::span<const std::byte> file, const Container& container, std::string_view name) {
  const auto row_bytes = static_cast<std::size_t>(container.width_px) * 3;
  std::vector<std::uint8_t> rgb(row_bytes * static_cast<std::size_t>(container.height_px));
  std::vector<png_bytep> rows;
  rows.reserve(static_cast<std::size_t>(container.height_px));
  for (int y = 0; y < container.height_px; ++y) rows.push_back(rgb.data() + static_cast<std::size_t>(y) * row_bytes);
  Failure failure;
  failure.warning[0] = '\0';
  if (!read_pixels(file, rows.data(), container, failure))
    throw Error(ErrorCode::kFormat, std::string(name) + ": cannot be decoded: " + failure.message);
  if (failure.warning[0] != '\0') base::warn_of_library("libpng", std::string(name) + ": " + failure.warning);
  return Image(container.width_px, container.height_px, std::move(rgb));
}

}  // namespace graft::image
