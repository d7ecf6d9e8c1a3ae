// What LibTorch does not have on the CPU as a pass; TorchInductor does the same:
// torch/_inductor/fx_passes/mkldnn_fusion.py, aten/src/ATen/native/mkldnn/Conv.cpp.

#include "engine/fusion.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/ir/constants.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include "engine/freeze.h"
#include "engine/max_pool.h"
#include "graph/jit.h"

namespace graft::engine {

using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

const c10::Symbol kFused = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise");
const c10::Symbol kFusedInPlace = c10::Symbol::fromQualString("mkldnn::_convolution_pointwise_");

namespace {

/// A convolution over two dimensions whose weights are known.
struct Convolution {
  at::Tensor weight, bias;  ///< bias may be undefined
  at::Tensor scale;         ///< of the weight, [O, 1, 1, 1]; undefined without a batch norm
  std::vector<std::int64_t> stride, padding, dilation;
  std::int64_t groups = 1;
};

std::optional<Convolution> convolution_of(const Node* node) {
  if (!is_convolution(node)) return std::nullopt;
  const bool general = node->kind() == c10::aten::_convolution;
  const auto weight = torch::jit::toIValue(node->input(1)), bias = torch::jit::toIValue(node->input(2));
  if (!weight || !weight->isTensor() || !bias) return std::nullopt;
  Convolution c{weight->toTensor(), bias->isTensor() ? bias->toTensor() : at::Tensor(), {}, {}, {}, {}, 1};
  const auto lists = {std::pair(&c.stride, std::size_t{3}), std::pair(&c.padding, std::size_t{4}),
                      std::pair(&c.dilation, std::size_t{5})};
  for (const auto& [list, index] : lists) {
    const auto value = torch::jit::toIValue(node->input(index));
    if (!value || !value->isIntList()) return std::nullopt;  // padding may be a word: "same"
    *list = value->toIntVector();
    if (list->size() == 1) list->push_back(list->front());
  }
  if (general) {
    const auto transposed = torch::jit::toIValue(node->input(6));
    if (!transposed || !transposed->isBool() || transposed->toBool()) return std::nullopt;
  }
  const auto groups = torch::jit::toIValue(node->input(general ? 8 : 6));
  if (!groups || !groups->isInt()) return std::nullopt;
  c.groups = groups->toInt();
  if (c.weight.dim() != 4 || c.weight.scalar_type() != at::kFloat) return std::nullopt;
  return c;
}

/// y = (x - mean) / sqrt(var + eps) * weight + bias becomes part of the convolution. False if not all of it is known.
bool fold_batch_norm(const Node* norm, Convolution& c) {
  if (norm->kind() != c10::aten::batch_norm) return false;
  const auto training = torch::jit::constant_as<bool>(norm->input(5));
  const auto eps = torch::jit::constant_as<double>(norm->input(7));
  if (training.value_or(true) || !eps) return false;
  at::Tensor tensors[4];  // weight, bias, mean, variance
  for (std::size_t i = 0; i < 4; ++i) {
    const auto value = torch::jit::toIValue(norm->input(i + 1));
    if (!value || (!value->isTensor() && !value->isNone())) return false;
    if (value->isTensor()) tensors[i] = value->toTensor();
  }
  const auto& [weight, bias, mean, variance] = tensors;
  if (!mean.defined() || !variance.defined()) return false;
  auto scale = (variance + *eps).rsqrt();
  if (weight.defined()) scale = scale * weight;
  c.scale = scale.reshape({-1, 1, 1, 1});
  c.bias = ((c.bias.defined() ? c.bias : at::zeros_like(mean)) - mean) * scale;
  if (bias.defined()) c.bias = c.bias + bias;
  return true;
}

bool is_relu(const Node* node) { return node->kind() == c10::aten::relu || node->kind() == c10::aten::relu_; }

bool is_sum(const Node* node) {
  if (node->kind() != c10::aten::add && node->kind() != c10::aten::add_) return false;
  const auto alpha = torch::jit::toIValue(node->input(2));
  return graph::is_tensor(node->input(1)) && alpha && alpha->isInt() && alpha->toInt() == 1;
}

bool may_write(const Node* node) {
  return !node->blocks().empty() || (node->maybeSchema() ? graph::is_writer(node) : node->hasSideEffects());
}

/// The only node that uses the value; null if there are several, or none.
Node* only_user(const Value* value) { return value->uses().size() == 1 ? value->uses().front().user : nullptr; }

class Fusion {
 public:
  Fusion(std::shared_ptr<Graph> graph, PlanSummary& summary) : graph_(std::move(graph)), summary_(summary) {}

