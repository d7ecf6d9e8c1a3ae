/// Plans for the CPU.
#pragma once

#include <memory>

#include "engine/plan.h"

namespace graft::engine {

/// Plan::compile for a network on the CPU: null where summary.obstacle says why.
std::unique_ptr<Plan> compile_for_cpu(const graph::Network& network, Precision precision, const Sizes& single,
                                      const Calibration* calibration, PlanSummary& summary);

}  // namespace graft::engine
