#include "engine/runner.h"

#include <exception>
#include <new>
#include <string>
#include <utility>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <graft/error.h>

#include "base/translate.h"
#include "graph/jit.h"

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

torch::jit::IValue execute(const torch::jit::Code& code, const torch::jit::Module& module, const at::Tensor& input) {
  torch::jit::Stack stack{module._ivalue(), input};
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

graph::FlatGraph flat_with_one_input(const torch::jit::Module& module) {
  auto flat = graph::flatten(module);
  if (flat.graph->inputs().size() != 2)
    throw Error(ErrorCode::kMismatch,
                "expected a network with one input, found " + std::to_string(flat.graph->inputs().size() - 1));
  return flat;
}

}  // namespace

struct Runner::Impl {
  torch::jit::Module module;
  torch::jit::Code code;
};

Runner::Runner(const graph::Network& network) {
  const auto& module = network.jit().module;
  auto flat = flat_with_one_input(module);
  torch::jit::EliminateDeadCode(flat.graph);
  impl_ = std::make_unique<Impl>(Impl{module, torch::jit::Code(flat.graph, "forward")});
}

Runner::~Runner() = default;
Runner::Runner(Runner&&) noexcept = default;
Runner& Runner::operator=(Runner&&) noexcept = default;

at::Tensor Runner::run(const at::Tensor& input) const { return one_tensor(execute(impl_->code, impl_->module, input)); }

Probe probe(const graph::Network& network, const at::Tensor& input) {
  const auto& module = network.jit().module;
  auto flat = flat_with_one_input(module);

  const auto observable = [&](const torch::jit::Value* value) {
    return value && value->type()->isSubtypeOf(*c10::TensorType::get()) &&
           value->node()->owningBlock() == flat.graph->block();
  };
  // The original output first, then every call's input and output that can be seen at the top level.
  std::vector<torch::jit::Value*> seen{flat.graph->outputs().at(0)};
  for (const auto& flat_call : flat.calls) {
    if (observable(flat_call.input)) seen.push_back(flat_call.input);
    if (observable(flat_call.output)) seen.push_back(flat_call.output);
  }
  flat.graph->eraseOutput(0);
  torch::jit::Node* tuple = flat.graph->createTuple(seen);
  flat.graph->appendNode(tuple);
  flat.graph->registerOutput(tuple->output());

  const at::NoGradGuard no_grad;
  const auto values = execute(torch::jit::Code(flat.graph, "probe"), module, input).toTuple();
  std::size_t next = 0;
  const auto shape = [&](const torch::jit::IValue& value) {
    return value.isTensor() ? value.toTensor().sizes().vec() : std::vector<std::int64_t>();
  };
  Probe result{one_tensor(values->elements()[next++]), {}};
  for (const auto& flat_call : flat.calls) {
    ProbedCall probed{flat_call.call, {}, {}};
    if (observable(flat_call.input)) probed.input_shape = shape(values->elements()[next++]);
    if (observable(flat_call.output)) probed.output_shape = shape(values->elements()[next++]);
    result.calls.push_back(std::move(probed));
  }
  return result;
}

}  // namespace graft::engine
