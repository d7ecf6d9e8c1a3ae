/// A network in two for training: for the rooms graph and engine only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "graph/jit.h"

namespace graft::graph {

/// Both parts share the network's tensors.
struct Split {
  Network trunk;  ///< the network's input to one tensor; the same in training and in evaluation mode
  Network rest;   ///< that tensor to the network's output, in evaluation mode
  std::shared_ptr<torch::jit::Graph> training;  ///< (the network's module, that tensor) to the output, in training mode
  std::string text;                             ///< the trunk's operations and constants; the same in any process
};

/// `network`, whose training flags are those of training, cut at the latest tensor that cannot change while it trains:
/// all that reads a parameter with requires_grad, draws random numbers, uses or updates a batch's statistics or writes
/// into a buffer depends on the network's input through that tensor only. Nothing where no layer with parameters comes
/// before such a tensor, or where not enough is known of an operator.
std::optional<Split> split_frozen(const Network& network);

}  // namespace graft::graph
