#include "image/resample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <graft/error.h>

#include "base/cpu_clones.h"

namespace graft::image {

namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;
constexpr int kChannels = 3;

double triangle(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

// Catmull-Rom: Keys' cubic with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// For every output position the input positions it is made of and their fixed-point weights.
struct Weights {
  int taps = 0;                      ///< input positions for each output; some have weight 0, so that all have as many
  std::vector<int> first;            ///< first input position
  std::vector<std::int32_t> weight;  ///< taps for each output
};

/// Of `in_size` positions the first `filled` become out_size, of which `size` are wanted, beginning at `from`.
Weights make_weights(int in_size, double filled, int out_size, int from, int size, Interpolation interpolation) {
  const auto filter = interpolation == Interpolation::kBicubic ? cubic : triangle;
  const double scale = filled / out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = (interpolation == Interpolation::kBicubic ? 2.0 : 1.0) * filter_scale;
  struct Span {
    int first, count;
    double center;
  };
  std::vector<Span> spans;
  Weights weights;
  for (int i = 0; i < size; ++i) {
    const double center = (from + i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in_size) - first;
    spans.push_back({first, count, center});
    weights.taps = std::max(weights.taps, count);
  }
  weights.weight.resize(spans.size() * static_cast<std::size_t>(weights.taps));
  std::vector<double> exact(static_cast<std::size_t>(weights.taps));
  auto* out = weights.weight.data();
  for (const auto& [first, count, center] : spans) {
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      exact[static_cast<std::size_t>(k)] = filter((k + first - center + 0.5) / filter_scale);
      sum += exact[static_cast<std::size_t>(k)];
    }
    weights.first.push_back(std::min(first, in_size - weights.taps));
    const int skipped = first - weights.first.back();
    for (int k = 0; k < count; ++k) {
      const double value = exact[static_cast<std::size_t>(k)] / sum * (1 << kPrecisionBits);
      out[skipped + k] = static_cast<std::int32_t>(value < 0 ? value - 0.5 : value + 0.5);
    }
    out += weights.taps;
  }
  return weights;
}

inline std::uint8_t to_byte(std::int32_t fixed) {
  return static_cast<std::uint8_t>(std::clamp(fixed >> kPrecisionBits, 0, 255));
}

constexpr std::int32_t kHalf = 1 << (kPrecisionBits - 1);

/// Rows of interleaved pixels: a picture, or a part of one.
struct Rows {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;  ///< bytes from one row to the next
  int width_px = 0;
  int height_px = 0;
};

struct Pixels {
  int width_px = 0;
  int height_px = 0;
  std::vector<std::uint8_t> rgb;

  Rows rows() const { return {rgb.data(), static_cast<std::size_t>(width_px) * kChannels, width_px, height_px}; }
};

// The arithmetic is in whole numbers: what a processor can do changes the speed alone.

/// One row shrunk or stretched to `weights`.
void resample_row(const std::uint8_t* row, const Weights& weights, int left, std::uint8_t* to) {
  const auto* weight = weights.weight.data();
  for (const int first : weights.first) {
    const auto* from = row + static_cast<std::ptrdiff_t>(first - left) * kChannels;
    std::int32_t r = kHalf, g = kHalf, b = kHalf;
    for (int k = 0; k < weights.taps; ++k, from += kChannels, ++weight) {
      r += from[0] * *weight;
      g += from[1] * *weight;
      b += from[2] * *weight;
    }
    *to++ = to_byte(r);
    *to++ = to_byte(g);
    *to++ = to_byte(b);
  }
}

#if GRAFT_CPU_CLONES
/// Two rows at once. Four bytes are read for each pixel: one must follow a row.
__attribute__((target("avx2"))) void resample_two_rows(const std::uint8_t* row, const std::uint8_t* other,
                                                       const Weights& weights, int left, std::uint8_t* to,
                                                       std::uint8_t* other_to) {
  const auto* weight = weights.weight.data();
  const int taps = weights.taps;
  for (const int first : weights.first) {
    const auto offset = static_cast<std::ptrdiff_t>(first - left) * kChannels;
    const auto *from = row + offset, *other_from = other + offset;
    __m256i sum = _mm256_set1_epi32(kHalf);
    for (int k = 0; k < taps; ++k, from += kChannels, other_from += kChannels) {
      std::uint32_t pixel = 0, other_pixel = 0;
      std::memcpy(&pixel, from, sizeof pixel);
      std::memcpy(&other_pixel, other_from, sizeof other_pixel);
      const auto both = _mm_cvtsi64_si128(static_cast<long long>(pixel | std::uint64_t{other_pixel} << 32));
      sum = _mm256_add_epi32(sum, _mm256_mullo_epi32(_mm256_cvtepu8_epi32(both), _mm256_set1_epi32(weight[k])));
    }
    // Saturating to 16 and then to 8 bits clips to 0..255.
    const __m256i values = _mm256_srai_epi32(sum, kPrecisionBits);
    const __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(values, values), values);
    const int packed = _mm256_extract_epi32(bytes, 0), other_packed = _mm256_extract_epi32(bytes, 4);
    std::memcpy(to, &packed, kChannels);
    std::memcpy(other_to, &other_packed, kChannels);
    weight += taps;
    to += kChannels;
    other_to += kChannels;
  }
}
#endif

