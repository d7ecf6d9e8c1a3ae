/// Which numbers flow through a network: what int8 needs to know beforehand.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <ATen/core/Tensor.h>

#include "engine/eight_bit.h"
#include "graph/network.h"

namespace graft::engine {

/// The ranges of a network's activations: of its input and of what each operator of its fused graph yields, in order.
/// Nothing for what is no float32 tensor.
using Calibration = std::vector<std::optional<Range>>;

/// Runs a network in float32 on pictures and looks at its activations.
class Calibrator {
 public:
  /// Throws Error kMismatch for a network that cannot be compiled (Plan::compile).
  explicit Calibrator(const graph::Network& network);
  ~Calibrator();
  Calibrator(const Calibrator&) = delete;
  Calibrator& operator=(const Calibrator&) = delete;

  /// Logits for [N, C, H, W] float32, after looking at what led to them. Throws kNumeric if that is not finite,
  /// kMismatch if the network's fused graph does not answer the first picture as the network does.
  at::Tensor observe(const at::Tensor& input);

  /// For each activation the interval whose eight bits give the smallest mean squared error over what was observed.
  Calibration calibration() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// How often numbers occur, in bins of equal width that grow as larger numbers come.
class Histogram {
 public:
  /// Throws Error kNumeric for a number that is not finite.
  void add(const float* values, std::int64_t count);

  /// The interval for which rounding to 256 levels within it, and clamping what lies outside, has the smallest mean
  /// squared error.
  Range best_range() const;

 private:
  static constexpr std::int64_t kBins = 8192;  ///< over [-reach_, reach_)
  void reach(float largest);
  double error(double low, double high) const;

  double reach_ = 0;
  float low_ = 0, high_ = 0;
  std::vector<std::int64_t> bins_ = std::vector<std::int64_t>(kBins);
};

}  // namespace graft::engine
