/// A network compiled for inference.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/device.h>

#include "engine/calibration.h"
#include "graph/network.h"

namespace graft::engine {

/// The sizes of some tensors.
using Sizes = std::vector<std::vector<std::int64_t>>;

/// What a plan is made of, or why there is none.
struct PlanSummary {
  std::string obstacle = {};      ///< why there is none; empty if there is one
  std::int64_t convolutions = 0;  ///< all of them
  std::int64_t fused = 0;         ///< run with what follows them as one operator of oneDNN, cuDNN or our own
  std::int64_t with_relu = 0;     ///< of these, with the activation in the same operator
  std::int64_t with_add = 0;      ///< and with the residual addition, too
  std::map<std::string, std::int64_t> operators = {};  ///< how often each is in the plan: "aten::linear"
  std::vector<std::string> unfused = {};               ///< convolutions that are not, "LAYER: REASON"
  // With Precision::kInt8:
  std::int64_t convolutions_in_int8 = 0;
  std::int64_t linear_in_int8 = 0;
  std::vector<std::string> in_float = {};  ///< the other operators that work in float32, in order
};

/// The network in evaluation mode with its weights as they are now: batch norm folded into convolutions, each
/// convolution, the activation and the addition behind it one operator, dropout gone. On the CPU these are oneDNN's and
/// our own, with prepacked weights; on CUDA cuDNN's, recorded as CUDA graphs. run() may be called from many threads at
/// once.
class Plan {
 public:
  /// For the device that the network is on. Nothing where there is nothing to gain: no convolution that can be fused,
  /// no hardware for the precision, or a network that cannot be frozen. For single pictures oneDNN wants some weights
  /// in another layout than for batches, and with the wrong one rearranges them at every call: `single` has the sizes
  /// of what goes into the network's convolutions then, in order; none for batches. A plan for either gives right
  /// answers for both. For kInt8 `calibration` tells the activations' ranges (calibration.h). `found` gets the summary
  /// also of nothing.
  static std::unique_ptr<const Plan> compile(const graph::Network& network, Precision precision,
                                             const Sizes& single = {}, const Calibration* calibration = nullptr,
                                             PlanSummary* found = nullptr);
  virtual ~Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// Logits for [N, C, H, W] float32, channels last, on the network's device, as float32.
  virtual at::Tensor run(const at::Tensor& input) const = 0;

  const PlanSummary& summary() const { return summary_; }

 protected:
  Plan() = default;
  PlanSummary summary_;
};

}  // namespace graft::engine
