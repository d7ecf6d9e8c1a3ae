/// What WinogradConvolution computes with: AVX-512.
#pragma once

#include <cstdint>

/// Winograd's F(4 x 4, 3 x 3): the results of a tile, 4 x 4 pixels, are the way back from 36 products, of a transform
/// of the 6 x 6 pixels that they depend on by a transform of the weights.
namespace graft::engine::winograd {

constexpr std::int64_t kOutputs = 4;  ///< pixels of a tile's side
constexpr std::int64_t kInputs = 6;   ///< the same of what it depends on
constexpr std::int64_t kPoints = 36;  ///< numbers of a transform, for each channel
constexpr std::int64_t kWeights = 9;  ///< for an input channel and an output channel
constexpr std::int64_t kPanel = 32;   ///< output channels that are computed together
constexpr std::int64_t kLanes = 16;   ///< channels that are transformed together
constexpr std::int64_t kRows = 14;    ///< most tiles that are multiplied together
constexpr std::int64_t kGroup = 8;    ///< input channels whose transformed weights lie together
constexpr std::int64_t kGroupSize = kPoints * kGroup * kPanel;

/// Whether this processor has what all of the following need.
bool is_available();

/// How far numbers of one channel lie apart in a picture that is stored channels last.
struct PixelStrides {
  std::int64_t row, pixel;
};

/// The transform of 6 x 6 pixels: 36 points of [channels], `point` numbers apart, filled up with zeros to a multiple of
/// sixteen.
void transform_pixels(const float* pixels, PixelStrides from, std::int64_t channels, float* to, std::int64_t point);

/// The transform of a panel's weights [channels][9][32]: [groups of channels][36][8][32]. What is written together lies
/// together, because a processor can write to few pages at a time.
void transform_weights(const float* weights, std::int64_t channels, float* to);

/// For each of the 36 points, the matrix product of tiles [count][channels] and weights [channels][32].
struct Product {
  const float* tiles;
  std::int64_t tile, point;  ///< numbers from tile to tile and from point to point
  const float* weights;      ///< as transform_weights() leaves them
  float* sums;               ///< [36][count][32]
  std::int64_t count, channels;
  bool adds;  ///< to what is in `sums`
};
void multiply(const Product& product);

/// What becomes of a tile's sums.
struct Finish {
  std::int64_t point;          ///< numbers from point to point of the sums
  std::int64_t rows, columns;  ///< of the tile that lie in the picture
  PixelStrides to;
  bool adds;  ///< what is stored there
  bool with_relu;
};
/// Back from the transform, for `channels` outputs, sixteen at most, and their bias added.
void transform_sums(const float* sums, const float* bias, std::int64_t channels, float* pixels, const Finish& f);

}  // namespace graft::engine::winograd
