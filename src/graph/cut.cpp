// Cutting and joining by rebuilding classes. A TorchScript class cannot lose attributes, so each module on the way to
// the cut gets a new class with the attributes and the part of forward that are still needed; everything else is
// shared.

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/compilation_unit.h>
#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/dead_code_elimination.h>

#include <graft/error.h>

#include "base/translate.h"
#include "graph/branches.h"
#include "graph/flatten.h"

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
bool inline_own_methods(Graph& graph) {
  const Value* self = graph.inputs().at(0);
  bool inlined = false;
  for (bool again = true; again;) {
    again = false;
    for (Node* node : graph.nodes()) {
      if (node->kind() != c10::prim::CallMethod || node->input(0) != self) continue;
      const auto type = node->input(0)->type()->expect<c10::ClassType>();
      auto* function = torch::jit::tryToGraphFunction(type->getMethod(node->s(c10::attr::name)));
      if (!function) continue;
      torch::jit::inlineCallTo(node, function, function->graph().get());
      again = inlined = true;
      break;
    }
  }
  return inlined;
}

/// Only the branch that is taken remains, where that is known before the network runs.
bool settle_branches(torch::jit::Block* block, const Module& module, const Value* self, const Branches& branches) {
  bool settled = false;
  for (Node* node = block->return_node()->next(); node != block->return_node();) {  // the nodes form a ring
    Node* const before = node->prev();
    if (branches.settle(node, module, self, [](const Value*, const Value*) {})) {
      settled = true;
      node = before->next();
      continue;
    }
    for (auto* inner : node->blocks()) settled |= settle_branches(inner, module, self, branches);
    node = node->next();
  }
  return settled;
}

/// What is known of a method's argument before the network runs.
struct Argument {
  std::optional<torch::jit::IValue> value;
  bool from_input = true;  ///< computed from the network's input
  bool by_layers = false;  ///< by layers, too: not the input itself, nor a mask of it
};
/// By the method's inputs, the first of which is the module.
using Arguments = std::vector<Argument>;

/// The method with its own methods inlined, for these arguments.
std::shared_ptr<Graph> own_graph(const Module& module, const std::string& method, const Arguments& arguments,
                                 const Branches& branches) {
  auto graph = method_graph(*module.type(), method)->copy();
  for (std::size_t i = 1; i < std::min(arguments.size(), graph->inputs().size()); ++i) {
    if (!arguments[i].value || graph->nodes().begin() == graph->nodes().end()) continue;
    const torch::jit::WithInsertPoint at(*graph->nodes().begin());
    graph->inputs()[i]->replaceAllUsesWith(graph->insertConstant(*arguments[i].value));
  }
  for (bool again = true; again;) {
    again = inline_own_methods(*graph);
    again |= settle_branches(graph->block(), module, graph->inputs().at(0), branches);
  }
  return graph;
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

bool holds_tensors(const c10::Type& type) {
  return type.isSubtypeOf(*c10::TensorType::get()) ||
         std::ranges::any_of(type.containedTypes(), [](const auto& inner) { return holds_tensors(*inner); });
}

/// The tensors, and lists of them, that are computed from some of a graph's values. Those made of their size are not.
class ComputedFrom {
 public:
  ComputedFrom(Graph& graph, const std::vector<const Value*>& values) {
    for (const Value* value : values) add(value);
    for (std::size_t before = 0; before != values_.size();) {  // loops hand values back
      before = values_.size();
      for_each_node(graph.block(), [&](Node* node) { spread(node); });
    }
  }

  bool contains(const Value* value) const { return values_.contains(value); }
  bool has_any(at::ArrayRef<Value*> values) const {
    return std::ranges::any_of(values, [&](const Value* value) { return contains(value); });
  }

 private:
  void add(const Value* value) {
    if (value->type()->kind() != c10::TypeKind::ClassType && holds_tensors(*value->type())) values_.insert(value);
  }
  void spread(Node* node) {
    bool found = has_any(node->inputs());
    for (torch::jit::Block* block : node->blocks()) found |= has_any(block->outputs());
    if (!found) return;
    for (const Value* output : node->outputs()) add(output);
    for (torch::jit::Block* block : node->blocks())
      for (const Value* input : block->inputs()) add(input);
    for (const Value* written : written_inputs(node)) add(written);
  }

  std::set<const Value*> values_;
};

std::vector<const Value*> inputs_that(const Graph& graph, const Arguments& arguments, bool Argument::* flag) {
  std::vector<const Value*> found;
  for (std::size_t i = 1; i < graph.inputs().size(); ++i)
    if ((i < arguments.size() ? arguments[i] : Argument()).*flag) found.push_back(graph.inputs()[i]);
  return found;
}

/// What layers make of values, and is given to them.
std::vector<const Value*> made_by_layers(Graph& graph, const Arguments& arguments, const ComputedFrom& from_input) {
  auto found = inputs_that(graph, arguments, &Argument::by_layers);
  for_each_node(graph.block(), [&](Node* node) {
    if (node->kind() == c10::prim::CallMethod && from_input.has_any(node->inputs()))
      found.insert(found.end(), node->outputs().begin(), node->outputs().end());
  });
  return found;
}

/// What a head in the place of the called layer would be given.
Value* features_of(Node* call, std::string_view path, const ComputedFrom& from_input, const ComputedFrom& by_layers) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::kMismatch, "cannot cut before \"" + std::string(path) + "\": " + what);
  };
  if (call->inputs().size() < 2) refuse("it takes no input");
  const auto count = std::ranges::count_if(call->inputs(), [&](Value* value) { return by_layers.contains(value); });
  if (count > 1)
    refuse("it takes " + std::to_string(count) + " tensors; cut at a layer that takes one, or after the one before it");
  if (!from_input.contains(call->input(1)))
    refuse("what it takes first is not computed from the network's input; cut at another layer");
  return call->input(1);
}