/// Each row shrunk or stretched to `weights`, whose positions count from `left`.
Pixels resample_widths(const Rows& in, int left, const Weights& weights) {
  Pixels out{static_cast<int>(weights.first.size()), in.height_px, {}};
  const auto out_bytes = weights.first.size() * kChannels;
  out.rgb.resize(static_cast<std::size_t>(in.height_px) * out_bytes);
  const auto row = [&](int y) { return in.data + static_cast<std::size_t>(y) * in.stride; };
  const auto to = [&](int y) { return out.rgb.data() + static_cast<std::size_t>(y) * out_bytes; };
  int y = 0;
#if GRAFT_CPU_CLONES
  if (__builtin_cpu_supports("avx2"))  // behind the last row there may be nothing to read
    for (; y + 2 < in.height_px; y += 2) resample_two_rows(row(y), row(y + 1), weights, left, to(y), to(y + 1));
#endif
  for (; y < in.height_px; ++y) resample_row(row(y), weights, left, to(y));
  return out;
}

/// sum += row * weight, over a row of bytes.
GRAFT_FOR_EACH_CPU void add_row(const std::uint8_t* __restrict row, std::int32_t weight, std::int32_t* __restrict sum,
                                std::size_t size) {
  for (std::size_t x = 0; x < size; ++x) sum[x] += row[x] * weight;
}

GRAFT_FOR_EACH_CPU void to_bytes(const std::int32_t* __restrict sum, std::uint8_t* __restrict to, std::size_t size) {
  for (std::size_t x = 0; x < size; ++x) to[x] = to_byte(sum[x]);
}

/// Each column shrunk or stretched to `weights`, whose positions count from `top`.
Pixels resample_heights(const Rows& in, int top, const Weights& weights) {
  const auto row_bytes = static_cast<std::size_t>(in.width_px) * kChannels;
  Pixels out{in.width_px, static_cast<int>(weights.first.size()), {}};
  out.rgb.resize(weights.first.size() * row_bytes);
  std::vector<std::int32_t> sum(row_bytes);
  for (std::size_t y = 0; y < weights.first.size(); ++y) {
    std::fill(sum.begin(), sum.end(), kHalf);
    const auto* weight = weights.weight.data() + y * static_cast<std::size_t>(weights.taps);
    for (int k = 0; k < weights.taps; ++k)
      add_row(in.data + static_cast<std::size_t>(weights.first[y] - top + k) * in.stride, weight[k], sum.data(),
              row_bytes);
    to_bytes(sum.data(), out.rgb.data() + y * row_bytes, row_bytes);
  }
  return out;
}

/// The input positions that a set of weights reaches: from the first to one past the last.
std::pair<int, int> reach(const Weights& weights) {
  return {weights.first.front(), weights.first.back() + weights.taps};
}

