/// VGG16 and ResNet50, made here: for weights that come without a network.
#pragma once

#include <map>
#include <string>

#include <ATen/core/Tensor.h>

#include "graph/network.h"

namespace graft::model {

/// The network that these weights are of, under torchvision's names, with any number of classes; the tensors become its
/// own. Throws Error kMismatch: neither network's, or names that are missing or belong to nothing, or shapes and types
/// that do not fit, all of them listed. Without num_batches_tracked, which old files do not have, it is 0.
graph::Network built_in(const std::map<std::string, at::Tensor>& weights);

}  // namespace graft::model
