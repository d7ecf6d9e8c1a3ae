// Pillow's own files are the sources: src/libImaging/{Blend,Convert,Filter,Geometry}.c,
// src/PIL/{ImageEnhance,ImageOps}.py, Image.rotate in src/PIL/Image.py.

#include "image/operations.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

namespace graft::image {

namespace {

using Bytes = std::vector<std::uint8_t>;

Image with_bytes(const Image& like, Bytes rgb) { return Image(like.width_px(), like.height_px(), std::move(rgb)); }

std::uint8_t clip(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

/// ITU-R 601-2 luma in 16-bit fixed point.
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

/// Image.blend(degenerate, image, factor): float arithmetic, truncated.
Image blend(const Image& image, const Bytes& degenerate, double factor) {
  const auto alpha = static_cast<float>(factor);
  Bytes out(degenerate.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int from = degenerate[i], to = image.rgb()[i];
    const float value = static_cast<float>(from) + alpha * static_cast<float>(to - from);
    out[i] = value <= 0 ? 0 : value >= 255 ? 255 : static_cast<std::uint8_t>(value);
  }
  return with_bytes(image, std::move(out));
}

using Tables = std::array<std::array<std::uint8_t, 256>, 3>;

/// Each value through its channel's table.
Image looked_up(const Image& image, const Tables& tables) {
  Bytes out(image.rgb().begin(), image.rgb().end());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = tables[i % 3][out[i]];
  return with_bytes(image, std::move(out));
}

/// Each value through the same function.
template <class Function>
Image mapped(const Image& image, const Function& value_of) {
  Tables tables;
  for (int value = 0; value < 256; ++value) tables[0][static_cast<std::size_t>(value)] = value_of(value);
  tables[1] = tables[2] = tables[0];
  return looked_up(image, tables);
}

using Histogram = std::array<int, 256>;

Histogram histogram(const Image& image, std::size_t channel) {
  Histogram counts{};
  for (std::size_t i = channel; i < image.rgb().size(); i += 3) ++counts[image.rgb()[i]];
  return counts;
}

std::array<std::uint8_t, 3> to_hsv(const std::uint8_t* rgb) {
  const std::uint8_t r = rgb[0], g = rgb[1], b = rgb[2];
  const std::uint8_t most = std::max({r, g, b}), least = std::min({r, g, b});
  if (most == least) return {0, 0, most};
  const auto range = static_cast<float>(most - least);
  const float saturation = range / static_cast<float>(most);
  const float rc = static_cast<float>(most - r) / range, gc = static_cast<float>(most - g) / range,
              bc = static_cast<float>(most - b) / range;
  double hue = r == most ? bc - gc : g == most ? 2.0 + rc - bc : 4.0 + gc - rc;
  hue = static_cast<float>(hue);
  const double turns = hue / 6.0 + 1.0;  // 5/6 to 2
  hue = static_cast<float>(turns - std::floor(turns));
  return {clip(static_cast<int>(hue * 255.0)), clip(static_cast<int>(saturation * 255.0)), most};
}

std::array<std::uint8_t, 3> from_hsv(std::uint8_t h, std::uint8_t s, std::uint8_t v) {
  if (s == 0) return {v, v, v};
  const auto sextant = static_cast<int>(static_cast<float>(h) * 6.0 / 255.0);
  const auto f = static_cast<float>(static_cast<float>(h) * 6.0 / 255.0 - static_cast<float>(sextant));
  const auto saturation = static_cast<float>(s / 255.0);
  const auto value = static_cast<float>(v);
  const auto rounded = [](double x) { return clip(static_cast<int>(x + 0.5)); };  // x is not negative
  const auto p = rounded(value * (1.0 - saturation));
  const auto q = rounded(value * (1.0 - saturation * f));
  const auto t = rounded(value * (1.0 - saturation * (1.0 - f)));
  switch (sextant % 6) {
    case 0:
      return {v, t, p};
    case 1:
      return {q, v, p};
    case 2:
      return {p, v, t};
    case 3:
      return {p, q, v};
    case 4:
      return {t, p, v};
    default:
      return {v, p, q};
  }
}

}  // namespace

Image crop(const Image& image, const Window& window) {
  Bytes out;
  out.reserve(static_cast<std::size_t>(window.width) * static_cast<std::size_t>(window.height) * 3);
  for (int y = 0; y < window.height; ++y) {
    const auto* row =
        image.rgb().data() + (static_cast<std::ptrdiff_t>(window.top + y) * image.width_px() + window.left) * 3;
    out.insert(out.end(), row, row + static_cast<std::ptrdiff_t>(window.width) * 3);
  }
  return Image(window.width, window.height, std::move(out));
}

Image flip(const Image& image, bool horizontally, bool vertically) {
  Bytes out(image.rgb().size());
  const auto stride = static_cast<std::ptrdiff_t>(image.width_px()) * 3;
  for (int y = 0; y < image.height_px(); ++y) {
    const auto* from = image.rgb().data() + (vertically ? image.height_px() - 1 - y : y) * stride;
    auto* to = out.data() + y * stride;
    if (!horizontally) {
      std::copy_n(from, stride, to);
      continue;
    }
    for (std::ptrdiff_t x = 0; x < stride; x += 3) std::copy_n(from + stride - 3 - x, 3, to + x);
  }
  return with_bytes(image, std::move(out));
}

Image adjust_brightness(const Image& image, double factor) {
  return blend(image, Bytes(image.rgb().size(), 0), factor);
}

Image adjust_contrast(const Image& image, double factor) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < image.rgb().size(); i += 3) sum += luma(&image.rgb()[i]);
  const double mean = static_cast<double>(sum) / static_cast<double>(image.rgb().size() / 3);
  return blend(image, Bytes(image.rgb().size(), static_cast<std::uint8_t>(mean + 0.5)), factor);
}

