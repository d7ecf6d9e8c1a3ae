// stb_image, compiled here and nowhere else, with internal linkage and only the types that check_container lets
// through.

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <memory>

#include <graft/error.h>

#include "image/decoder.h"

namespace graft::image {

namespace {

/// Receives what stb_image_write writes; `context` is a vector of bytes.
void append(void* context, void* data, int size) {
  auto& out = *static_cast<std::vector<std::byte>*>(context);
  const auto* bytes = static_cast<const std::byte*>(data);
  out.insert(out.end(), bytes, bytes + size);
}

}  // namespace

Image decode_pixels(std::span<const std::byte> file, const Container& container, int, std::string_view name) {
  if (container.lacks_huffman_tables)  // stb_image 2.27 would take memory that nobody has written for them
    throw Error(ErrorCode::kFormat, std::string(name) + ": unsupported kind of JPEG: without its Huffman tables");
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(file.data()), static_cast<int>(file.size()), &width,
                            &height, &channels, 3),
      &stbi_image_free);
  if (!pixels) throw Error(ErrorCode::kFormat, std::string(name) + ": cannot be decoded: " + stbi_failure_reason());
  const auto size = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
  return Image(width, height, std::vector<std::uint8_t>(pixels.get(), pixels.get() + size));
}

std::vector<std::byte> encode_png(const Image& image) {
  std::vector<std::byte> png;
  if (!stbi_write_png_to_func(append, &png, image.width_px(), image.height_px(), 3, image.rgb().data(), 0))
    throw Error(ErrorCode::kInternal, "stb_image_write cannot write PNG");
  return png;
}

std::vector<std::byte> encode_jpeg(const Image& image, int quality) {
  std::vector<std::byte> jpeg;
  if (!stbi_write_jpg_to_func(append, &jpeg, image.width_px(), image.height_px(), 3, image.rgb().data(), quality))
    throw Error(ErrorCode::kInternal, "stb_image_write cannot write JPEG");
  return jpeg;
}

std::string_view decoder_name() noexcept { return "stb_image"; }

}  // namespace graft::image
