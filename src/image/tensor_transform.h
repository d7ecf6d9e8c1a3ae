/// The last steps of the pipeline for whole batches, on any device: changes and normalisation.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include <graft/augment.h>
#include <graft/preprocess.h>

#include "image/keras_transform.h"
#include "image/pipeline.h"
#include "image/resample.h"

namespace graft::image {

/// [N, 3, H, W], RGB, uint8 or float32 of 0..255, as the network wants it: float32, scaled, less the mean, by the
/// standard deviation, in its order of channels. Of uint8 the same bits as the loader's threads give.
at::Tensor normalised(const at::Tensor& pixels, const Preprocessing& preprocessing);

/// What is still to be done to a picture of the network's size.
struct LaterChanges {
  Draw draw;
  std::optional<Window> erased;
};

/// Whether the changes can be made in two steps: not where torchvision's operations, which are Pillow's on bytes, come
/// after Keras' map.
bool can_be_split(const Augment& augment);

/// The first step: crop, resize, and torchvision's operations, into `out`: RGB, [crop_height_px, crop_width_px, 3].
LaterChanges begin_changes(const Image& image, const Preprocessing& preprocessing, const Augment& augment, DrawKey key,
                           std::span<std::uint8_t> out);

/// The second: Keras' map, channel shift, flips and brightness, normalisation, erasing. `pixels` is [N, 3, H, W] of
/// uint8, RGB, on any device; the result is float32, channels last, on the same. Equal to to_input() but for rounding:
/// positions in float32, to 2e-5 of a pixel.
at::Tensor finish_changes(const at::Tensor& pixels, const std::vector<LaterChanges>& changes, const Augment& augment,
                          const Preprocessing& preprocessing);

}  // namespace graft::image
