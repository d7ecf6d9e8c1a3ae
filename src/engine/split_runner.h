/// Runs a network in training: the part that cannot change as inference, the rest with gradients.
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "engine/runner.h"
#include "graph/network.h"

namespace graft::engine {

/// A network cut in two where nothing before the cut can change while it trains (graph::split_frozen), as its training
/// flags and requires_grad are when this is made. It shares the network's tensors.
class SplitRunner {
 public:
  /// `network` has the flags that it will train with.
  explicit SplitRunner(const graph::Network& network);
  ~SplitRunner();
  SplitRunner(SplitRunner&&) noexcept;
  SplitRunner& operator=(SplitRunner&&) noexcept;

  /// False where no part is worth it: the whole network has to run. The following then may not be called.
  bool has_trunk() const;

  const Runner& trunk() const;
  const Runner& rest() const;  ///< in evaluation mode
  /// The rest in training mode, recorded for gradients, for what the trunk yields.
  at::Tensor train(const at::Tensor& features) const;

  /// False once a training flag, a requires_grad, or a weight of the trunk has changed.
  bool is_current() const;
  /// False once a weight of the trunk has changed.
  bool trunk_is_current() const;

  const graph::Network& trunk_network() const;
  /// The trunk's operations and constants; the same in every process.
  const std::string& trunk_text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::engine
