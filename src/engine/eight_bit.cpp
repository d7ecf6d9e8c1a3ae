#include "engine/eight_bit.h"

#include <algorithm>
#include <cmath>

#include <ATen/ATen.h>

#include "base/cpu_clones.h"
#include "base/parallel.h"
#include "engine/registered_operators.h"

namespace graft::engine {

const c10::Symbol kQuantize = c10::Symbol::fromQualString("graft::quantize");
const c10::Symbol kDequantize = c10::Symbol::fromQualString("graft::dequantize");

namespace {

/// Numbers that a thread takes at a time.
constexpr std::int64_t kGrain = 32768;
constexpr float kLargest = 255;
constexpr double kLargestWeight = 127;

GRAFT_FOR_EACH_CPU void quantize(const float* __restrict real, std::uint8_t* __restrict stored, std::int64_t count,
                                 float inverse, float zero_point) {
  // Added to a number below 2^22, this leaves the nearest integer in the lowest bits.
  constexpr float kRound = 12582912.0F;
  for (std::int64_t i = 0; i < count; ++i) {
    const float scaled = real[i] * inverse + zero_point;
    const float low = scaled > 0 ? scaled : 0;  // false for NaN
    const float clamped = low < kLargest ? low : kLargest;
    stored[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>((clamped + kRound) - kRound));
  }
}

GRAFT_FOR_EACH_CPU void dequantize(const std::uint8_t* __restrict stored, float* __restrict real, std::int64_t count,
                                   float scale, std::int32_t zero_point) {
  for (std::int64_t i = 0; i < count; ++i)
    real[i] = scale * static_cast<float>(static_cast<std::int32_t>(stored[i]) - zero_point);
}

/// In one of the two layouts that all pictures have; another becomes an ordinary one.
at::Tensor dense(const at::Tensor& x) {
  return x.dim() == 4 && x.is_contiguous(at::MemoryFormat::ChannelsLast) ? x : x.contiguous();
}

template <class Convert>
void run_operator(torch::jit::Stack& stack, Convert convert) {
  at::Tensor x;
  Scale scale;
  torch::jit::pop(stack, x, scale.scale, scale.zero_point);
  torch::jit::push(stack, convert(x, scale));
}

void quantize_operator(torch::jit::Stack& stack) { run_operator(stack, engine::quantize); }
void dequantize_operator(torch::jit::Stack& stack) { run_operator(stack, engine::dequantize); }

/// Calls `convert` for parts of `count` numbers.
template <class Convert>
void in_parallel(std::int64_t count, Convert convert) {
  base::parallel_for(0, (count + kGrain - 1) / kGrain, 1, [&](std::int64_t begin, std::int64_t end) {
    convert(begin * kGrain, std::min(end * kGrain, count) - begin * kGrain);
  });
}

}  // namespace

Scale scale_of(Range range) {
  const double low = std::min<double>(range.low, 0), high = std::max<double>(range.high, 0);
  const double scale = high > low ? (high - low) / kLargest : 1;
  return {scale, std::clamp<std::int64_t>(std::llround(-low / scale), 0, static_cast<std::int64_t>(kLargest))};
}

EightBitWeights to_eight_bits(const at::Tensor& weight) {
  const auto rows = weight.flatten(1);
  auto scales = rows.abs().amax(1).div(kLargestWeight).to(at::kFloat);
  scales.masked_fill_(scales == 0, 1);
  const auto values = rows.div(scales.unsqueeze(1)).round_().clamp_(-kLargestWeight, kLargestWeight);
  return {values.to(at::kChar).view(weight.sizes()), scales};
}

at::Tensor absorb_zero_point(Scale& input, const EightBitWeights& weight, const at::Tensor& bias) {
  if (input.zero_point == 0) return bias;
  const auto sums = weight.values.flatten(1).sum(1, /*keepdim=*/false, at::kLong).to(at::kDouble);
  const auto shift = sums * weight.scales * (input.scale * static_cast<double>(input.zero_point));
  input.zero_point = 0;
  return (bias.defined() ? bias - shift : -shift).to(at::kFloat);
}

at::Tensor quantize(const at::Tensor& real, Scale scale) {
  const auto input = dense(real);
  const auto output = at::empty(input.sizes(), input.options().dtype(at::kByte), input.suggest_memory_format());
  const auto* from = input.const_data_ptr<float>();
  auto* to = output.mutable_data_ptr<std::uint8_t>();
  in_parallel(input.numel(), [&](std::int64_t begin, std::int64_t count) {
    quantize(from + begin, to + begin, count, static_cast<float>(1 / scale.scale),
             static_cast<float>(scale.zero_point));
  });
  return output;
}

at::Tensor dequantize(const at::Tensor& stored, Scale scale) {
  const auto input = dense(stored);
  const auto output = at::empty(input.sizes(), input.options().dtype(at::kFloat), input.suggest_memory_format());
  const auto* from = input.const_data_ptr<std::uint8_t>();
  auto* to = output.mutable_data_ptr<float>();
  in_parallel(input.numel(), [&](std::int64_t begin, std::int64_t count) {
    dequantize(from + begin, to + begin, count, static_cast<float>(scale.scale),
               static_cast<std::int32_t>(scale.zero_point));
  });
  return output;
}

void register_eight_bit_operators() {
  static const RegisteredOperators registered{
      {"graft::quantize(Tensor x, float scale, int zero_point) -> Tensor", quantize_operator},
      {"graft::dequantize(Tensor x, float scale, int zero_point) -> Tensor", dequantize_operator}};
}

}  // namespace graft::engine
