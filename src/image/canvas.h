/// A picture to draw on.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <graft/image.h>

#include "image/resample.h"

namespace graft::image {

/// Red, green, blue.
using Colour = std::array<std::uint8_t, 3>;

/// White at first. What reaches over its edges is left out.
class Canvas {
 public:
  Canvas(int width_px, int height_px);

  void put(int left_px, int top_px, const Image& picture);
  void fill(const Window& rectangle, const Colour& colour);

  Image image() &&;

 private:
  /// The part of the rectangle that is on the canvas.
  Window visible(const Window& rectangle) const;
  std::uint8_t* pixel(int x, int y);

  int width_, height_;
  std::vector<std::uint8_t> rgb_;
};

}  // namespace graft::image
