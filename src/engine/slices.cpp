#include "engine/slices.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <vector>

#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/ir/constants.h>

#include "engine/fusion.h"
#include "engine/max_pool.h"
#include "engine/prepared_convolution.h"
#include "engine/quantize.h"
#include "graph/jit.h"

namespace graft::engine {

using graph::is_tensor;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

namespace {

bool is_constant(const Node* node) { return node->kind() == c10::prim::Constant; }

/// A constant in arithmetic with pictures: the same for all of them.
bool suits_all_pictures(const Value* value) {
  const auto constant = torch::jit::toIValue(value);
  return !constant || !constant->isTensor() || constant->toTensor().dim() < 4 || constant->toTensor().size(0) == 1;
}

bool is_constant_true(const Value* value) {
  const auto constant = torch::jit::toIValue(value);
  return constant && constant->isBool() && constant->toBool();
}

/// The operator takes [N, C, H, W] to [N, C', H', W'] and treats every picture alike and apart from the others.
bool is_by_picture(const Node* node) {
  namespace aten = c10::aten;
  static const std::set<c10::Symbol> kAlways{
      aten::relu,      aten::relu_,      aten::relu6,      aten::relu6_,
      aten::hardtanh,  aten::hardtanh_,  aten::silu,       aten::silu_,
      aten::hardswish, aten::hardswish_, aten::sigmoid,    aten::hardsigmoid,
      aten::gelu,      aten::max_pool2d, aten::avg_pool2d, aten::adaptive_avg_pool2d,
      aten::clamp,     aten::clone};
  static const std::set<c10::Symbol> kArithmetic{aten::add, aten::add_, aten::mul, aten::mul_};
  if (is_fused(node) || is_prepared_convolution(node) || node->kind() == kMaxPool || is_eight_bit(node) ||
      kAlways.contains(node->kind()))
    return true;
  if (node->kind() == aten::conv2d || node->kind() == aten::_convolution) return is_constant(node->input(1)->node());
  if (node->kind() == aten::batch_norm) return !is_constant_true(node->input(5)) && is_constant(node->input(5)->node());
  if (kArithmetic.contains(node->kind()))
    return suits_all_pictures(node->input(0)) && suits_all_pictures(node->input(1));
  if (node->kind() == aten::mean && node->inputs().size() == 4) {
    const auto dimensions = torch::jit::toIValue(node->input(1));
    if (!dimensions || !dimensions->isIntList() || !is_constant_true(node->input(2))) return false;
    const auto list = dimensions->toIntVector();
    return !list.empty() && std::all_of(list.begin(), list.end(), [](auto d) { return d >= 1; });
  }
  if (node->kind() == aten::cat) {
    const auto dimension = torch::jit::toIValue(node->input(1));
    return dimension && dimension->isInt() && dimension->toInt() == 1;
  }
  return node->kind() == c10::prim::ListConstruct;
}

/// The graph's nodes without constants, in order.
std::vector<Node*> steps(Graph& graph) {
  std::vector<Node*> nodes;
  for (Node* node : graph.nodes())
    if (!is_constant(node)) nodes.push_back(node);
  return nodes;
}

/// The one tensor through which everything behind the first `count` steps depends on them and on the picture; null if
/// there are several.
Value* gate(Graph& graph, const std::vector<Node*>& nodes, std::size_t count) {
  std::set<Value*> before{graph.inputs()[0]};
  for (std::size_t i = 0; i < count; ++i) before.insert(nodes[i]->outputs().begin(), nodes[i]->outputs().end());
  std::set<Value*> passing;
  const auto look_at = [&](Node* user) {
    for (Value* input : user->inputs())
      if (before.contains(input)) passing.insert(input);
  };
  for (std::size_t i = count; i < nodes.size(); ++i) look_at(nodes[i]);
  look_at(graph.return_node());
  return passing.size() == 1 && is_tensor(*passing.begin()) ? *passing.begin() : nullptr;
}

std::shared_ptr<Graph> first_part(const Graph& graph, std::size_t count) {
  auto part = const_cast<Graph&>(graph).copy();
  const auto nodes = steps(*part);
  Value* result = gate(*part, nodes, count);
  part->eraseOutput(0);
  for (auto i = nodes.size(); i > count; --i) nodes[i - 1]->destroy();
  part->registerOutput(result);
  return part;
}

std::shared_ptr<Graph> second_part(const Graph& graph, std::size_t count) {
  auto part = const_cast<Graph&>(graph).copy();
  const auto nodes = steps(*part);
  Value* result = gate(*part, nodes, count);
  Value* input = part->insertInput(0);
  input->setType(c10::TensorType::get());
  result->replaceAllUsesWith(input);
  for (auto i = count; i > 0; --i) nodes[i - 1]->destroy();
  part->eraseInput(1);
  return part;
}

}  // namespace

Split split_by_picture(const std::shared_ptr<Graph>& graph) {
  const auto nodes = steps(*graph);
  if (std::any_of(nodes.begin(), nodes.end(), [](const Node* node) { return !node->blocks().empty(); })) return {};
  const auto end = std::find_if_not(nodes.begin(), nodes.end(), is_by_picture);
  for (auto count = static_cast<std::size_t>(end - nodes.begin()); count > 0; --count)
    if (gate(*graph, nodes, count))
      return {first_part(*graph, count), count == nodes.size() ? nullptr : second_part(*graph, count)};
  return {};
}

}  // namespace graft::engine
