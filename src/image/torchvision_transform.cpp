// torchvision/transforms/transforms.py (RandomResizedCrop, RandomRotation, ColorJitter, RandomErasing: get_params) and
// torchvision/transforms/autoaugment.py (TrivialAugmentWide).

#include "image/torchvision_transform.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <graft/error.h>

#include "image/operations.h"

namespace graft::image {

namespace {

constexpr int kAttempts = 10;
constexpr std::uint64_t kStream = 1;

/// Python's round(): halves to even.
int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

Window random_resized_crop(const RandomResizedCrop& options, base::Uniform& uniform, int width, int height) {
  const double area = static_cast<double>(width) * height;
  for (int i = 0; i < kAttempts; ++i) {
    const double target = area * uniform(options.scale.low, options.scale.high);
    const double ratio = uniform.log_uniform(options.ratio.low, options.ratio.high);
    const int w = rounded(std::sqrt(target * ratio)), h = rounded(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const int top = uniform.below(height - h + 1);
    return {uniform.below(width - w + 1), top, w, h};
  }
  // The middle, as far as the ratio allows.
  const double ratio = static_cast<double>(width) / height;
  int w = width, h = height;
  if (ratio < options.ratio.low) h = std::max(1, rounded(w / options.ratio.low));
  if (ratio > options.ratio.high) w = std::max(1, rounded(h * options.ratio.high));
  return {(width - w) / 2, (height - h) / 2, w, h};
}

std::optional<Window> random_erasing(const RandomErasing& options, base::Uniform& uniform, int width, int height) {
  if (uniform(0, 1) >= options.probability) return std::nullopt;
  const double area = static_cast<double>(width) * height;
  for (int i = 0; i < kAttempts; ++i) {
    const double target = area * uniform(options.scale.low, options.scale.high);
    const double ratio = uniform.log_uniform(options.ratio.low, options.ratio.high);
    const int h = rounded(std::sqrt(target * ratio)), w = rounded(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w >= width || h >= height) continue;
    const int top = uniform.below(height - h + 1);
    return Window{uniform.below(width - w + 1), top, w, h};
  }
  return std::nullopt;
}

using Step = std::pair<Operation, double>;

/// One operation of the wide set at one of 31 strengths; nothing for the identity.
std::optional<Step> trivial_augment(base::Uniform& uniform) {
  constexpr int kStrengths = 31;
  const int operation = uniform.below(14);
  const double strength = uniform.below(kStrengths) / (kStrengths - 1.0);  // 0..1
  const double sign = uniform(0, 1) < 0.5 ? -1 : 1;
  switch (operation) {
    case 1:
      return Step(Operation::kShearX, sign * 0.99 * strength);
    case 2:
      return Step(Operation::kShearY, sign * 0.99 * strength);
    case 3:
      return Step(Operation::kTranslateX, std::trunc(sign * 32 * strength));
    case 4:
      return Step(Operation::kTranslateY, std::trunc(sign * 32 * strength));
    case 5:
      return Step(Operation::kRotate, sign * 135 * strength);
    case 6:
      return Step(Operation::kBrightness, 1 + sign * 0.99 * strength);
    case 7:
      return Step(Operation::kSaturation, 1 + sign * 0.99 * strength);
    case 8:
      return Step(Operation::kContrast, 1 + sign * 0.99 * strength);
    case 9:
      return Step(Operation::kSharpness, 1 + sign * 0.99 * strength);
    case 10:
      return Step(Operation::kPosterize, 8 - rounded(6 * strength));
    case 11:
      return Step(Operation::kSolarize, 255 * (1 - strength));
    case 12:
      return Step(Operation::kAutocontrast, 0.0);
    case 13:
      return Step(Operation::kEqualize, 0.0);
    default:
      return std::nullopt;
  }
}

void add_color_jitter(const ColorJitter& jitter, base::Uniform& uniform, std::vector<Step>& steps) {
  std::array order{0, 1, 2, 3};
  for (int i = 3; i > 0; --i)
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(uniform.below(i + 1))]);
  const auto factor = [&](double strength) { return uniform(std::max(0.0, 1 - strength), 1 + strength); };
  const double brightness = factor(jitter.brightness), contrast = factor(jitter.contrast),
               saturation = factor(jitter.saturation), hue = uniform(-jitter.hue, jitter.hue);
  for (const int which : order) {
    if (which == 0 && jitter.brightness > 0) steps.emplace_back(Operation::kBrightness, brightness);
    if (which == 1 && jitter.contrast > 0) steps.emplace_back(Operation::kContrast, contrast);
    if (which == 2 && jitter.saturation > 0) steps.emplace_back(Operation::kSaturation, saturation);
    if (which == 3 && jitter.hue > 0) steps.emplace_back(Operation::kHue, hue);
  }
}

}  // namespace

TorchvisionDraw draw_torchvision(const Augment& augment, DrawKey key, int image_width_px, int image_height_px,
                                 int input_width_px, int input_height_px) {
  base::Uniform uniform({key.seed, key.epoch, key.index, kStream});
  TorchvisionDraw draw;
  if (augment.random_resized_crop)
    draw.crop = random_resized_crop(*augment.random_resized_crop, uniform, image_width_px, image_height_px);
  if (augment.random_rotation_deg != 0)
    draw.operations.emplace_back(Operation::kRotate,
                                 uniform(-augment.random_rotation_deg, augment.random_rotation_deg));
  if (augment.trivial_augment)
    if (const auto step = trivial_augment(uniform)) draw.operations.push_back(*step);
  if (augment.color_jitter) add_color_jitter(*augment.color_jitter, uniform, draw.operations);
  if (augment.random_erasing)
    draw.erased = random_erasing(*augment.random_erasing, uniform, input_width_px, input_height_px);
  return draw;
}

Image apply(const Image& image, Operation operation, double parameter) {
  switch (operation) {
    case Operation::kShearX:
      return affine_nearest(image, {1, parameter, 0, 0, 1, 0});
    case Operation::kShearY:
      return affine_nearest(image, {1, 0, 0, parameter, 1, 0});
    case Operation::kTranslateX:
      return affine_nearest(image, {1, 0, -parameter, 0, 1, 0});
    case Operation::kTranslateY:
      return affine_nearest(image, {1, 0, 0, 0, 1, -parameter});
    case Operation::kRotate:
      return rotate_nearest(image, parameter);
    case Operation::kBrightness:
      return adjust_brightness(image, parameter);
    case Operation::kSaturation:
      return adjust_saturation(image, parameter);
    case Operation::kContrast:
      return adjust_contrast(image, parameter);
    case Operation::kSharpness:
      return adjust_sharpness(image, parameter);
    case Operation::kPosterize:
      return posterize(image, static_cast<int>(parameter));
    case Operation::kSolarize:
      return solarize(image, parameter);
    case Operation::kAutocontrast:
      return autocontrast(image);
    case Operation::kEqualize:
      return equalize(image);
    case Operation::kHue:
      return adjust_hue(image, parameter);
  }
  throw Error(ErrorCode::kInternal, "unknown operation");
}

}  // namespace graft::image
