/// Numbers in eight bits: real = scale * (stored - zero_point).
#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>

namespace graft::engine {

/// The interval that a value's eight bits cover.
struct Range {
  float low = 0, high = 0;
  bool operator==(const Range&) const = default;
};

/// How a value is stored as uint8. Zero is always exact, so that padding is.
struct Scale {
  double scale = 1;
  std::int64_t zero_point = 0;
};
Scale scale_of(Range range);

/// Weights [O, ...] as int8 in [-127, 127], with a scale for each output channel; their zero point is 0.
struct EightBitWeights {
  at::Tensor values;  ///< int8
  at::Tensor scales;  ///< [O] float32
};
EightBitWeights to_eight_bits(const at::Tensor& weight);

/// sum(w (q - z)) is sum(w q) - z sum(w): the bias [O] that takes the input's zero point over, which becomes 0. `bias`
/// may be undefined.
at::Tensor absorb_zero_point(Scale& input, const EightBitWeights& weight, const at::Tensor& bias);

/// float32 to uint8 in the same layout, rounded to the nearest (halves to even), and clamped; NaN becomes 0.
at::Tensor quantize(const at::Tensor& real, Scale scale);
/// The reverse, in the same layout.
at::Tensor dequantize(const at::Tensor& stored, Scale scale);

/// The same as operators of a graph: graft::quantize(Tensor x, float scale, int zero_point) -> Tensor, and
/// graft::dequantize.
extern const c10::Symbol kQuantize, kDequantize;

/// Makes them known to LibTorch's interpreter, for as long as this library is loaded.
void register_eight_bit_operators();

}  // namespace graft::engine
