/// What a classifier's parts are, found by looking at its calls and the shapes they yield.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/runner.h"
#include "graph/network.h"

namespace graft::model {

struct Structure {
  std::vector<std::int64_t> input_shape;   ///< [1, ...]
  std::vector<engine::ProbedCall> calls;   ///< in execution order, shapes for that
  std::vector<std::int64_t> output_shape;  ///< [1, classes]
  std::string head;            ///< the layer that yields the logits; empty in a frozen archive, and in an encoder
  std::string no_head;         ///< why there is none, where that is not what the network is made for
  std::string features_layer;  ///< its output is the last feature map, or an encoder's features; empty if there is none
  std::string penultimate_layer;                 ///< the last linear layer
  std::vector<std::vector<std::string>> stages;  ///< layers of the backbone that have parameters, grouped
  std::string family;                            ///< "vgg16", "resnet50" or "other"
};

/// `probe` is the network run on a batch of one. `head` names the head where it cannot be found.
/// Throws Error kMismatch if the network is no classifier or its head cannot be told, kConfig if `head` is not called.
Structure analyse(const graph::Network& network, engine::Probe probe, std::string_view head);

/// True if `name` is `layer` or something below it.
bool is_within(std::string_view name, std::string_view layer);

/// True if the pattern (base::matches) names the parameter or any layer above it.
bool covers(std::string_view pattern, std::string_view parameter);

/// "layer4.1" for "layer4.1.weight"; "" for a name without a dot.
std::string_view owner_of(std::string_view name);

}  // namespace graft::model
