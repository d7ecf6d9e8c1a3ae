/// oneDNN's convolution on uint8, with all of its arguments ready.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>
#include <ATen/core/ivalue.h>

#include "engine/eight_bit.h"

namespace graft::engine {

/// What a convolution is given besides its pictures.
struct QuantizedConvolution {
  EightBitWeights weight;  ///< [O, I / groups, H, W]
  at::Tensor bias;         ///< [O] float32; may be undefined
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
  bool with_relu = false;
  Scale input;
  std::optional<Scale> sum;     ///< of what the result is added to
  std::optional<Scale> output;  ///< nothing: the result is float32
};

/// Argument of the operators below. `input_size` is what the weights are laid out for; empty if there are several.
c10::IValue prepare(const QuantizedConvolution& convolution, const std::vector<std::int64_t>& input_size);

/// graft::quantized_convolution(Tensor x, Any prepared) -> Tensor, and
/// graft::quantized_convolution_(Tensor x, Tensor(a!) sum, Any prepared) -> Tensor(a!), which writes its result over
/// `sum`. LibTorch's own (onednn::qconv2d_pointwise) take 17 and 23 arguments, which costs the interpreter as much time
/// as a small convolution, and copy what was added to.
extern const c10::Symbol kQuantizedConvolution, kQuantizedConvolutionInPlace;

/// Makes them known to LibTorch's interpreter, for as long as this library is loaded.
void register_quantized_convolution();

}  // namespace graft::engine
