#include "image/canvas.h"

#include <algorithm>
#include <utility>

namespace graft::image {

Canvas::Canvas(int width_px, int height_px)
    : width_(width_px),
      height_(height_px),
      rgb_(static_cast<std::size_t>(width_px) * static_cast<std::size_t>(height_px) * 3, 255) {}

Window Canvas::visible(const Window& rectangle) const {
  const int left = std::clamp(rectangle.left, 0, width_), top = std::clamp(rectangle.top, 0, height_);
  return {left, top, std::clamp(rectangle.left + rectangle.width, left, width_) - left,
          std::clamp(rectangle.top + rectangle.height, top, height_) - top};
}

std::uint8_t* Canvas::pixel(int x, int y) { return rgb_.data() + (static_cast<std::ptrdiff_t>(y) * width_ + x) * 3; }

void Canvas::put(int left_px, int top_px, const Image& picture) {
  const auto seen = visible({left_px, top_px, picture.width_px(), picture.height_px()});
  for (int y = seen.top; y < seen.top + seen.height; ++y) {
    const auto from = static_cast<std::ptrdiff_t>(y - top_px) * picture.width_px() + seen.left - left_px;
    std::copy_n(picture.rgb().data() + from * 3, seen.width * 3, pixel(seen.left, y));
  }
}

void Canvas::fill(const Window& rectangle, const Colour& colour) {
  const auto seen = visible(rectangle);
  for (int y = seen.top; y < seen.top + seen.height; ++y)
    for (int x = seen.left; x < seen.left + seen.width; ++x) std::copy_n(colour.begin(), 3, pixel(x, y));
}

Image Canvas::image() && { return Image(width_, height_, std::move(rgb_)); }

}  // namespace graft::image
