#include "graph/jit.h"

#include <algorithm>
#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>

#include <graft/error.h>

namespace graft::graph {

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

}  // namespace graft::graph
