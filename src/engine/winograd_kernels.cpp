// F(4 x 4, 3 x 3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016: a filter of three taps
// as a product of polynomials, evaluated at five points and infinity. The points are 0, +-3/4 and +-3/2 instead of the
// paper's 0, +-1 and +-2: errors are half as large, and not much more than those of the plain sum (docs/performance.md;
// why points of such size are good: Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution
// for Deep Neural Networks", 2020).

#include "engine/winograd_kernels.h"

#include <algorithm>
#include <array>
#include <utility>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define GRAFT_AVX512 __attribute__((target("avx512f")))
#define GRAFT_AVX512_INLINE __attribute__((target("avx512f"), always_inline)) inline
#define GRAFT_WINOGRAD_KERNELS 1
#else
#define GRAFT_WINOGRAD_KERNELS 0
#endif

namespace graft::engine::winograd {

#if GRAFT_WINOGRAD_KERNELS

namespace {

constexpr float kA = 0.75F, kB = 1.5F;  // the points, besides 0, -kA, -kB and infinity
constexpr float kA2 = kA * kA, kB2 = kB * kB;

GRAFT_AVX512_INLINE __m512 times(float a, __m512 b) { return _mm512_mul_ps(_mm512_set1_ps(a), b); }
/// a * b + c and c - a * b.
GRAFT_AVX512_INLINE __m512 plus(float a, __m512 b, __m512 c) { return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c); }
GRAFT_AVX512_INLINE __m512 minus(float a, __m512 b, __m512 c) { return _mm512_fnmadd_ps(_mm512_set1_ps(a), b, c); }

/// Six pixels in a line.
GRAFT_AVX512_INLINE void line_of_pixels(const __m512 (&d)[6], __m512 (&v)[6]) {
  const auto even_a = minus(kB2, d[2], d[4]), odd_a = minus(kB2, d[1], d[3]);
  const auto even_b = minus(kA2, d[2], d[4]), odd_b = minus(kA2, d[1], d[3]);
  v[0] = plus(kA2 * kB2, d[0], minus(kA2 + kB2, d[2], d[4]));
  v[1] = plus(kA, odd_a, even_a);
  v[2] = minus(kA, odd_a, even_a);
  v[3] = plus(kB, odd_b, even_b);
  v[4] = minus(kB, odd_b, even_b);
  v[5] = plus(kA2 * kB2, d[1], minus(kA2 + kB2, d[3], d[5]));
}

/// Three weights in a line: the polynomial's values by the derivatives of the product of (x - point) there.
GRAFT_AVX512_INLINE void line_of_weights(const __m512 (&g)[3], __m512 (&u)[6]) {
  constexpr float kByA = 1 / (2 * kA2 * (kA2 - kB2)), kByB = 1 / (2 * kB2 * (kB2 - kA2));
  const auto even_a = plus(kA2 * kByA, g[2], times(kByA, g[0])), even_b = plus(kB2 * kByB, g[2], times(kByB, g[0]));
  u[0] = times(1 / (kA2 * kB2), g[0]);
  u[1] = plus(kA * kByA, g[1], even_a);
  u[2] = minus(kA * kByA, g[1], even_a);
  u[3] = plus(kB * kByB, g[1], even_b);
  u[4] = minus(kB * kByB, g[1], even_b);
  u[5] = g[2];
}

/// Back to four pixels in a line.
GRAFT_AVX512_INLINE void line_of_sums(const __m512 (&m)[6], __m512 (&y)[4]) {
  const auto even_a = _mm512_add_ps(m[1], m[2]), odd_a = _mm512_sub_ps(m[1], m[2]);
  const auto even_b = _mm512_add_ps(m[3], m[4]), odd_b = _mm512_sub_ps(m[3], m[4]);
  y[0] = _mm512_add_ps(m[0], _mm512_add_ps(even_a, even_b));
  y[1] = plus(kA, odd_a, times(kB, odd_b));
  y[2] = plus(kA2, even_a, times(kB2, even_b));
  y[3] = plus(kA2 * kA, odd_a, plus(kB2 * kB, odd_b, m[5]));
}

GRAFT_AVX512_INLINE __mmask16 first_lanes(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1); }

