/// Figures of merit from logits and labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/evaluation.h>

#include "train/bootstrap.h"
#include "train/objective.h"

namespace graft::train {

/// What is looked at besides what costs little.
struct Details {
  bool roc_auc = false;
  std::int64_t top_losses = 0;
  Resampling resampling = {.samples = 0};
};

/// `logits` [N, outputs] float32, those whose activation is answered, `targets` as Objective::loss takes them, both on
/// the CPU; N may be 0. `names` are those of the outputs. A TopLoss's index is a row, its name empty; probabilities,
/// bad_images and images_per_second are left for the caller.
Evaluation evaluate_logits(const at::Tensor& logits, const at::Tensor& targets, const Objective& objective,
                           const std::vector<std::string>& names, const Details& details = {});

/// Of each row, -log of the probability of its label, float64 [N]. `logits` [N, classes], `labels` [N].
at::Tensor negative_log_likelihoods(const at::Tensor& logits, const at::Tensor& labels);

/// The best guess for each row of `probabilities` [N, classes].
struct Confidence {
  at::Tensor probability;  ///< [N], float32
  at::Tensor guess;        ///< [N], int64
  at::Tensor is_right;     ///< [N], bool
};
Confidence confidence_of(const at::Tensor& probabilities, const at::Tensor& labels);

/// 15 bins.
std::vector<ReliabilityBin> reliability(const Confidence& confidence);

/// What is answered if only a probability of `reject_below` and more is.
Rejection rejection_of(const Confidence& confidence, double reject_below);

/// Expected calibration error: Guo et al. 2017, equation 3.
double calibration_error(const std::vector<ReliabilityBin>& bins);

}  // namespace graft::train
