/// Tensors by content.
#pragma once

#include <string>

#include "base/sha256.h"
#include "graph/network.h"

namespace graft::model {

/// Name, shape, type and bytes.
void hash_tensor(base::Sha256& sha, const std::string& name, const at::Tensor& tensor);

/// SHA-256 over all parameters, then all buffers, as 64 hexadecimal digits. models/artefact.py computes the same.
std::string content_hash(const graph::Network& network);

}  // namespace graft::model
