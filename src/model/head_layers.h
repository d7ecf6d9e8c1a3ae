/// The layers that built-in heads are made of.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Generator.h>

#include <graft/head.h>

#include "graph/network.h"

namespace graft::model {

/// Draws the initial weights of one head.
class Initialisation {
 public:
  Initialisation(Initializer initializer, std::uint64_t seed);
  /// [out, in].
  at::Tensor weight(std::int64_t in, std::int64_t out) const;
  /// [out], of a layer with `in` inputs.
  at::Tensor bias(std::int64_t in, std::int64_t out) const;

 private:
  Initializer initializer_;
  at::Generator generator_;
};

struct Pooled {
  graph::Network network;  ///< features to [N, width]
  std::int64_t width = 0;
};

/// Throws Error kMismatch if the pooling needs places and the features have none.
Pooled pool(Pooling pooling, const std::vector<std::int64_t>& feature_shape, const Initialisation& init,
            const graph::Network& beside);

graph::Network linear(std::int64_t in, std::int64_t out, const Initialisation& init, const graph::Network& beside);

/// "average", "max", "average_max", "gem", "attention".
std::string_view to_string(Pooling pooling) noexcept;
std::optional<Pooling> find_pooling(std::string_view text);

/// "gem+linear"; average pooling goes without saying.
std::string with_pooling(Pooling pooling, const std::string& head);

}  // namespace graft::model
