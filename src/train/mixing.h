/// Mixup and CutMix: batches whose pictures and targets are blends of two.
#pragma once

#include <ATen/core/Tensor.h>

#include "base/uniform.h"

namespace graft::train {

/// Rows y1 to below y2 and columns x1 to below x2.
struct Box {
  std::int64_t y1 = 0, y2 = 0, x1 = 0, x2 = 0;
};

/// From Beta(alpha, alpha).
double draw_beta(double alpha, base::Uniform& uniform);

/// A box of 1 - `share` of the area about a random centre, cut off at the edges.
Box draw_box(double share, std::int64_t height, std::int64_t width, base::Uniform& uniform);

/// `share` of each example and the rest of the one before it (the first: the last one). images [N, C, H, W] or targets
/// [N, classes]. torchvision's MixUp (torchvision/transforms/v2/_augment.py; Zhang et al. 2018, arXiv:1710.09412).
at::Tensor mixed(const at::Tensor& values, double share);

/// The box of each picture comes from the one before it. torchvision's CutMix (Yun et al. 2019, arXiv:1905.04899).
at::Tensor cut_and_mixed(const at::Tensor& images, const Box& box);

struct MixingOptions {
  double mixup_alpha = 0;
  double cutmix_alpha = 0;
};

/// Mixup, CutMix, or where both are wanted one of them with equal chance. `targets` [N, classes].
void mix(at::Tensor& images, at::Tensor& targets, const MixingOptions& options, const base::DrawKey& key);

}  // namespace graft::train
