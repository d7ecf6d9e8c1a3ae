/// What stands behind a Head: how its layers come to be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <graft/head.h>

#include "graph/network.h"

namespace graft {

struct BuiltHead {
  graph::Network network;  ///< features to logits
  std::vector<Task> tasks;
};

struct [[gnu::visibility("hidden")]] Head::Impl {
  virtual ~Impl() = default;
  virtual std::string describe() const = 0;
  /// The head for features of this shape ([1, C, H, W], [1, T, C] or [1, C]), with fresh parameters on the CPU.
  virtual BuiltHead build(const std::vector<std::int64_t>& feature_shape, const graph::Network& beside) const = 0;
};

/// head.build(), held to what a head must be. Throws Error kMismatch unless it yields [N, outputs] float32 and has
/// parameters.
BuiltHead build_head(const Head& head, const std::vector<std::int64_t>& feature_shape, const graph::Network& beside);

}  // namespace graft
