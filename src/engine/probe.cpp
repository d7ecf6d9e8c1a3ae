#include "engine/probe.h"

#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/jit/runtime/interpreter.h>

#include "engine/arena.h"
#include "engine/execute.h"
#include "engine/fusion.h"
#include "engine/registered_operators.h"
#include "graph/to_run.h"

namespace graft::engine {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

// --- Operators that yield zeros of the right shape. What they do not know, LibTorch's own does, or refuses.

void blank_convolution(torch::jit::Stack& stack) {
  at::Tensor input, weight;
  std::optional<at::Tensor> bias;
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
  torch::jit::pop(stack, input, weight, bias, stride, padding, dilation, groups);
  const bool known = input.dim() == 4 && weight.dim() == 4 && input.size(1) == weight.size(1) * groups &&
                     stride.size() == 2 && padding.size() == 2 && dilation.size() == 2;
  std::vector<std::int64_t> size{input.size(0), weight.size(0)};
  for (std::size_t i = 0; known && i < 2; ++i) {
    const auto d = static_cast<std::int64_t>(i) + 2;
    const auto reach = dilation[i] * (weight.size(d) - 1) + 1, room = input.size(d) + 2 * padding[i] - reach;
    if (room >= 0 && stride[i] > 0) size.push_back(room / stride[i] + 1);
  }
  if (size.size() == 4) {
    torch::jit::push(stack, at::empty(size, input.options(), input.suggest_memory_format()).zero_());
  } else if (stride.size() == 2) {
    torch::jit::push(stack, at::conv2d(input, weight, bias, stride, padding, dilation, groups));
  } else {  // traced networks have _convolution for any number of dimensions
    const std::vector<std::int64_t> output_padding(stride.size(), 0);
    torch::jit::push(stack, at::convolution(input, weight, bias, stride, padding, dilation, /*transposed=*/false,
                                            output_padding, groups));
  }
}

void blank_linear(torch::jit::Stack& stack) {
  at::Tensor input, weight;
  std::optional<at::Tensor> bias;
  torch::jit::pop(stack, input, weight, bias);
  auto size = input.sizes().vec();
  const bool known = weight.dim() == 2 && !size.empty() && size.back() == weight.size(1);
  if (known) size.back() = weight.size(0);
  torch::jit::push(stack, known ? at::zeros(size, input.options()) : at::linear(input, weight, bias));
}

const auto kBlankConvolution = c10::Symbol::fromQualString("graft::blank_convolution");
const auto kBlankLinear = c10::Symbol::fromQualString("graft::blank_linear");

/// As many inputs as the form of aten::conv2d with numbers for its padding has; _convolution has them in another order.
std::vector<Value*> blank_inputs(Node* convolution) {
  auto inputs = convolution->inputs().vec();
  if (convolution->kind() == c10::aten::conv2d) return inputs;
  return {inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], inputs[5], inputs[8]};
}

bool is_plain_convolution(const Node* node) {
  if (!is_convolution(node)) return false;
  if (node->kind() == c10::aten::conv2d) return node->input(4)->type()->kind() == c10::TypeKind::ListType;
  return torch::jit::constant_as<bool>(node->input(6)) == false;
}

void skip_arithmetic(Graph& graph) {
  static const RegisteredOperators registered{
      {"graft::blank_convolution(Tensor x, Tensor weight, Tensor? bias, int[2] stride, int[2] padding, int[2] "
       "dilation, "
       "int groups) -> Tensor",
       blank_convolution},
      {"graft::blank_linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", blank_linear}};
  std::vector<std::pair<Node*, c10::Symbol>> nodes;
  std::vector<Node*> norms;
  graph::for_each_node(graph.block(), [&](Node* node) {
    if (is_plain_convolution(node)) nodes.emplace_back(node, kBlankConvolution);
    if (node->kind() == c10::aten::linear) nodes.emplace_back(node, kBlankLinear);
    if (node->kind() == c10::aten::batch_norm) norms.push_back(node);
  });
  for (Node* norm : norms) {
    norm->output()->replaceAllUsesWith(norm->input(0));
    norm->destroy();
  }
  for (const auto& [node, blank_kind] : nodes) {
    const torch::jit::WithInsertPoint at(node);
    Node* blank = graph.insertNode(
        graph.create(blank_kind, blank_kind == kBlankLinear ? node->inputs().vec() : blank_inputs(node)));
    node->output()->replaceAllUsesWith(blank->output());
    node->destroy();
  }
}

// --- Shapes

/// Of a tensor, taken where it is made.
Value* sizes_of(Value* tensor) {
  auto& graph = *tensor->owningGraph();
  Node* sizes = graph.create(c10::aten::size, {tensor});
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
  auto flat = graph::flatten_one_input(module);

  const auto observable = [&](const Value* value) {
    return value && graph::is_tensor(value) && value->node()->owningBlock() == flat.graph->block();
  };
  // The output first, then the sizes of all calls' inputs and outputs and of convolutions' inputs that can be seen at
  // the top level. The tensors themselves would all be in memory at the end.
  std::vector<Value*> seen{flat.graph->outputs().at(0)};
  Probe result;
  result.input_shape = input.sizes().vec();
  std::vector<std::vector<std::int64_t>*> shapes;  // of the result: what is seen goes there
  result.calls.reserve(flat.calls.size());
  for (const auto& [call, call_input, call_output] : flat.calls) {
    auto& probed = result.calls.emplace_back(ProbedCall{call, {}, {}});
    for (const auto& [value, shape] :
         {std::pair(call_input, &probed.input_shape), std::pair(call_output, &probed.output_shape)}) {
      if (!observable(value)) continue;
      seen.push_back(sizes_of(value));
      shapes.push_back(shape);
    }
  }
  for (const Node* node : flat.graph->nodes())
    if (is_convolution(node)) seen.push_back(sizes_of(node->input(0)));
  flat.graph->eraseOutput(0);
  Node* tuple = flat.graph->createTuple(seen);
  flat.graph->appendNode(tuple);
  flat.graph->registerOutput(tuple->output());
  skip_arithmetic(*flat.graph);

  const at::NoGradGuard no_grad;
  Arena arena;
  const Arena::Use use(arena);  // otherwise most of the time goes into fetching memory and giving it back
  const auto values = execute(torch::jit::Code(flat.graph, "probe"), {module._ivalue(), input}).toTuple();
  std::size_t next = 0;
  result.output_shape = one_tensor(values->elements()[next++]).sizes().vec();
  for (auto* shape : shapes) *shape = values->elements()[next++].toIntVector();
  while (next < values->elements().size())
    result.convolution_inputs.push_back(values->elements()[next++].toIntVector());
  return result;
}

}  // namespace graft::engine