Image adjust_saturation(const Image& image, double factor) {
  Bytes grey(image.rgb().size());
  for (std::size_t i = 0; i < grey.size(); i += 3) std::fill_n(&grey[i], 3, luma(&image.rgb()[i]));
  return blend(image, grey, factor);
}

Image adjust_sharpness(const Image& image, double factor) {
  // ImageFilter.SMOOTH: a 3 x 3 kernel of 1 with 5 in the middle; the border is kept.
  Bytes smooth(image.rgb().begin(), image.rgb().end());
  const auto stride = static_cast<std::ptrdiff_t>(image.width_px()) * 3;
  for (int y = 1; y + 1 < image.height_px(); ++y) {
    for (std::ptrdiff_t x = 3; x + 3 < stride; ++x) {
      const auto* at = image.rgb().data() + y * stride + x;
      int sum = 4 * at[0];
      for (const std::ptrdiff_t row : {-stride, std::ptrdiff_t{0}, stride}) sum += at[row - 3] + at[row] + at[row + 3];
      smooth[static_cast<std::size_t>(y * stride + x)] = static_cast<std::uint8_t>((2 * sum + 13) / 26);
    }
  }
  return blend(image, smooth, factor);
}

Image adjust_hue(const Image& image, double shift) {
  const auto turn = static_cast<std::uint8_t>(static_cast<int>(shift * 255));  // wraps, as the 8-bit hue does
  Bytes out(image.rgb().size());
  for (std::size_t i = 0; i < out.size(); i += 3) {
    const auto [h, s, v] = to_hsv(&image.rgb()[i]);
    const auto rgb = from_hsv(static_cast<std::uint8_t>(h + turn), s, v);
    std::copy(rgb.begin(), rgb.end(), &out[i]);
  }
  return with_bytes(image, std::move(out));
}

Image posterize(const Image& image, int bits) {
  const int mask = 0xff & ~((1 << (8 - bits)) - 1);
  return mapped(image, [&](int value) { return static_cast<std::uint8_t>(value & mask); });
}

Image solarize(const Image& image, double threshold) {
  return mapped(image, [&](int value) { return static_cast<std::uint8_t>(value < threshold ? value : 255 - value); });
}