  std::vector<Node*> run() {
    std::vector<Node*> nodes, fused;
    for (Node* node : graph_->block()->nodes())
      if (is_convolution(node)) nodes.push_back(node);
    summary_.convolutions = std::ssize(nodes);
    for (Node* node : nodes) {
      auto convolution = convolution_of(node);
      fused.push_back(convolution ? fuse(node, *convolution) : nullptr);
    }
    torch::jit::EliminateDeadCode(graph_->block());
    return fused;
  }

 private:
  Node* fuse(Node* node, Convolution& c) {
    Node* last = node;
    Value* other = nullptr;
    Node* norm = only_user(node->output());
    if (norm && can_move(node->input(0), node, norm) && fold_batch_norm(norm, c)) {
      norm->output()->replaceAllUsesWith(node->output());
      norm->destroy();
    }
    Node* sum = only_user(node->output());
    // The other operand must be there when this one runs, and must not be this one.
    if (sum && is_sum_of(sum, node) && can_move(node->input(0), node, sum)) {
      other = sum->input(sum->input(0) == node->output() ? 1 : 0);
      last = sum;
    }
    Node* relu = only_user(last->output());
    const bool with_relu =
        relu && is_relu(relu) && can_move(node->input(0), node, relu) && (!other || can_move(other, sum, relu));
    if (with_relu) last = relu;

    const torch::jit::WithInsertPoint at(last);
    std::vector<Value*> inputs{node->input(0)};
    if (other) inputs.push_back(other);
    Value* const weight = graph_->insertConstant(c.weight);
    inputs.push_back(c.scale.defined() ? graph_->insert(c10::aten::mul, {weight, c.scale}) : weight);
    inputs.push_back(c.bias.defined() ? graph_->insertConstant(c.bias) : none());
    for (const auto* values : {&c.padding, &c.stride, &c.dilation}) inputs.push_back(graph_->insertConstant(*values));
    inputs.push_back(graph_->insertConstant(c.groups));
    const auto activation = std::string(with_relu ? "relu" : "none");
    if (other) {
      inputs.push_back(graph_->insertConstant(std::string("add")));
      inputs.push_back(none());
      inputs.push_back(with_relu ? graph_->insertConstant(activation) : none());
    } else {
      inputs.push_back(graph_->insertConstant(activation));
    }
    inputs.push_back(no_scalars(*graph_));
    inputs.push_back(with_relu ? graph_->insertConstant(std::string("")) : none());
    Node* fused = graph_->insertNode(graph_->create(kFused, inputs));
    fused->output()->setType(c10::TensorType::get());
    last->output()->replaceAllUsesWith(fused->output());
    if (with_relu) relu->destroy();
    if (other) sum->destroy();
    node->destroy();
    ++summary_.fused;
    summary_.with_relu += with_relu;
    summary_.with_add += other != nullptr;
    return fused;
  }

  /// Adds something else to the convolution's output, and changes nothing but that.
  bool is_sum_of(const Node* sum, const Node* node) const {
    return is_sum(sum) && sum->input(0) != sum->input(1) &&
           (sum->kind() == c10::aten::add || sum->input(0) == node->output());
  }

  /// Whether what `from` reads is the same where `place` is: in the same block, and nothing between them writes into
  /// it.
  bool can_move(Value* read, Node* from, Node* place) const {
    if (place->owningBlock() != from->owningBlock()) return false;
    std::optional<torch::jit::AliasDb> aliases;  // takes longer to make than everything else here
    for (Node* between = from->next(); between != place; between = between->next())
      if (may_write(between) && (aliases ? *aliases : aliases.emplace(graph_)).writesToAlias(between, {read}))
        return false;
    return true;
  }

