/// Temperature scaling: Guo et al. 2017, arXiv:1706.04599, section 4.2; and where to stop answering.
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>

#include "train/metrics.h"

namespace graft::train {

/// The temperature at which the mean negative log likelihood of `labels` [N], int64, is least, for `logits`
/// [N, classes], float32, both on the CPU and with a row at least. Nothing if that is not between 0.01 and 100: where
/// all pictures are right it goes to 0.
std::optional<double> best_temperature(const at::Tensor& logits, const at::Tensor& labels);

/// The lowest threshold at which the share of right answers among those that are given is `accuracy` at least; midway
/// between two pictures' confidences, 0 if all are answered. Throws Error kMismatch if there is none.
double threshold_for_accuracy(const Confidence& confidence, double accuracy);

/// The highest threshold at which `coverage` of the pictures are answered at least; placed in the same way.
double threshold_for_coverage(const Confidence& confidence, double coverage);

}  // namespace graft::train
