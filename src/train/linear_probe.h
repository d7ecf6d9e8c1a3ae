/// How well classes can be told from features: a linear classifier whose answer to each example comes without having
/// seen it.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft::train {

/// Ridge regression of one-hot labels on centred features with a constant; each class counts as much as the others.
class LinearProbe {
 public:
  /// features [N, ...] float32, labels [N] int64 below `classes`; N of 2 or more.
  LinearProbe(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes);

  /// [N, classes]: for each example the answer of the classifier that all others were learned from, about 0 to 1. By
  /// the residuals' closed form (Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", 5.4.2).
  const at::Tensor& held_out() const { return held_out_; }

  /// [M, classes] for other features [M, ...].
  at::Tensor answers(const at::Tensor& features) const;

 private:
  at::Tensor prepared(const at::Tensor& features) const;

  at::Tensor projection_;  ///< of very wide features; else undefined
  at::Tensor mean_;
  double scale_ = 1;
  at::Tensor weights_;  ///< [D + 1, classes]
  at::Tensor held_out_;
};

}  // namespace graft::train