  Value* none() { return graph_->insertConstant(c10::IValue()); }

  std::shared_ptr<Graph> graph_;
  PlanSummary& summary_;
};

/// A fused node with an addition has one operand more in front of its weight.
bool has_sum(const Node* fused) { return fused->inputs().size() == 13; }
std::size_t weight_place(const Node* fused) { return has_sum(fused) ? 2 : 1; }

}  // namespace

Value* no_scalars(Graph& graph) {
  const auto type = c10::OptionalType::create(c10::NumberType::get());
  return graph.insertNode(graph.createList(type, std::vector<Value*>()))->output();
}

FusedGraph fused_graph(const graph::Network& network, const Sizes& convolution_inputs, PlanSummary& summary) {
  const auto graph = frozen_graph(network);
  if (!graph) return {};
  const auto convolutions = Fusion(graph, summary).run();
  if (summary.fused == 0) return {};
  replace_max_pools(*graph);
  FusedGraph result{graph, {}};
  if (convolution_inputs.size() == convolutions.size())
    for (const Node* node : fused_nodes(*graph))
      result.inputs.push_back(convolution_inputs[std::ranges::find(convolutions, node) - convolutions.begin()]);
  return result;
}

std::vector<Node*> fused_nodes(Graph& graph) {
  std::vector<Node*> nodes;
  for (Node* node : graph.nodes())
    if (is_fused(node)) nodes.push_back(node);
  return nodes;
}

void add_in_place(Graph& graph) {
  for (Node* node : fused_nodes(graph)) {
    if (!has_sum(node) || node->kind() == kFusedInPlace) continue;
    Value* other = node->input(1);
    // An operator made it as a tensor of its own, and everybody else who reads it has done so before.
    const bool free =
        is_fused(other->node()) && std::all_of(other->uses().begin(), other->uses().end(), [&](auto& use) {
          if (use.user == node) return use.offset == 1;
          return is_fused(use.user) && use.user->owningBlock() == node->owningBlock() && use.user->isBefore(node);
        });
    if (!free) continue;
    std::vector<Value*> inputs = node->inputs().vec();
    std::swap(inputs[0], inputs[1]);
    const torch::jit::WithInsertPoint at(node);
    Node* in_place = graph.insertNode(graph.create(kFusedInPlace, inputs));
    in_place->output()->setType(c10::TensorType::get());
    node->output()->replaceAllUsesWith(in_place->output());
    node->destroy();
  }
}

FusedOperands operands_of(const Node* fused) {
  const auto at = weight_place(fused);
  const bool in_place = fused->kind() == kFusedInPlace;
  const auto numbers = [&](std::size_t i) { return torch::jit::toIValue(fused->input(at + i))->toIntVector(); };
  const auto* activation = fused->input(has_sum(fused) ? at + 8 : at + 6);
  const auto word = torch::jit::toIValue(activation).value();
  return {fused->input(in_place ? 1 : 0),
          has_sum(fused) ? fused->input(in_place ? 0 : 1) : nullptr,
          fused->input(at),
          fused->input(at + 1),
          {.stride = numbers(3),
           .padding = numbers(2),
           .dilation = numbers(4),
           .groups = torch::jit::toIValue(fused->input(at + 5))->toInt(),
           .with_relu = word.isString() && word.toStringRef() == "relu"}};
}

at::Tensor weight_of(const FusedOperands& operands) {
  if (const auto constant = torch::jit::toIValue(operands.weight)) return constant->toTensor();
  const Node* product = operands.weight->node();
  return torch::jit::toIValue(product->input(0))->toTensor() * torch::jit::toIValue(product->input(1))->toTensor();
}

void replace_weight(Node* fused, Value* weight) { fused->replaceInput(weight_place(fused), weight); }

}  // namespace graft::engine
