/// A network as a graph of operators and constants.
#pragma once

#include <memory>

#include <torch/csrc/jit/ir/ir.h>

#include "graph/network.h"

namespace graft::engine {

/// forward of a network in evaluation mode, flat, with one input, dropout gone, and the network's tensors as constants
/// that share their memory. Null if something is looked up or written only when it runs. torch::jit::freeze_module does
/// the same and looks at every sub-module's aliases apart, which takes several times as long.
std::shared_ptr<torch::jit::Graph> frozen_graph(const graph::Network& network);

/// Float tensors among the graph's constants become `type`.
void lower_constants(torch::jit::Graph& graph, at::ScalarType type);

}  // namespace graft::engine
