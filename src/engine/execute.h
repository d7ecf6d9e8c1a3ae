/// LibTorch's interpreter, with its errors translated.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/stack.h>
#include <torch/csrc/jit/runtime/interpreter.h>

namespace graft::engine {

/// Runs `code` on these arguments. Throws Error kMismatch with the operator's own words, kOutOfMemory.
torch::jit::IValue execute(const torch::jit::Code& code, torch::jit::Stack arguments);

/// Throws Error kMismatch unless the output is one tensor.
at::Tensor one_tensor(const torch::jit::IValue& output);

/// How far an answer is from what is expected, as a fraction of the largest value expected, or of 1; infinite where
/// the sizes differ, or one holds a number and the other none.
double difference(const at::Tensor& found, const at::Tensor& expected);

}  // namespace graft::engine
