// AMX: Intel's Optimization Reference Manual, "Intel AMX", 2 x 2 blocking.

#include "engine/convolution_kernels.h"

#include <cmath>
#include <cstring>

#include <ATen/cpu/Utils.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define GRAFT_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define GRAFT_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")))
#define GRAFT_AMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8,amx-bf16")))
#define GRAFT_CONVOLUTION_KERNELS 1
#else
#define GRAFT_CONVOLUTION_KERNELS 0
#endif

namespace graft::engine {

#if GRAFT_CONVOLUTION_KERNELS

namespace {

/// `Pixels` pixels and `Blocks` blocks.
template <int Pixels, int Blocks>
GRAFT_AVX512 void multiply_vnni(const Operands& o, const std::uint8_t* first, std::int64_t pixel, Sums* sums) {
  __m512i sum[Pixels][Blocks];
  for (int p = 0; p < Pixels; ++p)
    for (int b = 0; b < Blocks; ++b) sum[p][b] = _mm512_setzero_si512();
  const auto* weights = o.weights;
  for (std::int64_t step = 0; step < o.step_count; ++step) {
    const auto* from = first + o.steps[step];
    for (std::int64_t k = 0; k < o.chunk; k += 4, weights += 4 * kLanes) {
      __m512i w[Blocks];
      for (int b = 0; b < Blocks; ++b) w[b] = _mm512_load_si512(weights + b * o.block);
      for (int p = 0; p < Pixels; ++p) {
        std::int32_t four = 0;
        std::memcpy(&four, from + p * o.distance + k, 4);
        const auto x = _mm512_set1_epi32(four);
        for (int b = 0; b < Blocks; ++b) sum[p][b] = _mm512_dpbusd_epi32(sum[p][b], x, w[b]);
      }
    }
  }
  for (int p = 0; p < Pixels; ++p)
    for (int b = 0; b < Blocks; ++b) _mm512_store_si512(sums[b][pixel + p], sum[p][b]);
}

template <int Blocks>
void multiply_vnni(const Operands& o, Sums* sums) {
  using Kernel = void (*)(const Operands&, const std::uint8_t*, std::int64_t, Sums*);
  static constexpr std::array<Kernel, 6> kKernels{multiply_vnni<1, Blocks>, multiply_vnni<2, Blocks>,
                                                  multiply_vnni<3, Blocks>, multiply_vnni<4, Blocks>,
                                                  multiply_vnni<5, Blocks>, multiply_vnni<6, Blocks>};
  const auto most = static_cast<std::int64_t>(kKernels.size()), parts = (o.pixels + most - 1) / most;
  for (std::int64_t t = 0; t < o.count; ++t) {
    for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
      const auto end = o.pixels * (part + 1) / parts;
      kKernels[static_cast<std::size_t>(end - begin - 1)](o, o.tiles[static_cast<std::size_t>(t)] + begin * o.distance,
                                                          t * kLanes + begin, sums);
      begin = end;
    }
  }
}

/// Blocks four, two and one at a time.
void multiply_vnni(const Operands& all, std::int64_t blocks, Sums* sums) {
  Operands o = all;
  while (blocks > 0) {
    const std::int64_t some = blocks >= 4 ? 4 : blocks >= 2 ? 2 : 1;
    (some == 4 ? multiply_vnni<4> : some == 2 ? multiply_vnni<2> : multiply_vnni<1>)(o, sums);
    o.weights += some * o.block;
    sums += some;
    blocks -= some;
  }
}

/// AMX's eight tile registers: four of sums, two of pixels, two of weights.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1, start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t bytes[16] = {};
  std::uint8_t rows[16] = {};
};

}  // namespace

GRAFT_AMX void set_tile_shapes(std::int64_t pixels, std::int64_t chunk) {
  TileShapes shapes;
  for (std::size_t i = 0; i < 8; ++i) {
    const bool is_pixels = i == 4 || i == 5, is_weights = i > 5;
    shapes.bytes[i] = static_cast<std::uint16_t>(is_pixels ? chunk : 64);
    shapes.rows[i] = static_cast<std::uint8_t>(is_weights ? chunk / 4 : pixels);
  }
  asm volatile("" : : "r"(&shapes) : "memory");  // GCC takes the instruction to read eight bytes of it
  _tile_loadconfig(&shapes);
}

GRAFT_AMX void release_tiles() { _tile_release(); }

