/// What TiledConvolution multiplies with: AVX-512 VNNI and AMX.
#pragma once

#include <array>
#include <cstdint>

#include <c10/core/ScalarType.h>

namespace graft::engine {

constexpr std::int64_t kLanes = 16;      ///< outputs of a block, and most pixels of a tile
constexpr std::int64_t kChunk = 64;      ///< most bytes of a pixel that are multiplied at a time
constexpr std::int64_t kMostBlocks = 4;  ///< that are computed together
constexpr std::int64_t kTiles = 2;       ///< the same for tiles

/// Sums of a block, for each pixel of the tiles: int32, or float32 where bfloat16 is multiplied.
using Sums = std::int32_t[kTiles * kLanes][kLanes];

/// What a kernel multiplies.
struct Operands {
  std::array<const std::uint8_t*, kTiles> tiles;  ///< first pixel of each
  std::int64_t count, pixels;                     ///< of tiles, and of pixels in each
  std::int64_t distance;                          ///< bytes from pixel to pixel
  const std::uint8_t* weights;                    ///< of the first block
  std::int64_t block;                             ///< bytes from block to block
  const std::int64_t* steps;                      ///< where a pixel's chunks begin
  std::int64_t step_count, chunk;
};

enum class Arithmetic {
  kVnni,         ///< uint8 by int8
  kAmxInt8,      ///< the same
  kAmxBFloat16,  ///< bfloat16, summed in float32
};

struct ConvolutionKernel {
  bool is_bfloat16;
  bool has_tile_registers;   ///< to be set_tile_shapes() before, and release_tiles() after it
  std::int64_t most_blocks;  ///< that it computes together
  void (*multiply)(const Operands&, std::int64_t blocks, Sums*);
};

/// Null where this processor has none.
const ConvolutionKernel* convolution_kernel(Arithmetic arithmetic);
/// The best for uint8.
const ConvolutionKernel* eight_bit_kernel();

void set_tile_shapes(std::int64_t pixels, std::int64_t chunk);
void release_tiles();

/// What becomes of a pixel's sums: sums * scale + bias + sum_scale * (what is stored there), cut and rounded.
struct Finish {
  const float *scale, *bias;  ///< of the block; bfloat16 has no scale
  float sum_scale;            ///< uint8 only
  std::int32_t lowest;        ///< uint8 only: that may be stored
  bool with_relu;             ///< not for uint8, which has `lowest`
};

/// For sixteen outputs, or those in `lanes`, of `count` pixels that are `size` outputs from each other.
using FinishKernel = void (*)(const std::int32_t (*sums)[kLanes], std::int64_t count, std::uint8_t* output,
                              std::int64_t size, std::uint16_t lanes, const Finish& f);
/// From int32 to uint8 or float32, from float32 to bfloat16. With `adds`, not for float32, what is stored is added.
FinishKernel finish_kernel(at::ScalarType to, bool adds);

}  // namespace graft::engine
