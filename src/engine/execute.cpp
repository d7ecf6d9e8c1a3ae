#include "engine/execute.h"

#include <algorithm>
#include <limits>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <graft/cancellation.h>
#include <graft/error.h>

#include "base/translate.h"

namespace graft::engine {

namespace {

/// Where a device stands in the code, it was fixed there by tracing, or written.
std::string device_in(const torch::jit::Code& code) {
  for (const auto& constant : code.constant_table())
    if (constant.isDevice() && !constant.toDevice().is_cpu())
      return "its code asks for the device " + constant.toDevice().str() + "; export it from a model on the CPU: ";
  return {};
}

[[noreturn]] void rethrow_from_network(const torch::jit::Code& code) {
  try {
    base::rethrow_as_error("running the network");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInternal) throw;
    throw Error(ErrorCode::kMismatch,
                "the network refuses its input: " + device_in(code) + base::own_words(error.what()));
  }
}

}  // namespace

torch::jit::IValue execute(const torch::jit::Code& code, torch::jit::Stack stack) {
  CancellationScope::check();
  try {
    torch::jit::InterpreterState(code).run(stack);
  } catch (...) {
    rethrow_from_network(code);
  }
  return std::move(stack.front());
}

at::Tensor one_tensor(const torch::jit::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  throw Error(ErrorCode::kMismatch, "expected a network that returns one tensor, found " + output.tagKind() +
                                        "; cut it at a layer that does, or export a wrapper that selects one");
}

double difference(const at::Tensor& found, const at::Tensor& expected) {
  const at::NoGradGuard no_grad;
  if (found.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const double scale = std::max(1.0, expected.abs().nan_to_num(0, 0, 0).max().item<double>());
  // What is no number must be none in both.
  const auto apart = at::where(at::isclose(found, expected, 0, 0, /*equal_nan=*/true), 0.0, (found - expected).abs());
  return apart.nan_to_num(std::numeric_limits<float>::infinity()).max().item<double>() / scale;
}

}  // namespace graft::engine