template <int Rows>
GRAFT_AVX512 void multiply_rows(const Product& p, const float* tiles, const float* weights, float* sums) {
  __m512 sum[Rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
    for (int i = 0; i < 2; ++i)
      sum[r][i] = p.adds ? _mm512_load_ps(sums + r * kPanel + i * kLanes) : _mm512_setzero_ps();
  const auto* end = tiles + p.channels;
  for (; tiles < end; weights += kGroupSize) {
    const auto* weight = weights;
    const auto* group = std::min(end, tiles + kGroup);
    for (; tiles < group; ++tiles, weight += kPanel) {
      const auto first = _mm512_load_ps(weight), second = _mm512_load_ps(weight + kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; ++r) {
        const auto x = _mm512_set1_ps(tiles[r * p.tile]);
        sum[r][0] = _mm512_fmadd_ps(x, first, sum[r][0]);
        sum[r][1] = _mm512_fmadd_ps(x, second, sum[r][1]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r)
    for (int i = 0; i < 2; ++i) _mm512_store_ps(sums + r * kPanel + i * kLanes, sum[r][i]);
}

using MultiplyRows = void (*)(const Product&, const float*, const float*, float*);
template <int... Less>
constexpr std::array<MultiplyRows, sizeof...(Less)> kernels(std::integer_sequence<int, Less...>) {
  return {multiply_rows<Less + 1>...};
}

}  // namespace

bool is_available() {
  static const bool found = __builtin_cpu_supports("avx512f") != 0;
  return found;
}

GRAFT_AVX512 void transform_pixels(const float* pixels, PixelStrides from, std::int64_t channels, float* to,
                                   std::int64_t point) {
  for (std::int64_t c = 0; c < channels; c += kLanes) {
    const auto lanes = first_lanes(std::min(kLanes, channels - c));
    __m512 lines[kInputs][kInputs];  // [column][row]
    for (int x = 0; x < kInputs; ++x) {
      __m512 d[kInputs];
      for (int y = 0; y < kInputs; ++y) d[y] = _mm512_maskz_loadu_ps(lanes, pixels + y * from.row + x * from.pixel + c);
      line_of_pixels(d, lines[x]);
    }
    for (int y = 0; y < kInputs; ++y) {
      __m512 d[kInputs], v[kInputs];
      for (int x = 0; x < kInputs; ++x) d[x] = lines[x][y];
      line_of_pixels(d, v);
      for (int x = 0; x < kInputs; ++x) _mm512_store_ps(to + (y * kInputs + x) * point + c, v[x]);
    }
  }
}

GRAFT_AVX512 void transform_weights(const float* weights, std::int64_t channels, float* to) {
  for (std::int64_t c = 0; c < channels; ++c, weights += kWeights * kPanel) {
    auto* place = to + c / kGroup * kGroupSize + c % kGroup * kPanel;
    for (std::int64_t half = 0; half < kPanel; half += kLanes) {
      __m512 lines[3][kInputs];
      for (int x = 0; x < 3; ++x) {
        __m512 g[3];
        for (int y = 0; y < 3; ++y) g[y] = _mm512_load_ps(weights + (y * 3 + x) * kPanel + half);
        line_of_weights(g, lines[x]);
      }
      for (int y = 0; y < kInputs; ++y) {
        const __m512 g[3] = {lines[0][y], lines[1][y], lines[2][y]};
        __m512 u[kInputs];
        line_of_weights(g, u);
        for (int x = 0; x < kInputs; ++x) _mm512_store_ps(place + (y * kInputs + x) * kGroup * kPanel + half, u[x]);
      }
    }
  }
}

void multiply(const Product& p) {
  static constexpr auto kKernels = kernels(std::make_integer_sequence<int, kRows>());
  const auto parts = (p.count + kRows - 1) / kRows;
  for (std::int64_t point = 0; point < kPoints; ++point) {
    const auto* tiles = p.tiles + point * p.point;
    const auto* weights = p.weights + point * kGroup * kPanel;
    auto* sums = p.sums + point * p.count * kPanel;
    for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
      const auto end = p.count * (part + 1) / parts;
      kKernels[static_cast<std::size_t>(end - begin - 1)](p, tiles + begin * p.tile, weights, sums + begin * kPanel);
      begin = end;
    }
  }
}

GRAFT_AVX512 void transform_sums(const float* sums, const float* bias, std::int64_t count, float* pixels,
                                 const Finish& f) {
  const auto lanes = first_lanes(count);
  __m512 lines[kInputs][kOutputs];
  for (int x = 0; x < kInputs; ++x) {
    __m512 m[kInputs];
    for (int y = 0; y < kInputs; ++y) m[y] = _mm512_load_ps(sums + (y * kInputs + x) * f.point);
    line_of_sums(m, lines[x]);
  }
  const auto shift = _mm512_loadu_ps(bias), none = _mm512_setzero_ps();
  for (int y = 0; y < kOutputs; ++y) {
    if (y >= f.rows) break;
    __m512 m[kInputs], result[kOutputs];
    for (int x = 0; x < kInputs; ++x) m[x] = lines[x][y];
    line_of_sums(m, result);
    for (int x = 0; x < kOutputs; ++x) {
      if (x >= f.columns) break;
      auto* place = pixels + y * f.to.row + x * f.to.pixel;
      auto value = _mm512_add_ps(result[x], shift);
      if (f.adds) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, place));
      if (f.with_relu) value = _mm512_max_ps(none, value);  // the second, if that is not a number
      _mm512_mask_storeu_ps(place, lanes, value);
    }
  }
}

#else

bool is_available() { return false; }
void transform_pixels(const float*, PixelStrides, std::int64_t, float*, std::int64_t) {}
void transform_weights(const float*, std::int64_t, float*, std::int64_t) {}
void multiply(const Product&) {}
void transform_sums(const float*, const float*, std::int64_t, float*, const Finish&) {}

#endif

}  // namespace graft::engine::winograd
