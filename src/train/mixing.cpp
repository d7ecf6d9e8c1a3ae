#include "train/mixing.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <ATen/ATen.h>

namespace graft::train {

namespace {

double draw_normal(base::Uniform& uniform) {  // Box and Muller 1958
  const double radius = std::sqrt(-2 * std::log(1 - uniform(0, 1)));
  return radius * std::cos(2 * std::numbers::pi * uniform(0, 1));
}

/// Marsaglia and Tsang 2000; below 1 by their section 6.
double draw_gamma(double shape, base::Uniform& uniform) {
  if (shape < 1) return draw_gamma(shape + 1, uniform) * std::pow(1 - uniform(0, 1), 1 / shape);
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const double x = draw_normal(uniform), v = std::pow(1 + c * x, 3);
    if (v > 0 && std::log(1 - uniform(0, 1)) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

}  // namespace

double draw_beta(double alpha, base::Uniform& uniform) {
  const double x = draw_gamma(alpha, uniform), y = draw_gamma(alpha, uniform);
  return x + y > 0 ? x / (x + y) : 0.5;
}

Box draw_box(double share, std::int64_t height, std::int64_t width, base::Uniform& uniform) {
  const auto x = static_cast<std::int64_t>(uniform.below(static_cast<int>(width)));
  const auto y = static_cast<std::int64_t>(uniform.below(static_cast<int>(height)));
  const double half = 0.5 * std::sqrt(1 - share);
  const auto half_width = static_cast<std::int64_t>(half * static_cast<double>(width));
  const auto half_height = static_cast<std::int64_t>(half * static_cast<double>(height));
  return {std::max<std::int64_t>(y - half_height, 0), std::min(y + half_height, height),
          std::max<std::int64_t>(x - half_width, 0), std::min(x + half_width, width)};
}

at::Tensor mixed(const at::Tensor& values, double share) {
  return values.roll(1, 0).mul_(1 - share).add_(values, share);
}

at::Tensor cut_and_mixed(const at::Tensor& images, const Box& box) {
  const auto part = [&](const at::Tensor& from) { return from.slice(2, box.y1, box.y2).slice(3, box.x1, box.x2); };
  auto result = images.clone();
  part(result).copy_(part(images.roll(1, 0)));
  return result;
}

void mix(at::Tensor& images, at::Tensor& targets, const MixingOptions& options, const base::DrawKey& key) {
  base::Uniform uniform(key);
  const bool both = options.mixup_alpha > 0 && options.cutmix_alpha > 0;
  const bool cut = options.cutmix_alpha > 0 && (!both || uniform(0, 1) < 0.5);
  const double share = draw_beta(cut ? options.cutmix_alpha : options.mixup_alpha, uniform);
  if (!cut) {
    images = mixed(images, share);
    targets = mixed(targets, share);
    return;
  }
  const auto height = images.size(2), width = images.size(3);
  const Box box = draw_box(share, height, width, uniform);
  images = cut_and_mixed(images, box);
  const auto taken = static_cast<double>((box.y2 - box.y1) * (box.x2 - box.x1));
  targets = mixed(targets, 1 - taken / static_cast<double>(height * width));
}

}  // namespace graft::train
