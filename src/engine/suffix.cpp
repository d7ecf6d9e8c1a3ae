#include "engine/suffix.h"

#include <algorithm>
#include <string>

#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <graft/error.h>

#include "base/translate.h"
#include "engine/execute.h"
#include "graph/to_run.h"

namespace graft::engine {

namespace {

/// forward(self, input, value): uses of the layer's output are uses of `value`.
std::shared_ptr<torch::jit::Graph> behind(const torch::jit::Module& module, std::string_view layer) {
  const auto flat = graph::flatten_one_input(module);
  const auto call = std::find_if(flat.calls.rbegin(), flat.calls.rend(),
                                 [&](const graph::FlatCall& each) { return each.call.path == layer; });
  if (call == flat.calls.rend() || call->call.conditional || !call->output || !graph::is_tensor(call->output))
    throw Error(ErrorCode::kMismatch, "expected a layer that yields one tensor whenever the network runs, found \"" +
                                          std::string(layer) + "\"");
  auto* value = flat.graph->addInput();
  value->setType(c10::TensorType::get());
  const_cast<torch::jit::Value*>(call->output)->replaceAllUsesWith(value);
  torch::jit::EliminateDeadCode(flat.graph);
  return flat.graph;
}

}  // namespace

struct Suffix::Impl {
  Impl(const graph::Network& network, std::string_view layer)
      : module(network.jit().module), code(behind(module, layer), "behind") {}

  torch::jit::Module module;
  torch::jit::Code code;
};

Suffix::Suffix(const graph::Network& network, std::string_view layer)
    : impl_(base::translated("finding what comes behind a layer",
                             [&] { return std::make_unique<Impl>(network, layer); })) {}
Suffix::~Suffix() = default;
Suffix::Suffix(Suffix&&) noexcept = default;
Suffix& Suffix::operator=(Suffix&&) noexcept = default;

at::Tensor Suffix::run(const at::Tensor& input, const at::Tensor& value) const {
  return one_tensor(execute(impl_->code, {impl_->module._ivalue(), input, value}));
}

}  // namespace graft::engine
