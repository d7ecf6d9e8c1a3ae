#include "image/decode_jpeg.h"

#include <csetjmp>
#include <cstdio>
#include <string>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

#include <graft/error.h>

#include "base/warnings.h"

namespace graft::image {

namespace {

struct Failure {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf where;
  char message[JMSG_LENGTH_MAX];
  char warning[JMSG_LENGTH_MAX];  ///< the first
  bool no_memory;
};

[[noreturn]] void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  info->err->format_message(info, failure->message);
  failure->no_memory = info->err->msg_code == JERR_OUT_OF_MEMORY;
  std::longjmp(failure->where, 1);
}

void be_silent(j_common_ptr) {}

/// Level -1 is a warning; those above are traces. Where data end before the picture does, the rest would be grey.
void on_message(j_common_ptr info, int level) {
  if (level < 0 && (info->err->msg_code == JWRN_HIT_MARKER || info->err->msg_code == JWRN_JPEG_EOF)) on_error(info);
  auto* failure = reinterpret_cast<Failure*>(info->err);
  if (level < 0 && info->err->num_warnings++ == 0) info->err->format_message(info, failure->warning);
}

/// Pillow's cmyk2rgb for a row of Adobe's inverted values.
void to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, std::size_t pixels) {
  for (std::size_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3)
    for (int channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk[channel]) * cmyk[3] + 128;
      rgb[channel] = static_cast<std::uint8_t>(cmyk[3] - ((product >> 8) + product) / 256);
    }
}

/// `cmyk`: a row for files of four channels. libjpeg leaves by longjmp: nothing here has a destructor.
bool read_pixels(std::span<const std::byte> file, std::uint8_t* rgb, std::uint8_t* cmyk, int width_px, int height_px,
                 int denominator, Failure& failure) {
  jpeg_decompress_struct info{};
  info.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = on_error;
  failure.manager.output_message = be_silent;
  failure.manager.emit_message = on_message;
  if (setjmp(failure.where)) {
    jpeg_destroy_decompress(&info);
    return false;
  }
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
  jpeg_read_header(&info, TRUE);
  info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
  info.scale_num = 1;
  info.scale_denom = static_cast<unsigned>(denominator);
  jpeg_start_decompress(&info);
  if (info.output_width != static_cast<JDIMENSION>(width_px) ||
      info.output_height != static_cast<JDIMENSION>(height_px)) {
    std::snprintf(failure.message, sizeof failure.message, "the decoded size differs from the header's");
    jpeg_destroy_decompress(&info);
    return false;
  }
  while (info.output_scanline < info.output_height) {
    std::uint8_t* const line = rgb + static_cast<std::size_t>(info.output_scanline) * info.output_width * 3;
    JSAMPROW row = cmyk ? cmyk : line;
    jpeg_read_scanlines(&info, &row, 1);
    if (cmyk) to_rgb(cmyk, line, info.output_width);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
  return true;
}

}  // namespace

Image decode_jpeg(std::span<const std::byte> file, const Container& container, int denominator, std::string_view name) {
  const bool has_four = container.channels == 4;
  if (has_four) denominator = 1;
  const int width = divided_up(container.width_px, denominator), height = divided_up(container.height_px, denominator);
  std::vector<std::uint8_t> rgb(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  std::vector<std::uint8_t> cmyk(has_four ? static_cast<std::size_t>(width) * 4 : 0);
  Failure failure{};
  if (!read_pixels(file, rgb.data(), has_four ? cmyk.data() : nullptr, width, height, denominator, failure))
    throw Error(failure.no_memory ? ErrorCode::kOutOfMemory : ErrorCode::kFormat,
                std::string(name) + ": cannot be decoded: " + failure.message);
  if (failure.manager.num_warnings > 0) base::warn_of_library("libjpeg", std::string(name) + ": " + failure.warning);
  return Image(width, height, std::move(rgb));
}

}  // namespace graft::image
