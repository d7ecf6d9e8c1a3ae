#include "engine/runner.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include <graft/error.h>

#include "engine/execute.h"
#include "engine/fusion.h"
#include "engine/stamp.h"
#include "graph/jit.h"

namespace graft::engine {

namespace {

graph::FlatGraph flat_with_one_input(const torch::jit::Module& module) {
  auto flat = graph::flatten(module);
  if (flat.graph->inputs().size() != 2)
    throw Error(ErrorCode::kMismatch,
                "expected a network with one input, found " + std::to_string(flat.graph->inputs().size() - 1));
  return flat;
}

}  // namespace

struct Runner::Impl {
  graph::Network network;
  torch::jit::Module module;
  torch::jit::Code code;
  std::vector<at::Tensor> weights;

  struct Compiled {
    std::optional<std::vector<Stamp>> stamps;  ///< of the weights it was compiled with; nothing before
    std::shared_ptr<const Plan> plan;
  };
  std::mutex mutex;
  std::map<std::pair<Precision, bool>, Compiled> compiled;  ///< the second: for single pictures

  struct Seen {
    std::vector<Stamp> stamps;
    at::Tensor input, output;  ///< of one picture
    Sizes convolution_inputs;
  };
  std::optional<Seen> seen;

  /// What a run on such an input showed. Not by two threads at a time.
  const Seen& look_at(const at::Tensor& one) {
    const auto stamps = stamps_of(weights);
    if (!seen || seen->stamps != stamps || seen->input.sizes() != one.sizes()) remember(one, probe(network, one));
    return *seen;
  }
  void remember(const at::Tensor& one, const Probe& what) {
    seen = {stamps_of(weights), one, what.output.to(at::kFloat), what.convolution_inputs};
  }
};

Runner::Runner(const graph::Network& network) {
  const auto& module = network.jit().module;
  auto flat = flat_with_one_input(module);
  torch::jit::EliminateDeadCode(flat.graph);
  std::vector<at::Tensor> weights;
  for (const auto& [name, tensor] : network.named_parameters()) weights.push_back(tensor);
  for (const auto& [name, tensor] : network.named_buffers()) weights.push_back(tensor);
  impl_.reset(new Impl{network, module, torch::jit::Code(flat.graph, "forward"), std::move(weights), {}, {}, {}});
}

Runner::~Runner() = default;
Runner::Runner(Runner&&) noexcept = default;
Runner& Runner::operator=(Runner&&) noexcept = default;

at::Tensor Runner::run(const at::Tensor& input) const {
  return one_tensor(execute(impl_->code, {impl_->module._ivalue(), input}));
}

namespace {

/// The plan's answer to one picture is the interpreter's. A fused addition, for one, cannot broadcast the convolution.
bool agrees(const Plan& plan, const at::Tensor& input, const at::Tensor& expected, Precision precision) {
  const at::NoGradGuard no_grad;
  try {
    const auto found = plan.run(input);
    const double scale = std::max(1.0, expected.abs().nan_to_num(0, 0, 0).max().item<double>());
    const double tolerance = precision == Precision::kBFloat16 ? 0.1 : 1e-3;
    return found.sizes() == expected.sizes() &&
           at::allclose(found, expected, /*rtol=*/0, tolerance * scale, /*equal_nan=*/true);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

void Runner::remember(const at::Tensor& input, const Probe& seen) {
  const std::lock_guard lock(impl_->mutex);
  impl_->remember(input, seen);
}

std::shared_ptr<const Plan> Runner::plan(const at::Tensor& input, Precision precision) const {
  const bool single = input.size(0) == 1;
  const std::lock_guard lock(impl_->mutex);
  auto stamps = stamps_of(impl_->weights);
  auto& compiled = impl_->compiled[{precision, single}];
  if (compiled.stamps != stamps) {
    const auto& seen = impl_->look_at(input.narrow(0, 0, 1));
    compiled.plan = Plan::compile(impl_->network, precision, single ? seen.convolution_inputs : Sizes());
    if (compiled.plan && !agrees(*compiled.plan, seen.input, seen.output, precision)) compiled.plan.reset();
    compiled.stamps = std::move(stamps);
  }
  return compiled.plan;
}

namespace {

/// Of a tensor, taken where it is made.
torch::jit::Value* sizes_of(torch::jit::Value* tensor) {
  auto& graph = *tensor->owningGraph();
  torch::jit::Node* sizes = graph.create(c10::aten::size, {tensor});
  sizes->output()->setType(c10::ListType::ofInts());
  if (tensor->node()->kind() == c10::prim::Param) {
    graph.prependNode(sizes);
  } else {
    sizes->insertAfter(tensor->node());
  }
  return sizes->output();
}

}  // namespace

Probe probe(const graph::Network& network, const at::Tensor& input) {
  const auto& module = network.jit().module;
  auto flat = flat_with_one_input(module);

  const auto observable = [&](const torch::jit::Value* value) {
    return value && value->type()->isSubtypeOf(*c10::TensorType::get()) &&
           value->node()->owningBlock() == flat.graph->block();
  };
  // The original output first, then the sizes of every call's input and output that can be seen at the top level. The
  // tensors themselves would all be in memory at the end.
  std::vector<torch::jit::Value*> seen{flat.graph->outputs().at(0)};
  for (const auto& flat_call : flat.calls)
    for (torch::jit::Value* value : {flat_call.input, flat_call.output})
      if (observable(value)) seen.push_back(sizes_of(value));
  for (const torch::jit::Node* node : flat.graph->nodes())
    if (is_convolution(node)) seen.push_back(sizes_of(node->input(0)));
  flat.graph->eraseOutput(0);
  torch::jit::Node* tuple = flat.graph->createTuple(seen);
  flat.graph->appendNode(tuple);
  flat.graph->registerOutput(tuple->output());

  const at::NoGradGuard no_grad;
  const auto values = execute(torch::jit::Code(flat.graph, "probe"), {module._ivalue(), input}).toTuple();
  std::size_t next = 0;
  Probe result{one_tensor(values->elements()[next++]), {}, {}};
  for (const auto& flat_call : flat.calls) {
    ProbedCall probed{flat_call.call, {}, {}};
    if (observable(flat_call.input)) probed.input_shape = values->elements()[next++].toIntVector();
    if (observable(flat_call.output)) probed.output_shape = values->elements()[next++].toIntVector();
    result.calls.push_back(std::move(probed));
  }
  while (next < values->elements().size())
    result.convolution_inputs.push_back(values->elements()[next++].toIntVector());
  return result;
}

}  // namespace graft::engine
