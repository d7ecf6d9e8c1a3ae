#include "graph/branches.h"

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/constants.h>

namespace graft::graph {

using torch::jit::IValue;
using torch::jit::Module;
using torch::jit::Node;
using torch::jit::Value;

namespace {

bool is_plain(const IValue& value) {
  return value.isBool() || value.isInt() || value.isDouble() || value.isString() || value.isNone();
}

}  // namespace

std::optional<IValue> Branches::value_of(const Value* value, const Module& module, const Value* self) const {
  static const std::set<c10::Symbol> kLogic{c10::aten::__not__, c10::aten::__is__, c10::aten::__isnot__,
                                            c10::aten::__and__, c10::aten::__or__, c10::aten::Bool,
                                            c10::aten::eq,      c10::aten::ne,     c10::aten::lt,
                                            c10::aten::le,      c10::aten::gt,     c10::aten::ge};
  Node* node = const_cast<Node*>(value->node());
  if (is_tensor(value)) return std::nullopt;
  if (node->kind() == c10::prim::Constant) {
    auto constant = torch::jit::toIValue(value);
    return constant && is_plain(*constant) ? constant : std::nullopt;
  }
  if (node->kind() == c10::prim::GetAttr) {
    const std::string& name = node->s(c10::attr::name);
    if (name == "training") return std::nullopt;
    auto found = attribute(module, value, self);
    return found && is_plain(*found) && !is_set_somewhere(name) ? found : std::nullopt;
  }
  if (node->kind() == c10::prim::unchecked_cast) return value_of(node->input(0), module, self);
  if (!kLogic.contains(node->kind()) || !node->maybeOperator()) return std::nullopt;
  torch::jit::Stack stack;
  for (const Value* input : node->inputs()) {
    auto known = value_of(input, module, self);
    if (!known) return std::nullopt;
    stack.push_back(std::move(*known));
  }
  node->getOperation()(stack);
  return stack.size() == 1 ? std::optional(stack.front()) : std::nullopt;
}

bool Branches::is_set_somewhere(const std::string& name) const {
  if (!set_) {
    set_.emplace();
    for (const auto& part : root_.modules()) {
      for (auto* method : part.type()->methods()) {
        auto* function = torch::jit::tryToGraphFunction(*method);
        if (!function) continue;
        for_each_node(function->graph()->block(), [&](const Node* node) {
          if (node->kind() == c10::prim::SetAttr) set_->insert(node->s(c10::attr::name));
        });
      }
    }
  }
  return set_->contains(name);
}

}  // namespace graft::graph
