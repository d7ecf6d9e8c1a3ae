#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <graft/error.h>
#include <graft/explain.h>

#include "base/check.h"
#include "base/translate.h"
#include "image/canvas.h"
#include "image/pipeline.h"

namespace graft {

namespace {

using image::Colour;

/// 33 of matplotlib's 256 colours, evenly spaced; those between are mixed, which is off by at most 3 of 255.
using Table = std::array<std::uint32_t, 33>;
constexpr Table kViridisTable{0x440154, 0x470d60, 0x48186a, 0x482374, 0x472d7b, 0x453781, 0x424086, 0x3e4989, 0x3b528b,
                              0x375b8d, 0x33638d, 0x2f6b8e, 0x2c728e, 0x297a8e, 0x26828e, 0x23898e, 0x21908c, 0x1f978b,
                              0x1f9f88, 0x21a685, 0x27ad81, 0x31b57b, 0x3ebc74, 0x4dc26c, 0x5cc863, 0x6ece58, 0x82d34d,
                              0x95d840, 0xaadc32, 0xc0df25, 0xd5e21a, 0xeae51a, 0xfde725};
constexpr Table kMagmaTable{0x000004, 0x030312, 0x0a0822, 0x130d34, 0x1d1147, 0x29115a, 0x36106b, 0x440f76, 0x50127c,
                            0x5d177f, 0x691c81, 0x762181, 0x822681, 0x8f2a81, 0x9c2e7f, 0xa9337d, 0xb6367a, 0xc33b75,
                            0xcf4070, 0xdb476a, 0xe65164, 0xee5c5e, 0xf46a5c, 0xf9785d, 0xfb8861, 0xfd9668, 0xfea571,
                            0xfeb47b, 0xfec287, 0xfed194, 0xfde0a1, 0xfceeb0, 0xfcfdbf};
constexpr Table kTurboTable{0x30123b, 0x392a73, 0x4040a2, 0x4456c7, 0x466be3, 0x4680f6, 0x4293ff, 0x37a7fa, 0x28bbec,
                            0x1dccd9, 0x18dcc3, 0x1ee8b0, 0x31f299, 0x4cf97e, 0x6bfe64, 0x8aff4c, 0xa2fc3c, 0xb8f735,
                            0xcced34, 0xdee037, 0xedd03a, 0xf7c03a, 0xfdad35, 0xfe982c, 0xfb8022, 0xf56818, 0xec520f,
                            0xe14109, 0xd23105, 0xc12302, 0xac1701, 0x950d01, 0x7a0403};

const Table& table_of(Colormap colormap) {
  switch (colormap) {
    case Colormap::kViridis:
      return kViridisTable;
    case Colormap::kMagma:
      return kMagmaTable;
    case Colormap::kTurbo:
      return kTurboTable;
  }
  return kViridisTable;
}

using Rgb = std::array<double, 3>;

Rgb colour_of(double heat, const Table& table) {
  const double at = heat * static_cast<double>(table.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(at), table.size() - 2);
  const double above = at - static_cast<double>(below);
  Rgb colour{};
  for (std::size_t c = 0; c < 3; ++c) {
    const auto channel = [&](std::size_t i) { return static_cast<double>(table[i] >> (16 - 8 * c) & 0xff); };
    colour[c] = channel(below) * (1 - above) + channel(below + 1) * above;
  }
  return colour;
}

/// A heat map to look up at places between its values.
class Heat {
 public:
  explicit Heat(const at::Tensor& values)
      : values_(values.detach().to(at::kCPU).nan_to_num(0).clamp(0, 1).contiguous()),
        height_(values.size(0)),
        width_(values.size(1)) {}

  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }

  /// Bilinear between the middles of the values, which are at halves.
  double at(double x, double y) const {
    const double column = std::clamp(x - 0.5, 0.0, static_cast<double>(width_ - 1));
    const double row = std::clamp(y - 0.5, 0.0, static_cast<double>(height_ - 1));
    const auto left = static_cast<std::int64_t>(column), top = static_cast<std::int64_t>(row);
    const double across = column - static_cast<double>(left), down = row - static_cast<double>(top);
    const auto right = std::min(left + 1, width_ - 1), bottom = std::min(top + 1, height_ - 1);
    return (value(top, left) * (1 - across) + value(top, right) * across) * (1 - down) +
           (value(bottom, left) * (1 - across) + value(bottom, right) * across) * down;
  }