Image autocontrast(const Image& image) {
  Tables tables;
  for (std::size_t c = 0; c < 3; ++c) {
    const auto counts = histogram(image, c);
    int low = 0, high = 255;
    while (low < 255 && counts[static_cast<std::size_t>(low)] == 0) ++low;
    while (high > 0 && counts[static_cast<std::size_t>(high)] == 0) --high;
    const double scale = high > low ? 255.0 / (high - low) : 1, offset = high > low ? -low * scale : 0;
    for (int value = 0; value < 256; ++value)
      tables[c][static_cast<std::size_t>(value)] = clip(static_cast<int>(value * scale + offset));
  }
  return looked_up(image, tables);
}

Image equalize(const Image& image) {
  Tables tables;
  for (std::size_t c = 0; c < 3; ++c) {
    const auto counts = histogram(image, c);
    int last = 0, sum = 0;
    for (const int count : counts) {
      sum += count;
      if (count) last = count;
    }
    const int step = (sum - last) / 255;
    int n = step / 2;
    for (std::size_t value = 0; value < 256; ++value) {
      tables[c][value] = step ? clip(n / step) : static_cast<std::uint8_t>(value);
      n += counts[value];
    }
  }
  return looked_up(image, tables);
}

Image affine_nearest(const Image& image, const std::array<double, 6>& m) {
  // 16.16 fixed point, from the centre of each output pixel.
  const auto fixed = [](double value) { return static_cast<std::int64_t>(std::floor(value * 65536.0 + 0.5)); };
  const std::int64_t a = fixed(m[0]), b = fixed(m[1]), d = fixed(m[3]), e = fixed(m[4]);
  std::int64_t x_row = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5), y_row = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
  Bytes out(image.rgb().size(), 0);
  auto* to = out.data();
  for (int y = 0; y < image.height_px(); ++y, x_row += b, y_row += e) {
    std::int64_t x_in = x_row, y_in = y_row;
    for (int x = 0; x < image.width_px(); ++x, x_in += a, y_in += d, to += 3) {
      const std::int64_t column = x_in >> 16, row = y_in >> 16;
      if (column < 0 || column >= image.width_px() || row < 0 || row >= image.height_px()) continue;
      std::copy_n(image.rgb().data() + (row * image.width_px() + column) * 3, 3, to);
    }
  }
  return with_bytes(image, std::move(out));
}

Image rotate_nearest(const Image& image, double degrees) {
  degrees = std::fmod(degrees, 360.0);
  if (degrees < 0) degrees += 360.0;
  const int width = image.width_px(), height = image.height_px();
  if (degrees == 0) return image;
  // Quarter turns of a square, and half turns, are exact.
  if (degrees == 180 || ((degrees == 90 || degrees == 270) && width == height)) {
    Bytes out(image.rgb().size());
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const int from_x = degrees == 180 ? width - 1 - x : degrees == 90 ? width - 1 - y : y;
        const int from_y = degrees == 180 ? height - 1 - y : degrees == 90 ? x : width - 1 - x;
        std::copy_n(image.rgb().data() + (static_cast<std::ptrdiff_t>(from_y) * width + from_x) * 3, 3,
                    out.data() + (static_cast<std::ptrdiff_t>(y) * width + x) * 3);
      }
    }
    return with_bytes(image, std::move(out));
  }
  const auto to_15_digits = [](double value) { return std::round(value * 1e15) / 1e15; };
  const double angle = -degrees * (std::numbers::pi / 180);
  std::array<double, 6> m{to_15_digits(std::cos(angle)),  to_15_digits(std::sin(angle)), 0,
                          to_15_digits(-std::sin(angle)), to_15_digits(std::cos(angle)), 0};
  const double cx = width / 2.0, cy = height / 2.0;
  m[2] = m[0] * -cx + m[1] * -cy + cx;
  m[5] = m[3] * -cx + m[4] * -cy + cy;
  return affine_nearest(image, m);
}

}  // namespace graft::image
