/// The flat form of a network's forward graph: for the rooms graph and engine only.
#pragma once

#include <memory>
#include <vector>

#include "graph/jit.h"

namespace graft::graph {

/// A call in a flat graph. The values belong to the graph.
struct FlatCall {
  Call call;
  torch::jit::Value* input = nullptr;   ///< first argument; null if there is none
  torch::jit::Value* output = nullptr;  ///< null if it has not exactly one
};

/// forward with every call of a sub-module inlined. Its first input is the module itself.
struct FlatGraph {
  std::shared_ptr<torch::jit::Graph> graph;
  std::vector<FlatCall> calls;

  /// In the calls, after a value of the graph was replaced.
  void replace_in_calls(const torch::jit::Value* old, torch::jit::Value* now);
};

/// As it is saved: what Graft runs is flatten_to_run() of it.
FlatGraph flatten(const torch::jit::Module& module);

}  // namespace graft::graph
