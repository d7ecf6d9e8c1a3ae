/// torchvision's random changes: drawing them and applying them, apart from one another so that each can be tested.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <graft/augment.h>
#include <graft/image.h>

#include "image/pipeline.h"
#include "image/resample.h"

namespace graft::image {

enum class Operation {
  kShearX,
  kShearY,
  kTranslateX,
  kTranslateY,
  kRotate,
  kBrightness,
  kSaturation,
  kContrast,
  kSharpness,
  kPosterize,
  kSolarize,
  kAutocontrast,
  kEqualize,
  kHue,
};

/// What will happen to one picture.
struct TorchvisionDraw {
  std::optional<Window> crop;                            ///< of the decoded picture
  std::vector<std::pair<Operation, double>> operations;  ///< in order, with their parameters
  std::optional<Window> erased;                          ///< of the network's input
};

TorchvisionDraw draw_torchvision(const Augment& augment, DrawKey key, int image_width_px, int image_height_px,
                                 int input_width_px, int input_height_px);

/// Shears take the shear itself, translations pixels, rotation degrees, enhancements factors, posterize bits, solarize
/// the threshold, hue the fraction of a turn.
Image apply(const Image& image, Operation operation, double parameter);

/// `value` in all channels of the window of `pixels` [height, width, 3].
template <class Value>
void fill(std::span<Value> pixels, int width_px, const Window& window, Value value) {
  for (int y = window.top; y < window.top + window.height; ++y)
    std::fill_n(pixels.begin() + (static_cast<std::ptrdiff_t>(y) * width_px + window.left) * 3, window.width * 3,
                value);
}

}  // namespace graft::image
