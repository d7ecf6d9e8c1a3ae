/// Branches that are decided before a network runs.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "graph/jit.h"

namespace graft::graph {

/// What constants and plain attributes (bool, int, float, str) decide. The training flag decides nothing, nor does an
/// attribute whose name any method of the network sets.
class Branches {
 public:
  /// `root` is the whole network, also where a part of it is looked at.
  explicit Branches(const torch::jit::Module& root) : root_(root) {}

  /// The value in a graph whose `self` is `module`; nothing where it is not known before the graph runs, or a tensor.
  std::optional<torch::jit::IValue> value_of(const torch::jit::Value* value, const torch::jit::Module& module,
                                             const torch::jit::Value* self) const;

  /// Whether a method of the network sets an attribute of this name.
  bool is_set_somewhere(const std::string& name) const;

  /// Puts the nodes of the branch that is taken in the place of `node`, and destroys it. False, and nothing done, where
  /// it is no prim::If, or not decided. replaced(old, now) is told of every output.
  template <class Replaced>
  bool settle(torch::jit::Node* node, const torch::jit::Module& module, const torch::jit::Value* self,
              const Replaced& replaced) const {
    if (node->kind() != c10::prim::If) return false;
    const auto condition = value_of(node->input(0), module, self);
    if (!condition || !condition->isBool()) return false;
    auto* branch = node->blocks().at(condition->toBool() ? 0 : 1);
    while (branch->nodes().begin() != branch->nodes().end()) (*branch->nodes().begin())->moveBefore(node);
    for (std::size_t i = 0; i < node->outputs().size(); ++i) {
      node->outputs()[i]->replaceAllUsesWith(branch->outputs()[i]);
      replaced(node->outputs()[i], branch->outputs()[i]);
    }
    node->destroy();
    return true;
  }

 private:
  const torch::jit::Module& root_;
  mutable std::optional<std::set<std::string>> set_;  ///< names; looked up when the first is asked for
};

}  // namespace graft::graph
