#include "engine/freeze.h"

#include <vector>

#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/constant_propagation.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>
#include <torch/csrc/jit/passes/frozen_conv_folding.h>
#include <torch/csrc/jit/passes/frozen_linear_folding.h>
#include <torch/csrc/jit/passes/peephole.h>
#include <torch/csrc/jit/passes/remove_dropout.h>

#include "graph/to_run.h"

namespace graft::engine {

namespace {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/// Objects stay: what is looked up in them is a constant, too.
void attributes_to_constants(Graph& graph, const torch::jit::Module& module) {
  std::vector<Node*> attributes;
  graph::for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::prim::GetAttr) attributes.push_back(node);
  });
  for (Node* node : attributes) {
    auto value = graph::attribute(module, node->output(), graph.inputs().at(0));
    if (!value || value->isObject()) continue;
    if (value->isTensor() && value->toTensor().defined()) value = value->toTensor().detach();
    const torch::jit::WithInsertPoint at(node);
    if (const auto constant = torch::jit::tryInsertConstant(graph, *value))
      node->output()->replaceAllUsesWith(*constant);
  }
}

bool writes_into_constants(const std::shared_ptr<Graph>& graph) {
  const torch::jit::AliasDb aliases(graph);
  bool found = false;
  graph::for_each_node(graph->block(), [&](const Node* node) {
    found |= node->kind() == c10::prim::Constant && aliases.hasWriters(node->output());
  });
  return found;
}

}  // namespace

std::shared_ptr<Graph> frozen_graph(const graph::Network& network) {
  const auto& module = network.jit().module;
  auto graph = graph::flatten_to_run(module).graph;
  attributes_to_constants(*graph, module);
  torch::jit::ConstantPropagation(graph);
  torch::jit::PeepholeOptimize(graph);  // knows how many dimensions a convolution's output has
  torch::jit::ConstantPropagation(graph);
  torch::jit::removeDropout(graph);
  torch::jit::EliminateDeadCode(graph);
  if (graph->inputs().size() != 2 || graph->inputs().at(0)->hasUses() || writes_into_constants(graph)) return nullptr;
  graph->eraseInput(0);
  torch::jit::FoldFrozenConvAddOrSub(graph);
  torch::jit::FoldFrozenConvMulOrDiv(graph);
  torch::jit::FoldFrozenLinearBatchnorm(graph);
  return graph;
}

void lower_constants(Graph& graph, at::ScalarType type) {
  std::vector<Node*> constants;
  for (Node* node : graph.nodes())
    if (node->kind() == c10::prim::Constant && graph::is_tensor(node->output())) constants.push_back(node);
  for (Node* node : constants) {
    const auto value = torch::jit::toIValue(node->output());
    if (!value || !value->isTensor() || value->toTensor().scalar_type() != at::kFloat) continue;
    const torch::jit::WithInsertPoint at(node);
    node->output()->replaceAllUsesWith(graph.insertConstant(value->toTensor().to(type)));
    node->destroy();
  }
}

}  // namespace graft::engine
