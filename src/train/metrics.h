/// Figures of merit from logits and labels.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/evaluation.h>

namespace graft::train {

/// `logits` [N, classes] float32 and `labels` [N] int64, both on the CPU; N may be 0. bad_images and images_per_second
/// are left for the caller.
Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& labels, const std::vector<std::string>& names);

}  // namespace graft::train
