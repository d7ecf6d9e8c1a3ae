// Keras' ImageDataGenerator (keras/src/legacy/preprocessing/image.py: get_random_transform, apply_transform), with
// scipy.ndimage.affine_transform of order 1 underneath.

#include "image/keras_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>
#include <utility>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "image/operations.h"

namespace graft::image {

namespace {

Matrix operator*(const Matrix& a, const Matrix& b) {
  Matrix c{};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t k = 0; k < 3; ++k) c[i * 3 + j] += a[i * 3 + k] * b[k * 3 + j];
  return c;
}

/// Where `i` lies inside [0, n) under the fill mode; -1: nowhere.
int folded(std::int64_t i, int n, FillMode mode) {
  if (i >= 0 && i < n) return static_cast<int>(i);
  switch (mode) {
    case FillMode::kNearest:
      return i < 0 ? 0 : n - 1;
    case FillMode::kConstant:
      return -1;
    case FillMode::kWrap:
      return static_cast<int>(((i % n) + n) % n);
    case FillMode::kReflect: {  // (d c b a | a b c d | d c b a)
      const std::int64_t period = 2 * static_cast<std::int64_t>(n);
      const std::int64_t at = ((i % period) + period) % period;
      return static_cast<int>(at < n ? at : period - 1 - at);
    }
  }
  return -1;
}

/// scipy's "wrap" takes a period of n - 1: the last sample lies on the first.
double wrapped(double position, int n) {
  if (n == 1) return 0;
  const double period = n - 1;
  if (position < 0) return position + period * (std::floor(-position / period) + 1);
  return position > period ? position - period * std::floor(position / period) : position;
}

void sample(const Image& image, double row, double column, const Augment& augment, float* out) {
  const int width = image.width_px(), height = image.height_px();
  if (augment.fill_mode == FillMode::kWrap) {
    row = wrapped(row, height);
    column = wrapped(column, width);
  }
  // scipy's "constant" does not blend across the edge.
  const bool outside = row < 0 || row > height - 1 || column < 0 || column > width - 1;
  if (augment.fill_mode == FillMode::kConstant && outside) {
    std::fill_n(out, 3, static_cast<float>(augment.fill_value));
    return;
  }
  const double top = std::floor(row), left = std::floor(column);
  const double down = row - top, right = column - left;
  const std::array<int, 2> rows{folded(static_cast<std::int64_t>(top), height, augment.fill_mode),
                                folded(static_cast<std::int64_t>(top) + 1, height, augment.fill_mode)};
  const std::array<int, 2> columns{folded(static_cast<std::int64_t>(left), width, augment.fill_mode),
                                   folded(static_cast<std::int64_t>(left) + 1, width, augment.fill_mode)};
  std::array<double, 3> sum{};
  for (std::size_t i = 0; i < 2; ++i) {
    for (std::size_t j = 0; j < 2; ++j) {
      const double weight = (i ? down : 1 - down) * (j ? right : 1 - right);
      if (weight == 0 || rows[i] < 0 || columns[j] < 0) continue;
      const auto* pixel = image.rgb().data() + (static_cast<std::ptrdiff_t>(rows[i]) * width + columns[j]) * 3;
      for (std::size_t c = 0; c < 3; ++c) sum[c] += weight * pixel[c];
    }
  }
  for (std::size_t c = 0; c < 3; ++c) out[c] = static_cast<float>(sum[c]);
}

#if defined(__SSE2__)
using Pixel = __m128;  // three channels and what follows
Pixel pixel_at(const std::uint8_t* from) {
  int bytes = 0;
  std::memcpy(&bytes, from, sizeof bytes);
  const auto zero = _mm_setzero_si128();
  return _mm_cvtepi32_ps(_mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_cvtsi32_si128(bytes), zero), zero));
}
Pixel blend(Pixel a, Pixel b, float share) {
  return _mm_add_ps(_mm_mul_ps(a, _mm_set1_ps(1 - share)), _mm_mul_ps(b, _mm_set1_ps(share)));
}
#else
using Pixel = std::array<float, 3>;
Pixel pixel_at(const std::uint8_t* from) {
  return {static_cast<float>(from[0]), static_cast<float>(from[1]), static_cast<float>(from[2])};
}
Pixel blend(const Pixel& a, const Pixel& b, float share) {
  Pixel result;
  for (std::size_t c = 0; c < 3; ++c) result[c] = a[c] * (1 - share) + b[c] * share;
  return result;
}
#endif

/// sample() in float32 for a position whose four neighbours, and a pixel behind them, lie inside, whatever the fill
/// mode.
void sample_inside(const Image& image, double row, double column, float* out) {
  const auto top = static_cast<int>(row), left = static_cast<int>(column);
  const auto down = static_cast<float>(row - top), right = static_cast<float>(column - left);
  const auto stride = static_cast<std::ptrdiff_t>(image.width_px()) * 3;
  const auto* above = image.rgb().data() + top * stride + left * 3;
  const auto* below = above + stride;
  const Pixel value = blend(blend(pixel_at(above), pixel_at(above + 3), right),
                            blend(pixel_at(below), pixel_at(below + 3), right), down);
  std::memcpy(out, &value, 3 * sizeof *out);
}

