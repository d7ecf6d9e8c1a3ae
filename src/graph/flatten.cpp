#include <algorithm>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/inliner.h>

#include <graft/error.h>

#include "graph/branches.h"
#include "graph/jit.h"
#include "graph/to_run.h"

namespace graft::graph {

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

bool is_writer(const Node* node) {
  const auto* schema = node->maybeSchema();
  return schema && schema->is_mutable();
}

std::vector<Value*> written_inputs(Node* node) {
  std::vector<Value*> written;
  const auto* schema = node->maybeSchema();
  for (std::size_t i = 0; schema && i < std::min(schema->arguments().size(), node->inputs().size()); ++i)
    if (const auto* alias = schema->arguments()[i].alias_info(); alias && alias->isWrite())
      written.push_back(node->input(i));
  return written;
}

namespace {

class Flattener {
 public:
  Flattener(FlatGraph& flat, const torch::jit::Module& module)
      : flat_(flat), module_(module), self_(flat.graph->inputs().at(0)), branches_(module) {}

  void walk(Block* block, bool conditional) {
    // The nodes form a ring that the return node closes.
    for (Node* node = block->return_node()->next(); node != block->return_node();) {
      auto* function = torch::jit::tryToGraphFunction(node);  // none for an interface: that is resolved when it runs
      if (!function) {
        Node* const before = node->prev();
        if (branches_.settle(node, module_, self_, [&](const Value* old, Value* now) { replace(old, now); })) {
          node = before->next();
          continue;
        }
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
    for (std::size_t i = 0; i < old_outputs.size(); ++i) replace(old_outputs[i], new_outputs[i]);
  }

  void replace(const Value* old, Value* now) {
    for (auto& flat_call : flat_.calls) {
      if (flat_call.input == old) flat_call.input = now;
      if (flat_call.output == old) flat_call.output = now;
    }
  }

  FlatGraph& flat_;
  const torch::jit::Module& module_;
  const Value* self_;
  Branches branches_;
};

}  // namespace

FlatGraph flatten(const torch::jit::Module& module) {
  FlatGraph flat{method_graph(*module.type(), "forward")->copy(), {}};
  Flattener(flat, module).walk(flat.graph->block(), false);
  return flat;
}

FlatGraph flatten_to_run(const torch::jit::Module& module) {
  auto flat = flatten(module);
  for (std::size_t i = 1; i < flat.graph->inputs().size(); ++i) protect_input(flat, i);
  views_to_reshapes(flat);
  return flat;
}

FlatGraph flatten_one_input(const torch::jit::Module& module) {
  auto flat = flatten_to_run(module);
  if (flat.graph->inputs().size() != 2)
    throw Error(ErrorCode::kMismatch,
                "expected a network with one input, found " + std::to_string(flat.graph->inputs().size() - 1));
  return flat;
}

}  // namespace graft::graph
