/// Looks at what the layers of a network yield.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/plan.h"
#include "graph/network.h"

namespace graft::engine {

/// A call and the shapes of what went in and came out; empty where it is no single tensor or the call is conditional.
struct ProbedCall {
  graph::Call call;
  std::vector<std::int64_t> input_shape;
  std::vector<std::int64_t> output_shape;
};

struct Probe {
  std::vector<std::int64_t> input_shape;
  std::vector<std::int64_t> output_shape;
  std::vector<ProbedCall> calls;  ///< in execution order
  Sizes convolution_inputs;       ///< for each convolution outside of conditions, in that order
};

/// Runs the network once, without gradients, for the shapes alone: convolutions and linear layers, where the time goes,
/// yield zeros, and batch norm yields what it is given. Throws Error kMismatch (not one tensor comes out, or an
/// operator refuses the shapes), kOutOfMemory.
Probe probe(const graph::Network& network, const at::Tensor& input);

}  // namespace graft::engine
