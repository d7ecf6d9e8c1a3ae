#include "engine/plan.h"

#include <algorithm>

#include "base/translate.h"
#include "engine/cpu_plan.h"
#include "engine/cuda_plan.h"

namespace graft::engine {

std::unique_ptr<const Plan> Plan::compile(const graph::Network& network, Precision precision, const Sizes& single,
                                          const Calibration* calibration, PlanSummary* found) {
  const auto parameters = network.named_parameters();
  const bool on_cuda = std::ranges::any_of(parameters, [](const auto& named) { return named.second.is_cuda(); });
  PlanSummary summary;
  std::unique_ptr<Plan> plan;
  try {
    plan = on_cuda ? compile_for_cuda(network, precision, summary)
                   : compile_for_cpu(network, precision, single, calibration, summary);
  } catch (const std::exception& error) {       // what LibTorch's passes cannot do, the interpreter can
    base::rethrow_unless_about_input("compiling");  // that may pass, an obstacle stays
    summary.obstacle = base::own_words(error.what());
  }
  if (found) *found = summary;
  if (plan) plan->summary_ = std::move(summary);
  return plan;
}

}  // namespace graft::engine
