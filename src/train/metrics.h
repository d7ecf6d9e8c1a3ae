/// Figures of merit from logits and labels.
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/evaluation.h>

#include "train/objective.h"

namespace graft::train {

/// `logits` [N, outputs] float32, `targets` as Objective::loss takes them, both on the CPU; N may be 0. `names` are
/// those of the outputs. bad_images and images_per_second are left for the caller.
Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& targets, const Objective& objective,
                           const std::vector<std::string>& names);

}  // namespace graft::train
