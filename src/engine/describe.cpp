#include "engine/describe.h"

#include <algorithm>
#include <map>
#include <string>

#include <torch/csrc/jit/ir/constants.h>

#include "engine/fusion.h"
#include "graph/jit.h"

namespace graft::engine {

namespace {

using graph::is_tensor;
using torch::jit::Node;

/// Something that is computed from the network's input.
bool is_arithmetic(const Node* node) {
  return !node->kind().is_prim() && std::ranges::any_of(node->outputs(), is_tensor);
}

bool convolves(const Node* node) {
  return node->kind().is_aten() && std::string(node->kind().toUnqualString()).find("conv") != std::string::npos;
}

std::string reason_for(const Node* node, const c10::IValue& weight) {
  if (!is_convolution(node)) return std::string(node->kind().toUnqualString());
  if (!weight.isTensor()) return "its weight is computed when it runs";
  if (weight.toTensor().dim() != 4) return "not over two dimensions";
  if (weight.toTensor().scalar_type() != at::kFloat) return c10::str("its weight is ", weight.toTensor().dtype());
  if (node->owningBlock() != node->owningGraph()->block()) return "under a condition or in a loop";
  if (node->kind() == c10::aten::conv2d && node->input(4)->type()->kind() == c10::TypeKind::StringType)
    return "its padding is a word";
  if (node->kind() == c10::aten::_convolution && torch::jit::constant_as<bool>(node->input(6)).value_or(true))
    return "transposed";
  return "its stride, padding or groups are computed when it runs";
}

/// Layers by the memory of their weights, which a frozen graph shares.
std::map<const void*, std::string> layers_of(const graph::Network& network) {
  std::map<const void*, std::string> layers;
  for (const auto& [name, tensor] : network.named_parameters())
    layers[tensor.const_data_ptr()] = name.substr(0, name.rfind('.'));
  return layers;
}

}  // namespace

void describe(torch::jit::Graph& graph, const graph::Network& network, PlanSummary& summary) {
  const auto layers = layers_of(network);
  graph::for_each_node(graph.block(), [&](const Node* node) {
    if (is_arithmetic(node)) ++summary.operators[node->kind().toQualString()];
    if (!convolves(node)) return;
    const auto weight = torch::jit::toIValue(node->input(1)).value_or(c10::IValue());
    const auto layer = weight.isTensor() ? layers.find(weight.toTensor().const_data_ptr()) : layers.end();
    summary.unfused.push_back((layer == layers.end() ? "a convolution" : layer->second) + ": " +
                              reason_for(node, weight));
  });
}

}  // namespace graft::engine
