/// Convolution on uint8 for processors with AVX-512 VNNI or AMX.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/quantized_convolution.h"

namespace graft::engine {

/// An implicit matrix product: pixels times weights, the rows of the first matrix being runs of the picture itself.
/// Through LibTorch's own operator single pictures take much longer (docs/performance.md).
class EightBitConvolution {
 public:
  /// What the processor multiplies with.
  enum class Arithmetic { kNone, kVnni, kAmx };
  static Arithmetic best();

  /// One group only.
  explicit EightBitConvolution(const QuantizedConvolution& convolution, Arithmetic arithmetic = best());

  /// [N, C, H, W] uint8, channels last, to [N, O, H', W'], uint8 or float32, channels last. With a scale for `sum`
  /// that must be of the result's size, uint8 and channels last; the result is written over it. Throws Error kMismatch
  /// for other sizes.
  at::Tensor run(const at::Tensor& input, const at::Tensor& sum = {}) const;

 private:
  struct Job;
  class Band;
  void pack(const at::Tensor& values);
  Job job_for(const at::Tensor& input, const at::Tensor& output) const;
  void share_out(Job& job, std::int64_t input_bytes) const;

  Arithmetic arithmetic_ = Arithmetic::kNone;
  std::int64_t inputs_ = 0, outputs_ = 0, blocks_ = 0;  ///< channels; blocks of 16 outputs
  std::vector<std::int64_t> kernel_, stride_, padding_, dilation_;
  bool to_bytes_ = true, adds_ = false, with_relu_ = false;
  std::uint8_t input_zero_ = 0;
  std::int32_t lowest_ = 0;                        ///< that may be stored
  float sum_scale_ = 0;                            ///< from what is stored there to what is stored here
  std::int64_t run_ = 0, chunks_ = 0, chunk_ = 0;  ///< bytes of a run, its chunks, bytes of one
  at::Tensor weights_;                             ///< [blocks][steps][chunk / 4][16][4] int8
  at::Tensor scale_, bias_;                        ///< [blocks * 16] float32
};

}  // namespace graft::engine
