#include "graph/flatten.h"

#include <string>
#include <vector>

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/passes/inliner.h>

#include "graph/branches.h"

namespace graft::graph {

using torch::jit::Block;
using torch::jit::Node;
using torch::jit::Value;

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
        if (branches_.settle(node, module_, self_,
                             [&](const Value* old, Value* now) { flat_.replace_in_calls(old, now); })) {
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
    for (std::size_t i = 0; i < old_outputs.size(); ++i) flat_.replace_in_calls(old_outputs[i], new_outputs[i]);
  }

  FlatGraph& flat_;
  const torch::jit::Module& module_;
  const Value* self_;
  Branches branches_;
};

}  // namespace

void FlatGraph::replace_in_calls(const Value* old, Value* now) {
  for (auto& flat_call : calls) {
    if (flat_call.input == old) flat_call.input = now;
    if (flat_call.output == old) flat_call.output = now;
  }
}

FlatGraph flatten(const torch::jit::Module& module) {
  FlatGraph flat{method_graph(*module.type(), "forward")->copy(), {}};
  Flattener(flat, module).walk(flat.graph->block(), false);
  return flat;
}

}  // namespace graft::graph