namespace {

// Registers are numbers in the instruction, so that this cannot be a function.
#define GRAFT_TILE_PRODUCT(sums, pixels, weights) \
  if constexpr (BFloat16) {                       \
    _tile_dpbf16ps(sums, pixels, weights);        \
  } else {                                        \
    _tile_dpbusd(sums, pixels, weights);          \
  }

template <bool BFloat16, bool TwoTiles, bool TwoBlocks>
GRAFT_AMX void multiply_amx(const Operands& o, Sums* sums) {
  asm volatile("" : : : "memory");  // nor does it know that tiles are loaded from memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const auto* weights = o.weights;
  for (std::int64_t step = 0; step < o.step_count; ++step, weights += o.chunk * kLanes) {
    _tile_loadd(4, o.tiles[0] + o.steps[step], o.distance);
    _tile_loadd(6, weights, 4 * kLanes);
    GRAFT_TILE_PRODUCT(0, 4, 6);
    if constexpr (TwoBlocks) {
      _tile_loadd(7, weights + o.block, 4 * kLanes);
      GRAFT_TILE_PRODUCT(1, 4, 7);
    }
    if constexpr (TwoTiles) {
      _tile_loadd(5, o.tiles[1] + o.steps[step], o.distance);
      GRAFT_TILE_PRODUCT(2, 5, 6);
      if constexpr (TwoBlocks) {
        GRAFT_TILE_PRODUCT(3, 5, 7);
      }
    }
  }
  _tile_stored(0, sums[0][0], 4 * kLanes);
  if constexpr (TwoBlocks) _tile_stored(1, sums[1][0], 4 * kLanes);
  if constexpr (TwoTiles) {
    _tile_stored(2, sums[0][kLanes], 4 * kLanes);
    if constexpr (TwoBlocks) _tile_stored(3, sums[1][kLanes], 4 * kLanes);
  }
}

/// Of one or two blocks.
template <bool BFloat16>
void multiply_amx(const Operands& o, std::int64_t blocks, Sums* sums) {
  const auto multiply =
      o.count == 2 ? (blocks == 2 ? multiply_amx<BFloat16, true, true> : multiply_amx<BFloat16, true, false>)
                   : (blocks == 2 ? multiply_amx<BFloat16, false, true> : multiply_amx<BFloat16, false, false>);
  multiply(o, sums);
}

template <bool ToBytes, bool Adds>
GRAFT_AVX512 void finish_int32(const std::int32_t (*sums)[kLanes], std::int64_t count, std::uint8_t* output,
                               std::int64_t size, std::uint16_t lanes, const Finish& f) {
  const auto scale = _mm512_loadu_ps(f.scale), bias = _mm512_loadu_ps(f.bias), added = _mm512_set1_ps(f.sum_scale);
  const auto most = _mm512_set1_ps(255), none = _mm512_set1_ps(f.with_relu ? 0 : -INFINITY);
  const auto lowest = _mm512_set1_epi32(f.lowest);
  for (std::int64_t p = 0; p < count; ++p, output += ToBytes ? size : 4 * size) {
    auto value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[p])), scale, bias);
    if constexpr (ToBytes) {
      if constexpr (Adds) {
        const auto stored = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, output));
        value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(stored), added, value);
      }
      const auto rounded = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_min_ps(value, most)), lowest);
      _mm_mask_storeu_epi8(output, lanes, _mm512_cvtusepi32_epi8(rounded));
    } else {
      _mm512_mask_storeu_ps(output, lanes, _mm512_max_ps(value, none));
    }
  }
}

template <bool Adds>
GRAFT_AVX512_BF16 void finish_bfloat16(const std::int32_t (*sums)[kLanes], std::int64_t count, std::uint8_t* output,
                                       std::int64_t size, std::uint16_t lanes, const Finish& f) {
  const auto bias = _mm512_loadu_ps(f.bias), lowest = _mm512_set1_ps(f.with_relu ? 0 : -INFINITY);
  for (std::int64_t p = 0; p < count; ++p, output += 2 * size) {
    auto value = _mm512_add_ps(_mm512_load_ps(sums[p]), bias);
    if constexpr (Adds) {
      const auto stored = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, output));
      value = _mm512_add_ps(value, _mm512_castsi512_ps(_mm512_slli_epi32(stored, 16)));
    }
    value = _mm512_max_ps(lowest, value);  // the second, if that is not a number
    _mm256_mask_storeu_epi16(output, lanes, (__m256i)_mm512_cvtneps_pbh(value));
  }
}

struct Features {
  bool vnni = false, amx_int8 = false, amx_bfloat16 = false;
};

Features features() {
  Features found;
  found.vnni = at::cpu::is_avx512_vnni_supported();
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kTile = 1U << 24, kInt8 = 1U << 25, kBFloat16 = 1U << 22, kAvx512BFloat16 = 1U << 5;
  if (!found.vnni || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & kTile) == 0 || !at::cpu::init_amx())
    return found;
  found.amx_int8 = (d & kInt8) != 0;
  const bool multiplies = (d & kBFloat16) != 0;
  found.amx_bfloat16 = multiplies && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & kAvx512BFloat16) != 0;
  return found;
}

constexpr ConvolutionKernel kVnni{false, false, kMostBlocks, multiply_vnni};
constexpr ConvolutionKernel kAmxInt8{false, true, 2, multiply_amx<false>};
constexpr ConvolutionKernel kAmxBFloat16{true, true, 2, multiply_amx<true>};

}  // namespace

const ConvolutionKernel* convolution_kernel(Arithmetic arithmetic) {
  static const Features found = features();
  switch (arithmetic) {
    case Arithmetic::kVnni:
      return found.vnni ? &kVnni : nullptr;
    case Arithmetic::kAmxInt8:
      return found.amx_int8 ? &kAmxInt8 : nullptr;
    default:
      return found.amx_bfloat16 ? &kAmxBFloat16 : nullptr;
  }
}

FinishKernel finish_kernel(at::ScalarType to, bool adds) {
  if (to == at::kBFloat16) return adds ? finish_bfloat16<true> : finish_bfloat16<false>;
  if (to == at::kFloat) return finish_int32<false, false>;
  return adds ? finish_int32<true, true> : finish_int32<true, false>;
}

#else

const ConvolutionKernel* convolution_kernel(Arithmetic) { return nullptr; }
void set_tile_shapes(std::int64_t, std::int64_t) {}
void release_tiles() {}
FinishKernel finish_kernel(at::ScalarType, bool) { return nullptr; }

#endif

const ConvolutionKernel* eight_bit_kernel() {
  const auto* amx = convolution_kernel(Arithmetic::kAmxInt8);
  return amx ? amx : convolution_kernel(Arithmetic::kVnni);
}

}  // namespace graft::engine
