#include "engine/execute.h"

#include <string>

#include <graft/error.h>

#include "base/translate.h"

namespace graft::engine {

namespace {

[[noreturn]] void rethrow_from_network() {
  try {
    base::rethrow_as_error("running the network");
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInternal) throw;
    throw Error(ErrorCode::kMismatch, "the network refuses its input: " + base::own_words(error.what()));
  }
}

}  // namespace

torch::jit::IValue execute(const torch::jit::Code& code, torch::jit::Stack stack) {
  try {
    torch::jit::InterpreterState(code).run(stack);
  } catch (...) {
    rethrow_from_network();
  }
  return std::move(stack.front());
}

at::Tensor one_tensor(const torch::jit::IValue& output) {
  if (output.isTensor()) return output.toTensor();
  throw Error(ErrorCode::kMismatch, "expected a network that returns one tensor, found " + output.tagKind() +
                                        "; cut it at a layer that does, or export a wrapper that selects one");
}

}  // namespace graft::engine
