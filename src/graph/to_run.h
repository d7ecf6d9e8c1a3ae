/// What Graft changes in the graphs that it runs itself; a network that is saved keeps its own.
#pragma once

#include <cstddef>

#include "graph/flatten.h"

namespace graft::graph {

/// flatten() with what follows.
FlatGraph flatten_to_run(const torch::jit::Module& module);
/// The same. Throws Error kMismatch if forward takes more or less than one input.
FlatGraph flatten_one_input(const torch::jit::Module& module);

/// Where the graph may write into its input number `index`, it does so in a copy: the caller's tensor stays as it is.
void protect_input(FlatGraph& flat, std::size_t index);
inline void protect_input(const std::shared_ptr<torch::jit::Graph>& graph, std::size_t index) {
  FlatGraph flat{graph, {}};
  protect_input(flat, index);
}

/// view becomes reshape, which is the same where view is legal, and takes channels last, too, in which Graft feeds
/// pictures. One through which something is written that is read elsewhere stays.
void views_to_reshapes(FlatGraph& flat);

}  // namespace graft::graph