 private:
  double value(std::int64_t row, std::int64_t column) const {
    return values_.const_data_ptr<float>()[row * width_ + column];
  }

  at::Tensor values_;
  std::int64_t height_, width_;
};

void check(const Image& picture, const at::Tensor& heat, const Preprocessing& preprocessing,
           const OverlayOptions& options) {
  const auto fraction = [](double value, const char* what) {
    base::require(value >= 0 && value <= 1, std::string("overlay: ") + what, "0 to 1", value);
  };
  fraction(options.opacity, "opacity");
  fraction(options.outside, "outside");
  base::require(options.longest_side_px >= 1, "overlay: longest_side_px", "1 or more", options.longest_side_px);
  if (picture.empty()) throw Error(ErrorCode::kConfig, "overlay: expected a picture, found an empty image");
  if (!heat.defined() || heat.dim() != 2 || heat.scalar_type() != at::kFloat || heat.numel() == 0)
    throw Error(ErrorCode::kConfig, "overlay: expected a heat map [H, W] of float32, found " +
                                        (heat.defined() ? c10::str(heat.sizes(), " of ", heat.scalar_type())
                                                        : std::string("an undefined tensor")));
  preprocessing.validate();
}

/// No side longer than that.
Image shrunk(const Image& picture, int longest_side_px) {
  const int longest = std::max(picture.width_px(), picture.height_px());
  if (longest <= longest_side_px) return picture;
  const auto side = [&](int px) {
    return std::max(1, static_cast<int>(std::lround(static_cast<double>(px) * longest_side_px / longest)));
  };
  return picture.resize(side(picture.width_px()), side(picture.height_px()));
}

std::uint8_t rounded(double value) { return static_cast<std::uint8_t>(value + 0.5); }

}  // namespace

std::string_view to_string(Colormap colormap) noexcept {
  switch (colormap) {
    case Colormap::kViridis:
      return "viridis";
    case Colormap::kMagma:
      return "magma";
    case Colormap::kTurbo:
      return "turbo";
  }
  return "viridis";
}

Colormap parse_colormap(std::string_view text) {
  for (const auto colormap : {Colormap::kViridis, Colormap::kMagma, Colormap::kTurbo})
    if (text == to_string(colormap)) return colormap;
  base::refuse("colormap", "viridis, magma or turbo", "\"" + std::string(text) + "\"");
}

Image overlay(const Image& picture, const at::Tensor& heat, const Preprocessing& preprocessing,
              const OverlayOptions& options) {
  check(picture, heat, preprocessing, options);
  return base::translated("drawing a heat map", [&] {
    const Image base = shrunk(picture, options.longest_side_px);
    const Heat map(heat);
    const Table& table = table_of(options.colormap);
    const auto seen = image::seen_region(picture, preprocessing);
    // From this picture's pixels to the heat map's.
    const double across = picture.filled_width_px() / base.width_px(),
                 down = picture.filled_height_px() / base.height_px();
    const double per_column = static_cast<double>(map.width()) / seen.width_px;
    const double per_row = static_cast<double>(map.height()) / seen.height_px;

    std::vector<std::uint8_t> rgb(base.rgb().begin(), base.rgb().end());
    auto* pixel = rgb.data();
    for (int y = 0; y < base.height_px(); ++y) {
      const double row = ((y + 0.5) * down - seen.top_px) * per_row;
      const bool row_is_seen = row >= 0 && row < static_cast<double>(map.height());
      for (int x = 0; x < base.width_px(); ++x, pixel += 3) {
        const double column = ((x + 0.5) * across - seen.left_px) * per_column;
        if (!row_is_seen || column < 0 || column >= static_cast<double>(map.width())) {
          for (int c = 0; c < 3; ++c) pixel[c] = rounded(pixel[c] * options.outside);
          continue;
        }
        // What is cold stays as it is.
        const double hot = map.at(column, row), opacity = hot * options.opacity;
        const auto colour = colour_of(hot, table);
        for (std::size_t c = 0; c < 3; ++c) pixel[c] = rounded(pixel[c] * (1 - opacity) + colour[c] * opacity);
      }
    }
    return Image(base.width_px(), base.height_px(), std::move(rgb));
  });
}

}  // namespace graft
