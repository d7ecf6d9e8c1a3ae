/// What a pretrained network says of pictures before anything of it is trained.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

#include "train/examinations.h"

namespace graft::train {

struct Features {
  at::Tensor values;                 ///< [readable, ...], float32
  at::Tensor labels;                 ///< [readable], int64
  std::vector<std::size_t> indices;  ///< which examples these are
};

/// What the head is given for each picture that can be read, with all of the backbone frozen. Through the trainer's
/// feature cache, so that a run with a frozen backbone and a cache on disk need not compute it again. The model's
/// freeze state and batch norm policy are as they were when this returns.
std::vector<Features> frozen_features(const Patient& patient, const std::vector<const Dataset*>& data);

}  // namespace graft::train
