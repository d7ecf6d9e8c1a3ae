/// Runs a network, or looks at what its layers yield.
#pragma once

#include <cstdint>
#include <memory>
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
  at::Tensor output;
  std::vector<ProbedCall> calls;  ///< in execution order
  Sizes convolution_inputs;       ///< for each convolution outside of conditions, in that order
};

/// A network made ready to run. It shares the network's tensors and reads its training flags at every call.
/// run() may be called from many threads at once.
class Runner {
 public:
  explicit Runner(const graph::Network& network);
  ~Runner();
  Runner(Runner&&) noexcept;
  Runner& operator=(Runner&&) noexcept;

  /// forward(input), recorded for gradients as far as grad mode and requires_grad ask for it.
  /// Throws Error kMismatch (not one tensor comes out, or an operator refuses the shapes), kOutOfMemory.
  at::Tensor run(const at::Tensor& input) const;

  /// The network compiled for inference on inputs like this one ([N, C, H, W], one or several), with its weights as
  /// they are now, or nothing where run() has to do. Compiled when it is first asked for, and again when a weight has
  /// changed. Only in evaluation mode.
  std::shared_ptr<const Plan> plan(const at::Tensor& input, Precision precision) const;

  /// What was `seen` on this `input` of one picture, in evaluation mode with the weights as they are now: plans for
  /// inputs of its size are made and checked by it, and need no other run of the interpreter.
  void remember(const at::Tensor& input, const Probe& seen);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Runs the network once, without gradients, and looks at all its calls.
Probe probe(const graph::Network& network, const at::Tensor& input);

}  // namespace graft::engine
