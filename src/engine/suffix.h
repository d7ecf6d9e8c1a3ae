/// Runs what comes behind a layer, with gradients.
#pragma once

#include <memory>
#include <string_view>

#include <ATen/core/Tensor.h>

#include "graph/network.h"

namespace graft::engine {

/// A network from a layer's output on. It shares the network's tensors and reads its training flags at every call.
/// run() may be called from many threads at once.
class Suffix {
 public:
  /// Behind the last call of `layer`. Throws Error kMismatch where there is none outside of conditions and loops, or it
  /// yields no single tensor.
  Suffix(const graph::Network& network, std::string_view layer);
  ~Suffix();
  Suffix(Suffix&&) noexcept;
  Suffix& operator=(Suffix&&) noexcept;

  /// The network's output for an `input` for which the layer yields `value`, recorded for gradients as far as grad mode
  /// and requires_grad ask for it. What the output needs of the input on ways around the layer is computed again.
  /// `value` may be written into.
  at::Tensor run(const at::Tensor& input, const at::Tensor& value) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace graft::engine
