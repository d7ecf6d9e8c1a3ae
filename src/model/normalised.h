/// Preprocessing's last step, on any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <graft/preprocess.h>

namespace graft::model {

/// [N, 3, H, W] of uint8, RGB, as the network wants it: float32, scaled, less the mean, by the standard deviation, in
/// its order of channels. The same bits as the loader's threads give.
at::Tensor normalised(const at::Tensor& pixels, const Preprocessing& preprocessing);

}  // namespace graft::model
