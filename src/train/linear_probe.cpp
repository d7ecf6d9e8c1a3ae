#include "train/linear_probe.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

namespace graft::train {

namespace {

/// Beside examples whose mean square is 2 with the constant: strong, so that single wrong labels are not fitted.
constexpr double kRidge = 2;
/// Wider features are projected at random to this many, which keeps distances (Johnson and Lindenstrauss 1984).
constexpr std::int64_t kWidest = 4096;

/// One vector for each picture: maps and tokens are averaged over their places.
at::Tensor flat(const at::Tensor& features) {
  const auto vectors = features.dim() == 4 ? features.mean({2, 3}) : features.dim() == 3 ? features.mean(1) : features;
  return vectors.to(at::kCPU, at::kDouble);
}

}  // namespace

LinearProbe::LinearProbe(const at::Tensor& features, const at::Tensor& labels, std::int64_t classes) {
  const at::NoGradGuard no_grad;
  if (const auto width = flat(features.narrow(0, 0, 1)).size(1); width > kWidest) {
    auto generator = at::make_generator<at::CPUGeneratorImpl>(0);
    projection_ = at::randn({width, kWidest}, generator, at::kDouble) / std::sqrt(static_cast<double>(width));
  }
  const auto raw = projection_.defined() ? at::mm(flat(features), projection_) : flat(features);
  mean_ = raw.mean(0, /*keepdim=*/true);
  const double mean_square = (raw - mean_).square().sum(1).mean().item<double>();
  scale_ = mean_square > 0 ? 1 / std::sqrt(mean_square) : 1;
  const auto x = prepared(features);
  const auto targets = at::one_hot(labels.to(at::kCPU), classes).to(at::kDouble);
  const auto roots = at::mv(targets, targets.mean(0).mul(classes).clamp_min(1e-12).rsqrt()).unsqueeze(1);
  const auto weighted_x = x * roots, weighted_targets = targets * roots;
  const auto ridge = [](const at::Tensor& products) {
    return at::linalg_cholesky(products + kRidge * at::eye(products.size(0), products.options()));
  };
  if (x.size(0) <= x.size(1)) {
    const auto inverse = at::cholesky_inverse(ridge(at::mm(weighted_x, weighted_x.t())));
    const auto dual = at::mm(inverse, weighted_targets);
    weights_ = at::mm(weighted_x.t(), dual);
    held_out_ = targets - dual / inverse.diagonal().unsqueeze(1) / roots;
  } else {
    const auto inverse = at::cholesky_inverse(ridge(at::mm(weighted_x.t(), weighted_x)));
    weights_ = at::mm(inverse, at::mm(weighted_x.t(), weighted_targets));
    const auto leverage = (at::mm(weighted_x, inverse) * weighted_x).sum(1, /*keepdim=*/true);
    held_out_ = targets - (targets - at::mm(x, weights_)) / (1 - leverage);
  }
}

at::Tensor LinearProbe::prepared(const at::Tensor& features) const {
  const auto raw = projection_.defined() ? at::mm(flat(features), projection_) : flat(features);
  return at::cat({(raw - mean_) * scale_, at::ones({raw.size(0), 1}, raw.options())}, 1);
}

at::Tensor LinearProbe::answers(const at::Tensor& features) const {
  const at::NoGradGuard no_grad;
  return at::mm(prepared(features), weights_);
}

}  // namespace graft::train
