// Cutting and joining by rebuilding classes. A TorchScript class cannot lose attributes, so each module on the way to
// the cut gets a new class with the attributes and the part of forward that are still needed; everything else is
// shared.

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <graft/error.h>

#include "base/translate.h"
#include "graph/jit.h"

namespace graft::graph {

namespace {

using torch::jit::Graph;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

[[noreturn]] void refuse_conditional(std::string_view path) {
  throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(path) +
                                        "\": it is called inside an if or a loop; choose a layer around it");
}

/// Calls of the module's own methods (torchvision's forward calls _forward_impl) become part of the graph.
void inline_own_methods(Graph& graph) {
  const Value* self = graph.inputs().at(0);
  for (bool again = true; again;) {
    again = false;
    for (Node* node : graph.nodes()) {
      if (node->kind() != c10::prim::CallMethod || node->input(0) != self) continue;
      const auto type = node->input(0)->type()->expect<c10::ClassType>();
      auto* function = torch::jit::tryToGraphFunction(type->getMethod(node->s(c10::attr::name)));
      if (!function) continue;
      torch::jit::inlineCallTo(node, function, function->graph().get());
      again = true;
      break;
    }
  }
}

bool is_within(std::string_view path, std::string_view layer) {
  return path.starts_with(layer) && (path.size() == layer.size() || path[layer.size()] == '.');
}

/// The last call, in `block` or below, for whose receiver's path `wanted` holds.
template <class Wanted>
Node* last_call(torch::jit::Block* block, const Value* self, const Wanted& wanted) {
  Node* found = nullptr;
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::CallMethod) {
      const auto path = path_of(node->input(0), self);
      if (path && wanted(*path)) found = node;
    }
    for (auto* inner : node->blocks())
      if (Node* deeper = last_call(inner, self, wanted)) found = deeper;
  }
  return found;
}

std::size_t count_calls(torch::jit::Block* block, const Value* self, const std::string& child) {
  std::size_t count = 0;
  for (Node* node : block->nodes()) {
    if (node->kind() == c10::prim::CallMethod && path_of(node->input(0), self) == child) ++count;
    for (auto* inner : node->blocks()) count += count_calls(inner, self, child);
  }
  return count;
}

/// A new class like `module`'s with the attributes `graph` uses, `replaced` ones in place of the old, and `graph`
/// as its only method.
Module rebuild(const Module& module, const std::shared_ptr<Graph>& graph, const std::string& method,
               const std::map<std::string, Module>& replaced) {
  const auto unit = module._ivalue()->compilation_unit();
  const auto old_type = module.type();
  Value* self = graph->inputs().at(0);

  std::vector<std::string> used;
  for (const auto& use : self->uses())
    if (use.user->kind() == c10::prim::GetAttr) used.push_back(use.user->s(c10::attr::name));

  Module result(old_type->name().value(), unit, /*shouldMangle=*/true);
  const auto new_type = result.type();
  const auto add = [&](const std::string& name) {
    if (new_type->findAttributeSlot(name)) return;
    if (const auto it = replaced.find(name); it != replaced.end()) {
      result.register_attribute(name, it->second.type(), it->second._ivalue());
    } else {
      const auto slot = old_type->getAttributeSlot(name);
      result.register_attribute(name, old_type->getAttribute(slot), module.attr(name), old_type->is_parameter(slot),
                                old_type->is_buffer(slot));
    }
  };
  for (std::size_t slot = 0; slot < old_type->numAttributes(); ++slot) {  // the old order is kept
    const auto& name = old_type->getAttributeName(slot);
    if (name == "training" || std::find(used.begin(), used.end(), name) != used.end()) add(name);
  }
  for (const auto& [name, child] : replaced) add(name);
  if (!new_type->findAttributeSlot("training")) result.register_attribute("training", c10::BoolType::get(), false);

  self->setType(new_type);
  for (const auto& use : self->uses())
    if (use.user->kind() == c10::prim::GetAttr)
      if (const auto it = replaced.find(use.user->s(c10::attr::name)); it != replaced.end())
        use.user->output()->setType(it->second.type());
  auto* function = unit->create_function(c10::QualifiedName(*new_type->name(), method), graph);
  new_type->addMethod(function);
  return result;
}

/// Ends `graph` with `value`: nothing from `end` on is kept (the return node: everything is).
void truncate(Graph& graph, Value* value, Node* end) {
  while (graph.outputs().size() > 0) graph.eraseOutput(graph.outputs().size() - 1);
  graph.registerOutput(value);
  while (end != graph.return_node()) {
    Node* const last = graph.return_node()->prev();
    if (last == end) end = graph.return_node();
    last->destroy();
  }
  torch::jit::EliminateDeadCode(graph.block());
}

