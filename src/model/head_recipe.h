/// What stands behind a Head: how its layers come to be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <graft/head.h>

#include "graph/network.h"

namespace graft {

struct Head::Impl {
  virtual ~Impl() = default;
  virtual std::string describe() const = 0;
  virtual std::int64_t classes() const = 0;
  /// The head for features of this shape ([N, C, H, W], [N, T, C] or [N, C]), with fresh parameters on the CPU.
  virtual graph::Network build(const std::vector<std::int64_t>& feature_shape, const graph::Network& beside) const = 0;
};

}  // namespace graft
