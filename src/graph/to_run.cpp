#include "graph/to_run.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <torch/csrc/jit/ir/alias_analysis.h>

#include <graft/error.h>

namespace graft::graph {

namespace {

using torch::jit::Block;
using torch::jit::Graph;
using torch::jit::Node;
using torch::jit::Value;

/// The values that may share a tensor's memory. LibTorch's AliasDb knows more and takes much longer to make; here too
/// many only mean a copy too many.
class Sharing {
 public:
  Sharing(Block* block, const Value* tensor) : shared_{tensor} {
    for (std::size_t before = 0; before != shared_.size();) {  // loops hand values back
      before = shared_.size();
      for_each_node(block, [&](Node* node) { spread(node); });
    }
  }

  bool is_written_by(Node* node) const {
    if (!node->maybeSchema()) return calls_unknown(node) && takes(node);
    const bool takes_lists = std::string_view(node->kind().toUnqualString()).starts_with("_foreach");
    return std::ranges::any_of(written_inputs(node), [&](const Value* value) {
      return shared_.contains(value) && (takes_lists || is_tensor(value));
    });
  }

 private:
  bool takes(const Node* node) const {
    return std::ranges::any_of(node->inputs(), [&](const Value* value) { return shared_.contains(value); });
  }

  static bool calls_unknown(const Node* node) {
    return node->kind() == c10::prim::CallMethod || node->kind() == c10::prim::CallFunction ||
           node->hasAttribute(c10::attr::Subgraph);
  }

  /// Its outputs may be what it is given. Dropout's are in evaluation mode, although its schema does not say so.
  static bool may_hand_on(const Node* node) {
    const auto* schema = node->maybeSchema();
    if (!schema) return true;
    return std::ranges::any_of(schema->returns(), [](const auto& each) { return each.alias_info() != nullptr; }) ||
           std::string_view(node->kind().toUnqualString()).find("dropout") != std::string_view::npos;
  }

  void spread(Node* node) {
    if (!node->blocks().empty()) {
      const bool found =
          takes(node) || std::ranges::any_of(node->blocks(), [&](const Block* block) {
            return std::ranges::any_of(block->outputs(), [&](const Value* value) { return shared_.contains(value); });
          });
      if (!found) return;
      for (Block* block : node->blocks()) shared_.insert(block->inputs().begin(), block->inputs().end());
    } else if (!takes(node)) {
      return;
    }
    if (may_hand_on(node)) shared_.insert(node->outputs().begin(), node->outputs().end());
    if (!is_writer(node)) return;
    for (const Value* value : node->inputs())  // what is put into a list
      if (!is_tensor(value)) shared_.insert(value);
  }

  std::unordered_set<const Value*> shared_;
};

bool is_view(const Node* node) {
  if (node->kind() == c10::aten::view_as) return true;
  return node->kind() == c10::aten::view && node->inputs().size() == 2 &&  // not the one to another type
         node->input(1)->type()->isSubtypeOf(*c10::ListType::ofInts());
}

/// Whether something reads elsewhere what is written through the view, so that a copy in its place would differ.
class Writes {
 public:
  explicit Writes(const std::shared_ptr<Graph>& graph) : graph_(graph), aliases_(graph) {}

  bool are_shared(Node* view) const {
    bool written = false;
    each_behind(view,
                [&](Node* node) { written |= is_writer(node) && aliases_.writesToAlias(node, {view->output()}); });
    if (!written) return false;
    if (aliases_.mayContainAlias(graph_->inputs().at(0), view->input(0))) return true;
    std::unordered_set<const Value*> derived{view->output()};
    bool shared = view->owningBlock() != graph_->block();
    const auto reads_elsewhere = [&](at::ArrayRef<Value*> values) {
      return std::ranges::any_of(values, [&](Value* value) {
        return !derived.contains(value) && aliases_.mayContainAlias(value, view->input(0));
      });
    };
    each_behind(view, [&](Node* node) {
      shared |= reads_elsewhere(node->inputs());
      if (std::ranges::any_of(node->inputs(), [&](const Value* value) { return derived.contains(value); }))
        derived.insert(node->outputs().begin(), node->outputs().end());
    });
    return shared || reads_elsewhere(graph_->outputs());
  }

 private:
  /// Of a view in a loop everything is.
  template <class Visit>
  void each_behind(Node* view, const Visit& visit) const {
    for_each_node(graph_->block(), [&](Node* node) {
      if (node != view && (view->owningBlock() != graph_->block() || node->isAfter(view))) visit(node);
    });
  }

  std::shared_ptr<Graph> graph_;
  torch::jit::AliasDb aliases_;
};

}  // namespace

void protect_input(FlatGraph& flat, std::size_t index) {
  Graph& graph = *flat.graph;
  Value* input = graph.inputs().at(index);
  if (!is_tensor(input)) return;
  const Sharing sharing(graph.block(), input);
  bool written = false;
  for_each_node(graph.block(), [&](Node* node) { written |= sharing.is_written_by(node); });
  if (!written) return;
  const torch::jit::WithInsertPoint at(*graph.nodes().begin());
  Value* copy = graph.insert(c10::aten::clone, {input});
  input->replaceAllUsesWith(copy);
  copy->node()->replaceInput(0, input);
  flat.replace_in_calls(input, copy);
}

void views_to_reshapes(FlatGraph& flat) {
  std::vector<Node*> views;
  bool has_writers = false;
  for_each_node(flat.graph->block(), [&](Node* node) {
    if (is_view(node)) views.push_back(node);
    has_writers |= is_writer(node);
  });
  if (!views.empty() && has_writers) {
    const Writes writes(flat.graph);
    std::erase_if(views, [&](Node* view) { return writes.are_shared(view); });
  }
  for (Node* view : views) {
    Value* const old = view->output();
    Node* reshape =
        view->replaceWithNewSymbol(view->kind() == c10::aten::view_as ? c10::Symbol::fromQualString("aten::reshape_as")
                                                                      : c10::Symbol::fromQualString("aten::reshape"));
    flat.replace_in_calls(old, reshape->output());
    view->destroy();
  }
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
