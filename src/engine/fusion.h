/// Convolutions joined with what follows them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/interned_strings.h>
#include <torch/csrc/jit/ir/ir.h>

#include "engine/geometry.h"
#include "engine/plan.h"
#include "graph/network.h"

namespace graft::engine {

/// Over two dimensions, before it is fused.
inline bool is_convolution(const torch::jit::Node* node) {
  return node->kind() == c10::aten::conv2d || node->kind() == c10::aten::_convolution;
}

/// mkldnn::_convolution_pointwise, and the form that writes into the addition's operand.
extern const c10::Symbol kFused, kFusedInPlace;

inline bool is_fused(const torch::jit::Node* node) { return node->kind() == kFused || node->kind() == kFusedInPlace; }

struct FusedGraph {
  std::shared_ptr<torch::jit::Graph> graph;
  Sizes inputs;  ///< sizes of what goes into the fused nodes, in order; none if they are not known
};

/// The network's frozen graph with max pooling ours (kMaxPool). Each convolution over two dimensions, its bias, the
/// batch norm, the addition and the ReLU behind it are one node: kFused, with its weight as a constant in the ordinary
/// layout, or the product of that and the batch norm's scale. Null if it cannot be frozen or has no such convolution.
/// `convolution_inputs` are those of all convolutions before, in order (Probe), or none.
FusedGraph fused_graph(const graph::Network& network, const Sizes& convolution_inputs, PlanSummary& summary);

/// Where nobody looks at an addition's operand after it, the result goes into the operand's own memory.
void add_in_place(torch::jit::Graph& graph);

/// All fused nodes, in order.
std::vector<torch::jit::Node*> fused_nodes(torch::jit::Graph& graph);

/// What a fused node is given, by name; `other` is null without an addition.
struct FusedOperands {
  torch::jit::Value *input, *other, *weight, *bias;
  Geometry geometry;
};
FusedOperands operands_of(const torch::jit::Node* fused);

/// The weight's value, [O, I, H, W]. A folded batch norm's is made anew at each call: all at once would be a second
/// copy of the network's weights.
at::Tensor weight_of(const FusedOperands& operands);

/// An empty Scalar?[], as oneDNN's operators want it.
torch::jit::Value* no_scalars(torch::jit::Graph& graph);

/// Puts another value in the place of a fused node's weight.
void replace_weight(torch::jit::Node* fused, torch::jit::Value* weight);

}  // namespace graft::engine
