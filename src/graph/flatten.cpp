#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/alias_analysis.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <graft/error.h>

#include "graph/jit.h"

namespace graft::graph {

using torch::jit::AliasDb;
using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

std::optional<std::string> path_of(const Value* value, const Value* self) {
  if (value == self) return std::string();
  const Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr) return std::nullopt;
  auto parent = path_of(node->input(), self);
  if (!parent) return std::nullopt;
  const std::string& name = node->s(c10::attr::name);
  return parent->empty() ? name : *parent + "." + name;
}

std::optional<torch::jit::IValue> attribute(const torch::jit::Module& module, const Value* value, const Value* self) {
  if (value == self) return module._ivalue();
  const Node* node = value->node();
  if (node->kind() != c10::prim::GetAttr) return std::nullopt;
  const auto owner = attribute(module, node->input(), self);
  if (!owner || !owner->isObject()) return std::nullopt;
  return owner->toObjectRef().getAttr(node->s(c10::attr::name));
}

std::string short_type_name(const torch::jit::TypePtr& type) {
  const auto named = type->cast<c10::NamedType>();
  return named && named->name() ? named->name()->name() : type->str();
}

std::shared_ptr<Graph> method_graph(const c10::ClassType& type, const std::string& method) {
  auto* function = type.findMethod(method);
  auto* graph_function = function ? torch::jit::tryToGraphFunction(*function) : nullptr;
  if (!graph_function)
    throw Error(ErrorCode::kMismatch, "TorchScript class " + type.str() + " has no method " + method);
  return graph_function->graph();
}

const Value* input_named(const Node* node, const char* name) {
  const auto* schema = node->maybeSchema();
  const auto index = schema ? schema->argumentIndexWithName(name) : std::nullopt;
  return index ? node->input(static_cast<std::size_t>(*index)) : nullptr;
}

namespace {

class Flattener {
 public:
  explicit Flattener(FlatGraph& flat) : flat_(flat), self_(flat.graph->inputs().at(0)) {}

  void walk(Block* block, bool conditional) {
    // The nodes form a ring that the return node closes.
    for (Node* node = block->return_node()->next(); node != block->return_node();) {
      auto* function = torch::jit::tryToGraphFunction(node);  // none for an interface: that is resolved when it runs
      if (!function) {
        for (Block* inner : node->blocks()) walk(inner, true);
        node = node->next();
        continue;
      }
      if (node->kind() == c10::prim::CallMethod) {
        record(node, conditional);
      } else {
        node->removeInput(0);  // the function itself
      }
      Node* const before = node->prev();
      inline_call(node, function);
      node = before->next();
    }
  }

 private:
  void record(Node* call, bool conditional) {
    const auto path = path_of(call->input(0), self_);
    // A layer that a traced network calls again has methods forward1, forward2, ...
    if (!path || path->empty() || !call->s(c10::attr::name).starts_with("forward")) return;
    flat_.calls.push_back({{*path, short_type_name(call->input(0)->type()), conditional},
                           call->inputs().size() > 1 ? call->input(1) : nullptr,
                           call->outputs().size() == 1 ? call->output() : nullptr});
  }

  /// The call's outputs are replaced, also in what was recorded.
  void inline_call(Node* call, torch::jit::GraphFunction* function) {
    const std::vector<const Value*> old_outputs(call->outputs().begin(), call->outputs().end());
    const auto new_outputs = torch::jit::inlineCallTo(call, function, function->graph().get());
    for (auto& flat_call : flat_.calls) {
      for (std::size_t i = 0; i < old_outputs.size(); ++i) {
        if (flat_call.input == old_outputs[i]) flat_call.input = new_outputs[i];
        if (flat_call.output == old_outputs[i]) flat_call.output = new_outputs[i];
      }
    }
  }

  FlatGraph& flat_;
  const Value* self_;
};

bool may_write(const Node* node) {
  const auto* schema = node->maybeSchema();
  return schema ? schema->is_mutable() : node->hasSideEffects() || node->kind() == c10::prim::CallMethod;
}

bool is_in_loop(const Node* node) {
  for (const Block* block = node->owningBlock(); block->owningNode(); block = block->owningNode()->owningBlock())
    if (block->owningNode()->kind() == c10::prim::Loop) return true;
  return false;
}

/// view() needs rows that lie one after another, where inputs have channels last they do not: reshape() is the same,
/// and copies if it must. Not so where one is written into later, which the other is to see.
void views_to_reshapes(const std::vector<Node*>& views, const std::vector<Node*>& writers,
                       const std::optional<AliasDb>& aliases) {
  for (Node* view : views) {
    if (std::any_of(writers.begin(), writers.end(), [&](Node* writer) {
          return (!writer->isBefore(view) || is_in_loop(view)) && aliases->writesToAlias(writer, {view->output()});
        }))
      continue;
    Node* reshape = view->owningGraph()->create(c10::aten::reshape, {view->input(0), view->input(1)});
    reshape->setSourceRange(view->sourceRange());
    reshape->output()->setType(view->output()->type());
    reshape->insertBefore(view);
    view->output()->replaceAllUsesWith(reshape->output());
  }
}

/// A copy of an input in its place.
Node* copied(Graph& graph, Value* input) {
  Node* copy = graph.create(c10::aten::clone, {input, graph.insertConstant(c10::IValue())});
  graph.prependNode(copy);
  copy->input(1)->node()->moveBefore(copy);
  copy->output()->setType(input->type());
  input->replaceAllUsesAfterNodeWith(copy, copy->output());
  return copy;
}

/// What TorchScript's own code takes for granted of its input. Whoever gives one keeps it as it is: code that writes
/// into it works on a copy.
void adapt(FlatGraph& flat) {
  auto& graph = *flat.graph;
  std::vector<Node*> views, writers, copies;
  for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::aten::view && node->input(1)->type()->kind() == c10::TypeKind::ListType)
      views.push_back(node);
    if (may_write(node)) writers.push_back(node);
  });
  std::optional<AliasDb> aliases;
  if (!writers.empty()) {
    // Inputs may be anything's alias to it: the copies are asked about.
    for (Value* input : graph.inputs().slice(1))
      if (input->type()->isSubtypeOf(*c10::TensorType::get())) copies.push_back(copied(graph, input));
    aliases.emplace(flat.graph);
  }
  views_to_reshapes(views, writers, aliases);
  for (Node* copy : copies) {
    const bool needed = aliases->hasWriters(copy->output());
    for (auto& call : flat.calls)
      if (needed && call.input == copy->input(0)) call.input = copy->output();
    if (!needed) copy->output()->replaceAllUsesWith(copy->input(0));
  }
  for (auto* unused : {&views, &copies})
    for (Node* node : *unused)
      if (!node->hasUses()) node->destroy();
}

}  // namespace

FlatGraph flatten(const torch::jit::Module& module) {
  FlatGraph flat{method_graph(*module.type(), "forward")->copy(), {}};
  Flattener(flat).walk(flat.graph->block(), false);
  adapt(flat);
  return flat;
}

FlatGraph flatten_one_input(const torch::jit::Module& module) {
  auto flat = flatten(module);
  if (flat.graph->inputs().size() != 2)
    throw Error(ErrorCode::kMismatch,
                "expected a network with one input, found " + std::to_string(flat.graph->inputs().size() - 1));
  return flat;
}

}  // namespace graft::graph
