/// Maximum pooling for inference, channels last.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>
#include <torch/csrc/jit/ir/ir.h>

namespace graft::engine {

/// Of the windows that a pooling looks through; heights first.
struct PoolWindows {
  std::vector<std::int64_t> kernel, stride, padding, dilation;  ///< of two each
  bool ceil_mode = false;
};

/// at::max_pool2d for [N, C, H, W], the same numbers, without the indices that it writes beside them (eight bytes for
/// each result, several times the memory of the results). float32, bfloat16 or uint8, channels last; everything else
/// is at::max_pool2d's. NaN wins.
at::Tensor max_pool2d(const at::Tensor& input, const PoolWindows& windows);

/// The operator graft::max_pool2d, with at::max_pool2d's operands.
extern const c10::Symbol kMaxPool;

/// Puts it in the place of aten::max_pool2d everywhere in the graph.
void replace_max_pools(torch::jit::Graph& graph);

}  // namespace graft::engine
