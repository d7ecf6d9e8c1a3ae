/// Convolutions with all of their arguments ready, ours and oneDNN's, as operators of LibTorch's interpreter.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/ir/ir.h>

#include "engine/eight_bit.h"
#include "engine/geometry.h"
#include "engine/winograd_convolution.h"

namespace graft::engine {

/// What a convolution on uint8 is given besides its pictures.
struct QuantizedConvolution {
  EightBitWeights weight;  ///< [O, I / groups, H, W]
  at::Tensor bias;         ///< [O] float32; may be undefined
  Geometry geometry;
  Scale input;
  std::optional<Scale> sum;     ///< of what the result is added to
  std::optional<Scale> output;  ///< nothing: the result is float32
};

/// The same for bfloat16.
struct BFloat16Convolution {
  at::Tensor weight;  ///< [O, I, H, W] float32; will be rounded
  at::Tensor bias;    ///< [O] float32; may be undefined
  Geometry geometry;
};

/// Whether prepare() takes such in bfloat16 here: one group, and AMX.
bool takes_bfloat16(const Geometry& geometry);

/// Argument of the operators below.
c10::IValue prepare(const BFloat16Convolution& convolution);
/// The same, for what WinogradConvolution takes.
c10::IValue prepare(const FloatConvolution& convolution);
/// The same; `input_size` is what the weights are laid out for; empty if there are several.
c10::IValue prepare(const QuantizedConvolution& convolution, const std::vector<std::int64_t>& input_size);

/// graft::convolution(Tensor x, Any prepared) -> Tensor, and
/// graft::convolution_(Tensor x, Tensor(a!) sum, Any prepared) -> Tensor(a!), which writes its result over `sum`.
/// LibTorch's own for uint8 (onednn::qconv2d_pointwise) take 17 and 23 arguments, which costs the interpreter as much
/// time as a small convolution, and copy what was added to.
extern const c10::Symbol kPreparedConvolution, kPreparedConvolutionInPlace;

/// Puts the prepared one in the place of a fused node, whose addition's operand is written over.
void replace_with_prepared(torch::jit::Node* fused, torch::jit::Value* prepared);

inline bool is_prepared_convolution(const torch::jit::Node* node) {
  return node->kind() == kPreparedConvolution || node->kind() == kPreparedConvolutionInPlace;
}

/// Makes them known to LibTorch's interpreter, for as long as this library is loaded.
void register_prepared_convolution();

}  // namespace graft::engine