bool computes_something(const Graph& graph, const Value* value) {
  const auto inputs = graph.inputs();
  return std::find(inputs.begin(), inputs.end(), value) == inputs.end();
}

Module cut_module(const Module& module, const std::string& method, std::string_view path, std::string_view full_path,
                  bool after) {
  const auto dot = path.find('.');
  const std::string child(path.substr(0, dot));
  const std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);

  auto graph = method_graph(*module.type(), method)->copy();
  inline_own_methods(*graph);
  Value* self = graph->inputs().at(0);
  // Of the layer itself or of one around it; where there is none, one beside it says why.
  Node* call = last_call(graph->block(), self, [&](const std::string& called) { return is_within(path, called); });
  if (!call)
    call = last_call(graph->block(), self, [&](const std::string& called) { return is_within(called, child); });
  if (!call)
    throw Error(ErrorCode::kConfig, "no layer \"" + std::string(full_path) + "\" is called by this network's forward");
  if (call->owningBlock() != graph->block()) refuse_conditional(full_path);

  // A container that the code looks through (self.layer4.0(x) for a Sequential) has no call of its own.
  const std::string called = *path_of(call->input(0), self);
  std::map<std::string, Module> replaced;
  Value* value = nullptr;
  Node* end = call;
  if (called == path) {
    if (call->inputs().size() < 2 && !after)
      throw Error(ErrorCode::kMismatch, "cannot cut before \"" + std::string(full_path) + "\": it takes no input");
    if (after && call->outputs().size() != 1)
      throw Error(ErrorCode::kMismatch,
                  "cannot cut after \"" + std::string(full_path) + "\": it yields no single value");
    value = after ? call->output() : call->input(1);
    if (after) end = call->next();
  } else if (called == child) {
    const Module inner = module.attr(child).toModule();
    replaced.emplace(child, cut_module(inner, call->s(c10::attr::name), rest, full_path, after));
    // The shortened child answers to the same method name and yields the value of the cut.
    value = call->output();
    value->setType(c10::TensorType::get());
    end = call->next();
  } else {
    throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(full_path) + "\": \"" + called +
                                          "\" is called directly, past the layers around it; cut there");
  }
  if (!value->type()->isSubtypeOf(*c10::TensorType::get()))
    throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(full_path) +
                                          "\": expected a tensor there, found " + value->type()->str());
  truncate(*graph, value, end);
  if (!replaced.empty() && count_calls(graph->block(), self, child) > 1)
    throw Error(ErrorCode::kMismatch,
                "cannot cut at \"" + std::string(full_path) + "\": \"" + child + "\" is called more than once");
  return rebuild(module, graph, method, replaced);
}

}  // namespace

Network Network::cut(std::string_view path, bool after) const {
  return base::translated("cutting the network", [&] {
    auto jit = std::make_shared<Jit>(Jit{cut_module(jit_->module, "forward", path, path, after)});
    const auto flat = flatten(jit->module);
    if (!computes_something(*flat.graph, flat.graph->outputs().at(0)))
      throw Error(ErrorCode::kMismatch, "cannot cut before \"" + std::string(path) + "\": no layer comes before it");
    return Network(std::move(jit));
  });
}

Network Network::cut_before(std::string_view path) const { return cut(path, false); }
Network Network::cut_after(std::string_view path) const { return cut(path, true); }

Network Network::followed_by(std::string_view name, const Network& next) const {
  const std::string child(name);
  if (has_attribute(name))
    throw Error(ErrorCode::kMismatch, "the network has something named \"" + child + "\" already");
  return base::translated("joining networks", [&] {
    const Module& module = jit_->module;
    const Module& head = next.jit().module;
    auto graph = method_graph(*module.type(), "forward")->copy();
    inline_own_methods(*graph);
    Node* getter = graph->create(c10::prim::GetAttr, {graph->inputs().at(0)});
    getter->s_(c10::attr::name, child);
    getter->output()->setType(head.type());
    graph->appendNode(getter);
    Node* call = graph->create(c10::prim::CallMethod, {getter->output(), graph->outputs().at(0)});
    call->s_(c10::attr::name, "forward");
    call->output()->setType(c10::TensorType::get());
    graph->appendNode(call);
    graph->eraseOutput(0);
    graph->registerOutput(call->output());
    return Network(std::make_shared<Jit>(Jit{rebuild(module, graph, "forward", {{child, head}})}));
  });
}

}  // namespace graft::graph
