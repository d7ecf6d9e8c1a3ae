/// Changes whose results tests/golden/make_keras_vectors.py has from Keras, for tests/golden/images/photo.png.
#pragma once

#include <string>
#include <vector>

#include "image/keras_transform.h"

namespace graft::testing {

struct KerasCase {
  std::string name;
  image::Draw draw;
  FillMode mode = FillMode::kNearest;

  /// [H, W, 3] of float32, 0..255.
  std::string vectors() const { return "images/keras_" + name + ".f32"; }
  Augment augment() const { return {.fill_mode = mode, .fill_value = 7}; }
};

inline std::vector<KerasCase> keras_cases() {
  return {{"shear_zoom", {.shear_deg = 13, .zx = 0.85, .zy = 1.15, .horizontal_flip = true}},
          {"rotate_shift", {.theta_deg = 20, .tx = 4.5, .ty = -7.25}},
          {"constant", {.theta_deg = -35, .zx = 1.3, .zy = 1.2}, FillMode::kConstant},
          {"reflect", {.tx = 11, .ty = 9.5, .zx = 1.4, .zy = 1.4}, FillMode::kReflect},
          {"wrap", {.tx = -13, .ty = 6.5}, FillMode::kWrap},
          {"flips", {.horizontal_flip = true, .vertical_flip = true}},
          {"channel_shift", {.theta_deg = 5, .channel_shift = 31.5}},
          {"brighter", {.shear_deg = 4, .vertical_flip = true, .brightness = 1.35}},
          {"darker", {.channel_shift = -20.25, .brightness = 0.4}}};
}

}  // namespace graft::testing
