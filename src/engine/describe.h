/// What a plan's graph is made of, for people.
#pragma once

#include <torch/csrc/jit/ir/ir.h>

#include "engine/plan.h"
#include "graph/network.h"

namespace graft::engine {

/// Fills in PlanSummary::operators and PlanSummary::unfused from the graph that will run.
void describe(torch::jit::Graph& graph, const graph::Network& network, PlanSummary& summary);

}  // namespace graft::engine
