/// Convolution on uint8 for processors with AVX-512 VNNI or AMX, and on bfloat16 for those with AMX.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/convolution_kernels.h"
#include "engine/prepared_convolution.h"

namespace graft::engine {

/// An implicit matrix product: pixels times weights, the rows of the first matrix being runs of the picture itself.
/// Through LibTorch's own operators single pictures take much longer (docs/performance.md).
class TiledConvolution {
 public:
  /// One group only.
  explicit TiledConvolution(const QuantizedConvolution& convolution,
                            const ConvolutionKernel& kernel = *eight_bit_kernel());
  /// For a processor that has convolution_kernel(kAmxBFloat16).
  explicit TiledConvolution(const BFloat16Convolution& convolution);

  /// [N, C, H, W], channels last, to [N, O, H', W'], channels last: uint8 to uint8 or float32, bfloat16 to bfloat16.
  /// `sum`, if it is defined, must be of the result's size and type; the result is added to it, written over it and
  /// returned. Throws Error kMismatch for other sizes and types. Pixels that are not finite may spread to a neighbour
  /// more than they should.
  at::Tensor run(const at::Tensor& input, const at::Tensor& sum = {}) const;

 private:
  struct Job;
  class Band;
  TiledConvolution(const Geometry& geometry, const at::Tensor& weight, at::ScalarType output,
                   const ConvolutionKernel& kernel);
  void pack(const at::Tensor& values);
  at::Tensor for_blocks(const at::Tensor& x) const;
  Job job_for(const at::Tensor& input, const at::Tensor& output, bool adds) const;
  void share_out(Job& job, std::int64_t input_bytes) const;

  const ConvolutionKernel& kernel_;
  at::ScalarType input_type_, output_type_;
  std::int64_t inputs_ = 0, outputs_ = 0, blocks_ = 0;  ///< channels; blocks of 16 outputs
  std::int64_t pixel_ = 0;                              ///< bytes of an input's
  std::vector<std::int64_t> window_, stride_, padding_, dilation_;
  bool with_relu_ = false;
  std::uint8_t padding_byte_ = 0;
  std::int32_t lowest_ = 0;                        ///< that may be stored
  float sum_scale_ = 0;                            ///< from what is stored there to what is stored here
  std::int64_t run_ = 0, chunks_ = 0, chunk_ = 0;  ///< bytes of a run, its chunks, bytes of one
  at::Tensor weights_;                             ///< [blocks][steps][chunk / 4][16][4 bytes] int8 or bfloat16
  at::Tensor scale_, bias_;                        ///< [blocks * 16] float32
};

}  // namespace graft::engine
