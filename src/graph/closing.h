/// What a network ends with.
#pragma once

#include <string>

#include "graph/network.h"

namespace graft::graph {

/// The name of the operator or function that makes forward's output, without its namespace: "linear", "softmax". Those
/// that only change the shape are looked through. Empty where it cannot be told, as under a condition.
std::string closing_operator(const Network& network);

}  // namespace graft::graph
