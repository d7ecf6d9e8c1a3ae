/// 3 x 3 convolution in float32 with a quarter of the multiplications, for processors with AVX-512.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/geometry.h"

namespace graft::engine {

/// What a convolution on float32 is given besides its pictures.
struct FloatConvolution {
  at::Tensor weight;  ///< [O, I, H, W]
  at::Tensor bias;    ///< [O]; may be undefined
  Geometry geometry;
};

/// Winograd's algorithm (winograd_kernels.h), a block of tiles at a time so that all of it stays in a core's cache.
/// Weights are transformed as they are used: their transform is four times as large, and slower to read than to make.
class WinogradConvolution {
 public:
  /// Whether it takes such (3 x 3, stride 1, no dilation, one group, AVX-512) and is faster than oneDNN's, for inputs
  /// of this size; an empty one for batches of any.
  static bool suits(const at::Tensor& weight, const Geometry& geometry, const std::vector<std::int64_t>& input_size);

  explicit WinogradConvolution(const FloatConvolution& convolution);

  /// [N, I, H, W] to [N, O, H', W'], both float32 and channels last. `sum`, if it is defined, must be of the result's
  /// size and type; the result is added to it, written over it and returned. Throws Error kMismatch for other sizes
  /// and types. Pixels that are not finite spread over the 4 x 4 results of their tile. The same for any number of
  /// threads, and in any batch.
  at::Tensor run(const at::Tensor& input, const at::Tensor& sum = {}) const;

 private:
  struct Job;
  class Worker;
  Job job_for(const at::Tensor& input, const at::Tensor& output, bool adds) const;
  void share_out(Job& job) const;

  std::int64_t inputs_ = 0, outputs_ = 0;  ///< channels
  std::int64_t panels_ = 0, chunks_ = 0;   ///< of outputs, and of inputs
  std::vector<std::int64_t> padding_;
  bool with_relu_ = false;
  at::Tensor weights_;  ///< [panels][inputs][9][32]
  at::Tensor bias_;     ///< [panels * 32]
};

}  // namespace graft::engine
