/// A fused graph in eight bits.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/ir/ir.h>

#include "engine/calibration.h"
#include "engine/fusion.h"
#include "engine/plan.h"
#include "graph/network.h"

namespace graft::engine {

/// An operator of those that lower_to_eight_bits() brings, but for convolutions.
bool is_eight_bit(const torch::jit::Node* node);

/// Whether oneDNN's int8 is exact here. Without VNNI (or AMX) it adds products in 16 bits, which can saturate.
bool has_eight_bit_arithmetic();

/// The network's fused graph without operators that write into their operands: what calibration looks at and
/// lower_to_eight_bits() takes. Null where there is none (fused_graph).
FusedGraph quantizable_graph(const graph::Network& network, const Sizes& convolution_inputs, PlanSummary& summary);

/// What a Calibration describes, in its order: the graph's input and every tensor that its operators yield.
std::vector<torch::jit::Value*> activations(torch::jit::Graph& graph);

/// Fused convolutions and linear layers whose activations' ranges are known become oneDNN's int8 operators; their
/// activations are uint8, and stay so through pooling, flattening and concatenation. Everything else remains float32,
/// with conversions around it. `sizes` are those of the fused nodes' inputs (FusedGraph); empty for batches. The result
/// goes behind the graph's inputs, as prepacked weights do. Throws Error kMismatch if the calibration has another
/// number of activations.
std::vector<c10::IValue> lower_to_eight_bits(torch::jit::Graph& graph, const Calibration& calibration,
                                             const Sizes& sizes, PlanSummary& summary);

}  // namespace graft::engine
