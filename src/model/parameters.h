/// A network's parameters as what trains, not as names: tied weights have several.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "graph/network.h"

namespace graft::model {

/// Each tensor once, under its first name.
graph::NamedTensors distinct(const graph::NamedTensors& tensors);

/// Sets requires_grad of the parameters on which `choose`, given a name, has an opinion. Where it has several on the
/// names of one tensor, that stays as it is for one of them: it does not train. Numbers that have no gradients, as
/// indices, never do. Returns whether there was an opinion.
bool set_trainable(const graph::Network& network,
                   const std::function<std::optional<bool>(const std::string& name)>& choose);

}  // namespace graft::model
