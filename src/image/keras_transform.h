/// Keras' random changes: drawing them and applying them, apart from one another so that each can be tested.
#pragma once

#include <array>
#include <optional>
#include <variant>
#include <vector>

#include <graft/augment.h>
#include <graft/image.h>

#include "image/pipeline.h"

namespace graft::image {

/// One picture's changes, with Keras' meaning of each (ImageDataGenerator.get_random_transform).
struct Draw {
  double theta_deg = 0;
  double tx = 0;  ///< pixels, drawn from the height's range
  double ty = 0;  ///< pixels, drawn from the width's range
  double shear_deg = 0;
  double zx = 1;
  double zy = 1;
  bool horizontal_flip = false;
  bool vertical_flip = false;
  std::optional<double> channel_shift = {};
  std::optional<double> brightness = {};
};

Draw draw(const Augment& augment, DrawKey key, int width_px, int height_px);

/// Whether the affine map is another than the identity.
bool moves(const Draw& draw);

using Matrix = std::array<double, 9>;  ///< 3 x 3, row by row

/// The affine map, from output (row, column, 1) to input (row, column, 1), without the flips.
Matrix output_to_input(const Draw& draw, int width_px, int height_px);

/// Values 0..255, [height, width, 3]: bytes for as long as a change yields whole numbers.
using Values = std::variant<Image, std::vector<float>>;

/// Affine map, channel shift, flips, brightness.
Values apply(const Image& image, const Draw& draw, const Augment& augment);

}  // namespace graft::image
