/// What a Network holds, and what is asked of its graphs: for the rooms graph and engine only.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include "graph/network.h"

namespace graft::graph {

struct Network::Jit {
  torch::jit::Module module;
};

/// The dotted path of the sub-module that `value` holds, read off the chain of prim::GetAttr from `self`; "" for self,
/// nothing if it comes from elsewhere.
std::optional<std::string> path_of(const torch::jit::Value* value, const torch::jit::Value* self);

/// What a chain of prim::GetAttr from `self` yields in `module`; nothing if the value comes from elsewhere.
std::optional<torch::jit::IValue> attribute(const torch::jit::Module& module, const torch::jit::Value* value,
                                            const torch::jit::Value* self);

/// "Conv2d" for __torch__.torch.nn.modules.conv.___torch_mangle_3.Conv2d.
std::string short_type_name(const torch::jit::TypePtr& type);

/// The graph of `type`'s method. Throws Error kMismatch if it has no such TorchScript method.
std::shared_ptr<torch::jit::Graph> method_graph(const c10::ClassType& type, const std::string& method);

/// The operator's input of this name; null if it has none.
const torch::jit::Value* input_named(const torch::jit::Node* node, const char* name);

inline bool is_tensor(const torch::jit::Value* value) { return value->type()->isSubtypeOf(*c10::TensorType::get()); }

/// Whether the operator writes into one of its inputs, by its schema.
bool is_writer(const torch::jit::Node* node);
/// Those inputs: tensors, or lists of them.
std::vector<torch::jit::Value*> written_inputs(torch::jit::Node* node);

/// visit(node) for the nodes of the block and of those inside it, in order.
template <class Visit>
void for_each_node(torch::jit::Block* block, const Visit& visit) {
  for (torch::jit::Node* node : block->nodes()) {
    visit(node);
    for (auto* inner : node->blocks()) for_each_node(inner, visit);
  }
}

}  // namespace graft::graph
