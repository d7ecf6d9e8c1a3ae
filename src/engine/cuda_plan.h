/// Plans for CUDA.
#pragma once

#include <memory>

#include "engine/plan.h"

namespace graft::engine {

/// Plan::compile for a network on a CUDA device: null where summary.obstacle says why.
std::unique_ptr<Plan> compile_for_cuda(const graph::Network& network, Precision precision, PlanSummary& summary);

}  // namespace graft::engine