struct Cut {
  std::string_view path;  ///< from the network's root
  bool after;
  const Branches& branches;
};

Module cut_module(const Module& module, const std::string& method, const Arguments& arguments, std::string_view path,
                  const Cut& cut) {
  const auto full_path = cut.path;
  const bool after = cut.after;
  const auto dot = path.find('.');
  const std::string child(path.substr(0, dot));
  const std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);

  auto graph = own_graph(module, method, arguments, cut.branches);
  Value* self = graph->inputs().at(0);
  // Of the layer itself or of one around it; where there is none, one beside it says why.
  Node* call = last_call(graph->block(), self, [&](const std::string& called) { return is_within(path, called); });
  if (!call)
    call = last_call(graph->block(), self, [&](const std::string& called) { return is_within(called, child); });
  if (!call)
    throw Error(ErrorCode::kConfig, "no layer \"" + std::string(full_path) + "\" is called by this network's forward");
  if (call->owningBlock() != graph->block()) refuse_conditional(full_path);

  const ComputedFrom from_input(*graph, inputs_that(*graph, arguments, &Argument::from_input));
  const ComputedFrom by_layers(*graph, made_by_layers(*graph, arguments, from_input));
  const std::string prefix(full_path.substr(0, full_path.size() - path.size()));
  // A container that the code looks through (self.layer4.0(x) for a Sequential) has no call of its own.
  const std::string called = *path_of(call->input(0), self);
  std::map<std::string, Module> replaced;
  Value* value = nullptr;
  Node* end = call;
  if (called == path) {
    if (after && call->outputs().size() != 1)
      throw Error(ErrorCode::kMismatch,
                  "cannot cut after \"" + std::string(full_path) + "\": it yields no single value");
    value = after ? call->output() : features_of(call, full_path, from_input, by_layers);
    if (after) end = call->next();
  } else if (called == child) {
    const Module inner = module.attr(child).toModule();
    Arguments known;
    for (const Value* argument : call->inputs())
      known.push_back(
          {cut.branches.value_of(argument, module, self), from_input.contains(argument), by_layers.contains(argument)});
    replaced.emplace(child, cut_module(inner, call->s(c10::attr::name), known, rest, cut));
    // The shortened child answers to the same method name and yields the value of the cut.
    value = call->output();
    value->setType(c10::TensorType::get());
    end = call->next();
  } else {
    throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(full_path) + "\": \"" + prefix + called +
                                          "\" is called directly, past the layers around it; cut there");
  }
  if (!is_tensor(value))
    throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(full_path) +
                                          "\": expected a tensor there, found " + value->type()->str());
  truncate(*graph, value, end);
  if (!replaced.empty() && count_calls(graph->block(), self, child) > 1)
    throw Error(ErrorCode::kMismatch, "cannot cut at \"" + std::string(full_path) + "\": \"" + prefix + child +
                                          "\" is called more than once");
  return rebuild(module, graph, method, replaced);
}

}  // namespace

Network Network::cut(std::string_view path, bool after) const {
  return base::translated("cutting the network", [&] {
    const Branches branches(jit_->module);
    auto jit = std::make_shared<Jit>(Jit{cut_module(jit_->module, "forward", {}, path, {path, after, branches})});
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
