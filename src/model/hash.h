/// A network's tensors by content.
#pragma once

#include <string>

#include "graph/network.h"

namespace graft::model {

/// SHA-256 over all parameters, then all buffers, as 64 hexadecimal digits. models/artefact.py computes the same.
std::string content_hash(const graph::Network& network);
std::string content_hash(const graph::NamedTensors& parameters, const graph::NamedTensors& buffers);

}  // namespace graft::model