std::vector<float> moved_and_flipped(const Image& image, const Draw& d, const Augment& augment) {
  const int width = image.width_px(), height = image.height_px();
  std::vector<float> out(image.rgb().size());
  const Matrix m = output_to_input(d, width, height);
  for (int y = 0; y < height; ++y) {
    const int out_row = d.vertical_flip ? height - 1 - y : y;
    float* to = out.data() + static_cast<std::ptrdiff_t>(out_row) * width * 3;
    const int step = d.horizontal_flip ? -3 : 3;
    if (d.horizontal_flip) to += (width - 1) * 3;
    for (int x = 0; x < width; ++x, to += step) {
      const double row = m[0] * y + m[1] * x + m[2], column = m[3] * y + m[4] * x + m[5];
      if (row >= 0 && row < height - 1 && column >= 0 && column < width - 2) {
        sample_inside(image, row, column, to);
      } else {
        sample(image, row, column, augment, to);
      }
    }
  }
  return out;
}

void shift_channels(std::vector<float>& values, double by) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const float low = *least, high = *most, shift = static_cast<float>(by);
  for (float& value : values) value = std::clamp(value + shift, low, high);
}

/// Keras goes through an 8-bit picture here: cut off, not rounded.
Image truncated(const std::vector<float>& values, const Image& like) {
  std::vector<std::uint8_t> bytes(values.size());
  std::transform(values.begin(), values.end(), bytes.begin(),
                 [](float value) { return static_cast<std::uint8_t>(std::clamp(value, 0.0f, 255.0f)); });
  return Image(like.width_px(), like.height_px(), std::move(bytes));
}

}  // namespace

Draw draw(const Augment& a, DrawKey key, int width_px, int height_px) {
  base::Uniform uniform(key);
  Draw d;
  if (a.rotation_deg != 0) d.theta_deg = uniform(-a.rotation_deg, a.rotation_deg);
  const auto shift = [&](double range, int size) { return uniform(-range, range) * (range < 1 ? size : 1); };
  if (a.height_shift != 0) d.tx = shift(a.height_shift, height_px);
  if (a.width_shift != 0) d.ty = shift(a.width_shift, width_px);
  if (a.shear_deg != 0) d.shear_deg = uniform(-a.shear_deg, a.shear_deg);
  if (a.zoom != 0) {
    d.zx = uniform(1 - a.zoom, 1 + a.zoom);
    d.zy = uniform(1 - a.zoom, 1 + a.zoom);
  }
  d.horizontal_flip = (uniform(0, 1) < 0.5) && a.horizontal_flip;  // both flips are always drawn
  d.vertical_flip = (uniform(0, 1) < 0.5) && a.vertical_flip;
  if (a.channel_shift != 0) d.channel_shift = uniform(-a.channel_shift, a.channel_shift);
  if (a.brightness) d.brightness = uniform(a.brightness->low, a.brightness->high);
  return d;
}

bool moves(const Draw& d) {
  return d.theta_deg != 0 || d.tx != 0 || d.ty != 0 || d.shear_deg != 0 || d.zx != 1 || d.zy != 1;
}

Matrix output_to_input(const Draw& d, int width, int height) {
  constexpr double kRadians = std::numbers::pi / 180;
  const double theta = d.theta_deg * kRadians, shear = d.shear_deg * kRadians;
  const Matrix rotate{std::cos(theta), -std::sin(theta), 0, std::sin(theta), std::cos(theta), 0, 0, 0, 1};
  const Matrix shift{1, 0, d.tx, 0, 1, d.ty, 0, 0, 1};
  const Matrix skew{1, -std::sin(shear), 0, 0, std::cos(shear), 0, 0, 0, 1};
  const Matrix zoom{d.zx, 0, 0, 0, d.zy, 0, 0, 0, 1};
  // Keras centres with (height, width) before it swaps the axes: of consequence for pictures that are not square.
  const double ox = height / 2.0 - 0.5, oy = width / 2.0 - 0.5;
  const Matrix offset{1, 0, ox, 0, 1, oy, 0, 0, 1}, reset{1, 0, -ox, 0, 1, -oy, 0, 0, 1};
  const Matrix m = offset * (rotate * shift * skew * zoom) * reset;
  return {m[4], m[3], m[5], m[1], m[0], m[2], m[7], m[6], m[8]};
}

Values apply(const Image& image, const Draw& d, const Augment& augment) {
  Values values =
      moves(d) ? Values(moved_and_flipped(image, d, augment)) : Values(flip(image, d.horizontal_flip, d.vertical_flip));
  if (d.channel_shift) {
    if (const auto* bytes = std::get_if<Image>(&values))
      values = std::vector<float>(bytes->rgb().begin(), bytes->rgb().end());
    shift_channels(std::get<std::vector<float>>(values), *d.channel_shift);
  }
  if (d.brightness) {
    if (const auto* floats = std::get_if<std::vector<float>>(&values)) values = truncated(*floats, image);
    values = adjust_brightness(std::get<Image>(values), *d.brightness);
  }
  return values;
}

}  // namespace graft::image
