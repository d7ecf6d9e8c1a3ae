/// Scaling of the loss, so that gradients keep their bits in float16.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "train/checkpoint.h"

namespace graft::train {

/// torch.amp.GradScaler with its defaults: the loss is multiplied by a scale, which is halved after gradients that are
/// not finite, whose step is left out, and doubled after 2000 steps in a row. Everything is on the device, and nothing
/// waits for it but what says so.
class LossScaler {
 public:
  /// A scale below it is an error: gradients without one would not overflow.
  static constexpr double kSmallest = 1.0 / (1 << 14);

  explicit LossScaler(c10::Device device);

  /// [1] float32, always the same tensor: what a loss is multiplied by.
  const at::Tensor& scale() const { return scale_; }

  /// Divides gradients of a scaled loss by the scale, in place. Several processes do so after they have summed them, so
  /// that all find the same.
  void unscale(const std::vector<at::Tensor>& gradients);
  /// [1] float32: 1 where the latest unscale() has found gradients that are not finite, or the scale is too small, else
  /// 0.
  const at::Tensor& overflow() const { return overflow_; }
  /// Whether overflow() is not 0. Waits for the device.
  bool overflowed() const;
  /// After the step, or what would have been one.
  void update();
  /// Throws Error kNumeric if the scale is below kSmallest. Waits for the device.
  void check() const;

  /// Under "PREFIX/NAME".
  void save(const std::string& prefix, RunState& state) const;
  void load(const std::string& prefix, const RunState& state);

 private:
  at::Tensor scale_;     ///< [1] float32
  at::Tensor growth_;    ///< [1] int32: steps since it was changed
  at::Tensor overflow_;  ///< [1] float32
};

}  // namespace graft::train
