/// How well a score puts what it should find before all else.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

namespace graft::train {

/// Area under the precision-recall curve, as scikit-learn's average_precision_score: the sum over the thresholds of
/// precision times the recall gained there; equal scores are one threshold. `scores` [N] float32, `positive` [N] bool,
/// both on the CPU. Nothing without a positive example.
std::optional<double> average_precision(const at::Tensor& scores, const at::Tensor& positive);

/// Area under the ROC curve, as scikit-learn's roc_auc_score: how often a positive example scores higher than a
/// negative one, half of the equal ones counted. Nothing unless there are both.
std::optional<double> roc_auc(const at::Tensor& scores, const at::Tensor& positive);

}  // namespace graft::train