Image resample_nearest(const Image& image, int width, int height, const Window& window) {
  // Positions are summed up, not multiplied, as PIL sums them: the rounding is part of the result.
  const auto positions = [](int in_size, double filled, int out_size, int from, int count) {
    const double step = filled / out_size;
    double position = step * 0.5;
    std::vector<int> result;
    for (int i = 0; i < from + count; ++i, position += step)
      if (i >= from) result.push_back(std::min(static_cast<int>(position), in_size - 1));
    return result;
  };
  const auto columns = positions(image.width_px(), image.filled_width_px(), width, window.left, window.width);
  const auto rows = positions(image.height_px(), image.filled_height_px(), height, window.top, window.height);
  std::vector<std::uint8_t> out(rows.size() * columns.size() * kChannels);
  auto* to = out.data();
  for (const int y : rows) {
    const auto* row = image.rgb().data() + static_cast<std::ptrdiff_t>(y) * image.width_px() * kChannels;
    for (const int x : columns) {
      std::memcpy(to, row + x * kChannels, kChannels);
      to += kChannels;
    }
  }
  return Image(window.width, window.height, std::move(out));
}

}  // namespace

std::pair<int, int> shorter_side_to(const Image& image, int size_px) {
  const double width = image.filled_width_px(), height = image.filled_height_px();
  // Exact: filled sides are eighths, so the quotient is rounded to a whole number only if it is one.
  const auto longer = [&](double longer_px, double shorter_px) {
    const double found = size_px * longer_px / shorter_px;
    if (found > std::numeric_limits<int>::max())
      throw Error(ErrorCode::kConfig, "resize: a shorter side of " + std::to_string(size_px) +
                                          " px makes the longer one more than 2147483647 px");
    return static_cast<int>(found);
  };
  if (width <= height) return {size_px, longer(height, width)};
  return {longer(width, height), size_px};
}

Window center_window(int width_px, int height_px, int crop_width_px, int crop_height_px) {
  if (crop_width_px > width_px || crop_height_px > height_px)
    throw Error(ErrorCode::kConfig, "centre crop: expected at most " + std::to_string(width_px) + " x " +
                                        std::to_string(height_px) + ", found " + std::to_string(crop_width_px) + " x " +
                                        std::to_string(crop_height_px));
  const auto half_to_even = [](int difference) { return difference % 4 == 3 ? difference / 2 + 1 : difference / 2; };
  return {half_to_even(width_px - crop_width_px), half_to_even(height_px - crop_height_px), crop_width_px,
          crop_height_px};
}

Image resample(const Image& image, int width_px, int height_px, Interpolation interpolation, const Window& window) {
  if (image.empty()) throw Error(ErrorCode::kConfig, "image: expected 1 x 1 pixels or more, found none");
  if (interpolation == Interpolation::kNearest) return resample_nearest(image, width_px, height_px, window);

  // A pass that would change nothing is left out; columns go first where the height shrinks much more than the width.
  // Both are Pillow's choices and show in the last bit, since values are rounded to bytes between the passes.
  const int in_width = image.width_px(), in_height = image.height_px();
  const bool widths = width_px != image.filled_width_px() || window.width != width_px;
  const bool heights = height_px != image.filled_height_px() || window.height != height_px;
  const bool heights_first = in_height > height_px && in_height - height_px > 2 * (in_width - width_px);

  const auto across =
      make_weights(in_width, image.filled_width_px(), width_px, window.left, window.width, interpolation);
  const auto down =
      make_weights(in_height, image.filled_height_px(), height_px, window.top, window.height, interpolation);
  const auto [left, right] = reach(across);
  const auto [top, bottom] = reach(down);
  const Rows part{image.rgb().data() + (static_cast<std::size_t>(top) * static_cast<std::size_t>(in_width) +
                                        static_cast<std::size_t>(left)) *
                                           kChannels,
                  static_cast<std::size_t>(in_width) * kChannels, right - left, bottom - top};
  Pixels result;
  if (!widths && !heights) return image;
  if (!heights) {
    result = resample_widths(part, left, across);
  } else if (!widths) {
    result = resample_heights(part, top, down);
  } else if (heights_first) {
    result = resample_widths(resample_heights(part, top, down).rows(), left, across);
  } else {
    result = resample_heights(resample_widths(part, left, across).rows(), top, down);
  }
  return Image(window.width, window.height, std::move(result.rgb));
}

}  // namespace graft::image
